"""Convolutions whose groups read one channel each, and their gradients: sums over windows instead of products of matrices."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from duograph import _core as core

from ..shapes.arranging import flip
from ..shapes.copying import cast
from ..shapes.movement import reshape, unsqueeze
from ..shapes.permuting import permute
from ..tracing import emit
from .phases import gathered_back, taps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .geometry import Numbers
    from .phases import Phase, Spread

Sizes: TypeAlias = "Sequence[Any]"


def is_single(x: Any, weight: Any, groups: int) -> bool:
    """Whether a convolution is one of these; the kernels of a group that reads one channel have a size of 1 there."""
    channels = weight.shape[1]
    return groups > 1 and isinstance(channels, int) and channels == 1 and x.dtype.is_floating_point


def single_sums(x: Any, weight: Any, low: Sizes, counts: Sizes, stride: Numbers, dilation: Numbers, groups: int) -> Any:
    """`correlate` of such groups."""
    given = unsqueeze(x, 2)
    made = _sums(given, _grouped(weight, 0, groups), low, counts, stride, dilation)
    return reshape(made, made.shape[0], weight.shape[0], *counts)


def single_taps(x: Any, g: Any, low: Sizes, kernel: Sizes, stride: Numbers, dilation: Numbers, groups: int) -> Any:
    """`correlate_taps` of such groups."""
    given, slopes = unsqueeze(x, 2), _grouped(g, 1, groups)
    shape = (groups, slopes.shape[2], *kernel)
    made = _emitted("window_taps", given, slopes, shape, low, stride, dilation)
    return reshape(made, g.shape[1], 1, *kernel)


def single_back(g: Any, weight: Any, low: Sizes, sizes: Sizes, stride: Numbers, dilation: Numbers, groups: int) -> Any:
    """`correlate_back` of such groups: the kernels turned round, over the channels that each element went to."""
    dims = len(stride)
    given, taps = _grouped(g, 1, groups), _grouped(weight, 0, groups)
    first = len(taps.shape) - dims

    def of_phase(g: Any, places: Sequence[Spread], chosen: Sequence[Phase]) -> Any:
        kernel = taps_of(taps, first, chosen)
        kernel = permute(flip(kernel, *range(first, first + dims)), 0, 2, 1, *range(first, first + dims))
        start = tuple((phase.taps - 1) * phase.back - phase.shift - place.start for place, phase in zip(places, chosen))
        counts = tuple(place.rounds for place in places)
        backs = tuple(phase.back for phase in chosen)
        made = _sums(given, kernel, start, counts, (1,) * dims, backs)
        return reshape(made, made.shape[0], groups, *counts)

    return gathered_back(g, tuple(weight.shape[2:]), low, sizes, stride, dilation, of_phase, of_phase, prod(stride), False)


def _grouped(x: Any, dim: int, groups: int) -> Any:
    shape = tuple(x.shape)
    return reshape(x, *shape[:dim], groups, shape[dim] // groups, *shape[dim + 1 :])


def _sums(x: Any, weight: Any, low: Sizes, counts: Sizes, stride: Numbers, dilation: Numbers) -> Any:
    shape = (x.shape[0], weight.shape[0], weight.shape[1], *counts)
    return _emitted("window_sums", x, weight, shape, low, stride, dilation)


def _emitted(name: str, x: Any, other: Any, shape: Sizes, low: Sizes, stride: Numbers, dilation: Numbers) -> Any:
    """16-bit floats are summed in float32."""
    dtype = x.dtype
    if dtype.itemsize == 2:
        x, other = cast(x, core.float32), cast(other, core.float32)
    made = emit(name, [x, other], x.dtype, tuple(shape), low=tuple(low), stride=stride, dilation=dilation)
    return cast(made, dtype) if dtype.itemsize == 2 else made
