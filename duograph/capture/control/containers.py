"""What code in a branch or loop may change besides variables: containers, objects, closures and arrays of the function.

Found from the variables that the code reads. What lies outside of the captured function is journalled elsewhere.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from duograph import _core as core

from ..outside.journal import CONTAINERS, own_dict, refill
from ..outside.modules import is_module
from ..values.attributes import own_attributes, slot, slots_of
from ..values.numbers import is_live

if TYPE_CHECKING:
    from ..outside.recorder import Recorder

_ATOMS = (bool, int, float, complex, str, bytes)
_LEFT_ALONE = (*_ATOMS, type(None), core.Tensor, type, types.ModuleType, types.BuiltinFunctionType)


def same_item(a: Any, b: Any) -> bool:
    """Whether two items are one object, or equal where objects do not matter."""
    if a is b:
        return True
    if isinstance(a, core.Tensor):
        return bool(isinstance(b, core.Tensor) and a._traced is not None and a._traced is b._traced)
    return type(a) is type(b) and type(a) in _ATOMS and bool(a == b)


def same_items(a: Any, b: Any) -> bool:
    """Whether two containers hold the same items in the same order."""
    if isinstance(a, np.ndarray):
        return bool(a.shape == b.shape and a.tobytes() == b.tobytes())
    if len(a) != len(b):
        return False
    if isinstance(a, set):
        return {id(x) for x in a} == {id(x) for x in b}
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same_item, a.values(), b.values()))
    return all(map(same_item, a, b))


class Cell:
    """A closure variable, as a container of what it holds."""

    def __init__(self, cell: types.CellType, name: str) -> None:
        self.cell, self.name = cell, name

    def copy(self) -> list[Any]:
        try:
            return [self.cell.cell_contents]
        except ValueError:
            return []

    def refill(self, items: Sequence[Any]) -> None:
        if items:
            self.cell.cell_contents = items[0]
        elif self.copy():
            del self.cell.cell_contents


class Slot(Cell):
    """A slot of an object, as a container of what it holds."""

    def __init__(self, holder: Any, name: str) -> None:
        self.holder, self.name = holder, name

    def copy(self) -> list[Any]:
        try:
            return [slot(self.holder, self.name)]
        except AttributeError:
            return []

    def refill(self, items: Sequence[Any]) -> None:
        if items:
            object.__setattr__(self.holder, self.name, items[0])
        elif self.copy():
            object.__delattr__(self.holder, self.name)


class Held:
    """What containers held at some other moment."""

    def __init__(self, known: Sequence[Any], contents: Sequence[Any]) -> None:
        self.slots: dict[int, list[Slot]] = {}
        self.contents: dict[int, Any] = {}
        for container, items in zip(known, contents):
            self.contents[id(container)] = items
            if isinstance(container, Slot):
                self.slots.setdefault(id(container.holder), []).append(container)

    def of(self, container: Any) -> Any:
        """The items of a list or dict."""
        return self.contents.get(id(container), container)

    def attributes(self, value: Any) -> dict[str, Any]:
        """The attributes of an object."""
        found = own_attributes(value)
        own = own_dict(value)
        if own is not None and id(own) in self.contents:
            found = {name: part for name, part in found.items() if name not in own} | self.contents[id(own)]
        for known in self.slots.get(id(value), ()):
            found.pop(known.name, None)
            for item in self.contents[id(known)]:
                found[known.name] = item
        return found


class Containers:
    """Those that were there before a branch or loop, and what they held."""

    def __init__(self, recorder: Recorder, values: Iterable[Any], variables: Any) -> None:
        self.external = recorder.external
        self.own = {id(cell) for cell in getattr(variables.set, "__closure__", None) or ()}  # the statement's variables
        self.known: list[Any] = []
        self.names: list[str] = []
        self.iterators: dict[int, Any] = {}
        self.seen: dict[int, Any] = {}
        for value in values:
            self._visit(value)
        self.saved = [x.copy() for x in self.known]

    def _visit(self, value: Any) -> None:
        if isinstance(value, _LEFT_ALONE) or is_live(value) or id(value) in self.seen:
            return
        self.seen[id(value)] = value
        if id(value) in self.external:
            return
        for child in self._parts(value):
            self._visit(child)

    def _parts(self, value: Any) -> Iterable[Any]:
        """What is reached from an object; the object is noted if it can be changed."""
        if isinstance(value, CONTAINERS):
            self._note(value, f"a {type(value).__name__}")
            return list(value.values()) if isinstance(value, dict) else list(value)
        if isinstance(value, tuple):
            return value
        if isinstance(value, np.ndarray):
            if value.flags.writeable:
                self._note(value, "an array")
            return ()
        if isinstance(value, types.FunctionType):
            return self._closure(value)
        if isinstance(value, types.MethodType):
            return (value.__func__, value.__self__)
        if isinstance(value, functools.partial):
            return (value.func, *value.args, *value.keywords.values())
        if isinstance(value, Iterator):
            self.iterators[id(value)] = value
            return ()
        if isinstance(value, functools._lru_cache_wrapper):
            return ()  # what it calls, it calls now and once
        if is_module(value) or type(value).__module__.partition(".")[0] == "duograph":
            return ()
        for name in slots_of(value):
            self._note(Slot(value, name), f"{type(value).__name__}.{name}")
        own = own_dict(value)
        if own is not None:
            self._note(own, type(value).__name__)
        return list(own_attributes(value).values())

    def _closure(self, function: types.FunctionType) -> Iterable[Any]:
        from ..conversion.scopes import HELPER

        found: list[Any] = []
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            if name != HELPER and id(cell) not in self.own and id(cell) not in self.seen:
                self.seen[id(cell)] = cell
                holder = Cell(cell, name)
                self._note(holder, name)
                found += holder.copy()
        if function.__dict__ and "__wrapped__" not in function.__dict__:
            self._note(function.__dict__, function.__name__)
            found += function.__dict__.values()
        return found

    def _note(self, container: Any, name: str) -> None:
        self.known.append(container)
        self.names.append(name)

    @contextmanager
    def hold(self, builder: Any) -> Iterator[None]:
        """Inside, iterators that were there before must not go on."""
        builder.held_iterators.append(self.iterators)
        try:
            yield
        finally:
            builder.held_iterators.pop()

    def take_back(self) -> list[Any]:
        """All as before; gives what they held."""
        held = [x.copy() for x in self.known]
        self.give(list(enumerate(self.saved)))
        return held

    def held(self, contents: Sequence[Any]) -> Held:
        """What each of them held, to be looked up."""
        return Held(self.known, contents)

    def give(self, contents: Sequence[tuple[int, Any]]) -> None:
        """Other contents for some of them, by number."""
        for i, items in contents:
            known = self.known[i]
            if isinstance(known, Cell):
                known.refill(items)
            elif isinstance(known, np.ndarray):
                known[...] = items
            elif not _identical(known, items):
                refill(known, items)

    def changed(self, *contents: Sequence[Any]) -> list[int]:
        """The numbers of those that hold something else than before in some of the contents."""
        return [i for i, old in enumerate(self.saved) if not all(same_items(held[i], old) for held in contents)]


def _identical(a: Any, b: Any) -> bool:
    """Whether nothing need be put back."""
    if len(a) != len(b):
        return False
    if isinstance(a, dict):
        return all(x is y and v is w for (x, v), (y, w) in zip(a.items(), b.items()))
    return not isinstance(a, set) and all(x is y for x, y in zip(a, b))
