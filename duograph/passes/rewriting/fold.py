"""fold_constants: arithmetic on numbers that is done once, here, with the bits a kernel would give."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import ELEMENTWISE, PRIMITIVES

from .rewrite import Rewriter, in_regions, scalar_constant

# Correctly rounded in float64, hence (53 >= 2 * 24 + 2) also after one more rounding to float32.
_FLOAT: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "abs": abs,
    "copy": lambda a: a,
}
_INTEGER: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "copy": lambda a: a,
}
_COMPARE: dict[str, Callable[..., bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def round_to(value: float, dtype: Any) -> float | None:
    """A float as this dtype holds it; None where that is left to the kernels."""
    if dtype.name == "float64":
        return value
    if dtype.name == "float32":
        try:
            return float(struct.unpack("f", struct.pack("f", value))[0])
        except OverflowError:
            return math.copysign(math.inf, value)
    return None


def wrap(value: int, dtype: Any) -> int:
    """An integer modulo the range of this dtype."""
    bits = 8 * dtype.itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value


def _cast(value: bool | int | float, dtype: Any) -> bool | int | float | None:
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind == "f":
        return round_to(float(value), dtype)
    if isinstance(value, float):
        return None
    return wrap(int(value), dtype)


def _fold(node: Node, numbers: list[bool | int | float]) -> bool | int | float | None:
    operand, result = node.inputs[0].dtype, node.outputs[0].dtype
    if node.op == "cast":
        return _cast(numbers[0], result)
    if node.op in _COMPARE:
        return _COMPARE[node.op](*numbers)
    if operand.kind == "f" and node.op in _FLOAT:
        return round_to(_FLOAT[node.op](*map(float, numbers)), result)
    if operand.kind == "f" and node.op == "div" and numbers[1] != 0 and math.isfinite(numbers[0]):
        return round_to(numbers[0] / numbers[1], result)
    if operand.kind in "iu" and node.op in _INTEGER:
        return wrap(_INTEGER[node.op](*map(int, numbers)), result)
    return None


def fold_constants(graph: Graph) -> Graph:
    """Elementwise nodes over constants become constants."""
    graph = in_regions(graph, fold_constants)

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        row = PRIMITIVES[node.op]
        if row.kind != ELEMENTWISE:
            return None
        numbers = []
        for value in node.inputs:
            number = scalar_constant(value)
            if number is None:
                return None
            numbers.append(number)
        folded = _fold(node, numbers)
        if folded is None:
            return None
        type = node.outputs[0].type
        constant = rewriter.emit("constant", (), {"value": folded}, type.with_shape(()))
        return [constant if type.shape == () else rewriter.emit("broadcast", [constant], {}, type)]

    return Rewriter().run(graph, visit)
