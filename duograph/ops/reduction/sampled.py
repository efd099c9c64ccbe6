"""Samples of a function on a grid: slopes between them, how they are distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, ShapeError
from duograph.ir.dim import product

from ..definition import INDEXING, REDUCTION, function, op
from ..dtypes import floats
from ..elementwise.choice import where
from ..selection.indexing import add_along
from ..selection.searching import search
from ..shapes.copying import cast
from ..shapes.creation import full, spaced
from ..shapes.joining import cat
from ..shapes.movement import axis, broadcast_to, reshape, unsqueeze
from ..shapes.slicing import select, slice
from ..tracing import require, require_equal, user_operator
from .extrema import amax, amin
from .reductions import sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Number


def _shaped(row: Any, rank: int, dim: int) -> Any:
    """A vector along one of several dimensions."""
    return reshape(row, tuple(row.shape[0] if d == dim else 1 for d in range(rank)))


def _slopes(x: Any, step: Any, uneven: bool, dim: int, edge_order: int) -> Any:
    """The slopes along a dimension; `step` is a number, or (uneven) a vector of the distances between the places."""
    n = x.shape[dim]
    name = user_operator("gradient")
    require("le", edge_order + 1, n, ShapeError, f"{name}: needs {edge_order + 1} elements along dim {dim}, got {n}")

    def at(place: int) -> Any:
        return unsqueeze(select(x, dim, place), dim)

    def gap(place: int) -> Any:
        return select(step, 0, place) if uneven else step

    earlier, middle, later = slice(x, dim, 0, -2), slice(x, dim, 1, -1), slice(x, dim, 2, None)
    if uneven:
        left, right = (_shaped(slice(step, 0, *ends), len(x.shape), dim) for ends in ((0, -1), (1, None)))
        inner = ((later - middle) / right * left + (middle - earlier) / left * right) / (left + right)
    else:
        inner = (later - earlier) / (step * 2)
    low, high = (at(1) - at(0)) / gap(0), (at(-1) - at(-2)) / gap(-1)
    if edge_order == 2:
        low = low - ((at(2) - at(1)) / gap(1) - low) * gap(0) / (gap(0) + gap(1))
        high = high + (high - (at(-2) - at(-3)) / gap(-2)) * gap(-1) / (gap(-1) + gap(-2))
    return cat([low, inner, high], dim)


@op(
    kind=REDUCTION,
    dtypes=floats,
    method=False,
    public=False,
    tolerance=4,
    torch=lambda torch, x, places=None, step=1.0, dim=-1, order=1: torch.gradient(
        x, spacing=(places,) if places is not None else step, dim=dim, edge_order=order
    )[0],
    samples=lambda m: (
        [
            (m(3, 5),),
            (m(3, 5), None, 0.5, 0, 2),
            (m(4), m.of([0.0, 0.5, 2.0, 2.25])),
            (m(2, 5), m.of([0.0, 0.5, 2.0, 2.25, 4.0]), 1.0, 1, 2),
        ]
        if m.is_float
        else []
    ),
)
def slopes(x: Tensor, places: Tensor | None = None, step: Number = 1.0, dim: int = -1, edge_order: int = 1) -> Tensor:
    """The slopes between samples along one dimension, by central differences; see `gradient`.

    Shapes:   x [*S], places [S[dim]] → [*S]
    Dtypes:   floats
    Gradient: derived, to places, too
    Errors:   ShapeError for too few samples, or where places do not fit; DimensionError
    Source:   torch.gradient

    >>> dg.ops.slopes(tensor([0.0, 1.0, 4.0]))
    tensor([1., 2., 3.])
    """
    name = user_operator("gradient")
    dim = axis(name, dim, len(x.shape))
    if places is None:
        return _slopes(x, step, False, dim, edge_order)  # type: ignore[no-any-return]
    if len(places.shape) != 1:
        raise ShapeError(f"{name}: the places must be a vector, got shape {tuple(places.shape)}")
    require_equal(name, places.shape[0], x.shape[dim], f"{places.shape[0]} places for {x.shape[dim]} samples along dim {dim}")
    return _slopes(x, slice(places, 0, 1, None) - slice(places, 0, 0, -1), True, dim, edge_order)  # type: ignore[no-any-return]


@function(
    method=False,
    tolerance=4,
    samples=lambda m: [(m(3, 5),), (m(4),), (m(2, 3),)] if m.is_float else [],
)
def gradient(x: Tensor, spacing: Any = 1, dim: int | Sequence[int] | None = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """The slopes of sampled values along each dimension: central differences, at the ends one-sided of this order.

    `spacing` is the distance of the samples (a number, or one for each dimension), or a tuple of vectors: their places.

    Shapes:   x [*S] → for each dim [*S]
    Dtypes:   floats kept; integers become the default float
    Gradient: derived, to places, too
    Errors:   ShapeError for too few samples; ArgumentError for a spacing that does not fit, another order than 1 and 2
    Source:   torch.gradient

    >>> gradient(tensor([1.0, 2.0, 4.0]))
    (tensor([1.0000, 1.5000, 2.0000]),)
    """
    if edge_order not in (1, 2):
        raise ArgumentError(f"gradient: edge_order must be 1 or 2, got {edge_order!r}")
    if not x.dtype.is_floating_point:
        x = cast(x, core.get_default_dtype())
    dims = list(range(x.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    given = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(dims)
    if len(given) != len(dims):
        raise ArgumentError(f"gradient: {len(given)} spacings are given for {len(dims)} dimensions")
    found = []
    for one, along in zip(given, dims):
        places = isinstance(one, core.Tensor) and one.dim() > 0
        found.append(slopes(x, one, 1.0, along, edge_order) if places else slopes(x, None, one, along, edge_order))
    return tuple(found)


# Histograms


@op(
    kind=INDEXING,
    differentiable=False,
    method=False,
    public=False,
    torch=lambda torch, x, edges, weight=None, density=False: torch.histogram(x, edges, weight=weight, density=density)[0],
    samples=lambda m: (
        [
            (m(40), m.of([-1.0, 0.0, 0.25, 1.5])),
            (m(3, 9), m.of([-1.0, 0.0, 1.5]), m(3, 9, low=0.1), True),
            (m(0), m.of([0.0, 1.0])),
        ]
        if m.dtype in ("float32", "float64")
        else []
    ),
)
def histogram_between(x: Tensor, edges: Tensor, weight: Tensor | None = None, density: bool = False) -> Tensor:
    """How many elements lie between each pair of neighbouring edges, which are in order; see `histogram`.

    Shapes:   x [*S], edges [n + 1], weight [*S] → [n]
    Dtypes:   floats, x's
    Gradient: none
    Errors:   ShapeError
    Source:   torch.histogram

    >>> dg.ops.histogram_between(tensor([1.0, 2.0, 1.0]), tensor([0.0, 1.5, 3.0]))
    tensor([2., 1.])
    """
    name = user_operator("histogram")
    if len(edges.shape) != 1:
        raise ShapeError(f"{name}: the edges must be a vector, got shape {tuple(edges.shape)}")
    require("le", 2, edges.shape[0], ShapeError, f"{name}: needs at least two edges, got {edges.shape[0]}")
    count = product(tuple(x.shape))
    flat, edges = reshape(x, (count,)), cast(edges, x.dtype)
    last = select(edges, 0, -1)
    place = where(flat == last, full((), edges.shape[0] - 1, core.int64), search(edges, flat, True))
    inside = (flat >= select(edges, 0, 0)) & (flat <= last)
    one: Any = full((1,), 1, x.dtype)
    if weight is None:
        shares = broadcast_to(one, (count,))
    else:
        for d, (have, want) in enumerate(zip(weight.shape, x.shape)):
            require_equal(name, have, want, f"weight has size {have} in dimension {d}, x has {want}")
        shares = reshape(cast(weight, x.dtype), (count,))
    found = add_along(full((edges.shape[0] - 1,), 0, x.dtype), where(inside, place - 1, 0), where(inside, shares, 0.0), 0)
    if density:
        found = found / (sum(found) * (slice(edges, 0, 1, None) - slice(edges, 0, 0, -1)))
    return found


@function(
    differentiable=False,
    torch=lambda torch, x, bins, *rest: tuple(torch.histogram(x, bins, range=rest[0] if rest else None)),
    samples=lambda m: [(m(40), 5), (m(3, 20), 4, (-1.0, 1.5))] if m.dtype in ("float32", "float64") else [],
)
def histogram(
    x: Tensor,
    bins: int | Tensor,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:
    """How many elements lie in each of `bins` equal intervals of a range, or between given edges; and the edges.

    The last interval has its upper end, too. Without a range it is from the least to the greatest element. With weights
    their sums are given, with `density` the shares over the widths.

    Shapes:   x [*S], weight [*S] → [bins], [bins + 1]
    Dtypes:   float32 and float64
    Gradient: none
    Errors:   ShapeError for edges that are no vector; ArgumentError for less than one bin; DTypeError
    Source:   torch.histogram

    >>> histogram(tensor([1.0, 2.0, 1.0]), 2, range=(0.0, 3.0))
    (tensor([2., 1.]), tensor([0.0000, 1.5000, 3.0000]))
    """
    if x.dtype not in (core.float32, core.float64):
        raise DTypeError(f"histogram: takes float32 and float64, got {x.dtype.name}", hint="convert with .float()")
    if weight is not None and tuple(weight.shape) != tuple(x.shape):
        raise ShapeError(f"histogram: weight has shape {tuple(weight.shape)}, x has {tuple(x.shape)}")
    x = x.detach()
    if isinstance(bins, core.Tensor):
        return histogram_between(x, bins, weight, density), bins
    if isinstance(bins, int) and bins < 1:
        raise ArgumentError(f"histogram: at least one bin is needed, got {bins}")
    low: Any
    high: Any
    low, high = range if range is not None else (amin(x), amax(x)) if x.numel() else (0.0, 1.0)
    edges = _edges(low, high, bins, x)
    return histogram_between(x, edges, weight, density), edges


def _edges(low: Any, high: Any, bins: int, x: Any) -> Tensor:
    """The ends of equal intervals; wider by 1 where there would be one place only."""
    low, high = full((), low, x.dtype), full((), high, x.dtype)
    same = low == high
    return spaced(bins + 1, where(same, low - 0.5, low), where(same, high + 0.5, high), x.dtype)
