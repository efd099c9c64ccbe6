"""merge_common: equal nodes become one. drop_dead: nodes nobody needs go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import has_effect

from .rewrite import Rewriter, in_regions

_UNIQUE = frozenset({"random_key", "assign", "copy"})


def _key(node: Node) -> tuple[Any, ...]:
    attrs: Any = tuple(sorted(node.attrs.items()))
    if node.op == "constant":
        value = node.attrs["value"]
        attrs = (value.__class__, value if isinstance(value, bytes) else repr(value))
    return (node.op, node.inputs, attrs, node.outputs[0].type)


def merge_common(graph: Graph) -> Graph:
    """One node for all that compute the same from the same operands; the first keeps its place and line."""
    graph = in_regions(graph, merge_common)
    seen: dict[tuple[Any, ...], Node] = {}

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        if node.regions or node.op in _UNIQUE:
            return None
        first = seen.setdefault(_key(node), node)
        return None if first is node else first.outputs

    return Rewriter().run(graph, visit)


def drop_dead(graph: Graph) -> Graph:
    """Without nodes whose results nobody reads, and without writes that a later write to the same cell hides."""
    needed = set(graph.outputs)
    written: set[Value] = set()
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.op == "random_key":
            wanted = True  # the generator advances also where nobody looks
        elif has_effect(node.op):
            wanted = node.inputs[0] not in written or any(value in needed for value in node.outputs)
            written.add(node.inputs[0])
        else:
            wanted = any(value in needed for value in node.outputs)
        if wanted:
            needed.update(node.inputs)
            kept.append(node)
    if len(kept) != len(graph.nodes):
        graph = graph.replace(nodes=tuple(reversed(kept)))
    return in_regions(graph, drop_dead)
