"""Views whose indices are sums of others: diagonals, sliding windows, any strides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DimensionError, DomainError, ShapeError
from duograph.ir.dim import maximum as greater
from duograph.ir.dim import minimum as lesser
from duograph.ir.dim import product

from ..definition import INDEXING, MOVEMENT, VIEW, function, op
from ..elementwise.choice import where
from ..reduction.extrema import positions
from ..selection.indexing import add_along, put_along
from ..tracing import emit, require, require_equal, user_operator
from .copying import cast
from .creation import full, zeros_like
from .movement import axis, broadcast_to, reshape, unsqueeze
from .permuting import permute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Size, Sizes


def affine_view(x: Any, shape: Sequence[Any], offsets: Sequence[Any], rows: Sequence[Sequence[Any]], distinct: bool) -> Tensor:
    """The view whose element i is x's at offsets + rows · i."""
    return emit(
        "affine",
        [x],
        x.dtype,
        tuple(shape),
        offsets=tuple(offsets),
        coefficients=tuple(c for row in rows for c in row),
        distinct=distinct,
    )


def places(x: Any, view: Any) -> Tensor:
    """Where each element of a view of x lies in x flattened, as one row."""
    from .creation import iota

    shape = tuple(x.shape)
    return reshape(view(reshape(iota(product(shape)), shape)), -1)


def added_back(g: Any, x: Any, view: Any) -> Tensor:
    """The gradient of a view in which elements of x may appear several times."""
    shape = tuple(x.shape)
    flat = reshape(zeros_like(x), product(shape))
    return reshape(add_along(flat, places(x, view), reshape(g, -1), 0), shape)


def put_back(base: Any, value: Any, view: Any) -> Tensor:
    """`base` after `value` was written into a view of it."""
    shape = tuple(base.shape)
    flat = reshape(base, product(shape))
    return reshape(put_along(flat, places(base, view), reshape(value, -1), 0), shape)


# Diagonals


def _span(rows: Any, columns: Any, offset: Any) -> tuple[Any, Any, Any]:
    """First row, first column and length of a diagonal."""
    row, column = greater(-offset, 0), greater(offset, 0)
    return row, column, greater(lesser(rows - row, columns - column), 0)


def _two_dims(name: str, dim1: int, dim2: int, rank: int) -> tuple[int, int]:
    name = user_operator(name)
    if rank < 2:
        raise DimensionError(f"{name}: needs at least two dimensions, got {rank}")
    first, second = axis(name, dim1, rank), axis(name, dim2, rank)
    if first == second:
        raise DimensionError(f"{name}: dim1 and dim2 are both {first}")
    return first, second


def on_diagonal(value: Any, others: Any, offset: Any, dim1: int, dim2: int) -> Tensor:
    """`others` with a diagonal replaced by `value` [*rest, length]."""
    from .slicing import slice_put

    shape, rank = tuple(others.shape), len(others.shape)
    row, _, length = _span(shape[dim1], shape[dim2], offset)
    along = full((*value.shape[:-1], shape[dim1]), 0, value.dtype)
    along = slice_put(along, value, -1, row, row + length)
    rest = [d for d in range(rank) if d not in (dim1, dim2)]
    order = [*rest, dim1]
    along = permute(along, *(order.index(d) for d in range(rank) if d != dim2))
    along = broadcast_to(unsqueeze(along, dim2), shape)
    return where(positions(others, dim2) - positions(others, dim1) == offset, along, others)


