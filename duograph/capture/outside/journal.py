"""What a captured function changes outside of itself: undone when the capture ends, done again by every run."""

from __future__ import annotations

import functools
import operator
import types
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.errors import CaptureError, Error
from duograph.ir.builder import current as current_builder

from ..control.growing import settled
from ..values.numbers import is_live, plain_pinned
from .classes import comes_first, is_descriptor
from .modules import ModuleWatch, is_module

if TYPE_CHECKING:
    from ..conversion.convert import Sites

CONTAINERS = (list, dict, set, deque)
_MISSING = object()


class Mark(NamedTuple):
    """How much a capture had changed outside at some point: see `Recorder.mark`."""

    calls: int
    undo: int
    first: int
    log: int
    refusals: int
    gradients: int
    written: set[tuple[int, Any]]
    stores: dict[tuple[int, Any], tuple[str, Any, Any, Callable[[], Any]]]
    values: list[tuple[tuple[str, Any, Any, Callable[[], Any]], Any]]
    contents: list[tuple[Any, Any]]


def refill(container: Any, items: Any) -> None:
    """Give a list, dict, set or deque other contents."""
    container.clear()
    if isinstance(container, (list, deque)):
        container.extend(items)
    else:
        container.update(items)


def named(function: Callable[..., Any], count: int, names: tuple[str, ...]) -> Callable[..., Any]:
    """The function with its arguments beyond `count` passed by name."""
    return (lambda *args: function(*args[:count], **dict(zip(names, args[count:])))) if names else function


