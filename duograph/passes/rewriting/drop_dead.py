"""drop_dead: nodes nobody needs go, and so do results, carried values, stacks and operands of branches and loops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from duograph.ir.builder import rename
from duograph.ir.dim import Dim
from duograph.ir.effects import calls_host, must_run
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol, late_symbols, mentions
from duograph.ir.substitution import symbols
from duograph.ir.types import TensorType


class _Late(NamedTuple):
    """The late sizes of a program, and those that must be known whoever else speaks of them."""

    symbols: frozenset[Dim]
    needed: frozenset[Dim]


def drop_dead(graph: Graph) -> Graph:
    """Without nodes whose results nobody reads, and without writes that a later write to the same cell hides."""
    late = frozenset(late_symbols(graph))
    sizes = [size for check in graph.checks for size in (check.left, check.right)] if late else []
    checked = {symbol for size in sizes if isinstance(size, Dim) for symbol in symbols(size)}
    return _drop(graph, _Late(late, late & checked))


def _drop(graph: Graph, late: _Late) -> Graph:
    needed = set(graph.outputs)
    sizes = set(late.needed)
    written: set[Value] = set()
    kept: list[Node] = []
    replaced: dict[Value, Value] = {}
    for node in reversed(graph.nodes):
        made = late_symbol(node) if late.symbols else None
        if calls_host(node):
            written.clear()  # Python may look at what was written before
        if node.op == "assign":
            wanted = node.inputs[0] not in written or any(value in needed for value in node.outputs)
            written.add(node.inputs[0])
        else:
            # The generator advances also where nobody looks.
            wanted = made in sizes or any(value in needed for value in node.outputs) or must_run(node)
        if not wanted:
            continue
        if node.regions:
            node = _prune(node, needed, made in sizes, late, replaced)
        needed.update(node.inputs)
        if late.symbols:
            sizes |= mentions(node) & late.symbols
        kept.append(node)
    nodes = tuple(reversed(kept))
    if len(nodes) == len(graph.nodes) and all(new is old for new, old in zip(nodes, graph.nodes)):
        return graph
    return _connected(graph.replace(nodes=nodes), replaced) if replaced else graph.replace(nodes=nodes)


def _connected(graph: Graph, replaced: dict[Value, Value]) -> Graph:
    """The graph with everybody reading the results of the nodes that took the place of others."""
    origins: dict[Value, list[Value]] = {}
    for old, new in replaced.items():
        origins.setdefault(new, []).append(old)
    values: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        ((made,), _) = rename(Graph((), (node,), ()), values)
        for value, final in zip(node.outputs, made.outputs):
            values.update(dict.fromkeys(origins.get(value, ()), final))
        nodes.append(made)
    return graph.replace(nodes=tuple(nodes), outputs=tuple(values.get(value, value) for value in graph.outputs))


def _prune(node: Node, needed: set[Value], turns: bool, late: _Late, replaced: dict[Value, Value]) -> Node:
    """The node with only those results and operands that somebody needs; `replaced` gets its results."""
    regions = tuple(_drop(region, late) for region in node.regions)
    if any(new is not old for new, old in zip(regions, node.regions)):
        old, node = node, node.with_inputs(node.inputs, regions)
        needed.update(new for new, before in zip(node.outputs, old.outputs) if before in needed)
        replaced.update(zip(old.outputs, node.outputs))
    else:
        old = node
    if node.op == "while_loop":
        made, kept = _prune_loop(node, needed, turns, late)
    elif node.op == "cond":
        made, kept = _prune_branch(node, needed, late)
    else:
        return node
    if made is node:
        return node
    for value, position in zip(made.outputs, kept):
        value.name = node.outputs[position].name
        replaced[old.outputs[position]] = value
    return made


def _reads(region: Graph, outputs: Iterable[Value], late: _Late) -> set[int]:
    """The positions of the inputs that some outputs of a region, and its effects, depend on."""
    needed = set(outputs)
    sizes = set(late.needed)
    for node in reversed(region.nodes):
        made = late_symbol(node) if late.symbols else None
        if made in sizes or must_run(node) or any(value in needed for value in node.outputs):
            needed.update(node.inputs)
            if late.symbols:
                sizes |= mentions(node) & late.symbols
    return {i for i, value in enumerate(region.inputs) if value in needed}


def _prune_loop(node: Node, needed: set[Value], turns: bool, late: _Late) -> tuple[Node, list[int]]:
    """A carried value stays if its last value is needed, or if the test, a row or another that stays depends on it."""
    carried = node.attrs["carried"]
    test, body = node.regions
    rows = [i for i in range(carried, len(node.outputs)) if node.outputs[i] in needed]
    if turns and not rows and len(node.outputs) > carried:
        rows = [carried]  # one stack stays for the sake of its size
    live = {i for i in range(carried) if node.outputs[i] in needed}
    while True:
        reads = _reads(test, test.outputs, late) | _reads(body, (body.outputs[i] for i in (*live, *rows)), late)
        more = live | {i for i in reads if i < carried}
        if more == live:
            break
        live = more
    operands = sorted(live | {i for i in reads if i >= carried})
    results = [*sorted(live), *rows]
    if len(operands) == len(node.inputs) and len(results) == len(node.outputs):
        return node, results
    if not results:  # nothing but its effects is wanted; the results say that it is a node
        return node, results
    regions = (_restricted(test, operands, [0], late), _restricted(body, operands, results, late))
    attrs = {**node.attrs, "carried": len(live)}
    if "stacked" in attrs:
        attrs["stacked"] = len(rows)
        if not rows:
            attrs = {key: value for key, value in attrs.items() if key not in ("stacked", "trips", "turns")}
    return _rebuilt(node, [node.inputs[i] for i in operands], attrs, results, regions), results


def _prune_branch(node: Node, needed: set[Value], late: _Late) -> tuple[Node, list[int]]:
    results = [i for i, value in enumerate(node.outputs) if value in needed]
    if not results:
        return node, results
    reads: set[int] = set()
    for region in node.regions:
        reads |= _reads(region, (region.outputs[i] for i in results), late)
    operands = sorted(reads)
    if len(operands) == len(node.inputs) - 1 and len(results) == len(node.outputs):
        return node, results
    regions = tuple(_restricted(region, operands, results, late) for region in node.regions)
    inputs = [node.inputs[0], *(node.inputs[1 + i] for i in operands)]
    return _rebuilt(node, inputs, node.attrs, results, regions), results


def _restricted(region: Graph, inputs: Sequence[int], outputs: Sequence[int], late: _Late) -> Graph:
    """A region with some of its inputs and results."""
    kept = _drop(region.replace(outputs=tuple(region.outputs[i] for i in outputs)), late)
    made = [Value(region.inputs[i].type, None, at, region.inputs[i].name) for at, i in enumerate(inputs)]
    nodes, results = rename(kept, {region.inputs[i]: value for i, value in zip(inputs, made)})
    return Graph(tuple(made), nodes, results, name=region.name)


def _rebuilt(
    node: Node, inputs: Sequence[Value], attrs: dict[str, Any], results: Sequence[int], regions: tuple[Graph, ...]
) -> Node:
    types: list[TensorType] = [node.outputs[i].type for i in results]
    return Node(node.op, tuple(inputs), attrs, tuple(types), regions, node.location, node.scope)
