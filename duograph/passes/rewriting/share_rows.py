"""share_rows: where a loop keeps a variable both before and after each turn, the rows of after serve for both.

What a turn starts with is what the turn before it ended with, or, in turn 0, the initial value. So whoever reads
single rows of the values before reads the rows of the values after instead, one earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from duograph import _core as core
from duograph.ir.builder import rename
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.types import TensorType

from .rewrite import in_regions


class Shared(NamedTuple):
    """Rows that others take the place of: the rows of before, those of after, the variable's initial value."""

    before: Value
    after: Value
    initial: Value


def share_rows(graph: Graph) -> Graph:
    """The graph with loops that keep each carried variable once, bit for bit the same."""
    graph = in_regions(graph, share_rows)
    found = {pair.before: pair for node in graph.nodes for pair in shared(node)}
    if not found:
        return graph
    users = graph.users()
    read = {v: p for v, p in found.items() if v not in graph.outputs and all(_reads_rows(u, v) for u in users.get(v, ()))}
    if not any(users.get(value) for value in read):
        return graph
    nodes, outputs = _rewritten(graph, list(read.values()))
    return graph.replace(nodes=nodes, outputs=outputs)


def shared(node: Node) -> list[Shared]:
    """The pairs of stacks of a loop of which one holds the other's rows, one turn later."""
    if node.op != "while_loop" or not node.attrs.get("stacked"):
        return []
    carried = node.attrs["carried"]
    body = node.regions[1]
    after = {value: i for i, value in reversed(list(enumerate(body.outputs[carried:], carried)))}
    found = []
    for i in range(carried):
        start, end = body.inputs[i], body.outputs[i]
        if start is not end and start in after and end in after:
            found.append(Shared(node.outputs[after[start]], node.outputs[after[end]], node.inputs[i]))
    return found


def _reads_rows(node: Node, stack: Value) -> bool:
    """Whether all that a node reads of a stack is single rows."""
    if node.op == "row":
        return node.inputs[0] is stack and node.inputs[1] is not stack
    if node.op not in ("while_loop", "cond"):
        return False
    first = node.attrs["carried"] if node.op == "while_loop" else 1
    if any(value is stack for value in node.inputs[:first]):
        return False
    offset = 0 if node.op == "while_loop" else 1
    for i in (i for i, value in enumerate(node.inputs) if value is stack):
        for region in node.regions:
            inner = region.inputs[i - offset]
            inside = region.users().get(inner, ())
            if inner in region.outputs or not all(_reads_rows(user, inner) for user in inside):
                return False
    return True


def _rewritten(graph: Graph, pairs: Sequence[Shared]) -> tuple[tuple[Node, ...], tuple[Value, ...]]:
    """Nodes and results of a graph or region that reads the rows of after."""
    values: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        ((made,), _) = rename(Graph((), (node,), ()), values)
        read = [pair for pair in pairs if pair.before in node.inputs]
        if read and node.op == "row":
            nodes += _row(made, values.get(read[0].after, read[0].after), values.get(read[0].initial, read[0].initial))
            values[node.output] = nodes[-1].output
            continue
        if read:
            made = _reading_after(node, made, read, values)
        if made is not node:
            values.update(zip(node.outputs, made.outputs))
        nodes.append(made)
    return tuple(nodes), tuple(values.get(value, value) for value in graph.outputs)


def _reading_after(old: Node, node: Node, pairs: Sequence[Shared], values: Mapping[Value, Value]) -> Node:
    """A loop or branch whose regions read the rows of after."""
    offset = 0 if node.op == "while_loop" else 1
    extra = [values.get(value, value) for pair in pairs for value in (pair.after, pair.initial)]
    regions = []
    for region in node.regions:
        added = [Value(v.type, None, len(region.inputs) + i, v.name) for i, v in enumerate(extra)]
        inside = [
            Shared(region.inputs[i - offset], added[2 * p], added[2 * p + 1])
            for p, pair in enumerate(pairs)
            for i, value in enumerate(old.inputs)
            if value is pair.before
        ]
        nodes, outputs = _rewritten(region, inside)
        regions.append(Graph((*region.inputs, *added), nodes, outputs, name=region.name))
    return node.with_inputs((*node.inputs, *extra), tuple(regions))


def _row(node: Node, after: Value, initial: Value) -> list[Node]:
    """initial if index == 0 else after[max(index - 1, 0)]"""
    index = node.inputs[1]
    row = node.output.type
    made: list[Node] = []

    def emit(op: str, inputs: Sequence[Value], type: TensorType, **attrs: object) -> Value:
        made.append(Node(op, tuple(inputs), attrs, (type,), (), node.location, node.scope))
        return made[-1].output

    zero = emit("constant", (), index.type, value=0)
    one = emit("constant", (), index.type, value=1)
    earlier = emit("maximum", (emit("sub", (index, one), index.type), zero), index.type)
    first = emit("eq", (index, zero), TensorType(core.bool, ()))
    if row.shape:
        first = emit("broadcast", (first,), TensorType(core.bool, row.shape))
    emit("where", (first, initial, emit("row", (after, earlier), row)), row)
    return made
