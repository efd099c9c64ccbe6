"""Shape arithmetic: what operators make of numbers that are known while a model is followed.

Functions take NumPy arrays (of dtype object where sizes of a capture are among the numbers) and give one. NotImplemented says
that the operator is to work on tensors after all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from duograph import _core as core

from .known import LONGEST, Known, numpy_name

TABLE: dict[str, Callable[..., Any]] = {}
_ONNX_DTYPES = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}


def host(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            TABLE[name] = function
        return function

    return decorate


def computed(name: str, inputs: Sequence[Known | None], attributes: dict[str, Any], opset: int) -> Any:
    """What a node makes of known numbers: a Known, a list of them, or NotImplemented."""
    if name == "Identity":
        return inputs[0]  # an initialiser stays the tensor that it is
    arrays = [None if x is None else x.array for x in inputs]
    made = TABLE[name](arrays, attributes, opset, name)
    if made is NotImplemented:
        return made
    dtype = next((x.dtype for x in inputs if x is not None), core.int64)
    return [_known(x, dtype) for x in made] if isinstance(made, list) else _known(made, dtype)


def _known(array: Any, dtype: core.DType) -> Any:
    array = np.asarray(array)
    if array.dtype != object:
        return Known(array) if array.size <= LONGEST else NotImplemented
    flat = array.reshape(-1).tolist()
    if array.size > LONGEST or any(isinstance(x, core.Tensor) for x in flat):
        return NotImplemented
    if all(type(x) is bool for x in flat):
        return Known(array.astype(bool))
    if all(type(x) is int for x in flat):
        return Known(array.astype(numpy_name(dtype) if dtype.kind in "iu" else np.int64))
    return Known(array, dtype if dtype.kind in "iu" else core.int64)


def _whole(array: Any) -> bool:
    return bool(array.dtype == object or array.dtype.kind in "iu")


# ---- arithmetic


def _quotient(a: Any, b: Any) -> Any:
    """ONNX's division of whole numbers: towards zero."""
    if type(b) is int and b == 0:
        raise ZeroDivisionError("division by zero")
    if a >= 0 and b > 0:
        return a // b
    return -((-a) // b) if b > 0 else (-(a // -b) if a >= 0 else (-a) // (-b))


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Equal": lambda a, b: a == b,
    "Less": lambda a, b: a < b,
    "Greater": lambda a, b: a > b,
    "LessOrEqual": lambda a, b: a <= b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "And": lambda a, b: a & b,
    "Or": lambda a, b: a | b,
}


