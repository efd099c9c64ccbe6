"""merge_common: equal nodes become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import ORDERED

from .rewrite import Rewriter, in_regions

_T = TypeVar("_T")
_UNIQUE = ORDERED | {"copy"}
# The same bits with the operands exchanged.
_COMMUTATIVE = frozenset(("add", "mul", "eq", "ne", "logical_and", "logical_or", "logical_xor"))


def key_of(node: Node) -> tuple[Any, ...]:
    """What a node without regions computes, and from what."""
    attrs: Any = tuple(sorted(node.attrs.items()))
    if node.op == "constant":
        value = node.attrs["value"]
        attrs = (value.__class__, value if isinstance(value, bytes) else repr(value))
    return (node.op, in_one_order(node.op, node.inputs, id), attrs, node.outputs[0].type)


def in_one_order(op: str, operands: Sequence[_T], key: Callable[[_T], int] | None = None) -> tuple[_T, ...]:
    """The operands, those that may be exchanged in the order of a key."""
    return tuple(sorted(operands, key=key)) if op in _COMMUTATIVE else tuple(operands)  # type: ignore[type-var, arg-type]


def merge_common(graph: Graph) -> Graph:
    """One node for all that compute the same from the same operands; the first keeps its place and line."""
    graph = in_regions(graph, merge_common)
    seen: dict[tuple[Any, ...], Node] = {}

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        # What a box holds stays while its own node runs once more: one node for two would run when either does.
        if node.regions or node.op in _UNIQUE or (node.op == "box" and not node.attrs["keep"]):
            return None
        first = seen.setdefault(key_of(node), node)
        return None if first is node else first.outputs

    return Rewriter().run(graph, visit)
