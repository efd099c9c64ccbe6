"""Elements in other places: repeated, turned, rolled, one triangle of a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DimensionError, ShapeError
from duograph.ir.builder import current
from duograph.ir.dim import maximum as greater
from duograph.ir.dim import mod

from ..definition import MOVEMENT, function, op
from ..elementwise.choice import where
from ..reduction.extrema import positions
from ..reduction.reductions import sum
from ..selection.indexing import take_along
from ..tracing import emit, require, require_equal, user_operator, value_of
from .copying import cast, clone
from .creation import full, zeros_like
from .joining import cat
from .movement import axes, axis, broadcast_to, reshape
from .permuting import transpose
from .slicing import slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Axis, Size, Sizes


# Repetition


def _repeated(name: str, x: Any, repeats: Sequence[Any]) -> Tensor:
    """x several times along each dimension; it has as many dimensions as there are repeats."""
    shape = tuple(x.shape)
    for times in repeats:
        require("le", 0, times, ShapeError, f"{name}: a number of repetitions must not be negative, got {tuple(repeats)}")
    wide = reshape(x, tuple(s for size in shape for s in (1, size)))
    wide = broadcast_to(wide, tuple(s for times, size in zip(repeats, shape) for s in (times, size)))
    return clone(reshape(wide, tuple(times * size for times, size in zip(repeats, shape))))


def _fold(g: Any, x: Any, repeats: Sequence[Any]) -> Any:
    """The gradient of repetition: the sum of all copies."""
    shape = (1,) * (len(repeats) - len(x.shape)) + tuple(x.shape)
    wide = reshape(g, tuple(s for times, size in zip(repeats, shape) for s in (times, size)))
    return reshape(sum(wide, tuple(range(0, 2 * len(shape), 2))), tuple(x.shape)) if shape else g


def _np_tile(np: Any, x: Any, *repeats: Any) -> Any:
    return np.tile(x, repeats[0] if len(repeats) == 1 and isinstance(repeats[0], tuple) else repeats)


@op(
    kind=MOVEMENT,
    public=False,
    reference=_np_tile,
    samples=lambda m: [(m(3), 2), (m(2, 3), 2, 1), (m(2, 3), (4, 2, 3)), (m(3), 0, 2), (m(), 2), (m(0, 2), 2, 2)],
)
def repeat(x: Tensor, *repeats: int) -> Tensor:
    """x several times along each dimension; further numbers in front make new dimensions.

    Shapes:   x [*S] → [*(repeats * S)]
    Dtypes:   kept
    Gradient: the sum of all copies
    Errors:   ShapeError for fewer numbers than dimensions, or negative ones
    Source:   torch.Tensor.repeat

    >>> tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    name, extra = user_operator("repeat"), len(repeats) - len(x.shape)
    if extra < 0:
        raise ShapeError(f"{name}: {len(repeats)} numbers for {len(x.shape)} dimensions", hint="give one for each dimension")
    return _repeated(name, reshape(x, (1,) * extra + tuple(x.shape)) if extra else x, repeats)


@repeat.vjp
def _(g: Any, out: Any, x: Any, *repeats: Any) -> Any:
    given = repeats[0] if len(repeats) == 1 and isinstance(repeats[0], tuple) else repeats
    return _fold(g, x, given)


@op(
    kind=MOVEMENT,
    reference=_np_tile,
    samples=lambda m: [(m(3), 2), (m(2, 3), 2), (m(2, 3), (4, 2, 3)), (m(), 3), (m(2, 2), 2, 2)],
)
def tile(x: Tensor, *dims: int) -> Tensor:
    """x several times along its last dimensions; as `repeat`, but missing numbers are 1.

    Shapes:   x [*S] → [*(dims * S)]
    Dtypes:   kept
    Gradient: the sum of all copies
    Errors:   ShapeError for a negative number
    Source:   torch.tile

    >>> tile(tensor([[1], [2]]), 2)
    tensor([[1, 1],
            [2, 2]])
    """
    missing = len(x.shape) - len(dims)
    repeats = (1,) * missing + tuple(dims)
    extra = len(repeats) - len(x.shape)
    return _repeated(user_operator("tile"), reshape(x, (1,) * extra + tuple(x.shape)) if extra else x, repeats)


