"""Relations between sizes that only the run knows, in branches and loops: they must hold where these run, and only there.

Each is a `require` node of the region. A size that equals another one there is written as that one while the region is
open, also when it is opened again for its gradient, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duograph import _core as core
from duograph.ir.dim import Dim, Expr
from duograph.ir.effects import calls_host
from duograph.ir.graph import Node
from duograph.ir.substitution import joined, symbols
from duograph.ir.types import TensorType

from ..user_lines import user_location

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from .regions import Region


class Required:
    """Those of one capture."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.everywhere: dict[Dim, Expr] = {}  # what is equal outside of all regions, too
        self.homes: dict[Dim, list[Node]] = {}  # the nodes among which a late size is made

    def region(self, *sizes: Expr) -> Region | None:
        """The open region to which a relation between sizes belongs; None if it must hold in every run."""
        builder = self.builder
        if not builder.regions or not builder.is_late(sizes):
            return None
        return next((region for region in reversed(builder.regions) if not region.one_example), None)

    def check(self, relation: str, left: Expr, right: Expr) -> bool:
        """Sizes are in this relation from here on: False if that can be checked as soon as they are known."""
        region, builder = self.region(left, right), self.builder
        if region is not None:
            around = builder.regions[: builder.regions.index(region) + 1]
            if not any((relation, left, right) in one.required for one in around):
                self._emit(region, relation, left, right)
            return True
        if builder.regions or relation == "eq" or not builder.is_late((left, right)) or not any(map(calls_host, builder.body())):
            return False
        self._emit(None, relation, left, right)  # a call before it may end the run
        return True

    def _emit(self, region: Region | None, relation: str, left: Expr, right: Expr) -> Node:
        builder, location = self.builder, user_location()
        lines = builder.check_lines
        code, _ = lines.setdefault((relation, left, right, location), (len(lines) + 1, location))
        attrs = {"relation": relation, "left": left, "right": right, "code": code, "same": False}
        node = Node("require", (), attrs, (TensorType(core.bool),), (), location, builder.scope)
        if region is None:
            self._place(builder.body(), left, right).append(node)
            return node
        self._place(region.nodes, left, right).append(node)
        region.members.add(node)
        builder.inside.add(node)
        region.required[relation, left, right] = node
        return node

    def _place(self, around: list[Node], *sizes: Expr) -> list[Node]:
        """The nodes around, or those of an open composite that makes one of the sizes."""
        homes = [self.homes.get(found) for size in sizes for found in symbols(size)]
        for nodes in reversed(self.builder._nodes):
            if nodes is around or any(nodes is home for home in homes):
                return nodes
        return around

    def equate(self, symbol: Dim, size: Expr) -> None:
        """A symbol is written as another size: where the open region runs, or everywhere."""
        region = self.region(symbol, size)
        if region is not None:
            self._same(region, symbol, size)
        else:
            self.everywhere = joined(self.everywhere, size, symbol)
        self.apply()

    def _same(self, region: Region, symbol: Dim, size: Expr) -> None:
        found = region.required.pop(("eq", size, symbol), None) or region.required.pop(("eq", symbol, size), None)
        node = found or self._emit(region, "eq", size, symbol)
        node.attrs = {**node.attrs, "left": size, "right": symbol, "same": True}
        region.required["eq", size, symbol] = node
        region.equal.append((symbol, size))

    def apply(self) -> None:
        """What is equal is what is equal where the builder emits."""
        equal = self.everywhere
        for region in self.builder.regions:
            for symbol, size in region.equal:
                equal = joined(equal, size, symbol)
        self.builder.equal = equal
