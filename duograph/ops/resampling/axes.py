"""One axis at another length: where each new element lies among the old ones, and what it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.dim import ceildiv
from duograph.ir.dim import maximum as greater

from ..elementwise.arithmetic import abs as abs_
from ..elementwise.choice import maximum, minimum, where
from ..elementwise.rounding import floor
from ..reduction.reductions import sum as sum_
from ..selection.indexing import take_along
from ..shapes.copying import cast
from ..shapes.creation import full, iota
from ..shapes.movement import reshape, unsqueeze

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

_CUBIC = -0.75  # the slope of the cubic kernel's outer half at 1; with antialias -0.5


def ratio(length: Any, size: Any, scale: Any, align_corners: bool, dtype: DType) -> Any:
    """How many old elements a new one is apart from the next, as a number of this dtype."""
    if align_corners:
        steps = full((), size - 1, dtype)
        return where(steps > 0, full((), length - 1, dtype) / maximum(steps, 1.0), 0.0)
    if scale is not None:
        return cast(1.0 / cast(scale, core.float64), dtype)
    return full((), length, dtype) / full((), size, dtype)


def _coordinates(length: Any, size: Any, scale: Any, align_corners: bool, dtype: DType) -> Any:
    """Where the new elements lie among the old ones, whose centres are at whole numbers."""
    step, at = ratio(length, size, scale, align_corners, dtype), cast(iota(size), dtype)
    return at * step if align_corners else (at + 0.5) * step - 0.5


def nearest(length: Any, size: Any, scale: Any, exact: bool, dtype: DType) -> Any:
    """For each of `size` new elements the old one at its place, or at the place of its centre if exact."""
    at = cast(iota(size), dtype)
    at = (at + 0.5 if exact else at) * ratio(length, size, scale, False, dtype)
    return _within(cast(floor(at), core.int64), length)


def _within(index: Any, length: Any) -> Any:
    return maximum(minimum(index, length - 1), 0)


def _along(weights: Any, x: Any, dim: int) -> Any:
    """Weights of elements along a dimension, in a shape that broadcasts against x."""
    return reshape(weights, (*weights.shape, *(1,) * (len(x.shape) - 1 - dim)))


def linear(x: Any, dim: int, size: Any, scale: Any, align_corners: bool) -> Any:
    """Each new element on the line between its two neighbours."""
    length = x.shape[dim]
    at = maximum(_coordinates(length, size, scale, align_corners, x.dtype), 0.0)
    first = _within(cast(floor(at), core.int64), length)
    weight = _along(minimum(maximum(at - cast(first, x.dtype), 0.0), 1.0), x, dim)
    second = minimum(first + 1, length - 1)
    return take_along(x, first, dim) * (1.0 - weight) + take_along(x, second, dim) * weight


def cubic(x: Any, dim: int, size: Any, scale: Any, align_corners: bool) -> Any:
    """Each new element on the cubic curve through its four neighbours; beyond the ends stand the outermost elements."""
    length = x.shape[dim]
    at = _coordinates(length, size, scale, align_corners, x.dtype)
    first = floor(at)
    part = at - first
    first = cast(first, core.int64)
    found: Any = None
    for i, weight in enumerate(cubic_weights(part)):
        term = take_along(x, _within(first + (i - 1), length), dim) * _along(weight, x, dim)
        found = term if found is None else found + term
    return found


def cubic_weights(part: Any) -> Any:
    """What the four neighbours count for at a place between the inner two."""
    return [_outer(part + 1.0), _inner(part), _inner(1.0 - part), _outer(2.0 - part)]


def _inner(x: Any, a: float = _CUBIC) -> Any:
    return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0


def _outer(x: Any, a: float = _CUBIC) -> Any:
    return ((x - 5.0) * x + 8.0) * x * a - 4.0 * a


def _triangle(x: Any) -> Any:
    return maximum(1.0 - abs_(x), 0.0)


def _smooth(x: Any) -> Any:
    x = abs_(x)
    return where(x < 1.0, _inner(x, -0.5), where(x < 2.0, _outer(x, -0.5), 0.0))


def smoothed(x: Any, dim: int, size: Any, scale: Any, align_corners: bool, cubic: bool) -> Tensor:
    """Each new element as a mean weighted by a kernel that is as wide as the new elements are apart."""
    length, radius = x.shape[dim], 2 if cubic else 1
    step = ratio(length, size, scale, align_corners, x.dtype)
    reach = maximum(step, 1.0) * radius
    centre = (cast(iota(size), x.dtype) + 0.5) * step
    start = maximum(cast(centre - reach + 0.5, core.int64), 0)
    end = minimum(cast(centre + reach + 0.5, core.int64), length)
    at = unsqueeze(start, 1) + iota(_taps(length, size, align_corners, radius))
    inside = at < unsqueeze(end, 1)
    away = (cast(at, x.dtype) - unsqueeze(centre, 1) + 0.5) / maximum(step, 1.0)
    weights = where(inside, (_smooth if cubic else _triangle)(away), 0.0)
    total = sum_(weights, 1, True)
    weights = weights / where(total == 0.0, 1.0, total)
    return sum_(take_along(x, _within(at, length), dim) * _along(weights, x, dim), dim + 1)


def _taps(length: Any, size: Any, align_corners: bool, radius: int) -> Any:
    """At least as many elements as the kernel of a new element may touch."""
    if align_corners:
        step: Any = ceildiv(greater(length - 1, 0), greater(size - 1, 1))
    else:
        step = ceildiv(length, greater(size, 1))
    return 2 * radius * greater(step, 1) + 1
