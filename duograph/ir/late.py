"""Late sizes: symbols whose values are known only once a node has run.

A `while_loop` that keeps a row of each turn, with no number of turns known beforehand, makes one (its attribute
`turns`, or the first size of its stacks); `size_of` makes one from a number and `nonzero` from a count.

What must hold of them where a branch's side or a loop's body runs, and only there, is said by a `require` node inside: `left`
and `right` are in `relation`; with `same`, what is between this region's operands and results may have either for a size.
"""

from __future__ import annotations

from collections.abc import Iterator

from .dim import Dim, Expr
from .graph import Graph, Node
from .substitution import symbols


def late_symbol(node: Node) -> Dim | None:
    """The late size that a node makes, if it makes one."""
    if node.op == "while_loop":
        found = node.attrs.get("turns")
        if found is None and node.attrs.get("stacked") and node.attrs.get("trips") is None:
            found = node.outputs[node.attrs["carried"]].shape[0]
        return found if isinstance(found, Dim) else None
    if node.op in ("size_of", "nonzero"):
        size = node.attrs["size"]
        return size if isinstance(size, Dim) else None
    return None


def makes(node: Node) -> set[Dim]:
    """The late sizes that a node, or the body of a composite, makes for the nodes behind it."""
    symbol = late_symbol(node)
    found = set() if symbol is None else {symbol}
    if node.regions and node.op not in ("while_loop", "cond"):
        found.update(*(makes(inner) for inner in node.regions[0].nodes))
    return found


def late_symbols(graph: Graph) -> dict[Dim, Node]:
    """All late sizes of a graph, regions included, in program order, and the nodes that make them."""
    found: dict[Dim, Node] = {}
    for node in graph.walk():
        symbol = late_symbol(node)
        if symbol is not None:
            found.setdefault(symbol, node)
    return found


def sizes_of(node: Node) -> Iterator[Expr]:
    """Every size that a node speaks of: in its results, its attributes and its regions."""
    for value in node.outputs:
        yield from value.shape
    for attribute in node.attrs.values():
        yield from _sizes(attribute)
    for region in node.regions:
        for value in region.inputs:
            yield from value.shape
        for inner in region.nodes:
            yield from sizes_of(inner)


def _sizes(attribute: object) -> Iterator[Expr]:
    if isinstance(attribute, Dim):
        yield attribute
    elif isinstance(attribute, tuple):
        for item in attribute:
            yield from _sizes(item)


def mentions(node: Node) -> set[Dim]:
    """The symbols in a node's sizes, without the late one that it makes itself."""
    found = {symbol for size in sizes_of(node) if isinstance(size, Dim) for symbol in symbols(size)}
    own = late_symbol(node)
    if own is not None:
        found.discard(own)
    return found