class Journal:
    """The writes of one capture."""

    watch: ModuleWatch
    callee: Callable[[Any], Any]
    enter: Callable[[Any], None]
    external: dict[int, Any]  # objects that were there before the capture
    keep: list[Any]
    gradients_written: list[tuple[str, Any, Any]]  # the journal of reads and writes of `.grad`

    def __init__(self) -> None:
        self.written: set[tuple[int, Any]] = set()
        self.undo: list[Callable[[], None]] = []
        self.stores: dict[tuple[int, Any], tuple[str, Any, Any, Callable[[], Any]]] = {}
        self.log: list[tuple[str, Any, Any]] = []  # every write to a place: kind, holder, key
        self.refusals: list[Error] = []  # errors that end the capture, whoever catches them
        self.settled = 0  # so much of it was written before the branches and loops that are open
        self.first = 0  # how much of `undo` is of places
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.requiring: list[tuple[Any, bool]] = []  # tensors whose `requires_grad` a branch or loop set, with what it was
        self.journaled: list[Any] = []  # containers from outside that were changed
        self.saved: dict[int, Any] = {}  # what they held before, by id
        self.arrays: dict[int, tuple[Any, Any]] = {}  # NumPy arrays from outside, with what they held

    def store(self, kind: str, holder: Any, key: Any, restore: Callable[[], None], current: Callable[[], Any]) -> None:
        """A place outside is about to be written: the run will write what it holds when the capture ends."""
        identity = (id(holder), key)
        self.log.append((kind, holder, key))
        if identity not in self.written:
            self.written.add(identity)
            self.undo.append(restore)
            self.first += 1
            self.keep.append(holder)
            self.stores[identity] = (kind, holder, key, current)

    def set_attribute(self, value: Any, holder: Any, name: str) -> None:
        own = type(holder).__dict__.get("__setattr__") if not is_module(holder) else None
        if isinstance(own, types.FunctionType):  # what the user's class does instead
            self.callee(own)(holder, name, value)
            return
        if self.set_by_class(value, holder, name):
            return
        outside = id(holder) in self.external or is_module(holder) or isinstance(holder, type) or is_outside_function(holder)
        if isinstance(holder, core.Tensor) or not outside:
            if name == "requires_grad":
                self.note_requires_grad(holder)
            setattr(holder, name, value)
            return
        if isinstance(value, core.Tensor) and is_module(holder) and name in holder.__dict__.get("_parameters", ()):
            raise CaptureError(
                f"static: {type(holder).__name__}.{name} is a parameter, and a static function cannot replace it",
                hint=f"write into it: self.{name}.copy_(value) under no_grad",
            )
        old = getattr(holder, name, _MISSING) if is_its_own(holder, name) else _MISSING

        def restore() -> None:
            if old is _MISSING:
                with suppress(AttributeError):  # the function may have deleted it
                    delattr(holder, name)
            else:
                setattr(holder, name, old)

        places = [place_of(holder, name), own_dict(holder)]  # a Module keeps its tensors in both
        if isinstance(value, core.Tensor):
            for place in places:
                self.watch.forget(place, name)
        self.store("setattr", holder, name, restore, lambda: getattr(holder, name))
        self.written |= {(id(place), name) for place in places}
        setattr(holder, name, value)

    def note_requires_grad(self, tensor: Any) -> None:
        """`requires_grad` of a tensor may change next."""
        regions = vars(current_builder()).get("regions")
        if regions and isinstance(tensor, core.Tensor) and not (tensor._traced is not None and regions[-1].holds(tensor._traced)):
            self.requiring.append((tensor, tensor.requires_grad))

    def set_by_class(self, value: Any, holder: Any, name: str) -> bool:
        """Whether the user's class has a property or the like of this name, which does what it does with the value."""
        ways = () if isinstance(holder, (type, core.Tensor)) else type(holder).__mro__
        found = next((cls.__dict__[name] for cls in ways if name in cls.__dict__), None)
        if isinstance(found, property) and isinstance(found.fset, types.FunctionType):
            self.callee(found.fset)(holder, value)
            return True
        if not comes_first(found) or not is_descriptor(found):
            return False
        self.enter(found)  # from now on its methods are converted
        setattr(holder, name, value)
        return True

    def remember_property(self, value: Any, holder: Any, name: str) -> None:
        """What a cached property leaves in its object."""
        own = own_dict(holder)
        if own is None or (id(holder) not in self.external and not is_module(holder)):
            setattr(holder, name, value)
            return
        self.store("setitem", own, name, lambda: operator.delitem(own, name), lambda: own[name])
        own[name] = value

    def set_item(self, value: Any, holder: Any, key: Any) -> None:
        settled(holder)
        if id(holder) in self.external and isinstance(holder, (list, dict)):
            if is_live(key):
                key = key.pin()
            moved = isinstance(key, slice) or (isinstance(holder, list) and type(key) is not int)
            if moved or (id(holder), "*") in self.written:  # after a change that only a repeated call can repeat
                self.journal_container(holder)
                holder[key] = value
                self.calls.append((functools.partial(operator.setitem, holder, key), (value,)))
                return
            self.store_item(holder, key, value)
            return
        if id(holder) in self.external and is_array(holder):
            self.journal_array(holder)
            self.calls.append((functools.partial(operator.setitem, holder, plain_pinned(key)), (value,)))
        holder[key] = value

    def delete_attribute(self, holder: Any, name: str) -> None:
        outside = id(holder) in self.external or isinstance(holder, type) or is_outside_function(holder)
        if not outside or not hasattr(holder, name):
            delattr(holder, name)
            return
        old = getattr(holder, name)
        place = place_of(holder, name)
        self.undo.append(lambda: setattr(holder, name, old))
        if self.stores.pop((id(holder), name), None) is None or (id(place), name) not in self.written:
            self.calls.append((functools.partial(delattr, holder, name), ()))
        self.written |= {(id(place), name), (id(holder), name)}
        self.watch.forget(place, name)
        delattr(holder, name)

    def delete_item(self, holder: Any, key: Any) -> None:
        key = plain_pinned(key)
        settled(holder)
        if id(holder) in self.external and isinstance(holder, CONTAINERS):
            self.journal_container(holder)
            self.calls.append((functools.partial(operator.delitem, holder, key), ()))
        del holder[key]

    def store_site(self, sites: Sites, number: int, value: Any) -> Any:
        """A global or closure variable is about to be assigned `value`."""
        kind, holder, name = sites.sites[number]
        if kind == "cell":
            self.store_cell(holder, value)
        else:
            self.store_item(holder, name, value)
        return value

    def store_cell(self, cell: types.CellType, value: Any) -> None:
        """A closure variable from outside is assigned."""
        try:
            old = cell.cell_contents
        except ValueError:
            old = _MISSING

        def restore() -> None:
            if old is _MISSING:
                del cell.cell_contents
            else:
                cell.cell_contents = old

        self.store("setcell", cell, None, restore, lambda: cell.cell_contents)
        cell.cell_contents = value

    def store_item(self, holder: Any, key: Any, value: Any) -> None:
        """An item of a dict or list from outside is assigned; a global variable is one."""
        old = holder.get(key, _MISSING) if isinstance(holder, dict) else holder[key]

        def restore() -> None:
            if old is _MISSING:
                holder.pop(key, None)
            else:
                holder[key] = old

        self.store("setitem", holder, key, restore, lambda: holder[key])
        holder[key] = value

    def augmented(self, old: Any, how: str, value: Any) -> None:
        """`old += value` is about to change an object from outside."""
        if id(old) not in self.external:
            return
        if isinstance(old, CONTAINERS):
            self.journal_container(old)
        elif is_array(old):
            self.journal_array(old)
        else:
            return
        self.calls.append((functools.partial(getattr(operator, how), old), (value,)))

    def call_after(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Each run makes this call when it has its values."""
        self.calls.append((named(function, len(args), tuple(kwargs)), (*args, *kwargs.values())))

    def journal_array(self, array: Any) -> None:
        """A NumPy array from outside is about to be written."""
        saved = self.arrays.setdefault(id(array), (array, array.copy()))[1]
        self.undo.append(lambda: operator.setitem(array, ..., saved))

    def journal_container(self, container: Any) -> None:
        """A container from outside is about to be changed in a way that only a repeated call can repeat."""
        if (id(container), "*") in self.written:
            return
        self.written.add((id(container), "*"))
        for identity in [place for place in self.stores if place[0] == id(container)]:  # in the order of the program
            _, _, key, current = self.stores.pop(identity)
            self.calls.append((functools.partial(operator.setitem, container, key), (current(),)))
        self.keep.append(container)
        saved = self.saved[id(container)] = container.copy()
        self.journaled.append(container)
        self.undo.append(lambda: refill(container, saved))

    def mark(self) -> Mark:
        """What was changed outside so far, to go back to."""
        values = [(row, row[3]()) for row in self.stores.values()]
        return Mark(
            len(self.calls), len(self.undo), self.first, len(self.log), len(self.refusals), len(self.gradients_written),
            set(self.written), dict(self.stores), values, [(x, x.copy()) for x in self.journaled],
        )  # fmt: skip

    def back_to(self, mark: Mark) -> None:
        """Undo and forget what was changed outside since a mark."""
        del self.calls[mark.calls :]
        del self.refusals[mark.refusals :]
        while len(self.undo) > mark.undo:
            self.undo.pop()()
        for _, tensor, old in [row for row in self.gradients_written[mark.gradients :] if row[0] == "write"][::-1]:
            tensor.grad = old
        del self.gradients_written[mark.gradients :]
        self.take_back_stores(mark)
        del self.journaled[len(mark.contents) :]
        for container, saved in mark.contents:
            refill(container, saved)

    def take_back_stores(self, mark: Mark) -> None:
        """Undo and forget the writes to places since a mark, where there were no others."""
        while len(self.undo) > mark.undo:
            self.undo.pop()()
        self.first = mark.first
        del self.log[mark.log :]
        self.written, self.stores = set(mark.written), dict(mark.stores)
        for (kind, holder, key, _), value in mark.values:
            if kind == "setattr":
                setattr(holder, key, value)
            elif kind == "setcell":
                holder.cell_contents = value
            else:
                holder[key] = value


def place_of(holder: Any, name: str) -> Any:
    """The dict in which an attribute lives, or will live."""
    own = own_dict(holder)
    if own is None:
        return holder
    for table in ("_parameters", "_buffers", "_modules"):
        if isinstance(own.get(table), dict) and name in own[table]:
            return own[table]
    return own


def own_dict(holder: Any) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def is_its_own(holder: Any, name: str) -> bool:
    """Whether an object has an attribute by itself, not by its class, or its class says what the attribute is."""
    if isinstance(holder, type):
        return name in holder.__dict__
    own = own_dict(holder)
    if own is None or name in own or place_of(holder, name) is not own:
        return True
    return comes_first(getattr(type(holder), name, None))


def is_array(value: Any) -> bool:
    """Whether it is a NumPy array, or something like one."""
    return type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "__array__") and hasattr(value, "copy")


def is_outside_function(value: Any) -> bool:
    """Whether it is a function that was there before the capture."""
    from ..conversion.convert import is_inside

    return isinstance(value, types.FunctionType) and not is_inside(value.__code__)
