"""Variables as trees of tensors: what branches and loops hand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError, Error, refusals
from duograph.ir.builder import current
from duograph.ir.types import TensorType
from duograph.ops.shapes.movement import reshape
from duograph.ops.tracing import cast_value, wrap

from ..conversion.scopes import HELPER
from ..memory.borrowed import no_use
from ..values.late import is_late
from ..values.numbers import LiveNumber, SizeNumber, is_live, plain
from ..values.tree import dataclass_fields, is_namedtuple
from .control import UNBOUND
from .growing import Rows


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


def _children(value: Any) -> list[tuple[str, Any]] | None:
    if (isinstance(value, (tuple, list)) and type(value) in (tuple, list)) or is_namedtuple(value):
        return [(f"[{i}]", child) for i, child in enumerate(value)]
    if type(value) is dict:
        return [(f"[{key!r}]", child) for key, child in value.items()]
    if type(value) is Rows and value.mask is not None:
        return [*((f".{i}", stack) for i, stack in enumerate(value.stacks)), (".mask", value.mask)]
    fields = dataclass_fields(value)
    if fields is not None and hasattr(value, "__dict__"):
        return [(f".{name}", getattr(value, name)) for name in fields]
    return None


def rebuild(like: Any, take: Callable[[], Any]) -> Any:
    """The variable again with its leaves replaced, in order."""
    children = _children(like)
    if children is None:
        return take()
    made = [rebuild(child, take) for _, child in children]
    if isinstance(like, list):
        return made
    if type(like) is dict:
        return dict(zip(like, made))
    if isinstance(like, Rows):
        same_rows = all(a is b for a, b in zip(made, (*like.stacks, like.mask)))
        return like if same_rows else Rows(like.like, made[:-1], made[-1])
    if is_namedtuple(like):
        return type(like)(*made)
    if isinstance(like, tuple):
        return tuple(made)
    copy: Any = object.__new__(type(like))
    copy.__dict__.update(like.__dict__)
    for name, child in zip(dataclass_fields(like) or (), made):
        object.__setattr__(copy, name, child)
    return copy


def same_structure(a: Any, b: Any) -> bool:
    first, second = _children(a), _children(b)
    if first is None or second is None:
        return first is second
    return (
        type(a) is type(b)
        and len(first) == len(second)
        and all(k == l and same_structure(x, y) for (k, x), (l, y) in zip(first, second))
    )


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
