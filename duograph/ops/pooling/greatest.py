"""The greatest element of each window, and where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.ir.dim import product

from ..definition import REDUCTION, op
from ..dtypes import promote
from ..elementwise.choice import maximum, minimum, where
from ..elementwise.comparison import isnan
from ..reduction.extrema import max_along
from ..selection.indexing import gather, scatter_add_within
from ..shapes.creation import full, iota
from ..shapes.movement import broadcast_to, reshape
from ..tracing import user_operator
from .geometry import UNROLLED, Taps, window_counts, window_view

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Sizes

    Window = tuple[int, ...]


def least(dtype: Any) -> float:
    """What no element of a dtype is below."""
    if dtype.kind == "f":
        return float("-inf")
    return -(1 << (8 * dtype.itemsize - 1)) if dtype.is_signed else 0


def _counts(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Any:
    sizes = x.shape[len(x.shape) - len(kernel) :]
    return window_counts(user_operator("max_pool"), sizes, kernel, stride, padding, dilation, ceil_mode)


def _split(kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The settings for one axis after the other: windows over one have size 1 along the others."""
    for axis in range(len(kernel)):
        if (kernel[axis], stride[axis], padding[axis]) != (1, 1, 0):
            yield tuple(
                tuple(given if i == axis else other for i, given in enumerate(numbers))
                for numbers, other in ((kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
            )


_FEW = 9  # elements of a window


def _is_read_apart(kernel: Any, stride: Any, padding: Any) -> bool:
    """Whether windows that overlap take elements that do not lie side by side, many of them or beside zeros: after the rows each
    is taken less often."""
    overlap = any(taps > step for taps, step in zip(kernel[:-1], stride))
    return bool(overlap and stride[-1] > 1 and kernel[-1] > 1 and (padding[-1] > 0 or product(kernel) > _FEW))


def _samples(m: Any) -> Any:
    ones = (1, 1)
    return [
        (m(2, 3, 7, 6), (3, 2), (2, 2), (1, 1), ones, False),
        (m(2, 7, 6), (2, 3), (1, 3), (0, 1), (2, 1), True),
        (m(2, 50), (33,), (3,), (4,), (1,), False),
        (m(1, 9, 8), (7, 6), (1, 2), (3, 1), ones, True),
    ]


def _torch_max(torch: Any, x: Any, kernel: Any, *settings: Any, both: bool = False) -> Any:
    pool = getattr(torch.nn.functional, f"max_pool{len(kernel)}d")
    *numbers, ceil = settings
    return pool(x, kernel, *numbers, ceil_mode=ceil, return_indices=both)


@op(
    kind=REDUCTION,
    dtypes=promote,
    method=False,
    public=False,
    samples=_samples,
    torch=_torch_max,
)
def max_pool(x: Tensor, kernel: Window, stride: Window, padding: Window, dilation: Window, ceil_mode: bool) -> Tensor:
    """The greatest element of each window over the last dimensions; NaN if there is one.

    Shapes:   x [*S, *L] → [*S, *counts] with as many L as the settings have numbers
    Dtypes:   kept
    Gradient: to the element of each window that `max_pool_places` names
    Errors:   ShapeError for windows beyond x and its padding
    Source:   torch.nn.functional.max_pool2d

    >>> dg.ops.max_pool(tensor([[1, 3, 2, 0]]), (2,), (2,), (0,), (1,), False)
    tensor([[3, 2]])
    """
    if len(kernel) > 1 and (product(kernel) > UNROLLED or _is_read_apart(kernel, stride, padding)):
        for settings in _split(kernel, stride, padding, dilation):
            x = max_pool(x, *settings, ceil_mode)
        return x
    counts = _counts(x, kernel, stride, padding, dilation, ceil_mode)
    taps = Taps(x, counts, kernel, stride, padding, dilation, least(x.dtype))
    found: Any = None
    for place in taps.places():
        found = taps.at(place) if found is None else maximum(found, taps.at(place))
    made: Tensor = found
    return made


@max_pool.vjp
def _(g: Any, out: Any, x: Any, *settings: Any) -> Any:
    return put_back(g, max_pool_places(x, *settings)[1], x, len(settings[0]))


def put_back(g: Any, places: Any, x: Any, dims: int) -> Tensor:
    """g added at places in x's last dimensions flattened, among zeros."""
    shape = tuple(x.shape)
    lead, plane = shape[: len(shape) - dims], product(shape[len(shape) - dims :])
    flat = (*lead, product(tuple(g.shape)[len(shape) - dims :]))
    made = scatter_add_within(full((*lead, plane), 0, g.dtype), len(lead), reshape(places, flat), reshape(g, flat))
    return reshape(made, shape)


@op(
    kind=REDUCTION,
    dtypes=promote,
    method=False,
    public=False,
    samples=lambda m: _samples(m)[:2],
    torch=lambda torch, *args: _torch_max(torch, *args, both=True),
)
def max_pool_places(
    x: Tensor, kernel: Window, stride: Window, padding: Window, dilation: Window, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """The greatest element of each window over the last dimensions, and where it lies in these dimensions flattened.

    Of equal elements it is the first, of NaNs the last one.

    Shapes:   x [*S, *L] → twice [*S, *counts] with as many L as the settings have numbers
    Dtypes:   kept; int64
    Gradient: to the elements at these places
    Errors:   ShapeError for windows beyond x and its padding
    Source:   torch.nn.functional.max_pool2d

    >>> dg.ops.max_pool_places(tensor([[1, 3, 2, 0]]), (2,), (2,), (0,), (1,), False)[1]
    tensor([[1, 2]])
    """
    if product(kernel) > UNROLLED:
        return _places_by_axis(x, kernel, stride, padding, dilation, ceil_mode)
    counts = _counts(x, kernel, stride, padding, dilation, ceil_mode)
    taps = Taps(x, counts, kernel, stride, padding, dilation, least(x.dtype))
    best: Any = None
    for place in taps.places():
        value = taps.at(place)
        offset = flat_place(taps.sizes, [i * d for i, d in zip(place, dilation)])
        if best is None:
            best, at = value, _first(taps)
            start = flat_place(taps.sizes, [taps.window(i) * s - p for i, (s, p) in enumerate(zip(stride, padding))])
            continue
        better = (value > best) | isnan(value) if x.dtype.kind == "f" else value > best
        best, at = where(better, value, best), where(better, start + offset, at)
    return best, broadcast_to(at, tuple(best.shape))


def flat_place(sizes: Any, indices: Any) -> Any:
    """The place in row-major order of indices along dimensions of these sizes."""
    total: Any = 0
    for size, index in zip(sizes, indices):
        total = total * size + index
    return total


def _first(taps: Taps) -> Any:
    """Where the first element of each window lies that is in x."""
    starts = []
    for axis, (size, s, p, d) in enumerate(zip(taps.sizes, taps.stride, taps.padding, taps.dilation)):
        start = taps.window(axis) * s - p
        starts.append(start if p == 0 else _first_inside(start, size, d))
    return flat_place(taps.sizes, starts)


def _first_inside(start: Any, size: Any, step: Any) -> Any:
    """The first of start, start + step, … that is not negative; some element where none is in x."""
    return minimum(where(start < 0, start % step, start), size - 1)


@max_pool_places.vjp
def _(g: Any, out: Any, x: Any, *settings: Any) -> Any:
    return put_back(g[0], out[1], x, len(settings[0]))


def _places_by_axis(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    """The same for large windows, and for sizes that are not known: one axis after the other, in loops."""
    dims, rank = len(kernel), len(x.shape)
    counts = _counts(x, kernel, stride, padding, dilation, ceil_mode)
    sizes = tuple(x.shape[rank - dims :])
    found: list[Any] = []  # per axis from the present one on: the index along it of each greatest element
    for axis in reversed(range(dims)):
        dim, count, k, s, p, d = rank - dims + axis, counts[axis], kernel[axis], stride[axis], padding[axis], dilation[axis]
        x, tap = max_along(window_view(x, dim, count, k, s, p, d, least(x.dtype)), rank)
        along = (-1, *(1,) * (dims - 1 - axis))
        start = reshape(iota(count), along) * s - p
        at = maximum(start + tap * d, _first_inside(start, sizes[axis], d))
        found = [at, *(gather(below, dim, broadcast_to(at, tuple(x.shape))) for below in found)]
    return x, broadcast_to(flat_place(sizes, found), tuple(x.shape))


@op(
    kind=REDUCTION,
    dtypes=promote,
    method=False,
    public=False,
    samples=lambda m: _samples(m)[:3],
    torch=lambda torch, *args: _torch_max(torch, *args, both=True),
)
def max_windows(
    x: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """`max_pool_places` with windows whose sizes are no part of the program; of NaNs it names the first.

    Shapes:   x [*S, *L] → twice [*S, *counts] with as many L as the settings have numbers
    Dtypes:   kept; int64
    Gradient: to the elements at these places
    Errors:   ShapeError for windows beyond x and its padding
    Source:   torch.nn.functional.max_pool2d

    >>> dg.ops.max_windows(tensor([[1, 3, 2, 0]]), (2,), (2,), (0,), (1,), False)[1]
    tensor([[1, 2]])
    """
    return _places_by_axis(x, kernel, stride, padding, dilation, ceil_mode)


@max_windows.vjp
def _(g: Any, out: Any, x: Any, *settings: Any) -> Any:
    return put_back(g[0], out[1], x, len(settings[0]))
