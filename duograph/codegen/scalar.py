"""The table of scalar primitives: for each name, what it accepts and how it is spelled in vector instructions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from duograph.codegen import integer, vmath
from duograph.codegen.convert import cast, pair, round_to
from duograph.codegen.dtypes import DTYPES, DTypeInfo
from duograph.codegen.kernel import STATUS_NEGATIVE_POWER, STATUS_UNFIT, STATUS_ZERO_DIVISION
from duograph.codegen.vector import Vec, Vectors
from duograph.ir.primitives import DEMANDS


class Fail(Protocol):
    """Stops the kernel where a condition holds, with a status and what it tells; `values` are made there only."""

    def __call__(self, lanes: Vec, code: int, values: Callable[[], Vec] | None = None, extent: int = 0) -> None: ...


_FLOOR = (vmath.named("floor_divide"), vmath.named("floor_modulo"))
_TRUNCATED_MODULO, _POWER = vmath.named("truncated_modulo"), vmath.named("power")


class Scalars(NamedTuple):
    """Where a primitive is emitted: the vector builder, and how to stop the kernel where a lane condition holds."""

    v: Vectors
    fail: Fail


Emit = Callable[[Scalars, DTypeInfo, Sequence[Vec]], Vec]


class Primitive(NamedTuple):
    """``kinds`` are the dtype kinds accepted (b, i, u, f); ``cost`` is in vector instructions of a float32 vector.

    ``exact``: a 16-bit float result needs no rounding.
    """

    emit: Emit
    kinds: str
    cost: int = 1
    exact: bool = False


def emit_primitive(s: Scalars, op: str, operand_dtype: str, dtype: str, inputs: Sequence[Vec]) -> Vec:
    """One instruction of a body. ``operand_dtype`` is that of its (last) input, ``dtype`` the result's."""
    if op == "cast":
        return cast(s.v, inputs[0], operand_dtype, dtype)
    primitive = PRIMITIVES.get(op)
    info = DTYPES[operand_dtype]
    if primitive is None or info.kind not in primitive.kinds:
        raise ValueError(f"no kernel instruction {op} for {operand_dtype}")
    result = primitive.emit(s, info, inputs)
    return result if primitive.exact else round_to(s.v, result, dtype)


# ---- builders of entries ----


