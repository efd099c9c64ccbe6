"""What one capture has read, assumed and changed outside of the captured function.

Every read of a global, a closure variable or an attribute of an object that existed before comes here. A tensor read
so is state, read afresh at each run; a number becomes live (`numbers.LiveNumber`); anything else is guarded. Writes
are journalled: undone when the capture ends, done again by every run.
"""

from __future__ import annotations

import functools
import operator
import os
import types
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import active, current

from ..control.growing import grows
from ..control.growing import item as item_of_growing
from ..conversion.special import SpecialMethods
from ..conversion.user_files import is_user_module
from ..memory.borrowed import no_use
from ..values.numbers import LiveNumber, Postfix, is_live
from ..values.sizes import CallSizes
from .classes import ClassWatch, comes_first, is_code, is_descriptor, is_user_class
from .journal import CONTAINERS, Journal, is_array, is_outside_function, own_dict, place_of
from .modules import MISSING, ModuleWatch, is_module
from .outer import is_used_up, refuse_iterator, variable
from .watched import Lacks, OfClass, TupleHistory

if TYPE_CHECKING:
    from ..conversion.convert import Sites
    from ..values.state_tensors import StateTensors
    from .host_calls import HostCalls

_ATOMS = (bool, type(None), str, bytes, complex, types.EllipsisType, core.DType, range, slice)
_BY_IDENTITY = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, type, types.ModuleType, types.MethodDescriptorType,
    core.Op, core.Function,
)  # fmt: skip
_MISSING = object()


