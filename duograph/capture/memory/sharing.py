"""What the results of branches and loops share: storages and conditions that come out with them, for `aliases`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.ir.builder import current
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from ..control.conditions import both, choice, either, flag, opposite
from ..control.control import UNBOUND
from .aliases import ROW, Aliases, Key, Place
from .cells import Cell

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..control.regions import Region


Positions = tuple[Value, ...]  # of the rows on the way to a part


class Sharing(NamedTuple):
    """For results of one way: the places of each, and the storages made inside that several of them lie on."""

    values: Sequence[Any]
    places: list[list[Place]]
    shared: dict[Cell, Any]  # with a tensor that is all of it

    @staticmethod
    def of(aliases: Aliases, region: Region, values: Sequence[Any]) -> Sharing:
        places: list[list[Place]] = []
        users: dict[Cell, int] = {}
        roots: dict[Cell, Any] = {}
        for value in values:
            found = []
            if isinstance(value, core.Tensor) and not (value._traced is not None and value._traced.type.weak):
                found = list(aliases.places(region, value))
            for cell in {place.base for place in found if isinstance(place.base, Cell)}:
                users[cell] = users.get(cell, 0) + 1
            for place in found:
                if isinstance(place.base, Cell) and place.root is not None:
                    roots.setdefault(place.base, place.root)
            places.append(found)
        return Sharing(values, places, {cell: roots.get(cell) for cell, n in users.items() if n > 1})

    def kept(self, number: int) -> list[Place]:
        """The places that are there outside, too."""
        return [p for p in self.places[number] if not isinstance(p.base, Cell) or p.base in self.shared]

    def is_own(self, number: int) -> bool:
        """Whether a result may be memory that nothing else lies on."""
        value = self.values[number]
        return len(self.kept(number)) < len(self.places[number]) or not (isinstance(value, core.Tensor) or value is UNBOUND)


class Join:
    """The results of a branch: what they may lie on afterwards."""

    def __init__(
        self, builder: CaptureBuilder, predicate: Value, regions: Sequence[Region], values: Sequence[Sequence[Any]]
    ) -> None:
        """`values`: of each side, what becomes the results."""
        self.builder = builder
        self.predicate = predicate
        self.sides = []
        for region, side in zip(regions, values):
            with region.open(at_end=True):
                self.sides.append(Sharing.of(builder.aliases, region, side))
        self.regions = regions
        self.conditions: list[dict[Key, list[Any]]] = []  # of each result, for each place: the conditions on both sides
        self.known: dict[Key, Place] = {}
        self.flags: list[tuple[int, Key]] = []
        self.positions: dict[tuple[int, Key], list[Positions]] = {}  # on both sides
        for number in range(len(values[0])):
            found: dict[Key, list[Any]] = {}
            for i, side in enumerate(self.sides):
                for place in side.kept(number):
                    self.known[place.key] = place
                    pair = found.setdefault(place.key, [False, False])
                    with regions[i].open(at_end=True):
                        condition = True if place.condition is None else place.condition
                        if place.positions:
                            both_sides = self.positions.setdefault((number, place.key), [(), ()])
                            both_sides[i] = _merged(both_sides[i], place.positions, condition)
                        pair[i] = either(pair[i], condition)
            self.conditions.append(found)

    def outs(self) -> tuple[list[Any], list[Any]]:
        """Further results: storages made inside, then conditions, then positions of rows."""
        made: tuple[list[Any], list[Any]] = ([], [])
        self.shared: list[Cell] = []
        for i, side in enumerate(self.sides):
            for cell, root in side.shared.items():
                with self.regions[i].open(at_end=True):
                    whole = wrap(cell.value) if root is None else root
                    type_ = self.builder.read(whole).type
                made[i].append(whole)
                made[1 - i].append(wrap(self.builder.constant(0, type_.dtype, type_.shape)))
                self.shared.append(cell)
        for number, found in enumerate(self.conditions):
            for key, pair in found.items():
                if any(isinstance(c, Value) for c in pair):
                    for i, condition in enumerate(pair):
                        with self.regions[i].open(at_end=True):
                            made[i].append(flag(condition))
                    self.flags.append((number, key))
        for (_, key), sides in self.positions.items():
            for i, rows in enumerate(sides):
                with self.regions[i].open(at_end=True):
                    made[i].extend(_tensors(rows, key))
        return made

    def bind(self, results: Sequence[Any], more: Sequence[Any]) -> None:
        """The results may be these places; `more`: what became of `outs`."""
        rest = iter(more)
        storages = {id(cell): next(rest) for cell in self.shared}
        flags = {where: self.builder.read(next(rest)) for where in self.flags}
        positions = {where: _read(self.builder, rest, where[1]) for where in self.positions}
        contrary: Any = None
        for number, (tensor, found) in enumerate(zip(results, self.conditions)):
            places = []
            for key, pair in found.items():
                condition: Value | None = flags.get((number, key))
                if condition is None and pair == [True, False]:
                    condition = self.predicate
                elif condition is None and pair == [False, True]:
                    condition = contrary = contrary or opposite(self.predicate)
                place = self.known[key]
                base = storages.get(id(place.base), place.base)
                places.append(place._replace(condition=condition, base=base, positions=positions.get((number, key), ())))
            own = any(side.is_own(number) for side in self.sides)
            aliases = self.builder.aliases
            if pairs := aliases.bind(tensor, places, own):
                core.rebase(tensor, aliases.shared.follow(tensor, pairs))


def _merged(old: Positions, new: Positions, condition: Any) -> Positions:
    """The new positions where the condition holds."""
    if not old or condition is True:
        return new
    return tuple(current().read(choice(condition, wrap(b), wrap(a))) for a, b in zip(old, new))


def _count(key: Key) -> int:
    """How many positions belong to a way."""
    return sum(move == ROW for move in key[1] or ())


def _tensors(positions: Positions, key: Key) -> list[Any]:
    """Positions as results of a region; zeros where there are none."""
    return [wrap(value) for value in positions] or [wrap(current().constant(0, core.int64)) for _ in range(_count(key))]


def _read(builder: CaptureBuilder, tensors: Iterator[Any], key: Key) -> Positions:
    return tuple(builder.read(tensor) for tensor in itertools.islice(tensors, _count(key)))


class _Slot:
    """A storage of the loop that several variables lie on."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: TensorType) -> None:
        self.name = name
        self.type = type


