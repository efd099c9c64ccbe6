"""The partials of reductions over columns, in scratch: sixteen for the chunk at hand, sixteen over the chunks' results.

Like reductions lie side by side, [lane][reduction][column], so that what is done to all of them is one loop: the code of
a kernel grows by its passes over memory alone, however many reductions share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from duograph.codegen.frame import Frame
from duograph.codegen.kernel import SUM_LANES
from duograph.codegen.llvm import Value
from duograph.codegen.reduction import Accumulator, Reduction
from duograph.codegen.vector import Vec, Vectors

CHUNK, CHUNKS = 0, 1  # the two levels: partials of this chunk, partials over chunk results


class _Sizes(Protocol):
    def __getitem__(self, element: str, /) -> int: ...


class Partials:
    """Of reductions of one kind and operand dtype over at most ``width`` columns."""

    def __init__(self, frame: Frame, reductions: Sequence[Reduction], width: int, bytes: _Sizes) -> None:
        self.frame = frame
        self.reductions = list(reductions)
        self.like = reductions[0]
        self.sizes = [bytes[element] for element in self.like.elements]
        room = SUM_LANES * width * len(reductions)
        self.rooms = [[frame.reserve_scratch(room, size) for size in self.sizes] for _ in (CHUNK, CHUNKS)]

    def block(self, v: Vectors, vectors: int) -> Block:
        """The partials of a block of ``vectors`` vectors of columns."""
        return Block(self, v, vectors)


def group_reductions(reductions: Sequence[Reduction]) -> list[list[Reduction]]:
    """Those of one kind and operand dtype together, in order."""
    groups: dict[tuple[str, str], list[Reduction]] = {}
    for reduction in reductions:
        groups.setdefault((reduction.kind, reduction.operand_dtype), []).append(reduction)
    return list(groups.values())


class Block:
    """Emits what is done to the partials of one block of columns; an item is one vector of one reduction."""

    def __init__(self, partials: Partials, v: Vectors, vectors: int) -> None:
        self.partials = partials
        self.like = partials.like
        self.v = v
        self.vectors = vectors
        self.items = len(partials.reductions) * vectors
        f = partials.frame.function
        self._results = [f.alloca(f"<{v.lanes} x {element}>", 64, self.items) for element in self.like.elements]

    def fill(self, level: int) -> None:
        """All partials to the identity; that of positions is the lane's own number."""
        f = self.partials.frame.function
        if not self.like.positional:
            with f.loop(0, SUM_LANES * self.items) as item:
                self._store(self._places(self.partials.rooms[level], item), self.like.identity(self.v))
            return
        with f.loop(0, SUM_LANES) as lane:
            rooms = self.row(level, lane)
            with f.loop(0, self.items) as item:
                acc = self.like.identity(self.v)
                acc[1] = self.v.splat("i64", lane)
                self._store(self._places(rooms, item), acc)

    def row(self, level: int, lane: Value) -> list[str]:
        """Where the items of one lane begin, for each part of the accumulator."""
        f, elements = self.partials.frame.function, self.items * self.v.lanes
        return [f.gep(room, f.mul(lane, elements), size) for room, size in zip(self.partials.rooms[level], self.partials.sizes)]

    def item(self, reduction: Reduction, j: int) -> int:
        """The number of the j-th vector of a reduction."""
        return self.partials.reductions.index(reduction) * self.vectors + j

    def load(self, rooms: Sequence[str], item: Value) -> Accumulator:
        """An item of a row."""
        f, v = self.partials.frame.function, self.v
        places = self._places(rooms, item)
        return [
            Vec(f.load(f"<{v.lanes} x {element}>", place, size), element, v.lanes)
            for place, element, size in zip(places, self.like.elements, self.partials.sizes)
        ]

    def store(self, rooms: Sequence[str], item: Value, acc: Accumulator) -> None:
        self._store(self._places(rooms, item), acc)

    def fold(self, level: int) -> None:
        """Each item's sixteen partials to one, halving as in a row; `result` has them then."""
        f = self.partials.frame.function
        with f.loop(0, self.items) as item:
            accs = [self.load(self.row(level, lane), item) for lane in range(SUM_LANES)]
            while len(accs) > 1:
                half = len(accs) // 2
                accs = [self.like.combine(self.v, accs[i], accs[i + half]) for i in range(half)]
            self.store(self._results, item, accs[0])

    def keep(self, lane: Value) -> None:
        """Combine the results of this chunk with one lane of those over chunks."""
        rooms = self.row(CHUNKS, lane)
        with self.partials.frame.function.loop(0, self.items) as item:
            folded = self.load(self._results, item)
            self.store(rooms, item, self.like.combine(self.v, self.load(rooms, item), folded))

    def result(self, reduction: Reduction, j: int) -> Vec:
        """The value of the instruction for the j-th vector of columns, after `fold`."""
        return reduction.result(self.v, self.load(self._results, self.item(reduction, j)))

    def _places(self, rooms: Sequence[str], item: Value) -> list[str]:
        f, lanes = self.partials.frame.function, self.v.lanes
        if isinstance(item, int):
            return [f.gep(room, item * lanes * size) for room, size in zip(rooms, self.partials.sizes)]
        first = f.mul(item, lanes)
        return [f.gep(room, first, size) for room, size in zip(rooms, self.partials.sizes)]

    def _store(self, places: Sequence[str], acc: Accumulator) -> None:
        f = self.partials.frame.function
        for place, part, size in zip(places, acc, self.partials.sizes):
            f.store(part.type, part.ref, place, size)
