"""Numbers of eight bits and fewer that stand for floats: by a scale and a zero point."""

from __future__ import annotations

from typing import Any

import duograph as dg

from ..reading import dtype_of
from .definition import Tensor, operator
from .known import Known
from .narrow import Narrow, bounds, is_narrow, rounded
from .networks import conv


def _along(x: Any, rank: int, axis: int, like: Tensor, block: int) -> Tensor:
    """Scales or zero points, so that they meet the elements that they are of."""
    if block:
        return dg.narrow(dg.repeat_interleave(x, block, axis), axis, 0, like.shape[axis])
    if x.ndim == 1 and rank > 1:
        shape = [1] * rank
        shape[axis] = -1
        return x.reshape(shape)
    return x.reshape(()) if x.ndim == 1 and rank == 0 else x


def _tensor(value: Any) -> Any:
    if isinstance(value, Narrow):
        return value.tensor
    return value if value is None or isinstance(value, dg.Tensor) else Known(value).tensor()


@operator("QuantizeLinear", since=10)
def quantise(
    x: Tensor, scale: Tensor, zero: Any = None, *, axis: int = 1, block_size: int = 0, output_dtype: int = 0, precision: int = 0,
    saturate: int = 1,
) -> Any:  # fmt: skip
    number = zero.number if isinstance(zero, Narrow) else output_dtype
    points = _tensor(zero)
    dtype = dtype_of(number, "QuantizeLinear: the result") if number else dg.uint8 if points is None else points.dtype
    wide = x.to(dg.float32) / _along(scale.to(dg.float32), x.ndim, axis, x, block_size)
    if is_narrow(number) and dtype.is_floating_point:
        return Narrow(rounded(wide, number, saturate), number)
    whole = dg.round(wide)
    if points is not None:
        whole = whole + _along(points.to(dg.float32), x.ndim, axis, x, block_size)
    low, high = bounds(number) if is_narrow(number) else (dg.iinfo(dtype).min, dg.iinfo(dtype).max)
    made = dg.clamp(whole, low, high).to(dtype)
    return Narrow(made, number) if is_narrow(number) else made


@operator("DequantizeLinear", since=10)
def dequantise(
    x: Tensor, scale: Tensor, zero: Any = None, *, axis: int = 1, block_size: int = 0, output_dtype: int = 0
) -> Tensor:
    points = _tensor(zero)
    kind = dg.float32 if x.dtype.is_floating_point else dg.int32
    wide = x.to(kind)
    if points is not None:
        wide = wide - _along(points.to(kind), x.ndim, axis, x, block_size)
    made = wide.to(dg.float32) * _along(scale.to(dg.float32), x.ndim, axis, x, block_size)
    return made.to(dtype_of(output_dtype, "DequantizeLinear: the result") if output_dtype else scale.dtype)


def _centred(x: Tensor, zero: Any, rows: bool) -> Tensor:
    if zero is None:
        return x.to(dg.int32)
    points = zero.to(dg.int32)
    if points.ndim == 1 and rows and x.ndim > 1:
        points = points.reshape(-1, 1)
    return x.to(dg.int32) - points


@operator("MatMulInteger", since=10)
def matmul_integer(a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Tensor:
    return dg.matmul(_centred(a, a_zero, True), _centred(b, b_zero, False))


@operator("QLinearMatMul", since=10)
def quantised_matmul(
    a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor, y_scale: Tensor, y_zero: Any
) -> Any:
    whole = matmul_integer(a, b, a_zero, b_zero)
    factor = a_scale.to(dg.float32) * b_scale.to(dg.float32)
    return quantise(whole.to(dg.float32) * factor, y_scale, y_zero, axis=-1)


@operator("ConvInteger", since=10)
def conv_integer(
    x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None, *, auto_pad: str = "NOTSET",
    dilations: Any = None, group: int = 1, kernel_shape: Any = None, pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    return _conv(x, w, x_zero, w_zero, auto_pad, dilations, group, pads, strides)


@operator("QLinearConv", since=10)
def quantised_conv(
    x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor, w_zero: Tensor, y_scale: Tensor, y_zero: Any,
    b: Tensor | None = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1, kernel_shape: Any = None,
    pads: Any = None, strides: Any = None,
) -> Any:  # fmt: skip
    made = _conv(x, w, x_zero, w_zero, auto_pad, dilations, group, pads, strides)
    shape = (-1, *[1] * (x.ndim - 2))
    if b is not None:
        made = made + b.reshape(shape)
    factor = x_scale.to(dg.float32) * (w_scale.reshape(shape) if w_scale.ndim else w_scale)
    return quantise(made.to(dg.float32) * factor, y_scale, y_zero)


def _conv(
    x: Tensor, w: Tensor, x_zero: Any, w_zero: Any, auto_pad: str, dilations: Any, group: int, pads: Any, strides: Any
) -> Any:
    """The whole numbers of a convolution: exact in float64."""
    image = x.to(dg.float64) if x_zero is None else x.to(dg.float64) - x_zero.to(dg.float64)
    kernel = w.to(dg.float64)
    if w_zero is not None:
        points = w_zero.to(dg.float64)
        kernel = kernel - (points.reshape(-1, *[1] * (w.ndim - 1)) if points.ndim else points)
    made = conv(image, kernel, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides)
    return made.to(dg.int32)
