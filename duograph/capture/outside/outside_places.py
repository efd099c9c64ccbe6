"""Attributes, globals, closure variables and items from outside that a branch or loop writes, as variables of the statement.

A run writes them once, when it ends, with what the sides and turns it took have left there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import current

from ..control.control import UNBOUND, Variables
from .journal import own_dict

if TYPE_CHECKING:
    from .recorder import Recorder


class OutsidePlace(NamedTuple):
    """Where something is written, under a name that is no variable's."""

    name: str
    kind: str  # as the journal says it: setattr, setitem, setcell
    holder: Any
    key: Any


class OutsidePlaces:
    """The places that a statement writes."""

    def __init__(self, recorder: Recorder) -> None:
        builder: Any = current()
        self.recorder = recorder
        self.start = len(recorder.log)
        if not builder.regions:
            recorder.settled = self.start
        self.mark = recorder.mark()
        self.places: list[OutsidePlace] = []

    def new(self) -> bool:
        """Whether further places were written since the start; they belong to the statement from now on."""
        known = {(id(place.holder), place.key) for place in self.places}
        count = len(known)
        for kind, holder, key in self.recorder.log[self.start :]:
            if (id(holder), key) not in known:
                known.add((id(holder), key))
                self.places.append(OutsidePlace(self._name(kind, holder, key), kind, holder, key))
        return len(known) > count

    def take_back(self) -> None:
        """All places as at the start."""
        if len(self.recorder.log) > self.start:
            self.recorder.take_back_stores(self.mark)

    def _name(self, kind: str, holder: Any, key: Any) -> str:
        if kind == "setattr":
            owner = holder.__name__ if isinstance(holder, type) else type(holder).__name__
            name = f"the attribute {key} of {owner}"
        elif kind == "setcell":
            name = f"the variable {self.recorder.cell_names.get(id(holder), 'of a function')}"
        else:
            name = f"the item {key!r}" if id(holder) in self.recorder.external else f"the global {key}"
        taken = {place.name for place in self.places}
        while name in taken:
            name += "'"
        return name

    def get(self) -> tuple[Any, ...]:
        """What the places hold."""
        return tuple(map(self._look, self.places))

    def _look(self, place: OutsidePlace) -> Any:
        recorder, (_, kind, holder, key) = self.recorder, place
        if kind == "setattr":
            try:
                return recorder.attribute(holder, key)
            except AttributeError:
                return UNBOUND
        if kind == "setcell":
            try:
                return recorder.observe(holder.cell_contents, "cell", holder, None, True)
            except ValueError:
                return UNBOUND
        if isinstance(holder, dict) and key not in holder:
            recorder.guard("lacks", holder, key) if (id(holder), key) not in recorder.written else None
            return UNBOUND
        return recorder.observe(holder[key], "item" if isinstance(holder, dict) else "index", holder, key, True)

    def set(self, values: Sequence[Any]) -> None:
        """Let the places hold these."""
        for place, value in zip(self.places, values):
            self._put(place, value)

    def _put(self, place: OutsidePlace, value: Any) -> None:
        recorder, (name, kind, holder, key) = self.recorder, place
        if value is UNBOUND:
            raise CaptureError(
                f"static: {name} is first assigned where a tensor's value may lead, and elsewhere not",
                hint="give it a value of the same dtype and shape before",
                location=user_location(),
            )
        if kind == "setattr":
            own = own_dict(holder)
            if own is not None and key in own and own[key] is value:
                return
            recorder.set_attribute(value, holder, key)
        elif kind == "setcell":
            recorder.store_cell(holder, value)
        else:
            recorder.store_item(holder, key, value)


def with_places(variables: Variables, outside: OutsidePlaces) -> Variables:
    """The variables of a statement, and those that stand for the places outside it writes."""
    if not outside.places:
        return variables
    count = len(variables.names)

    def get() -> tuple[Any, ...]:
        return (*variables.get(), *outside.get())

    def set_(values: Sequence[Any]) -> None:
        variables.set(tuple(values[:count]))
        outside.set(values[count:])

    names = [place.name for place in outside.places]
    return variables._replace(get=get, set=set_, names=[*variables.names, *names], live=[*variables.live, *names])
