"""Padding as modules."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _core as core
from ..errors import ArgumentError, DimensionError
from . import functional
from .module import Module

Tensor = core.Tensor


class _Padding(Module):
    """Base: pads the last `dims` dimensions; one number is for all ends."""

    dims: int
    mode: str

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        given = tuple(padding) if isinstance(padding, Sequence) else (padding,) * (2 * self.dims)
        if not all(isinstance(size, int) for size in given):
            raise ArgumentError(f"{type(self).__name__}: padding must be an integer or {2 * self.dims} of them, got {padding!r}")
        if len(given) != 2 * self.dims:
            raise ArgumentError(f"{type(self).__name__}: padding must be one number or {2 * self.dims}, got {padding!r}")
        self.padding = given

    def forward(self, x: Tensor) -> Tensor:
        if self.mode != "constant" and x.dim() not in (self.dims + 1, self.dims + 2):
            raise DimensionError(
                f"{type(self).__name__}: x must have {self.dims + 1} or {self.dims + 2} dimensions, got {x.dim()}"
            )
        return functional.pad(x, self.padding, self.mode)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _Constant(_Padding):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.padding, "constant", self.value)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _Zero(_Padding):
    mode = "constant"


class _Reflection(_Padding):
    mode = "reflect"


class _Replication(_Padding):
    mode = "replicate"


class _Circular(_Padding):
    mode = "circular"


class ConstantPad1d(_Constant):
    """x with a constant around its last dimension."""

    dims = 1


class ConstantPad2d(_Constant):
    """x with a constant around its last 2 dimensions."""

    dims = 2


class ConstantPad3d(_Constant):
    """x with a constant around its last 3 dimensions."""

    dims = 3


class ZeroPad1d(_Zero):
    """x with zeros around its last dimension."""

    dims = 1


class ZeroPad2d(_Zero):
    """x with zeros around its last 2 dimensions."""

    dims = 2


class ZeroPad3d(_Zero):
    """x with zeros around its last 3 dimensions."""

    dims = 3


class ReflectionPad1d(_Reflection):
    """x with its reflection at the ends, which are not repeated around its last dimension."""

    dims = 1


class ReflectionPad2d(_Reflection):
    """x with its reflection at the ends, which are not repeated around its last 2 dimensions."""

    dims = 2


class ReflectionPad3d(_Reflection):
    """x with its reflection at the ends, which are not repeated around its last 3 dimensions."""

    dims = 3


class ReplicationPad1d(_Replication):
    """x with its outermost elements around its last dimension."""

    dims = 1


class ReplicationPad2d(_Replication):
    """x with its outermost elements around its last 2 dimensions."""

    dims = 2


class ReplicationPad3d(_Replication):
    """x with its outermost elements around its last 3 dimensions."""

    dims = 3


class CircularPad1d(_Circular):
    """x with what is at its other end around its last dimension."""

    dims = 1


class CircularPad2d(_Circular):
    """x with what is at its other end around its last 2 dimensions."""

    dims = 2


class CircularPad3d(_Circular):
    """x with what is at its other end around its last 3 dimensions."""

    dims = 3
