"""Windows that slide over images: strides, dilations, padding and the order of dimensions, as TensorFlow writes them.

The functions of duograph have channels first. Here images have channels last, unless a `data_format` says "NC…".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph.errors import ArgumentError, ShapeError
from duograph.nn import functional as F

from .. import layout


def channels_first(data_format: str | None) -> bool:
    """Whether a data format such as "NCHW" has channels before the sizes."""
    if data_format is None or data_format in ("NWC", "NHWC", "NDHWC"):
        return False
    if data_format in ("NCW", "NCHW", "NCDHW"):
        return True
    raise ArgumentError(f"data_format is {data_format!r}", hint='"NHWC" or "NCHW" for images')


def per_size(function: str, what: str, values: Any, rank: int, data_format: str | None) -> list[int]:
    """Strides, window sizes or dilations: one number for each size of an image.

    Args:
        values: None, a number, or 1, `rank` or `rank` + 2 numbers, of which those for batch and channels must be 1.
    """
    if values is None:
        return [1] * rank
    numbers = [int(values)] if isinstance(values, int) else [int(v) for v in values]
    if len(numbers) == rank + 2:
        spatial = numbers[2:] if channels_first(data_format) else numbers[1:-1]
        others = numbers[:2] if channels_first(data_format) else [numbers[0], numbers[-1]]
        if others != [1, 1]:
            raise ArgumentError(f"{function}: {what} = {numbers}: windows do not reach over batch and channels: these must be 1")
        numbers = spatial
    elif len(numbers) == 1:
        numbers = numbers * rank
    if len(numbers) != rank or min(numbers) < 1:
        raise ArgumentError(f"{function}: {what} = {values}: expected {rank + 2} positive numbers")
    return numbers


def to_first(x: Any, data_format: str | None) -> Any:
    """Images with channels first."""
    return x if channels_first(data_format) else layout.channels_first(x)


def from_first(x: Any, data_format: str | None) -> Any:
    """Images with channels where `data_format` has them."""
    return x if channels_first(data_format) else layout.channels_last(x)


def check_rank(function: str, x: Any, rank: int) -> None:
    """ShapeError for images of another rank than 2 + `rank`."""
    if x.ndim != rank + 2:
        raise ShapeError(f"{function}: the input has {x.ndim} dimensions: expected {rank + 2} dimensions")


def pads_of(
    function: str,
    padding: Any,
    sizes: Sequence[Any],
    windows: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    data_format: str | None = None,
) -> list[tuple[Any, Any]]:
    """How much is added before and behind each size of an image.

    With "SAME" there are ceil(size / stride) results, and of an odd number of added rows the greater part comes behind.
    """
    rank = len(sizes)
    if isinstance(padding, str) and padding.upper() == "VALID":
        return [(0, 0)] * rank
    if isinstance(padding, str) and padding.upper() == "SAME":
        return [same_pads(*numbers) for numbers in zip(sizes, windows, strides, dilations)]
    if isinstance(padding, (list, tuple)) and len(padding) == rank + 2:
        pairs = [(int(low), int(high)) for low, high in padding]
        spatial = pairs[2:] if channels_first(data_format) else pairs[1:-1]
        if all(pair == (0, 0) for pair in pairs if pair not in spatial) and all(n >= 0 for pair in pairs for n in pair):
            return spatial
    raise ArgumentError(
        f"{function}: padding is {padding!r}",
        hint=f'"SAME", "VALID" or {rank + 2} pairs, of which batch and channels have (0, 0)',
    )


def same_pads(size: Any, window: int, stride: int, dilation: int) -> tuple[Any, Any]:
    """What "SAME" adds before and behind a size."""
    reach = (window - 1) * dilation + 1
    if stride == 1:
        return (reach - 1) // 2, reach // 2
    over = next(rest for rest in range(1, stride + 1) if size % stride == rest % stride)  # a number, whatever the size is
    total = max(reach - over, 0)
    return total // 2, total - total // 2


def padded(x: Any, pads: Sequence[tuple[Any, Any]], value: float = 0.0) -> tuple[Any, list[Any]]:
    """(the images, padded where before and behind differ; what is left to add on both sides)."""
    if all(low == high for low, high in pads):
        return x, [low for low, _ in pads]
    flat = [n for pair in reversed(pads) for n in pair]
    return F.pad(x, flat, value=value), [0] * len(pads)
