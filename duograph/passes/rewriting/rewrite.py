"""The two ways passes walk a graph: rewriting node by node, and into the regions of control flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from duograph.ir.graph import Graph, Node, Value
from duograph.ir.types import TensorType

Visitor: TypeAlias = "Callable[[Rewriter, Node, Node], Sequence[Value] | None]"


class Rewriter:
    """Collects the nodes of a new graph; a replaced node passes its location on to what replaces it."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.values: dict[Value, Value] = {}
        self.changed = False
        self._origin: Node | None = None

    def emit(self, op: str, inputs: Sequence[Value], attrs: dict[str, Any], type: TensorType) -> Value:
        """A new node, located where the node being replaced was."""
        origin = self._origin
        location, scope = (origin.location, origin.scope) if origin else (None, "")
        node = Node(op, tuple(inputs), attrs, (type,), (), location, scope)
        self.nodes.append(node)
        return node.outputs[0]

    def run(self, graph: Graph, visit: Visitor) -> Graph:
        """Call `visit` on each node, its operands already rewritten, and the node it was in the old graph.

        It returns the values that take the place of the outputs, or None to keep the node.
        """
        values = self.values
        for node in graph.nodes:
            old = node
            inputs = tuple(values.get(value, value) for value in node.inputs) if values else node.inputs
            if inputs != node.inputs:
                node = node.with_inputs(inputs)
                values.update(zip(old.outputs, node.outputs))
            self._origin = node
            replacement = visit(self, node, old)
            if replacement is None:
                self.nodes.append(node)
            else:
                self.changed = True
                values.update(zip(old.outputs, replacement))
        if not self.changed:
            return graph
        outputs = tuple(values.get(value, value) for value in graph.outputs)
        return graph.replace(nodes=tuple(self.nodes), outputs=outputs)


def in_regions(graph: Graph, function: Callable[[Graph], Graph]) -> Graph:
    """Apply a pass to the regions of the graph's nodes; the same graph if none changes."""
    if not any(node.regions for node in graph.nodes):
        return graph
    rewriter = Rewriter()

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        regions = tuple(function(region) for region in node.regions)
        if all(new is old for new, old in zip(regions, node.regions)):
            return None
        made = node.with_inputs(node.inputs, regions)
        rewriter.nodes.append(made)
        return made.outputs

    return rewriter.run(graph, visit)


def source(value: Value) -> Value:
    """The value behind broadcasts: what every element of a broadcast scalar is."""
    while value.node is not None and value.node.op == "broadcast":
        value = value.node.inputs[0]
    return value


def scalar_constant(value: Value) -> bool | int | float | None:
    """The number a value is everywhere, if it is a constant (broadcast or not)."""
    node = source(value).node
    if node is None or node.op != "constant":
        return None
    number = node.attrs["value"]
    return None if isinstance(number, bytes) else number
