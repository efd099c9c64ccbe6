"""Variables as trees of tensors: what branches and loops hand on."""

from __future__ import annotations

import enum
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from duograph import _core as core
from duograph._recorded import current as recorder_of_capture
from duograph._stack import user_location
from duograph.errors import CaptureError, Error, refusals
from duograph.ir.builder import current
from duograph.ir.types import TensorType
from duograph.ops.shapes.movement import reshape
from duograph.ops.tracing import cast_value, wrap

from ..conversion.scopes import HELPER
from ..memory.borrowed import no_use
from ..outside.classes import is_user_class
from ..outside.modules import is_module
from ..values.attributes import own_attributes
from ..values.late import is_late
from ..values.numbers import LiveNumber, SizeNumber, is_live, plain
from ..values.tree import dataclass_fields, is_namedtuple
from .containers import Held
from .control import UNBOUND
from .growing import Rows

_ATOMS = (bool, int, float, complex, str, bytes)
_NO_RECORDS = (
    *_ATOMS, list, dict, tuple, set, frozenset, type, enum.Enum, BaseException, Iterator, core.Tensor,
    types.FunctionType, types.MethodType, types.ModuleType,
)  # fmt: skip
_DICTS = (dict, OrderedDict, defaultdict, Counter)
_DEPTH = 8


class Leaf(NamedTuple):
    """One tensor, number or object in a variable; `path` names it for messages."""

    path: str
    value: Any


def leaves(value: Any, path: str) -> list[Leaf]:
    """The leaves of a variable, in order."""
    children = _children(value)
    if children is None:
        return [Leaf(path, value)]
    return [leaf for key, child in children for leaf in leaves(child, f"{path}{key}")]


def _children(value: Any, held: Held | None = None) -> list[tuple[str, Any]] | None:
    """The parts of a variable, with their names; `held`: what containers held elsewhere than here and now."""
    if type(value) in (list, deque):
        items = value if held is None else held.of(value)
        return [(f"[{i}]", child) for i, child in enumerate(items)]
    if type(value) is tuple or is_namedtuple(value):
        return [(f"[{i}]", child) for i, child in enumerate(value)]
    if type(value) in _DICTS:
        return [(f"[{key!r}]", child) for key, child in (value if held is None else held.of(value)).items()]
    if type(value) is Rows and value.mask is not None:
        return [*((f".{i}", stack) for i, stack in enumerate(value.stacks)), (".mask", value.mask)]
    if is_record(value):
        own = own_attributes(value) if held is None else held.attributes(value)
        return [(f".{name}", own[name]) for name in sorted(own)]
    return None


def is_record(value: Any) -> bool:
    """Whether an object of a class is the sum of its attributes, and each run may make another one with other attributes."""
    if dataclass_fields(value) is not None:
        return True
    recorder = recorder_of_capture()
    if recorder is None or id(value) in recorder.external or isinstance(value, _NO_RECORDS) or is_module(value):
        return False
    return is_user_class(type(value)) and bool(own_attributes(value)) and not _is_within(value, value, 0)


def _is_within(sought: Any, value: Any, depth: int) -> bool:
    """Whether an object can be reached from another one, or lies too deep to tell."""
    if isinstance(value, (core.Tensor, type, *_ATOMS)) or value is None:
        return False
    if isinstance(value, (list, tuple, set)):
        parts = list(value)
    elif isinstance(value, dict):
        parts = list(value.values())
    else:
        parts = list(own_attributes(value).values())
    return any(part is sought or depth > _DEPTH or _is_within(sought, part, depth + 1) for part in parts)


def rebuild(like: Any, take: Callable[[], Any], keep: bool = False) -> Any:
    """The variable again with its leaves replaced, in order; if asked, what has only leaves that stay is the same object."""
    children = _children(like)
    if children is None:
        return take()
    made = [rebuild(child, take, keep) for _, child in children]
    if keep and all(a is b for a, (_, b) in zip(made, children)):
        return like
    return _assembled(like, made)


class Pairs:
    """Variables of the two sides of a branch. What both sides have as one object stays that object."""

    def __init__(self) -> None:
        self.held: list[Held | None] = [None, None]  # what containers held at the end of each side
        self.met: set[tuple[int, int]] = set()
        self.made: dict[tuple[int, int], Any] = {}
        self.assembled: list[tuple[Any, Any, Any]] = []  # what is made of two, and these

    def leaves(self, a: Any, b: Any, path: str) -> list[tuple[Leaf, Leaf]]:
        """The leaves of both, which have the same structure; of an object that is met again, none."""
        children = None if a is b else _children(a, self.held[0])
        if children is None:
            return [(Leaf(path, a), Leaf(path, b))]
        if (id(a), id(b)) in self.met:
            return []
        self.met.add((id(a), id(b)))
        others = _children(b, self.held[1]) or ()
        return [pair for (key, x), (_, y) in zip(children, others) for pair in self.leaves(x, y, f"{path}{key}")]

    def alike(self, a: Any, b: Any) -> bool:
        """Whether both have the same structure."""
        if a is b:
            return True
        first, second = _children(a, self.held[0]), _children(b, self.held[1])
        if first is None or second is None:
            return first is second
        parts = zip(first, second)
        return type(a) is type(b) and len(first) == len(second) and all(k == l and self.alike(x, y) for (k, x), (l, y) in parts)

    def rebuild(self, a: Any, b: Any, take: Callable[[], Any]) -> Any:
        """One variable for both, with its leaves replaced, in order."""
        children = None if a is b else _children(a, self.held[0])
        if children is None:
            return take()
        found = self.made.get((id(a), id(b)))
        if found is None:
            others = _children(b, self.held[1]) or ()
            made = [self.rebuild(x, y, take) for (_, x), (_, y) in zip(children, others)]
            found = self.made[id(a), id(b)] = _assembled(a, made, self.held[0])
            self.assembled.append((found, a, b))
        return found


