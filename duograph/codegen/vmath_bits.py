"""Neighbouring floating-point numbers, exponents and mantissas."""

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
    fmt, zero = format_of(x), v.like(x, 0.0)
    bits, tiny, regular = _lifted(v, x)
    bits = v.lshr(v.and_(bits, v.like(bits, (1 << fmt.mantissa + fmt.bias.bit_length() + 1) - 1)), fmt.mantissa)
    small = bits if fmt.element == "float" else v.convert("trunc", bits, "i32")
    k = v.fsub(v.convert("sitofp", small, fmt.element), v.like(x, float(fmt.bias - 1)))
    k = v.select(tiny, v.fsub(k, v.like(x, float(fmt.mantissa + 2))), k)
    return v.select(regular, k, zero)


def mantissa(v: Vectors, x: Vec) -> Vec:
    """m with x = 2**k m, 1/2 <= |m| < 1; zeros, infinities and NaN as they are."""
    fmt = format_of(x)
    bits, _, regular = _lifted(v, x)
    kept = 1 << fmt.mantissa + fmt.bias.bit_length() + 1 | (1 << fmt.mantissa) - 1  # the sign and the digits
    half = v.or_(v.and_(bits, v.like(bits, kept)), v.like(bits, fmt.bias - 1 << fmt.mantissa))
    return v.select(regular, v.floats(half), x)


def _lifted(v: Vectors, x: Vec) -> tuple[Vec, Vec, Vec]:
    """The bits of x, of denormals times 2 ** (digits + 2); whether it is that small; whether it is finite and not zero."""
    fmt, size = format_of(x), v.fabs(x)
    tiny = v.fcmp("olt", size, v.like(x, fmt.smallest_normal))
    bits = v.bits(v.select(tiny, v.fmul(x, v.like(x, 2.0 ** (fmt.mantissa + 2))), x))
    regular = v.and_(v.fcmp("olt", size, v.like(x, INFINITY)), v.fcmp("ogt", size, v.like(x, 0.0)))
    return bits, tiny, regular
