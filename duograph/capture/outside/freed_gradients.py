"""Gradients that a call overwrites without a look, as `zero_grad` and `backward` do: they need not live while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from duograph.ir.graph import Graph, Node
from duograph.ir.primitives import LATE, PRIMITIVES
from duograph.passes.rewriting.hoist import may_fail

Journal = Sequence[tuple[str, Any, Any]]  # "read" or "write", the tensor, its gradient before


def freed_gradients(journal: Journal, overwritten: Sequence[Any], graph: Graph, moments: Mapping[Node, int]) -> list[int]:
    """The numbers of the tensors whose gradient is None from the start of a run.

    An error leaves that behind, too. So where nodes may fail, each of them must be one that dynamic mode comes to when the
    gradient has been made None and not been written again. `moments`: how long the journal was when a node was emitted.
    """
    failing = [node for node in graph.nodes if _can_end(node)]
    if graph.checks or any(_is_border(node) for node in graph.walk()) or any(_steers(node) for node in failing):
        return []
    if failing and any(_steers(node) for node in graph.nodes):
        return []  # gradients of regions are journalled anew
    first = min((moments.get(node, 0) for node in failing), default=None)
    last = max((moments.get(node, 0) for node in failing), default=0)
    notes: dict[int, list[tuple[int, str, Any]]] = {}
    for number, (what, tensor, before) in enumerate(journal):
        notes.setdefault(id(tensor), []).append((number, what, before))

    def is_freed(tensor: Any) -> bool:
        (start, what, _), *rest = notes[id(tensor)]
        if what != "write":
            return False
        if first is None:
            return True
        again, made = (rest[0][0], rest[0][2]) if rest else (last, tensor.grad)
        return made is None and start < first and last <= again

    return [i for i, tensor in enumerate(overwritten) if is_freed(tensor)]


def _can_end(node: Node) -> bool:
    """Whether a node, or one of its body, may end the run."""
    own = node.op in PRIMITIVES and may_fail(node)
    return own or any(_can_end(inner) for region in node.regions for inner in region.nodes)


def _is_border(node: Node) -> bool:
    return node.op == "host_call" or (node.op in PRIMITIVES and PRIMITIVES[node.op].kind == LATE)


def _steers(node: Node) -> bool:
    """A branch or a loop."""
    return node.op in PRIMITIVES and bool(node.regions)
