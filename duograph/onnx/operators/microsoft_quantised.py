"""Operators of `com.microsoft` on numbers of eight bits: from them to floats, and the result back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duograph as dg

from .definition import Tensor, operator
from .known import Known
from .networks import average_pool, global_average_pool
from .quantised import dequantise, dynamically_quantised, product, quantise

_DOMAIN = "com.microsoft"


def _pair(name: str, function: Callable[[Any, Any], Any]) -> None:
    @operator(name, domain=_DOMAIN)
    def compute(
        a: Tensor, a_scale: Tensor, a_zero: Any, b: Tensor, b_scale: Tensor, b_zero: Any, scale: Tensor, zero: Any = None
    ) -> Any:
        return quantise(function(dequantise(a, a_scale, a_zero), dequantise(b, b_scale, b_zero)), scale, zero)


_pair("QLinearAdd", lambda a, b: a + b)
_pair("QLinearMul", lambda a, b: a * b)


@operator("QLinearSigmoid", domain=_DOMAIN)
def quantised_sigmoid(x: Tensor, x_scale: Tensor, x_zero: Any, scale: Tensor, zero: Any = None) -> Any:
    return quantise(dg.sigmoid(dequantise(x, x_scale, x_zero)), scale, zero)


@operator("QLinearLeakyRelu", domain=_DOMAIN)
def quantised_leaky_relu(x: Tensor, x_scale: Tensor, x_zero: Any, scale: Tensor, zero: Any = None, *, alpha: float = 0.01) -> Any:
    return quantise(dg.leaky_relu(dequantise(x, x_scale, x_zero), alpha), scale, zero)


@operator("QLinearSoftmax", domain=_DOMAIN)
def quantised_softmax(
    x: Tensor, x_scale: Tensor, x_zero: Any, scale: Tensor, zero: Any = None, *, axis: int = -1, opset: int
) -> Any:
    """`opset` is the node's own: the version of Softmax that is meant."""
    wide = dequantise(x, x_scale, x_zero)
    if opset < 13:
        axis %= x.ndim
        return quantise(dg.softmax(wide.flatten(axis), -1).reshape(x.shape), scale, zero)
    return quantise(dg.softmax(wide, axis), scale, zero)


def _last_to_second(x: Tensor, last: int) -> Tensor:
    return x.movedim(-1, 1) if last else x


@operator("QLinearGlobalAveragePool", domain=_DOMAIN)
def quantised_global_average_pool(
    x: Tensor, x_scale: Tensor, x_zero: Any, scale: Tensor, zero: Any = None, *, channels_last: int = 0
) -> Any:
    made = global_average_pool(dequantise(_last_to_second(x, channels_last), x_scale, x_zero))
    made = quantise(made, scale, zero)
    return made.movedim(1, -1) if channels_last else made


@operator("QLinearAveragePool", domain=_DOMAIN)
def quantised_average_pool(
    x: Tensor, x_scale: Tensor, x_zero: Any, scale: Tensor, zero: Any = None, *, kernel_shape: Any, auto_pad: str = "NOTSET",
    ceil_mode: int = 0, channels_last: int = 0, count_include_pad: int = 0, pads: Any = None, strides: Any = None,
) -> Any:  # fmt: skip
    made = average_pool(
        dequantise(_last_to_second(x, channels_last), x_scale, x_zero), kernel_shape=kernel_shape, auto_pad=auto_pad,
        ceil_mode=ceil_mode, count_include_pad=count_include_pad, pads=pads, strides=strides,
    )  # fmt: skip
    made = quantise(made, scale, zero)
    return made.movedim(1, -1) if channels_last else made


@operator("QLinearConcat", domain=_DOMAIN)
def quantised_concat(scale: Tensor, zero: Any, *inputs: Any, axis: int) -> Any:
    parts = [dequantise(_plain(inputs[i]), _plain(inputs[i + 1]), inputs[i + 2]) for i in range(0, len(inputs), 3)]
    return quantise(dg.cat(parts, axis), scale, zero)


def _plain(value: Any) -> Tensor:
    return value if isinstance(value, dg.Tensor) else Known(value).tensor()


@operator("QGemm", domain=_DOMAIN)
def quantised_gemm(
    a: Tensor, a_scale: Tensor, a_zero: Any, b: Tensor, b_scale: Tensor, b_zero: Any, c: Tensor | None = None,
    y_scale: Tensor | None = None, y_zero: Any = None, *, alpha: float = 1.0, transA: int = 0, transB: int = 0,
) -> Any:  # fmt: skip
    """c counts in steps of alpha * a_scale * b_scale. Without y_scale the result stays a float."""
    whole = product(a.t() if transA else a, b.t() if transB else b, a_zero, b_zero)
    made = (whole if c is None else whole + c.to(dg.float32)) * (alpha * a_scale * b_scale)
    return made if y_scale is None else quantise(made, y_scale, y_zero)


@operator("MatMulIntegerToFloat", domain=_DOMAIN)
def matmul_integer_to_float(
    a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, a_zero: Any = None, b_zero: Any = None, bias: Tensor | None = None
) -> Tensor:
    made = product(a, b, a_zero, b_zero) * (a_scale * b_scale)
    return made if bias is None else made + bias


@operator("DynamicQuantizeMatMul", domain=_DOMAIN)
def dynamically_quantised_matmul(a: Tensor, b: Tensor, b_scale: Tensor, b_zero: Any = None, bias: Tensor | None = None) -> Tensor:
    rows, scale, zero = dynamically_quantised(a)
    return matmul_integer_to_float(rows, b, scale, b_scale, zero, b_zero, bias)
