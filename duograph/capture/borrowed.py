"""Tensors that are somebody else's memory on one way through a branch or loop, and their own on another.

Whether a write to such a tensor reaches the other one, and the other way round, only each run would know. A static graph
keeps them apart, so what would tell the difference is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError

if TYPE_CHECKING:
    from .builder import CaptureBuilder
    from .cells import Cell


class Borrowed:
    """For such tensors' storages: the variable, and the storages they may really be, with their versions."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.known: dict[Cell, tuple[str, list[tuple[Cell, int]]]] = {}

    def lenders(self, *values: Any) -> list[Cell]:
        """The storages of arguments and state among the values."""
        cells = [self.builder.view_of(x).cell for x in values if isinstance(x, core.Tensor)]
        return [cell for cell in cells if cell.input is not None]

    def note(self, tensor: Any, path: str, lenders: list[Cell]) -> None:
        """The variable may lie on the lenders' memory."""
        if lenders and tensor._traced is not None:
            self.known[self.builder.view_of(tensor).cell] = (path, [(cell, cell.version) for cell in lenders])

    def check_read(self, cell: Cell) -> None:
        """A tensor is read: the memory it may lie on must be as it was."""
        found = self.known.get(cell)
        if found is not None and any(lender.version != version for lender, version in found[1]):
            raise self._refusal(found[0], "is read after that was written", "before the write")

    def check_write(self, cell: Cell) -> None:
        """A tensor is written in place."""
        found = self.known.get(cell)
        if found is not None:
            raise self._refusal(found[0], "is written in place", "before writing into it")

    @staticmethod
    def _refusal(path: str, what: str, when: str) -> CaptureError:
        return CaptureError(
            f"static: {path} is an argument or state itself on one way through a branch or loop that a tensor's value "
            f"steers, and a tensor of its own on another, and {what}",
            hint=f"make it a copy {when}: {path} = {path}.clone()",
            location=user_location(),
        )
