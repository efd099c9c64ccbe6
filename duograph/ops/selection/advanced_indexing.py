"""x[i, j] and x[i, j] = value, with integer tensors at some dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, BoundsError
from duograph.ir.dim import product

from ..definition import INDEXING, REGISTRY, function, op
from ..elementwise.choice import where
from ..shapes.copying import cast
from ..shapes.creation import zeros_like
from ..shapes.movement import axis, broadcast_to, reshape
from ..shapes.permuting import permute
from ..tracing import broadcast_shapes, user_operator
from .indexing import add_along, put_along, require_index, take_along

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor


def _layout(name: str, x: Any, indices: Sequence[Any], dims: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...], Any, int]:
    """How indexing is one `take`: the order of dimensions that brings the indexed ones together, the flattened index
    over them, and where its dimensions go in the result."""
    rank = len(x.shape)
    name = user_operator(name)
    dims = tuple(axis(name, d, rank) for d in ((dims,) if isinstance(dims, int) else dims))
    adjacent = all(b == a + 1 for a, b in zip(dims, dims[1:]))
    first = dims[0] if adjacent else 0
    rest = [d for d in range(rank) if d not in dims]
    order = (*rest[:first], *dims, *rest[first:])
    shape = broadcast_shapes(name, [(f"indices[{i}]", tuple(index.shape)) for i, index in enumerate(indices)])
    flat: Any = None
    for index, d in zip(indices, dims):
        require_index(name, index)
        wide, size = cast(index, core.int64), x.shape[d]
        position = where(wide < 0, wide + size, wide)
        if len(dims) > 1:  # one number out of range must not be mended by another
            position = where((position < 0) | (position >= size), -(1 << 40), position)
        flat = position if flat is None else flat * size + position
    expand: Any = REGISTRY["broadcast_to"].op
    return order, dims, flat if tuple(flat.shape) == shape else expand(flat, shape), first


def _brought_together(x: Any, order: tuple[int, ...], dims: Sequence[int], first: int) -> Any:
    """x with the indexed dimensions side by side and merged into one at `first`."""
    if order != tuple(range(len(order))):
        x = permute(x, *order)
    if len(dims) == 1:
        return x
    shape, count = tuple(x.shape), len(dims)
    return reshape(x, *shape[:first], product(shape[first : first + count]), *shape[first + count :])


def _np_index_tuple(np: Any, x: Any, indices: Any, dims: Any) -> Any:
    where = [np.s_[:]] * x.ndim
    for index, d in zip(indices, dims):
        where[d] = index
    return tuple(where)


def _index_samples(m: Any) -> Any:
    return [
        (m(5, 4), [m.ints(3, high=5)], (0,)),
        (m(5, 4), [m.ints(3, high=4, low=-4)], (1,)),
        (m(5, 4), [m.ints(3, high=5), m.ints(3, high=4)], (0, 1)),
        (m(2, 3, 4), [m.ints(2, 1, high=2), m.ints(5, high=4)], (0, 2)),
        (m(2, 3, 4), [m.ints(2, 2, high=3), m.ints(2, high=4)], (1, 2)),
        (m(5, 2), [m.ints(0, high=5)], (0,)),
    ]


@op(
    kind=INDEXING,
    method=False,
    public=False,
    samples=_index_samples,
    reference=lambda np, x, indices, dims: x[_np_index_tuple(np, x, indices, dims)],
)
def index(x: Tensor, indices: Sequence[Tensor], dims: tuple[int, ...]) -> Tensor:
    """`x[…]` with integer tensors at some dimensions; negative indices count from the end.

    The broadcast shape of the indices takes the place of the indexed dimensions; in front if these are not adjacent.

    Shapes:   x [*S], indices that broadcast to [*I] → [*I, *S without dims], or with I at the first of adjacent dims
    Dtypes:   x's; indices integers
    Gradient: added up at the indices
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   NumPy's integer array indexing

    >>> tensor([[1, 2], [3, 4]])[[0, 1], [1, 0]]
    tensor([2, 3])
    """
    order, found, flat, first = _layout("index", x, indices, dims)
    return take_along(_brought_together(x, order, found, first), flat, first)


@index.vjp
def _(g: Any, out: Any, x: Any, indices: Any, dims: Any) -> Any:
    return index_put(zeros_like(x), indices, g, dims, True), None


def _np_index_put(np: Any, x: Any, indices: Any, values: Any, dims: Any, accumulate: bool = False) -> Any:
    x = x.copy()
    where = _np_index_tuple(np, x, indices, dims)
    if accumulate:
        np.add.at(x, where, values)
    else:
        x[where] = values
    return x


def _put_samples(m: Any) -> Any:
    rows = m.of([0, 3]).astype("int64")
    return [
        (m(5, 4), [rows], m(2, 4), (0,)),
        (m(5, 4), [rows], m(4), (0,), True),
        (m(5, 4), [rows - 5, rows], m(2), (0, 1)),
        (m(2, 3, 4), [rows[:1], rows[1:]], m(1, 3), (0, 2)),
        (m(5), [m.ints(9, high=5)], m(9), (0,), True),
    ]


@op(kind=INDEXING, method=False, public=False, samples=_put_samples, reference=_np_index_put, inplace="index_put_")
def index_put(x: Tensor, indices: Sequence[Tensor], values: Tensor, dims: tuple[int, ...], accumulate: bool = False) -> Tensor:
    """x after `x[…] = values` (or `+=`, if they accumulate) with integer tensors at some dimensions.

    Shapes:   x [*S], values broadcast to the shape that `index` gives → [*S]
    Dtypes:   x's; indices integers
    Gradient: to x elsewhere (everywhere, if accumulated); taken at the indices to values
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.index_put

    >>> x = tensor([1, 2, 3]); x[[0, 2]] = tensor([7, 8]); x
    tensor([7, 2, 8])
    """
    order, found, flat, first = _layout("index_put", x, indices, dims)
    together = _brought_together(x, order, found, first)
    shape = tuple(together.shape)
    source = cast(values, x.dtype)
    target = (*shape[:first], *flat.shape, *shape[first + 1 :])
    if tuple(source.shape) != target:
        source = broadcast_to(source, target)
    made = (add_along if accumulate else put_along)(together, flat, source, first)
    if len(found) > 1:
        made = reshape(made, *(x.shape[d] for d in order))
    if order != tuple(range(len(order))):
        back = [0] * len(order)
        for new, old in enumerate(order):
            back[old] = new
        made = permute(made, *back)
    return made


@index_put.vjp
def _(g: Any, out: Any, x: Any, indices: Any, values: Any, dims: Any, accumulate: bool) -> Any:
    from ..gradient import unbroadcast

    to_values = unbroadcast(index(g, indices, dims), values.shape)
    return g if accumulate else index_put(g, indices, zeros_like(values), dims), None, to_values


def _put_arguments(x: Tensor, indices: Sequence[Tensor], dims: Any, accumulate: bool) -> tuple[Any, Any, bool]:
    """Where to put, as `index_put` takes it; without `dims` the indices are for the first dimensions, as in PyTorch."""
    from .masks import with_positions

    if dims is not None and not isinstance(dims, bool):
        if isinstance(dims, str):
            raise ArgumentError(f"index_put: accumulate must be a bool, not str {dims!r}")
        return indices, dims, accumulate
    found = with_positions(x, indices)
    if len(found) > x.dim():
        raise BoundsError(f"index_put: {len(found)} indices for {x.dim()} dimensions")
    return found, tuple(range(len(found))), accumulate or bool(dims)


@function(over="index_put")
def index_put_like(x: Tensor, indices: Sequence[Tensor], values: Tensor, dims: Any = None, accumulate: bool = False) -> Tensor:
    """`index_put` with PyTorch's arguments, too: (indices, values, accumulate), and boolean masks among the indices."""
    at, dims, accumulate = _put_arguments(x, indices, dims, accumulate)
    return index_put(x, at, values, dims, accumulate)


@function(over="index_put_")
def index_put_like_(x: Tensor, indices: Sequence[Tensor], values: Tensor, dims: Any = None, accumulate: bool = False) -> Tensor:
    """`index_put_` with PyTorch's arguments, too."""
    at, dims, accumulate = _put_arguments(x, indices, dims, accumulate)
    result: Tensor = REGISTRY["index_put_"].op(x, at, values, dims, accumulate)
    return result
