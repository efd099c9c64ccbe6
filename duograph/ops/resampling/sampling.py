"""Planes seen from other points: `grid_sample`, and the grids of affine maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DimensionError, ShapeError
from duograph.ir.dim import maximum as greater
from duograph.ir.dim import product

from ..definition import INDEXING, function, op
from ..dtypes import floats, one_float
from ..elementwise.choice import maximum, minimum, where
from ..elementwise.pairs import fmod
from ..elementwise.rounding import floor, round
from ..selection.indexing import gather
from ..shapes.copying import cast
from ..shapes.creation import full, iota
from ..shapes.movement import broadcast_to, reshape, unsqueeze
from ..shapes.slicing import select
from ..tracing import require, require_equal, user_operator
from .axes import cubic_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Sizes

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _place(at: Any, size: Any, align_corners: bool) -> Any:
    """Coordinates from -1 to 1 as places among elements whose centres are at whole numbers."""
    length = full((), size, at.dtype)
    return (at + 1.0) * 0.5 * (length - 1.0) if align_corners else ((at + 1.0) * length - 1.0) * 0.5


def _inside(at: Any, size: Any, padding: str, align_corners: bool) -> Any:
    """Places outside of the elements moved inside, as the padding says."""
    if padding == "zeros":
        return at
    length = full((), size, at.dtype)
    if padding == "reflection":
        at = _reflected(at, length, align_corners)
    return where(at <= 0.0, 0.0, where(at >= length - 1.0, length - 1.0, at))


def _reflected(at: Any, length: Any, align_corners: bool) -> Any:
    """Places mirrored at the outermost elements' centres, or at their edges."""
    low = 0.0 if align_corners else -0.5
    span = length - 1.0 if align_corners else length
    at = at - low
    at = where(at < 0.0, -at, at)
    wide = where(span == 0.0, 1.0, span)
    extra, turns = fmod(at, wide), floor(at / wide)
    found = where(turns - 2.0 * floor(turns * 0.5) == 0.0, extra, span - extra) + low
    return where(span == 0.0, 0.0, found)


def _at(x: Any, indices: Sequence[Any], zeros: bool) -> Any:
    """The elements at whole places, x's dimensions behind the second flattened; beyond the ends zeros or the outermost ones."""
    sizes = tuple(x.shape[2:])
    flat: Any = 0
    there: Any = None
    for index, size in zip(indices, sizes):
        if zeros:
            met = (index >= 0.0) & (index <= full((), size - 1, index.dtype))
            there = met if there is None else there & met
        flat = flat * size + maximum(minimum(cast(index, core.int64), size - 1), 0)
    n, channels = x.shape[:2]
    wide = (n, channels, *flat.shape[1:])
    places = broadcast_to(unsqueeze(flat, 1), wide)
    found = gather(reshape(x, (n, channels, product(sizes))), 2, reshape(places, (n, channels, product(wide[2:]))))
    found = reshape(found, wide)
    return where(unsqueeze(there, 1), found, 0.0) if zeros else found


def _linear(x: Any, places: Sequence[Any], zeros: bool) -> Any:
    """The weighted elements at the corners around each place."""
    from itertools import product as corners

    floors = [floor(place) for place in places]
    parts = [place - low for place, low in zip(places, floors)]
    found: Any = None
    for corner in corners((0, 1), repeat=len(places)):
        weight: Any = None
        for part, high in zip(parts, corner):
            factor = part if high else 1.0 - part
            weight = factor if weight is None else weight * factor
        value = _at(x, [low + high if high else low for low, high in zip(floors, corner)], zeros)
        term = value * unsqueeze(weight, 1)
        found = term if found is None else found + term
    return found


def _cubic(x: Any, places: Sequence[Any], padding: str, align_corners: bool) -> Any:
    """The elements around each place on curves along both dimensions."""
    floors = [floor(place) for place in places]
    weights = [cubic_weights(place - low) for place, low in zip(places, floors)]
    taps = [[_inside(low + (i - 1.0), size, padding, align_corners) for i in range(4)] for low, size in zip(floors, x.shape[2:])]
    found: Any = None
    for i in range(4):
        row: Any = None
        for j in range(4):
            term = _at(x, (taps[0][i], taps[1][j]), padding == "zeros") * unsqueeze(weights[1][j], 1)
            row = term if row is None else row + term
        row = row * unsqueeze(weights[0][i], 1)
        found = row if found is None else found + row
    return found


def _samples(m: Any) -> Any:
    plane, grid = m(2, 3, 5, 4), m(2, 3, 7, 2, low=-1.3, high=1.3)
    return [
        (plane, grid),
        (plane, grid, "bilinear", "reflection", True),
        (plane, grid, "nearest", "border", False),
        (m(1, 1, 3, 4), m(1, 2, 2, 2, low=-1.3, high=1.3), "bicubic", "border", False),
        (m(1, 2, 3, 4, 2), m(1, 2, 3, 2, 3, low=-1.3, high=1.3), "bilinear", "zeros", True),
    ]