class Recorder(Journal):
    """The record of one capture."""

    def __init__(self) -> None:
        super().__init__()
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
        self.special = SpecialMethods(self.callee)
        self.looked_at: set[Any] = set()
        self.stale: set[tuple[int, Any]] = set()  # places that a call into Python has changed by now
        self.keep: list[Any] = []
        self.closed = False
        self.callees: dict[Any, Any] = {}
        self.tuples = TupleHistory()
        self.states: StateTensors  # set by the session
        self.wholes: dict[int, tuple[int, int]] = {}  # by read of a tuple: the read, how much it holds

    # ---- reads

    def read(self, kind: str, holder: Any, key: Any) -> int:
        """The number of a read that each run makes."""
        identity = (kind, id(holder), key)
        if identity not in self.read_numbers:
            self.read_numbers[identity] = len(self.reads)
            self.reads.append((kind, holder, key))
            self.keep.append(holder)
        return self.read_numbers[identity]

    def guard(self, *row: Any) -> None:
        identity = tuple(id(x) if i else x for i, x in enumerate(row)) if row[0] not in ("is", "eq") else row[:2]
        if identity not in self.guard_keys:
            self.guard_keys.add(identity)
            self.guards.append(row)
            self.lines[id(row)] = user_location()
            self.keep.append(row)

    def observe(self, value: Any, kind: str, holder: Any, key: Any, base: bool = False, name: str = "") -> Any:
        """The value of an outside place, as the captured function sees it."""
        if self.stale and (id(holder), key) in self.stale:
            raise CaptureError(
                f"static: {key!r} is read after a call that changes it in each run, such as a scheduler's step",
                hint="call the scheduler's step at the end of the function, or outside of it",
                location=user_location(),
            )
        if is_live(value) or (id(holder), key) in self.written:
            return value
        if isinstance(value, core.Tensor):
            return value if value._traced is not None else self.states.observe(value, kind, holder, key, name)
        if type(value) is int or type(value) is float:
            return self.number(value, self.read(kind, holder, key))
        if type(value) is tuple and self.tuples.change(holder, key, value):
            return self.numbers_of(value, self.read(kind, holder, key))
        if kind == "item" and self.watch.owns(holder):
            self.watch.remember(holder, key, value)  # the epoch tells when a Module changes
        elif isinstance(value, _ATOMS):
            self.guard("eq", self.read(kind, holder, key), value)
        else:
            self.guard("is", self.read(kind, holder, key), value)
        if isinstance(value, (*_ATOMS, *_BY_IDENTITY)):
            return value
        if not base and is_used_up(value):
            raise refuse_iterator(name or (key if type(key) is str else ""))
        self.enter(value)
        if not base:
            self.look(value)
        return value

    def numbers_of(self, value: tuple[Any, ...], read: int) -> tuple[Any, ...]:
        """A tuple of numbers, read afresh by each run, with numbers that change in their places."""
        whole = self.wholes.setdefault(read, (read, len(value)))
        return tuple(self.number(x, self.read("element", whole, i)) for i, x in enumerate(value))

    def number(self, value: int | float, read: int) -> LiveNumber:
        """A number from outside, read afresh by each run; the capture holds while it is of this type."""
        self.guard("type", read, type(value))
        return self.states.number(value, read)

    def foreign(self, value: Any) -> None:
        """A value that was not made by the captured function comes in by another way than a read."""
        if isinstance(value, (*_ATOMS, *_BY_IDENTITY, int, float, core.Tensor)):
            return
        self.enter(value)
        self.look(value)

    def found(self, tensor: Any, read: int) -> None:
        """A tensor from outside was found by this read."""
        self.keep.append(tensor)
        reads = self.tensor_reads.setdefault(id(tensor), [])
        if read not in reads:
            reads.append(read)

    def source(self, tensor: Any) -> int | None:
        """The read through which runs find a state tensor; None if it is this very object at every run."""
        reads = self.tensor_reads.get(id(tensor), [])
        skipped = self.watch.tensors
        if len(reads) == 1 and not tensor.requires_grad:
            _, holder, key = self.reads[reads[0]]
            if id(tensor) not in skipped or (id(holder), key) in self.watch.skipped:
                return reads[0]
        return None

    def enter(self, value: Any) -> None:
        """`value` existed before the capture: what is read from it matters."""
        if id(value) not in self.external:
            self.external[id(value)] = value
            if not isinstance(value, (*_BY_IDENTITY, *CONTAINERS)):
                self.meet(type(value))
            if is_module(value):
                self.watch.module(value)
                self.watch_class(type(value))
            elif isinstance(value, tuple):
                for item in value:
                    if not isinstance(item, (*_ATOMS, *_BY_IDENTITY, int, float, core.Tensor)):
                        self.enter(item)

    def look(self, value: Any) -> None:
        """The captured function may look at all that a container or an array holds."""
        if isinstance(value, CONTAINERS):
            self.contents(value)
        elif is_array(value):
            self.array(value)

    def meet(self, cls: type) -> None:
        """Objects of this class are used: its special methods run as converted code."""
        if is_user_class(cls):
            self.watch_class(cls)
        self.special.meet(cls)

    def watch_class(self, cls: type) -> None:
        """The code of a class has been looked at."""
        if ("class", cls) not in self.guard_keys:
            self.guard_keys.add(("class", cls))
            self.guards.append(("class", cls, ClassWatch(cls, self.special.original)))
            self.lines[id(self.guards[-1])] = user_location()

    def array(self, array: Any) -> None:
        """A NumPy array from outside: the capture holds for its values."""
        if (id(array), "*") in self.looked_at:
            return
        self.looked_at.add((id(array), "*"))
        values = self.arrays.setdefault(id(array), (array, array.copy()))[1]  # as it was before the function wrote into it
        self.guards.append(("call", lambda: _same_values(array, values)))

    def contents(self, container: Any, deep: bool = True) -> None:
        """The captured function may look at all of a container: the capture holds for these very items."""
        before = self.saved.get(id(container), container)
        if before is container and any(key[0] == id(container) for key in self.written):
            return
        if isinstance(container, list):
            self.guard("list", container, tuple(before))
            items = list(before)
        elif isinstance(container, dict):
            self.guard("dict", container, tuple(x for pair in before.items() for x in pair))
            items = list(before.values())
        elif isinstance(container, deque):
            held = list(before)
            self.guard("call", lambda: len(container) == len(held) and all(map(operator.is_, container, held)))
            items = held
        else:
            frozen = frozenset(before)
            self.guard("call", lambda: container == frozen)
            items = []
        for item in items:
            if isinstance(item, core.Tensor):
                self.states.note(item)
            elif not isinstance(item, (*_ATOMS, *_BY_IDENTITY, int, float)) and id(item) not in self.external:
                self.enter(item)
                if deep:
                    self.look(item)

    def attribute(self, holder: Any, name: str, base: bool = False) -> Any:
        """`holder.name` as the captured function sees it."""
        if isinstance(holder, (core.Tensor, LiveNumber)):
            value = getattr(holder, name)
            if name == "grad":
                self._check_gradient(holder, value)
            elif name == "requires_grad_":
                self.note_requires_grad(holder)
            elif name in ("register_hook", "retain_grad"):
                several: Any = vars(current()).get("several")
                if several is not None:
                    several.watches(holder, name)
            return value
        if isinstance(holder, types.ModuleType):
            value = getattr(holder, name)
            if is_user_module(holder) and name in holder.__dict__:
                return self.observe(value, "item", holder.__dict__, name, base)
            return value
        if is_module(holder):
            self.enter(holder)
        elif id(holder) not in self.external and not isinstance(holder, type) and not is_outside_function(holder):
            return self.own_attribute(holder, name)
        try:
            return self.outside_attribute(holder, name, base)
        except AttributeError:
            lacks = Lacks(holder, name)
            if lacks() and (id(place_of(holder, name)), name) not in self.written:
                self.guard("call", lacks)  # the error is what the function goes on with
            raise

    def own_attribute(self, holder: Any, name: str) -> Any:
        """An attribute of an object that the captured function has made."""
        cls = type(holder)
        found = next((c.__dict__[name] for c in cls.__mro__ if name in c.__dict__), None) if is_user_class(cls) else None
        if isinstance(found, property) and isinstance(found.fget, types.FunctionType):
            self.watch_class(cls)
            return self.callee(found.fget)(holder)
        if isinstance(found, functools.cached_property) and name not in holder.__dict__:
            self.watch_class(cls)
            holder.__dict__[name] = self.callee(found.func)(holder)
        return getattr(holder, name)

    def outside_attribute(self, holder: Any, name: str, base: bool) -> Any:
        own = own_dict(holder)
        if own is not None and name in own and not comes_first(getattr(type(holder), name, None)):
            return self.observe(own[name], "item", own, name, base)
        if is_module(holder):
            for table in ("_parameters", "_buffers", "_modules"):
                entries = own.get(table) if own is not None else None
                if entries is not None and name in entries:
                    value = getattr(holder, name)
                    return self.observe(value, "item", entries, name, base) if value is entries[name] else value
        return self.class_attribute(holder, name, base)

    @staticmethod
    def _check_gradient(holder: Any, grad: Any) -> None:
        builder: Any = current()
        if grad is None:
            if "several" in vars(builder) and isinstance(holder, core.Tensor):
                builder.several.no_gradient(holder)
        elif isinstance(grad, core.Tensor) and builder.presence.of(grad) is not None:
            raise CaptureError(
                "static: whether this tensor has a gradient here or None is decided by a tensor's value",
                hint="look at it in the branch in which backward() is called, or zero_grad(set_to_none=False) before that branch",
                location=user_location(),
            )

    def class_attribute(self, holder: Any, name: str, base: bool) -> Any:
        cls = holder if isinstance(holder, type) else type(holder)
        if not is_user_class(cls):
            return getattr(holder, name)
        for ancestor in cls.__mro__:
            found = ancestor.__dict__.get(name, _MISSING)
            if found is _MISSING:
                continue
            if is_code(found):
                self.from_class(holder, name, found)
            if isinstance(found, property) and holder is not cls and isinstance(found.fget, types.FunctionType):
                return self.callee(found.fget)(holder)
            if isinstance(found, (types.FunctionType, staticmethod, classmethod)):
                return getattr(holder, name)
            if isinstance(found, functools.cached_property) and holder is not cls:
                made = self.callee(found.func)(holder)
                self.remember_property(made, holder, name)
                return made
            if is_descriptor(found):
                self.enter(found)  # from now on its methods are converted
                return getattr(holder, name)
            if isinstance(found, (types.MemberDescriptorType, types.GetSetDescriptorType)) or comes_first(found):
                return self.observe(getattr(holder, name), "attr", holder, name, base)  # __slots__
            replaced = {(id(holder), name), (id(place_of(holder, name)), name)} & self.written
            if holder is not ancestor and (id(ancestor), name) in self.written and not replaced:
                self.guard("call", OfClass(holder, name))  # else the object's own would be read, not what was written
            value = getattr(holder, name)
            return self.observe(value, "attr", holder, name, base) if value is found else value
        above = getattr(type(holder), name, None) if holder is cls else None  # of the class's own class
        if isinstance(above, property) and isinstance(above.fget, types.FunctionType):
            self.watch_class(type(cls))
            return self.callee(above.fget)(holder)
        value = getattr(holder, name)  # __getattr__, or raises
        return self.observe(value, "attr", holder, name, base) if id(holder) in self.external else value

    def from_class(self, holder: Any, name: str, found: Any) -> None:
        """Code was found for an attribute in the holder's class, or in the holder, which is one."""
        if isinstance(holder, type):
            self.watch_class(holder)
            return
        self.watch_class(type(holder))
        own = own_dict(holder)
        if own is None or comes_first(found) or id(holder) not in self.external or (id(own), name) in self.written:
            return
        if self.watch.owns(own) and not isinstance(found, functools.cached_property):
            self.watch.remember(own, name, MISSING)
        else:
            self.guard("lacks", own, name)

    def item(self, holder: Any, key: Any, base: bool = False) -> Any:
        """`holder[key]` as the captured function sees it."""
        if type(holder) is list and active():
            builder: Any = current()
            if grows(holder):
                return item_of_growing(builder, holder, key)
            if builder.regions and type(key) is int and key == -1:
                builder.read_last.add(id(holder))
        if holder is os.environ and type(key) is str:
            variable(self, key, None)
        try:
            value = holder[key]
        except (KeyError, IndexError):
            if id(holder) in self.external and isinstance(holder, CONTAINERS):
                self.contents(holder, deep=False)  # the error is what the function goes on with
            raise
        if isinstance(holder, core.Tensor) or id(holder) not in self.external:
            return value
        if is_live(key):
            key = key.pin()
        if (id(holder), "*") in self.written:
            return self.item_of_changed(value, holder)
        if isinstance(holder, dict):
            if key not in holder:  # what a Counter gives
                self.guard("call", functools.partial(holder.keys().isdisjoint, (key,)))
                return value
            return self.observe(value, "item", holder, key, base)
        if isinstance(holder, (list, tuple)) and type(key) is int:
            if isinstance(holder, tuple):
                self.enter(value) if not isinstance(value, (*_ATOMS, *_BY_IDENTITY, int, float, core.Tensor)) else None
                return value
            return self.observe(value, "index", holder, key, base)
        self.look(holder)
        return value

    def item_of_changed(self, value: Any, holder: Any) -> Any:
        """An item of a container from outside after a change: it need not be what is there when a run begins."""
        made = is_live(value) or (isinstance(value, core.Tensor) and value._traced is not None)
        before = self.saved[id(holder)]
        if not made and any(value is x for x in (before.values() if isinstance(before, dict) else before)):
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
        if type(value) is tuple and self.tuples.change(holder, key, value):
            return self.numbers_of(value, self.read("item", holder, key))
        if isinstance(value, tuple) and value and all(type(x) in (int, float) for x in value):
            index = self.read("item", holder, key)
            self.guard("is", index, value)
            return value
        return self.observe(value, "item" if isinstance(holder, dict) else "index", holder, key)

    def library_call(self, function: Any, args: Sequence[Any], changed: Iterable[tuple[Any, Any]]) -> None:
        """Each run makes the call here, and what it changes is read before."""
        self.hosts.call(function, args, kind="full")
        for holder, key in changed:
            self.keep.append(holder)
            self.stale.add((id(holder), key))

    def library_contents(self, container: Any) -> None:
        self.contents(container, deep=False) if isinstance(container, CONTAINERS) else None

    def callee(self, function: Any) -> Any:
        from ..conversion.convert import callee

        return callee(self, function)

    def differentiates(self, outputs: Any) -> None:
        """Refuse gradients, in one example's run of a mapped function, of what was computed before it."""
        builder: Any = current()
        around = vars(builder).get("regions", ())
        first = next((i for i, region in enumerate(around) if region.one_example), None)
        if first is None:
            return
        for x in outputs:
            if x.requires_grad and not any(region.holds(builder.read(x)) for region in around[first:]):
                raise CaptureError(
                    "vmap: a function that a tensor steers, or that writes in place, goes backward from a tensor of outside",
                    hint="compute the tensor inside of the mapped function",
                    location=user_location(),
                )

    @no_use
    def grad(self, outs: Any, ins: Any, seeds: Any, retain_graph: bool | None, create_graph: bool, allow_unused: bool) -> Any:
        """What `autograd.grad` does in a capture."""
        from ..control.several import grad_of

        return grad_of(outs, ins, seeds, retain_graph, create_graph, allow_unused)

    @no_use
    def backward(self, tensors: Any, grads: Any, retain_graph: bool | None, create_graph: bool, inputs: Any) -> None:
        """What `backward` does in a capture."""
        from ..control.region_gradients import accumulate, backward

        builder: Any = current()
        if builder.regions:
            backward(self, tensors, grads, create_graph, inputs)
        else:
            accumulate(self, lambda: core.backward(tensors, grads, retain_graph, create_graph, inputs))

    # ---- numbers

    def pin(self, number: LiveNumber) -> None:
        self.pin_postfix(number.postfix, number.value)

    def pin_postfix(self, postfix: Postfix, value: int | float) -> None:
        """The capture holds only while the number is this one."""
        if self.closed:
            return
        self.states.pinned(postfix)
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

    def roll_back(self) -> None:
        """Everything outside is as before the capture again."""
        self.special.restore()
        while self.undo:
            self.undo.pop()()
        self.closed = True

    def let_go(self) -> None:
        """Numbers of the program refer to this, and the tape to them."""
        del self.states, self.hosts
        self.refusals = []  # errors, whose frames hold the capture


def _same_values(array: Any, values: Any) -> bool:
    return array.shape == values.shape and bool(((array == values) | ((array != array) & (values != values))).all())
