"""Neighbouring floating-point numbers, and exponents."""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_format import INFINITY, format_of


def next_after(v: Vectors, x: Vec, y: Vec) -> Vec:
    """The number next to x in the direction of y."""
    zero, bits = v.like(x, 0.0), v.bits(x)
    away = v.icmp("eq", v.fcmp("ogt", y, x), v.fcmp("ogt", x, zero))
    moved = v.floats(v.add(bits, v.select(away, v.like(bits, 1), v.like(bits, -1))))
    smallest = v.copysign(v.floats(v.like(bits, 1)), y)
    moved = v.select(v.fcmp("oeq", x, zero), smallest, moved)
    return v.select(v.fcmp("uno", x, y), v.fadd(x, y), v.select(v.fcmp("oeq", x, y), y, moved))


def exponent(v: Vectors, x: Vec) -> Vec:
    """k with |x| = 2**k m, 1/2 <= m < 1, as a float; 0 for zeros, infinities and NaN."""
    fmt, size = format_of(x), v.fabs(x)
    zero = v.like(x, 0.0)
    tiny, lift = v.fcmp("olt", size, v.like(x, fmt.smallest_normal)), float(fmt.mantissa + 2)
    bits = v.lshr(v.bits(v.select(tiny, v.fmul(size, v.like(x, 2.0**lift)), size)), fmt.mantissa)
    small = bits if fmt.element == "float" else v.convert("trunc", bits, "i32")
    k = v.fsub(v.convert("sitofp", small, fmt.element), v.like(x, float(fmt.bias - 1)))
    k = v.select(tiny, v.fsub(k, v.like(x, lift)), k)
    regular = v.and_(v.fcmp("olt", size, v.like(x, INFINITY)), v.fcmp("ogt", size, zero))
    return v.select(regular, k, zero)