@op(
    kind=INDEXING,
    dtypes=one_float,
    method=False,
    public=False,
    functional=True,
    samples=_samples,
    torch="torch.nn.functional.grid_sample",
    tolerance=50,
    autocast="float32",
)
def grid_sample(
    x: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """Planes seen at other points, given from -1 to 1: last dimension first.

    With align_corners -1 and 1 are the centres of the outermost elements, otherwise their edges. Between elements stands what
    lies on a line ("bilinear", also of blocks) or curve ("bicubic") through them, or the nearest one; outside stand zeros, the
    border, or the plane mirrored ("reflection").

    Shapes:   x [N, C, *L], grid [N, *S, d] with d = 2 or 3 dimensions L and S → [N, C, *S]
    Dtypes:   one float
    Gradient: to x the weights; to the grid the slopes, none for "nearest"
    Errors:   ArgumentError for another mode; DimensionError; ShapeError unless the grid fits
    Source:   torch.nn.functional.grid_sample

    >>> dg.nn.functional.grid_sample(tensor([[[[1.0, 3.0]]]]), tensor([[[[0.0, 0.0]]]]))
    tensor([[[[2.]]]])
    """
    name, dims = user_operator("grid_sample"), len(x.shape) - 2
    if dims not in (2, 3) or len(grid.shape) != dims + 2:
        raise DimensionError(f"{name}: x and grid must both have 4 or 5 dimensions, got {dims + 2} and {len(grid.shape)}")
    if mode not in _MODES or (mode == "bicubic" and dims == 3):
        raise ArgumentError(f"{name}: mode must be bilinear, nearest or (for 4 dimensions) bicubic, got {mode!r}")
    if padding_mode not in _PADDINGS:
        raise ArgumentError(f"{name}: padding_mode must be zeros, border or reflection, got {padding_mode!r}")
    require_equal(name, x.shape[0], grid.shape[0], f"x has a batch of {x.shape[0]}, grid of {grid.shape[0]}")
    require_equal(name, grid.shape[-1], dims, f"grid's last dimension must have size {dims}, got {grid.shape[-1]}")
    for size in x.shape[2:]:
        require("le", 1, size, ShapeError, f"{name}: a dimension of size 0: x has shape {tuple(x.shape)}")
    align = bool(align_corners)
    places = [_place(select(grid, -1, dims - 1 - i), x.shape[2 + i], align) for i in range(dims)]
    if mode == "bicubic":
        found: Tensor = _cubic(x, places, padding_mode, align)
        return found
    places = [_inside(place, size, padding_mode, align) for place, size in zip(places, x.shape[2:])]
    if mode == "nearest":
        return _at(x, [round(place) for place in places], padding_mode == "zeros")  # type: ignore[no-any-return]
    return _linear(x, places, padding_mode == "zeros")  # type: ignore[no-any-return]


def _torch_grid(torch: Any, theta: Any, size: Any, align_corners: bool = False) -> Any:
    return torch.nn.functional.affine_grid(theta, (theta.shape[0], 1, *size), align_corners)


@op(
    kind=INDEXING,
    dtypes=floats,
    method=False,
    public=False,
    samples=lambda m: [(m(2, 2, 3), (3, 4)), (m(2, 2, 3), (1, 5), True), (m(1, 3, 4), (2, 3, 4))],
    torch=_torch_grid,
    tolerance=4,
    autocast="lower",
)
def affine_points(theta: Tensor, size: Sizes, align_corners: bool = False) -> Tensor:
    """The points of planes of a size under affine maps: where `grid_sample` looks for a plane that is turned or scaled.

    Shapes:   theta [N, d, d + 1], d sizes → [N, *size, d]
    Dtypes:   floats, kept
    Gradient: the points
    Errors:   ShapeError unless theta fits the sizes
    Source:   torch.nn.functional.affine_grid

    >>> dg.ops.affine_points(tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 2)).flatten(0, 2)
    tensor([[-0.5000,  0.0000],
            [ 0.5000,  0.0000]])
    """
    name, dims = user_operator("affine_grid"), len(size)
    if len(theta.shape) != 3:
        raise DimensionError(f"{name}: theta must have 3 dimensions, got {len(theta.shape)}")
    for have, want in ((theta.shape[1], dims), (theta.shape[2], dims + 1)):
        message = f"theta must have shape [N, {dims}, {dims + 1}], got {tuple(theta.shape)}"
        require_equal(name, have, want, message)
    columns = [reshape(select(theta, -1, i), (-1, *(1,) * dims, dims)) for i in range(dims + 1)]
    found = columns[dims]
    for axis, n in enumerate(size):
        at = cast(iota(n) * 2 - (n - 1), theta.dtype) / full((), greater(n - 1, 1) if align_corners else n, theta.dtype)
        found = found + reshape(at, (-1, *(1,) * (dims - axis))) * columns[dims - 1 - axis]
    return broadcast_to(found, (theta.shape[0], *size, dims))


@function(
    method=False,
    public=False,
    functional=True,
    samples=lambda m: [(m(2, 2, 3), (2, 1, 3, 4)), (m(2, 2, 3), (2, 3, 1, 5), True), (m(1, 3, 4), (1, 1, 2, 3, 4))],
    torch="torch.nn.functional.affine_grid",
    tolerance=4,
)
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """A grid for `grid_sample` that shows planes of a size under affine maps.

    Shapes:   theta [N, 2, 3], size (N, C, H, W) → [N, H, W, 2]; theta [N, 3, 4], size (N, C, D, H, W) → [N, D, H, W, 3]
    Dtypes:   floats, kept
    Gradient: the points
    Errors:   DimensionError for other ranks; ShapeError unless theta fits the size
    Source:   torch.nn.functional.affine_grid

    >>> dg.nn.functional.affine_grid(tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2)).flatten(0, 2)
    tensor([[-0.5000,  0.0000],
            [ 0.5000,  0.0000]])
    """
    sizes = tuple(size)
    if len(sizes) not in (4, 5):
        raise DimensionError(f"affine_grid: size must have 4 or 5 numbers, got {sizes}")
    if len(theta.shape) == 3 and theta.shape[0] != sizes[0]:
        raise ShapeError(f"affine_grid: theta has a batch of {theta.shape[0]}, size says {sizes[0]}")
    return affine_points(theta, sizes[2:], bool(align_corners))
