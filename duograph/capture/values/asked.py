"""Values of tensors that a captured function asks for (`loss.item()`): numbers that only the run knows.

Such a number is a tensor without dimensions whose type is weak, as are numbers that branches and loops leave behind: it is
printed and returned as a Python number, is one in arithmetic, and decides what a tensor would decide.
"""

from __future__ import annotations

from typing import Any

from duograph import _core as core
from duograph._recorded import state
from duograph.ir.builder import active, current
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import wrap

_NUMBERS = {"b": core.bool, "i": core.int64, "u": core.int64, "f": core.float64}
_LONGEST = 64  # list of numbers that is made one by one


def number_of(tensor: Any, kind: type | None = None) -> Any:
    """What `tensor.item()` gives, or `kind(tensor)`; None where it cannot be had."""
    if not _asked_in_a_program():
        return None
    builder: Any = current()
    value = builder.read(tensor)
    dtype = _NUMBERS.get(value.dtype.kind) if kind is None else core.float64 if kind is float else core.int64
    if value.type.weak and value.dtype is dtype:
        return tensor
    if dtype is None or any(type(size) is not int or size != 1 for size in value.shape):
        return None
    if value.shape:
        value = builder.emit("reshape", [value], {}, [TensorType(value.dtype, ())])[0]
    return wrap(builder.emit("cast", [value], {}, [TensorType(dtype, (), weak=True)])[0])


def whole_number_of(tensor: Any, how: str) -> Any:
    """`int(tensor)` ("trunc"), `round`, `math.floor` or `ceil` of it; None where it cannot be had."""
    number = number_of(tensor, float)
    if number is None:
        return None
    from ..control.branches import must

    name = "int" if how == "trunc" else how
    must(number.abs() < 2.0**63, ValueError(f"{name}: the number is NaN, infinite or has more than 64 bits"))
    return number_of(number if how == "trunc" else REGISTRY[how].op(number), int)


def rounding(function: Any, how: str) -> Any:
    """`round`, `math.floor` and their like, of numbers that only the run knows, too."""

    def call(*args: Any) -> Any:
        found = None
        if len(args) == 1 and stands_for_number(args[0]) and args[0].dtype.is_floating_point:
            found = whole_number_of(args[0], how)
        return function(*args) if found is None else found

    return call


def _asked_in_a_program() -> bool:
    recorder = state.recorder
    return recorder is not None and not recorder.single_path and active() and not current().refusal


def list_of(tensor: Any) -> Any:
    """What `tensor.tolist()` gives; None where it cannot be had."""
    if not _asked_in_a_program():
        return None
    count = 1
    for size in tensor.shape:
        if type(size) is not int:
            return None
        count *= size
    return _nested(tensor.detach()) if count <= _LONGEST else None


def _nested(tensor: Any) -> Any:
    return number_of(tensor) if tensor.ndim == 0 else [_nested(tensor[i]) for i in range(tensor.shape[0])]


def stands_for_number(value: Any) -> bool:
    """Whether a value is a traced tensor that stands for a Python number."""
    return isinstance(value, core.Tensor) and value._traced is not None and bool(value._traced.type.weak)
