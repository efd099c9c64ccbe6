"""simplify: algebraic rules, one line each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from duograph.ir.dim import Expr
from duograph.ir.graph import Graph, Value
from duograph.ir.primitives import MOVEMENT, PRIMITIVES

from .patterns import Constant, Match, Op, Rule, Rules, Var
from .rewrite import scalar_constant

x, y, c = Var("x"), Var("y"), Constant("c")


def _first(match: Match) -> Value:
    return match["x"]


def _same_type(match: Match) -> Value | None:
    return match["x"] if match["x"].type == match.type else None


def _is_float(match: Match) -> bool:
    return bool(match.type.dtype.kind == "f")


def _reciprocal_of_power(match: Match) -> Value | None:
    """x / 2**k is x * 2**-k, exactly, while 2**-k is a normal number."""
    number = scalar_constant(match["c"])
    if number is None or match.type.dtype.name not in ("float32", "float64"):
        return None
    if not math.isfinite(number) or number == 0 or abs(math.frexp(number)[0]) != 0.5 or not 2.0**-100 < abs(number) < 2.0**100:
        return None
    return match.emit("mul", match["x"], match.constant(1.0 / number))


_INTEGER_BITS = {"bool": 1, "uint8": 8, "int8": 7, "int16": 15, "uint16": 16, "int32": 31, "uint32": 32}
_MANTISSA = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
_WIDER = {
    ("float16", "float32"), ("bfloat16", "float32"), ("float16", "float64"), ("bfloat16", "float64"), ("float32", "float64"),
}  # fmt: skip


def _lossless_cast(match: Match) -> Value | None:
    """cast(cast(x)) back to where it came from, through a type that holds every value."""
    inner = match["x"]
    if inner.dtype.name != match.type.dtype.name:
        return None
    middle = match.node.inputs[0].dtype.name
    name = inner.dtype.name
    fits = (name, middle) in _WIDER or (name in _INTEGER_BITS and _INTEGER_BITS[name] <= _MANTISSA.get(middle, 0))
    return inner if fits or (name == "bool" and middle != "bool") else None


_CHOOSING = ("maximum", "minimum", "neg", "abs", "copy", "where")  # give one of their operands, or its negative
_MOST_LOOKED_AT = 64


def _rounded_already(match: Match) -> Value | None:
    """A conversion to 16 bits and back of what 16 bits hold."""
    inner, middle = match["x"], match.node.inputs[0].dtype.name
    if (middle, inner.dtype.name) not in _WIDER or inner.type != match.type:
        return None
    return inner if _is_held(inner, middle) else None


def _is_held(value: Value, dtype: str) -> bool:
    """Whether every element is one that ``dtype`` has: it came from there, and was only moved and chosen since."""
    seen = {value}
    pending = [value]
    while pending:
        node = pending.pop().node
        if node is None or len(seen) > _MOST_LOOKED_AT:
            return False
        number = node.attrs["value"] if node.op == "constant" else None
        if isinstance(number, (int, float)) and (number == 0 or math.isinf(number)):
            continue
        if node.op == "cast" and node.inputs[0].dtype.name == dtype:
            continue
        if node.op not in _CHOOSING and PRIMITIVES[node.op].kind != MOVEMENT:
            return False
        operands = {x for x in node.inputs if x.dtype.kind == "f"} - seen
        seen |= operands
        pending += operands
    return True


def _compose_permute(match: Match) -> Value:
    inner = match.node.inputs[0].node
    assert inner is not None
    dims = tuple(inner.attrs["dims"][d] for d in match.node.attrs["dims"])
    return match.emit("permute", match["x"], dims=dims)


def _identity_permute(match: Match) -> Value | None:
    dims = match.node.attrs["dims"]
    return match["x"] if tuple(dims) == tuple(range(len(dims))) else None


def _empty_reduce(match: Match) -> Value | None:
    if match.node.attrs["dims"] or match.node.attrs["kind"] not in ("sum", "prod", "max", "min"):
        return None
    return match["x"] if match["x"].type == match.type else match.emit("cast", match["x"])


def _copy_of_computed(match: Match) -> Value | None:
    """A copy keeps a result apart from memory that has another name; what is computed has none yet."""
    node = match["x"].node
    if node is None or PRIMITIVES[node.op].kind == MOVEMENT:
        return None
    return _same_type(match)


def _padded_to_one(part: Value, shape: Sequence[Expr], low: Sequence[Expr]) -> bool:
    """Whether a dimension of size 1 is made of one that may be 0: there is no loop over it that a mask could cut short."""
    one = [isinstance(m, int) and isinstance(start, int) and m == 1 and start == 0 for m, start in zip(part.shape, low)]
    return any(isinstance(n, int) and n == 1 and not same for n, same in zip(shape, one))


def _pad_to_one(match: Match) -> Value | None:
    """Zeros around a part that may have no element, to a dimension of one: the part written into zeros."""
    part, shape = match["x"], match.type.shape
    if not _padded_to_one(part, shape, match.node.attrs["low"]):
        return None
    starts, steps = tuple(match.node.attrs["low"]), (1,) * len(shape)
    return match.emit("slice_update", match.constant(0), part, starts=starts, steps=steps)


SIMPLIFY = Rules(
    "simplify",
    Rule("mul_one", x * 1, _first),
    Rule("div_one", x / 1, _first),
    Rule("sub_zero", x - 0, _first),
    Rule("add_zero", x + 0, lambda m: None if _is_float(m) else m["x"]),
    Rule("add_zero_float", x + 0, _first, exact=False),  # -0.0 + 0 is +0.0
    Rule("double_negation", Op("neg", -x), _first),
    Rule("subtract_negation", x - (-y), lambda m: m.emit("add", m["x"], m["y"])),
    Rule("add_negation", x + (-y), lambda m: m.emit("sub", m["x"], m["y"])),
    Rule("double_not", Op("logical_not", Op("logical_not", x)), _same_type),
    Rule("where_same", Op("where", y, x, x), _first),
    Rule("divide_by_power_of_two", x / c, _reciprocal_of_power),
    Rule("cast_same", Op("cast", x), _same_type),
    Rule("cast_there_and_back", Op("cast", Op("cast", x)), _lossless_cast),
    Rule("round_again", Op("cast", Op("cast", x)), _rounded_already),
    Rule("identity_permute", Op("permute", x), _identity_permute),
    Rule("double_permute", Op("permute", Op("permute", x)), _compose_permute),
    Rule("identity_broadcast", Op("broadcast", x), _same_type),
    Rule("double_broadcast", Op("broadcast", Op("broadcast", x)), lambda m: m.emit("broadcast", m["x"])),
    Rule("identity_reshape", Op("reshape", x), _same_type),
    Rule("double_reshape", Op("reshape", Op("reshape", x)), lambda m: m.emit("reshape", m["x"])),
    Rule("copy_of_computed", Op("copy", x), _copy_of_computed),
    Rule("pad_to_one", Op("pad", x), _pad_to_one),
    Rule("empty_reduce", Op("reduce", x), _empty_reduce),
    Rule("square", Op("pow", x, 2), lambda m: m.emit("mul", m["x"], m["x"]), exact=False),
)


def simplify(graph: Graph, strict: bool) -> Graph:
    """The rules of `SIMPLIFY`; under `strict` only the exact ones."""
    return SIMPLIFY.apply(graph, strict)
