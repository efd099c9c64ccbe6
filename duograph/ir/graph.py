"""The graph: values in single assignment, nodes in program order, regions for control flow and composites.

Nodes and graphs are not changed after they are built: a pass makes new ones and shares what stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .dim import Dim, Expr
from .location import Location
from .types import TensorType


class Value:
    """One tensor of a program: output `index` of `node`, or an input of a graph where `node` is None."""

    __slots__ = ("__weakref__", "index", "name", "node", "type")

    def __init__(self, type: TensorType, node: Node | None = None, index: int = 0, name: str = "") -> None:
        self.type = type
        self.node = node
        self.index = index
        self.name = name

    @property
    def shape(self) -> tuple[Expr, ...]:
        return self.type.shape

    @property
    def dtype(self) -> Any:
        return self.type.dtype

    def __repr__(self) -> str:
        source = self.node.op if self.node else "input"
        return f"<Value {self.name or '_'}: {self.type} of {source}>"


class Operand(NamedTuple):
    """A tensor among a composite's arguments: the number of the node's input that it is, None where the body does not read it."""

    number: int | None


class Node:
    """One operation. `op` is a primitive, a control-flow node, or the name of a composite whose body is `regions[0]`.

    `call` says what a composite's operator was called with, by parameter: `Operand`s, tuples of them, numbers and attributes.
    """

    __slots__ = ("attrs", "call", "inputs", "location", "op", "outputs", "regions", "scope")

    def __init__(
        self,
        op: str,
        inputs: tuple[Value, ...],
        attrs: dict[str, Any],
        types: tuple[TensorType, ...],
        regions: tuple[Graph, ...] = (),
        location: Location | None = None,
        scope: str = "",
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.regions = regions
        self.location = location
        self.scope = scope
        self.call: dict[str, Any] = {}
        self.outputs = tuple(Value(type, self, index) for index, type in enumerate(types))

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value

    def with_inputs(self, inputs: tuple[Value, ...], regions: tuple[Graph, ...] | None = None) -> Node:
        """A copy of this node that reads other values."""
        types = tuple(value.type for value in self.outputs)
        made = Node(self.op, inputs, self.attrs, types, self.regions if regions is None else regions, self.location, self.scope)
        made.call = self.call
        for new, old in zip(made.outputs, self.outputs):
            new.name = old.name
        return made

    def __repr__(self) -> str:
        return f"<Node {self.op}({', '.join(value.name or '_' for value in self.inputs)})>"


class Argument(NamedTuple):
    """How a graph input arrives.

    kind     "tensor", "number" (a 0-d operand that comes as a Python number) or "cell" (a tensor that is written)
    strides  per dimension, in elements: ints are facts, symbols are read when the program runs; None: contiguous
    origin   "argument" of the call, or "state" reached in another way (parameters, closures, globals)
    """

    kind: str = "tensor"
    strides: tuple[Expr, ...] | None = None
    origin: str = "argument"


class Check(NamedTuple):
    """A relation between sizes that must hold when the program runs ("eq", "ne", "lt" or "le"); `code` says which failed."""

    relation: str
    left: Expr
    right: Expr
    code: int


class Graph:
    """Inputs, nodes in an order in which every value is defined before it is used, and outputs.

    `sizes` are the integer operands (symbols) that come beside the tensors. `equal` maps symbols to what a check
    makes them equal to, so that the expand pass can write one for the other.
    """

    __slots__ = ("arguments", "checks", "equal", "inputs", "name", "nodes", "outputs", "sizes")

    def __init__(
        self,
        inputs: tuple[Value, ...],
        nodes: tuple[Node, ...],
        outputs: tuple[Value, ...],
        arguments: tuple[Argument, ...] = (),
        sizes: tuple[Dim, ...] = (),
        checks: tuple[Check, ...] = (),
        equal: dict[Dim, Expr] | None = None,
        name: str = "graph",
    ) -> None:
        self.inputs = inputs
        self.nodes = nodes
        self.outputs = outputs
        self.arguments = arguments or tuple(Argument() for _ in inputs)
        self.sizes = sizes
        self.checks = checks
        self.equal = equal or {}
        self.name = name

    def replace(self, **changes: Any) -> Graph:
        """A copy with some fields changed."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields.update(changes)
        return Graph(**fields)

    def walk(self) -> Iterator[Node]:
        """All nodes, those in regions included."""
        for node in self.nodes:
            yield node
            for region in node.regions:
                yield from region.walk()

    def users(self) -> dict[Value, list[Node]]:
        """For each value the nodes of this graph that read it, in order; a node that reads it twice is listed twice."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                found.setdefault(value, []).append(node)
        return found

    def __str__(self) -> str:
        from .text import print_graph

        return print_graph(self)


def free_values(graph: Graph) -> list[Value]:
    """Values a region reads that are defined outside of it, each once, in order of first use."""
    defined: set[Value] = set(graph.inputs)
    found: dict[Value, None] = {}
    for node in graph.nodes:
        for region in node.regions:
            for value in free_values(region):
                if value not in defined:
                    found.setdefault(value)
        for value in node.inputs:
            if value not in defined:
                found.setdefault(value)
        defined.update(node.outputs)
    for value in graph.outputs:
        if value not in defined:
            found.setdefault(value)
    return list(found)