@tile.vjp
def _(g: Any, out: Any, x: Any, *dims: Any) -> Any:
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], tuple) else dims
    return _fold(g, x, (1,) * (len(x.shape) - len(given)) + tuple(given))


@op(
    kind=MOVEMENT,
    method=False,
    public=False,
    samples=lambda m: [(m(3), 2), (m(2, 3), 3, 1), (m(2, 3), 2, 0), (m(2), 0)],
    reference=lambda np, x, times, dim=0: np.repeat(x, times, dim),
)
def repeat_each(x: Tensor, repeats: Size, dim: int = 0) -> Tensor:
    """Each element along a dimension several times in a row.

    Shapes:   x [*S] → [*S with S[dim] * repeats]
    Dtypes:   kept
    Gradient: the sum of the copies
    Errors:   ShapeError for a negative number; DimensionError
    Source:   numpy.repeat

    >>> dg.ops.repeat_each(tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    """
    shape = tuple(x.shape)
    name = user_operator("repeat_interleave")
    dim = axis(name, dim, len(shape))
    require("le", 0, repeats, ShapeError, f"{name}: repeats must not be negative, got {repeats}")
    wide = broadcast_to(reshape(x, (*shape[: dim + 1], 1, *shape[dim + 1 :])), (*shape[: dim + 1], repeats, *shape[dim + 1 :]))
    return clone(reshape(wide, (*shape[:dim], shape[dim] * repeats, *shape[dim + 1 :])))


@repeat_each.vjp
def _(g: Any, out: Any, x: Any, repeats: Any, dim: int) -> Any:
    dim = axis("repeat_interleave", dim, len(x.shape))
    return sum(reshape(g, (*x.shape[: dim + 1], repeats, *x.shape[dim + 1 :])), dim + 1)


@op(
    kind=MOVEMENT,
    method=False,
    public=False,
    differentiable=False,
    samples=lambda m: [(m.ints(5, high=4),), (m.of([0, 0]).astype("int64"),), (m.ints(0, high=2),)],
    reference=lambda np, repeats: np.repeat(np.arange(len(repeats)), repeats),
)
def repeated_indices(repeats: Tensor) -> Tensor:
    """Each index as often as `repeats` says. How many there are is known when the values are.

    Shapes:   repeats [n] → [sum(repeats)]
    Dtypes:   integers; int64
    Gradient: none
    Errors:   ShapeError unless repeats has one dimension
    Source:   torch.repeat_interleave

    >>> dg.ops.repeated_indices(tensor([2, 0, 1]))
    tensor([0, 0, 2])
    """
    from ..reduction.scans import cumsum
    from ..selection.indexing import scatter_add

    if len(repeats.shape) != 1:
        name = user_operator("repeat_interleave")
        raise ShapeError(f"{name}: repeats must have one dimension, got shape {tuple(repeats.shape)}")
    ends = cumsum(cast(repeats, core.int64), 0)  # where each index has had its turns
    total = current().size_of(value_of(sum(cast(repeats, core.int64))), "total")
    passed = scatter_add(full((total + 1,), 0), 0, ends, full((repeats.shape[0],), 1))
    return slice(cumsum(passed, 0), 0, 0, total)


def _np_interleave(np: Any, x: Any, repeats: Any = None, dim: Any = None) -> Any:
    return np.repeat(np.arange(len(x)), x) if repeats is None else np.repeat(x, repeats, dim)


@function(
    reference=_np_interleave,
    samples=lambda m: [(m(2, 3), 2), (m(2, 3), 2, 1), (m(3, 2), m.ints(3, high=4), 0), (m(2, 2), m.ints(4, high=3))],
)
def repeat_interleave(
    x: Tensor, repeats: int | Tensor | None = None, dim: int | None = None, output_size: int | None = None
) -> Tensor:
    """Each element along a dimension (of all, row-major, without one) several times in a row.

    With a tensor of numbers as its only argument: each index as often as they say.

    Shapes:   x [*S], repeats a number or [S[dim]] → [*S with the sum of repeats at dim]
    Dtypes:   kept
    Gradient: the sum of the copies
    Errors:   ShapeError; DimensionError
    Source:   torch.repeat_interleave

    >>> repeat_interleave(tensor([1, 2]), tensor([2, 1]))
    tensor([1, 1, 2])
    """
    if repeats is None:
        return repeated_indices(x)
    if dim is None:
        x, dim = reshape(x, (-1,)), 0
    if not isinstance(repeats, core.Tensor):
        return repeat_each(x, repeats, dim)
    dim = axis("repeat_interleave", dim, x.ndim)
    if repeats.dim() == 0 or (repeats.dim() == 1 and repeats.shape[0] == 1 and x.shape[dim] != 1):
        repeats = broadcast_to(reshape(repeats, (1,)), (x.shape[dim],))
    if repeats.dim() != 1:
        raise ShapeError(f"repeat_interleave: repeats must have at most one dimension, got {repeats.dim()}")
    message = f"{repeats.shape[0]} repeats for {x.shape[dim]} elements along dim {dim}"
    require_equal("repeat_interleave", repeats.shape[0], x.shape[dim], message)
    return take_along(x, repeated_indices(repeats), dim)


