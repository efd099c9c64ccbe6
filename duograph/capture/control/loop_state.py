"""Places that the turns of a loop change as if they were variables: items of containers, attributes, closure variables.

A list that grows holds, while a turn is captured, a stand-in for what the turns before appended: its last item is such a
place too, if a turn reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph._stack import user_location
from duograph.errors import CaptureError

from ..conversion.scopes import HELPER
from .containers import Cell, Containers, same_item, same_items
from .control import UNBOUND, Variables
from .growing import Earlier, Rows, appended, last_of, length

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


class NotALoop(CaptureError):
    """The body cannot be captured once for all turns."""


class FirstTurnDiffers(CaptureError):
    """A variable begins as nothing or a number, and is a tensor from the first turn on."""


class TestActs(CaptureError):
    """The test of a `while` does something besides deciding."""


class Place(NamedTuple):
    """One item of a container, under a name of its own."""

    name: str
    container: Any
    key: Any

    def get(self) -> Any:
        if isinstance(self.container, Cell):
            return next(iter(self.container.copy()), UNBOUND)
        if isinstance(self.container, dict):
            return self.container.get(self.key, UNBOUND)
        return self.container[self.key] if self.key < len(self.container) else UNBOUND

    def set(self, value: Any) -> None:
        if isinstance(self.container, Cell):
            self.container.refill([] if value is UNBOUND else [value])
        elif value is not UNBOUND:
            self.container[self.key] = value
        elif isinstance(self.container, dict):
            self.container.pop(self.key, None)


class Last(NamedTuple):
    """The last item of a list that grows."""

    name: str
    container: list[Any]

    def get(self) -> Any:
        return last_of(self.container)

    def set(self, value: Any) -> None:
        for item in self.container:
            if type(item) is Earlier:
                item.last = value


class Count(NamedTuple):
    """How many items a list has got from a loop whose turns append different numbers."""

    name: str
    container: list[Any]

    def get(self) -> Any:
        first = next((i for i, item in enumerate(self.container) if type(item) is Earlier), None)
        return 0 if first is None else length(self.container[first:])

    def set(self, value: Any) -> None:
        for item in self.container:
            if type(item) is Earlier:
                item.number = value


class LoopState:
    """What a loop's turns change in containers."""

    def __init__(self, containers: Containers) -> None:
        self.containers = containers
        self.places: list[Place | Last | Count] = []
        self.grown: dict[int, int | None] = {}  # lists that grow, by id: how many items a turn appends, None if that differs
        self.growing: list[tuple[list[Any], list[Any]]] = []  # lists, and what the turn captured last appends to each

    def with_places(self, variables: Variables) -> Variables:
        """The variables of a loop and these places."""
        count = len(variables.names)
        if not self.places:
            return variables

        def get() -> tuple[Any, ...]:
            return (*variables.get(), *(place.get() for place in self.places))

        def set_(values: Sequence[Any]) -> None:
            variables.set(tuple(values[:count]))
            for place, value in zip(self.places, values[count:]):
                place.set(value)

        names = [place.name for place in self.places]
        return variables._replace(get=get, set=set_, names=[*variables.names, *names], live=[*variables.live, *names])

    def stand_in(self, turn: Any) -> None:
        """Lists that grow are as at the start of a turn."""
        for container in self.containers.known:
            if id(container) in self.grown and not any(type(item) is Earlier for item in container):
                container.append(Earlier(turn, self.grown[id(container)]))

    def look(self, builder: CaptureBuilder) -> bool:
        """What a turn has changed; whether that is more than was known."""
        self.growing = []
        more = False
        counted = {id(place.container) for place in self.places if isinstance(place, Count)}
        known = {(id(place.container), place.key) for place in self.places if isinstance(place, Place)}
        for container, saved, name in zip(self.containers.known, self.containers.saved, self.containers.names):
            held = container.copy()
            before = held[: len(saved) + 1] if id(container) in self.grown else saved
            new = appended(held, before) if isinstance(container, list) else None
            if new is not None and id(container) in self.grown:
                self.growing.append((container, new))
                more |= self.grown[id(container)] != _count(new)
                self.grown[id(container)] = _count(new)
                if id(container) in builder.read_length - counted and _count(new) is None:
                    self.places.append(Count(f"{HELPER}count{len(self.places)}", container))
                    more = True
            elif new:
                self.grown[id(container)] = _count(new)
                if id(container) in builder.read_last and saved:
                    self.places.append(Last(f"{HELPER}last{len(self.places)}", container))
                more = True
            elif new is None:
                more |= self._items(container, held, saved, name, known)
        return more

    def _items(self, container: Any, held: Any, saved: Any, name: str, known: set[tuple[int, Any]]) -> bool:
        """Notes the items of a container that a turn replaces."""
        if isinstance(container, Cell):
            pairs: dict[Any, tuple[Any, Any]] = {0: (next(iter(saved), UNBOUND), next(iter(held), UNBOUND))}
        elif isinstance(container, dict) and all(type(key) is str for key in held):
            pairs = {key: (saved.get(key, UNBOUND), held.get(key, UNBOUND)) for key in {**saved, **held}}
        elif isinstance(container, list) and len(held) == len(saved):
            pairs = dict(enumerate(zip(saved, held)))
        elif same_items(held, saved):
            return False
        else:
            raise _changes(name)
        more = False
        for key, (before, after) in pairs.items():
            if (id(container), key) in known or same_item(before, after):
                continue
            if after is UNBOUND or before is UNBOUND:  # Python may ask whether it is there
                raise _changes(name)
            text = name if isinstance(container, Cell) else f"{name}.{key}" if isinstance(container, dict) else f"{name}[{key}]"
            taken = {place.name for place in self.places}
            while text in taken:
                text += "'"
            self.places.append(Place(text, container, key))
            more = True
        return more


def _count(new: list[Any]) -> int | None:
    return None if any(type(item) is Rows for item in new) else len(new)


def _changes(name: str) -> NotALoop:
    return NotALoop(
        f"static: {name} changes in a loop whose number of turns a tensor's value decides",
        hint="write into a tensor made before the loop, or keep the last value in a variable",
        location=user_location(),
    )
