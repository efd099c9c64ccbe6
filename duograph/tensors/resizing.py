"""Methods that give a tensor another size or other memory in place."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..errors import ArgumentError, CaptureError, GradError, ShapeError
from ..ir.builder import active
from ..ops.arguments import checked
from ..ops.shape_changes import show
from ..ops.shapes.tabulating import as_strided
from . import creation

Tensor = core.Tensor


def as_strided_(self: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """In-place form of `as_strided`: the tensor itself shows its elements in this way from now on."""
    return show("as_strided_", self, as_strided, size, stride, storage_offset)


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Gives the tensor another size over its memory, row-major; if that is too small, over new memory with the same start.

    What the old elements do not fill is undefined. A tensor whose memory others share cannot outgrow it.
    """
    _check("resize_", self)
    given = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    count = 1
    for size in given:
        if type(size) is not int or size < 0:
            raise ShapeError(f"resize_: sizes must be whole numbers, none below 0, got {given}")
        count *= size
    nbytes, users = core.storage_use(self)
    room = nbytes // self.element_size() - self.storage_offset()
    if count <= room:
        return show("resize_", self, lambda x: core.as_strided(x, given, _row_major(given), x.storage_offset()))
    if users > 1:
        raise ShapeError(
            f"resize_: {given} needs more memory than the tensor has ({room} elements), and other tensors share that",
            hint="make a new tensor: dg.empty(size), or resize a copy: x = x.clone().resize_(size)",
        )
    larger = creation.empty(count, dtype=self.dtype)
    larger[:room] = core.as_strided(self.detach(), (room,), (1,), self.storage_offset())
    self.data = larger.reshape(given)
    return self


def resize_as_(self: Tensor, other: Tensor, memory_format: Any = None) -> Tensor:
    """Gives the tensor the size of another, as `resize_`."""
    return resize_(self, tuple(other.shape))


def set_(self: Tensor, source: Tensor | None = None) -> Tensor:
    """Lets the tensor be another one's memory, in its shape; without an argument it is empty."""
    _check("set_", self)
    source = creation.empty(0, dtype=self.dtype) if source is None else source
    if source.dtype is not self.dtype:
        raise ArgumentError(f"set_: the tensor is {self.dtype.name}, the other one {source.dtype.name}")
    self.data = source.detach()
    return self


def _row_major(sizes: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(sizes):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _check(name: str, x: Tensor) -> None:
    if active():
        raise CaptureError(f"static: {name} changes a tensor's memory", hint="make a new tensor: dg.empty(size)")
    if x.requires_grad:
        raise GradError(f"{name}: a tensor that requires grad keeps its size", hint=f"use x.detach().{name}(...)")


as_strided_, resize_as_, set_ = checked(as_strided_), checked(resize_as_), checked(set_)
