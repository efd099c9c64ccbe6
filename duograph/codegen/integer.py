"""Integer division, shifts and powers with every edge defined (LLVM's are undefined, or trap)."""

from __future__ import annotations

from duograph.codegen.dtypes import DTypeInfo
from duograph.codegen.vector import Vec, Vectors


def floor_division(v: Vectors, info: DTypeInfo, a: Vec, b: Vec) -> tuple[Vec, Vec]:
    """(a // b, a % b), both floored; INT_MIN // -1 wraps. b must not be 0 where the result is used."""
    zero = v.like(b, 0)
    if info.bits == 64:
        return _divide_64(v, info, a, b)
    quotient = _divide_by_float(v, info, a, v.select(v.icmp("eq", b, zero), v.like(b, 1), b))
    if info.kind == "i":
        quotient = v.select(v.icmp("eq", b, v.like(b, -1)), v.sub(zero, a), quotient)
    return quotient, v.sub(a, v.mul(quotient, b))


def _divide_by_float(v: Vectors, info: DTypeInfo, a: Vec, b: Vec) -> Vec:
    # Up to 32 bits: quotients closer to a whole number than 2**-32 (relative) are whole, float64 has 53 bits.
    to, back = ("sitofp", "fptosi") if info.kind == "i" else ("uitofp", "fptoui")
    quotient = v.round(v.fdiv(v.convert(to, a, "double"), v.convert(to, b, "double")), "floor")
    if info.bits == 32:
        if info.kind == "i":
            # 2**31 itself (INT_MIN / -1) is handled by the caller; keep the conversion in range
            quotient = v.fmin(quotient, v.like(quotient, 2147483647.0))
        return v.convert(back, quotient, "i32")
    wide = v.convert("fptosi", quotient, "i32")
    return v.convert("trunc", wide, info.element)


def _divide_64(v: Vectors, info: DTypeInfo, a: Vec, b: Vec) -> tuple[Vec, Vec]:
    zero, one = v.like(b, 0), v.like(b, 1)
    if info.kind == "u":
        safe = v.select(v.icmp("eq", b, zero), one, b)
        quotient = v.binary("udiv", a, safe)
        return quotient, v.sub(a, v.mul(quotient, b))
    minus = v.icmp("eq", b, v.like(b, -1))
    safe = v.select(v.or_(minus, v.icmp("eq", b, zero)), one, b)
    quotient = v.binary("sdiv", a, safe)
    remainder = v.sub(a, v.mul(quotient, safe))
    # truncated → floored where the remainder and the divisor differ in sign
    differ = v.and_(v.icmp("ne", remainder, zero), v.icmp("slt", v.xor(remainder, safe), zero))
    quotient = v.sub(quotient, v.select(differ, one, zero))
    remainder = v.add(remainder, v.select(differ, safe, zero))
    return v.select(minus, v.sub(zero, a), quotient), v.select(minus, zero, remainder)


def shift_left(v: Vectors, info: DTypeInfo, a: Vec, b: Vec) -> Vec:
    """a << b; 0 where b is not in [0, bits)."""
    inside = v.icmp("ult", b, v.like(b, info.bits))
    return v.select(inside, v.binary("shl", a, v.select(inside, b, v.like(b, 0))), v.like(a, 0))


def shift_right(v: Vectors, info: DTypeInfo, a: Vec, b: Vec) -> Vec:
    """a >> b, arithmetic for signed; 0 or the sign where b is not in [0, bits)."""
    inside = v.icmp("ult", b, v.like(b, info.bits))
    if info.kind == "i":
        return v.binary("ashr", a, v.select(inside, b, v.like(b, info.bits - 1)))
    return v.select(inside, v.binary("lshr", a, v.select(inside, b, v.like(b, 0))), v.like(a, 0))


def power(v: Vectors, info: DTypeInfo, base: Vec, exponent: Vec) -> Vec:
    """base ** exponent, wrapping. Negative exponents must have been refused."""
    f = v.function
    zero, one = v.like(base, 0), v.like(base, 1)
    # a lane that does not count may hold anything: keep the loop short
    start = v.select(v.icmp("slt", exponent, zero), zero, exponent) if info.kind == "i" else exponent
    before, loop, done = f.block, f.label("power"), f.label("done")
    f.br(loop)
    f.place(loop)
    lines = [f.reserve() for _ in range(3)]
    result, square, left = (Vec(f.name_value(), base.element, base.lanes) for _ in range(3))
    odd = v.icmp("ne", v.and_(left, one), zero)
    following = (v.select(odd, v.mul(result, square), result), v.mul(square, square), v.lshr(left, 1))
    for line, value, first, after in zip(lines, (result, square, left), (one, base, start), following):
        f.fill(line, f"{value.ref} = phi {value.type} [{first.ref}, %{before}], [{after.ref}, %{loop}]")
    f.cond_br(v.any(v.icmp("ne", following[2], zero)), loop, done)
    f.place(done)
    return following[0]


def greatest_divisor(v: Vectors, info: DTypeInfo, a: Vec, b: Vec) -> Vec:
    """The greatest common divisor by Euclid's algorithm, all lanes until the last is done."""
    f, zero = v.function, v.like(a, 0)
    if info.kind == "i":
        a, b = (v.select(v.icmp("slt", x, zero), v.sub(zero, x), x) for x in (a, b))
    before, loop, done = f.block, f.label("divisor"), f.label("done")
    f.br(loop)
    f.place(loop)
    lines = [f.reserve(), f.reserve()]
    x, y = (Vec(f.name_value(), a.element, a.lanes) for _ in range(2))
    finished = v.icmp("eq", y, zero)
    rest = floor_division(v, info, x, v.select(finished, v.like(y, 1), y))[1]
    following = v.select(finished, x, y), v.select(finished, zero, rest)
    again = v.any(v.icmp("ne", following[1], zero))
    for line, value, start, new in zip(lines, (x, y), (a, b), following):
        f.fill(line, f"{value.ref} = phi {value.type} [{start.ref}, %{before}], [{new.ref}, %{f.block}]")
    f.cond_br(again, loop, done)
    f.place(done)
    result = following[0]
    return v.select(v.icmp("slt", result, zero), v.sub(zero, result), result) if info.kind == "i" else result
