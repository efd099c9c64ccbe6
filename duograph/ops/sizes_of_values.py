"""Tensors where an operator takes sizes, while a graph is recorded: sizes that only the run knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, CaptureError
from duograph.ir.builder import current

from .definition import ATTR, ATTRS, REGISTRY, SIZE, SIZES

if TYPE_CHECKING:
    from .definition import Definition


def with_sizes(definition: Definition, args: Sequence[Any]) -> Sequence[Any]:
    """The arguments with traced tensors in shapes as sizes; one that must be known beforehand is refused."""
    made = None
    for number, ((name, kind, _), value) in enumerate(zip(definition.params, args)):
        if kind not in (SIZES, SIZE, ATTR, ATTRS):
            continue
        items = value if isinstance(value, (tuple, list)) else (value,)
        if kind in (SIZES, SIZE) and any(isinstance(item, float) for item in items):
            raise ArgumentError(f"{definition.name}: {name} must be an integer or a sequence of integers, not float")
        if not any(isinstance(item, core.Tensor) for item in items):
            continue
        if kind not in (SIZES, SIZE):
            raise CaptureError(
                f"static: {definition.name}: {name} is a tensor here, whose value only each run knows",
                hint="pass a number; sizes, indices of [] and bounds of slices may be tensors",
            )
        made = list(args) if made is None else made
        sizes = tuple(size_of(definition.name, item) if isinstance(item, core.Tensor) else item for item in items)
        made[number] = sizes if kind == SIZES else sizes[0]
    return args if made is None else made


def size_of(owner: str, value: Any) -> Any:
    """The whole number in a tensor as a size."""
    if value.dim() or value.dtype.kind not in "iu":
        raise ArgumentError(f"{owner}: sizes must be integers, got {value.dtype.name}{list(value.shape)}")
    builder = current()
    return builder.size_of(builder.read(REGISTRY["cast"].op(value, core.int64)), "size")
