"""The closed set of primitives, as one table: what each is, how many operands it has and what it costs.

Every node that is neither here nor control flow is a composite, whose body is its region. Passes ask this table, so
none of them holds a list of operators.
"""

from __future__ import annotations

from typing import NamedTuple

ELEMENTWISE = "elementwise"
NULLARY = "nullary"
MOVEMENT = "movement"
REDUCE = "reduce"
CONTRACTION = "contraction"
INDEXING = "indexing"
RANDOM = "random"
CONTROL = "control"
LATE = "late"
ROWS = "rows"
WINDOWS = "windows"
EFFECT = "effect"

# What it costs to compute one element once more; a load counts 2, and anything above CHEAP is kept in memory.
TRANSCENDENTAL = 20


class Demand(NamedTuple):
    """What a primitive asks of each element that it hands on; the run ends where one is out of these limits, or NaN."""

    words: str
    low: float
    high: float
    takes_nan: bool = False


# Kernels and the core know them by their place in this order.
# The least is normal: kernels that flush denormal numbers to 0 take such a bound for 0.
_GREATEST, _LEAST, _INFINITE = 1.7976931348623157e308, 2.2250738585072014e-308, float("inf")
DEMANDS: dict[str, Demand] = {
    "probability": Demand("probabilities between 0 and 1", 0.0, 1.0),
    "weight": Demand("weights that are finite and not negative", 0.0, _GREATEST),
    "weight_sum": Demand("weights whose sum is finite and above 0", _LEAST, _GREATEST),
    "finite": Demand("a range that is finite", -_GREATEST, _GREATEST),
    "span": Demand("a range whose end is not below its start", 0.0, _INFINITE),
    "input_share": Demand("an input between 0 and 1", 0.0, 1.0),
    "target_share": Demand("a target between 0 and 1", 0.0, 1.0),
    "variance": Demand("a var that is not negative", 0.0, _INFINITE, takes_nan=True),
    "deviation": Demand("a std that is not negative", 0.0, _INFINITE),
    "spread": Demand("a sigma that is not negative", 0.0, _INFINITE),
    "rate": Demand("a lambd above 0", _LEAST, _INFINITE),
    "chance": Demand("a p that is above 0 and at most 1", _LEAST, 1.0),
    "beta": Demand("a beta that is not negative", 0.0, _INFINITE, takes_nan=True),
    "delta": Demand("a delta above 0", _LEAST, _INFINITE, takes_nan=True),
    "margin": Demand("a margin above 0", _LEAST, _INFINITE, takes_nan=True),
    "greatest_norm": Demand("a maxnorm that is not negative", 0.0, _INFINITE),
    "divisor": Demand("a divisor other than 0", 1.0, 1.0),
    "real": Demand("a power that is a real number", 1.0, 1.0),
    "bounded": Demand("a power that is a float", 1.0, 1.0),
}


def demand_words(number: int) -> str:
    """What the demand at this place of the table asks for; the core calls it when a kernel has stopped."""
    return list(DEMANDS.values())[number].words


class Primitive(NamedTuple):
    """One row.

    arity   number of operands (-1: any)
    cost    rough instructions per element
    flops   floating-point operations per element that reports count
    symbol  infix operator for printing, or "" for function notation
    result  "same" (dtype of the last operand), "bool", or "any" (given by the node)
    """

    name: str
    kind: str
    arity: int
    cost: int = 1
    flops: int = 1
    symbol: str = ""
    result: str = "same"


