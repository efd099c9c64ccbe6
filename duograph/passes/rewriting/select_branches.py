"""select_branches: both sides of a small branch are computed, and its results chosen, so that they fuse with the rest."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.ir.dim import product
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import DEMANDS, ELEMENTWISE, PRIMITIVES
from duograph.ir.types import TensorType

from .rewrite import Rewriter, in_regions, scalar_constant

MAX_COST = 30  # instructions of both sides together: what a step or a jump that was guessed wrong costs
MAX_ELEMENTS = 64

# What stops the program for some integers must not run where the branch is not taken.
_CAN_FAIL = frozenset({"floordiv", "mod", "pow"})


def select_branches(graph: Graph) -> Graph:
    """The graph with small branches without effects as `where`."""
    return Rewriter().run(in_regions(graph, select_branches), _visit)


def _visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
    if node.op != "cond" or not _is_cheap(node):
        return None
    predicate, *operands = node.inputs
    then, otherwise = (_inline(rewriter, region, operands) for region in node.regions)
    return [_choose(rewriter, predicate, a, b) for a, b in zip(then, otherwise)]


def _is_cheap(node: Node) -> bool:
    inner = [inner for region in node.regions for inner in region.nodes]
    if sum(PRIMITIVES[each.op].cost for each in inner) > MAX_COST or not all(map(_is_safe, inner)):
        return False
    return all(_is_few(a) or x is y for a, x, y in zip(node.outputs, *(_origins(node, region) for region in node.regions)))


def _origins(node: Node, region: Graph) -> list[Value]:
    """What a region returns: outer values where it passes them on."""
    outer = dict(zip(region.inputs, node.inputs[1:]))
    return [outer.get(value, value) for value in region.outputs]


def _is_safe(node: Node) -> bool:
    """Whether a node may run where nobody wants it, and costs little."""
    if not all(map(_is_few, node.outputs)):
        return False
    if node.op in DEMANDS:
        return False
    if node.op in _CAN_FAIL and node.outputs[0].dtype.kind != "f":
        return node.op != "pow" and bool(scalar_constant(node.inputs[1]))
    return PRIMITIVES[node.op].kind == ELEMENTWISE or node.op in ("constant", "size", "broadcast", "reshape", "permute")


def _is_few(value: Value) -> bool:
    count = product(value.shape)
    return isinstance(count, int) and count <= MAX_ELEMENTS


def _inline(rewriter: Rewriter, region: Graph, operands: Sequence[Value]) -> list[Value]:
    values = dict(zip(region.inputs, operands))
    for node in region.nodes:
        made = node.with_inputs(tuple(values[value] for value in node.inputs))
        rewriter.nodes.append(made)
        values.update(zip(node.outputs, made.outputs))
    return [values[value] for value in region.outputs]


def _choose(rewriter: Rewriter, predicate: Value, a: Value, b: Value) -> Value:
    if a is b:
        return a
    if a.shape:
        predicate = rewriter.emit("broadcast", [predicate], {}, TensorType(predicate.dtype, a.shape))
    chosen = rewriter.emit("where", [predicate, a, b], {}, TensorType(a.dtype, a.shape))
    chosen.name = a.name
    return chosen
