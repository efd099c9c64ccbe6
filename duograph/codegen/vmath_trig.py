"""sin, cos and tan, in the format itself where there are fused multiply-adds, else in float64.

sin x and cos x: x, for cos x + pi/2, is k pi + r with |r| <= pi/2, and sin r = r + r**3 S(r**2). tan x: x = k pi/2 + r with
|r| <= pi/4. Arguments below 2**17 are reduced by Cody and Waite's method with pi/2 in three parts; larger ones, rare, lane by
lane by Payne and Hanek's (a window of the bits of 2/pi times the 53-bit significand, exactly).
"""

from __future__ import annotations

from duograph.codegen.llvm import Function, Module, float_literal
from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_format import format_of, narrowed, widened

_HALF_PI_DOUBLE = (float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54"))
# pi/2 in three parts. With fused multiply-adds: whole ones, since x - k A is exact.
_FUSED = {
    "float": (float.fromhex("0x1.921fb6p+0"), float.fromhex("-0x1.777a5cp-25"), float.fromhex("-0x1.ee59dap-50")),
    "double": (*_HALF_PI_DOUBLE, float.fromhex("-0x1.f1976b7ed8fbcp-110")),
}
# Without: two of 33 bits, whose products with k < 2**20 are exact, and the rest.
_SHORT = (float.fromhex("0x1.921fb544p+0"), float.fromhex("0x1.0b4611a6p-34"), float.fromhex("0x1.3198a2e037073p-69"))
_LIMIT = 2.0**17
# S for |r| <= pi/2, minimax to 2**-35 and 2**-61 of sin r
_SINE = {
    "float": (-2.3877348e-08, 2.752474e-06, -0.00019840855, 0.008333331, -0.16666667),
    "double": (
        2.7211719053593593e-15, -7.642991269817616e-13, 1.6058939700257519e-10, -2.505210687274599e-08,
        2.7557319211137262e-06, -0.00019841269841209224, 0.008333333333333194, -0.16666666666666666,
    ),
}  # fmt: skip
_TO_COSINE = -0.405  # cos r is about 1 - 0.405 r**2, and 0 at pi/2
# tan r = r + r**3 T(r**2) for |r| <= pi/4, minimax to 2**-29
_TAN_FLOAT = (0.0044305595, -1.8056471e-05, 0.010918652, 0.021251054, 0.05406578, 0.13332613, 0.33333352)
# sin r = r + r**3 S(r**2), cos r = 1 - r**2/2 + r**4 C(r**2) for |r| <= pi/4: minimax to 2**-58
_SIN = (
    1.589669854791471e-10, -2.505075699781919e-08, 2.755731368926818e-06, -0.0001984126982981743,
    0.008333333333322457, -0.16666666666666632,
)  # fmt: skip
_COS = (
    -1.1361092514661095e-11, 2.0875754168156762e-09, -2.755731460711304e-07, 2.4801587290487216e-05,
    -0.0013888888888876, 0.041666666666666616,
)  # fmt: skip
# the fractional bits of 2/pi, behind one word of zeros
_BITS = (
    "0000000000000000 a2f9836e4e441529 fc2757d1f534ddc0 db6295993c439041 fe5163abdebbc561 b7246e3a424dd2e0 "
    "06492eea09d1921c fe1deb1cb129a73e e88235f52ebb4484 e99c7026b45f7e41 3991d639835339f4 9c845f8bbdf9283b "
    "1ff897ffde05980f ef2f118b5a0a6d1f 6d367ecf27cb09b7 4f463f669e5fea2d 7527bac7ebe5f17b 3d0739f78a5292ea "
    "6bfb5fb11f8d5d08 56033046fc7b6bab f0cfbc209af4361d"
)


def sin(v: Vectors, x: Vec) -> Vec:
    return _keep_zero(v, x, _sine(v, x, 0))


def cos(v: Vectors, x: Vec) -> Vec:
    return _sine(v, x, 1)


def tan(v: Vectors, x: Vec) -> Vec:
    y = _computed(v, x)
    r, low, k = _reduce(v, y, 1, 0)
    odd = v.bit(k, 0)
    if y.element == "float":
        z, rest = v.two_product(r, r)
        t = _with_cubic(v, r, low, z, rest, v.polynomial(z, _TAN_FLOAT))
        result = v.select(odd, v.fdiv(v.like(t, -1.0), t), t)
    else:
        s, c = _sin_cos(v, r, low)
        result = v.fdiv(v.select(odd, v.fneg(c), s), v.select(odd, s, c))
    return _keep_zero(v, x, _result(v, result, x))


def sin_pi_size(v: Vectors, x: Vec) -> Vec:
    """|sin(pi x)| in float64, exactly 0 at whole numbers: no multiples of pi need to be taken away."""
    part = v.fabs(v.fsub(x, v.round(x, "roundeven")))
    return _sine_of(v, v.fmul(part, v.like(x, 2.0 * _HALF_PI_DOUBLE[0])), v.like(x, 0.0))


def _computed(v: Vectors, x: Vec) -> Vec:
    """x in the format that is computed in."""
    return x if v.target.fma else widened(v, x)


def _result(v: Vectors, result: Vec, x: Vec) -> Vec:
    return result if result.element == x.element else narrowed(v, result, x)


def _keep_zero(v: Vectors, x: Vec, result: Vec) -> Vec:
    """-0 in, -0 out."""
    return v.select(v.fcmp("oeq", x, v.like(x, 0.0)), x, result)


def _sine(v: Vectors, x: Vec, shift: int) -> Vec:
    """sin(x + shift pi/2)."""
    y = _computed(v, x)
    r, low, k = _reduce(v, y, 2, shift)
    sign = v.shl(k, 31 if y.element == "float" else 63)
    return _result(v, v.floats(v.xor(v.bits(_sine_of(v, r, low)), sign)), x)


def _sine_of(v: Vectors, r: Vec, low: Vec) -> Vec:
    """sin of r + low, |r| <= pi/2."""
    z, rest = v.two_product(r, r)
    low = v.fmul(low, v.mul_add(z, v.like(z, _TO_COSINE), v.like(z, 1.0)))
    return _with_cubic(v, r, low, z, rest, v.polynomial(z, _SINE[r.element]))


def _with_cubic(v: Vectors, r: Vec, low: Vec, z: Vec, rest: Vec, p: Vec) -> Vec:
    """r + low + r**3 p, z + rest = r**2."""
    low = v.mul_add(v.fmul(r, p), rest, low)
    return v.fadd(r, v.mul_add(v.fmul(r, z), p, low))


def _sin_cos(v: Vectors, r: Vec, low: Vec) -> tuple[Vec, Vec]:
    """sin and cos of r + low in float64, |r| <= pi/4."""
    z, one, half = v.fmul(r, r), v.like(r, 1.0), v.like(r, 0.5)
    sine = v.fadd(r, v.mul_add(v.fmul(z, r), v.polynomial(z, _SIN), low))
    h = v.fmul(z, half)
    w = v.fsub(one, h)
    rest = v.mul_add(v.fmul(z, z), v.polynomial(z, _COS), v.fneg(v.fmul(r, low)))
    return sine, v.fadd(w, v.fadd(v.fsub(v.fsub(one, w), h), rest))


def _reduce(v: Vectors, x: Vec, quarters: int, shift: int) -> tuple[Vec, Vec, Vec]:
    """(r, low, k) with x + shift pi/2 = k (quarters pi/2) + r + low; of k only the lowest bit."""
    f = v.function
    fast = _reduce_small(v, x, quarters, shift)
    huge = v.fcmp("oge", v.fabs(x), v.like(x, _LIMIT))
    before, slow, done = f.block, f.label("huge"), f.label("reduced")
    f.cond_br(v.any(huge), slow, done)
    f.place(slow)
    fixed = _reduce_huge(v, widened(v, x))
    if quarters == 2:
        fixed = _to_half_turns(v, *fixed, shift)
    if x.element == "float":
        fixed = _in_float(v, *fixed)
    chosen = [v.select(huge, a, b) for a, b in zip(fixed, fast)]
    after = f.block
    f.br(done)
    f.place(done)
    merged = [Vec(f.phi(a.type, [(a.ref, before), (b.ref, after)]), a.element, a.lanes) for a, b in zip(fast, chosen)]
    return merged[0], merged[1], merged[2]


def _reduce_small(v: Vectors, x: Vec, quarters: int, shift: int) -> tuple[Vec, Vec, Vec]:
    """`_reduce` for |x| < 2**17."""
    magic, half = v.like(x, format_of(x).magic), v.like(x, 0.5)
    turns = v.like(x, 1 / (quarters * _HALF_PI_DOUBLE[0]))
    shifted = v.fadd(v.mul_add(x, turns, half), magic) if shift else v.mul_add(x, turns, magic)
    whole = v.fsub(shifted, magic)
    whole = v.fsub(whole, half) if shift else whole
    first, second, third = (v.like(x, quarters * part) for part in (_FUSED[x.element] if v.target.fma else _SHORT))
    back = v.fneg(whole)
    a = v.mul_add(back, first, x)
    product = v.fmul(back, second)
    if not v.target.fma:
        r, low = v.two_sum(a, product)
        r, low = v.fast_two_sum(r, v.fadd(low, v.fmul(back, third)))
        return r, low, v.bits(shifted)
    # a is a multiple of the last place of the product, which is enough for `fast_two_sum` to be exact
    r, low = v.fast_two_sum(a, product)
    low = v.fadd(low, v.fma(back, second, v.fneg(product)))
    return r, v.fma(back, third, low), v.bits(shifted)


def _to_half_turns(v: Vectors, r: Vec, low: Vec, k: Vec, shift: int) -> tuple[Vec, Vec, Vec]:
    """(r, low, k) of x + shift pi/2 and pi for those of x and pi/2."""
    k = v.add(k, v.like(k, shift))
    odd, up = v.bit(k, 0), v.fcmp("ogt", r, v.like(r, 0.0))
    high, rest = (v.copysign(v.like(r, part), v.fneg(r)) for part in _HALF_PI_DOUBLE)
    moved, error = v.two_sum(r, high)
    low = v.select(odd, v.fadd(error, v.fadd(low, rest)), low)
    k = v.ashr(v.add(k, v.select(up, v.like(k, 1), v.like(k, 0))), 1)
    return v.select(odd, moved, r), low, k


def _in_float(v: Vectors, r: Vec, low: Vec, k: Vec) -> tuple[Vec, Vec, Vec]:
    short = v.convert("fptrunc", r, "float")
    low = v.fadd(v.fsub(r, v.convert("fpext", short, "double")), low)
    return short, v.convert("fptrunc", low, "float"), v.convert("trunc", k, "i32")


def _reduce_huge(v: Vectors, x: Vec) -> tuple[Vec, Vec, Vec]:
    """(r, low, k) with x = k pi/2 + r + low for lanes of huge arguments, one by one; NaN at infinity."""
    f = v.function
    _define_payne_hanek(v)
    nothing = v.fsub(x, x)
    slots = []
    for value in (x, nothing, nothing, v.bits(nothing)):
        slots.append(f.alloca(value.type, 64))
        f.store(value.type, value.ref, slots[-1], 64)
    with f.loop(0, v.lanes) as lane:
        f.call("payne_hanek", [("ptr", f.gep(slot, lane, 8)) for slot in slots])
    r, low = (Vec(f.load(x.type, slot, 64), "double", x.lanes) for slot in slots[1:3])
    return r, low, Vec(f.load(f"<{x.lanes} x i64>", slots[3], 64), "i64", x.lanes)


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
