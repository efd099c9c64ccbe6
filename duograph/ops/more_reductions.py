"""Reductions that skip NaN, both extrema, norms."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError

from .arithmetic import sign
from .choice import where
from .copying import cast
from .creation import zeros_like
from .definition import REDUCTION, function, op
from .dtypes import accumulate, floats
from .extrema import amax, amin
from .reductions import np_dims, restore, sum
from .statistics import mean, std_any, var_any
from .tracing import user_operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import DType, Tensor

    from .definition import Operand

    Dims = int | Sequence[int] | None


def _samples(m: Any) -> Any:
    calls = [(m(3, 5),), (m(3, 5), 1), (m(3, 5), 0, True), (m(2, 3, 4), (0, -1)), (m(70),), (m(),)]
    if m.is_float:
        nan = float("nan")
        calls.append((m.of([[1, nan, 2], [nan, nan, nan]]), 1))
    return calls


@op(
    kind=REDUCTION,
    dtypes=accumulate,
    samples=_samples,
    reference=lambda np, x, dim=None, keepdim=False: np.nansum(x, np_dims(dim), keepdims=keepdim),
)
def nansum(x: Tensor, dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The sum over dimensions of what is no NaN.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats kept, integers and bool become int64; `dtype` converts before summing
    Gradient: 1 to each element that is no NaN
    Errors:   DimensionError
    Source:   torch.nansum

    >>> nansum(tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    return sum(where(x == x, x, zeros_like(x)), dim, keepdim, dtype)


@nansum.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool, dtype: Any) -> Any:
    return where(x == x, restore(g, x, dim, keepdim), 0.0)


@op(
    kind=REDUCTION,
    dtypes=floats,
    samples=lambda m: _samples(m)[:6] + ([(m.of([[1, float("nan"), 2], [0, 1, 5]]), 1)] if m.is_float else []),
    reference=lambda np, x, dim=None, keepdim=False: np.nanmean(x, np_dims(dim), keepdims=keepdim),
)
def nanmean(x: Tensor, dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The mean over dimensions of what is no NaN; NaN where there is nothing else.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats kept, others are rejected; `dtype` converts before
    Gradient: equal parts to each element that is no NaN
    Errors:   DTypeError; DimensionError
    Source:   torch.nanmean

    >>> nanmean(tensor([1.0, float("nan"), 2.0]))
    tensor(1.5000)
    """
    total = nansum(x, dim, keepdim, dtype)
    return total / cast(sum(x == x, dim, keepdim), total.dtype)


class MinMax(tuple):  # type: ignore[type-arg]
    """What `aminmax` gives: min and max."""

    __slots__ = ()
    min = property(itemgetter(0))
    max = property(itemgetter(1))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(\nmin={self[0]!r},\nmax={self[1]!r})"


def _np_aminmax(np: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return np.min(x, dim, keepdims=keepdim), np.max(x, dim, keepdims=keepdim)


def _extremum_samples(m: Any) -> Any:
    return [(m(3, 5),), (m(3, 5), 1), (m(3, 5), 0, True), (m(70),), (m(),)]


@op(kind=REDUCTION, method=False, public=False, samples=_extremum_samples, reference=_np_aminmax)
def both_extrema(x: Tensor, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The least and the greatest element along a dim, or of all.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain them
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.aminmax

    >>> dg.ops.both_extrema(tensor([1, 5, 3]))
    (tensor(1), tensor(5))
    """
    return amin(x, dim, keepdim), amax(x, dim, keepdim)


@function(samples=_extremum_samples, reference=_np_aminmax)
def aminmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The least and the greatest element along a dim, or of all, as (min, max).

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain them
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.aminmax

    >>> aminmax(tensor([1, 5, 3])).max
    tensor(5)
    """
    return MinMax(both_extrema(x, dim, keepdim))


def _np_with_mean(which: str) -> Any:
    def reference(np: Any, x: Any, dim: Any = None) -> Any:
        return getattr(np, which)(x, np_dims(dim), ddof=1), np.mean(x, np_dims(dim))

    return reference


_spread_samples = lambda m: [(m(3, 5),), (m(3, 5), 1), (m(2, 3, 4), (0, -1)), (m(70),)]  # noqa: E731


@function(method=False, samples=_spread_samples, reference=_np_with_mean("std"))
def std_mean(
    x: Tensor, dim: Dims = None, correction: Any = None, keepdim: bool = False, unbiased: bool | None = None
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean over dimensions; arguments as of `std`.

    Shapes:   x [*S] → twice [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats, others are rejected
    Gradient: as of both
    Errors:   DTypeError; DimensionError
    Source:   torch.std_mean

    >>> std_mean(tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    dims = None if isinstance(dim, bool) else dim
    return std_any(x, dim, correction, keepdim, unbiased), mean(x, dims, keepdim)


@function(method=False, samples=_spread_samples, reference=_np_with_mean("var"))
def var_mean(
    x: Tensor, dim: Dims = None, correction: Any = None, keepdim: bool = False, unbiased: bool | None = None
) -> tuple[Tensor, Tensor]:
    """The variance and the mean over dimensions; arguments as of `var`.

    Shapes:   x [*S] → twice [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats, others are rejected
    Gradient: as of both
    Errors:   DTypeError; DimensionError
    Source:   torch.var_mean

    >>> var_mean(tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    dims = None if isinstance(dim, bool) else dim
    return var_any(x, dim, correction, keepdim, unbiased), mean(x, dims, keepdim)


# Norms


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
    Errors:   DTypeError; DimensionError; DomainError for an order that is not positive
    Source:   torch.renorm

    >>> renorm(tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    from .movement import axis

    name = user_operator("renorm")
    if p <= 0:
        raise DomainError(f"{name}: the order must be above 0, got {p}")
    at = axis(name, dim, len(x.shape))
    size = vector_norm(x, float(p), tuple(d for d in range(len(x.shape)) if d != at), True)
    return x * where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


__all__ = [
    "MinMax",
    "aminmax",
    "both_extrema",
    "dist",
    "nanmean",
    "nansum",
    "norm",
    "renorm",
    "std_mean",
    "var_mean",
    "vector_norm",
]
