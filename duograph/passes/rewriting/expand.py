"""Inline composites, and write sizes known to be equal as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol
from duograph.ir.primitives import PRIMITIVES
from duograph.ir.substitution import joined, substitute
from duograph.ir.types import TensorType


def expand(graph: Graph) -> Graph:
    """The graph with every composite replaced by its body and every `graph.equal` symbol by what it equals.

    What only holds inside of a region (see `require`) is written so there, between reshapes of what goes in and out.
    """
    if not graph.equal and all(node.op in PRIMITIVES and node.op != "size_of" and not node.regions for node in graph.nodes):
        return graph
    return _expand(graph, {}, graph.equal, True)


class _Renamed(dict[Dim, Expr]):
    """Late sizes and what they are called from now on, also by the nodes that make them."""


def rename_sizes(graph: Graph, names: dict[Dim, Expr]) -> Graph:
    """The graph, expanded, with its late sizes under other names; what holds inside of its regions is not written yet."""
    return _expand(graph, {}, _Renamed(names), False)


def _expand(graph: Graph, values: dict[Value, Value], equal: dict[Dim, Expr], inside: bool) -> Graph:
    known = _known_inside(graph.nodes, equal) if inside else equal
    nodes: list[Node] = []
    inputs = tuple(_input(value, values, equal) for value in graph.inputs)
    for value, given in zip(graph.inputs, inputs) if known is not equal else ():
        values[value] = _fitted(given, given.type.substitute(known), nodes)
    _inline(graph.nodes, nodes, values, known, equal, inside)
    outputs = tuple(values.get(value, value) for value in graph.outputs)
    if nodes == list(graph.nodes) and inputs == graph.inputs and outputs == graph.outputs:
        return graph
    arguments = graph.arguments
    if equal:
        arguments = tuple(
            argument._replace(strides=tuple(substitute(stride, equal) for stride in argument.strides))
            if argument.strides
            else argument
            for argument in arguments
        )
    return graph.replace(inputs=inputs, nodes=tuple(nodes), outputs=outputs, arguments=arguments, equal={})


def _known_inside(nodes: Iterable[Node], equal: dict[Dim, Expr]) -> dict[Dim, Expr]:
    """What is equal, and what nodes of a region require to be."""
    for node in nodes:
        if node.op == "require" and node.attrs["same"]:
            equal = joined(equal, node.attrs["left"], node.attrs["right"])
        elif node.op not in PRIMITIVES:
            equal = _known_inside(node.regions[0].nodes, equal)
    return equal


def _fitted(value: Value, type: TensorType, nodes: list[Node]) -> Value:
    """The value with its sizes written in another way."""
    if value.shape == type.shape:
        return value
    nodes.append(Node("reshape", (value,), {}, (TensorType(value.dtype, type.shape, value.type.weak),)))
    return nodes[-1].output


def _given_out(node: Node, regions: Sequence[Graph], types: Sequence[TensorType]) -> list[Graph]:
    """The regions of a branch or loop with results of the types that these have outside."""
    made = []
    for at, region in enumerate(regions):
        wanted: Sequence[TensorType] = types
        if node.op == "while_loop":
            count = node.attrs["carried"]
            rows = [TensorType(type.dtype, type.shape[1:]) for type in types[count:]]
            wanted = [*types[:count], *rows] if at else [value.type for value in region.outputs]
        nodes = list(region.nodes)
        outputs = tuple(_fitted(value, type, nodes) for value, type in zip(region.outputs, wanted))
        made.append(region if len(nodes) == len(region.nodes) else region.replace(nodes=tuple(nodes), outputs=outputs))
    return made


def _input(value: Value, values: dict[Value, Value], equal: dict[Dim, Expr]) -> Value:
    type = value.type.substitute(equal) if equal else value.type
    if type is value.type:
        return value
    values[value] = made = Value(type, None, value.index, value.name)
    return made


def _inline(
    source: Iterable[Node],
    nodes: list[Node],
    values: dict[Value, Value],
    equal: dict[Dim, Expr],
    outside: dict[Dim, Expr],
    inside: bool,
) -> None:
    for node in source:
        if node.op not in PRIMITIVES:
            body = node.regions[0]
            _inline(body.nodes, nodes, values, equal, outside, inside)
            for output, result in zip(node.outputs, body.outputs):
                values[output] = values.get(result, result)
            continue
        if node.op == "require":
            nodes.append(_require(node, outside, inside))
            continue
        nodes.append(_renew(node, values, equal, inside))
        if node.op == "size_of":
            values[node.output] = nodes[-1].inputs[0]  # the number itself, for whoever wants it


def _require(node: Node, equal: dict[Dim, Expr], inside: bool) -> Node:
    """What is required, in terms of what is known outside of the region."""
    attrs = {**_with_equal(node, equal), "same": node.attrs["same"] and not inside}
    if attrs == node.attrs:
        return node
    return Node(node.op, (), attrs, (node.output.type,), (), node.location, node.scope)


def _renew(node: Node, values: dict[Value, Value], equal: dict[Dim, Expr], inside: bool) -> Node:
    """The node itself, or a copy with other operands, regions or sizes."""
    inputs = tuple(values.get(value, value) for value in node.inputs)
    regions = tuple(_expand(region, values, equal, inside) for region in node.regions)
    attrs = node.attrs
    types = tuple(value.type for value in node.outputs)
    if equal:
        types = tuple(type.substitute(equal) for type in types)
        attrs = _with_equal(node, equal)
    if inside and regions and any(each.op == "require" for region in regions for each in region.nodes):
        regions = tuple(_given_out(node, regions, types))
    same_types = all(type is value.type for type, value in zip(types, node.outputs))
    if inputs == node.inputs and same_types and attrs == node.attrs and all(a is b for a, b in zip(regions, node.regions)):
        return node
    made = Node(node.op, inputs, attrs, types, regions, node.location, node.scope)
    for new, old in zip(made.outputs, node.outputs):
        new.name = old.name
        values[old] = new
    return made


def _with_equal(node: Node, equal: dict[Dim, Expr]) -> dict[str, Any]:
    """The attributes in terms of other sizes; a late size stays what its node makes."""
    attrs = {key: _substitute(value, equal) for key, value in node.attrs.items()}
    late = late_symbol(node)
    if late is not None and type(equal) is not _Renamed:
        attrs["turns" if node.op == "while_loop" else "size"] = late
    return attrs


def _substitute(value: object, equal: dict[Dim, Expr]) -> object:
    if isinstance(value, Dim):
        return substitute(value, equal)
    if isinstance(value, tuple):
        return tuple(_substitute(item, equal) for item in value)
    return value
