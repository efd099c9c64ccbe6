"""What fusion weighs: the cost of computing values again, where contractions can end, what are statistics of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from duograph.ir.dim import Expr, product
from duograph.ir.graph import Graph, Value
from duograph.ir.primitives import ELEMENTWISE, MOVEMENT, NULLARY, PRIMITIVES

from .early import kept_early

LOAD_COST = 2
EXPENSIVE = 1000
MAX_REDUCTIONS = 8  # in one kernel, each 16 partial sums
CHEAP = 10  # a value that costs at most this is computed again rather than kept for several kernels


class Costs:
    """Facts about the values of one graph; `written` are those that must be in memory anyway.

    shallow     cost of an element where operands that are not cheap are loaded
    deep        cost of an element from memory
    epilogues   elementwise values that the kernel of a contraction, or of sums over windows, can end in
    joined      values kept in kernels of their own, so that few of a long sum's terms are alive and kernels stay small:
                epilogues that go into another contraction's epilogue, sums of many reductions
    statistics  values computed from a reduction over trailing dims, and how many elements that reduces
    early       values kept for later kernels rather than what they are computed from, and behind which node (see early)
    """

    def __init__(self, graph: Graph, written: Iterable[Value]) -> None:
        self.epilogues = _epilogues(graph, written)
        self.joined = _joined(graph, self.epilogues) | _many_reductions(graph)
        self.shallow = _costs(graph, self.epilogues, CHEAP)
        self.deep = _costs(graph, self.epilogues, EXPENSIVE)
        self.statistics = _statistics(graph)
        self.early = kept_early(graph, self.epilogues, written, CHEAP)

    def again(self, value: Value) -> int:
        """What it costs to compute an element in one more kernel."""
        return EXPENSIVE if value in self.epilogues else self.shallow.get(value, EXPENSIVE)

    def whole(self, value: Value) -> int:
        """What it costs to compute an element from memory."""
        return self.deep.get(value, EXPENSIVE)


def _costs(graph: Graph, epilogues: set[Value], limit: int) -> dict[Value, int]:
    """What it takes to compute an element of each value again, where operands that cost more than `limit` are loaded."""
    costs: dict[Value, int] = {}
    for node in graph.nodes:
        row = PRIMITIVES[node.op]
        if row.kind == ELEMENTWISE or row.kind == MOVEMENT:
            cost = row.cost
            for value in node.inputs:
                operand = LOAD_COST if value in epilogues else costs.get(value, LOAD_COST)
                cost += operand if operand <= limit else LOAD_COST
            costs[node.outputs[0]] = cost
        elif row.kind == NULLARY or node.op in ("random_uniform", "random_bits"):
            costs[node.outputs[0]] = row.cost
        elif node.op == "row":
            costs[node.outputs[0]] = 2 * LOAD_COST  # the position, too
    return costs


def _epilogues(graph: Graph, written: Iterable[Value]) -> set[Value]:
    """Elementwise values that kernels of sums of products can end in: nobody else reads what they are made of."""
    uses = Counter(value for node in graph.nodes for value in node.inputs)
    uses.update(written)
    ends: set[Value] = set()
    for node in graph.nodes:
        if node.op in ("contraction", "window_sums"):
            ends.add(node.outputs[0])
        if PRIMITIVES[node.op].kind == ELEMENTWISE:
            ends.update(node.outputs if any(value in ends and uses[value] == 1 for value in node.inputs) else ())
    return ends


def _joined(graph: Graph, epilogues: set[Value]) -> set[Value]:
    """Of the operands of a node that contractions can end in, all but the last."""
    found: set[Value] = set()
    order: dict[Value, int] = {}
    for node in graph.nodes:
        order.update((value, len(order)) for value in node.outputs)
        if PRIMITIVES[node.op].kind == ELEMENTWISE and len(node.inputs) > 1:
            ends = [value for value in dict.fromkeys(node.inputs) if value in epilogues]
            if len(ends) > 1:
                last = max(ends, key=order.__getitem__)
                found.update(value for value in ends if value is not last)
    return found


def _many_reductions(graph: Graph) -> set[Value]:
    """Values in memory so that no kernel has many reductions: those made of most, below a limit."""
    found: set[Value] = set()
    made_of: dict[Value, frozenset[Value]] = {}
    for node in graph.nodes:
        row = PRIMITIVES[node.op]
        if node.op == "reduce":
            made_of[node.outputs[0]] = frozenset(node.outputs)
        elif row.kind == ELEMENTWISE or row.kind == MOVEMENT:
            parts = {value: made_of[value] for value in node.inputs if value in made_of}
            together = frozenset().union(*parts.values())
            if len(together) > MAX_REDUCTIONS:
                most = max(parts, key=lambda value: len(parts[value]))
                found.add(most)
                del made_of[most], parts[most]
                together = frozenset().union(*parts.values())
            if together:
                made_of[node.outputs[0]] = together
    return found


def _statistics(graph: Graph) -> dict[Value, Expr]:
    """Values computed from reductions of trailing dims, element by element, and how many elements those reduce."""
    found: dict[Value, Expr] = {}
    for node in graph.nodes:
        row = PRIMITIVES[node.op]
        if node.op == "reduce":
            shape, dims = node.inputs[0].shape, node.attrs["dims"]
            if all(d in dims for d in range(min(dims, default=0), len(shape))):
                found[node.outputs[0]] = product([shape[d] for d in dims])
        elif row.kind == ELEMENTWISE or node.op in ("reshape", "broadcast"):
            extent = next((found[value] for value in node.inputs if value in found), None)
            if extent is not None:
                found[node.outputs[0]] = extent
    return found
