"""Tensors with their values, or their lengths, kept within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph.errors import ArgumentError

from .constants import convert_to_tensor
from .definition import Numbers, Operand, Operands, operation
from .elements import Tensor
from .scopes import name_scope
from .slicing import as_numbers

__all__ = ["clip_by_average_norm", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]


@operation("ClipByValue", aliases={"min": "clip_value_min", "max": "clip_value_max"}, called="clip_by_value")
def clip_by_value(t: Operand, clip_value_min: Operand, clip_value_max: Operand, name: str | None = None) -> Any:
    """t with values below and above the bounds replaced by these; the gradient is 0 there."""
    return dg.clamp(t, clip_value_min, clip_value_max).to(t.dtype)


@operation("ClipByNorm", called="clip_by_norm")
def clip_by_norm(t: Operand, clip_norm: Operand, axes: Numbers = None, name: str | None = None) -> Any:
    """t made shorter so that its length, over all dimensions or over `axes`, is at most `clip_norm`."""
    dims = as_numbers(axes)
    return _shortened(t, clip_norm, dg.linalg.vector_norm(t, 2, dims, True))


def _shortened(t: Any, limit: Any, length: Any) -> Any:
    return (t * limit / dg.maximum(length, limit)).to(t.dtype)


@operation("ClipByAverageNorm")
def clip_by_average_norm(t: Operand, clip_norm: Operand, name: str | None = None) -> Any:
    """t made smaller so that its length by the number of its elements is at most `clip_norm`."""
    return _shortened(t, clip_norm, dg.linalg.vector_norm(t, 2) / dg.ones_like(t).sum())


@operation("GlobalNorm")
def _global_norm(t_list: Operands, name: str | None = None) -> Any:
    total = dg.sum(t_list[0] * t_list[0])
    for x in t_list[1:]:
        total = total + dg.sum(x * x)
    return dg.sqrt(total)


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """The length of all tensors together. Nones are left out; ArgumentError if nothing is left."""
    tensors = [convert_to_tensor(x) for x in t_list if x is not None]
    if not tensors:
        raise ArgumentError("global_norm: there are no tensors")
    made: Tensor = _global_norm(tensors, name=name or "global_norm")
    return made


@operation("ClipByGlobalNorm")
def _clipped(t_list: Operands, clip_norm: Operand, use_norm: Operand, name: str | None = None) -> Any:
    scale = clip_norm / dg.maximum(use_norm, clip_norm)
    scale = scale + (use_norm - use_norm)  # not finite: all are NaN
    return [x * scale.to(x.dtype) for x in t_list]


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Tensor | None], Tensor]:
    """(tensors made shorter together, so that their common length is at most `clip_norm`; their length before).

    Args:
        t_list: tensors; Nones stay.
        use_norm: their common length, if it is known.

    If that is not finite, all values become NaN.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     parts, length = session.run(tf.clip_by_global_norm([tf.constant([3.0]), tf.constant([4.0])], 1.0))
    >>> [round(float(part[0]), 3) for part in parts], float(length)
    ([0.6, 0.8], 5.0)
    """
    if not isinstance(t_list, (list, tuple)):
        raise ArgumentError(f"clip_by_global_norm: t_list must be a list, got {type(t_list).__name__}")
    with name_scope(name, "clip_by_global_norm"):
        norm = global_norm(t_list) if use_norm is None else convert_to_tensor(use_norm)
        tensors = [convert_to_tensor(x) for x in t_list if x is not None]
        made = iter(_clipped(tensors, clip_norm, norm) if tensors else [])
        return [None if x is None else next(made) for x in t_list], norm
