"""Layers of convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph.errors import ArgumentError

from .. import nn
from ..definition import Operand, operation
from ..elements import Tensor
from ..layer import Layer, known_size, zeros
from ..nn.convolutions import transposed
from ..nn.windows import channels_first, per_size
from ..shapes import TensorShape
from .functions import function_of

__all__ = [
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "SeparableConv2D",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "separable_conv2d",
]

_FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}


def format_of(rank: int, data_format: str) -> str:
    """TensorFlow's name for the order of dimensions. ArgumentError for an unknown one."""
    if data_format not in ("channels_last", "channels_first"):
        raise ArgumentError(f"data_format is {data_format!r}", hint='"channels_last" or "channels_first"')
    return _FORMATS[rank][data_format == "channels_first"]


class _Conv(Layer):
    rank: int
    kernel: Any = None
    bias: Any = None

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = zeros,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(trainable=trainable, name=name, activity_regularizer=activity_regularizer, **others)
        function = type(self).__name__
        self.filters = int(filters)
        self.data_format = data_format
        self._format = format_of(self.rank, data_format)
        self.kernel_size, self.strides, self.dilation_rate = (
            tuple(per_size(function, what, value, self.rank, None))
            for what, value in (("kernel_size", kernel_size), ("strides", strides), ("dilation_rate", dilation_rate))
        )
        if padding.upper() not in ("SAME", "VALID"):
            raise ArgumentError(f"{function}: padding is {padding!r}", hint='"same" or "valid"')
        self.padding = padding
        self.activation = activation
        self.use_bias = use_bias
        self._kernel_options = {
            "initializer": kernel_initializer, "regularizer": kernel_regularizer, "constraint": kernel_constraint,
        }  # fmt: skip
        self._bias_options = {"initializer": bias_initializer, "regularizer": bias_regularizer, "constraint": bias_constraint}

    def channels(self, shape: TensorShape) -> int:
        """How many channels the inputs have."""
        return known_size(self, shape, 1 if channels_first(self._format) else -1, self.rank + 2)

    def kernel_shape(self, channels: int) -> list[int]:
        """The shape of the kernel."""
        return [*self.kernel_size, channels, self.filters]

    def build(self, input_shape: TensorShape) -> None:
        """Makes kernel and bias."""
        self.kernel = self.add_weight("kernel", self.kernel_shape(self.channels(input_shape)), **self._kernel_options)
        self.build_bias()

    def build_bias(self) -> None:
        """Makes the bias."""
        if self.use_bias:
            self.bias = self.add_weight("bias", [self.filters], **self._bias_options)

    def convolved(self, inputs: Any) -> Any:
        """The inputs through the kernel."""
        return nn.convolution(
            inputs, self.kernel, self.padding.upper(), self.strides, self.dilation_rate, data_format=self._format
        )

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs."""
        outputs = self.convolved(inputs)
        outputs = outputs if self.bias is None else nn.bias_add(outputs, self.bias, self._format)
        return outputs if self.activation is None else self.activation(outputs)


_ARGUMENTS = """

    Args:
        filters: how many channels the outputs have.
        kernel_size, strides, dilation_rate: numbers for all sizes, or one for each.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first".
        activation: a function of the sum, or None.
        use_bias, kernel_initializer, bias_initializer, kernel_regularizer, …: as of `Dense`.
"""


class Conv1D(_Conv):
    __doc__ = "A convolution of rows, [N, W, C] → [N, W', filters]." + _ARGUMENTS
    rank = 1


class Conv2D(_Conv):
    __doc__ = "A convolution of images, [N, H, W, C] → [N, H', W', filters]." + _ARGUMENTS
    rank = 2


class Conv3D(_Conv):
    __doc__ = "A convolution of volumes, [N, D, H, W, C] → [N, D', H', W', filters]." + _ARGUMENTS
    rank = 3


class _Transposed(_Conv):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = zeros,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, data_format, 1, activation, use_bias, kernel_initializer, bias_initializer,
            kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, trainable, name,
            **others,
        )  # fmt: skip

    def kernel_shape(self, channels: int) -> list[int]:
        """The shape of the kernel."""
        return [*self.kernel_size, self.filters, channels]

    def convolved(self, inputs: Any) -> Any:
        """The inputs through the transposed kernel."""
        return _deconvolved(inputs, self.kernel, list(self.strides), self.padding.upper(), self._format)


@operation("ConvBackpropInput")
def _deconvolved(
    inputs: Operand, kernel: Operand, strides: Sequence[int], padding: str, data_format: str, name: str | None = None
) -> Any:
    sizes = inputs.shape[2:] if channels_first(data_format) else inputs.shape[1:-1]
    windows = kernel.shape[: len(strides)]
    wanted = [
        size * step + (max(int(window) - step, 0) if padding == "VALID" else 0)
        for size, step, window in zip(sizes, strides, windows)
    ]
    return transposed("conv_transpose", inputs, kernel, wanted, strides, padding, data_format, None)


class Conv2DTranspose(_Transposed):
    __doc__ = 'A transposed convolution of images, [N, H, W, C] → [N, H * stride, W * stride, filters] with "same".' + _ARGUMENTS
    rank = 2


class Conv3DTranspose(_Transposed):
    __doc__ = "A transposed convolution of volumes." + _ARGUMENTS
    rank = 3


class SeparableConv2D(_Conv):
    __doc__ = (
        "A convolution channel by channel, with `depth_multiplier` kernels each, and behind it one of single pixels." + _ARGUMENTS
    )
    rank = 2
    depthwise_kernel: Any = None
    pointwise_kernel: Any = None

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = None,
        pointwise_initializer: Any = None,
        bias_initializer: Any = zeros,
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, None, bias_initializer,
            None, bias_regularizer, activity_regularizer, None, bias_constraint, trainable, name, **others,
        )  # fmt: skip
        self.depth_multiplier = int(depth_multiplier)
        self._options = [
            {"initializer": i, "regularizer": r, "constraint": c}
            for i, r, c in (
                (depthwise_initializer, depthwise_regularizer, depthwise_constraint),
                (pointwise_initializer, pointwise_regularizer, pointwise_constraint),
            )
        ]

    def build(self, input_shape: TensorShape) -> None:
        """Makes both kernels and the bias."""
        channels, times = self.channels(input_shape), self.depth_multiplier
        depthwise, pointwise = self._options
        self.depthwise_kernel = self.add_weight("depthwise_kernel", [*self.kernel_size, channels, times], **depthwise)
        self.pointwise_kernel = self.add_weight("pointwise_kernel", [1, 1, channels * times, self.filters], **pointwise)
        self.build_bias()

    def convolved(self, inputs: Any) -> Tensor:
        """The inputs through both kernels."""
        return nn.separable_conv2d(
            inputs,
            self.depthwise_kernel,
            self.pointwise_kernel,
            self.strides,
            self.padding.upper(),
            self.dilation_rate,
            data_format=self._format,
        )


conv1d, conv2d, conv3d = function_of(Conv1D, "conv1d"), function_of(Conv2D, "conv2d"), function_of(Conv3D, "conv3d")
conv2d_transpose = function_of(Conv2DTranspose, "conv2d_transpose")
conv3d_transpose = function_of(Conv3DTranspose, "conv3d_transpose")
separable_conv2d = function_of(SeparableConv2D, "separable_conv2d")
