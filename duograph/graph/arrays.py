"""Shapes, sizes and movement of graph tensors, under TensorFlow's names."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core

from .definition import Numbers, Operand, Operands, operation
from .dtypes import as_dtype
from .inference import RunSizes
from .slicing import as_numbers

__all__ = ["boolean_mask", "cast", "newaxis", "reshape", "shape", "stack", "zeros_like"]

newaxis = None


@operation("Cast", sizes=True)
def cast(x: Operand, dtype: Any, name: str | None = None) -> Any:
    """x converted to a dtype; floats lose what is behind the point on the way to integers."""
    wanted = as_dtype(dtype)
    if isinstance(x, int) and wanted.kind in "iu":
        return x
    from .resolving import as_tensor

    return as_tensor(x).to(wanted)


@operation("Shape", sizes=True, differentiable=False)
def shape(input: Operand, name: str | None = None, out_type: Any = core.int32) -> Any:
    """The sizes of a tensor at the run, as an int32 vector."""
    if isinstance(input, core.Tensor):
        return RunSizes(input.shape)
    return RunSizes((len(input),)) if isinstance(input, RunSizes) else RunSizes()


@operation("Reshape", sizes=True)
def reshape(tensor: Operand, size: Numbers, name: str | None = None) -> Any:
    """The same elements in another shape; one size may be -1."""
    from .resolving import as_tensor

    return as_tensor(tensor).reshape(as_numbers(size))


@operation("ZerosLike", differentiable=False)
def zeros_like(tensor: Operand, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Any:
    """Zeros of the shape of a tensor."""
    return dg.zeros_like(tensor, dtype=None if dtype is None else as_dtype(dtype))


@operation("Pack", sizes=True)
def stack(values: Operands, axis: int = 0, name: str | None = "stack") -> Any:
    """Tensors of one shape along a new dimension."""
    from .resolving import as_tensor

    if axis == 0 and all(not isinstance(x, core.Tensor) for x in values) and any(not isinstance(x, float) for x in values):
        return RunSizes(values)
    return dg.stack([as_tensor(x) for x in values], axis)


@operation("BooleanMask")
def boolean_mask(tensor: Operand, mask: Operand, name: str | None = "boolean_mask", axis: int = 0) -> Any:
    """The elements, or rows, of which the mask is true."""
    return tensor[(slice(None),) * axis + (mask,)]
