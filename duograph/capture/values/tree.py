"""Arguments as leaves, and results as templates that each run fills in."""

from __future__ import annotations

import inspect
import itertools
import sys
import types
from collections.abc import Callable
from typing import Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import current
from duograph.ir.dim import Dim
from duograph.ops.tracing import is_weak, value_of, wrap

from ..control.growing import Rows, grows, settled
from ..memory.cells import contiguous
from ..outside.outer import is_used_up, refuse_iterator
from ..outside.recorder import Recorder
from .attributes import own_attributes
from .late import is_late
from .made_objects import FILLED, attributes, is_made, refuse, refuse_iterators
from .numbers import LiveNumber, is_live
from .size_history import Plan
from .sizes import known_sizes, stand_in
from .texts import LaterText

_EQUAL = (bool, type(None), str, bytes, complex, core.DType)
Row = tuple[Any, ...]
_OPEN: list[int] = []  # objects around the one that is looked at, by id


def is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(type(value), "_fields")


def dataclass_fields(value: Any) -> list[str] | None:
    """Names of the fields of a dataclass instance; None for anything else."""
    fields = getattr(type(value), "__dataclass_fields__", None)
    return None if fields is None or isinstance(value, type) else list(fields)


def tensor_spec(tensor: Any, requires_grad: bool | None) -> Row:
    """dtype, shape, strides (None: contiguous) and requires_grad, as the core compares them."""
    shape, strides = tuple(tensor.shape), tuple(tensor.stride())
    return (tensor.dtype, shape, None if strides == contiguous(shape) else strides, requires_grad)


class Arguments:
    """The arguments of one call: leaf specs for the core, and what the captured function is called with."""

    def __init__(self, recorder: Recorder, grad_mode: bool, builder: Any, plan: Plan) -> None:
        self.recorder = recorder
        self.grad_mode = grad_mode
        self.builder = builder
        self.plan = plan
        self.stand_ins: dict[int, Any] = {}  # of arguments with symbols for sizes, by the id of the argument
        self.originals: dict[int, Any] = {}
        self.tensors: list[Any] = []
        self.slots: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self.number_values: list[int | float] = []
        self.rebuilt: list[tuple[Any, Any, Any]] = []

    def leaf(self, value: Any, name: str) -> tuple[Row, Any]:
        """(the leaf spec, the value to pass)."""
        kind = type(value)
        if isinstance(value, core.Tensor):
            row = self._tensor(value, name)
            return row, self.stand_ins.get(id(value), value)
        if kind is float or (kind is int and -(2**63) <= value < 2**63):
            slot = len(self.number_values)
            self.number_values.append(value)
            read = self.recorder.read("number", None, slot)
            symbol = self.plan.number(slot)
            if symbol is not None:
                sizes = self.recorder.sizes
                return ("number", slot, kind), sizes.number(sizes.argument(symbol, value, ("read", read, False)))
            return ("number", slot, kind), LiveNumber(self.recorder, (("read", read, kind is float),), value)
        if isinstance(value, (*_EQUAL, int)):
            return ("const", value, "eq"), value
        if kind is tuple or kind is list:
            return self._sequence(value, kind, name)
        if is_namedtuple(value):
            rows, children = self._children(list(value), name)
            return ("tuple", kind, rows), kind(*children)
        if isinstance(value, tuple):
            rows, children = self._children(list(value), name)
            return ("tuple", kind, rows), kind(children)
        if kind is dict:
            rows, children = self._children(list(value.values()), name)
            made = dict(zip(value, children))
            self.rebuilt.append((made, dict(made), name))
            return ("dict", list(value), rows), made
        fields = dataclass_fields(value)
        if fields is not None and hasattr(value, "__dict__"):
            return self._dataclass(value, list(own_attributes(value)), name)
        if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "__array__"):
            raise CaptureError(
                f"static: argument {name} is a NumPy {kind.__name__}, whose values a static graph would freeze",
                hint=f"pass duograph.from_numpy({name})" if value.ndim else f"pass {name}.item()",
            )
        if is_used_up(value):
            raise refuse_iterator(f"argument {name}")
        self.recorder.enter(value)
        return ("const", value, "is"), value

    def _tensor(self, value: Any, name: str) -> Row:
        slot = self.slots.get(id(value))
        if slot is not None:
            return ("same", slot)
        slot = self.slots[id(value)] = len(self.tensors)
        self.tensors.append(value)
        self.names[id(value)] = name
        spec = tensor_spec(value, value.requires_grad if self.grad_mode else None)
        symbols = self.plan.of(slot, value.ndim)
        if symbols:
            shape, strides = self._stand_in(value, slot, name, symbols)
            spec = (spec[0], known_sizes(shape), None if strides is None else known_sizes(strides), spec[3])
        return ("tensor", slot, *spec, type(value))

    def _stand_in(self, value: Any, slot: int, name: str, symbols: dict[int, tuple[str, float, float]]) -> tuple[Any, Any]:
        """Make what the captured function gets instead of an argument; its sizes and, if it has gaps, its strides."""

        def row(values: Any, kind: str, first: int) -> tuple[Any, ...]:
            sizes = self.recorder.sizes
            return tuple(
                sizes.argument(symbols[first + d], n, (kind, slot, d)) if first + d in symbols else n
                for d, n in enumerate(values)
            )

        shape = row(value.shape, "size", 0)
        strides = None if value.is_contiguous() else row(value.stride(), "stride", value.ndim)
        made = self.stand_ins[id(value)] = stand_in(self.builder, value, shape, strides)
        self.originals[id(made)] = value
        self.slots[id(made)] = slot
        self.names[id(made)] = name
        return shape, strides

    def _children(self, values: list[Any], name: str) -> tuple[list[Row], list[Any]]:
        pairs = [self.leaf(value, f"{name}_{i}" if name else "") for i, value in enumerate(values)]
        return [row for row, _ in pairs], [made for _, made in pairs]

    def _sequence(self, value: Any, kind: type, name: str) -> tuple[Row, Any]:
        rows, children = self._children(list(value), name)
        if kind is tuple:
            return ("tuple", kind, rows), tuple(children)
        self.rebuilt.append((children, list(children), name))
        return ("list", kind, rows), children

    def _dataclass(self, value: Any, fields: list[str], name: str) -> tuple[Row, Any]:
        rows, children = self._children([getattr(value, f) for f in fields], name)
        made: Any = object.__new__(type(value))
        made.__dict__.update(value.__dict__)
        for field, child in zip(fields, children):
            object.__setattr__(made, field, child)
        self.rebuilt.append((made.__dict__, dict(made.__dict__), name))
        return ("attrs", type(value), fields, rows), made

    def check_unchanged(self) -> None:
        """Lists and dicts that came as arguments are rebuilt for the capture: a change of them would be lost."""
        for made, before, name in self.rebuilt:
            same = len(made) == len(before) and all(
                a is b
                for a, b in zip(
                    made if isinstance(made, list) else made.values(), before if isinstance(before, list) else before.values()
                )
            )
            if not same or (isinstance(made, dict) and list(made) != list(before)):
                raise CaptureError(
                    f"static: the {type(made).__name__} passed as argument {name} is changed by the function",
                    hint="return the new one instead",
                    location=None,
                )