@op(
    kind=VIEW,
    lowers=True,
    reference=lambda np, x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2),
    samples=lambda m: [
        *((m(4, 4),), (m(3, 5), 1), (m(5, 3), -2), (m(3, 4), 7), (m(0, 3),)),
        *((m(2, 3, 4), 0, -1, 1), (m(2, 3, 4), 1, 2, 0)),
    ],
)
def diagonal(x: Tensor, offset: Size = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of a diagonal of the matrices that two dimensions span; it becomes the last dimension.

    Shapes:   x [*S] → [*S without dim1 and dim2, length]
    Dtypes:   kept
    Gradient: put on the diagonal of zeros
    Errors:   DimensionError for one dimension given twice, or fewer than two
    Source:   torch.diagonal

    >>> diagonal(tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    shape, rank = tuple(x.shape), len(x.shape)
    first, second = _two_dims("diagonal", dim1, dim2, rank)
    row, column, length = _span(shape[first], shape[second], offset)
    rest = [d for d in range(rank) if d not in (first, second)]
    offsets = [lesser(row, shape[d]) if d == first else lesser(column, shape[d]) if d == second else 0 for d in range(rank)]
    rows = [[1 if d in (first, second) else 0] for d in range(rank)]
    rows = [[int(d == other) for other in rest] + row for d, row in enumerate(rows)]
    return affine_view(x, [*(shape[d] for d in rest), length], offsets, rows, True)


@diagonal.vjp
def _(g: Any, out: Any, x: Any, offset: Any, dim1: int, dim2: int) -> Any:
    rank = len(x.shape)
    return on_diagonal(g, zeros_like(x), offset, *_two_dims("diagonal", dim1, dim2, rank))


@diagonal.writes_through
def _(base: Any, value: Any, offset: Any, dim1: int, dim2: int) -> Any:
    return on_diagonal(value, base, offset, *_two_dims("diagonal", dim1, dim2, len(base.shape)))


def _np_diagonal_scatter(np: Any, x: Any, source: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    x = x.copy()
    at = np.diagonal(np.arange(x.size).reshape(x.shape), offset, dim1, dim2)
    x.reshape(-1)[at] = source
    return x


@op(
    kind=MOVEMENT,
    reference=_np_diagonal_scatter,
    samples=lambda m: [(m(4, 4), m(4)), (m(3, 5), m(3), 1), (m(2, 3, 4), m(3, 2), 0, -1, 0)],
    names="src=source",
)
def diagonal_scatter(x: Tensor, source: Tensor, offset: Size = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """x with a diagonal replaced.

    Shapes:   x [*S], source as `diagonal` gives → [*S]
    Dtypes:   x's
    Gradient: to x elsewhere, to source on the diagonal
    Errors:   ShapeError unless source has the diagonal's shape; DimensionError
    Source:   torch.diagonal_scatter

    >>> diagonal_scatter(tensor([[1, 2], [3, 4]]), tensor([7, 8]))
    tensor([[7, 2],
            [3, 8]])
    """
    name, rank = user_operator("diagonal_scatter"), len(x.shape)
    first, second = _two_dims(name, dim1, dim2, rank)
    _, _, length = _span(x.shape[first], x.shape[second], offset)
    wanted = (*(s for d, s in enumerate(x.shape) if d not in (first, second)), length)
    if len(source.shape) != len(wanted):
        raise ShapeError(f"{name}: source has {len(source.shape)} dimensions, the diagonal {len(wanted)}")
    for d, (have, want) in enumerate(zip(source.shape, wanted)):
        require_equal(name, have, want, f"size {d} of source is {have}, of the diagonal {want}")
    from .copying import cast

    return on_diagonal(cast(source, x.dtype), x, offset, first, second)


def _np_diag_embed(np: Any, x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    n = x.shape[-1] + abs(offset)
    made = np.zeros((*x.shape[:-1], n, n), x.dtype)
    i = np.arange(x.shape[-1])
    made[..., i + max(-offset, 0), i + max(offset, 0)] = x
    return np.moveaxis(made, (-2, -1), (dim1, dim2))


@op(
    kind=MOVEMENT,
    reference=_np_diag_embed,
    samples=lambda m: [(m(4),), (m(3), 1), (m(2, 3), -2), (m(2, 3), 0, 0, 2), (m(0),)],
)
def diag_embed(x: Tensor, offset: Size = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices with the last dimension on a diagonal, zeros elsewhere.

    Shapes:   x [*S, n] → [*S with two dimensions n + |offset| at dim1 and dim2]
    Dtypes:   kept
    Gradient: its diagonal
    Errors:   DimensionError
    Source:   torch.diag_embed

    >>> diag_embed(tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    if not x.shape:
        raise DimensionError(f"{user_operator('diag_embed')}: needs at least one dimension")
    rank = len(x.shape) + 1
    for bound in (offset, -offset):  # beyond it sizes leave 64 bits
        require("le", bound, 1 << 48, ShapeError, f"{user_operator('diag_embed')}: offset {offset} is too large")
    first, second = _two_dims("diag_embed", dim1, dim2, rank)
    side = x.shape[-1] + greater(offset, -offset)
    rest = iter(x.shape[:-1])
    shape = tuple(side if d in (first, second) else next(rest) for d in range(rank))
    return on_diagonal(x, full(shape, 0, x.dtype), offset, first, second)


@diag_embed.vjp
def _(g: Any, out: Any, x: Any, offset: Any, dim1: int, dim2: int) -> Any:
    return diagonal(g, offset, dim1, dim2)


@op(
    kind=MOVEMENT,
    reference=lambda np, x, diagonal=0: np.diag(x, diagonal),
    samples=lambda m: [(m(4),), (m(3), 1), (m(3, 5), -1), (m(3, 3),)],
)
def diag(x: Tensor, diagonal: Size = 0) -> Tensor:
    """A vector as the diagonal of a matrix of zeros; of a matrix its diagonal.

    Shapes:   x [n] → [n + |diagonal|, n + |diagonal|]; x [n, m] → [length]
    Dtypes:   kept
    Gradient: the other way round
    Errors:   DimensionError for other ranks
    Source:   torch.diag

    >>> diag(tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    from ..definition import REGISTRY
    from .copying import clone

    if len(x.shape) not in (1, 2):
        raise DimensionError(f"{user_operator('diag')}: takes one or two dimensions, got {len(x.shape)}")
    return diag_embed(x, diagonal) if len(x.shape) == 1 else clone(REGISTRY["diagonal"].op(x, diagonal))


@op(kind=MOVEMENT, samples=lambda m: [(m(4),), (m(2, 3), 1)], reference=lambda np, x, offset=0: np.diagflat(x, offset))
def diagflat(x: Tensor, offset: Size = 0) -> Tensor:
    """All elements, row-major, as the diagonal of a matrix of zeros.

    Shapes:   x [*S] → [n + |offset|, n + |offset|] with n elements
    Dtypes:   kept
    Gradient: its diagonal
    Errors:   none
    Source:   torch.diagflat

    >>> diagflat(tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(reshape(x, -1), offset)


# Dimensions as several


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    samples=lambda m: [(m(2, 6), 1, (2, 3)), (m(4, 3), 0, (2, 2)), (m(2, 6), 1, (6, 1))],
    reference=lambda np, x, dim, sizes: np.reshape(x, x.shape[:dim] + tuple(sizes) + x.shape[dim + 1 :]),
)
def divided(x: Tensor, dim: int, sizes: Sizes) -> Tensor:
    """The same memory with a dimension as several, whose sizes multiply to its size: `unflatten` of tensors with gaps.

    Shapes:   x [*S] → [*S[:dim], *sizes, *S[dim + 1:]]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   ShapeError unless the sizes multiply to the dimension's
    Source:   torch.unflatten

    >>> dg.ops.divided(tensor([1, 2, 3, 4]), 0, (2, 2))
    tensor([[1, 2],
            [3, 4]])
    """
    shape, inner = tuple(x.shape), tuple(sizes)
    message = f"{user_operator('unflatten')}: sizes {inner} do not multiply to {shape[dim]}"
    require("eq", product(inner), shape[dim], ShapeError, message)
    made = (*shape[:dim], *inner, *shape[dim + 1 :])
    rows: list[list[Any]] = []
    for d in range(len(shape)):
        row: list[Any] = [0] * len(made)
        if d == dim:
            for i in range(len(inner)):
                row[dim + i] = product(inner[i + 1 :])
        else:
            row[d if d < dim else d + len(inner) - 1] = 1
        rows.append(row)
    return affine_view(x, made, [0] * len(shape), rows, True)


@divided.vjp
def _(g: Any, out: Any, x: Any, dim: int, sizes: Any) -> Any:
    return reshape(g, x.shape)


@divided.writes_through
def _(base: Any, value: Any, dim: int, sizes: Any) -> Any:
    return reshape(value, base.shape)


# Windows and strides


def _np_unfold(np: Any, x: Any, dim: int, size: int, step: int) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, size, dim)
    index = [np.s_[:]] * windows.ndim
    index[dim % x.ndim] = np.s_[::step]
    return windows[tuple(index)]


@op(
    kind=VIEW,
    lowers=True,
    public=False,
    reference=_np_unfold,
    samples=lambda m: [(m(7), 0, 3, 1), (m(3, 8), 1, 2, 3), (m(5, 2), 0, 5, 2), (m(4, 6), -1, 3, 2)],
)
def unfold(x: Tensor, dimension: int, size: Size, step: Size) -> Tensor:
    """A view of all windows of a size along a dimension, `step` apart; what is in a window becomes the last dimension.

    Shapes:   x [*S] → [*S with (S[dim] - size) // step + 1 at dim, size]
    Dtypes:   kept
    Gradient: added up where windows overlap
    Errors:   DomainError for a step below 1; ShapeError for windows beyond the size; DimensionError
    Source:   torch.Tensor.unfold

    >>> tensor([1, 2, 3, 4]).unfold(0, 2, 1)
    tensor([[1, 2],
            [2, 3],
            [3, 4]])
    """
    name, shape = user_operator("unfold"), tuple(x.shape)
    rank = len(shape)
    dim = axis(name, dimension, rank)
    require("le", 1, step, DomainError, f"{name}: the step must be above 0, got {step}")
    require("le", 0, size, ShapeError, f"{name}: the size of a window must not be negative, got {size}")
    length = shape[dim] if rank else 1
    require("le", size, length, ShapeError, f"{name}: windows of {size} in a dimension of size {length}")
    if not rank:  # one window of at most one element
        return affine_view(emit("reshape", [x], x.dtype, (1,)), [size], [0], [[1]], True)
    count = (shape[dim] - size) // step + 1
    rows = [[(step if d == dim else 1) if d == other else 0 for other in range(rank)] + [int(d == dim)] for d in range(rank)]
    distinct = isinstance(step, int) and isinstance(size, int) and step >= size
    return affine_view(x, [*(count if d == dim else s for d, s in enumerate(shape)), size], [0] * rank, rows, distinct)


@unfold.vjp
def _(g: Any, out: Any, x: Any, dimension: int, size: Any, step: Any) -> Any:
    return added_back(g, x, lambda of: unfold(of, dimension, size, step))


@unfold.writes_through
def _(base: Any, value: Any, dimension: int, size: Any, step: Any) -> Any:
    return put_back(base, value, lambda of: unfold(of, dimension, size, step))


def _np_strided(np: Any, x: Any, size: Any, stride: Any, start: int = 0) -> Any:
    flat = np.ascontiguousarray(x).reshape(-1)[start:]
    return np.lib.stride_tricks.as_strided(flat, size, [s * x.itemsize for s in stride])


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    reference=_np_strided,
    samples=lambda m: [(m(12), (3, 2), (4, 1)), (m(3, 4), (2, 2), (1, 5), 2), (m(9), (3,), (0,), 4), (m(6), (), (), 5)],
)
def strided(x: Tensor, size: Sizes, stride: Sizes, start: Size = 0) -> Tensor:
    """The view of x's elements in row-major order with these sizes and strides, from an element on.

    Shapes:   x [*S] → [*size]
    Dtypes:   kept
    Gradient: added up where places are seen several times
    Errors:   ShapeError if size and stride differ in length, are negative or reach beyond x
    Source:   numpy.lib.stride_tricks.as_strided

    >>> dg.ops.strided(tensor([1, 2, 3, 4]), (2, 2), (1, 2))
    tensor([[1, 3],
            [2, 4]])
    """
    name = user_operator("as_strided")
    count = product(tuple(x.shape))
    if len(size) != len(stride):
        raise ShapeError(f"{name}: {len(size)} sizes and {len(stride)} strides")
    reach: Any = start + 1
    for length, step in zip(size, stride):
        require("le", 0, length, ShapeError, f"{name}: a size must not be negative, got {tuple(size)}")
        require("le", 0, step, ShapeError, f"{name}: a stride must not be negative, got {tuple(stride)}")
        reach = reach + greater(length - 1, 0) * step
    require("le", 0, start, ShapeError, f"{name}: the offset must not be negative, got {start}")
    occupied = reach * lesser(product(tuple(size)), 1)
    message = f"{name}: sizes {tuple(size)} and strides {tuple(stride)} reach beyond {count} elements"
    require("le", occupied, count, ShapeError, message)
    flat = emit("reshape", [x], x.dtype, (count,))
    return affine_view(flat, size, [start], [list(stride)], _apart(size, stride))


def _apart(size: Sequence[Any], stride: Sequence[Any]) -> bool:
    """Whether sizes and strides are known to show each place once."""
    if not all(isinstance(s, int) for s in (*size, *stride)):
        return False
    reach = 0
    for step, length in sorted((s, n) for s, n in zip(stride, size) if n != 1):
        if step <= reach:
            return False
        reach += step * (length - 1)
    return True


@strided.vjp
def _(g: Any, out: Any, x: Any, size: Any, stride: Any, start: Any) -> Any:
    return added_back(g, x, lambda of: strided(of, size, stride, start))


@strided.writes_through
def _(base: Any, value: Any, size: Any, stride: Any, start: Any) -> Any:
    return put_back(base, value, lambda of: strided(of, size, stride, start))


def _torch_scatter(x: Any, src: Any, view: Any) -> Any:
    made = x.clone()
    made.as_strided(*view).copy_(src)
    return made


@op(
    kind=INDEXING,
    torch=lambda torch, x, src, *view: _torch_scatter(x, src, view),  # its own has the gradient of x the wrong way round
    samples=lambda m: [(m(12), m(3, 2), (3, 2), (4, 1)), (m(3, 4), m(2), (2,), (5,), 2)],
)
def as_strided_scatter(x: Tensor, src: Tensor, size: Sizes, stride: Sizes, storage_offset: Size = 0) -> Tensor:
    """A copy of x with the elements that `as_strided` shows replaced.

    Shapes:   x [*S], src [*size] → [*S]
    Dtypes:   x's
    Gradient: to x elsewhere, to src there
    Errors:   ShapeError if src does not have that size, or for a view that reaches beyond x
    Source:   torch.as_strided_scatter

    >>> as_strided_scatter(tensor([1, 2, 3]), tensor([7, 8]), (2,), (2,))
    tensor([7, 2, 8])
    """
    name = user_operator("as_strided_scatter")
    if len(src.shape) != len(size):
        raise ShapeError(f"{name}: src has {len(src.shape)} dimensions, {len(size)} sizes are given")
    for d, (have, want) in enumerate(zip(src.shape, size)):
        require_equal(name, have, want, f"size {d} of src is {have}, it should be {want}")
    return put_back(x, cast(src, x.dtype), lambda of: strided(of, size, stride, storage_offset))


_MANY = 16384  # elements from which on two programs that copy by strides are faster than one that writes by positions


@function(over="as_strided_scatter")
def as_strided_scatter_of(x: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """`as_strided_scatter`; where size and stride show each place once, src is copied into the view of a copy of x."""
    offset = 0 if storage_offset is None else storage_offset
    recorded = core.is_grad_enabled() and (x.requires_grad or src.requires_grad)
    if core.tracing() or recorded or src.numel() < _MANY or not x.is_contiguous():
        return as_strided_scatter(x, src, size, stride, offset)
    if tuple(src.shape) != tuple(size) or not _apart(tuple(size), tuple(stride)):
        return as_strided_scatter(x, src, size, stride, offset)
    made: Tensor = x.detach().clone()
    strided(made, tuple(size), tuple(stride), offset).copy_(src)
    return made
