"""What one capture has read, assumed and changed outside of the captured function.

Every read of a global, a closure variable or an attribute of an object that existed before comes here. A tensor read
so is state, read afresh at each run; a number becomes live (`numbers.LiveNumber`); anything else is guarded. Writes
are journalled: undone when the capture ends, done again by every run.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError

from .growing import Rows
from .modules import ModuleWatch, is_module
from .numbers import LiveNumber, Postfix, is_live
from .sizes import CallSizes

if TYPE_CHECKING:
    from .convert import Sites
    from .host_calls import HostCalls

_ATOMS = (bool, type(None), str, bytes, complex, types.EllipsisType, core.DType, range, slice)
_BY_IDENTITY = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, type, types.ModuleType, types.MethodDescriptorType,
    core.Op, core.Function,
)  # fmt: skip
CONTAINERS = (list, dict, set)
_MISSING = object()


class Mark(NamedTuple):
    """How much a capture had changed outside at some point: see `Recorder.mark`."""

    calls: int
    undo: int
    gradients: int
    written: set[tuple[int, Any]]
    stores: dict[tuple[int, Any], tuple[str, Any, Any, Callable[[], Any]]]
    values: list[tuple[tuple[str, Any, Any, Callable[[], Any]], Any]]
    contents: list[tuple[Any, Any]]


def refill(container: Any, items: Any) -> None:
    """Give a list, dict or set other contents."""
    container.clear()
    if isinstance(container, list):
        container.extend(items)
    else:
        container.update(items)


class Recorder:
    """The record of one capture."""

    def __init__(self) -> None:
        self.gradients_written: list[tuple[str, Any, Any]] = []  # the journal of reads and writes of `.grad`
        self.tried = 0  # how many `try` statements are around what runs
        self.single_path = False  # a tensor that decides is refused
        self.hosts: HostCalls  # set by the session
        self.sizes = CallSizes(self)
        self.reads: list[tuple[str, Any, Any]] = []
        self.read_numbers: dict[tuple[Any, ...], int] = {}
        self.guards: list[tuple[Any, ...]] = []
        self.lines: dict[int, Any] = {}  # the user's line behind a guard, by the id of its row
        self.cell_names: dict[int, str] = {}
        self.guard_keys: set[Any] = set()
        self.external: dict[int, Any] = {}  # objects that were there before the capture
        self.tensor_reads: dict[int, list[int]] = {}
        self.tensor_names: dict[int, str] = {}
        self.watch = ModuleWatch()
        self.written: set[tuple[int, Any]] = set()
        self.undo: list[Callable[[], None]] = []
        self.stores: dict[tuple[int, Any], tuple[str, Any, Any, Callable[[], Any]]] = {}
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.journaled: list[Any] = []  # containers from outside that were changed
        self.keep: list[Any] = []
        self.closed = False
        self.callees: dict[Any, Any] = {}

    # ---- reads

    def read(self, kind: str, holder: Any, key: Any) -> int:
        """The number of a read that each run makes."""
        identity = (kind, id(holder), key)
        number = self.read_numbers.get(identity)
        if number is None:
            number = self.read_numbers[identity] = len(self.reads)
            self.reads.append((kind, holder, key))
            self.keep.append(holder)
        return number

    def guard(self, *row: Any) -> None:
        identity = tuple(id(x) if i else x for i, x in enumerate(row)) if row[0] not in ("is", "eq") else row[:2]
        if identity not in self.guard_keys:
            self.guard_keys.add(identity)
            self.guards.append(row)
            self.lines[id(row)] = user_location()
            self.keep.append(row)

    def observe(self, value: Any, kind: str, holder: Any, key: Any, base: bool = False, name: str = "") -> Any:
        """The value of an outside place, as the captured function sees it."""
        if is_live(value) or (id(holder), key) in self.written:
            return value
        if isinstance(value, core.Tensor):
            if value._traced is None:
                self.found(value, self.read(kind, holder, key))
                self.tensor_names.setdefault(id(value), name or (key if type(key) is str else ""))
            return value
        if type(value) is int or type(value) is float:
            return LiveNumber(self, (("read", self.read(kind, holder, key), type(value) is float),), value)
        if kind == "item" and self.watch.owns(holder):
            self.watch.remember(holder, key, value)  # the epoch tells when a Module changes
        elif isinstance(value, _ATOMS):
            self.guard("eq", self.read(kind, holder, key), value)
        else:
            self.guard("is", self.read(kind, holder, key), value)
        if isinstance(value, (*_ATOMS, *_BY_IDENTITY)):
            return value
        self.enter(value)
        if not base and isinstance(value, CONTAINERS):
            self.contents(value)
        return value

    def found(self, tensor: Any, read: int) -> None:
        """A tensor from outside was found by this read."""
        self.keep.append(tensor)
        reads = self.tensor_reads.setdefault(id(tensor), [])
        if read not in reads:
            reads.append(read)

    def enter(self, value: Any) -> None:
        """`value` existed before the capture: what is read from it matters."""
        if id(value) not in self.external:
            self.external[id(value)] = value
            if is_module(value):
                self.watch.module(value)
            elif isinstance(value, tuple):
                for item in value:
                    if not isinstance(item, (*_ATOMS, *_BY_IDENTITY, int, float, core.Tensor)):
                        self.enter(item)

    def contents(self, container: Any, deep: bool = True) -> None:
        """The captured function may look at all of a container: the capture holds for these very items."""
        if any(key[0] == id(container) for key in self.written):
            return
        if isinstance(container, list):
            self.guard("list", container, tuple(container))
            items = list(container)
        elif isinstance(container, dict):
            self.guard("dict", container, tuple(x for pair in container.items() for x in pair))
            items = list(container.values())
        else:
            frozen = frozenset(container)
            self.guard("call", lambda: container == frozen)
            items = []
        for item in items:
            if isinstance(item, core.Tensor):
                self.keep.append(item)
            elif not isinstance(item, (*_ATOMS, *_BY_IDENTITY, int, float)) and id(item) not in self.external:
                self.enter(item)
                if deep and isinstance(item, CONTAINERS):
                    self.contents(item)

    def attribute(self, holder: Any, name: str, base: bool = False) -> Any:
        """`holder.name` as the captured function sees it."""
        if isinstance(holder, (core.Tensor, LiveNumber)):
            return getattr(holder, name)
        if isinstance(holder, types.ModuleType):
            value = getattr(holder, name)
            if _user_module(holder) and name in holder.__dict__:
                return self.observe(value, "item", holder.__dict__, name, base)
            return value
        if is_module(holder):
            self.enter(holder)
        elif id(holder) not in self.external and not isinstance(holder, type):
            return getattr(holder, name)
        own = _own_dict(holder)
        if own is not None and name in own and not _data_descriptor(holder, name):
            return self.observe(own[name], "item", own, name, base)
        if is_module(holder):
            for table in ("_parameters", "_buffers", "_modules"):
                entries = own.get(table) if own is not None else None
                if entries is not None and name in entries:
                    value = getattr(holder, name)
                    return self.observe(value, "item", entries, name, base) if value is entries[name] else value
        return self.class_attribute(holder, name, base)

    def class_attribute(self, holder: Any, name: str, base: bool) -> Any:
        cls = holder if isinstance(holder, type) else type(holder)
        if not _user_class(cls):
            return getattr(holder, name)
        for ancestor in cls.__mro__:
            found = ancestor.__dict__.get(name, _MISSING)
            if found is _MISSING:
                continue
            if isinstance(found, property) and holder is not cls and isinstance(found.fget, types.FunctionType):
                return self.callee(found.fget)(holder)
            if isinstance(found, (types.FunctionType, staticmethod, classmethod)):
                if _user_class(ancestor):
                    self.guard("is", self.read("attr", ancestor, name), getattr(ancestor, name)) if isinstance(
                        found, types.FunctionType
                    ) else None
                return getattr(holder, name)
            if isinstance(found, (types.MemberDescriptorType, types.GetSetDescriptorType)) or _data(found):
                return self.observe(getattr(holder, name), "attr", holder, name, base)  # __slots__
            value = getattr(holder, name)
            return self.observe(value, "attr", holder, name, base) if value is found else value
        value = getattr(holder, name)  # __getattr__, or raises
        return self.observe(value, "attr", holder, name, base) if id(holder) in self.external else value

    def item(self, holder: Any, key: Any, base: bool = False) -> Any:
        """`holder[key]` as the captured function sees it."""
        if type(holder) is list and len(holder) == 1 and isinstance(holder[0], Rows):
            stack = holder[0].stack
            return stack[stack.shape[0] - 1] if type(key) is int and key == -1 else stack[key]
        value = holder[key]
        if isinstance(holder, core.Tensor) or id(holder) not in self.external:
            return value
        if is_live(key):
            key = key.pin()
        if isinstance(holder, dict):
            return self.observe(value, "item", holder, key, base)
        if isinstance(holder, (list, tuple)) and type(key) is int:
            if isinstance(holder, tuple):
                self.enter(value) if not isinstance(value, (*_ATOMS, *_BY_IDENTITY, int, float, core.Tensor)) else None
                return value
            return self.observe(value, "index", holder, key, base)
        if isinstance(holder, CONTAINERS):
            self.contents(holder)
        return value

    def site(self, sites: Sites, number: int, value: Any, base: bool) -> Any:
        """A global or closure variable of converted code."""
        kind, holder, name = sites.sites[number]
        if kind == "item" and name not in holder:
            return value  # a builtin
        if kind == "cell":
            self.cell_names[id(holder)] = name
            return self.observe(value, "cell", holder, None, base, name)
        return self.observe(value, "item", holder, name, base, name)

    # ---- what library code says itself

    def library_item(self, holder: Any, key: Any) -> Any:
        value = holder[key]
        if isinstance(value, tuple) and value and all(type(x) in (int, float) for x in value):
            index = self.read("item", holder, key)
            self.guard("is", index, value)
            return value
        return self.observe(value, "item" if isinstance(holder, dict) else "index", holder, key)

    def library_contents(self, container: Any) -> None:
        if isinstance(container, CONTAINERS):
            self.contents(container, deep=False)

    def callee(self, function: Any) -> Any:
        from .convert import callee

        return callee(self, function)

    # ---- numbers

    def pin(self, number: LiveNumber) -> None:
        self.pin_postfix(number.postfix, number.value)

    def pin_postfix(self, postfix: Postfix, value: int | float) -> None:
        """The capture holds only while the number is this one."""
        if self.closed:
            return
        if len(postfix) == 1 and postfix[0][0] == "read":
            kind, holder, key = self.reads[postfix[0][1]]
            if kind == "item" and self.watch.owns(holder):
                self.watch.remember(holder, key, value)
            self.guard("eq", postfix[0][1], value)
        else:
            self.guard_outcome((*postfix, ("const", value), ("eq",)), True)

    def guard_outcome(self, postfix: Postfix, result: bool) -> None:
        if not self.closed and ("expr", postfix) not in self.guard_keys:
            self.guard_keys.add(("expr", postfix))
            self.guards.append(("expr", list(postfix), bool(result)))
            self.lines[id(self.guards[-1])] = user_location()

    # ---- writes

    def store(self, kind: str, holder: Any, key: Any, restore: Callable[[], None], current: Callable[[], Any]) -> None:
        """A place outside is about to be written: the run will write what it holds when the capture ends."""
        identity = (id(holder), key)
        if identity not in self.written:
            self.written.add(identity)
            self.undo.append(restore)
            self.keep.append(holder)
            self.stores[identity] = (kind, holder, key, current)

    def set_attribute(self, value: Any, holder: Any, name: str) -> None:
        if isinstance(holder, core.Tensor) or not (id(holder) in self.external or is_module(holder)):
            setattr(holder, name, value)
            return
        if isinstance(value, core.Tensor) and is_module(holder) and name in holder.__dict__.get("_parameters", ()):
            raise CaptureError(
                f"static: {type(holder).__name__}.{name} is a parameter, and a static function cannot replace it",
                hint=f"write into it: self.{name}.copy_(value) under no_grad",
            )
        old = getattr(holder, name, _MISSING)

        def restore() -> None:
            if old is _MISSING:
                delattr(holder, name)
            else:
                setattr(holder, name, old)

        place = _place(holder, name)
        self.written.add((id(place), name))
        if isinstance(value, core.Tensor):
            self.watch.forget(place, name)
        self.store("setattr", holder, name, restore, lambda: getattr(holder, name))
        setattr(holder, name, value)

    def set_item(self, value: Any, holder: Any, key: Any) -> None:
        if id(holder) in self.external and isinstance(holder, (list, dict)):
            if is_live(key):
                key = key.pin()
            if isinstance(key, slice) or (isinstance(holder, list) and type(key) is not int):
                self.journal_container(holder)
                holder[key] = value
                self.calls.append((operator.setitem, (holder, key, value)))
                return
            old = holder.get(key, _MISSING) if isinstance(holder, dict) else holder[key]

            def restore() -> None:
                if old is _MISSING:
                    del holder[key]
                else:
                    holder[key] = old

            self.store("setitem", holder, key, restore, lambda: holder[key])
        holder[key] = value

    def store_site(self, sites: Sites, number: int, value: Any) -> Any:
        """A global or closure variable is about to be assigned `value`."""
        kind, holder, name = sites.sites[number]
        if kind == "cell":
            try:
                old = holder.cell_contents
            except ValueError:
                old = _MISSING

            def restore_cell() -> None:
                if old is _MISSING:
                    del holder.cell_contents
                else:
                    holder.cell_contents = old

            self.store("setcell", holder, None, restore_cell, lambda: holder.cell_contents)
        else:
            before = holder.get(name, _MISSING)

            def restore() -> None:
                if before is _MISSING:
                    holder.pop(name, None)
                else:
                    holder[name] = before

            self.store("setitem", holder, name, restore, lambda: holder[name])
        return value

    def journal_container(self, container: Any) -> None:
        """A container from outside is about to be changed in a way that only a repeated call can repeat."""
        if (id(container), "*") in self.written:
            return
        self.written.add((id(container), "*"))
        self.keep.append(container)
        saved = container.copy()
        self.journaled.append(container)
        self.undo.append(lambda: refill(container, saved))

    def mark(self) -> Mark:
        """What was changed outside so far, to go back to."""
        return Mark(
            len(self.calls), len(self.undo), len(self.gradients_written), set(self.written), dict(self.stores),
            [(row, row[3]()) for row in self.stores.values()], [(x, x.copy()) for x in self.journaled],
        )  # fmt: skip

    def back_to(self, mark: Mark) -> None:
        """Undo and forget what was changed outside since a mark."""
        del self.calls[mark.calls :]
        while len(self.undo) > mark.undo:
            self.undo.pop()()
        for _, tensor, old in [row for row in self.gradients_written[mark.gradients :] if row[0] == "write"][::-1]:
            tensor.grad = old
        del self.gradients_written[mark.gradients :]
        self.written, self.stores = set(mark.written), dict(mark.stores)
        for (kind, holder, key, _), value in mark.values:
            if kind == "setattr":
                setattr(holder, key, value)
            elif kind == "setcell":
                holder.cell_contents = value
            else:
                holder[key] = value
        del self.journaled[len(mark.contents) :]
        for container, saved in mark.contents:
            refill(container, saved)

    def roll_back(self) -> None:
        """Everything outside is as before the capture again."""
        while self.undo:
            self.undo.pop()()
        self.closed = True


def _place(holder: Any, name: str) -> Any:
    """The dict in which an attribute lives, or will live."""
    own = _own_dict(holder)
    if own is None:
        return holder
    for table in ("_parameters", "_buffers", "_modules"):
        if isinstance(own.get(table), dict) and name in own[table]:
            return own[table]
    return own


def _own_dict(holder: Any) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def _data(descriptor: Any) -> bool:
    return hasattr(type(descriptor), "__set__")


def _data_descriptor(holder: Any, name: str) -> bool:
    """The class has a property or the like of this name, which comes before the instance's own attribute."""
    return _data(getattr(type(holder), name, None))


def _user_class(cls: type) -> bool:
    return cls.__module__.partition(".")[0] not in ("duograph", "builtins", "typing", "enum", "numpy", "collections")


def _user_module(module: types.ModuleType) -> bool:
    from .convert import is_user_file

    return is_user_file(getattr(module, "__file__", None) or "")