def template(value: Any, tensor: Callable[[Any], Row]) -> Row:
    """How each run rebuilds a result; `tensor` gives the row of a Tensor."""
    if isinstance(value, core.Tensor):
        return tensor(value)
    kind = type(value)
    if kind is list and grows(value):
        return _grown(value, tensor)
    settled((value,))
    if kind is LaterText:
        return ("make", value.writer(), [template(part, tensor) for part in value.values()])
    if is_live(value):
        return ("number", list(value.postfix))
    if kind is tuple or kind is list:
        rows = [template(item, tensor) for item in value]
        return ("tuple" if kind is tuple else "list", rows)
    if kind is dict:
        if any(map(is_made, value)):
            raise refuse(value)
        return ("dict", list(value), [template(item, tensor) for item in value.values()])
    if isinstance(value, tuple) and _holds_tensors(value):
        items = ("tuple", [template(item, tensor) for item in value])
        return ("make", kind._make if is_namedtuple(value) else kind, [items])
    own = {} if dataclass_fields(value) is None else own_attributes(value)
    if _holds_tensors(own.values()):
        return ("make", Remake(kind, list(own)), [template(part, tensor) for part in own.values()])
    if is_late(value):
        value = value.expr
    if isinstance(value, Dim):
        return tensor(late_number(value))
    if kind is str and "tensor(<traced " in value:
        raise CaptureError(
            "static: a text with a tensor's values in it was made where no run could fill it in",
            hint="make it with print, str, repr or an f-string of the tensor itself",
            location=user_location(),
        )
    refuse_iterators(value)
    return _made(value, tensor) if is_made(value) else ("const", value)


def _grown(items: list[Any], tensor: Callable[[Any], Row]) -> Row:
    """A list whose length only the run knows: parts of it by themselves, which each run puts together."""
    from ..control.masked import present

    builder: Any = current()
    parts: list[Row] = []
    for number, item in enumerate(items):
        if type(item) is Rows:
            items[number] = item = present(builder, item)
            stacks = [tensor(stack) for stack in item.stacks]
            parts.append(("make", Unstacked(item.like), stacks))
        else:
            settled((item,))
            parts.append(("list", [template(item, tensor)]))
    return ("make", _joined, parts)


