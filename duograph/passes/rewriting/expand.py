"""Inline composites, and write sizes known to be equal as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol
from duograph.ir.primitives import PRIMITIVES
from duograph.ir.substitution import substitute


def expand(graph: Graph) -> Graph:
    """The graph with every composite replaced by its body and every `graph.equal` symbol by what it equals."""
    if not graph.equal and all(node.op in PRIMITIVES and node.op != "size_of" and not node.regions for node in graph.nodes):
        return graph
    return _expand(graph, {}, graph.equal)


class _Renamed(dict[Dim, Expr]):
    """Late sizes and what they are called from now on, also by the nodes that make them."""


def rename_sizes(graph: Graph, names: dict[Dim, Expr]) -> Graph:
    """The graph, expanded, with its late sizes under other names."""
    return _expand(graph, {}, _Renamed(names))


def _expand(graph: Graph, values: dict[Value, Value], equal: dict[Dim, Expr]) -> Graph:
    inputs = tuple(_input(value, values, equal) for value in graph.inputs)
    nodes: list[Node] = []
    _inline(graph.nodes, nodes, values, equal)
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


def _input(value: Value, values: dict[Value, Value], equal: dict[Dim, Expr]) -> Value:
    type = value.type.substitute(equal) if equal else value.type
    if type is value.type:
        return value
    values[value] = made = Value(type, None, value.index, value.name)
    return made


def _inline(source: Iterable[Node], nodes: list[Node], values: dict[Value, Value], equal: dict[Dim, Expr]) -> None:
    for node in source:
        if node.op not in PRIMITIVES:
            body = node.regions[0]
            _inline(body.nodes, nodes, values, equal)
            for output, result in zip(node.outputs, body.outputs):
                values[output] = values.get(result, result)
            continue
        nodes.append(_renew(node, values, equal))
        if node.op == "size_of":
            values[node.output] = nodes[-1].inputs[0]  # the number itself, for whoever wants it


def _renew(node: Node, values: dict[Value, Value], equal: dict[Dim, Expr]) -> Node:
    """The node itself, or a copy with other operands, regions or sizes."""
    inputs = tuple(values.get(value, value) for value in node.inputs)
    regions = tuple(_expand(region, values, equal) for region in node.regions)
    attrs = node.attrs
    types = tuple(value.type for value in node.outputs)
    if equal:
        types = tuple(type.substitute(equal) for type in types)
        attrs = _with_equal(node, equal)
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
