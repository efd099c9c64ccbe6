"""Convolutions of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph.errors import ArgumentError, ShapeError
from duograph.nn import functional as F

from ..definition import Numbers, Operand, operation
from ..elements import Tensor
from ..scopes import name_scope
from ..slicing import as_numbers
from .windows import channels_first, check_rank, from_first, padded, pads_of, per_size, to_first

__all__ = [
    "atrous_conv2d",
    "conv1d",
    "conv2d",
    "conv2d_backprop_input",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "convolution",
    "depthwise_conv2d",
    "depthwise_conv2d_native",
    "separable_conv2d",
]

_FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}


def _convolved(
    function: str,
    x: Any,
    kernel: Any,
    strides: Any,
    padding: Any,
    data_format: str | None,
    dilations: Any,
    groups: int | None = None,
) -> Any:
    """A convolution by a kernel [*sizes, channels of a group, outputs]."""
    rank = int(function[-2]) if function[-2].isdigit() else kernel.ndim - 2
    check_rank(function, x, rank)
    if kernel.ndim != rank + 2:
        raise ShapeError(f"{function}: the filter has shape {tuple(kernel.shape)}: expected {rank + 2} dimensions")
    steps = per_size(function, "strides", strides, rank, data_format)
    gaps = per_size(function, "dilations", dilations, rank, data_format)
    x = to_first(x, data_format)
    windows = [int(n) for n in kernel.shape[:rank]]
    channels, read = int(x.shape[1]), int(kernel.shape[rank])
    if groups is None:
        groups, rest = divmod(channels, read) if read else (1, 0)
        if rest or not groups or int(kernel.shape[-1]) % groups:
            raise ShapeError(f"{function}: the input has {channels} channels, the filter {tuple(kernel.shape)} reads {read}")
    pads = pads_of(function, padding, x.shape[2:], windows, steps, gaps, data_format)
    x, sides = padded(x, pads)
    weight = kernel.permute([rank + 1, rank, *range(rank)])
    return from_first(_FORWARD[rank](x, weight, None, steps, sides, gaps, groups), data_format)


@operation("Conv2D")
def _conv2d(
    input: Operand, filter: Operand, strides: Any, padding: Any, data_format: Any, dilations: Any, name: str | None = None
) -> Any:
    return _convolved("conv2d", input, filter, strides, padding, data_format, dilations)


def conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """The convolution (cross-correlation) of images.

    Args:
        strides, dilations: four numbers in the order of `data_format`, two for height and width, or one for both.
        padding: "SAME": ceil(size / stride) results; "VALID": only windows that lie inside; or four pairs of numbers of zeros.
        data_format: "NHWC" or "NCHW".

    Shapes:   input [N, H, W, C], filter [h, w, C, O] → [N, H', W', O]; a filter of C / g channels makes g groups
    Errors:   ShapeError, ArgumentError for what does not fit

    >>> import duograph.graph as tf
    >>> image = tf.placeholder(tf.float32, [None, 28, 28, 1])
    >>> tf.nn.conv2d(image, tf.constant(0.0, shape=[5, 5, 1, 32]), [1, 2, 2, 1], "SAME").shape
    TensorShape([None, 14, 14, 32])
    """
    made: Tensor = _conv2d(input, _either("conv2d", filter, filters), strides, padding, data_format, dilations, name or "Conv2D")
    return made


def _either(function: str, filter: Any, filters: Any) -> Any:
    if (filter is None) == (filters is None):
        raise ArgumentError(f"{function}: give filter (also called filters) once")
    return filters if filter is None else filter


@operation("Conv1D")
def _conv1d(
    value: Operand, filters: Operand, stride: Any, padding: Any, data_format: Any, dilations: Any, name: str | None = None
) -> Any:
    return _convolved("conv1d", value, filters, stride, padding, data_format, dilations)


def conv1d(
    value: Any = None,
    filters: Any = None,
    stride: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool | None = None,
    data_format: str | None = None,
    name: str | None = None,
    input: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The convolution of rows: `conv2d` with one size.

    Shapes:   value [N, W, C], filters [w, C, O] → [N, W', O]; with data_format "NCW": [N, C, W] → [N, O, W']
    """
    data_format = {"NHWC": "NWC", "NCHW": "NCW"}.get(data_format or "NWC", data_format)
    made: Tensor = _conv1d(input if value is None else value, filters, stride, padding, data_format, dilations, name or "conv1d")
    return made


