"""log, log2 and log1p.

x = 2**k m with sqrt(1/2) <= m < sqrt(2). float32: with m = 1 + f, log(1 + f) = f - f**2/2 + f**3 P(f), a minimax fit of 2**-30.
float64: 16 intervals of m, each with a short number c near 1 / m, which is 1 around 1; r = c m - 1 is at most 0.04 in size, and
log m = -log c + r - r**2/2 + r**3 Q(r), -log c in two parts looked up, Q to 2**-57.
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_exp import LN2, LOG2E
from duograph.codegen.vmath_format import DOUBLE, FLOAT, INFINITY, NAN, format_of
from duograph.codegen.vmath_tables import lookup

_LOG_FLOAT = (
    0.06942471, -0.117453374, 0.11835255, -0.12390229, 0.14225158, -0.16669078, 0.20001848, -0.24999987, 0.33333316,
)  # fmt: skip
_LOG2_FLOAT = (
    0.099975586, -0.17000175, 0.1711407, -0.17867456, 0.20515525, -0.24048692, 0.28856984, -0.36067355, 0.48089805,
    -0.7213475,
)  # fmt: skip
_LOG_DOUBLE = (
    -0.10032105287754901, 0.11139121736636036, -0.12499958007714576, 0.14285687347728038, -0.16666666687563914,
    0.20000000008287763, -0.24999999999997077, 0.3333333333333294,
)  # fmt: skip
_INVERSE = (
    1.3828125, 1.326171875, 1.2734375, 1.224609375, 1.1796875, 1.13671875, 1.09765625, 1.0625, 1.02734375, 1.0,
    0.93359375, 0.8828125, 0.8359375, 0.794921875, 0.7578125, 0.72265625,
)  # fmt: skip
# of 1 / c, parts of 40 bits behind the point and the rest
_LOG_OF_INVERSE = (
    (
        -0.32411946865431673, -0.28229650251887506, -0.24171993688742077, -0.20262191559322673, -0.16524957289493614,
        -0.1281458226922041, -0.0931772248541165, -0.06062462181671435, -0.026976587698300136, 0.0, 0.0687138925477484,
        0.12464244520742795, 0.1792014294578621, 0.22951143959653564, 0.2773192854165245, 0.32482161940151855,
    ),
    (
        1.0475750058776541e-13, -3.132837266078459e-13, 2.756039648731729e-13, -1.8617942194902064e-13,
        -3.71026439894105e-13, 2.7405398948269004e-13, -6.678708517162898e-14, 2.795098818345971e-13,
        9.806050516843177e-14, 0.0, 3.0340754496095936e-13, -1.513569627447034e-13, -1.5111213866893865e-13,
        3.7715835031076943e-13, -2.901642327698405e-13, -2.8089014148582744e-13,
    ),
)  # fmt: skip
_LOG_NEAREST = tuple(high + low for high, low in zip(*_LOG_OF_INVERSE))
_LOG2_OF_INVERSE = (
    (
        -0.4676055500831353, -0.4072677642443523, -0.34872815423113934, -0.2923216328017588, -0.2384047393252331,
        -0.18487534290852636, -0.1344263202208822, -0.0874628412502716, -0.038918989292142214, 0.0, 0.09913319201950799,
        0.17982103758458834, 0.2585330135989352, 0.33111501573330315, 0.40008715781277715, 0.4686185394839413,
    ),
    (
        1.3787262762541966e-13, -3.7949453305865133e-13, 6.178973681288121e-14, -2.801075303053812e-13,
        1.5418831696700357e-13, 2.4250203696550707e-13, -4.3909234921499825e-14, -6.781363655020842e-14,
        -1.6013666503659525e-13, 0.0, -2.5654576705078486e-13, 2.2395259483288439e-13, -8.216080457578053e-14,
        4.498089867642599e-13, 9.517021710768741e-14, -2.5340628586715643e-13,
    ),
)  # fmt: skip
# ln 2 and log2 e as sums whose first part has few bits
_LN2_FLOAT = (0.693359375, -2.12194440054690583e-4)
_LN2_DOUBLE = (float.fromhex("0x1.62e42fefa4000p-1"), float.fromhex("-0x1.8432a1b0e2634p-43"))
_LOG2E_FLOAT = (1.4423828125, LOG2E - 1.4423828125)
_LOG2E_DOUBLE = (LOG2E, float.fromhex("0x1.777d0ffda0d24p-56"))

_ROOT = {"float": 0x3F3504F3, "double": 0x3FE6A09E667F3BCD}


def log(v: Vectors, x: Vec) -> Vec:
    if x.element == "double":
        return _special(v, x, _log_double(v, _bits(v, x)))
    k, m = split(v, x)
    return _special(v, x, _log_float(v, k, v.fsub(m, v.like(x, 1.0))))


def quick_log(v: Vectors, x: Vec) -> Vec:
    """log of float64 x > 0, finite and not denormal, within 3 units in the last place; anything of others."""
    k, j, r = _reduced(v, _normal_bits(v, x))
    large = v.mul_add(k, v.like(x, LN2), lookup(v, "log_nearest", _LOG_NEAREST, j))
    return v.fadd(large, v.mul_add(v.fmul(r, r), v.polynomial(r, (*_LOG_DOUBLE, -0.5)), r))


def log1p(v: Vectors, x: Vec) -> Vec:
    one, zero = v.like(x, 1.0), v.like(x, 0.0)
    total, lost = v.two_sum(one, x)
    if x.element == "float":
        k, m = split(v, total)
        near = v.fcmp("oeq", k, zero)
        f = v.select(near, x, v.fsub(m, one))
        found = _log_float(v, k, f, v.select(near, zero, v.fdiv(lost, total)))
    else:
        found = _log_double(v, _bits(v, total), v.fdiv(lost, total))
    return v.select(v.fcmp("oeq", x, zero), x, _special(v, total, found))


def log2(v: Vectors, x: Vec) -> Vec:
    if x.element == "double":
        return _special(v, x, _log2_double(v, x))
    k, m = split(v, x)
    f = v.fsub(m, v.like(x, 1.0))
    high, low = (v.like(x, c) for c in _LOG2E_FLOAT)
    part = v.fmul(f, v.mul_add(v.polynomial(f, _LOG2_FLOAT), f, low))
    return _special(v, x, v.fadd(k, v.mul_add(f, high, part)))


def split(v: Vectors, x: Vec) -> tuple[Vec, Vec]:
    """(k as float, m) with x = 2**k m, sqrt(1/2) <= m < sqrt(2), for finite x > 0, denormals included."""
    return _power(v, _bits(v, x))


def _special(v: Vectors, x: Vec, result: Vec) -> Vec:
    """-inf at zero, NaN below, +inf and NaN as they are."""
    zero, infinity = v.like(x, 0.0), v.like(x, INFINITY)

    def ends() -> Vec:
        found = v.select(v.fcmp("oeq", x, zero), v.like(x, -INFINITY), v.like(x, NAN))
        return v.select(v.fcmp("oeq", x, infinity), infinity, found)

    irregular = v.or_(v.fcmp("ule", x, zero), v.fcmp("uge", x, infinity))
    return v.where_any(irregular, ends, result)


def _bits(v: Vectors, x: Vec) -> Vec:
    """The bits of x less those of the root of 1/2, as if there were no denormals: their exponents go on below 0."""
    fmt = format_of(x)
    tiny, lift = v.fcmp("olt", x, v.like(x, fmt.smallest_normal)), fmt.mantissa + 2

    def lifted() -> Vec:
        bits = v.bits(v.fmul(x, v.like(x, 2.0**lift)))
        return v.sub(bits, v.like(bits, lift << fmt.mantissa))

    return _normal_bits(v, v.floats(v.where_any(tiny, lifted, v.bits(x))))


def _normal_bits(v: Vectors, x: Vec) -> Vec:
    bits = v.bits(x)
    return v.sub(bits, v.like(bits, _ROOT[x.element]))


def _power(v: Vectors, bits: Vec) -> tuple[Vec, Vec]:
    """`split` of what `_bits` gives."""
    fmt = FLOAT if bits.element == "i32" else DOUBLE
    k = v.ashr(bits, fmt.mantissa)
    m = v.floats(v.add(v.and_(bits, v.like(bits, (1 << fmt.mantissa) - 1)), v.like(bits, _ROOT[fmt.element])))
    direct = fmt is FLOAT or v.target.has("avx512dq")
    return v.convert("sitofp", k if direct else v.convert("trunc", k, "i32"), fmt.element), m


def _log_float(v: Vectors, k: Vec, f: Vec, extra: Vec | None = None) -> Vec:
    """k ln 2 + log(1 + f) + extra, small parts first."""
    high, low = (v.like(f, part) for part in _LN2_FLOAT)
    tail = v.fmul(v.fmul(f, f), v.mul_add(v.polynomial(f, _LOG_FLOAT), f, v.like(f, -0.5)))
    tail = v.mul_add(k, low, v.fadd(tail, extra) if extra else tail)
    big = v.fmul(k, high)  # exact
    total, error = v.fast_two_sum(big, f)  # exact, also where k is 0
    return v.fadd(total, v.fadd(error, tail))


def _reduced(v: Vectors, bits: Vec) -> tuple[Vec, Vec, Vec]:
    """(k, j, r) with x = 2**k (1 + r) / c, c the number of interval j mod 16, for the `_bits` of float64 x."""
    k, m = _power(v, bits)
    j = v.lshr(bits, 48)
    c, one = lookup(v, "log_inverse", _INVERSE, j), v.like(m, 1.0)
    if v.target.fma:
        return k, j, v.fma(m, c, v.fneg(one))
    product, rest = v.two_product(m, c)
    return k, j, v.fadd(v.fsub(product, one), rest)


def _log_double(v: Vectors, bits: Vec, extra: Vec | None = None) -> Vec:
    """log x + extra, given `_bits`."""
    k, j, r = _reduced(v, bits)
    high, low = (v.like(r, part) for part in _LN2_DOUBLE)
    high = v.mul_add(k, high, lookup(v, "log_high", _LOG_OF_INVERSE[0], j))  # exact
    rest = lookup(v, "log_low", _LOG_OF_INVERSE[1], j)
    low = v.mul_add(k, low, v.fadd(rest, extra) if extra else rest)
    z = v.fmul(r, r)
    low = v.mul_add(v.fmul(z, r), v.polynomial(r, _LOG_DOUBLE), low)
    total, error = v.fast_two_sum(high, r)
    return v.fadd(total, v.fadd(error, v.mul_add(z, v.like(z, -0.5), low)))


def _log2_double(v: Vectors, x: Vec) -> Vec:
    k, j, r = _reduced(v, _bits(v, x))
    factor, rest = (v.like(x, part) for part in _LOG2E_DOUBLE)
    high = v.fadd(k, lookup(v, "log2_high", _LOG2_OF_INVERSE[0], j))  # exact
    z = v.fmul(r, r)
    tail = v.mul_add(v.fmul(z, r), v.polynomial(r, _LOG_DOUBLE), v.fmul(z, v.like(z, -0.5)))
    low = v.mul_add(tail, factor, lookup(v, "log2_low", _LOG2_OF_INVERSE[1], j))
    first, second = v.two_product(r, factor)
    total, error = v.fast_two_sum(high, first)
    return v.fadd(total, v.fadd(error, v.fadd(v.mul_add(r, rest, second), low)))
