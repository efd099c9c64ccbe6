"""Activation functions."""

from __future__ import annotations

import duograph as dg
from duograph.nn import functional

from .definition import Operand, Tensor, operator


@operator("Celu", since=12)
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return dg.celu(x, alpha)


@operator("Elu", since=1)
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return dg.elu(x, alpha)


@operator("Gelu", since=20)
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return dg.gelu(x, approximate=approximate)


@operator("HardSigmoid", since=1)
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return functional.hardsigmoid(x) if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5 else dg.clamp(x * alpha + beta, 0, 1)


@operator("HardSwish", since=14)
def hard_swish(x: Tensor) -> Tensor:
    return dg.hardswish(x)


@operator("LeakyRelu", since=1)
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return dg.leaky_relu(x, alpha)


@operator("Mish", since=18)
def mish(x: Tensor) -> Tensor:
    return dg.mish(x)


@operator("PRelu", since=1)
def prelu(x: Tensor, slope: Operand, *, opset: int) -> Tensor:
    if opset < 7 and isinstance(slope, dg.Tensor) and slope.ndim == 1 and x.ndim > 1:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    return dg.where(x < 0, x * slope, x)


@operator("Selu", since=1)
def selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    if alpha == 1.67326319217681884765625 and gamma == 1.05070102214813232421875:
        return dg.selu(x)
    return dg.where(x > 0, x, alpha * dg.expm1(x)) * gamma


@operator("Shrink", since=9)
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    zero = dg.zeros_like(x)
    return dg.where(x < -lambd, x + bias, dg.where(x > lambd, x - bias, zero)).to(x.dtype)


@operator("Softplus", since=1)
def softplus(x: Tensor) -> Tensor:
    return dg.softplus(x)


@operator("Softsign", since=1)
def softsign(x: Tensor) -> Tensor:
    return dg.softsign(x)


@operator("Swish", since=24)
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return dg.silu(x) if alpha == 1.0 else x * dg.sigmoid(x * alpha)


@operator("ThresholdedRelu", since=1)
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return dg.where(x > alpha, x, dg.zeros_like(x))
