"""What the results of branches and loops share: storages and conditions that come out with them, for `aliases`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from .aliases import Aliases, Key, Place
from .cells import Cell
from .conditions import both, choice, either, flag, opposite
from .control import UNBOUND

if TYPE_CHECKING:
    from .builder import CaptureBuilder
    from .regions import Region


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
        for number in range(len(values[0])):
            found: dict[Key, list[Any]] = {}
            for i, side in enumerate(self.sides):
                for place in side.kept(number):
                    self.known[place.key] = place
                    pair = found.setdefault(place.key, [False, False])
                    with regions[i].open(at_end=True):
                        pair[i] = either(pair[i], True if place.condition is None else place.condition)
            self.conditions.append(found)

    def outs(self) -> tuple[list[Any], list[Any]]:
        """Further results: storages made inside, then conditions."""
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
        return made

    def bind(self, results: Sequence[Any], more: Sequence[Any]) -> None:
        """The results may be these places; `more`: what became of `outs`."""
        storages = {id(cell): tensor for cell, tensor in zip(self.shared, more)}
        flags = {where: self.builder.read(tensor) for where, tensor in zip(self.flags, more[len(self.shared) :])}
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
                places.append(place._replace(condition=condition, base=storages.get(id(place.base), place.base)))
            own = any(side.is_own(number) for side in self.sides)
            self.builder.aliases.bind(tensor, places, own)


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
        self.after: dict[tuple[str, Key], Any] = {}  # conditions at the end of a turn
        self.before: dict[str, Any] = {}

    def inputs(self, region: Region) -> list[Value]:
        """Conditions as inputs of the region."""
        self.flags = {
            (path, key): region.input(TensorType(core.bool), f"{path} is shared")
            for path, places in self.known.items()
            for key in places
        }
        return list(self.flags.values())

    def bind(self, tensors: dict[str, Any]) -> None:
        """At the start of a turn."""
        self.tensors = tensors
        for path, tensor in tensors.items():
            if path not in self.slots:
                places = self._places(path, self.known.get(path, {}), self.flags, tensors)
                self.builder.aliases.bind(tensor, places, path in self.own)

    def _places(
        self, path: str, places: dict[Key, Place], flags: dict[tuple[str, Key], Value], tensors: dict[str, Any]
    ) -> list[Place]:
        return [
            place._replace(
                condition=flags[path, key],
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
        self.after = {}
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
                condition = either(self.after.get((path, place.key), False), True if place.condition is None else place.condition)
                self.after[path, place.key] = condition
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
        """The conditions at the end of a turn."""
        return [flag(self.after[where]) if where in self.after else flag(False) for where in self.flags]

    def initial(self) -> list[Any]:
        """The conditions before the loop."""
        return [flag(self.before.get(path) == key) for path, key in self.flags]

    def finish(self, results: dict[str, Any], more: Sequence[Any]) -> None:
        """After the loop."""
        flags = {where: self.builder.read(tensor) for where, tensor in zip(self.flags, more)}
        for path, places in self.known.items():
            if path in results:
                self.builder.aliases.bind(results[path], self._places(path, places, flags, results), path in self.own)