def _joined(*parts: list[Any]) -> list[Any]:
    return list(itertools.chain(*parts))


def _made(value: Any, tensor: Callable[[Any], Row]) -> Row:
    """An object with tensors inside that is no list, tuple, dict or dataclass."""
    kind, names = type(value), attributes(value)
    if id(value) in _OPEN:  # it holds itself
        raise refuse(value)
    _OPEN.append(id(value))
    try:
        if kind in FILLED:
            items = value.items() if isinstance(value, dict) else value
            return ("make", kind, [("list", [template(item, tensor) for item in items])])
        if names is None:
            raise refuse(value)
        return ("make", Remake(kind, names), [template(own_attributes(value)[name], tensor) for name in names])
    finally:
        _OPEN.pop()


def late_number(size: Dim) -> Any:
    """The traced tensor that stands for a size which only the run knows: the same one each time."""
    builder: Any = current()
    found = builder.late_numbers.get(size)
    if found is None:
        found = wrap(value_of(size))
        if not builder.regions:  # else it is known there only
            builder.late_numbers[size] = found
    return found


def tensors_of(result: Any) -> list[Any]:
    """All tensors of a result, in the order of its template."""
    found: list[Any] = []

    def note(tensor: Any) -> Row:
        found.append(tensor)
        return ()

    template(result, note)
    return found


def tensors_again(result: Any) -> list[Any]:
    """The tensors of a result that are tensors in dynamic mode, too: neither those that stand for numbers, nor parts of texts."""
    if isinstance(result, core.Tensor):
        return [] if is_weak(result) else [result]
    kind = type(result)
    items: Any = ()
    if isinstance(result, tuple) or kind is list:
        items = result
    elif kind is dict:
        items = result.values()
    elif dataclass_fields(result) is not None:
        items = own_attributes(result).values()
    return [tensor for item in items for tensor in tensors_again(item)]


def _holds_tensors(values: Any) -> bool:
    for value in values:
        if isinstance(value, (core.Tensor, LiveNumber, Dim, Rows)):
            return True
        if isinstance(value, (list, tuple)) and _holds_tensors(value):
            return True
        if isinstance(value, dict) and _holds_tensors(value.values()):
            return True
    return False


class Unstacked:
    """Makes the items of a list from stacks of their tensors."""

    def __init__(self, like: Any) -> None:
        from ..control.merge import leaves, rebuild

        self.numbers = [is_weak(leaf.value) for leaf in leaves(like, "")]
        self.like = rebuild(like, lambda: None)

    def __call__(self, *stacks: Any) -> list[Any]:
        from ..control.merge import rebuild

        columns = [stack.tolist() if number else stack.unbind(0) for stack, number in zip(stacks, self.numbers)]
        return [rebuild(self.like, iter(row).__next__) for row in zip(*columns)]


class Remake:
    """Makes an object from its attributes, without running its __init__."""

    def __init__(self, cls: type, fields: list[str]) -> None:
        self.cls = cls
        self.fields = fields

    def __call__(self, *values: Any) -> Any:
        made: Any = object.__new__(self.cls) if self.cls is not types.SimpleNamespace else types.SimpleNamespace()
        for field, value in zip(self.fields, values):
            object.__setattr__(made, field, value)
        return made


def argument_names(function: Any, n_positional: int) -> list[str]:
    """Names for positional arguments, for the report and messages: `__argument_names__` where an object has it."""
    own = getattr(function, "__argument_names__", None)
    if own is not None:
        return [*own[:n_positional], *(f"x{i}" for i in range(len(own), n_positional))]  # one for each, of too many, too
    function = getattr(function, "forward", function) if not hasattr(function, "__code__") else function
    bound = hasattr(function, "__self__")
    function = inspect.unwrap(function)  # what was decorated has the names that its signature shows
    code = getattr(function, "__code__", None) or getattr(getattr(function, "__func__", None), "__code__", None)
    if code is None:
        return [f"x{i}" for i in range(n_positional)]
    names = list(code.co_varnames[: code.co_argcount])
    if bound and names:
        names = names[1:]
    extra = [f"{code.co_varnames[code.co_argcount + code.co_kwonlyargcount]}_{i}" for i in range(n_positional)] if (
        code.co_flags & 0x04
    ) else [f"x{i}" for i in range(n_positional)]  # fmt: skip
    names += extra[: max(0, n_positional - len(names))]
    return [sys.intern(n) for n in names[:n_positional]]