@host(*_ARITHMETIC)
def arithmetic(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    a, b = inputs
    function = _ARITHMETIC[name]
    if a.dtype == object or b.dtype == object:
        return _each(function, a, b)
    return function(a, b)


@host("Div")
def divide(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    a, b = inputs
    if not (_whole(a) and _whole(b)):
        return NotImplemented if object in (a.dtype, b.dtype) else a / b
    made = _each(_quotient, a, b)
    return made if object in (a.dtype, b.dtype) else made.astype(a.dtype)


@host("Pow")
def power(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    a, b = inputs
    if object in (a.dtype, b.dtype) or (_whole(a) and _whole(b) and (b < 0).any()):
        return NotImplemented
    return np.power(a, b).astype(a.dtype)


@host("Mod")
def modulo(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    if attributes.get("fmod", 0) or not all(_whole(x) for x in inputs):
        return NotImplemented
    return _each(lambda a, b: a % b, *inputs)


@host("Min", "Max")
def extreme(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    made = inputs[0]
    for array in inputs[1:]:
        if made.dtype == object or array.dtype == object:
            made = _each((lambda a, b: min(a, b)) if name == "Min" else (lambda a, b: max(a, b)), made, array)
        else:
            made = (np.minimum if name == "Min" else np.maximum)(made, array)
    return made


@host("Neg", "Abs", "Ceil", "Floor", "Not", "Sqrt")
def unary(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    (x,) = inputs
    if name in ("Neg", "Abs"):
        return -x if name == "Neg" else abs(x)
    if x.dtype == object:
        return NotImplemented
    return {"Ceil": np.ceil, "Floor": np.floor, "Not": np.logical_not, "Sqrt": np.sqrt}[name](x)


def _each(function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """A function of two numbers, of all pairs; of dtype object, as NumPy's own conversions would ask sizes for numbers."""
    left, right = np.broadcast_arrays(a, b)
    made = np.empty(left.shape, object)
    flat = made.reshape(-1)
    for i, (x, y) in enumerate(zip(left.reshape(-1).tolist(), right.reshape(-1).tolist())):
        flat[i] = function(x, y)
    return flat.reshape(left.shape)


@host("Where")
def where(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    condition, a, b = inputs
    if object not in (a.dtype, b.dtype):
        return np.where(condition, a, b)
    condition, left, right = np.broadcast_arrays(condition, a, b)
    made = np.empty(condition.shape, object)
    flat = made.reshape(-1)
    for i, chosen in enumerate(condition.reshape(-1).tolist()):
        flat[i] = left.reshape(-1)[i] if chosen else right.reshape(-1)[i]
    return flat.reshape(condition.shape)


@host("Cast")
def cast(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    (x,) = inputs
    to = _ONNX_DTYPES.get(attributes.get("to", 0))
    if to is None:
        return NotImplemented
    if x.dtype == object:
        return x if to in ("int64", "int32") else NotImplemented
    return NotImplemented if x.dtype.kind == "f" and to in ("int64", "int32") and not np.isfinite(x).all() else x.astype(to)


@host("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin")
def reduce(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    x = inputs[0]
    axes = attributes.get("axes") if len(inputs) < 2 or inputs[1] is None else inputs[1].tolist()
    if (
        x.ndim != 1
        or x.size == 0
        or (axes == [] and not attributes.get("noop_with_empty_axes", 0))
        or axes not in ([0], [-1], None)
    ):
        return NotImplemented
    made = x.tolist()[0]
    for number in x.tolist()[1:]:
        made = {"ReduceProd": made * number, "ReduceSum": made + number}[name] if name in ("ReduceProd", "ReduceSum") else (
            max(made, number) if name == "ReduceMax" else min(made, number)
        )  # fmt: skip
    kind = object if x.dtype == object else x.dtype
    return _filled((1,) if attributes.get("keepdims", 1) else (), made, kind)


def _filled(shape: tuple[int, ...], value: Any, kind: Any) -> Any:
    made = np.empty(shape, kind)
    made[...] = value
    return made


# ---- movement


TABLE["Identity"] = lambda inputs, attributes, opset, name: inputs[0]


@host("Gather")
def gather(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    data, indices = inputs
    if indices.dtype == object or attributes.get("axis", 0) not in (0, -data.ndim) or data.ndim == 0:
        return NotImplemented
    if indices.size and (indices.max() >= data.shape[0] or indices.min() < -data.shape[0]):
        raise IndexError(f"index {indices.tolist()} is outside of {data.shape[0]} numbers")
    return data[indices]


@host("Slice")
def cut(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    data = inputs[0]
    if opset < 10:
        starts, ends, axes, steps = attributes["starts"], attributes["ends"], attributes.get("axes"), None
    else:
        lists = [None if x is None else x.tolist() for x in inputs[1:]] + [None] * 4
        starts, ends, axes, steps = lists[:4]
    if data.ndim != 1 or len(starts) != 1 or (axes or [0]) not in ([0], [-1]):
        return NotImplemented
    numbers = (starts[0], ends[0], (steps or [1])[0])
    return data[slice(*_bounds(numbers, data.shape[0]))] if all(type(x) is int for x in numbers) else NotImplemented


def _bounds(numbers: tuple[int, int, int], size: int) -> tuple[int | None, int | None, int]:
    """A slice as Python has it: ONNX's ends below the first element stop there."""
    start, end, step = numbers
    return start, None if step < 0 and end < -size else end, step


@host("Concat")
def concat(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    if any(x.ndim != 1 for x in inputs):
        return NotImplemented
    return (
        np.concatenate([x.astype(object) for x in inputs]) if any(x.dtype == object for x in inputs) else np.concatenate(inputs)
    )


@host("Unsqueeze", "Squeeze")
def squeezing(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    axes = attributes.get("axes") if len(inputs) < 2 or inputs[1] is None else inputs[1].tolist()
    if name == "Squeeze":
        return np.squeeze(inputs[0], None if axes is None else tuple(axes))
    return np.expand_dims(inputs[0], tuple(axes))


@host("Reshape")
def reshape(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    data, shape = inputs if len(inputs) == 2 else (inputs[0], np.array(attributes["shape"]))
    return NotImplemented if shape.dtype == object or 0 in shape else data.reshape(shape.tolist())


@host("Expand")
def expand(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    data, shape = inputs
    if shape.dtype == object or np.prod(shape.astype(float)) > LONGEST:
        return NotImplemented
    return np.array(np.broadcast_to(data, np.broadcast_shapes(data.shape, tuple(shape.tolist()))))


@host("Range")
def counted(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    if any(x.dtype == object for x in inputs):
        return NotImplemented
    start, limit, delta = (x.reshape(-1)[0] for x in inputs)
    if delta == 0 or (limit - start) / delta > LONGEST:
        return NotImplemented
    return np.arange(start, limit, delta, dtype=inputs[0].dtype)


@host("ConstantOfShape")
def constant_of_shape(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    (shape,) = inputs
    if shape.size > 1 or shape.dtype == object or np.prod(shape.astype(float)) > LONGEST:
        return NotImplemented
    value = attributes.get("value")
    value = np.zeros(1, np.float32) if value is None else value.array
    return NotImplemented if value.dtype.kind == "f" else np.full(shape.tolist(), value.reshape(-1)[0])


@host("ScatterND", "ScatterElements")
def scatter(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    data, indices, updates = inputs
    if data.ndim != 1 or indices.dtype == object or attributes.get("reduction", "none") != "none":
        return NotImplemented
    made = data.astype(object) if updates.dtype == object else data.copy()
    if name == "ScatterND" and indices.shape[-1:] != (1,):
        return NotImplemented
    made[indices.reshape(-1)] = updates.reshape(-1)
    return made


@host("Split")
def split(inputs: Any, attributes: Any, opset: int, name: str) -> Any:
    sizes = attributes.get("split") if len(inputs) < 2 or inputs[1] is None else inputs[1].tolist()
    if inputs[0].ndim != 1 or sizes is None or any(type(x) is not int for x in sizes) or sum(sizes) != inputs[0].size:
        return NotImplemented
    return np.split(inputs[0], np.cumsum(sizes)[:-1].tolist())
