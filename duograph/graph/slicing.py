"""Slices of graph tensors, as NumPy writes them; bounds may be tensors."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core

from .definition import Numbers, Operand, operation
from .elements import Tensor, known_value
from .inference import RunSizes


@operation("StridedSlice", sizes=True, called="strided_slice")
def strided_slice_(input: Operand, key: Numbers, name: str | None = None) -> Any:
    """input[key], with slices in `key` as ("slice", start, stop, step)."""
    parts = [slice(*part[1:]) if isinstance(part, tuple) and part[:1] == ("slice",) else part for part in key]
    if isinstance(input, RunSizes):
        found = tuple(input)[as_number(parts[0]) if not isinstance(parts[0], slice) else _numbered(parts[0])]
        return RunSizes(found) if isinstance(found, tuple) else found
    if not isinstance(input, core.Tensor):
        return input
    parts = [_numbered(part) if isinstance(part, slice) else part for part in parts]
    if any(isinstance(part, slice) and isinstance(part.step, int) and part.step < 0 for part in parts):
        input, parts = _turned(input, parts)
    return input[tuple(parts)]


def _turned(input: Any, parts: list[Any]) -> tuple[Any, list[Any]]:
    """The same slices with steps above 0, of the tensor with those dimensions reversed."""
    made = list(parts)
    taken = [part is not None and part is not Ellipsis for part in parts]
    for i, part in enumerate(parts):
        if not (isinstance(part, slice) and isinstance(part.step, int) and part.step < 0):
            continue
        dim = sum(taken[:i]) if Ellipsis not in parts[:i] else input.ndim - sum(taken[i:])
        size = input.shape[dim]
        start, stop = (None if bound is None else _from_behind(bound, size) for bound in (part.start, part.stop))
        input, made[i] = input.flip(dim), slice(start, stop, -part.step)
    return input, made


def _from_behind(bound: Any, size: Any) -> Any:
    """A bound of a slice, counted from the end in a reversed dimension."""
    if isinstance(bound, int) and bound < 0:
        return min(-1 - bound, size)
    place = size - 1 - bound
    return max(place, 0) if isinstance(place, int) else place


def _numbered(part: slice) -> slice:
    return slice(*(None if bound is None else as_number(bound) for bound in (part.start, part.stop, part.step)))


def as_number(value: Any) -> Any:
    """A whole number that steers shapes: of a tensor, its value at the run."""
    if not isinstance(value, core.Tensor):
        return value
    known = known_value(value)
    if known is not None:
        return known[0] if isinstance(known, list) else known
    if core.tracing():
        return value.reshape(())
    return value.item()


def as_numbers(value: Any) -> Any:
    """Whole numbers that steer shapes, given as a list, as sizes of the run, or as a tensor."""
    if value is None:
        return None
    if isinstance(value, core.Tensor):
        known = known_value(value)
        if known is not None:
            return known
        if value.ndim == 0:
            return as_number(value)
        if not core.tracing():
            return value.tolist()
        return [as_number(value[i]) for i in range(int(value.shape[0]))]
    if isinstance(value, (list, tuple)):
        return [as_number(x) for x in value]
    return value


def plain_numbers(value: Any) -> Any:
    """A number or a tuple of numbers, of which shapes can be made without looking at values; None for what is none."""
    if isinstance(value, RunSizes) or value.__class__ is int:
        return value
    if isinstance(value, core.Tensor):
        known = known_value(value)
        return None if known is None or value.ndim > 1 or value.dtype.kind == "b" else tuple(known) if value.ndim else known
    return None if isinstance(value, (float, bool, str, bytes)) or value is None else value


def counted(count: Any, dtype: Any) -> Any:
    """The numbers 0 … count - 1; the count may be a number that only the run knows."""
    if isinstance(count, core.Tensor):
        return (dg.cumsum(dg.ones([count], dtype=core.int64), 0) - 1).to(dtype)
    return dg.arange(count, dtype=dtype)


def getitem(tensor: Tensor, key: Any) -> Tensor:
    """tensor[key]."""
    from .arrays import boolean_mask, newaxis
    from .variables import Variable

    if isinstance(key, Tensor) and key.dtype.kind == "b":
        masked: Tensor = boolean_mask(tensor, key)
        return masked
    parts = key if isinstance(key, tuple) else (key,)
    made = [("slice", p.start, p.stop, p.step) if isinstance(p, slice) else None if p is newaxis else p for p in parts]
    source = tensor.read_value() if isinstance(tensor, Variable) else tensor
    found: Tensor = strided_slice_(source, made)
    return found
