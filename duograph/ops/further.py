"""Short forms and further compositions: ravel, isin, covariances, shuffles, pairs of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DimensionError, ShapeError
from duograph.ir.builder import current
from duograph.ir.dim import product

from .affine_views import put_back, strided
from .choice import maximum
from .contractions import matmul
from .copying import cast
from .creation import full
from .definition import INDEXING, MOVEMENT, REDUCTION, function, op
from .dtypes import floats
from .indexing import take_along
from .movement import reshape, unsqueeze
from .padding import pad as padded
from .permuting import permute, transpose
from .searching import search
from .statistics import mean
from .tracing import require, require_equal, user_operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from .definition import Number, Operand, Size, Sizes


@function(samples=lambda m: [(m(2, 3),), (m(),)], aliases=("resolve_conj", "resolve_neg"))
def conj(x: Tensor) -> Tensor:
    """x itself: numbers here are real, and so their own conjugates.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 1
    Errors:   none
    Source:   torch.conj

    >>> conj(tensor([1, 2]))
    tensor([1, 2])
    """
    return x


@function(samples=lambda m: [(m(2, 3),), (m(),)])
def real(x: Tensor) -> Tensor:
    """x itself: numbers here are real.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 1
    Errors:   none
    Source:   torch.real

    >>> real(tensor([1, 2]))
    tensor([1, 2])
    """
    return x


@function(samples=lambda m: [(m(2, 3),), (m(2, 3, 4),)])
def adjoint(x: Tensor) -> Tensor:
    """A view with the last two dimensions exchanged: numbers here are real.

    Shapes:   x [*S, m, n] → [*S, n, m]
    Dtypes:   kept
    Gradient: transposed back
    Errors:   DimensionError for fewer than two dimensions
    Source:   torch.adjoint

    >>> adjoint(tensor([[1, 2]]))
    tensor([[1],
            [2]])
    """
    return transpose(x, -2, -1)


@function(samples=lambda m: [(m(2, 3),), (m(),), (m(4),)])
def ravel(x: Tensor) -> Tensor:
    """All elements as one row without gaps: a view of a contiguous tensor, else a copy.

    Shapes:   x [*S] → [n]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   none
    Source:   torch.ravel

    >>> ravel(tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return reshape(x.contiguous(), (-1,))


@function(method=False, samples=lambda m: [(m(2, 3), (1, 2)), (m(3), (0, 1), 2)])
def constant_pad_nd(x: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """A constant around x: `nn.functional.pad`.

    Shapes:   x [*S] → [*S with more at the last dimensions]
    Dtypes:   kept
    Gradient: cut out
    Errors:   ArgumentError for an odd number of sizes or too many
    Source:   torch.constant_pad_nd

    >>> constant_pad_nd(tensor([1, 2]), (1, 0), 7)
    tensor([7, 1, 2])
    """
    return padded(x, tuple(pad), "constant", value)


@op(
    kind=REDUCTION,
    differentiable=False,
    method=False,
    public=False,
    torch=lambda torch, x, among, invert=False: torch.isin(x, among, invert=invert),
    samples=lambda m: (
        [] if m.kind == "b" else [(m(3, 4), m(5)), (m.of([1, 2, 3]), m.of([2, 5])), (m(3), m(0)), (m.of([1, 2]), m.of([2]), True)]
    ),
)
def is_among(x: Tensor, among: Tensor, invert: bool = False) -> Tensor:
    """Whether each element of x is among those of another tensor, or (invert) is not.

    Shapes:   x [*S], among [*T] → [*S]
    Dtypes:   promote; bool
    Gradient: none
    Errors:   none
    Source:   numpy.isin

    >>> dg.ops.is_among(tensor([1, 2, 3]), tensor([2]))
    tensor([False,  True, False])
    """
    from .counting import ordered_values

    dtype = core.promote(x.dtype, among.dtype) or x.dtype
    x, row = cast(x, dtype), reshape(cast(among, dtype), (product(tuple(among.shape)),))
    ordered = ordered_values(row)
    found = search(ordered, x, True) != search(ordered, x, False)
    if dtype.is_floating_point:
        found = found & (x == x)
    return ~found if invert else found


@function(
    method=False,
    differentiable=False,
    torch=lambda torch, x, among: torch.isin(x, among),
    samples=lambda m: [] if m.kind == "b" else [(m(3, 4), m(5)), (m.of([1, 2, 3]), 2)],
)
def isin(elements: Operand, test_elements: Operand, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is among the test elements, or (invert) is not; NaN never is.

    Shapes:   elements [*S], test elements [*T] → [*S]
    Dtypes:   promote; bool
    Gradient: none
    Errors:   none
    Source:   torch.isin

    >>> isin(tensor([1, 2, 3]), tensor([2]))
    tensor([False,  True, False])
    """
    pair = [x if isinstance(x, core.Tensor) else full((), x) for x in (elements, test_elements)]
    return is_among(pair[0], pair[1], invert)


@function(
    method=False, differentiable=False, samples=lambda m: [(m.ints(5, high=12), (3, 4)), (m.ints(2, 2, high=24), (2, 3, 4))]
)
def unravel_index(indices: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Row-major positions as one index for each dimension of a shape.

    Shapes:   indices [*I] → as many times [*I] as there are dimensions
    Dtypes:   int64
    Gradient: none
    Errors:   none
    Source:   torch.unravel_index

    >>> unravel_index(tensor([5]), (2, 3))
    (tensor([1]), tensor([2]))
    """
    found = []
    for size in reversed(tuple(shape) if not isinstance(shape, int) else (shape,)):
        found.append(indices % size)
        indices = indices // size
    return tuple(reversed(found))


# Covariances


@op(
    kind=REDUCTION,
    dtypes=floats,
    tolerance=16.0,
    torch=lambda torch, x, correction=1: torch.cov(x, correction=correction),
    samples=lambda m: [(m(3, 6),), (m(5),), (m(2, 4), 0)] if m.is_float else [],
)
def cov(x: Tensor, correction: Number = 1) -> Tensor:
    """The covariances of variables, one in each row, each column an observation.

    Shapes:   x [n, m] → [n, n]; x [m] → []
    Dtypes:   floats
    Gradient: derived
    Errors:   DimensionError for more than two dimensions; DTypeError
    Source:   torch.cov

    >>> cov(tensor([[1.0, 2.0, 3.0]]))
    tensor(1.)
    """
    if len(x.shape) > 2:
        raise DimensionError(f"{user_operator('cov')}: takes at most two dimensions, got {len(x.shape)}")
    rows = reshape(x, (1, product(tuple(x.shape)))) if len(x.shape) < 2 else x
    centred = rows - mean(rows, 1, True)
    freedom = maximum(full((), rows.shape[1], core.int64) - correction, 0)
    made: Any = matmul(centred, transpose(centred, 0, 1)) / freedom
    one = len(x.shape) < 2 or (x.shape[0] == 1 if isinstance(x.shape[0], int) else current().is_one(x.shape[0]))
    result: Tensor = reshape(made, ()) if one else made
    return result


@op(kind=REDUCTION, dtypes=floats, tolerance=16.0, samples=lambda m: [(m(3, 6),), (m(5),)] if m.is_float else [])
def corrcoef(x: Tensor) -> Tensor:
    """The correlation coefficients of variables, one in each row, each column an observation.

    Shapes:   x [n, m] → [n, n]; x [m] → []
    Dtypes:   floats
    Gradient: derived
    Errors:   DimensionError for more than two dimensions; DTypeError
    Source:   torch.corrcoef

    >>> corrcoef(tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    from .affine_views import diagonal
    from .choice import clamp

    made: Any = cov(x)
    if not made.shape:
        one: Tensor = made / made
        return one
    spread = diagonal(made) ** 0.5
    return clamp(made / unsqueeze(spread, 1) / unsqueeze(spread, 0), -1.0, 1.0)


@op(
    kind=REDUCTION,
    dtypes=floats,
    method=False,
    functional=True,
    tolerance=16.0,
    torch=lambda torch, x, p=2.0: torch.nn.functional.pdist(x, p),
    samples=lambda m: [(m(4, 3),), (m(3, 2), 1.0)] if m.is_float else [],
)
def pdist(x: Tensor, p: float = 2.0) -> Tensor:
    """The distances of order p of all pairs of different rows, row by row.

    Shapes:   x [n, k] → [n * (n - 1) / 2]
    Dtypes:   floats
    Gradient: as of the norm
    Errors:   ShapeError unless x is a matrix; DTypeError
    Source:   torch.nn.functional.pdist

    >>> pdist(tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([5.])
    """
    from .creation import iota
    from .norms import vector_norm
    from .scans import cumsum

    if len(x.shape) != 2:
        raise ShapeError(f"{user_operator('pdist')}: takes a matrix, got shape {tuple(x.shape)}")
    n = x.shape[0]
    pairs = n * (n - 1) // 2
    place = iota(pairs)
    starts = cumsum(n - 1 - iota(n), 0)  # pairs of all rows up to each
    first = search(starts, place, True)
    before = take_along(starts, first, 0) - (n - 1 - first)
    second = place - before + first + 1
    return vector_norm(take_along(x, first, 0) - take_along(x, second, 0), float(p), -1)


# Shuffles and parts


@op(
    kind=MOVEMENT,
    method=False,
    functional=True,
    torch="torch.nn.functional.pixel_shuffle",
    samples=lambda m: [(m(1, 8, 2, 3), 2), (m(4, 2, 2), 2)],
)
def pixel_shuffle(x: Tensor, upscale_factor: Size) -> Tensor:
    """Channels spread over the plane: blocks of upscale_factor² channels become squares.

    Shapes:   x [*S, c * r², h, w] → [*S, c, h * r, w * r]
    Dtypes:   kept
    Gradient: put back
    Errors:   ShapeError unless the channels fall into blocks; DimensionError for fewer than three dimensions
    Source:   torch.nn.functional.pixel_shuffle

    >>> pixel_shuffle(tensor([[[1]], [[2]], [[3]], [[4]]]), 2)
    tensor([[[1, 2],
             [3, 4]]])
    """
    name, r = user_operator("pixel_shuffle"), upscale_factor
    if len(x.shape) < 3:
        raise DimensionError(f"{name}: needs at least three dimensions, got {len(x.shape)}")
    *outer, channels, h, w = x.shape
    c = channels // (r * r)
    require("eq", c * r * r, channels, ShapeError, f"{name}: {channels} channels do not fall into blocks of {r} × {r}")
    k = len(outer)
    wide = reshape(x, (*outer, c, r, r, h, w))
    return reshape(permute(wide, *range(k), k, k + 3, k + 1, k + 4, k + 2), (*outer, c, h * r, w * r))


@op(
    kind=MOVEMENT,
    method=False,
    functional=True,
    torch="torch.nn.functional.pixel_unshuffle",
    samples=lambda m: [(m(1, 2, 4, 6), 2), (m(1, 2, 2), 2)],
)
def pixel_unshuffle(x: Tensor, downscale_factor: Size) -> Tensor:
    """The plane's squares as channels: undoes `pixel_shuffle`.

    Shapes:   x [*S, c, h * r, w * r] → [*S, c * r², h, w]
    Dtypes:   kept
    Gradient: put back
    Errors:   ShapeError unless the plane falls into squares; DimensionError for fewer than three dimensions
    Source:   torch.nn.functional.pixel_unshuffle

    >>> pixel_unshuffle(tensor([[[1, 2], [3, 4]]]), 2).tolist()
    [[[1]], [[2]], [[3]], [[4]]]
    """
    name, r = user_operator("pixel_unshuffle"), downscale_factor
    if len(x.shape) < 3:
        raise DimensionError(f"{name}: needs at least three dimensions, got {len(x.shape)}")
    *outer, c, tall, wide = x.shape
    h, w = tall // r, wide // r
    for size, part in ((tall, h), (wide, w)):
        require("eq", part * r, size, ShapeError, f"{name}: size {size} does not fall into parts of {r}")
    k = len(outer)
    parts = reshape(x, (*outer, c, h, r, w, r))
    return reshape(permute(parts, *range(k), k, k + 2, k + 4, k + 1, k + 3), (*outer, c * r * r, h, w))


@op(
    kind=MOVEMENT,
    method=False,
    functional=True,
    torch="torch.nn.functional.channel_shuffle",
    samples=lambda m: [(m(1, 6, 2, 2), 3), (m(2, 4, 3, 1), 2)],
)
def channel_shuffle(x: Tensor, groups: Size) -> Tensor:
    """Channels in another order: the first of each group, the second of each, and so on.

    Shapes:   x [n, c, *S] → [n, c, *S]
    Dtypes:   kept
    Gradient: put back
    Errors:   ShapeError unless the channels fall into groups; DimensionError for fewer than three dimensions
    Source:   torch.nn.functional.channel_shuffle

    >>> channel_shuffle(tensor([[[[1]], [[2]], [[3]], [[4]]]]), 2).flatten()
    tensor([1, 3, 2, 4])
    """
    name = user_operator("channel_shuffle")
    if len(x.shape) < 3:
        raise DimensionError(f"{name}: needs at least three dimensions, got {len(x.shape)}")
    n, channels, *rest = x.shape
    each = channels // groups
    require("eq", each * groups, channels, ShapeError, f"{name}: {channels} channels do not fall into {groups} groups")
    wide = reshape(x, (n, groups, each, *rest))
    return reshape(transpose(wide, 1, 2), (n, channels, *rest))


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
