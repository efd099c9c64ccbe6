"""What of a session graph goes into a file: placeholders, variables, tensors, and operations that write to variables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from duograph.errors import GraphError
from duograph.graph.building import Graph
from duograph.graph.dtypes import string
from duograph.graph.elements import Operation, Tensor
from duograph.graph.variables import Variable

_GIVEN = ("Placeholder", "PlaceholderWithDefault")


class Parts:
    """The outermost operations of a graph by what becomes of them.

    placeholders  tensors that are fed
    variables     all of them
    operations    those that change no variable; `tensors`: what they compute
    order         names of placeholders and operations as they were built
    effects       operations that change variables, or come behind such a change: those that nothing else reads, those that
                  collections name, and initializers
    left_out      by name: why an operation is in no file
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.placeholders: list[Tensor] = []
        self.variables: list[Variable] = []
        self.tensors: list[Tensor] = []
        self.effects: list[Operation] = []
        self.left_out: dict[str, str] = {}
        self.operations: list[Operation] = []
        self.order: list[str] = []
        writing: list[Operation] = []
        tainted: set[Operation] = set()
        for node in graph.get_operations():
            if node.region is not None:
                continue
            before = {x.node for x in (*node.inputs, *node.attrs.get("captures", ()))} | {*node.control_inputs}
            reason = _reason(node) or next((f"it reads {x.name}" for x in before if x.name in self.left_out), None)
            if reason is not None:
                self.left_out[node.name] = reason
            elif isinstance(node.outputs[0] if node.outputs else None, Variable):
                self.variables.append(node.outputs[0])  # type: ignore[arg-type]
            elif node.op in _GIVEN:
                self.placeholders.append(node.output)
                self.order.append(node.name)
            elif _writes(node) or not tainted.isdisjoint(before):
                tainted.add(node)
                writing.append(node)
            else:
                self.operations.append(node)
                self.order.append(node.name)
                self.tensors += node.outputs
        self._choose(writing)

    def leave_out(self, unmade: Iterable[Tensor]) -> None:
        """Operations whose results turned out to be no tensors."""
        for tensor in unmade:
            node = tensor.node
            self.left_out[node.name] = "it is an array without elements"
            self.operations.remove(node)
            self.order.remove(node.name)
            self.tensors = [x for x in self.tensors if x.node is not node]

    def _choose(self, writing: Iterable[Operation]) -> None:
        named = {x.node if isinstance(x, Tensor) else x for x in _elements(self.graph)}
        kept = named | {x.initializer for x in self.variables}
        read: set[Operation] = set()
        for node in self.graph.get_operations():
            read |= {*(x.node for x in node.inputs), *node.control_inputs}
        for node in writing:
            if node in kept or node not in read:
                self.effects.append(node)
            else:
                self.left_out[node.name] = "it is a part of an operation that changes variables"


def _elements(graph: Graph) -> list[Any]:
    """The operations and tensors that collections have."""
    found = [x for key in graph.get_all_collection_keys() for x in graph.get_collection(key)]
    return [x for x in found if isinstance(x, (Operation, Tensor))]


def _reason(node: Operation) -> str | None:
    """Why an operation cannot be in a file. GraphError for what nothing can be without."""
    if node.op == "PyFunc":
        raise GraphError(f"export_meta_graph: {node.name!r} calls Python, which a file cannot", [node.built_at])
    if node.definition.host is not None:
        return "it is made by Python when a run is done"
    if any(x.dtype is string for x in node.outputs):
        return "it is a text"
    return None


def _writes(node: Operation) -> bool:
    """Whether it changes variables, or something in its branches and loops does."""
    if node.definition.stateful and node.op != "AssertVariablesInitialized" and any(isinstance(x, Variable) for x in node.inputs):
        return True
    return any(_writes(inner) for region in node.regions for inner in region.nodes)  # type: ignore[arg-type]
