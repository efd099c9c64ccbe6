"""How many turns loops make, where that is known before they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from duograph.ir.dim import Expr, known_ge
from duograph.ir.graph import Graph, Node, Value

from .rewrite import scalar_constant


class Counter:
    """The whole numbers that values of one graph are known to be, and its loops that count up to one.

    loops  (turns, position of the counter among the carried values, number it starts with) of each loop
    """

    def __init__(self, graph: Graph, given: Mapping[Value, Expr] | None = None) -> None:
        self.numbers: dict[Value, Expr] = dict(given or {})
        self.loops: dict[Node, tuple[Expr, int, Expr]] = {}
        for node in graph.nodes:
            found = self._counted(node) if node.op == "while_loop" else None
            if found is not None:
                self.loops[node] = found
                self.numbers[node.outputs[found[1]]] = found[2] + found[0]

    def number(self, value: Value) -> Expr | None:
        """The whole number that a value is."""
        known = self.numbers.get(value)
        if known is not None or value.shape != () or value.dtype.kind not in "iu":
            return known
        if value.node is not None and value.node.op == "size":
            size: Expr = value.node.attrs["value"]
            return size
        constant = scalar_constant(value)
        return constant if type(constant) is int else None

    def inside(self, node: Node, region: Graph) -> dict[Value, Expr]:
        """What is known of the values that a region is given: those that no turn changes."""
        first = node.attrs["carried"] if node.op == "while_loop" else 0
        given = node.inputs if node.op == "while_loop" else node.inputs[1:]
        pairs = list(zip(region.inputs, given))[first:]
        return {inner: number for inner, outer in pairs if (number := self.number(outer)) is not None}

    def _counted(self, loop: Node) -> tuple[Expr, int, Expr] | None:
        """(turns, position of the counter, start) of a loop that counts by ones to a known number."""
        test, body = loop.regions
        less = test.outputs[0].node
        if less is None or less.op != "lt" or less.inputs[0] not in test.inputs:
            return None
        counter = test.inputs.index(less.inputs[0])
        add = body.outputs[counter].node if counter < loop.attrs["carried"] else None
        if add is None or add.op != "add" or body.inputs[counter] not in add.inputs:
            return None
        steps = [scalar_constant(value) for value in add.inputs if value is not body.inputs[counter]]
        end, start = self._end(loop, less.inputs[1]), self.number(loop.inputs[counter])
        if steps != [1] or end is None or start is None or not known_ge(end - start, 0):
            return None
        return end - start, counter, start

    def _end(self, loop: Node, value: Value) -> Expr | None:
        """The number that a value of the test is in every turn."""
        test = loop.regions[0]
        if value not in test.inputs:
            return self.number(value)
        at = test.inputs.index(value)
        return self.number(loop.inputs[at]) if at >= loop.attrs["carried"] else None


def turns(graph: Graph, given: Mapping[Value, Expr] | None = None) -> Iterator[tuple[Node, Expr]]:
    """All loops of a graph, those in regions included, that make a known number of turns."""
    if not any(node.regions for node in graph.nodes):
        return
    counter = Counter(graph, given)
    yield from ((node, found[0]) for node, found in counter.loops.items())
    for node in graph.nodes:
        if node.op in ("while_loop", "cond"):
            for region in node.regions:
                yield from turns(region, counter.inside(node, region))
