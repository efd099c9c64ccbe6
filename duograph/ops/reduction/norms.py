"""Norms, and distances by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError

from ..definition import REDUCTION, function, op
from ..dtypes import floats
from ..elementwise.arithmetic import sign
from ..elementwise.choice import where
from ..elementwise.demands import demanded
from ..shapes.copying import cast
from ..shapes.creation import zeros_like
from ..tracing import user_operator
from .extrema import amax, amin
from .reductions import np_dims, restore, sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import DType, Tensor

    from ..definition import Operand

    Dims = int | Sequence[int] | None


def _np_norm(np: Any, x: Any, order: float = 2.0, dim: Any = None, keepdim: bool = False) -> Any:
    size = np.abs(x)
    dims = np_dims(dim)
    if order == float("inf"):
        return np.max(size, dims, keepdims=keepdim)
    if order == float("-inf"):
        return np.min(size, dims, keepdims=keepdim)
    if order == 0:
        return np.sum(x != 0, dims, keepdims=keepdim).astype(x.dtype)
    return np.sum(size**order, dims, keepdims=keepdim) ** (1 / order)


def _norm_samples(m: Any) -> Any:
    inf = float("inf")
    calls = [(m(3, 5),), (m(3, 5), 1.0, 1), (m(3, 5), 2.0, 0, True), (m(2, 3, 4), 3.0, (0, 2)), (m(6), inf), (m(4, 3), -inf, 0)]
    return [*calls, (m(7), 0.5), (m(7), 0.0), (m(),), (m(70), 2.0)]


@op(kind=REDUCTION, dtypes=floats, method=False, public=False, samples=_norm_samples, reference=_np_norm, tolerance=4.0)
def vector_norm(x: Tensor, order: float = 2.0, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The norm of any order over dimensions: sum(|x|^order)^(1/order); extremum for ±infinity, count of nonzero for 0.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats, others are rejected
    Gradient: sign(x) * (|x| / out)^(order - 1), 0 where the norm is 0
    Errors:   DTypeError; DimensionError; ShapeError for ±infinity over no elements
    Source:   torch.linalg.vector_norm

    >>> dg.ops.vector_norm(tensor([3.0, 4.0]))
    tensor(5.)
    """
    size = abs(x)
    if order == float("inf"):
        return amax(size, dim, keepdim)
    if order == float("-inf"):
        return amin(size, dim, keepdim)
    if order == 0:
        return cast(sum(x != 0, dim, keepdim), x.dtype)
    if order == 1:
        return sum(size, dim, keepdim)
    if order == 2:
        return sum(x * x, dim, keepdim) ** 0.5
    return sum(size**order, dim, keepdim) ** (1.0 / order)


@vector_norm.vjp
def _(g: Any, out: Any, x: Any, order: float, dim: Any, keepdim: bool) -> Any:
    g, out = restore(g, x, dim, keepdim), restore(out, x, dim, keepdim)
    if order == 0:
        return zeros_like(x)
    if order == 1:
        return g * sign(x)
    if order in (float("inf"), float("-inf")):
        attained = abs(x) == out
        dims = tuple(range(len(x.shape))) if dim is None else dim
        shares = restore(sum(attained, dims, True), x, dims, True)
        return where(attained, g * sign(x) / shares, 0.0)
    if order == 2:
        return where(out == 0, 0.0, g * (x / out))
    return where((out == 0) | (x == 0), 0.0, g * sign(x) * (abs(x) / out) ** (order - 1.0))


@function(
    samples=lambda m: [(m(3, 5),), (m(3, 5), 1, 1), (m(3, 5), float("inf"), 0, True), (m(2, 3, 4), 3, (0, 2))],
    reference=lambda np, x, p=2, dim=None, keepdim=False: _np_norm(np, x, p, dim, keepdim),
)
def norm(x: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The norm of order p over dimensions, those of matrices taken as of vectors; "fro" and None are 2.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats, others are rejected; `dtype` converts before
    Gradient: sign(x) * (|x| / out)^(p - 1), 0 where the norm is 0
    Errors:   DomainError for another name; DTypeError; DimensionError
    Source:   torch.norm

    >>> norm(tensor([3.0, 4.0]))
    tensor(5.)
    """
    if isinstance(p, str) and p != "fro":
        raise DomainError(f"norm: p must be a number, 'fro' or None, got {p!r}", hint="linalg.matrix_norm has the nuclear norm")
    order = 2.0 if p is None or isinstance(p, str) else float(p)
    return vector_norm(x if dtype is None else cast(x, dtype), order, dim, keepdim)


@op(
    kind=REDUCTION,
    dtypes=floats,
    tolerance=4.0,
    samples=lambda m: [(m(3, 5), m(3, 5)), (m(3, 5), m(5), 1.0), (m(4), m(4), 3.0)],
    reference=lambda np, x, y, p=2.0: _np_norm(np, x - y, p),
)
def dist(x: Tensor, other: Tensor, p: float = 2.0) -> Tensor:
    """The norm of order p of x - other.

    Shapes:   x [*S], other [*T] that broadcast → []
    Dtypes:   floats, others are rejected
    Gradient: as of the norm
    Errors:   DTypeError; ShapeError
    Source:   torch.dist

    >>> dist(tensor([3.0, 0.0]), tensor([0.0, 4.0]))
    tensor(5.)
    """
    return vector_norm(x - other, float(p))


@op(
    kind=REDUCTION,
    dtypes=floats.on("x"),
    samples=lambda m: [(m(3, 5), 2.0, 0, 1.5), (m(3, 4), 1.0, 1, 2.0)],
    reference=lambda np, x, p, dim, top: (
        x * np.where((n := _np_norm(np, x, p, tuple(d for d in range(x.ndim) if d != dim), True)) > top, top / (n + 1e-7), 1)
    ),
    inplace="renorm_",
    tolerance=8.0,
)
def renorm(x: Tensor, p: float, dim: int, maxnorm: Operand) -> Tensor:
    """x with each part along a dimension scaled down so that its norm of order p is at most maxnorm.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats, others are rejected
    Gradient: derived
    Errors:   DTypeError; DimensionError; DomainError for an order that is not positive, and for a negative maxnorm
    Source:   torch.renorm

    >>> renorm(tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    from ..shapes.movement import axis

    name = user_operator("renorm")
    if p <= 0:
        raise DomainError(f"{name}: the order must be above 0, got {p}")
    at = axis(name, dim, len(x.shape))
    size = vector_norm(x, float(p), tuple(d for d in range(len(x.shape)) if d != at), True)
    limit = demanded("greatest_norm", maxnorm)
    return x * where(size > limit, limit / (size + 1e-7), 1.0)