class Turns:
    """The variables of a loop: what they may lie on at the start of a turn, which the turns before decide."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.known: dict[str, dict[Key, Place]] = {}  # of each variable: all it was found to lie on
        self.slots: dict[str, Any] = {}  # storages that several variables lie on: name, and what it is after a turn
        self.storages: dict[tuple[str, TensorType], _Slot] = {}  # by the first variable on it
        self.own: set[str] = set()  # variables that may lie on memory of their own
        self.tensors: dict[str, Any] = {}
        self.flags: dict[tuple[str, Key], Value] = {}  # inputs of the region
        self.positions: dict[tuple[str, Key], Positions] = {}  # inputs of the region
        self.after: dict[tuple[str, Key], Any] = {}  # conditions at the end of a turn
        self.positions_after: dict[tuple[str, Key], Positions] = {}
        self.before: dict[str, Any] = {}

    def inputs(self, region: Region) -> list[Value]:
        """Conditions, then positions of rows, as inputs of the region."""
        keys = [(path, key) for path, places in self.known.items() for key in places]
        self.flags = {(path, key): region.input(TensorType(core.bool), f"{path} is shared") for path, key in keys}
        self.positions = {
            (path, key): tuple(region.input(TensorType(core.int64), f"the row that {path} is") for _ in range(_count(key)))
            for path, key in keys
        }
        return [*self.flags.values(), *itertools.chain.from_iterable(self.positions.values())]

    def bind(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """At the start of a turn; the tensors, from which gradients go on to what they lie on."""
        self.tensors = tensors
        aliases = self.builder.aliases
        found = dict(tensors)
        for path, tensor in tensors.items():
            if path not in self.slots:
                places = self._places(path, self.known.get(path, {}), self.flags, self.positions, tensors)
                found[path] = aliases.shared.follow(tensor, aliases.bind(tensor, places, path in self.own))
                aliases.stands_for(tensor, found[path])
        return found

    def _places(
        self,
        path: str,
        places: dict[Key, Place],
        flags: dict[tuple[str, Key], Value],
        positions: dict[tuple[str, Key], Positions],
        tensors: dict[str, Any],
    ) -> list[Place]:
        return [
            place._replace(
                condition=flags[path, key],
                positions=positions[path, key],
                base=tensors[place.base.name] if isinstance(place.base, _Slot) else place.base,
            )
            for key, place in places.items()
        ]

    def look(self, region: Region, variables: Sequence[tuple[str, Any, Any]]) -> tuple[bool, list[tuple[str, TensorType]]]:
        """At the end of a turn: (whether there is more to know than at its start, new storages that are shared).

        `variables`: name, the tensor before the loop and after a turn.
        """
        sharing = Sharing.of(self.builder.aliases, region, [after for _, _, after in variables])
        count = len(self.storages)
        placed = self._place([path for path, _, _ in variables], sharing)
        new = list(self.storages.values())[count:]
        grown = bool(new)
        self.after, self.positions_after = {}, {}
        for number, (path, initial, _) in enumerate(variables):
            if path not in self.own and len(sharing.kept(number)) < len(sharing.places[number]):
                self.own.add(path)
                grown = True
            known = self.known.setdefault(path, {})
            places = placed[number]
            if isinstance(initial, core.Tensor) and not (initial._traced is not None and initial._traced.type.weak):
                place = Place(None, initial, (), None)
                self.before[path] = place.key
                grown |= place.key not in known
                known.setdefault(place.key, place)
            for place in places:
                grown |= place.key not in known
                known.setdefault(place.key, place)
                where, condition = (path, place.key), True if place.condition is None else place.condition
                self.positions_after[where] = _merged(self.positions_after.get(where, ()), place.positions, condition)
                self.after[where] = either(self.after.get(where, False), condition)
        return grown, [(slot.name, slot.type) for slot in new]

    def _place(self, names: Sequence[str], sharing: Sharing) -> list[list[Place]]:
        """The places of each variable at the end of a turn: a storage made in the turn, on which several variables lie,
        is that of the first of them."""
        placed: list[list[Place]] = [[p for p in places if not isinstance(p.base, Cell)] for places in sharing.places]
        self.slots |= {slot.name: self.tensors[slot.name] for slot in self.storages.values() if slot.name in self.tensors}
        given: dict[str, Any] = {}
        for cell, root in sharing.shared.items():
            nobody: Any = True  # none of the variables before lies on it
            leads: list[tuple[_Slot, Any]] = []
            for number, name in enumerate(names):
                mine = [p for p in sharing.places[number] if p.base is cell]
                on: Any = False
                for place in mine:
                    on = either(on, True if place.condition is None else place.condition)
                first = both(on, nobody)
                if first is not False:
                    slot = self.storages.get((name, cell.value.type))
                    if slot is None:
                        slot = _Slot(f"the memory of {name} {len(self.storages)}", cell.value.type)
                        self.storages[name, cell.value.type] = slot
                    leads.append((slot, first))
                    whole = wrap(cell.value) if root is None else root
                    old = given.get(slot.name)
                    given[slot.name] = whole if old is None else choice(first, whole, old) if first is not True else whole
                nobody = both(nobody, opposite(on))
                for place in mine:
                    for slot, leader in leads:
                        condition = both(True if place.condition is None else place.condition, leader)
                        if condition is not False:
                            placed[number].append(place._replace(condition=None if condition is True else condition, base=slot))
        self.slots |= given
        return placed

    def outs(self) -> list[Any]:
        """The conditions and positions at the end of a turn."""
        made = [flag(self.after[where]) if where in self.after else flag(False) for where in self.flags]
        for where in self.positions:
            made += _tensors(self.positions_after.get(where, ()), where[1])
        return made

    def initial(self) -> list[Any]:
        """The conditions and positions before the loop."""
        made = [flag(self.before.get(path) == key) for path, key in self.flags]
        for _, key in self.positions:
            made += _tensors((), key)
        return made

    def finish(self, results: dict[str, Any], more: Sequence[Any]) -> list[Any]:
        """After the loop; `more`: what became of `outs`, and then of others, which this gives back."""
        rest = iter(more)
        flags = {where: self.builder.read(next(rest)) for where in self.flags}
        positions = {where: _read(self.builder, rest, where[1]) for where in self.positions}
        for path, places in self.known.items():
            if path in results:
                aliases, tensor = self.builder.aliases, results[path]
                if pairs := aliases.bind(tensor, self._places(path, places, flags, positions, results), path in self.own):
                    core.rebase(tensor, aliases.shared.follow(tensor, pairs))
        return list(rest)
