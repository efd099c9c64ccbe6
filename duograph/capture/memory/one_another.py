"""Which variables of a loop may be one another, or tensors from outside, in which turns.

In dynamic mode such variables are one place on the tape. That of two which begin as one tensor, in the first turn, is
`one_place`'s matter; where it goes on, or comes about otherwise, gradients must be followed if both are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core

from ..control.one_place import position

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..control.regions import Region
    from .cells import Cell

Variable = Any  # a variable's path, or the storage of a tensor from outside
Pairs = set[frozenset[Variable]]  # of two


class _Thing(NamedTuple):
    """What a variable may be: another variable at the start of the turn, or a storage, perhaps from outside."""

    variable: Variable | None
    cell: Cell
    place: Any  # on the tape; None: it is not known which tensor on the storage


class OneAnother:
    """The variables of one loop through which gradients flow."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.at_first: Pairs = set()  # with what `one_place` sees to
        self.unclear: Pairs = set()  # of these, the ones it does not
        self.later: Pairs = set()
        self.leaves: dict[str, Any] = {}

    def on(self) -> bool:
        """Whether the order of gradients' sums matters, and is not followed yet."""
        return self.builder.aliases.shared.on() and not self.builder.aliases.exact

    def begin(self, region: Region, leaves: Mapping[str, Any], initial: Mapping[str, Any]) -> list[tuple[Cell, Cell]]:
        """Of the variables at the start of a turn, storages of which one may be the other."""
        self.leaves = {path: leaves[path] for path in initial if path in leaves}
        if not self.on():
            return []
        things = {path: list(self._things(region, initial[path], {})) for path in self.leaves}
        self.at_first = _meet(things, set())
        clear = {path: [thing for thing in found if thing.place is not None] for path, found in things.items()}
        self.unclear = self.at_first - _meet(clear, set())
        return self._cells(leaves, self.later | self.unclear)

    def look(self, region: Region, after: Callable[[str], Any]) -> bool:
        """What they are `after` a turn; whether that makes further ones be one another in the next."""
        if not self.on():
            return False
        cells = {self.builder.view_of(leaf).cell: path for path, leaf in self.leaves.items()}
        things = {path: list(self._things(region, after(path), cells)) for path in self.leaves}
        count = len(self.later)
        while True:
            found = _meet(things, self.at_first | self.later)
            if found <= self.later:
                return len(self.later) > count
            self.later |= found

    def end(self, results: Mapping[str, Any], may_make_none: bool) -> None:
        """What they are after the loop."""
        if self.on():
            for a, b in self._cells(results, self.later | self.at_first if may_make_none else self.later):
                self.builder.borrowed.pair(a, b)

    def _cells(self, tensors: Mapping[str, Any], pairs: Pairs) -> list[tuple[Cell, Cell]]:
        there = [(a, b) for a, b in pairs if all(v in tensors or not isinstance(v, str) for v in (a, b))]
        return [(self._cell(tensors, a), self._cell(tensors, b)) for a, b in there]

    def _cell(self, tensors: Mapping[str, Any], variable: Variable) -> Cell:
        return self.builder.view_of(tensors[variable]).cell if isinstance(variable, str) else variable

    def _things(self, region: Region, tensor: Any, leaves: Mapping[Cell, str]) -> Iterator[_Thing]:
        if not isinstance(tensor, core.Tensor):
            return
        own = self.builder.view_of(tensor).cell
        base = self.builder.base_of(tensor)
        cell = own if region.holds(own.born) else self.builder.view_of(region.from_outside(base)).cell
        yield _thing(region, cell, position(region.from_outside(tensor)), leaves, base is tensor)
        for lender, _ in self.builder.borrowed.known.get(own, ("", []))[1]:
            yield _thing(region, lender, None, leaves, True)


def _thing(region: Region, cell: Cell, place: Any, leaves: Mapping[Cell, str], whole: bool) -> _Thing:
    variable = leaves.get(cell, None if region.holds(cell.born) else cell)
    return _Thing(variable if whole else None, cell, place)


def _meet(things: Mapping[str, list[_Thing]], before: Pairs) -> Pairs:
    """The variables that may be one another, if those `before` were at the start of the turn."""
    made: Pairs = set()
    paths = list(things)
    for i, a in enumerate(paths):
        for s in things[a]:
            if s.variable is None:
                continue
            if not isinstance(s.variable, str):
                made.add(frozenset((a, s.variable)))
            made |= {frozenset((a, v)) for pair in before if s.variable in pair for v in pair if not isinstance(v, str)}
        for b in paths[:i]:
            if any(_same(s, t, before) for s in things[a] for t in things[b]):
                made.add(frozenset((a, b)))
    return {pair for pair in made if len(pair) == 2}


def _same(s: _Thing, t: _Thing, before: Pairs) -> bool:
    if s.cell is t.cell:
        return s.place is None or t.place is None or s.place == t.place
    return s.variable is not None and frozenset((s.variable, t.variable)) in before
