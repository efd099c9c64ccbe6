"""What a node does besides giving results, regions included."""

from __future__ import annotations

from .graph import Graph, Node
from .primitives import has_effect


def has_effects(node: Node) -> bool:
    """Whether a node must run although nobody reads its results."""
    return has_effect(node.op) or any(has_effects(inner) for region in node.regions for inner in region.nodes)


def must_run(node: Node) -> bool:
    """Whether a node has effects, or says that sizes must fit where it runs, regions included."""
    return has_effect(node.op) or node.op == "require" or any(must_run(n) for region in node.regions for n in region.nodes)


def calls_host(node: Node) -> bool:
    """Whether a node calls into Python: nothing that can be seen from there may cross it."""
    if not node.regions:
        return node.op == "host_call"
    return any(calls_host(inner) for region in node.regions for inner in region.nodes)


def commits(node: Node) -> bool:
    """Whether a call into Python writes inputs of the program while a branch or loop runs."""
    return bool(node.attrs.get("commits")) or any(commits(inner) for region in node.regions for inner in region.nodes)


def is_parted(graph: Graph) -> bool:
    """Whether a graph calls into Python: then it runs in parts, what is before a call before it."""
    return any(calls_host(node) for node in graph.nodes)