def _rows() -> list[Primitive]:
    rows: list[Primitive] = []

    def add(kind: str, arity: int, names: str, **fields: object) -> None:
        rows.extend(Primitive(name, kind, arity, **fields) for name in names.split())  # type: ignore[arg-type]

    for name, symbol in (("add", "+"), ("sub", "-"), ("mul", "*")):
        add(ELEMENTWISE, 2, name, symbol=symbol)
    for name, symbol in (("div", "/"), ("floordiv", "//"), ("mod", "%")):
        add(ELEMENTWISE, 2, name, symbol=symbol, cost=5)
    for name, symbol in (("eq", "=="), ("ne", "!="), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">=")):
        add(ELEMENTWISE, 2, name, symbol=symbol, result="bool")
    for name, symbol in (("bit_and", "&"), ("bit_or", "|"), ("bit_xor", "^"), ("shl", "<<"), ("shr", ">>")):
        add(ELEMENTWISE, 2, name, symbol=symbol, flops=0)
    add(ELEMENTWISE, 1, "neg", symbol="-")
    add(ELEMENTWISE, 1, "bit_not", symbol="~", flops=0)
    add(ELEMENTWISE, 1, "abs sign floor ceil round trunc")
    add(ELEMENTWISE, 1, "copy", flops=0)
    add(ELEMENTWISE, 1, " ".join(DEMANDS), cost=4, flops=0)
    add(ELEMENTWISE, 1, "isnan", result="bool", flops=0)
    add(ELEMENTWISE, 1, "sqrt rsqrt reciprocal", cost=6)
    add(ELEMENTWISE, 1, "exp exp2 log log2 log1p expm1 sin cos tan tanh erf", cost=TRANSCENDENTAL)
    add(ELEMENTWISE, 1, "asin acos atan sinh cosh", cost=TRANSCENDENTAL)
    add(ELEMENTWISE, 1, "asinh acosh atanh erfc erfinv lgamma digamma", cost=2 * TRANSCENDENTAL)
    add(ELEMENTWISE, 2, "atan2 hypot fmod gcd", cost=TRANSCENDENTAL)
    add(ELEMENTWISE, 2, "copysign nextafter")
    add(ELEMENTWISE, 1, "exponent mantissa", cost=4, flops=0)
    add(ELEMENTWISE, 2, "pow", cost=2 * TRANSCENDENTAL)
    add(ELEMENTWISE, 2, "maximum minimum")
    add(ELEMENTWISE, 2, "logical_and logical_or logical_xor", result="bool", flops=0)
    add(ELEMENTWISE, 1, "logical_not", result="bool", flops=0)
    add(ELEMENTWISE, 3, "where", flops=0)
    add(ELEMENTWISE, 3, "fma", flops=2)
    add(ELEMENTWISE, 1, "cast", result="any", flops=0)
    add(NULLARY, 0, "constant iota size", cost=0, flops=0, result="any")
    add(MOVEMENT, 1, "broadcast reshape permute slice flip pad affine", cost=0, flops=0)
    add(MOVEMENT, -1, "concat", cost=0, flops=0)
    add(REDUCE, 1, "reduce", result="any")
    add(CONTRACTION, 2, "contraction", flops=2, result="any")
    add(INDEXING, 2, "gather take row", cost=4, flops=0, result="any")
    add(INDEXING, 3, "scatter scatter_add scatter_reduce take_add take_put row_update", cost=4, result="any")
    add(INDEXING, 2, "slice_update", cost=1, flops=0)
    add(RANDOM, 0, "random_key", flops=0, result="any")
    add(RANDOM, 1, "random_uniform random_bits", cost=TRANSCENDENTAL, result="any")
    add(CONTROL, -1, "cond while_loop", flops=0, result="any")
    add(ROWS, -1, "scan sort select search compress spans", cost=4, flops=0, result="any")
    add(WINDOWS, 2, "window_sums window_taps", cost=TRANSCENDENTAL, flops=2, result="any")
    add(LATE, 1, "size_of nonzero box unbox", cost=4, flops=0, result="any")
    add(LATE, 0, "require", flops=0, result="any")
    add(EFFECT, 2, "assign", flops=0, result="any")
    add(EFFECT, -1, "host_call", flops=0, result="any")
    return rows


PRIMITIVES: dict[str, Primitive] = {row.name: row for row in _rows()}
READS = frozenset({"gather", "take", "row"})  # indexing that a load can do
ORDERED = frozenset({"random_key", "assign", "host_call"})  # nodes whose order among themselves is part of the meaning


def kind_of(op: str) -> str:
    """The kind of a node by its op: a row of the table, or "composite"."""
    row = PRIMITIVES.get(op)
    return row.kind if row else "composite"


def has_effect(op: str) -> bool:
    """Whether a node must stay although nobody reads its outputs."""
    return op in ORDERED
