"""Casts between all dtypes, with every edge defined; 16-bit floats in and out of float32."""

from __future__ import annotations

from duograph.codegen.dtypes import DTYPES, DTypeInfo
from duograph.codegen.llvm import Function
from duograph.codegen.vector import Vec, Vectors

_HIGH_BITS = 0xFFFF0000
_LANES_OF_PAIRS, _FLOATS, _NARROW_FLOATS = 16, "<16 x float>", "<32 x bfloat>"


def cast(v: Vectors, value: Vec, source: str, result: str) -> Vec:
    """Convert: float → int saturates and NaN gives 0; int → int wraps; anything → bool is ``!= 0``."""
    a, b = DTYPES[source], DTYPES[result]
    if a == b:
        return value
    if b.kind == "b":
        zero = v.like(value, 0)
        return v.fcmp("une", value, zero) if a.kind == "f" else v.icmp("ne", value, zero)
    if a.kind == "f":
        return _from_float(v, value, a, b)
    if b.kind == "f":
        return round_to(v, _int_to_float(v, value, a, b.element), result)
    if b.bits > a.bits:
        return v.convert("sext" if a.kind == "i" else "zext", value, b.element)
    return v.convert("trunc", value, b.element) if b.bits < a.bits else value


def _int_to_float(v: Vectors, value: Vec, source: DTypeInfo, element: str) -> Vec:
    if source.kind == "b":
        return v.select(value, v.const(element, 1.0), v.const(element, 0.0))
    return v.convert("sitofp" if source.kind == "i" else "uitofp", value, element)


def _from_float(v: Vectors, value: Vec, source: DTypeInfo, result: DTypeInfo) -> Vec:
    if result.kind == "f":
        if result.element != value.element:
            value = v.convert("fpext" if result.element == "double" else "fptrunc", value, result.element)
        if result.narrow and source.name != result.name:
            value = round_to(v, value, result.name)
        return value
    if result.bits < 32:
        wide = _saturated(v, value, 32, signed=True)
        low, high = (
            (-(1 << (result.bits - 1)), (1 << (result.bits - 1)) - 1) if result.kind == "i" else (0, (1 << result.bits) - 1)
        )
        wide = v.call("smax", v.call("smin", wide, v.like(wide, high)), v.like(wide, low))
        return v.convert("trunc", wide, result.element)
    return _saturated(v, value, result.bits, signed=result.kind == "i")


def _saturated(v: Vectors, value: Vec, bits: int, *, signed: bool) -> Vec:
    """The number without its fraction, the nearest that there is outside of the range, 0 for NaN.

    LLVM's own saturating conversions go element by element.
    """
    element = f"i{bits}"
    limit = v.like(value, 2.0 ** (bits - signed))
    small = v.fcmp("olt", v.call("fabs", value) if signed else value, limit)
    if not signed:
        small = v.and_(small, v.fcmp("ogt", value, v.like(value, -1.0)))
    safe = v.select(small, value, v.like(value, 0.0))
    result = v.convert("fptosi" if signed else "fptoui", safe, element)
    result = v.select(v.fcmp("oge", value, limit), v.const(element, (1 << (bits - signed)) - 1), result)
    if not signed:
        return result
    return v.select(v.fcmp("ole", value, v.like(value, -(2.0 ** (bits - 1)))), v.const(element, -(1 << (bits - 1))), result)


def round_to(v: Vectors, value: Vec, dtype: str) -> Vec:
    """Round a computed value to what ``dtype`` can hold (only 16-bit floats change)."""
    if not DTYPES[dtype].narrow:
        return value
    if dtype == "bfloat16":
        return v.floats(v.and_(_rounded_bits(v, value), v.like(v.bits(value), _HIGH_BITS)))
    return unpack(v, pack(v, value, dtype), dtype)


def pack(v: Vectors, value: Vec, dtype: str) -> Vec:
    """float32 → the 16 bits of float16 or bfloat16, to nearest even; denormals kept, NaN stays NaN."""
    if dtype == "bfloat16":
        return v.convert("trunc", v.lshr(_rounded_bits(v, value), 16), "i16")
    if v.target.float16_conversion:
        return v.convert("bitcast", v.convert("fptrunc", value, "half"), "i16")
    return _pack_half(v, value)


