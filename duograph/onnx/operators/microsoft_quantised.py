"""Operators of `com.microsoft` on numbers of eight bits: from them to floats, and the result back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duograph as dg

from .definition import Tensor, operator
from .quantised import dequantise, quantise

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