def _assembled(like: Any, made: list[Any], held: Held | None = None) -> Any:
    """A container or object with other parts, in the order of `_children`."""
    if isinstance(like, list):
        return made
    if isinstance(like, deque):
        return deque(made, like.maxlen)
    if isinstance(like, dict):
        filled = like.copy()
        filled.clear()
        filled.update(dict(zip(like if held is None else held.of(like), made)))
        return filled
    if isinstance(like, Rows):
        same_rows = all(a is b for a, b in zip(made, (*like.stacks, like.mask)))
        return like if same_rows else Rows(like.like, made[:-1], made[-1])
    if is_namedtuple(like):
        return type(like)(*made)
    if isinstance(like, tuple):
        return tuple(made)
    copy: Any = object.__new__(type(like))
    own = own_attributes(like) if held is None else held.attributes(like)
    parts = dict(zip(sorted(own), made))
    for name in own:
        object.__setattr__(copy, name, parts[name])
    return copy


def same_structure(a: Any, b: Any) -> bool:
    return Pairs().alike(a, b)


def is_number(value: Any) -> bool:
    return type(value) in (bool, int, float, LiveNumber, SizeNumber)


def same(a: Any, b: Any) -> bool:
    """Whether two leaves are one value for every run."""
    if a is b:
        return True
    if isinstance(a, core.Tensor) or isinstance(b, core.Tensor):
        return isinstance(a, core.Tensor) and isinstance(b, core.Tensor) and a._traced is not None and a._traced is b._traced
    if type(a) is not type(b) or a is UNBOUND or isinstance(a, Rows):
        return False
    if is_live(a):
        return bool(a.postfix == b.postfix)
    with refusals.dealt_with():
        try:
            return bool(a == b)
        except Exception:
            return False


def is_synthetic(path: str) -> bool:
    """A variable of the conversion, not of the user."""
    return path.startswith(HELPER)


def as_tensor(value: Any) -> Any:
    """A leaf as a traced tensor: numbers stay weak."""
    if is_late(value):
        return value.tensor()
    return value if isinstance(value, core.Tensor) else wrap(current().number(value))


@no_use
def type_of(value: Any) -> TensorType | None:
    """The type of a leaf as a value; None for what is no tensor and no number."""
    if isinstance(value, core.Tensor):
        if value._traced is not None:
            return current().read(value).type
        return TensorType(value.dtype, tuple(value.shape))
    if is_late(value):
        return TensorType(core.int64, (), weak=True)
    if is_live(value):
        value = value.value
    if type(value) is bool:
        return TensorType(core.bool, (), weak=True)
    if type(value) is int:
        return TensorType(core.int64, (), weak=True)
    return TensorType(core.float64, (), weak=True) if type(value) is float else None


def filler(type: TensorType) -> Any:
    """What a variable holds where nobody reads it."""
    builder = current()
    return wrap(builder.constant(0, type.dtype, type.shape))


def adopt(value: Any, type: TensorType) -> Any:
    """A leaf in a type it was found to fit."""
    tensor = filler(type) if value is UNBOUND or value is None else as_tensor(value)
    builder: Any = current()
    found = builder.read(tensor)
    if found.shape != type.shape and builder.same_shape(found.shape, type.shape):  # one size, written in two ways
        renamed = wrap(builder.emit("reshape", [found], {}, [TensorType(found.dtype, type.shape, found.type.weak)])[0])
        tensor = reshape(tensor, type.shape) if tensor.requires_grad else renamed  # with its history
        found = builder.read(tensor)
    if found.type == type:
        return tensor
    if found.dtype is not type.dtype:
        dtype: Any = type.dtype
        return wrap(cast_value(found, dtype)) if found.type.weak else tensor
    return wrap(builder.emit("cast", [found], {}, [type])[0])


_ORDER = {"b": 0, "u": 1, "i": 1, "f": 2}


def common_type(a: TensorType, b: TensorType) -> TensorType | None:
    """The type of a variable that holds one or the other; None if there is none. A number adopts a tensor's dtype."""
    builder: Any = current()
    if a.shape != b.shape and not builder.same_shape(a.shape, b.shape):
        return None
    if a.weak and b.weak:
        return a if _ORDER[a.dtype.kind] >= _ORDER[b.dtype.kind] else b
    if a.weak != b.weak:
        number, tensor = (a, b) if a.weak else (b, a)
        return tensor if _ORDER[number.dtype.kind] <= _ORDER[tensor.dtype.kind] else None
    return a if a.dtype is b.dtype else None


def describe(value: Any) -> str:
    """A leaf in a message."""
    if isinstance(value, core.Tensor):
        sizes = ("?" if is_late(size) else str(plain(size)) for size in value.shape)
        return f"{value.dtype.name}[{', '.join(sizes)}]"
    if value is None or value is UNBOUND:
        return "None" if value is None else "nothing"
    value = plain(value)  # to say what a number is must not make the capture one for this number
    with refusals.dealt_with():
        try:
            return f"{type(value).__name__} {value!r}"
        except Error:  # it shows a tensor that has no value yet
            return type(value).__name__


def refuse(
    path: str, what: str, first: tuple[str, Any], second: tuple[str, Any], hint: str, kind: type[CaptureError] = CaptureError
) -> CaptureError:
    """The error about a variable that is not the same kind of thing both ways."""
    name = "the result" if is_synthetic(path) else path
    sides = ", ".join(f"{where} it is {describe(value)}" for where, value in (first, second))
    return kind(f"static: {name} {what}: {sides}", hint=hint, location=user_location())
