"""ONNX's operators for Python code: `op = Operators(18)`, then `op.Resize(x, None, scales, mode="linear")`.

Modules that `to_python` wrote call what no single function of duograph does. Inputs are tensors, or numbers and lists of them for
what is known; an operator that works on such numbers gives `Known` ones again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from duograph import _core as core

from .errors import UnsupportedError
from .followed import stacked as stacked
from .interpreting import Frame, as_tensor, converted
from .messages import library
from .operators import host
from .operators.definition import ANY, Operator, find
from .operators.known import Known
from .reading import Data, Source
from .structure import Body, Reader


class Operators:
    """The operators of a domain, in one version of it, as functions under their names."""

    def __init__(self, opset: int, domain: str = "") -> None:
        self.opset = opset
        self.domain = domain

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        row = find(self.domain, name, self.opset)
        made = functools.partial(_composed, self, name) if row is None else functools.partial(_called, self, row)
        object.__setattr__(self, name, made)
        return made


def _called(operators: Operators, row: Operator, *inputs: Any, outputs: int = 1, dtypes: Any = None, **attributes: Any) -> Any:
    attributes = {name: value for name, value in attributes.items() if value is not None}
    values = [_value(x, row.kind(i)) for i, x in enumerate(inputs)]
    if operators.domain == "" and row.name in host.TABLE and all(x is None or x.__class__ is Known for x in values):
        boxed = {name: _boxed(value) for name, value in attributes.items()}
        made = host.computed(row.name, values, boxed, operators.opset)
        if made is not NotImplemented:
            return tuple(made) if isinstance(made, list) else made
    tensors = any(isinstance(x, core.Tensor) for x in values)
    given = {"outputs": outputs, "opset": operators.opset, "dtypes": dtypes}
    attributes.update((name, given[name]) for name in row.given)
    return row.function(*[None if x is None else converted(x, row.kind(i), tensors) for i, x in enumerate(values)], **attributes)


def _composed(operators: Operators, name: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
    """An operator that ONNX defines in terms of others."""
    onnx = library()
    values = [_value(x, None) for x in inputs]
    names = ["" if x is None else f"input{i}" for i, x in enumerate(values)]
    given = {name: value for name, value in attributes.items() if value is not None}
    proto = onnx.helper.make_node(name, names, [f"output{i}" for i in range(outputs)], domain=operators.domain, **given)
    reader = Reader(Source(onnx.ModelProto(), None, name))
    node = reader.node(proto, 1, {"": operators.opset, operators.domain: operators.opset}, (), 0)
    if reader.unsupported:
        raise UnsupportedError(f"onnx: {reader.unsupported[0]} is not known")
    frame = Frame(Body(name), name)
    frame.values.update(zip(names, values))
    frame.evaluate(node)
    made = tuple(frame.values[f"output{i}"] for i in range(outputs))
    return made[0] if outputs == 1 else made


def _boxed(value: Any) -> Any:
    return Data(value, core.float32) if isinstance(value, np.ndarray) else value


def _value(value: Any, kind: int | None) -> Any:
    """A number or a list of them as known numbers."""
    if value is None or isinstance(value, (core.Tensor, Known)):
        return value
    if isinstance(value, np.ndarray):
        return Known(value)
    if isinstance(value, (list, tuple)):
        return _numbers(value, kind)
    if isinstance(value, bool):
        return Known(np.array(value))
    if isinstance(value, float):
        return Known(np.array(value, np.float32))
    if type(value) is int:
        return Known(np.array(value, np.int64))
    if hasattr(value, "__index__"):
        return Known(_objects((), value), core.int64)
    return value


def _numbers(values: Sequence[Any], kind: int | None) -> Any:
    if any(isinstance(x, core.Tensor) and x.ndim for x in values) or (not values and kind == ANY and isinstance(values, list)):
        return values
    if all(type(x) is bool for x in values) and values:
        return Known(np.array(values))
    if any(type(x) is float for x in values):
        return Known(np.array(values, np.float32))
    if all(type(x) is int for x in values):
        return Known(np.array(values, np.int64))
    made = np.empty(len(values), object)
    made[:] = values
    return Known(made, core.int64)


def _objects(shape: tuple[int, ...], value: Any) -> Any:
    made = np.empty(shape, object)
    made[...] = value
    return made


def tensor(value: Any) -> Any:
    """A tensor, of numbers too."""
    return as_tensor(_value(value, None))


def truth(value: Any) -> Any:
    """What a branch asks: a tensor without dimensions, or a bool."""
    found = _value(value, None)
    return found.reshape(()) if isinstance(found, core.Tensor) else bool(found.array.reshape(-1)[0])
