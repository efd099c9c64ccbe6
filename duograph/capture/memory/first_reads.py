"""Views of what was written that a branch or loop reads first: from then on they have a new place on the tape.

They have it only where that side or a turn runs; elsewhere they get another one where they are read next, as in dynamic
mode. The order in which gradients are summed follows from that, so it matters under `strict` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core

from ..control.conditions import either

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..control.regions import Region
    from .cells import View

Condition = Any  # a value, or a bool


class Read(NamedTuple):
    """A first read: the view, the history it had before, the regions in which it is read, and how many are around them."""

    view: View
    before: int
    regions: list[Region]
    depth: int


class FirstReads:
    """The views of a capture whose place depends on what runs."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.pending: dict[int, Read] = {}  # by the view's id; their branch or loop is not done yet
        self.partly: dict[int, tuple[View, int, Condition]] = {}  # with the version that they have on these ways

    def note(self, view: View, before: int, depth: int) -> None:
        """The view got its history in the open regions, but for so many around them."""
        if self.builder.aliases.shared.on():
            self.pending[id(view)] = Read(view, before, self.builder.regions[depth : depth + 1], depth)

    def again(self, view: View) -> None:
        """The view is read once more."""
        read = self.pending.get(id(view))
        if read is not None and len(self.builder.regions) > read.depth:
            read.regions.append(self.builder.regions[read.depth])

    def ran(self, sides: Iterable[tuple[Region, Callable[[], Condition]]]) -> None:
        """A branch or loop is done whose regions run under these conditions."""
        sides = list(sides)
        for key, (view, before, regions, _) in list(self.pending.items()):
            conditions = [condition for region, condition in sides if region in regions]
            if not conditions:
                continue
            del self.pending[key]
            found = self.condition(view)
            for condition in conditions:
                found = either(found, condition())
            if found is not True:
                self.partly[key] = view, view.cell.version, found
                view.history = before

    def condition(self, view: View) -> Condition:
        """Where the view has the history of its memory's version already."""
        _, version, condition = self.partly.get(id(view), (view, 0, False))
        return condition if version == view.cell.version else False

    def chosen(self, tensor: Any, view: View, new: Any) -> Any:
        """The tensor as it is where it has that history already, else the new one."""
        condition = self.condition(view)
        if condition is False or not self.builder.aliases.shared.on():
            return new
        held = core.traced(tensor._traced, tensor.dtype, 0, ())
        core.rebase(held, tensor)
        return self.builder.aliases.shared.chosen(condition, held, new)
