"""log, log2 and log1p.

x = 2**k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2). float32: log(1 + f) = f - f**2/2 + f**3 P(f), a minimax fit of
2**-30; float64: with s = f / (2 + f), log(1 + f) = 2 artanh(s) = f - h + s (h + R(s**2)), h = f**2/2, R to 2**-65.
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_exp import LOG2E
from duograph.codegen.vmath_format import INFINITY, NAN, format_of

_LOG_FLOAT = (
    0.06942471, -0.117453374, 0.11835255, -0.12390229, 0.14225158, -0.16669078, 0.20001848, -0.24999987, 0.33333316,
)  # fmt: skip
_LOG2_FLOAT = (
    0.099975586, -0.17000175, 0.1711407, -0.17867456, 0.20515525, -0.24048692, 0.28856984, -0.36067355, 0.48089805,
    -0.7213475,
)  # fmt: skip
_ARTANH_DOUBLE = (
    0.13213213344500838, 0.13254746373858198, 0.15386861563155171, 0.18181781602093247, 0.22222222561207108,
    0.2857142856975815, 0.4000000000000367, 0.6666666666666666,
)  # fmt: skip
# ln 2 and log2 e as sums whose first part has few bits
_LN2_FLOAT = (0.693359375, -2.12194440054690583e-4)
_LN2_DOUBLE = (float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33"))
_LOG2E_FLOAT = (1.4423828125, LOG2E - 1.4423828125)
_LOG2E_DOUBLE = (float.fromhex("0x1.71547652p+0"), float.fromhex("0x1.705fc2eefa2p-33"))


def split(v: Vectors, x: Vec) -> tuple[Vec, Vec]:
    """(k as float, m) with x = 2**k m, sqrt(1/2) <= m < sqrt(2), for finite x > 0, denormals included."""
    fmt = format_of(x)
    tiny = v.fcmp("olt", x, v.like(x, fmt.smallest_normal))
    lift = float(fmt.mantissa + 2)
    bits = v.bits(v.select(tiny, v.fmul(x, v.like(x, 2.0**lift)), x))
    root = 0x3F3504F3 if fmt.element == "float" else 0x3FE6A09E667F3BCD
    k = v.ashr(v.sub(bits, v.like(bits, root)), fmt.mantissa)
    m = v.floats(v.sub(bits, v.shl(k, fmt.mantissa)))
    small = k if fmt.element == "float" else v.convert("trunc", k, "i32")
    whole = v.convert("sitofp", small, fmt.element)
    return v.select(tiny, v.fsub(whole, v.like(x, lift)), whole), m


def _special(v: Vectors, x: Vec, result: Vec) -> Vec:
    """-inf at zero, NaN below, +inf and NaN as they are."""
    zero, infinity = v.like(x, 0.0), v.like(x, INFINITY)
    special = v.select(v.fcmp("oeq", x, zero), v.like(x, -INFINITY), v.like(x, NAN))
    special = v.select(v.fcmp("oeq", x, infinity), infinity, special)
    regular = v.and_(v.fcmp("ogt", x, zero), v.fcmp("olt", x, infinity))
    return v.select(regular, result, special)


def _tail(v: Vectors, f: Vec) -> Vec:
    """log(1 + f) - f."""
    if f.element == "float":
        p = v.mul_add(v.polynomial(f, _LOG_FLOAT), f, v.like(f, -0.5))
        return v.fmul(v.fmul(f, f), p)
    h, s, r = _double_parts(v, f)
    return v.fsub(v.fmul(s, v.fadd(h, r)), h)


def _double_parts(v: Vectors, f: Vec) -> tuple[Vec, Vec, Vec]:
    """(h, s, R) of the module's formula."""
    h = v.fmul(v.fmul(f, f), v.like(f, 0.5))
    s = v.fdiv(f, v.fadd(f, v.like(f, 2.0)))
    z = v.fmul(s, s)
    return h, s, v.fmul(z, v.polynomial(z, _ARTANH_DOUBLE))


def _assemble(v: Vectors, k: Vec, f: Vec, tail: Vec) -> Vec:
    """k ln 2 + f + tail, small parts first."""
    high, low = _LN2_FLOAT if f.element == "float" else _LN2_DOUBLE
    tail = v.mul_add(k, v.like(k, low), tail)
    big = v.fmul(k, v.like(k, high))  # exact
    total, error = v.fast_two_sum(big, f)
    # where k is 0 the sum is just f, and the correction 0
    return v.fadd(total, v.fadd(v.select(v.fcmp("oeq", big, v.like(k, 0.0)), v.like(k, 0.0), error), tail))


def log(v: Vectors, x: Vec) -> Vec:
    k, m = split(v, x)
    f = v.fsub(m, v.like(x, 1.0))
    return _special(v, x, _assemble(v, k, f, _tail(v, f)))


def log1p(v: Vectors, x: Vec) -> Vec:
    one, zero = v.like(x, 1.0), v.like(x, 0.0)
    total, lost = v.two_sum(one, x)
    k, m = split(v, total)
    near = v.fcmp("oeq", k, zero)
    f = v.select(near, x, v.fsub(m, one))
    tail = _tail(v, f)
    tail = v.fadd(tail, v.select(near, zero, v.fdiv(lost, total)))
    return v.select(v.fcmp("oeq", x, zero), x, _special(v, total, _assemble(v, k, f, tail)))


def log2(v: Vectors, x: Vec) -> Vec:
    k, m = split(v, x)
    f = v.fsub(m, v.like(x, 1.0))
    if x.element == "float":
        high, low = (v.like(x, c) for c in _LOG2E_FLOAT)
        part = v.fmul(f, v.mul_add(v.polynomial(f, _LOG2_FLOAT), f, low))
        return _special(v, x, v.fadd(k, v.mul_add(f, high, part)))
    h, s, r = _double_parts(v, f)
    # f - h with its low half cut off, so that its product with the short constant is exact
    mask = v.const("i64", -(1 << 32))
    first = v.floats(v.and_(v.bits(v.fsub(f, h)), mask))
    rest = v.fadd(v.fsub(v.fsub(f, first), h), v.fmul(s, v.fadd(h, r)))
    high, low = (v.like(x, c) for c in _LOG2E_DOUBLE)
    big = v.fmul(first, high)
    small = v.mul_add(rest, high, v.fmul(v.fadd(rest, first), low))
    total, error = v.two_sum(k, big)
    return _special(v, x, v.fadd(total, v.fadd(error, small)))
