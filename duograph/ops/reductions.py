"""Reductions over dimensions. A dim may be negative, a list, or None for all."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ShapeError
from duograph.ir.dim import product

from .choice import maximum, minimum, where
from .definition import MOVEMENT, REDUCTION, function, op
from .dtypes import accumulate, compute_dtype, promote
from .movement import axes, axis, broadcast_to, reshape, unsqueeze
from .tracing import cast_value, emit, require, to_bool, user_operator, value_of, wrap

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


def _extremum(kind: str, x: Any, dim: Any, keepdim: bool) -> Tensor:
    name = user_operator("a" + kind)
    dims = axes(name, dim, len(x.shape))
    for d in dims:
        require("lt", 0, x.shape[d], ShapeError, f"{name}: an extremum over no elements: shape {tuple(x.shape)}, dim {dim}")
    return reduced(kind, x, dims, keepdim, x.dtype)


def _share(g: Any, out: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    """The gradient of an extremum: equal parts to all elements that attain it."""
    chosen = x == restore(out, x, dim, keepdim)
    shares = restore(sum(chosen, dim, True), x, dim, True)
    return where(chosen, restore(g, x, dim, keepdim) / shares, 0.0)


@op(
    kind=REDUCTION,
    dtypes=promote,
    lowers=True,
    samples=nonempty,
    reference=lambda np, x, dim=None, keepdim=False: np.max(x, np_dims(dim), keepdims=keepdim),
)
def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The greatest element over dimensions; NaN if there is one.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain it
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.amax

    >>> amax(tensor([[1, 5], [3, 2]]), 1)
    tensor([5, 3])
    """
    return _extremum("max", x, dim, keepdim)


@amax.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    return _share(g, out, x, dim, keepdim)


@op(
    kind=REDUCTION,
    dtypes=promote,
    lowers=True,
    samples=nonempty,
    reference=lambda np, x, dim=None, keepdim=False: np.min(x, np_dims(dim), keepdims=keepdim),
)
def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The least element over dimensions; NaN if there is one.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain it
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.amin

    >>> amin(tensor([[1, 5], [3, 2]]), 1)
    tensor([1, 2])
    """
    return _extremum("min", x, dim, keepdim)


@amin.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    return _share(g, out, x, dim, keepdim)


def _np_arg(which: str) -> Any:
    def reference(np: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return getattr(np, which)(x, dim, keepdims=keepdim)

    return reference


def _arg_samples(m: Any) -> Any:
    return [(m(3, 5),), (m(3, 5), 1), (m(3, 5), 0, True), (m(2, 3, 40), -1), (m(70),), (m(),), (m(2, 0, 3), 0)]


def _arg_extremum(kind: str, x: Any, dim: Any, keepdim: bool) -> Tensor:
    name = user_operator(kind)
    dims = axes(name, dim, len(x.shape))
    for d in dims:
        require("lt", 0, x.shape[d], ShapeError, f"{name}: an extremum over no elements: shape {tuple(x.shape)}, dim {dim}")
    value = value_of(x)
    if value.type.dtype.kind == "b":
        value = cast_value(value, core.uint8)
    return reduced(kind, value, dims, keepdim, core.int64)


@op(kind=REDUCTION, lowers=True, differentiable=False, reference=_np_arg("argmax"), samples=_arg_samples)
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the greatest element (the first of equals, a NaN before all) along a dim, or in row-major order of all.

    Shapes:   x [*S] → [*S without dim], or with size 1 there if keepdim
    Dtypes:   int64
    Gradient: none
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.argmax

    >>> argmax(tensor([1, 5, 3]))
    tensor(1)
    """
    return _arg_extremum("argmax", x, dim, keepdim)


