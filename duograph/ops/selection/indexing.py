"""Elements picked and written by integer tensors and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DTypeError, ShapeError
from duograph.ir.dim import product

from ..definition import INDEXING, REGISTRY, function, op
from ..elementwise.choice import where
from ..shapes.copying import cast
from ..shapes.creation import zeros_like
from ..shapes.movement import axis, broadcast_to, reshape
from ..shapes.permuting import permute
from ..tracing import broadcast_shapes, cast_value, emit, require_equal, user_operator, value_of, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Operand


def require_index(name: str, index: Any, what: str = "index") -> None:
    """Indices are integers."""
    if index.dtype.kind not in "ui":
        raise DTypeError(
            f"{user_operator(name)}: {what} must hold integers, got {index.dtype.name}", hint="convert it with .long()"
        )


def _indices(name: str, index: Any, what: str = "index") -> Any:
    require_index(name, index, what)
    return cast_value(value_of(index), core.int64)


@op(
    kind=INDEXING,
    lowers=True,
    method=False,
    public=False,
    reference=lambda np, x, index, dim: np.take(x, index, dim),
    samples=lambda m: [
        (m(5, 4), m.ints(3, high=5), 0),
        (m(5, 4), m.ints(2, 3, high=4), 1),
        (m(5), m.ints(high=5), 0),
        (m(5, 4), m.ints(0, high=5), 0),
    ],
)
def take_along(x: Tensor, index: Tensor, dim: int = 0) -> Tensor:
    """Whole slices of x along a dimension, by an index of any rank.

    Shapes:   x [*S], index [*I] → [*S[:dim], *I, *S[dim + 1:]]
    Dtypes:   x's; index integers
    Gradient: added up at the indices
    Errors:   BoundsError for an index out of range; DTypeError unless the index holds integers
    Source:   numpy.take

    >>> dg.ops.take_along(tensor([5, 6, 7]), tensor([2, 0]))
    tensor([7, 5])
    """
    dim = axis("take_along", dim, len(x.shape))
    shape = (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])
    return emit("take", [x, wrap(_indices("take_along", index))], x.dtype, shape, dim=dim)


@take_along.vjp
def _(g: Any, out: Any, x: Any, index: Any, dim: int) -> Any:
    return add_along(zeros_like(x), index, g, dim), None


def _np_add_along(np: Any, x: Any, index: Any, source: Any, dim: int = 0) -> Any:
    x = x.copy()
    moved = np.moveaxis(x, dim, 0)
    rank = index.ndim
    np.add.at(moved, index, np.moveaxis(source, tuple(range(dim, dim + rank)), tuple(range(rank))))
    return x


@op(
    kind=INDEXING,
    lowers=True,
    method=False,
    public=False,
    reference=_np_add_along,
    samples=lambda m: [
        (m(5, 4), m.ints(3, high=5), m(3, 4), 0),
        (m(5, 4), m.ints(2, 3, high=4), m(5, 2, 3), 1),
        (m(5), m.ints(7, high=5), m(7), 0),
    ],
)
def add_along(x: Tensor, index: Tensor, source: Tensor, dim: int = 0) -> Tensor:
    """x with slices of source added at the indices along a dimension, in index order.

    Shapes:   x [*S], index [*I], source [*S[:dim], *I, *S[dim + 1:]] → [*S]
    Dtypes:   x's; index integers
    Gradient: 1 to x; taken at the indices to source
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.index_add

    >>> dg.ops.add_along(tensor([0, 0]), tensor([1, 1]), tensor([2, 3]))
    tensor([0, 5])
    """
    dim = axis("add_along", dim, len(x.shape))
    return _combined("take_add", "add_along", x, index, source, dim)


def _combined(primitive: str, name: str, x: Any, index: Any, source: Any, dim: int) -> Tensor:
    name = user_operator(name)
    shape = (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])
    if len(source.shape) != len(shape):
        raise ShapeError(f"{name}: source must have {len(shape)} dimensions, got {len(source.shape)}")
    for d, (have, want) in enumerate(zip(source.shape, shape)):
        require_equal(name, want, have, f"size {d} of source is {have}, it should be {want}")
    given = wrap(cast_value(value_of(source), x.dtype))
    return emit(primitive, [x, wrap(_indices(name, index)), given], x.dtype, tuple(x.shape), dim=dim)


@add_along.vjp
def _(g: Any, out: Any, x: Any, index: Any, source: Any, dim: int) -> Any:
    return g, None, take_along(g, index, dim)


def _np_put_along(np: Any, x: Any, index: Any, source: Any, dim: int = 0) -> Any:
    x = x.copy()
    rank = index.ndim
    np.moveaxis(x, dim, 0)[index] = np.moveaxis(source, tuple(range(dim, dim + rank)), tuple(range(rank)))
    return x


@op(
    kind=INDEXING,
    lowers=True,
    method=False,
    public=False,
    reference=_np_put_along,
    samples=lambda m: [
        (m(5, 4), m.of([3, 1]).astype("int64"), m(2, 4), 0),
        (m(5), m.of([[0, 1], [2, 3]]).astype("int64"), m(2, 2), 0),
    ],
)
def put_along(x: Tensor, index: Tensor, source: Tensor, dim: int = 0) -> Tensor:
    """x with slices of source written at the indices along a dimension; of equal indices the last one stays.

    Shapes:   x [*S], index [*I], source [*S[:dim], *I, *S[dim + 1:]] → [*S]
    Dtypes:   x's; index integers
    Gradient: to x elsewhere; taken at the indices to source
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.index_copy

    >>> dg.ops.put_along(tensor([0, 0]), tensor([1]), tensor([2]))
    tensor([0, 2])
    """
    dim = axis("put_along", dim, len(x.shape))
    return _combined("take_put", "put_along", x, index, source, dim)


@put_along.vjp
def _(g: Any, out: Any, x: Any, index: Any, source: Any, dim: int) -> Any:
    return put_along(g, index, zeros_like(source), dim), None, take_along(g, index, dim)


@op(
    kind=INDEXING,
    reference=lambda np, x, dim, index: np.take(x, index, dim),
    samples=lambda m: [(m(5, 4), 0, m.ints(3, high=5)), (m(5, 4), -1, m.ints(6, high=4)), (m(5), 0, m.ints(0, high=5))],
)
def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Slices along a dimension, in the order of the index.

    Shapes:   x [*S], index [n] → [*S with S[dim] = n]
    Dtypes:   x's; index integers
    Gradient: added up at the indices
    Errors:   BoundsError for an index out of range; ShapeError unless the index has one dimension; DTypeError
    Source:   torch.index_select

    >>> index_select(tensor([5, 6, 7]), 0, tensor([2, 0]))
    tensor([7, 5])
    """
    if len(index.shape) > 1:
        raise ShapeError(f"index_select: index must have one dimension, got shape {tuple(index.shape)}")
    return take_along(x, index if index.shape else reshape(index, 1), axis("index_select", dim, len(x.shape)))