@operation("Conv3D")
def _conv3d(
    input: Operand, filter: Operand, strides: Any, padding: Any, data_format: Any, dilations: Any, name: str | None = None
) -> Any:
    return _convolved("conv3d", input, filter, strides, padding, data_format, dilations)


def conv3d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str = "NDHWC",
    dilations: Any = (1, 1, 1, 1, 1),
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """The convolution of volumes.

    Shapes:   input [N, D, H, W, C], filter [d, h, w, C, O] → [N, D', H', W', O]
    """
    made: Tensor = _conv3d(input, _either("conv3d", filter, filters), strides, padding, data_format, dilations, name or "Conv3D")
    return made


def convolution(
    input: Any,
    filter: Any = None,
    padding: Any = None,
    strides: Any = None,
    dilation_rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The convolution of rows, images or volumes, by the rank of the filter."""
    from ..constants import convert_to_tensor

    filter = convert_to_tensor(_either("convolution", filter, filters))
    rank = len(filter.shape) - 2
    if rank not in _FORMATS:
        raise ShapeError(f"convolution: the filter has shape {filter.shape}: expected 3, 4 or 5 dimensions")
    first = channels_first(data_format)
    made = {1: _conv1d, 2: _conv2d, 3: _conv3d}[rank]
    gaps = dilation_rate if dilations is None else dilations
    found: Tensor = made(input, filter, strides, padding, _FORMATS[rank][first], gaps, name or "convolution")
    return found


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: str, name: str | None = None) -> Tensor:
    """`conv2d` of images with channels last, by a filter with gaps: `rate` steps between its elements."""
    made: Tensor = _conv2d(value, filters, 1, padding, "NHWC", int(rate), name or "atrous_conv2d")
    return made


@operation("DepthwiseConv2dNative")
def _depthwise(
    input: Operand, filter: Operand, strides: Any, padding: Any, data_format: Any, dilations: Any, name: str | None = None
) -> Any:
    height, width, channels, times = filter.shape
    if input.shape[1 if channels_first(data_format) else -1] != channels:
        raise ShapeError(f"depthwise_conv2d: the input has shape {tuple(input.shape)}, the filter {tuple(filter.shape)}")
    kernel = filter.reshape([height, width, 1, channels * times])
    return _convolved("depthwise_conv2d", input, kernel, strides, padding, data_format, dilations, int(channels))


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """A convolution in which each channel is read by M filters of its own.

    Shapes:   input [N, H, W, C], filter [h, w, C, M] → [N, H', W', C * M]
    """
    gaps = dilations if rate is None else rate
    made: Tensor = _depthwise(input, filter, strides, padding, data_format, gaps, name or "depthwise")
    return made


depthwise_conv2d_native = depthwise_conv2d


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """`depthwise_conv2d`, and behind it a convolution of single pixels.

    Shapes:   input [N, H, W, C], depthwise_filter [h, w, C, M], pointwise_filter [1, 1, C * M, O] → [N, H', W', O]
    """
    with name_scope(name, "separable_conv2d", [input, depthwise_filter, pointwise_filter]):
        inner = depthwise_conv2d(input, depthwise_filter, strides, padding, rate, None, data_format, dilations)
        return conv2d(inner, pointwise_filter, 1, "VALID", data_format=data_format or "NHWC")


# ---- transposed


def transposed(
    function: str, x: Any, kernel: Any, sizes: Sequence[Any], strides: Any, padding: Any, data_format: str | None, dilations: Any
) -> Any:
    """The gradient of a convolution of images of these sizes with respect to them."""
    rank = kernel.ndim - 2
    check_rank(function, x, rank)
    steps = per_size(function, "strides", strides, rank, data_format)
    gaps = per_size(function, "dilations", dilations, rank, data_format)
    wanted = list(sizes[2:] if channels_first(data_format) else sizes[1:-1]) if len(sizes) == rank + 2 else list(sizes)
    windows = [int(n) for n in kernel.shape[:rank]]
    pads = pads_of(function, padding, wanted, windows, steps, gaps, data_format)
    x = to_first(x, data_format)
    more: list[Any] = []
    for size, have, window, step, gap, (low, high) in zip(wanted, x.shape[2:], windows, steps, gaps, pads):
        reach = (window - 1) * gap + 1
        if (size + low + high - reach) // step + 1 != have:
            raise ShapeError(
                f"{function}: the input has a size {int(have)}, which is not what {padding} gives for output_shape {list(sizes)}"
            )
        more.append(size - ((have - 1) * step + reach - 2 * low))
    weight = kernel.permute([rank + 1, rank, *range(rank)])
    behind = [n if n > 0 else 0 for n in more]
    made = _TRANSPOSED[rank](x, weight, None, steps, [low for low, _ in pads], behind, 1, gaps)
    if any(n < 0 for n in more):
        made = made[(slice(None), slice(None), *(slice(0, size) for size in wanted))]
    return from_first(made, data_format)


@operation("Conv2DBackpropInput")
def _conv2d_transpose(
    value: Operand,
    filter: Operand,
    output_shape: Numbers,
    strides: Any,
    padding: Any,
    data_format: Any,
    dilations: Any,
    name: str | None = None,
) -> Any:
    sizes = as_numbers(output_shape)
    return transposed("conv2d_transpose", value, filter, sizes, strides, padding, data_format, dilations)


def conv2d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: str = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The transpose (gradient) of `conv2d`: images of shape `output_shape`, of which `value` could be the convolution.

    Args:
        output_shape: four numbers or a tensor; the batch's size in it may be a tensor, too.

    Shapes:   value [N, H', W', O], filter [h, w, C, O] → output_shape = [N, H, W, C]
    Errors:   ShapeError if `conv2d` would not make [H', W'] of [H, W]
    """
    kernel = _either("conv2d_transpose", filter, filters)
    images = input if value is None else value
    made: Tensor = _conv2d_transpose(
        images, kernel, output_shape, strides, padding, data_format, dilations, name or "conv2d_transpose"
    )
    return made


def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """The gradient of `conv2d` with respect to its input: `conv2d_transpose` with other names."""
    made: Tensor = _conv2d_transpose(out_backprop, filter, input_sizes, strides, padding, data_format, dilations, name)
    return made


@operation("Conv3DBackpropInputV2")
def _conv3d_transpose(
    value: Operand,
    filter: Operand,
    output_shape: Numbers,
    strides: Any,
    padding: Any,
    data_format: Any,
    dilations: Any,
    name: str | None = None,
) -> Any:
    sizes = as_numbers(output_shape)
    return transposed("conv3d_transpose", value, filter, sizes, strides, padding, data_format, dilations)


def conv3d_transpose(
    value: Any,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: str = "SAME",
    data_format: str = "NDHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The transpose (gradient) of `conv3d`.

    Shapes:   value [N, D', H', W', O], filter [d, h, w, C, O] → output_shape = [N, D, H, W, C]
    """
    kernel = _either("conv3d_transpose", filter, filters)
    images = input if value is None else value
    made: Tensor = _conv3d_transpose(
        images, kernel, output_shape, strides, padding, data_format, dilations, name or "conv3d_transpose"
    )
    return made
