"""Functions of each element of graph tensors, under TensorFlow's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duograph as dg

from .definition import Operand, operation
from .layout import any_layout

__all__ = [
    "acos",
    "acosh",
    "angle",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bessel_i0",
    "bessel_i0e",
    "bessel_i1",
    "bessel_i1e",
    "ceil",
    "conj",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erfc",
    "erfcinv",
    "erfinv",
    "exp",
    "expm1",
    "floor",
    "imag",
    "is_finite",
    "is_inf",
    "is_nan",
    "lgamma",
    "log",
    "log1p",
    "log_sigmoid",
    "ndtri",
    "real",
    "reciprocal",
    "reciprocal_no_nan",
    "rint",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
]  # fmt: skip


def _elementwise(type: str, function: Callable[[Any], Any], text: str, **options: Any) -> Callable[..., Any]:
    """The operation that computes a function of each element."""

    def compute(x: Operand, name: str | None = None) -> Any:
        return function(x)

    compute.__name__ = compute.__qualname__ = type.lower()
    compute.__doc__ = text
    return operation(type, **options)(any_layout(compute))


exp = _elementwise("Exp", dg.exp, "e to the power of x.")
expm1 = _elementwise("Expm1", dg.expm1, "exp(x) - 1, exact near 0.")
log = _elementwise("Log", dg.log, "The natural logarithm.")
log1p = _elementwise("Log1p", dg.log1p, "log(1 + x), exact near 0.")
sqrt = _elementwise("Sqrt", dg.sqrt, "The square root.")
rsqrt = _elementwise("Rsqrt", dg.rsqrt, "1 / sqrt(x).")
square = _elementwise("Square", lambda x: x * x, "x * x.")
reciprocal = _elementwise("Reciprocal", dg.reciprocal, "1 / x.")
sin = _elementwise("Sin", dg.sin, "The sine.")
cos = _elementwise("Cos", dg.cos, "The cosine.")
tan = _elementwise("Tan", dg.tan, "The tangent.")
asin = _elementwise("Asin", dg.asin, "The angle of a sine, in [-π/2, π/2].")
acos = _elementwise("Acos", dg.acos, "The angle of a cosine, in [0, π].")
atan = _elementwise("Atan", dg.atan, "The angle of a tangent, in (-π/2, π/2).")
sinh = _elementwise("Sinh", dg.sinh, "The hyperbolic sine.")
cosh = _elementwise("Cosh", dg.cosh, "The hyperbolic cosine.")
tanh = _elementwise("Tanh", dg.tanh, "The hyperbolic tangent.")
asinh = _elementwise("Asinh", dg.asinh, "The inverse of sinh.")
acosh = _elementwise("Acosh", dg.acosh, "The inverse of cosh.")
atanh = _elementwise("Atanh", dg.atanh, "The inverse of tanh.")
sigmoid = _elementwise("Sigmoid", dg.sigmoid, "1 / (1 + exp(-x)).")
log_sigmoid = _elementwise("LogSigmoid", dg.nn.functional.logsigmoid, "log(sigmoid(x)), without underflow.")
erf = _elementwise("Erf", dg.erf, "The error function.")
erfc = _elementwise("Erfc", dg.erfc, "1 - erf(x), exact for large x.")
erfinv = _elementwise("Erfinv", dg.erfinv, "The inverse of erf.")
ndtri = _elementwise("Ndtri", dg.special.ndtri, "The number below which a standard normal one lies with probability x.")
lgamma = _elementwise("Lgamma", dg.lgamma, "The logarithm of the absolute value of the gamma function.")
digamma = _elementwise("Digamma", dg.digamma, "The slope of lgamma.")
bessel_i0 = _elementwise("BesselI0", dg.special.i0, "The modified Bessel function of order 0.")
bessel_i0e = _elementwise("BesselI0e", dg.special.i0e, "bessel_i0(x) * exp(-|x|).")
bessel_i1 = _elementwise("BesselI1", dg.special.i1, "The modified Bessel function of order 1.")
bessel_i1e = _elementwise("BesselI1e", dg.special.i1e, "bessel_i1(x) * exp(-|x|).")
sign = _elementwise("Sign", dg.sign, "-1, 0 or 1: x's sign.")
floor = _elementwise("Floor", dg.floor, "The greatest whole number that is not above x.")
ceil = _elementwise("Ceil", dg.ceil, "The smallest whole number that is not below x.")
round = _elementwise("Round", dg.round, "The nearest whole number; of two, the even one.")
rint = _elementwise("Rint", dg.round, "The nearest whole number; of two, the even one.")
is_nan = _elementwise("IsNan", dg.isnan, "Which elements are no number.", differentiable=False)
is_inf = _elementwise("IsInf", dg.isinf, "Which elements are infinite.", differentiable=False)
is_finite = _elementwise("IsFinite", dg.isfinite, "Which elements are numbers, and not infinite.", differentiable=False)
real = _elementwise("Real", lambda x: x, "The number itself: all numbers are real here.")
conj = _elementwise("Conj", lambda x: x, "The number itself: all numbers are real here.")
imag = _elementwise("Imag", dg.zeros_like, "0: all numbers are real here.", differentiable=False)
angle = _elementwise("Angle", dg.angle, "0, or π for numbers below 0: all numbers are real here.", differentiable=False)
erfcinv = _elementwise("Erfcinv", lambda x: -dg.special.ndtri(x * 0.5) / 2.0**0.5, "The inverse of erfc.")
reciprocal_no_nan = _elementwise(
    "ReciprocalNoNan", lambda x: dg.where(x == 0, 0.0, 1.0 / dg.where(x == 0, 1.0, x)), "1 / x, and 0 where x is 0."
)
