"""What the tape of a capture keeps, and what is written over it: the gradient must not read it then, as in dynamic mode.

A capture keeps values, which no write changes. So it is noted on which storage, of which version, each of them was. Where
that has another version when an operator's gradient runs, the gradient gets a stand-in, and may not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.errors import GradError
from duograph.ir.builder import active, current
from duograph.ir.graph import Node, Value
from duograph.ops.tracing import wrap

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..control.regions import Region
    from .cells import Cell

Check = Callable[[Any], "int | None"]


class Read(NamedTuple):
    """An operator's gradient that needs what was overwritten."""

    nodes: list[Node]
    error: GradError
    condition: Value | None  # under which something arrives there at all; None: always


class Versions:
    """The versions of what a capture's tape keeps."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.kept: dict[Value, tuple[Cell, int, tuple[Region, ...]]] = {}  # handles; with the regions that were open
        self.outer: dict[int, tuple[Any, Any]] = {}  # id of a leaf of a region → it, and the tensor it stands for
        self.became: dict[tuple[Region, Cell, int], int] = {}  # the version at the end of a branch's side → that after it
        self.handed: dict[Cell, list[tuple[Cell, int]]] = {}  # storages that go on as others, of these versions
        self.surely: dict[Cell, int] = {}  # the last version of storages that was written on all ways
        self.stand_ins: list[Value] = []  # noted ones
        self.notes: list[Read] | None = None  # the gradient is taken by the caller: reads of what was overwritten are noted
        self.operands: list[Value] | None = None  # kept for the operator that writes next

    def keep(self, handle: Value, tensor: Any) -> None:
        """The tape keeps the value of a tensor as `handle`."""
        cell = self._cell(tensor)
        self.kept[handle] = (cell, cell.version, tuple(self.builder.regions))
        if self.operands is not None:
            self.operands.append(handle)

    def before_a_write(self) -> None:
        """The operands of an operator that writes one of them are kept next."""
        self.operands = []

    def written(self, cell: Cell) -> None:
        """A storage was written. What the operator that did it keeps of that storage, it keeps as copies."""
        for handle in self.operands or ():
            if self.kept[handle][0] is cell:
                del self.kept[handle]
        self.operands = None
        if not self.builder.regions:
            self.surely[cell] = cell.version

    def stands_for(self, leaf: Any, tensor: Any) -> None:
        """A leaf of a region stands for a tensor from outside."""
        self.outer[id(leaf)] = (leaf, tensor)

    def hand_on(self, region: Region, tensor: Any, result: Any) -> None:
        """The memory of a tensor made in a region is that of `result`, new there, from its end on."""
        cell = self._cell(tensor) if isinstance(tensor, core.Tensor) else None
        if cell is not None and region.holds(cell.born):
            self.handed.setdefault(cell, []).append((self._cell(result), 0))

    def behind(self, tensor: Any) -> Any:
        """The tensor itself, or that for which it stands in a region."""
        while (found := self.outer.get(id(tensor))) is not None:
            tensor = found[1]
        return tensor

    def _cell(self, tensor: Any) -> Cell:
        return self.builder.view_of(self.behind(tensor)).cell

    def is_overwritten(self, tensor: Any) -> bool:
        """Whether the memory of what the tape keeps as `tensor` was written since."""
        known = self.kept.get(tensor._traced)
        if known is None or 0 in tensor._traced.shape:
            return False
        cell, version, regions = known
        for region in reversed(regions):
            version = self.became.get((region, cell, version), version)
        return version != cell.version or self._is_written(self.handed.get(cell, ()), {cell})

    def _is_written(self, rows: Sequence[tuple[Cell, int]], seen: set[Cell]) -> bool:
        for cell, version in rows:
            if version != cell.version:
                return True
            if cell not in seen and self._is_written(self.handed.get(cell, ()), seen | {cell}):
                return True
        return False

    def merged(self, regions: Sequence[Region], cell: Cell, before: int) -> None:
        """A branch gave a storage of version `before` its next one: what its sides kept last is not overwritten by that."""
        for region in regions:
            for version in region.ended.get(id(cell), (before,)):
                self.became[region, cell, version] = cell.version

    def is_surely_overwritten(self, tensor: Any) -> bool:
        """Whether it was on all ways through the function."""
        known = self.kept.get(tensor._traced)
        return known is not None and not known[2] and self.surely.get(known[0], 0) > known[1] and self.is_overwritten(tensor)

    def stand_in(self, kept: Sequence[Any]) -> tuple[tuple[Any, ...], dict[int, Value]]:
        """The same with something else for what was overwritten; by their numbers."""
        found: dict[int, Value] = {}
        is_overwritten = self.is_overwritten if self.notes is None else self.is_surely_overwritten
        number = -1

        def one(item: Any) -> Any:
            nonlocal number
            number += 1
            if not isinstance(item, core.Tensor) or not is_overwritten(item):
                return item
            value = found[number] = Value(item._traced.type, None, 0, "overwritten")
            self.builder.handles.add(value)
            if self.notes is not None:
                self.stand_ins.append(value)
            return wrap(value)

        return tuple(tuple(map(one, item)) if isinstance(item, tuple) else one(item) for item in kept), found


def overwritten(args: Sequence[Any], outs: Sequence[Any], given: Sequence[Any] = ()) -> tuple[Any, ...] | None:
    """Hook of the core, before the rule of a node runs on the gradients that are `given`.

    Gives (arguments, outputs, check, note); None if they are as they were.

    `check` is told what the rule gave: the number of an argument that it must not depend on; of outputs, from -1 down.
    `note` is told the error instead of the user, if it is not None.
    """
    builder: Any = current() if active() else None
    versions: Versions | None = None if builder is None else vars(builder).get("versions")
    if versions is None or (versions.notes is not None and builder.regions):
        return None
    new_args, in_args = versions.stand_in(args)
    new_outs, in_outs = versions.stand_in(outs)
    found = {value: k for k, value in in_args.items()} | {value: -1 - k for k, value in in_outs.items()}
    if not found:
        return None
    check = _Check(builder, found, given)
    return new_args, new_outs, check, None if versions.notes is None else check.note


class _Check:
    """Finds out whether the rule that runs next depends on what stands for something overwritten."""

    def __init__(self, builder: CaptureBuilder, found: dict[Value, int], given: Sequence[Any]) -> None:
        self.builder = builder
        self.found = found
        self.given = given
        self.nodes = builder.open_body()
        self.mark = len(self.nodes)

    def __call__(self, results: Any) -> int | None:
        new = self.nodes[self.mark :]
        given = [results] if isinstance(results, core.Tensor) else results
        wanted = {self.builder.read(t) for t in given if isinstance(t, core.Tensor) and t._traced is not None}
        for node in reversed(new):
            if not wanted.isdisjoint(node.outputs):
                wanted.update(node.inputs)
        read = [number for value, number in self.found.items() if value in wanted]
        if read:
            return read[0]
        spoilt = set(self.found)
        for node in new:  # nothing needs them
            if not spoilt.isdisjoint(node.inputs):
                spoilt.update(node.outputs)
        self.nodes[self.mark :] = [node for node in new if spoilt.isdisjoint(node.outputs)]
        return None

    def note(self, error: GradError) -> None:
        """It does, which is the mistake of whoever asks for that gradient."""
        notes = self.builder.versions.notes
        assert notes is not None
        notes.append(Read(self.nodes[self.mark :], error, self.builder.presence.any(self.given)))