def _arithmetic(float_op: str, int_op: str, bool_op: str | None = None) -> Primitive:
    def emit(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
        op = float_op if info.kind == "f" else int_op if info.kind != "b" else bool_op
        assert op is not None
        return s.v.binary(op, x[0], x[1])

    return Primitive(emit, "iuf" + ("b" if bool_op else ""))


def _compare(float_predicate: str, int_predicate: str) -> Primitive:
    def emit(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
        if info.kind == "f":
            return s.v.fcmp(float_predicate, x[0], x[1])
        prefix = "" if int_predicate in ("eq", "ne") else "s" if info.kind == "i" else "u"
        return s.v.icmp(prefix + int_predicate, x[0], x[1])

    return Primitive(emit, "biuf", exact=True)


def _bitwise(op: str) -> Primitive:
    return Primitive(lambda s, info, x: s.v.binary(op, x[0], x[1]), "biu", exact=True)


def _logical(op: str) -> Primitive:
    return Primitive(lambda s, info, x: s.v.binary(op, _truth(s.v, info, x[0]), _truth(s.v, info, x[1])), "biuf", exact=True)


def _rounding(mode: str) -> Primitive:
    def emit(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
        return s.v.round(x[0], mode) if info.kind == "f" else x[0]

    return Primitive(emit, "biuf", exact=True)


def _function(function: Callable[[Vectors, Vec], Vec], cost: int) -> Primitive:
    return Primitive(lambda s, info, x: function(s.v, x[0]), "f", cost)


def _function2(function: Callable[[Vectors, Vec, Vec], Vec], cost: int) -> Primitive:
    return Primitive(lambda s, info, x: function(s.v, x[0], x[1]), "f", cost)


def _extreme(float_predicate: str, int_predicate: str) -> Primitive:
    def emit(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
        v, (a, b) = s.v, x
        if info.kind == "f":
            chosen = v.select(v.fcmp(float_predicate, a, b), a, b)
            return v.select(v.fcmp("uno", a, a), a, chosen)
        prefix = "s" if info.kind == "i" else "u"
        return v.select(v.icmp(prefix + int_predicate, a, b), a, b)

    return Primitive(emit, "biuf", cost=3, exact=True)


def _division(part: int) -> Primitive:
    def emit(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
        v, (a, b) = s.v, x
        if info.kind == "f":
            floored: Vec = _FLOOR[part](v, a, b)
            return floored
        s.fail(v.icmp("eq", b, v.like(b, 0)), STATUS_ZERO_DIVISION)
        return integer.floor_division(v, info, a, b)[part]

    return Primitive(emit, "iuf", cost=30)


def _truncated_modulo(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
    v, (a, b) = s.v, x
    if info.kind == "f":
        truncated: Vec = _TRUNCATED_MODULO(v, a, b)
        return truncated
    zero = v.like(b, 0)
    s.fail(v.icmp("eq", b, zero), STATUS_ZERO_DIVISION)
    remainder = integer.floor_division(v, info, a, b)[1]
    if info.kind != "i":
        return remainder
    differ = v.and_(v.icmp("ne", remainder, zero), v.icmp("slt", v.xor(a, b), zero))
    return v.sub(remainder, v.select(differ, b, zero))


# ---- single entries ----


def _truth(v: Vectors, info: DTypeInfo, x: Vec) -> Vec:
    return cast(v, x, info.name, "bool")


def _negative(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
    return s.v.fneg(x[0]) if info.kind == "f" else s.v.sub(s.v.like(x[0], 0), x[0])


def _absolute(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
    v = s.v
    if info.kind == "f":
        return v.fabs(x[0])
    if info.kind != "i":
        return x[0]
    zero = v.like(x[0], 0)
    return v.select(v.icmp("slt", x[0], zero), v.sub(zero, x[0]), x[0])


def _sign(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
    v, a = s.v, x[0]
    zero, one = v.like(a, 0), v.like(a, 1)
    if info.kind == "f":
        # NaN and zeros stay what they are
        return v.select(v.fcmp("one", a, zero), v.copysign(one, a), a)
    if info.kind != "i":
        return v.select(v.icmp("ne", a, zero), one, zero)
    return v.select(v.icmp("sgt", a, zero), one, v.ashr(a, info.bits - 1))


def _where(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
    return s.v.select(x[0], x[1], x[2])


def _power(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
    if info.kind == "f":
        power: Vec = _POWER(s.v, x[0], x[1])
        return power
    if info.kind == "i":
        s.fail(s.v.icmp("slt", x[1], s.v.like(x[1], 0)), STATUS_NEGATIVE_POWER)
    return integer.power(s.v, info, x[0], x[1])


def _fma(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
    if info.kind == "f":
        return s.v.fma(x[0], x[1], x[2])
    return s.v.add(s.v.mul(x[0], x[1]), x[2])


def _is_nan(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
    return s.v.fcmp("uno", x[0], x[0]) if info.kind == "f" else s.v.const("i1", 0)


def _demand(op: str) -> Primitive:
    """The operand itself; the kernel stops where it is not what the demand asks for."""
    number, demand = list(DEMANDS).index(op), DEMANDS[op]
    narrow = all(limit in (0.0, 1.0, math.inf) for limit in (demand.low, demand.high))  # the same number in every dtype
    below, above = ("olt", "ogt") if demand.takes_nan else ("ult", "ugt")

    def emit(s: Scalars, info: DTypeInfo, x: Sequence[Vec]) -> Vec:
        v, value = s.v, x[0]

        def widened() -> Vec:
            return value if value.element == "double" else v.convert("fpext", value, "double")

        compared = value if narrow else widened()
        unfit = v.fcmp(below, compared, v.like(compared, demand.low))
        if demand.high != math.inf:
            unfit = v.or_(unfit, v.fcmp(above, compared, v.like(compared, demand.high)))
        s.fail(unfit, STATUS_UNFIT, lambda: v.bits(widened()), number)
        return value

    return Primitive(emit, "f", cost=4, exact=True)


PRIMITIVES: dict[str, Primitive] = {
    **{op: _demand(op) for op in DEMANDS},
    # arithmetic; + and * of bool are or and and
    "add": _arithmetic("fadd", "add", "or"),
    "sub": _arithmetic("fsub", "sub"),
    "mul": _arithmetic("fmul", "mul", "and"),
    "div": Primitive(lambda s, info, x: s.v.fdiv(x[0], x[1]), "f", cost=10),
    "floordiv": _division(0),
    "mod": _division(1),
    "fmod": Primitive(_truncated_modulo, "iuf", cost=30),
    "gcd": Primitive(lambda s, info, x: integer.greatest_divisor(s.v, info, x[0], x[1]), "iu", cost=200),
    "neg": Primitive(_negative, "iuf", exact=True),
    "abs": Primitive(_absolute, "biuf", exact=True),
    "sign": Primitive(_sign, "biuf", cost=3, exact=True),
    "reciprocal": Primitive(lambda s, info, x: s.v.fdiv(s.v.like(x[0], 1.0), x[0]), "f", cost=10),
    "maximum": _extreme("ogt", "gt"),
    "minimum": _extreme("olt", "lt"),
    "fma": Primitive(_fma, "iuf"),
    # rounding
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "round": _rounding("roundeven"),
    "trunc": _rounding("trunc"),
    # comparison and choice
    "eq": _compare("oeq", "eq"),
    "ne": _compare("une", "ne"),
    "lt": _compare("olt", "lt"),
    "le": _compare("ole", "le"),
    "gt": _compare("ogt", "gt"),
    "ge": _compare("oge", "ge"),
    "where": Primitive(_where, "biuf", exact=True),
    "isnan": Primitive(_is_nan, "biuf", exact=True),
    # two numbers as bfloat16 in the bits of one: the first in the low half
    "pair": Primitive(lambda s, info, x: pair(s.v, x[0], x[1]), "f", cost=4, exact=True),
    # bits and truth
    "logical_and": _logical("and"),
    "logical_or": _logical("or"),
    "logical_xor": _logical("xor"),
    "logical_not": Primitive(lambda s, info, x: s.v.not_(_truth(s.v, info, x[0])), "biuf", exact=True),
    "bit_and": _bitwise("and"),
    "bit_or": _bitwise("or"),
    "bit_xor": _bitwise("xor"),
    "bit_not": Primitive(lambda s, info, x: s.v.not_(x[0]), "biu", exact=True),
    "shl": Primitive(lambda s, info, x: integer.shift_left(s.v, info, x[0], x[1]), "iu", cost=3),
    "shr": Primitive(lambda s, info, x: integer.shift_right(s.v, info, x[0], x[1]), "iu", cost=3),
    # elementary functions
    "sqrt": _function(vmath.named("sqrt"), 12),
    "rsqrt": _function(lambda v, x: v.fdiv(v.like(x, 1.0), vmath.named("sqrt")(v, x)), 20),
    "exp": _function(vmath.named("exp"), 14),
    "exp2": _function(vmath.named("exp2"), 14),
    "expm1": _function(vmath.named("expm1"), 20),
    "log": _function(vmath.named("log"), 20),
    "log2": _function(vmath.named("log2"), 20),
    "log1p": _function(vmath.named("log1p"), 30),
    "sin": _function(vmath.named("sin"), 60),
    "cos": _function(vmath.named("cos"), 60),
    "tan": _function(vmath.named("tan"), 80),
    "tanh": _function(vmath.named("tanh"), 30),
    "erf": _function(vmath.named("erf"), 20),
    "erfc": _function(vmath.named("erfc"), 80),
    "erfinv": _function(vmath.named("erfinv"), 100),
    "lgamma": _function(vmath.named("lgamma"), 200),
    "digamma": _function(vmath.named("digamma"), 200),
    "asin": _function(vmath.named("asin"), 30),
    "acos": _function(vmath.named("acos"), 30),
    "atan": _function(vmath.named("atan"), 30),
    "sinh": _function(vmath.named("sinh"), 30),
    "cosh": _function(vmath.named("cosh"), 25),
    "asinh": _function(vmath.named("asinh"), 80),
    "acosh": _function(vmath.named("acosh"), 80),
    "atanh": _function(vmath.named("atanh"), 80),
    "exponent": _function(vmath.named("exponent"), 8),
    "mantissa": _function(vmath.named("mantissa"), 8),
    "atan2": _function2(vmath.named("atan2"), 40),
    "hypot": _function2(vmath.named("hypot"), 20),
    "nextafter": _function2(vmath.named("next_after"), 8),
    "copysign": _function2(lambda v, x, y: v.copysign(x, y), 2),
    "pow": Primitive(_power, "iuf", cost=60),
}
