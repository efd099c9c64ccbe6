"""Maxima and means over windows of images."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph.errors import ArgumentError, ShapeError
from duograph.nn import functional as F

from ..definition import Operand, operation
from ..elements import Tensor
from .windows import channels_first, check_rank, from_first, padded, pads_of, per_size, to_first

__all__ = [
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool_with_argmax",
    "pool",
]

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}


def _pooled(
    function: str, x: Any, rank: int, kind: str, ksize: Any, strides: Any, padding: Any, dilations: Any, data_format: Any
) -> Any:
    """Maxima or means over windows."""
    check_rank(function, x, rank)
    windows = per_size(function, "ksize", ksize, rank, data_format)
    steps = per_size(function, "strides", strides, rank, data_format)
    gaps = per_size(function, "dilations", dilations, rank, data_format)
    x = to_first(x, data_format)
    if isinstance(padding, str) and padding.upper() == "VALID":
        for size, window, gap in zip(x.shape[2:], windows, gaps):
            if size < (window - 1) * gap + 1:
                raise ShapeError(f"{function}: a window of {window} does not fit into {int(size)} pixels", hint='padding="SAME"')
    pads = pads_of(function, padding, x.shape[2:], windows, steps, gaps, data_format)
    return from_first((_maxima if kind == "MAX" else _means)(x, rank, windows, steps, gaps, pads), data_format)


def _maxima(x: Any, rank: int, windows: Any, steps: Any, gaps: Any, pads: Any) -> Any:
    x, sides = padded(x, pads, float("-inf"))
    return _MAX[rank](x, windows, steps, sides, gaps)


def _means(x: Any, rank: int, windows: Any, steps: Any, gaps: Any, pads: Any) -> Any:
    """Means over windows: of what lies inside of the image."""
    if gaps != [1] * rank:
        raise ArgumentError("avg_pool: there is no mean with dilations", hint="use a depthwise convolution")
    image, sides = padded(x, pads)
    if image is x:
        return _MEAN[rank](x, windows, steps, sides, False, False)
    ones, _ = padded(dg.ones([1, 1, *x.shape[2:]], dtype=x.dtype), pads)
    return _MEAN[rank](image, windows, steps) / _MEAN[rank](ones, windows, steps)


@operation("Pool")
def _pool(
    input: Operand,
    rank: int,
    kind: str,
    ksize: Any,
    strides: Any,
    padding: Any,
    dilations: Any,
    data_format: Any,
    name: str | None = None,
) -> Any:
    function = f"{kind.lower()}_pool"
    return _pooled(function, input, rank, kind, ksize, strides, padding, dilations, data_format)


def max_pool(
    value: Any = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """The greatest of each window, channel by channel; what "SAME" adds is smaller than everything.

    Args:
        ksize, strides: four numbers in the order of `data_format`, two for height and width, or one.

    Shapes:   value [N, H, W, C] → [N, H', W', C]
    """
    images = input if value is None else value
    made: Tensor = _pool(images, 2, "MAX", ksize, strides, padding, None, data_format, name or "MaxPool")
    return made


def avg_pool(
    value: Any = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """The mean of each window, channel by channel; what "SAME" adds does not count.

    Shapes:   value [N, H, W, C] → [N, H', W', C]
    """
    images = input if value is None else value
    made: Tensor = _pool(images, 2, "AVG", ksize, strides, padding, None, data_format, name or "AvgPool")
    return made


max_pool2d, avg_pool2d = max_pool, avg_pool


def max_pool1d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC", name: str | None = None) -> Tensor:
    """The greatest of each window of rows. Shapes: [N, W, C] → [N, W', C]."""
    made: Tensor = _pool(input, 1, "MAX", ksize, strides, padding, None, data_format, name or "max_pool1d")
    return made


def avg_pool1d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC", name: str | None = None) -> Tensor:
    """The mean of each window of rows. Shapes: [N, W, C] → [N, W', C]."""
    made: Tensor = _pool(input, 1, "AVG", ksize, strides, padding, None, data_format, name or "avg_pool1d")
    return made


def max_pool3d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC", name: str | None = None) -> Tensor:
    """The greatest of each window of volumes. Shapes: [N, D, H, W, C] → [N, D', H', W', C]."""
    made: Tensor = _pool(input, 3, "MAX", ksize, strides, padding, None, data_format, name or "max_pool3d")
    return made


def avg_pool3d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC", name: str | None = None) -> Tensor:
    """The mean of each window of volumes. Shapes: [N, D, H, W, C] → [N, D', H', W', C]."""
    made: Tensor = _pool(input, 3, "AVG", ksize, strides, padding, None, data_format, name or "avg_pool3d")
    return made


def pool(
    input: Any,
    window_shape: Any,
    pooling_type: str,
    padding: Any,
    dilation_rate: Any = None,
    strides: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """Maxima ("MAX") or means ("AVG") over windows of rows, images or volumes."""
    rank = 1 if isinstance(window_shape, int) else len(window_shape)
    if pooling_type not in ("MAX", "AVG"):
        raise ArgumentError(f'pool: pooling_type is "MAX" or "AVG", not {pooling_type!r}')
    if rank not in _FORMATS:
        raise ArgumentError(f"pool: window_shape = {window_shape}: expected 1, 2 or 3 sizes")
    gaps = dilation_rate if dilations is None else dilations
    form = _FORMATS[rank][channels_first(data_format)]
    made: Tensor = _pool(input, rank, pooling_type, window_shape, strides, padding, gaps, form, name or "pool")
    return made


@operation("MaxPoolWithArgmax")
def _max_pool_with_argmax(
    input: Operand, ksize: Any, strides: Any, padding: Any, dtype: Any, batches: bool, name: str | None = None
) -> Any:
    images, height, width, channels = input.shape
    windows, steps = (per_size("max_pool_with_argmax", *x, 2, "NHWC") for x in (("ksize", ksize), ("strides", strides)))
    pads = pads_of("max_pool_with_argmax", padding, [height, width], windows, steps, [1, 1])
    flat = [n for pair in reversed(pads) for n in pair]
    x = F.pad(to_first(input, None), flat, value=float("-inf"))
    values, places = F.max_pool2d_with_indices(x, windows, steps)
    rows = places // x.shape[3] - pads[0][0]
    columns = places % x.shape[3] - pads[1][0]
    found = (from_first(rows, None) * width + from_first(columns, None)) * channels + dg.arange(channels)
    if batches:
        found = found + dg.arange(images).reshape([-1, 1, 1, 1]) * (height * width * channels)
    return from_first(values, None), found.to(dtype)


def max_pool_with_argmax(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NHWC",
    Targmax: Any = None,
    name: str | None = None,
    output_dtype: Any = None,
    include_batch_in_index: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool`, and where the greatest are: (y * W + x) * C + c, int64 by default.

    Args:
        include_batch_in_index: ((b * H + y) * W + x) * C + c instead.
    """
    from ..dtypes import as_dtype

    dtype = as_dtype(Targmax or output_dtype or "int64")
    found: tuple[Tensor, Tensor] = _max_pool_with_argmax(input, ksize, strides, padding, dtype, include_batch_in_index, name)
    return found
