"""Elements picked and written along one dimension by integer tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DTypeError, ShapeError

from ..definition import INDEXING, op
from ..shapes.creation import zeros_like
from ..shapes.movement import axis, broadcast_to, reshape
from ..tracing import cast_value, emit, require_equal, user_operator, value_of, wrap

if TYPE_CHECKING:
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
    reference=lambda np, x, dim, index: np.take(x, index, dim) if x.ndim else x,
    samples=lambda m: [
        (m(5, 4), 0, m.ints(3, high=5)),
        (m(5, 4), -1, m.ints(6, high=4)),
        (m(5), 0, m.ints(0, high=5)),
        (m(), 0, m.ints(1, high=1)),
    ],
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
    index, along = index if index.shape else reshape(index, 1), axis("index_select", dim, len(x.shape))
    return take_along(x, index, along) if x.shape else reshape(take_along(reshape(x, 1), index, 0), ())


@index_select.vjp
def _(g: Any, out: Any, x: Any, dim: int, index: Any) -> Any:
    if not x.shape:
        return g, None
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
    if len(x.shape) <= 1 and not (x.shape and index.shape):
        return reshape(gather(as_line(x), dim, as_line(index)), tuple(index.shape))
    dim = _checked_gather("gather", x, dim, index)
    return emit("gather", [x, wrap(_indices("gather", index))], x.dtype, tuple(index.shape), dim=dim)


def as_line(x: Any) -> Any:
    """A scalar as a row of one element, others as they are."""
    return x if x.shape else reshape(x, (1,))


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


@op(
    kind=INDEXING,
    lowers=True,
    method=False,
    public=False,
    reference=_np_scatter(True),
    samples=lambda m: [(m(5, 4), 0, m.ints(3, 4, high=5), m(3, 4)), (m(6), -1, m.ints(9, high=6), m(9))],
)
def scatter_add_within(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`scatter_add` of an index that cannot be out of range, since an operator has made it.

    Shapes:   x [*S], index and src [*I] of the same rank → [*S]
    Dtypes:   x's; index integers
    Gradient: 1 to x; gathered to src
    Errors:   ShapeError; DTypeError
    Source:   torch.scatter_add

    >>> dg.ops.scatter_add_within(tensor([0, 0]), 0, tensor([1, 1]), tensor([2, 3]))
    tensor([0, 5])
    """
    return scattered("scatter_add", x, dim, index, src, within=True)


@scatter_add_within.vjp
def _(g: Any, out: Any, x: Any, dim: int, index: Any, source: Any) -> Any:
    return g, None, gather(g, dim, index)


def scattered(name: str, x: Any, dim: int, index: Any, source: Any, **attrs: Any) -> Tensor:
    if len(x.shape) <= 1 and not (x.shape and index.shape):
        source = as_line(source) if hasattr(source, "shape") else source
        return reshape(scattered(name, as_line(x), dim, as_line(index), source, **attrs), tuple(x.shape))
    dim = _checked_gather(name, x, dim, index)
    given = wrap(cast_value(value_of(source), x.dtype))
    if not given.shape:
        given = broadcast_to(given, tuple(index.shape))
    else:
        if len(given.shape) != len(index.shape):
            ranks = f"source has {len(given.shape)} dimensions, index {len(index.shape)}"
            raise ShapeError(f"{user_operator(name)}: {ranks}: they must have the same shape")
        for d, (have, want) in enumerate(zip(given.shape, index.shape)):
            if isinstance(have, int) and isinstance(want, int) and have > want:
                part = ", ".join(f":{size}" for size in index.shape)
                message = f"size {d} of source is {have}, of index {want}"
                raise ShapeError(
                    f"{user_operator(name)}: {message}", hint=f"the part that the index has places for is source[{part}]"
                )
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
