"""Operators that work element by element: arithmetic, comparisons, logic, conversions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import duograph as dg

from ..reading import dtype_of
from .definition import Operand, Tensor, operator
from .known import Known
from .narrow import Narrow, is_narrow, rounded

_UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": dg.abs,
    "Acos": dg.acos,
    "Acosh": dg.acosh,
    "Asin": dg.asin,
    "Asinh": dg.asinh,
    "Atan": dg.atan,
    "Atanh": dg.atanh,
    "BitwiseNot": dg.bitwise_not,
    "Ceil": dg.ceil,
    "Cos": dg.cos,
    "Cosh": dg.cosh,
    "Erf": dg.erf,
    "Exp": dg.exp,
    "Floor": dg.floor,
    "IsNaN": dg.isnan,
    "Log": dg.log,
    "Neg": dg.neg,
    "Not": dg.logical_not,
    "Reciprocal": dg.reciprocal,
    "Relu": dg.relu,
    "Round": dg.round,
    "Sigmoid": dg.sigmoid,
    "Sign": dg.sign,
    "Sin": dg.sin,
    "Sinh": dg.sinh,
    "Sqrt": dg.sqrt,
    "Tan": dg.tan,
    "Tanh": dg.tanh,
}


def _quotient(a: Any, b: Any) -> Any:
    floats = (a if isinstance(a, dg.Tensor) else b).dtype.is_floating_point
    return a / b if floats else dg.div(a, b, rounding_mode="trunc")


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _quotient,
    "Equal": lambda a, b: a == b,
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
    "And": dg.logical_and,
    "Or": dg.logical_or,
    "Xor": dg.logical_xor,
    "BitwiseAnd": lambda a, b: a & b,
    "BitwiseOr": lambda a, b: a | b,
    "BitwiseXor": lambda a, b: a ^ b,
}
_LOGIC = ("And", "Or", "Xor")
_YOUNG = ("GreaterOrEqual", "LessOrEqual", "Bitwise")


def _unary(name: str, function: Callable[[Any], Any]) -> None:
    @operator(name)
    def compute(x: Tensor) -> Tensor:
        return function(x)


def _binary(name: str, function: Callable[[Any, Any], Any]) -> None:
    if name in _LOGIC:

        @operator(name, since=7)
        def combine(a: Tensor, b: Tensor) -> Tensor:
            return function(a, b)
    else:

        @operator(name, since=7)
        def compute(a: Operand, b: Operand) -> Tensor:
            return function(a, b)

    if not name.startswith(_YOUNG):
        _binary_of_old(name, function)


def _binary_of_old(name: str, function: Callable[[Any, Any], Any]) -> None:
    """As it was when operands were made to fit by attributes."""

    @operator(name, since=1, until=6)
    def compute_from_axis(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0) -> Tensor:
        if broadcast and axis is not None:
            b = b.reshape(*b.shape, *[1] * (a.ndim - axis % a.ndim - b.ndim))
        return function(a, b)


for _name in _UNARY:
    _unary(_name, _UNARY[_name])
for _name in _BINARY:
    _binary(_name, _BINARY[_name])


@operator("Pow", since=7)
def power(x: Tensor, exponent: Operand) -> Tensor:
    if not x.dtype.is_floating_point and isinstance(exponent, dg.Tensor) and exponent.dtype.is_floating_point:
        return (x.to(dg.float64) ** exponent).to(x.dtype)
    made = x**exponent
    return made if made.dtype is x.dtype else made.to(x.dtype)


@operator("Pow", since=1, until=6)
def power_from_axis(x: Tensor, exponent: Tensor, *, axis: int | None = None, broadcast: int = 0) -> Tensor:
    return x**exponent


@operator("Mod", since=10)
def modulo(a: Operand, b: Operand, *, fmod: int = 0) -> Tensor:
    return dg.fmod(a, b) if fmod else dg.remainder(a, b)


@operator("BitShift", since=11)
def bit_shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    bits = 8 * x.element_size()
    if direction == "LEFT":
        made = dg.bitwise_left_shift(x, y)
    elif x.dtype.kind == "i":
        return dg.bitwise_right_shift(x, dg.clamp(y, None, bits - 1))
    else:
        made = dg.bitwise_right_shift(x, y)
    return dg.where(y < bits, made, dg.zeros_like(made))


@operator("Max", since=1)
def greatest(*inputs: Tensor) -> Tensor:
    return functools.reduce(dg.maximum, inputs)


@operator("Min", since=1)
def least(*inputs: Tensor) -> Tensor:
    return functools.reduce(dg.minimum, inputs)


@operator("Sum", since=1)
def total(*inputs: Tensor) -> Tensor:
    return functools.reduce(lambda a, b: a + b, inputs)


@operator("Mean", since=1)
def average(*inputs: Tensor) -> Tensor:
    return functools.reduce(lambda a, b: a + b, inputs) / len(inputs)


@operator("Clip", since=11)
def clip(x: Tensor, least: Operand | None = None, most: Operand | None = None) -> Tensor:
    return x if least is None and most is None else _clamped(x, least, most)


def _clamped(x: Tensor, least: Any, most: Any) -> Tensor:
    if isinstance(least, dg.Tensor) or isinstance(most, dg.Tensor):
        for bound, function in ((least, dg.maximum), (most, dg.minimum)):
            if bound is not None:
                x = function(x, bound if isinstance(bound, dg.Tensor) else dg.full_like(x, bound))
        return x
    return dg.clamp(x, least, most)


@operator("Clip", since=1, until=10)
def clip_by_attributes(x: Tensor, *, min: float | None = None, max: float | None = None) -> Tensor:
    return x if min is None and max is None else dg.clamp(x, min, max)


@operator("Where", since=9)
def where(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    return dg.where(condition, a, b)


@operator("IsInf", since=10)
def is_infinite(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    if detect_negative and detect_positive:
        return dg.isinf(x)
    if detect_negative or detect_positive:
        return dg.isneginf(x) if detect_negative else dg.isposinf(x)
    return dg.zeros_like(x, dtype=dg.bool)


@operator("Cast", since=6)
def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    if is_narrow(to):
        return Narrow(rounded(x, to, saturate, round_mode), to)
    return x.to(dtype_of(to, "Cast: the result"))


@operator("Cast", since=1, until=5)
def cast_to_name(x: Tensor, *, to: str) -> Tensor:
    from ..messages import library

    return x.to(dtype_of(library().TensorProto.DataType.Value(to), "Cast: the result"))


@operator("CastLike", since=15)
def cast_like(x: Tensor, like: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    if isinstance(like, Narrow):
        return cast(x, to=like.number, saturate=saturate, round_mode=round_mode)
    return x.to(like.dtype if isinstance(like, dg.Tensor) else Known(like).dtype)


@operator("BitCast", since=26)
def bit_cast(x: Tensor, *, to: int) -> Tensor:
    return x.view(dtype_of(to, "BitCast: the result"))