# Turning


@op(
    kind=MOVEMENT,
    lowers=True,
    reference=lambda np, x, *dims: np.flip(x, dims[0] if len(dims) == 1 else dims),
    samples=lambda m: [(m(3, 4), 0), (m(3, 4), (0, -1)), (m(5), 0), (m(0, 2), 1)],
)
def flip(x: Tensor, *dims: Axis) -> Tensor:
    """A copy with the order along dimensions reversed.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: flipped back
    Errors:   DimensionError
    Source:   torch.flip

    >>> flip(tensor([1, 2, 3]), 0)
    tensor([3, 2, 1])
    """
    given: Any = dims[0] if len(dims) == 1 else dims
    found = axes("flip", given, len(x.shape)) if given != () else ()
    return emit("flip", [x], x.dtype, tuple(x.shape), dims=found)


@flip.vjp
def _(g: Any, out: Any, x: Any, *dims: Any) -> Any:
    return flip(g, dims)


@op(
    kind=MOVEMENT,
    method=False,
    public=False,
    reference=lambda np, x, shifts, dims: np.roll(x, shifts, dims),
    samples=lambda m: [(m(5), (2,), (0,)), (m(3, 4), (1, -2), (0, 1)), (m(3, 4), (7,), (-1,)), (m(0, 2), (1,), (0,))],
)
def roll_along(x: Tensor, shifts: Sizes, dims: tuple[int, ...]) -> Tensor:
    """The elements moved on along dimensions; what goes over the end comes in at the start.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: rolled back
    Errors:   ArgumentError unless there are as many shifts as dims; DimensionError
    Source:   torch.roll

    >>> dg.ops.roll_along(tensor([1, 2, 3]), (1,), (0,))
    tensor([3, 1, 2])
    """
    name = user_operator("roll")
    if len(shifts) != len(dims):
        raise ArgumentError(f"{name}: {len(shifts)} shifts for {len(dims)} dims")
    made = x
    for shift, dim in zip(shifts, dims):
        at = axis(name, dim, len(x.shape))
        size = x.shape[at]
        start = size - mod(shift, greater(size, 1))
        made = cat([slice(made, at, start, None), slice(made, at, 0, start)], at)
    return clone(made) if made is x else made


@roll_along.vjp
def _(g: Any, out: Any, x: Any, shifts: Any, dims: Any) -> Any:
    return roll_along(g, tuple(-shift for shift in shifts), dims)