@op(kind=REDUCTION, lowers=True, differentiable=False, reference=_np_arg("argmin"), samples=_arg_samples)
def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the least element (the first of equals, a NaN before all) along a dim, or in row-major order of all.

    Shapes:   x [*S] → [*S without dim], or with size 1 there if keepdim
    Dtypes:   int64
    Gradient: none
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.argmin

    >>> argmin(tensor([4, 5, 3]))
    tensor(2)
    """
    return _arg_extremum("argmin", x, dim, keepdim)


@op(
    kind=MOVEMENT,
    lowers=True,
    differentiable=False,
    method=False,
    public=False,
    samples=lambda m: [(m(2, 3), 1)],
    reference=lambda np, x, dim: np.indices(x.shape)[dim],
)
def positions(x: Tensor, dim: int) -> Tensor:
    """The index of every element along a dim.

    Shapes:   x [*S] → [*S]
    Dtypes:   int64
    Gradient: none
    Errors:   DimensionError
    Source:   numpy.indices

    >>> dg.ops.positions(tensor([5, 5]), 0)
    tensor([0, 1])
    """
    return emit("iota", [], core.int64, tuple(x.shape), dim=axis("positions", dim, len(x.shape)))


class Extremum(tuple):  # type: ignore[type-arg]
    """What `max` and `min` over a dimension give: values and indices."""

    __slots__ = ()
    values = property(itemgetter(0))
    indices = property(itemgetter(1))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(\nvalues={self[0]!r},\nindices={self[1]!r})"


def _extremum_along(kind: str, x: Any, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    dims = (axis(user_operator(kind), dim, len(x.shape)),) if x.shape else ()
    return _extremum(kind, x, dims, keepdim), _arg_extremum("arg" + kind, x, dims, keepdim)


def _to_position(g: Any, out: Any, x: Any, dim: int, keepdim: bool) -> Any:
    """The gradient of the values goes to the elements at the indices."""
    if not x.shape:
        return g[0]
    dim = axis("max", dim, len(x.shape))
    values, indices = (g[0], out[1]) if keepdim else (unsqueeze(g[0], dim), unsqueeze(out[1], dim))
    return where(positions(x, dim) == indices, values, 0.0)


def _np_extremum(which: str) -> Any:
    def reference(np: Any, x: Any, dim: int, keepdim: bool = False) -> Any:
        return getattr(np, which)(x, dim, keepdims=keepdim), getattr(np, "arg" + which)(x, dim, keepdims=keepdim)

    return reference


def _along_samples(m: Any) -> Any:
    return [(m(3, 5), 1), (m(3, 5), 0, True), (m(2, 3, 40), -1), (m(70), 0)]


@op(
    kind=REDUCTION, dtypes=promote, lowers=True, method=False, public=False, reference=_np_extremum("max"), samples=_along_samples
)
def max_along(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The greatest element along a dim, and its index.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   kept; int64
    Gradient: to the element at the index
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.max

    >>> tensor([[1, 5], [3, 2]]).max(1).indices
    tensor([1, 0])
    """
    return _extremum_along("max", x, dim, keepdim)


@max_along.vjp
def _(g: Any, out: Any, x: Any, dim: int, keepdim: bool) -> Any:
    return _to_position(g, out, x, dim, keepdim)


@op(
    kind=REDUCTION, dtypes=promote, lowers=True, method=False, public=False, reference=_np_extremum("min"), samples=_along_samples
)
def min_along(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The least element along a dim, and its index.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   kept; int64
    Gradient: to the element at the index
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.min

    >>> tensor([[1, 5], [3, 2]]).min(1).values
    tensor([1, 2])
    """
    return _extremum_along("min", x, dim, keepdim)


@min_along.vjp
def _(g: Any, out: Any, x: Any, dim: int, keepdim: bool) -> Any:
    return _to_position(g, out, x, dim, keepdim)


@function(
    samples=lambda m: [(m(3, 5),), (m(3, 5), m(5)), (m(3, 5), 1), (m(70),)],
    reference=lambda np, x, d=None: (
        np.max(x) if d is None else np.maximum(x, d) if hasattr(d, "shape") else (np.max(x, d), np.argmax(x, d))
    ),
)
def max(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, other: Tensor | None = None) -> Any:
    """The greatest of all elements; with a dim the greatest along it as (values, indices); with a tensor the greater of two.

    Shapes:   x [*S] → [], or as `amax`, or as `maximum`
    Dtypes:   kept; indices int64
    Gradient: all: shared by the elements that attain it; along a dim: to the element at the index
    Errors:   as `amax`
    Source:   torch.max

    >>> max(tensor([1, 5, 3]))
    tensor(5)
    """
    if dim is None and other is None:
        return amax(x)
    if other is not None or isinstance(dim, core.Tensor):
        return maximum(x, dim if other is None else other)
    return Extremum(max_along(x, dim, keepdim))


@function(
    samples=lambda m: [(m(3, 5),), (m(3, 5), m(5)), (m(3, 5), 1), (m(70),)],
    reference=lambda np, x, d=None: (
        np.min(x) if d is None else np.minimum(x, d) if hasattr(d, "shape") else (np.min(x, d), np.argmin(x, d))
    ),
)
def min(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, other: Tensor | None = None) -> Any:
    """The least of all elements; with a dim the least along it as (values, indices); with a tensor the lesser of two.

    Shapes:   x [*S] → [], or as `amin`, or as `minimum`
    Dtypes:   kept; indices int64
    Gradient: all: shared by the elements that attain it; along a dim: to the element at the index
    Errors:   as `amin`
    Source:   torch.min

    >>> min(tensor([4, 5, 3]))
    tensor(3)
    """
    if dim is None and other is None:
        return amin(x)
    if other is not None or isinstance(dim, core.Tensor):
        return minimum(x, dim if other is None else other)
    return Extremum(min_along(x, dim, keepdim))


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
