"""Which sizes of the arguments stay open in a file: what PyTorch's `dynamic_axes` and `dynamic_shapes` say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from duograph.capture.values.declared import Dim
from duograph.capture.values.size_history import Plan, argument_leaves
from duograph.errors import ArgumentError
from duograph.ir.dim import INFINITY

Symbol = tuple[str, float, float]
Names = dict[tuple[int, int], Symbol]


def of_axes(axes: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str], ranks: Sequence[int]) -> Names:
    """The symbols that `dynamic_axes` names; what it says of outputs follows from the program."""
    found: Names = {}
    if not isinstance(axes, Mapping):
        raise ArgumentError(f"onnx: dynamic_axes takes a dict by input name, got {axes!r}", hint='{"x": {0: "batch"}}')
    for name, spec in axes.items():
        if name not in inputs:
            if name not in outputs:
                raise ArgumentError(f"onnx: dynamic_axes names {name!r}, which is no input; there is {', '.join(inputs)}")
            continue
        slot = inputs.index(name)
        rows = spec.items() if isinstance(spec, Mapping) else [(axis, f"{name}_dynamic_axes_{axis + 1}") for axis in spec]
        for axis, symbol in rows:
            if not -ranks[slot] <= axis < ranks[slot]:
                raise ArgumentError(f"onnx: dynamic_axes: {name} has {ranks[slot]} dimensions, none is {axis}")
            found[slot, axis % ranks[slot]] = (_identifier(symbol), 0, INFINITY)
    return found


def of_shapes(shapes: Any, args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> Names:
    """The symbols that `dynamic_shapes` names: for each argument, by name or in order, what is open of it."""
    values = [*args, *kwargs.values()]
    if not isinstance(shapes, (Mapping, list, tuple)):
        hint = '{"x": {0: "batch"}}'
        raise ArgumentError(
            f"onnx: dynamic_shapes takes what is open of each argument, by name or in order, got {shapes!r}", hint=hint
        )
    if isinstance(shapes, Mapping):
        for name in shapes:
            if name not in names:
                raise ArgumentError(f"onnx: dynamic_shapes names {name!r}, which is no argument; there is {', '.join(names)}")
        specs = [shapes.get(name) for name in names]
    else:
        if len(shapes) > len(values):
            raise ArgumentError(f"onnx: dynamic_shapes speaks of {len(shapes)} arguments, there are {len(values)}")
        specs = [*shapes, *(None for _ in values)][: len(values)]
    found: Names = {}
    slots = {id(tensor): slot for slot, (_, _, tensor) in enumerate(argument_leaves(values, names)[0])}
    for value, spec, name in zip(values, specs, names):
        _walk(value, spec, name, slots, found)
    return found


def _walk(value: Any, spec: Any, name: str, slots: Mapping[int, int], found: Names) -> None:
    if spec is None:
        return
    if id(value) in slots:
        if not isinstance(spec, (Mapping, list, tuple)):
            raise ArgumentError(f"onnx: dynamic_shapes: sizes of {name} are a dict by dimension, or a list, not {spec!r}")
        rows = spec.items() if isinstance(spec, Mapping) else enumerate(spec)
        for axis, size in rows:
            if not -value.ndim <= axis < value.ndim:
                raise ArgumentError(f"onnx: dynamic_shapes: {name} has {value.ndim} dimensions, none is {axis}")
            symbol = _symbol(size, f"{name}_{axis}")
            if symbol is not None:
                found[slots[id(value)], axis % value.ndim] = symbol
        return
    if not isinstance(value, (Mapping, list, tuple)):
        raise ArgumentError(f"onnx: dynamic_shapes speaks of sizes of {name}, which is no tensor")
    keys = value.keys() if isinstance(value, Mapping) else range(len(value))
    for key in keys:
        inner = spec.get(key) if isinstance(spec, Mapping) else spec[key]
        _walk(value[key], inner, f"{name}_{key}", slots, found)


def _symbol(size: Any, otherwise: str) -> Symbol | None:
    """Name and bounds of an open size: a `Dim` of ours, one of PyTorch's, or a name; None for a fixed one."""
    if isinstance(size, Dim):
        return size.symbol
    if size is None or isinstance(size, int):
        return None
    if isinstance(size, str):
        return _identifier(size), 0, INFINITY
    name = getattr(size, "__name__", None)
    if getattr(getattr(size, "type", None), "name", "") == "STATIC":  # PyTorch's Dim.STATIC
        return None
    if name is None:  # another of its hints, such as Dim.AUTO
        return _identifier(otherwise), 0, INFINITY
    high = getattr(size, "max", None)
    return _identifier(name), getattr(size, "min", None) or 0, INFINITY if high is None or high > 2**62 else high


def _identifier(name: Any) -> str:
    text = "".join(c if c.isalnum() or c == "_" else "_" for c in str(name))
    return text if text[:1].isalpha() or text[:1] == "_" else f"n{text}"


def added(plan: Plan, names: Names) -> Plan:
    """The plan with further symbols."""
    return Plan({**plan.names, **names}, plan.states) if names else plan
