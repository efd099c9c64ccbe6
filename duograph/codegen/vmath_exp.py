"""exp, exp2 and expm1.

x = k ln 2 + r with |r| <= ln(2) / 2, and e**r - 1 = r + r**2 P(r); P is a minimax fit in the relative error of e**r - 1
(float32: 2**-26, float64: 2**-55).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_format import clamp, nearest, power_of_two, scale, scales_by_instruction

LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453
# log2 e as a sum of two float32; 2**f for |f| <= 1/2, minimax to 2**-28 in 2**f - 1
_LOG2E_FLOAT = (1.4426950216293335, 1.9259629911266175e-08)
_EXP2_FLOAT = (0.00015353024, 0.0013398912, 0.009618439, 0.055503324, 0.24022648, 0.6931472, 1.0)


@dataclass(frozen=True)
class _Constants:
    ln2_high: float  # few enough bits that k * ln2_high is exact
    ln2_low: float
    polynomial: tuple[float, ...]
    expm1_limit: float  # the result is infinite from here on, its exponent not yet out of range
    exp_range: tuple[float, float]  # beyond it the result is 0 or infinity
    exp2_range: tuple[float, float]


_FLOAT = _Constants(
    0.693359375,
    -2.12194440054690583e-4,
    (0.0013946044, 0.008366375, 0.04166629, 0.16666545, 0.5),
    88.9,
    (-105.0, 90.0),
    (-152.0, 130.0),
)
_DOUBLE = _Constants(
    float.fromhex("0x1.62e42feep-1"),
    float.fromhex("0x1.a39ef35793c76p-33"),
    (
        2.5114040000910056e-08, 2.762560007739795e-07, 2.7557229449083966e-06, 2.4801506562228994e-05,
        0.0001984126990119516, 0.0013888888930269942, 0.008333333333315523, 0.041666666666581795,
        0.16666666666666685, 0.5000000000000004,
    ),
    709.9,
    (-746.0, 711.0),
    (-1076.0, 1026.0),
)  # fmt: skip


_FAR_BELOW = -1e5


def _constants(x: Vec) -> _Constants:
    return _FLOAT if x.element == "float" else _DOUBLE


def _scaled(v: Vectors, x: Vec, limits: tuple[float, float], power: Callable[[Vec], tuple[Vec, Vec, Vec]]) -> Vec:
    """``power`` (a factor, k as float and as integer) of x where it is within the limits, 0 below them.

    Results that underflow cost a processor a hundred times a multiplication, so none is computed for what is known to be 0, as
    for masked scores: the instruction has no such trouble far below the limit, multiplications do without.
    """
    low, high = limits
    if scales_by_instruction(v):
        return scale(v, *power(clamp(v, x, _FAR_BELOW, high)))
    zero, below = v.like(x, 0.0), v.fcmp("olt", x, v.like(x, low))
    made = scale(v, *power(v.select(below, zero, v.fmin(v.like(x, high), x))))
    return v.select(below, zero, made)


def reduce(v: Vectors, x: Vec) -> tuple[Vec, Vec, Vec]:
    """(r, k as float, k as integer)."""
    c = _constants(x)
    whole, exponent = nearest(v, x, LOG2E)
    r = v.mul_add(whole, v.like(x, -c.ln2_high), x)
    return v.mul_add(whole, v.like(x, -c.ln2_low), r), whole, exponent


def expm1_reduced(v: Vectors, r: Vec) -> Vec:
    """e**r - 1 for |r| <= ln(2) / 2."""
    return v.mul_add(v.fmul(r, r), v.polynomial(r, _constants(r).polynomial), r)


def exp(v: Vectors, x: Vec) -> Vec:
    fused = x.element == "float" and v.target.fma
    return _scaled(v, x, _constants(x).exp_range, lambda x: _exp_fused(v, x) if fused else _exp_reduced(v, x))


def _exp_reduced(v: Vectors, x: Vec) -> tuple[Vec, Vec, Vec]:
    r, whole, exponent = reduce(v, x)
    return v.fadd(expm1_reduced(v, r), v.like(x, 1.0)), whole, exponent


def _exp_fused(v: Vectors, x: Vec) -> tuple[Vec, Vec, Vec]:
    """2**(k + f) with k + f = x log2(e): shorter, but x log2(e) - k needs the product unrounded."""
    whole, exponent = nearest(v, x, _LOG2E_FLOAT[0])
    f = v.mul_add(x, v.like(x, _LOG2E_FLOAT[0]), v.fneg(whole))
    f = v.mul_add(x, v.like(x, _LOG2E_FLOAT[1]), f)
    return v.polynomial(f, _EXP2_FLOAT), whole, exponent


def times_exp(v: Vectors, head: Vec, tail: Vec, x: Vec, low: Vec) -> Vec:
    """(head + tail) * e**(x + low), neither rounded by itself: with fused multiply-adds, for x in the range of exp."""
    if x.element == "float":
        whole, exponent = nearest(v, x, _LOG2E_FLOAT[0])
        f = v.mul_add(x, v.like(x, _LOG2E_FLOAT[0]), v.fneg(whole))
        f = v.mul_add(x, v.like(x, _LOG2E_FLOAT[1]), f)
        f = v.mul_add(low, v.like(x, _LOG2E_FLOAT[0]), f)
        rest = v.fmul(f, v.polynomial(f, _EXP2_FLOAT[:-1]))
    else:
        whole, exponent = nearest(v, x, LOG2E)
        high = v.mul_add(whole, v.like(x, -_DOUBLE.ln2_high), x)
        rest = expm1_reduced(v, v.fadd(high, v.mul_add(whole, v.like(x, -_DOUBLE.ln2_low), low)))
    product = v.mul_add(head, rest, v.mul_add(tail, rest, tail))
    return scale(v, v.fadd(head, product), whole, exponent)


def exp2(v: Vectors, x: Vec) -> Vec:
    def power(x: Vec) -> tuple[Vec, Vec, Vec]:
        whole, exponent = nearest(v, x, 1.0)
        r = v.fmul(v.fsub(x, whole), v.like(x, LN2))
        return v.fadd(expm1_reduced(v, r), v.like(x, 1.0)), whole, exponent

    return _scaled(v, x, _constants(x).exp2_range, power)


def expm1(v: Vectors, x: Vec) -> Vec:
    c = _constants(x)
    r, whole, exponent = reduce(v, clamp(v, x, -60.0, c.expm1_limit))
    q = expm1_reduced(v, r)
    # with s = 2**(k-1), which does not overflow: e**x - 1 = 2 (s q + (s - 1/2))
    half = power_of_two(v, v.sub(exponent, v.like(exponent, 1)))
    scaled = v.mul_add(half, q, v.fsub(half, v.like(x, 0.5)))
    return v.select(v.fcmp("oeq", whole, v.like(x, 0.0)), v.copysign(q, x), v.fadd(scaled, scaled))