def pair(v: Vectors, low: Vec, high: Vec) -> Vec:
    """Two float32, rounded to bfloat16, in the bits of one. Where an instruction does it, subnormal numbers become 0."""
    if v.target.dots and low.lanes == _LANES_OF_PAIRS:
        return Vec(pair_at_once(v.function, low.ref, high.ref), "float", low.lanes)
    first, second = (v.convert("zext", pack(v, x, "bfloat16"), "i32") for x in (low, high))
    return v.floats(v.or_(first, v.shl(second, 16)))


def round_at_once(f: Function, low: str, high: str) -> str:
    """32 float32, in two vectors, as bfloat16 by one instruction; subnormal numbers become 0."""
    arguments = [(_FLOATS, high), (_FLOATS, low)]
    return f.intrinsic("llvm.x86.avx512bf16.cvtne2ps2bf16.512", _NARROW_FLOATS, arguments)


def pair_at_once(f: Function, low: str, high: str) -> str:
    """The same with those of both vectors by turns, as pairs in the bits of 16 float32."""
    rounded = round_at_once(f, low, high)
    order = [i // 2 + i % 2 * _LANES_OF_PAIRS for i in range(2 * _LANES_OF_PAIRS)]
    return f.op(f"bitcast {_NARROW_FLOATS} {f.shuffle(_NARROW_FLOATS, rounded, rounded, order)} to {_FLOATS}")


def _rounded_bits(v: Vectors, value: Vec) -> Vec:
    """float32 → bits of which the high half is the nearest bfloat16; NaN stays NaN."""
    bits = v.bits(value)
    odd = v.icmp("ne", v.and_(bits, v.like(bits, 0x10000)), v.like(bits, 0))
    rounded = v.add(bits, v.select(odd, v.like(bits, 0x8000), v.like(bits, 0x7FFF)))
    return v.select(v.fcmp("uno", value, value), v.or_(bits, v.like(bits, 0x400000)), rounded)


def _pack_half(v: Vectors, value: Vec) -> Vec:
    bits = v.bits(value)
    sign = v.lshr(v.and_(bits, v.like(bits, 0x80000000)), 16)
    size = v.and_(bits, v.like(bits, 0x7FFFFFFF))
    # normal results: rebias the exponent by -112 and round the low 13 bits to even
    odd = v.and_(v.lshr(size, 13), v.like(bits, 1))
    normal = v.lshr(v.add(v.add(size, v.like(size, 0xFFF - (112 << 23))), odd), 13)
    # denormal results: adding 0.5 leaves the rounded mantissa in the low bits of the sum
    half = v.fadd(v.floats(size), v.const("float", 0.5))
    small = v.sub(v.bits(half), v.like(bits, 0x3F000000))
    result = v.select(v.icmp("ult", size, v.like(size, 113 << 23)), small, normal)
    result = v.select(v.icmp("uge", size, v.like(size, 0x477FF000)), v.like(size, 0x7C00), result)
    result = v.select(v.icmp("ugt", size, v.like(size, 0x7F800000)), v.like(size, 0x7E00), result)
    return v.convert("trunc", v.or_(result, sign), "i16")


def unpack(v: Vectors, bits: Vec, dtype: str) -> Vec:
    """The 16 bits of float16 or bfloat16 → float32, exactly."""
    if dtype == "bfloat16":
        return v.floats(v.shl(v.convert("zext", bits, "i32"), 16))
    if v.target.float16_conversion:
        return v.convert("fpext", v.convert("bitcast", bits, "half"), "float")
    wide = v.convert("zext", bits, "i32")
    sign = v.shl(v.and_(wide, v.like(wide, 0x8000)), 16)
    size = v.shl(v.and_(wide, v.like(wide, 0x7FFF)), 13)
    # scaling by 2**112 moves the exponent and makes denormals exact; the largest exponent becomes all ones
    scaled = v.bits(v.fmul(v.floats(size), v.const("float", 2.0**112)))
    special = v.icmp("uge", size, v.like(size, 0x7C00 << 13))
    scaled = v.select(special, v.or_(scaled, v.like(size, 0x7F800000)), scaled)
    return v.floats(v.or_(scaled, sign))