@function(
    reference=lambda np, x, shifts, dims=None: np.roll(x, shifts, dims),
    samples=lambda m: [(m(5), 2), (m(3, 4), 5), (m(3, 4), (1, -2), (0, 1)), (m(3, 4), -1, 0), (m(0), 1)],
)
def roll(x: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved on along dimensions, or row-major without dims; what goes over the end comes in at the start.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: rolled back
    Errors:   ArgumentError unless there are as many shifts as dims; DimensionError
    Source:   torch.roll

    >>> roll(tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    many = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    if dims is None or dims == ():
        return reshape(roll_along(reshape(x, (-1,)), many, (0,) * len(many)), tuple(x.shape))
    return roll_along(x, many, tuple(dims) if isinstance(dims, (tuple, list)) else (dims,))


@function(
    reference=lambda np, x, k=1, dims=(0, 1): np.rot90(x, k, dims),
    samples=lambda m: [(m(2, 3),), (m(2, 3), 2), (m(2, 3), -1), (m(2, 3, 2), 1, (2, 0)), (m(2, 3), 4)],
)
def rot90(x: Tensor, k: int = 1, dims: tuple[int, ...] = (0, 1)) -> Tensor:
    """Quarter turns in the plane of two dimensions, from the first towards the second: a copy, as PyTorch's a transposed one.

    Shapes:   x [*S] → [*S], the two sizes exchanged for an odd k
    Dtypes:   kept
    Gradient: turned back
    Errors:   DimensionError unless dims are two different ones
    Source:   torch.rot90

    >>> rot90(tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    name = "rot90"
    found = tuple(axis(name, d, x.dim()) for d in dims)
    if len(found) != 2 or found[0] == found[1]:
        raise DimensionError(f"{name}: dims must be two different ones, got {tuple(dims)}")
    turns = k % 4
    if turns == 0:
        return clone(x)
    if turns == 2:
        return flip(x, found)
    if turns == 1:
        return transpose(flip(x, found[1]), *found)
    return transpose(flip(x, found[0]), *found)


@function(reference=lambda np, x: np.fliplr(x), samples=lambda m: [(m(2, 3),), (m(2, 3, 2),)])
def fliplr(x: Tensor) -> Tensor:
    """A copy with the second dimension reversed.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: flipped back
    Errors:   DimensionError for fewer than two dimensions
    Source:   torch.fliplr

    >>> fliplr(tensor([[1, 2]]))
    tensor([[2, 1]])
    """
    if x.dim() < 2:
        raise DimensionError(f"fliplr: needs at least two dimensions, got {x.dim()}")
    return flip(x, 1)


@function(reference=lambda np, x: np.flipud(x), samples=lambda m: [(m(2, 3),), (m(4),)])
def flipud(x: Tensor) -> Tensor:
    """A copy with the first dimension reversed.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: flipped back
    Errors:   DimensionError for a 0-d tensor
    Source:   torch.flipud

    >>> flipud(tensor([1, 2]))
    tensor([2, 1])
    """
    if x.dim() < 1:
        raise DimensionError("flipud: needs at least one dimension")
    return flip(x, 0)


# Triangles


def _triangle(name: str, x: Any, diagonal: Any, lower: bool) -> Tensor:
    rank = len(x.shape)
    if rank < 2:
        raise DimensionError(f"{user_operator(name)}: needs at least two dimensions, got {rank}")
    distance = positions(x, rank - 1) - positions(x, rank - 2)
    return where(distance <= diagonal if lower else distance >= diagonal, x, zeros_like(x))


def _triangle_samples(m: Any) -> Any:
    return [(m(4, 4),), (m(3, 5), 1), (m(2, 4, 3), -1), (m(0, 3),), (m(3, 3), 9)]


@op(kind=MOVEMENT, inplace="tril_", samples=_triangle_samples, reference=lambda np, x, k=0: np.tril(x, k))
def tril(x: Tensor, diagonal: Size = 0) -> Tensor:
    """The part of matrices on and below a diagonal, zeros elsewhere.

    Shapes:   x [*S, n, m] → [*S, n, m]
    Dtypes:   kept
    Gradient: the same part
    Errors:   DimensionError for fewer than two dimensions
    Source:   torch.tril

    >>> tril(tensor([[1, 2], [3, 4]]))
    tensor([[1, 0],
            [3, 4]])
    """
    return _triangle("tril", x, diagonal, True)


@tril.vjp
def _(g: Any, out: Any, x: Any, diagonal: Any) -> Any:
    return tril(g, diagonal)


@op(kind=MOVEMENT, inplace="triu_", samples=_triangle_samples, reference=lambda np, x, k=0: np.triu(x, k))
def triu(x: Tensor, diagonal: Size = 0) -> Tensor:
    """The part of matrices on and above a diagonal, zeros elsewhere.

    Shapes:   x [*S, n, m] → [*S, n, m]
    Dtypes:   kept
    Gradient: the same part
    Errors:   DimensionError for fewer than two dimensions
    Source:   torch.triu

    >>> triu(tensor([[1, 2], [3, 4]]))
    tensor([[1, 2],
            [0, 4]])
    """
    return _triangle("triu", x, diagonal, False)


@triu.vjp
def _(g: Any, out: Any, x: Any, diagonal: Any) -> Any:
    return triu(g, diagonal)