@index_select.vjp
def _(g: Any, out: Any, x: Any, dim: int, index: Any) -> Any:
    return add_along(zeros_like(x), index if index.shape else reshape(index, 1), g, dim), None


def _np_gather(np: Any, x: Any, dim: int, index: Any) -> Any:
    where = list(np.indices(index.shape))
    where[dim] = index
    return x[tuple(where)]


@op(
    kind=INDEXING,
    lowers=True,
    reference=_np_gather,
    samples=lambda m: [
        (m(5, 4), 0, m.ints(3, 4, high=5)),
        (m(5, 4), 1, m.ints(5, 7, high=4)),
        (m(5, 4), -1, m.ints(2, 1, high=4)),
        (m(6), 0, m.ints(0, high=6)),
    ],
)
def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = x[index[i][j]][j] for dim 0, x[i][index[i][j]] for dim 1, and so on.

    Shapes:   x [*S], index [*I] of the same rank, I[d] ≤ S[d] but at dim → [*I]
    Dtypes:   x's; index integers
    Gradient: added up at the indices
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.gather

    >>> gather(tensor([[1, 2], [3, 4]]), 1, tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    dim = _checked_gather("gather", x, dim, index)
    return emit("gather", [x, wrap(_indices("gather", index))], x.dtype, tuple(index.shape), dim=dim)


def _checked_gather(name: str, x: Any, dim: int, index: Any) -> int:
    name = user_operator(name)
    require_index(name, index)
    if len(index.shape) != len(x.shape):
        raise ShapeError(f"{name}: index must have {len(x.shape)} dimensions as x has, got {len(index.shape)}")
    dim = axis(name, dim, len(x.shape))
    for d, (have, limit) in enumerate(zip(index.shape, x.shape)):
        if d == dim:
            continue
        if isinstance(have, int) and isinstance(limit, int):
            if have > limit:
                raise ShapeError(f"{name}: size {d} of index is {have}, beyond {limit} of x")
        elif have is not limit:
            from duograph.ir.builder import current

            current().check("le", have, limit, 0)
    return dim


@gather.vjp
def _(g: Any, out: Any, x: Any, dim: int, index: Any) -> Any:
    return scatter_add(zeros_like(x), dim, index, g), None


def _np_scatter(add: bool) -> Any:
    def reference(np: Any, x: Any, dim: int, index: Any, source: Any) -> Any:
        x = x.copy()
        where = list(np.indices(index.shape))
        where[dim] = index
        part = np.broadcast_to(source, index.shape) if np.ndim(source) == 0 else source[tuple(map(slice, index.shape))]
        if add:
            np.add.at(x, tuple(where), part)
        else:
            x[tuple(where)] = part
        return x

    return reference


@op(
    kind=INDEXING,
    lowers=True,
    reference=_np_scatter(True),
    inplace="scatter_add_",
    samples=lambda m: [
        (m(5, 4), 0, m.ints(3, 4, high=5), m(3, 4)),
        (m(5, 4), 1, m.ints(5, 7, high=4), m(5, 7)),
        (m(6), -1, m.ints(9, high=6), m(9)),
    ],
)
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x with src's elements added where `gather` with this index would read, in index order.

    Shapes:   x [*S], index and src [*I] of the same rank → [*S]
    Dtypes:   x's; index integers
    Gradient: 1 to x; gathered to src
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.scatter_add

    >>> scatter_add(tensor([0, 0]), 0, tensor([1, 1]), tensor([2, 3]))
    tensor([0, 5])
    """
    return scattered("scatter_add", x, dim, index, src)


def scattered(name: str, x: Any, dim: int, index: Any, source: Any, **attrs: Any) -> Tensor:
    dim = _checked_gather(name, x, dim, index)
    given = wrap(cast_value(value_of(source), x.dtype))
    if not given.shape:
        given = broadcast_to(given, tuple(index.shape))
    else:
        for d, (have, want) in enumerate(zip(given.shape, index.shape, strict=True)):
            require_equal(user_operator(name), want, have, f"size {d} of source is {have}, of index {want}")
    return emit(name, [x, wrap(_indices(name, index)), given], x.dtype, tuple(x.shape), dim=dim, **attrs)


@scatter_add.vjp
def _(g: Any, out: Any, x: Any, dim: int, index: Any, source: Any) -> Any:
    return g, None, gather(g, dim, index)


@op(
    kind=INDEXING,
    lowers=True,
    reference=_np_scatter(False),
    inplace="scatter_",
    samples=lambda m: [
        (m(5, 4), 0, m.of([[0, 1, 2, 3], [1, 2, 3, 4]]).astype("int64"), m(2, 4)),
        (m(6), -1, m.of([1, 3]).astype("int64"), 1),
    ],
    names="value=src",
)
def scatter(x: Tensor, dim: int, index: Tensor, src: Operand) -> Tensor:
    """x with src's elements (or one number) written where `gather` with this index would read.

    Shapes:   x [*S], index and src [*I] of the same rank → [*S]
    Dtypes:   x's; index integers
    Gradient: to x elsewhere; gathered to src
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.scatter

    >>> scatter(tensor([0, 0]), 0, tensor([1]), tensor([2]))
    tensor([0, 2])
    """
    return scattered("scatter", x, dim, index, src)


@scatter.vjp
def _(g: Any, out: Any, x: Any, dim: int, index: Any, source: Any) -> Any:
    return scatter(g, dim, index, 0.0), None, gather(g, dim, index)


# x[i, j] and x[i, j] = value


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
        return indices, dims, accumulate
    found = with_positions(x, indices)
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
