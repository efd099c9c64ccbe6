"""sin, cos and tan, computed in float64 for both formats.

Arguments below 10**6 are reduced by Cody and Waite's method with pi/2 in three parts; larger ones, rare, lane by lane
by Payne and Hanek's (a window of the bits of 2/pi times the 53-bit significand, exactly).
"""

from __future__ import annotations

from duograph.codegen.llvm import Function, Module, float_literal
from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_format import INFINITY, narrowed, nearest, widened

_TWO_OVER_PI = 0.6366197723675814
# pi/2: two parts of 33 bits, whose products with k < 2**20 are exact, and the rest
_HALF_PI = (float.fromhex("0x1.921fb544p+0"), float.fromhex("0x1.0b4611a6p-34"), float.fromhex("0x1.3198a2e037073p-69"))
_HALF_PI_DOUBLE = (float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54"))
_LIMIT = 1.0e6
# sin r = r + r**3 S(r**2), cos r = 1 - r**2/2 + r**4 C(r**2) for |r| <= pi/4: minimax to 2**-58, and to 2**-37
_SIN = (
    1.589669854791471e-10, -2.505075699781919e-08, 2.755731368926818e-06, -0.0001984126982981743,
    0.008333333333322457, -0.16666666666666632,
)  # fmt: skip
_COS = (
    -1.1361092514661095e-11, 2.0875754168156762e-09, -2.755731460711304e-07, 2.4801587290487216e-05,
    -0.0013888888888876, 0.041666666666666616,
)  # fmt: skip
_SIN_SHORT = (2.718275887225854e-06, -0.00019839332047483902, 0.008333329381726156, -0.16666666641659098)
_COS_SHORT = (-2.72111362748407e-07, 2.47995339954459e-05, -0.001388888382267838, 0.041666666623909915)
# the fractional bits of 2/pi, behind one word of zeros
_BITS = (
    "0000000000000000 a2f9836e4e441529 fc2757d1f534ddc0 db6295993c439041 fe5163abdebbc561 b7246e3a424dd2e0 "
    "06492eea09d1921c fe1deb1cb129a73e e88235f52ebb4484 e99c7026b45f7e41 3991d639835339f4 9c845f8bbdf9283b "
    "1ff897ffde05980f ef2f118b5a0a6d1f 6d367ecf27cb09b7 4f463f669e5fea2d 7527bac7ebe5f17b 3d0739f78a5292ea "
    "6bfb5fb11f8d5d08 56033046fc7b6bab f0cfbc209af4361d"
)


def sin(v: Vectors, x: Vec) -> Vec:
    return _from_quadrants(v, x, 0)


def cos(v: Vectors, x: Vec) -> Vec:
    return _from_quadrants(v, x, 1)


def tan(v: Vectors, x: Vec) -> Vec:
    r, low, k = _reduce(v, widened(v, x))
    s, c = _sin_cos(v, r, low, short=x.element == "float")
    odd = v.bit(k, 0)
    result = v.fdiv(v.select(odd, v.fneg(c), s), v.select(odd, s, c))
    return _keep_zero(v, x, narrowed(v, result, x))


def sin_pi_size(v: Vectors, x: Vec) -> Vec:
    """|sin(pi x)| in float64, exactly 0 at whole numbers: no multiples of pi need to be taken away."""
    part = v.fabs(v.fsub(x, v.round(x, "roundeven")))
    steep = v.fcmp("ogt", part, v.like(x, 0.25))
    angle = v.fmul(v.select(steep, v.fsub(v.like(x, 0.5), part), part), v.like(x, 2.0 * _HALF_PI_DOUBLE[0]))
    s, c = _sin_cos(v, angle, v.like(x, 0.0), short=False)
    return v.select(steep, c, s)


def _from_quadrants(v: Vectors, x: Vec, shift: int) -> Vec:
    r, low, k = _reduce(v, widened(v, x))
    s, c = _sin_cos(v, r, low, short=x.element == "float")
    k = v.add(k, v.like(k, shift)) if shift else k
    result = v.select(v.bit(k, 0), c, s)
    result = narrowed(v, v.select(v.bit(k, 1), v.fneg(result), result), x)
    return result if shift else _keep_zero(v, x, result)


def _keep_zero(v: Vectors, x: Vec, result: Vec) -> Vec:
    """-0 in, -0 out."""
    return v.select(v.fcmp("oeq", x, v.like(x, 0.0)), x, result)


def _sin_cos(v: Vectors, r: Vec, low: Vec, short: bool) -> tuple[Vec, Vec]:
    """sin and cos of r + low, |r| <= pi/4."""
    z, one, half = v.fmul(r, r), v.like(r, 1.0), v.like(r, 0.5)
    if short:
        sine = v.mul_add(v.fmul(z, r), v.polynomial(z, _SIN_SHORT), r)
        return sine, v.mul_add(v.fmul(z, z), v.polynomial(z, _COS_SHORT), v.fsub(one, v.fmul(z, half)))
    cubic = v.fmul(v.fmul(z, r), v.polynomial(z, _SIN))
    # low * cos(r) to first order
    sine = v.fadd(r, v.fadd(cubic, v.fsub(low, v.fmul(v.fmul(z, half), low))))
    h = v.fmul(z, half)
    w = v.fsub(one, h)
    rest = v.mul_add(v.fmul(z, z), v.polynomial(z, _COS), v.fneg(v.fmul(r, low)))
    return sine, v.fadd(w, v.fadd(v.fsub(v.fsub(one, w), h), rest))


def _reduce(v: Vectors, x: Vec) -> tuple[Vec, Vec, Vec]:
    """(r, low, k) with x = k pi/2 + r + low."""
    f = v.function
    k, whole = nearest(v, x, _TWO_OVER_PI)
    a = v.fsub(x, v.fmul(k, v.like(x, _HALF_PI[0])))
    r, low = v.two_sum(a, v.fneg(v.fmul(k, v.like(x, _HALF_PI[1]))))
    low = v.fsub(low, v.fmul(k, v.like(x, _HALF_PI[2])))
    r, low = v.fast_two_sum(r, low)
    size = v.fabs(x)
    huge = v.and_(v.fcmp("oge", size, v.like(x, _LIMIT)), v.fcmp("olt", size, v.like(x, INFINITY)))
    before, slow, done = f.block, f.label("huge"), f.label("reduced")
    f.cond_br(v.any(huge), slow, done)
    f.place(slow)
    fixed = _reduce_huge(v, x, (r, low, whole))
    after = f.block
    f.br(done)
    f.place(done)
    merged = [Vec(f.phi(a.type, [(a.ref, before), (b.ref, after)]), a.element, a.lanes) for a, b in zip((r, low, whole), fixed)]
    return merged[0], merged[1], merged[2]


def _reduce_huge(v: Vectors, x: Vec, values: tuple[Vec, Vec, Vec]) -> list[Vec]:
    """Replace the lanes of huge arguments, one by one."""
    f = v.function
    _define_payne_hanek(v)
    slots = [f.alloca(value.type, 64) for value in (x, *values)]
    for value, slot in zip((x, *values), slots):
        f.store(value.type, value.ref, slot, 64)
    with f.loop(0, v.lanes) as lane:
        pointers = [("ptr", f.gep(slot, lane, 8)) for slot in slots]
        f.call("payne_hanek", pointers)
    return [Vec(f.load(value.type, slot, 64), value.element, value.lanes) for value, slot in zip(values, slots[1:])]


def _define_payne_hanek(v: Vectors) -> None:
    """``payne_hanek(x, r, low, k)`` on pointers; leaves small, infinite and NaN x alone."""
    module: Module = v.function.module
    if module.has("payne_hanek"):
        return
    parameters = [("ptr", "x"), ("ptr", "r"), ("ptr", "low"), ("ptr", "k")]
    f = Function(module, "payne_hanek", parameters, linkage="internal", attributes="noinline")
    table = module.table("two_over_pi", "i64", [str(_signed(int(word, 16))) for word in _BITS.split()])
    bits = f.load("i64", "%x")
    size = f.and_(bits, (1 << 63) - 1)
    limit, infinity = int(float_literal(_LIMIT, "double"), 16), 0x7FF << 52
    huge = f.op(f"and i1 {f.icmp('uge', size, limit)}, {f.icmp('ult', size, infinity)}")
    with f.when(huge):
        exponent = f.lshr(size, 52)
        significand = f.or_(f.and_(size, (1 << 52) - 1), 1 << 52)
        # x = significand * 2**(exponent - 1075); bits of 2/pi that only give multiples of 4 are skipped
        start = f.sub(exponent, 1075 + 2 - 64)
        words = _window(f, table, start)
        _finish(v, f, bits, _fraction(f, words, str(significand)))
    module.add(f)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _window(f: Function, table: str, start: object) -> list[str]:
    """Three words of 2/pi from bit ``start`` on."""
    index, shift = f.lshr(str(start), 6), f.and_(str(start), 63)
    raw = [f.load("i64", f.gep(table, f.add(index, i), 8)) for i in range(4)]
    return [f.intrinsic("llvm.fshl.i64", "i64", [("i64", raw[i]), ("i64", raw[i + 1]), ("i64", shift)]) for i in range(3)]


def _fraction(f: Function, words: list[str], significand: str) -> str:
    """The top 128 bits of significand * words mod 2**192: x * 2/pi mod 4, in units of 2**-126."""
    wide, words_wide = f.op(f"zext i64 {significand} to i128"), [f.op(f"zext i64 {word} to i128") for word in words]
    low = f.op(f"mul i128 {words_wide[2]}, {wide}")
    carry = f.op(f"lshr i128 {low}, 64")
    partial = f.op(f"mul i128 {words_wide[1]}, {wide}")
    middle = f.op(f"add i128 {partial}, {carry}")
    top = f.op(f"zext i64 {f.mul(words[0], significand)} to i128")
    return f.op(f"add i128 {middle}, {f.op(f'shl i128 {top}, 64')}")


def _finish(v: Vectors, f: Function, bits: str, fraction: str) -> None:
    """Split x * 2/pi mod 4 into quadrant and remainder, and multiply the remainder by pi/2."""
    one = Vectors(f, v.target, 1)
    quadrant = f.op(f"trunc i128 {f.op(f'lshr i128 {fraction}, 126')} to i64")
    rest = f.op(f"shl i128 {fraction}, 2")
    up = f.op(f"icmp slt i128 {rest}, 0")  # at least one half: round up
    quadrant = str(f.add(quadrant, f.op(f"zext i1 {up} to i64")))
    size = f.op(f"select i1 {up}, i128 {f.op(f'sub i128 0, {rest}')}, i128 {rest}")
    f.module.declare("llvm.ctlz.i128", "i128", ["i128", "i1"])
    zeros = f.op(f"call i128 @llvm.ctlz.i128(i128 {size}, i1 false)")
    normal = f.op(f"shl i128 {size}, {zeros}")
    parts = []
    for shift in (75, 22):
        part = f.and_(f.op(f"trunc i128 {f.op(f'lshr i128 {normal}, {shift}')} to i64"), (1 << 53) - 1)
        parts.append(one.convert("sitofp", one.splat("i64", part), "double"))
    count = f.op(f"trunc i128 {zeros} to i64")
    unit = one.floats(one.splat("i64", f.shl(f.sub(1023 - 53, count), 52)))
    negative = f.op(f"xor i1 {up}, {f.icmp('slt', bits, 0)}")
    sign = one.select(one.splat("i1", negative), one.const("double", -1.0), one.const("double", 1.0))
    high = one.fmul(one.fmul(parts[0], unit), sign)
    low = one.fmul(one.fmul(one.fmul(parts[1], unit), one.const("double", 2.0**-53)), sign)
    r, error = one.two_product(high, one.const("double", _HALF_PI_DOUBLE[0]))
    error = one.fadd(
        error,
        one.fadd(one.fmul(high, one.const("double", _HALF_PI_DOUBLE[1])), one.fmul(low, one.const("double", _HALF_PI_DOUBLE[0]))),
    )
    r, error = one.fast_two_sum(r, error)
    f.store(r.type, r.ref, "%r")
    f.store(error.type, error.ref, "%low")
    signed = f.select(f.icmp("slt", bits, 0), f.sub(0, quadrant), quadrant)
    f.store("i64", signed, "%k")
