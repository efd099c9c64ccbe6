"""pow, and the floored quotient and remainder of floats.

pow: log2|x| y as a sum of two floats, then 2 to that power. float32 computes in float64; float64 with pairs of floats:
log(m) = 2 s + s**3 (2/3 + s**2 P(s**2)), s = (m - 1) / (m + 1).
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_exp import expm1_reduced
from duograph.codegen.vmath_format import INFINITY, NAN, clamp, format_of, nearest, scale
from duograph.codegen.vmath_log import log2, split

Pair = tuple[Vec, Vec]

_LOG2E = (1.4426950408889634, float.fromhex("0x1.777d0ffda0d24p-56"))
_LN2 = (0.6931471805599453, float.fromhex("0x1.abc9e3b39803fp-56"))
_TWO_THIRDS = (0.6666666666666666, float.fromhex("0x1.5555555555555p-55"))
_TAIL = (
    0.11725409493632094, 0.11706014884419476, 0.13334813317048047, 0.1538459479629481, 0.181818183370346,
    0.2222222222164818, 0.2857142857142938, 0.4,
)  # fmt: skip


def power(v: Vectors, x: Vec, y: Vec) -> Vec:
    size = v.fabs(x)
    magnitude = _power_float(v, size, y) if x.element == "float" else _power_double(v, size, y)
    infinity, zero = v.like(x, INFINITY), v.like(x, 0.0)
    ordinary = v.and_(v.fcmp("ogt", x, zero), v.fcmp("olt", x, infinity))
    ordinary = v.and_(ordinary, v.fcmp("olt", v.fabs(y), infinity))
    f = v.function
    before, edges, done = f.block, f.label("edges"), f.label("power")
    f.cond_br(v.any(v.not_(ordinary)), edges, done)
    f.place(edges)
    mended = _edges(v, x, y, size, magnitude)
    after = f.block
    f.br(done)
    f.place(done)
    return Vec(f.phi(x.type, [(magnitude.ref, before), (mended.ref, after)]), x.element, x.lanes)


def _power_float(v: Vectors, x: Vec, y: Vec) -> Vec:
    exponent = v.fmul(log2(v, v.convert("fpext", x, "double")), v.convert("fpext", y, "double"))
    exponent = clamp(v, exponent, -1000.0, 1000.0)
    whole, k = nearest(v, exponent, 1.0)
    r = v.fmul(v.fsub(exponent, whole), v.like(exponent, _LN2[0]))
    result = scale(v, v.fadd(expm1_reduced(v, r), v.like(r, 1.0)), whole, k)
    return v.convert("fptrunc", result, "float")


def _power_double(v: Vectors, x: Vec, y: Vec) -> Vec:
    high, low = _log2_pair(v, x)
    y = clamp(v, y, -(2.0**100), 2.0**100)  # saturates long before; keeps the splitting of a product from overflowing
    product, error = v.two_product(high, y)
    # an infinite or overflowing product has no error to speak of
    error = v.mul_add(low, y, error)
    sound = v.fcmp("olt", v.fabs(product), v.like(x, 1e4))
    error = v.select(sound, error, v.like(x, 0.0))
    product = clamp(v, product, -1100.0, 1100.0)
    whole, k = nearest(v, product, 1.0)
    rest = v.fsub(product, whole)
    # (rest + error) ln 2 as a pair
    r, r_low = v.two_product(rest, v.like(x, _LN2[0]))
    r_low = v.fadd(r_low, v.mul_add(rest, v.like(x, _LN2[1]), v.fmul(error, v.like(x, _LN2[0]))))
    q = expm1_reduced(v, r)
    one = v.like(x, 1.0)
    return scale(v, v.fadd(one, v.fadd(q, v.mul_add(q, r_low, r_low))), whole, k)


def _log2_pair(v: Vectors, x: Vec) -> Pair:
    """log2(x) to some 65 bits, for finite x > 0."""
    k, m = split(v, x)
    one = v.like(x, 1.0)
    top = v.fsub(m, one)
    bottom, bottom_low = v.fast_two_sum(v.like(x, 2.0), top)
    s = v.fdiv(top, bottom)
    # the quotient's remainder gives its second part
    product, error = v.two_product(s, bottom)
    s_low = v.fdiv(v.fsub(v.fsub(v.fsub(v.fsub(top, product), error), v.fmul(s, bottom_low)), v.like(x, 0.0)), bottom)
    z, z_low = v.two_product(s, s)
    z_low = v.mul_add(v.fadd(s, s), s_low, z_low)
    # s**2 (2/3 + s**2 P)
    inner, inner_low = v.fast_two_sum(v.like(x, _TWO_THIRDS[0]), v.fmul(z, v.polynomial(z, _TAIL)))
    inner_low = v.fadd(inner_low, v.like(x, _TWO_THIRDS[1]))
    outer = _multiply(v, (inner, inner_low), (z, z_low))
    cubic = _multiply(v, outer, (s, s_low))
    twice = v.fadd(s, s)
    high, low = v.fast_two_sum(twice, cubic[0])
    low = v.fadd(low, v.fadd(cubic[1], v.fadd(s_low, s_low)))
    in_bits = _multiply(v, (high, low), (v.like(x, _LOG2E[0]), v.like(x, _LOG2E[1])))
    total, error = v.two_sum(k, in_bits[0])
    return v.fast_two_sum(total, v.fadd(error, in_bits[1]))


def _multiply(v: Vectors, a: Pair, b: Pair) -> Pair:
    product, error = v.two_product(a[0], b[0])
    return v.fast_two_sum(product, v.fadd(error, v.mul_add(a[0], b[1], v.fmul(a[1], b[0]))))


def _edges(v: Vectors, x: Vec, y: Vec, size: Vec, magnitude: Vec) -> Vec:
    """Zeros, infinities, NaN and negative bases, as IEEE 754 and C99 have them (needed where a lane has one)."""
    zero, one, infinity = v.like(x, 0.0), v.like(x, 1.0), v.like(x, INFINITY)
    whole = v.fcmp("oeq", v.round(y, "trunc"), y)
    half = v.fmul(y, v.like(y, 0.5))
    odd = v.and_(whole, v.fcmp("une", v.round(half, "trunc"), half))
    grows = v.fcmp("ogt", y, zero)
    # |x| is 0 or infinite: 0 or infinity by the sign of y
    at_zero = v.select(grows, zero, infinity)
    at_infinity = v.select(grows, infinity, zero)
    result = v.select(v.fcmp("oeq", size, zero), at_zero, magnitude)
    result = v.select(v.fcmp("oeq", size, infinity), at_infinity, result)
    # y infinite: by whether |x| is above 1
    above = v.fcmp("ogt", size, one)
    outward = v.select(v.icmp("eq", above, grows), infinity, zero)
    outward = v.select(v.fcmp("oeq", size, one), one, outward)
    result = v.select(v.fcmp("oeq", v.fabs(y), infinity), outward, result)
    negative = v.icmp("slt", v.bits(x), v.const(format_of(x).integer, 0))
    result = v.select(v.and_(negative, odd), v.fneg(result), result)
    fractional = v.and_(v.fcmp("olt", x, zero), v.not_(v.or_(whole, v.fcmp("oeq", v.fabs(y), infinity))))
    fractional = v.and_(fractional, v.fcmp("olt", size, infinity))
    result = v.select(fractional, v.like(x, NAN), result)
    result = v.select(v.fcmp("uno", x, y), v.like(x, NAN), result)
    return v.select(v.or_(v.fcmp("oeq", x, one), v.fcmp("oeq", y, zero)), one, result)


def floor_modulo(v: Vectors, x: Vec, y: Vec) -> Vec:
    """x - floor(x / y) * y without rounding error beyond the last; the sign of y."""
    remainder = truncated_modulo(v, x, y)
    zero = v.like(x, 0.0)
    nonzero = v.fcmp("une", remainder, zero)
    differ = v.and_(nonzero, v.icmp("ne", v.fcmp("olt", remainder, zero), v.fcmp("olt", y, zero)))
    return v.select(differ, v.fadd(remainder, y), v.select(nonzero, remainder, v.copysign(zero, y)))


def floor_divide(v: Vectors, x: Vec, y: Vec) -> Vec:
    """floor(x / y), exact even where x / y rounds to the next whole number."""
    zero, one = v.like(x, 0.0), v.like(x, 1.0)
    remainder = truncated_modulo(v, x, y)
    quotient = v.fdiv(v.fsub(x, remainder), y)
    differ = v.and_(v.fcmp("une", remainder, zero), v.icmp("ne", v.fcmp("olt", remainder, zero), v.fcmp("olt", y, zero)))
    quotient = v.select(differ, v.fsub(quotient, one), quotient)
    floored = v.round(quotient, "floor")
    floored = v.select(v.fcmp("ogt", v.fsub(quotient, floored), v.like(x, 0.5)), v.fadd(floored, one), floored)
    plain = v.fdiv(x, y)
    floored = v.select(v.fcmp("oeq", quotient, zero), v.copysign(zero, plain), floored)
    return v.select(v.fcmp("oeq", y, zero), plain, floored)


def truncated_modulo(v: Vectors, x: Vec, y: Vec) -> Vec:
    """The exact remainder of truncated division, with the sign of x (C's fmod)."""
    f, fmt = v.function, format_of(x)
    divisor, zero = v.fabs(y), v.like(x, 0.0)
    before, loop, done = f.block, f.label("remainder"), f.label("done")
    start = v.fabs(x)
    f.br(loop)
    f.place(loop)
    line = f.reserve()
    r = Vec(f.name_value(), x.element, x.lanes)
    # With few bits in the quotient its product with the divisor, and what is left of r, are exact. r may turn negative.
    step = _within_reach(v, v.fabs(r), divisor)
    mask = ~((1 << (fmt.mantissa // 2 + 1)) - 1)
    quotient = v.round(v.floats(v.and_(v.bits(v.fdiv(r, step)), v.const(fmt.integer, mask))), "trunc")
    following = v.select(v.fcmp("oeq", quotient, zero), r, v.fma(v.fneg(quotient), step, r))
    left = v.fabs(following)
    again = v.any(v.and_(v.fcmp("oge", left, divisor), v.fcmp("olt", left, v.fabs(r))))
    f.fill(line, f"{r.ref} = phi {r.type} [{start.ref}, %{before}], [{following.ref}, %{f.block}]")
    f.cond_br(again, loop, done)
    f.place(done)
    following = v.select(v.fcmp("olt", following, zero), v.fadd(following, divisor), following)
    finite = v.and_(v.fcmp("olt", start, v.like(x, INFINITY)), v.fcmp("ogt", divisor, zero))
    result = v.select(v.fcmp("oeq", divisor, v.like(x, INFINITY)), start, following)
    result = v.select(finite, result, v.like(x, NAN))
    result = v.select(v.fcmp("uno", y, y), v.like(x, NAN), result)
    return v.copysign(result, x)


def _within_reach(v: Vectors, size: Vec, divisor: Vec) -> Vec:
    """The divisor times a power of two such that size / divisor does not overflow."""
    factor = 100 if size.element == "float" else 1000
    for _ in range(2):
        far = v.fcmp("ogt", v.fmul(size, v.like(size, 2.0**-factor)), divisor)
        divisor = v.select(far, v.fmul(divisor, v.like(size, 2.0**factor)), divisor)
    return divisor
