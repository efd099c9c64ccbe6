"""ONNX's types of eight bits and fewer that duograph has no dtype for: their values are held in a wider tensor.

A float of eight bits is a float32 that is one of its values, an int4 an int8 within its range.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import duograph as dg
from duograph import _core as core


class Format(NamedTuple):
    """A small float: bits of the fraction, least exponent, greatest value; what a value beyond becomes if it is not cut off."""

    fraction: int
    least: int
    greatest: float
    beyond: float
    always: bool = False  # cut off in any case
    signed_zero: bool = True


_NAN, _INF = float("nan"), float("inf")
_FLOATS = {
    17: Format(3, -6, 448.0, _NAN),
    18: Format(3, -7, 240.0, _NAN, signed_zero=False),
    19: Format(2, -14, 57344.0, _INF),
    20: Format(2, -15, 57344.0, _NAN, signed_zero=False),
    23: Format(1, 0, 6.0, _NAN, always=True),
    27: Format(3, 0, 7.5, _NAN, always=True),
    28: Format(2, -2, 28.0, _NAN, always=True),
}
_POWERS = 24  # float8e8m0: powers of two
_INTS = {21: (4, False), 22: (4, True), 25: (2, False), 26: (2, True)}  # bits, signed


class Narrow:
    """A value of one of these types: the tensor that holds it, and ONNX's number for the type."""

    __slots__ = ("number", "tensor")

    def __init__(self, tensor: Any, number: int) -> None:
        self.tensor = tensor
        self.number = number


def is_narrow(number: int | None) -> bool:
    """Whether ONNX's number is one of a type that is held in a wider one."""
    return number in _FLOATS or number in _INTS or number == _POWERS


def carrier(number: int) -> core.DType:
    """The dtype that holds the values of a type."""
    if number in _INTS:
        return core.int8 if _INTS[number][1] else core.uint8
    return core.float32


def held(array: Any, number: int) -> Any:
    """A NumPy array of the type as one of what holds it."""
    return array.astype(np.float32 if number not in _INTS else np.int8 if _INTS[number][1] else np.uint8)


def bounds(number: int) -> tuple[int, int]:
    """The least and the greatest value of a type of whole numbers."""
    bits, signed = _INTS[number]
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def rounded(x: Any, number: int, saturate: int = 1, round_mode: str = "up") -> Any:
    """A tensor's values as those of the type that are nearest, in the dtype that holds them."""
    if number in _INTS:
        bits, signed = _INTS[number]
        if x.dtype.is_floating_point:
            x = dg.trunc(x.to(dg.float32))
        whole = x.to(dg.int32) & ((1 << bits) - 1)
        return (dg.where(whole >= 1 << (bits - 1), whole - (1 << bits), whole) if signed else whole).to(carrier(number))
    x = x.to(dg.float32)
    return _power(x, saturate, round_mode) if number == _POWERS else _float(x, _FLOATS[number], saturate)


def _float(x: Any, kind: Format, saturate: int) -> Any:
    exponent = ((x.view(dg.int32) >> 23) & 255) - 127
    step = _two_to(dg.clamp(exponent, kind.least, 127) - kind.fraction)
    made = dg.round(x / step) * step
    if saturate or kind.always:
        made = dg.clamp(made, -kind.greatest, kind.greatest)
    else:
        made = dg.where(made.abs() > kind.greatest, dg.copysign(dg.full_like(made, kind.beyond), x), made)
    if kind.always:
        made = dg.where(dg.isnan(x), dg.full_like(made, -0.0 if kind.greatest == 6.0 else kind.greatest), made)
    return made if kind.signed_zero else made + 0.0


def _two_to(exponent: Any) -> Any:
    """Powers of two, for exponents of at least -126."""
    return ((exponent + 127) << 23).view(dg.float32)


def _power(x: Any, saturate: int, mode: str) -> Any:
    bits = x.view(dg.int32)
    exponent, fraction = (bits >> 23) & 255, bits & 0x7FFFFF
    if mode == "down":
        up = fraction < 0
    elif mode == "up":
        up = fraction > 0
    else:
        up = (fraction > 0x400000) | ((fraction == 0x400000) & (exponent > 0))
    if saturate:
        up = up & (exponent != 254)
    made = exponent + up.to(dg.int32)
    smallest = dg.full_like(x, 2.0**-127)
    power = dg.where(made == 0, smallest, (made << 23).view(dg.float32))
    return dg.where((made == 255), dg.full_like(x, _NAN), power)
