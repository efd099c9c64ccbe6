"""Sums, products, truth and counts over dimensions. A dim may be negative, a list, or None for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.dim import product

from ..definition import REDUCTION, op
from ..dtypes import accumulate, compute_dtype
from ..elementwise.choice import where
from ..shapes.movement import axes, broadcast_to, reshape
from ..tracing import cast_value, emit, to_bool, value_of, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import DType, Tensor

    Dims = int | Sequence[int] | None


def reduced(kind: str, x: Any, dims: tuple[int, ...], keepdim: bool, dtype: DType) -> Tensor:
    """One `reduce` node, and the reduced dimensions as size 1 if they are kept."""
    shape = tuple(x.shape)
    kept = tuple(s for d, s in enumerate(shape) if d not in dims)
    if not dims:
        from duograph.ir.builder import current

        (reduced,) = current().emit("reshape", [value_of(x)], {}, [value_of(x).type.with_shape((*shape, 1))])
        result = emit_value("reduce", reduced, dtype, shape, kind=kind, dims=(len(shape),))
    else:
        result = emit_value("reduce", value_of(x) if isinstance(x, core.Tensor) else x, dtype, kept, kind=kind, dims=dims)
    if keepdim and dims:
        result = emit("reshape", [result], dtype, tuple(1 if d in dims else s for d, s in enumerate(shape)))
    return result


def emit_value(name: str, value: Any, dtype: DType, shape: Any, **attrs: Any) -> Tensor:
    """`emit` for one operand that is a value already."""
    from duograph.ir.builder import current
    from duograph.ir.types import TensorType

    return wrap(current().emit(name, [value], attrs, [TensorType(dtype, tuple(shape))])[0])


def restore(g: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    """A reduced tensor stretched over the dimensions that were reduced."""
    shape = tuple(x.shape)
    dims = axes("", dim, len(shape))
    if not keepdim:
        g = reshape(g, tuple(1 if d in dims else s for d, s in enumerate(shape)))
    return broadcast_to(g, shape)


def count(x: Any, dim: Any) -> Any:
    """How many elements are reduced into one."""
    shape = tuple(x.shape)
    return product(tuple(shape[d] for d in axes("", dim, len(shape))))


def np_dims(dim: Any) -> Any:
    return tuple(dim) if isinstance(dim, (list, tuple)) else dim


def _samples(m: Any) -> Any:
    return [
        (m(3, 5),),
        (m(3, 5), 1),
        (m(3, 5), 0, True),
        (m(2, 3, 4), (0, -1)),
        (m(2, 3, 40), [1]),
        (m(70),),
        (m(),),
        (m(0, 3), 0),
        (m(9000),),
    ]


def nonempty(m: Any) -> Any:
    return [call for call in _samples(m) if call[0].size]


@op(
    kind=REDUCTION,
    dtypes=accumulate,
    lowers=True,
    samples=_samples,
    reference=lambda np, x, dim=None, keepdim=False: np.sum(x, np_dims(dim), keepdims=keepdim),
)
def sum(x: Tensor, dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The sum over dimensions, in an order fixed by the sizes alone.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats kept, integers and bool become int64; `dtype` converts before summing
    Gradient: 1 to each element
    Errors:   DimensionError for a dim out of range or given twice
    Source:   torch.sum

    >>> tensor([[1.0, 2.0], [3.0, 4.0]]).sum(0)
    tensor([4., 6.])
    """
    result = dtype or (x.dtype if x.dtype.is_floating_point else core.int64)
    value = to_bool(value_of(x)) if result.kind == "b" else cast_value(value_of(x), result)
    wide = core.int64 if result.kind == "b" else compute_dtype(result)
    total = reduced("sum", cast_value(value, wide), axes("sum", dim, len(x.shape)), keepdim, wide)
    return wrap(to_bool(value_of(total)) if result.kind == "b" else cast_value(value_of(total), result))


@sum.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool, dtype: Any) -> Any:
    return restore(g, x, dim, keepdim)


@op(
    kind=REDUCTION,
    dtypes=accumulate,
    lowers=True,
    tolerance=4.0,
    samples=lambda m: [call if call[0].size < 200 else (m(33, low=0.9, high=1.1),) for call in _samples(m)],
    reference=lambda np, x, dim=None, keepdim=False: np.prod(x, np_dims(dim), keepdims=keepdim),
    autocast="float32",
)
def prod(x: Tensor, dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The product over dimensions.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats kept, integers and bool become int64; `dtype` converts before
    Gradient: the product of the others, zeros among them or not
    Errors:   DimensionError
    Source:   torch.prod

    >>> prod(tensor([2.0, 3.0]))
    tensor(6.)
    """
    result = dtype or (x.dtype if x.dtype.is_floating_point else core.int64)
    wide = compute_dtype(result)
    return wrap(
        cast_value(
            value_of(reduced("prod", cast_value(value_of(x), wide), axes("prod", dim, len(x.shape)), keepdim, wide)), result
        )
    )


@prod.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool, dtype: Any) -> Any:
    zero = x == 0
    zeros = restore(sum(zero, dim, True), x, dim, True)
    filled = where(zero, 1.0, x)
    others = restore(prod(filled, dim, True), x, dim, True)
    alone = where(zeros == 0, others / filled, where((zeros == 1) & zero, others, 0.0))
    return restore(g, x, dim, keepdim) * alone


def _truth(kind: str, x: Any, dim: Any, keepdim: bool) -> Tensor:
    found = reduced(kind, to_bool(value_of(x)), axes(kind, dim, len(x.shape)), keepdim, core.bool)
    return wrap(cast_value(value_of(found), core.uint8)) if x.dtype is core.uint8 else found


@op(
    kind=REDUCTION,
    lowers=True,
    differentiable=False,
    samples=_samples,
    reference=lambda np, x, dim=None, keepdim=False: np.any(x, np_dims(dim), keepdims=keepdim),
)
def any(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any element is nonzero; False over none.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   any; bool, but uint8 for uint8
    Gradient: none
    Errors:   DimensionError
    Source:   torch.any

    >>> any(tensor([0, 2]))
    tensor(True)
    """
    return _truth("any", x, dim, keepdim)


@op(
    kind=REDUCTION,
    lowers=True,
    differentiable=False,
    samples=_samples,
    reference=lambda np, x, dim=None, keepdim=False: np.all(x, np_dims(dim), keepdims=keepdim),
)
def all(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all elements are nonzero; True over none.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   any; bool, but uint8 for uint8
    Gradient: none
    Errors:   DimensionError
    Source:   torch.all

    >>> all(tensor([0, 2]))
    tensor(False)
    """
    return _truth("all", x, dim, keepdim)


@op(
    kind=REDUCTION,
    differentiable=False,
    samples=_samples,
    reference=lambda np, x, dim=None, keepdim=False: np.count_nonzero(x, np_dims(dim), keepdims=keepdim),
)
def count_nonzero(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """How many elements are nonzero.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   any; int64
    Gradient: none
    Errors:   DimensionError
    Source:   torch.count_nonzero

    >>> count_nonzero(tensor([0, 2, 3]))
    tensor(2)
    """
    return sum(x != 0, dim, keepdim)
