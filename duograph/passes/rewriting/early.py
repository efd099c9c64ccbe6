"""early: values for the way back that are computed on the way there, so that what they are made of need not be kept.

The gradient of an activation is often a product with something that only depends on the way there: gelu's is
`0.5 * (1 + erf(x / √2)) + x * φ(x)`. Computed late it keeps `x` and the error function of `x` in memory between; computed
beside the activation itself only the factor is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from duograph.ir.dim import Expr, known_le
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import ELEMENTWISE, MOVEMENT, NULLARY, PRIMITIVES, REDUCE

_FUSED = (ELEMENTWISE, MOVEMENT, REDUCE, NULLARY)


def kept_early(graph: Graph, epilogues: Set[Value], written: Iterable[Value], cheap: int) -> dict[Value, int]:
    """Elementwise values used late that take fewer bytes than what else would be kept for them, and from which node on
    they can be computed.

    Args:
        epilogues: elementwise values that a contraction's kernel ends in.
        written: values that are in memory anyway.
        cheap: what nodes cost that are computed again rather than kept.
    """
    if sum(node.op == "contraction" for node in graph.nodes) < 2:
        return {}
    return _Early(graph, epilogues, written).found(cheap)


def _is_fused(node: Node) -> bool:
    return PRIMITIVES[node.op].kind in _FUSED and node.op != "concat"


class _Early:
    """For each value its level (the last node that is no part of a fused kernel behind which it can be computed) and the
    one value that it is needed for at later levels.
    """

    def __init__(self, graph: Graph, epilogues: Set[Value], written: Iterable[Value]) -> None:
        self.graph = graph
        self.epilogues = epilogues
        self.stored = set(written)  # in memory anyway
        self.level = dict.fromkeys(graph.inputs, -1)
        self.late: dict[Value, Value | None] = {value: value for value in self.stored}  # None: several
        self.soon: set[Value] = set()  # needed at its own level, too
        self.ends: set[Value] = set()  # epilogues that are not followed by others
        for i, node in enumerate(graph.nodes):
            above = max((self.level[value] for value in node.inputs), default=-1) if _is_fused(node) else i
            self.level.update(dict.fromkeys(node.outputs, above))
        for node in reversed(graph.nodes):
            self._uses(node)

    def _uses(self, node: Node) -> None:
        """Note what a node needs, and when."""
        fused = _is_fused(node)
        above = max((self.level[value] for value in node.inputs), default=-1)
        result = node.outputs[0] if fused else None
        if not fused:
            self.stored.update(node.inputs)
        for value in node.inputs:
            if result not in self.epilogues:
                self.ends.add(value)
            if above > self.level[value]:
                self._needed(value, value)
            elif result is None or result in self.stored or PRIMITIVES[node.op].kind == REDUCE:
                self.soon.add(value)
            else:
                self._passed(value, result, PRIMITIVES[node.op].kind)

    def _passed(self, value: Value, result: Value, kind: str) -> None:
        """What is made of a value at its own level is needed; so is the value, at the latest when that is."""
        if result in self.soon:
            self.soon.add(value)
        if result in self.late:
            found = self.late[result]
            self._needed(value, value if found is result and kind == MOVEMENT else found)

    def _needed(self, value: Value, late: Value | None) -> None:
        """Note a later use; one of the value itself hides those of what is made of it."""
        if late is value:
            self.late[value] = value
        elif value not in self.late:
            self.late[value] = late
        elif self.late[value] is not value and self.late[value] is not late:
            self.late[value] = None

    def found(self, cheap: int) -> dict[Value, int]:
        """The values, and the numbers of the nodes that they can be computed behind."""
        saved: dict[Value, Expr] = {}
        for node in self.graph.nodes:
            for value in node.outputs:
                late = self.late.get(value)
                if late is not None and late is not value and self._is_kept(value, node, cheap):
                    saved[late] = saved.get(late, 0) + value.type.bytes
        return {value: self.level[value] for value, size in saved.items() if self._is_better(value, size)}

    def _is_kept(self, value: Value, node: Node, cheap: int) -> bool:
        """Whether a value would be in memory for its late uses."""
        if value in self.stored:
            return True
        if value in self.epilogues:
            return value in self.ends
        return value in self.soon and PRIMITIVES[node.op].kind == ELEMENTWISE and PRIMITIVES[node.op].cost > cheap

    def _is_better(self, value: Value, saved: Expr) -> bool:
        node = value.node
        if node is None or PRIMITIVES[node.op].kind != ELEMENTWISE or value in self.stored or value in self.epilogues:
            return False
        size = value.type.bytes
        return size != saved and known_le(size, saved)
