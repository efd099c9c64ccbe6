"""Numbers of eight bits and fewer that stand for floats: by a scale and a zero point."""

from __future__ import annotations

import functools
import math
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


@operator("DynamicQuantizeLinear", since=11)
def dynamically_quantised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bytes, scale and zero point that span the values, zero among them."""
    low, high = dg.clamp(x.amin(), None, 0.0), dg.clamp(x.amax(), 0.0)
    scale = (high - low) / 255
    zero = dg.round(dg.clamp(-low / scale, 0, 255))
    return dg.clamp(dg.round(x / scale) + zero, 0, 255).to(dg.uint8), scale, zero.to(dg.uint8)


# ---- products of whole numbers: float32 adds them exactly as long as the sums stay below 2 ** 24

_EXACT = 1 << 24


def _reach(x: Tensor, zero: Any) -> int:
    """The greatest distance that a value of x can have from its zero point."""
    low, high = dg.iinfo(x.dtype).min, dg.iinfo(x.dtype).max
    if zero is None:
        return max(-low, high)
    if isinstance(zero, dg.Tensor) or zero.dtype == object:
        return high - low
    return max(int(zero.max()) - low, high - int(zero.min())) if zero.size else high - low


def _centred(x: Tensor, zero: Any, shape: tuple[int, ...] | None = None, dtype: Any = dg.float32) -> Tensor:
    """x without its zero point, as floats.

    Args:
        shape: of zero points, so that they meet what they are of.
    """
    if zero is None or (not isinstance(zero, dg.Tensor) and not zero.any()):
        return x.to(dtype)
    points = _tensor(zero).to(dtype)
    return x.to(dtype) - (points.reshape(shape) if points.ndim == 1 and shape else points)


def _rows(a: Tensor) -> tuple[int, ...] | None:
    return (-1, 1) if a.ndim > 1 else None


@operator("MatMulInteger", since=10)
def matmul_integer(a: Tensor, b: Tensor, a_zero: Any = None, b_zero: Any = None) -> Tensor:
    count, step = a.shape[-1], _EXACT // (_reach(a, a_zero) * _reach(b, b_zero))
    if type(count) is not int:
        return dg.matmul(_centred(a, a_zero, _rows(a), dg.float64), _centred(b, b_zero, None, dg.float64)).to(dg.int32)
    left, right = _centred(a, a_zero, _rows(a)), _centred(b, b_zero)
    if count <= step:
        return dg.matmul(left, right).to(dg.int32)
    axis = max(b.ndim - 2, 0)
    return functools.reduce(
        lambda done, more: done + more,
        [
            dg.matmul(dg.narrow(left, -1, i, min(step, count - i)), dg.narrow(right, axis, i, min(step, count - i))).to(dg.int32)
            for i in range(0, count, step)
        ],
    )


def product(a: Tensor, b: Tensor, a_zero: Any, b_zero: Any) -> Tensor:
    """That of whole numbers, as a float32, which it is next in any case: so it may be added up as such."""
    return dg.matmul(_centred(a, a_zero, _rows(a)), _centred(b, b_zero))


@operator("QLinearMatMul", since=10)
def quantised_matmul(
    a: Tensor, a_scale: Tensor, a_zero: Any, b: Tensor, b_scale: Tensor, b_zero: Any, y_scale: Tensor, y_zero: Any
) -> Any:
    left = a_scale.to(dg.float32)
    left = left.reshape(-1, 1) if left.ndim == 1 and a.ndim > 1 else left
    return quantise(product(a, b, a_zero, b_zero) * (left * b_scale.to(dg.float32)), y_scale, y_zero, axis=-1)


@operator("ConvInteger", since=10)
def conv_integer(
    x: Tensor, w: Tensor, x_zero: Any = None, w_zero: Any = None, *, auto_pad: str = "NOTSET",
    dilations: Any = None, group: int = 1, kernel_shape: Any = None, pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    count = math.prod(w.shape[1:])
    exact = count * _reach(x, x_zero) * _reach(w, w_zero) <= _EXACT
    return _conv(
        x, w, x_zero, w_zero, dg.float32 if exact else dg.float64,
        auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides,
    ).to(dg.int32)  # fmt: skip


@operator("QLinearConv", since=10)
def quantised_conv(
    x: Tensor, x_scale: Tensor, x_zero: Any, w: Tensor, w_scale: Tensor, w_zero: Any, y_scale: Tensor, y_zero: Any,
    b: Tensor | None = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1, kernel_shape: Any = None,
    pads: Any = None, strides: Any = None,
) -> Any:  # fmt: skip
    """The sum becomes a float32 in any case, so that it may be added up as such."""
    made = _conv(
        x, w, x_zero, w_zero, dg.float32, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides
    )
    shape = (-1, *[1] * (x.ndim - 2))
    if b is not None:
        made = made + b.to(dg.float32).reshape(shape)
    factor = x_scale.to(dg.float32) * (w_scale.reshape(shape) if w_scale.ndim else w_scale)
    return quantise(made * factor, y_scale, y_zero)


def _conv(x: Tensor, w: Tensor, x_zero: Any, w_zero: Any, dtype: Any, **how: Any) -> Tensor:
    return conv(_centred(x, x_zero, None, dtype), _centred(w, w_zero, (-1, *[1] * (w.ndim - 1)), dtype), **how)
