"""`tf.slice` and `tf.strided_slice`: what `tensor[…]` does, with bounds in lists and tensors."""

from __future__ import annotations

import builtins
from typing import Any

from duograph.errors import ShapeError

from .arrays import unstack
from .constants import convert_to_tensor
from .definition import Numbers, Operand, operation
from .elements import Tensor
from .inference import RunSizes
from .slicing import as_numbers, strided_slice_

__all__ = ["slice", "strided_slice"]


@operation("Slice", sizes=True)
def _sliced(input: Operand, begin: Numbers, size: Numbers, name: str | None = None) -> Any:
    starts, counts = as_numbers(begin), as_numbers(size)
    if isinstance(input, RunSizes):
        end = len(input) if counts[0] == -1 else starts[0] + counts[0]
        return RunSizes(tuple(input)[starts[0] : end])
    if len(starts) != input.ndim or len(counts) != input.ndim:
        raise ShapeError(f"slice: the shape {tuple(input.shape)} needs {input.ndim} starts and sizes")
    made = input
    for axis, (start, count) in enumerate(zip(starts, counts)):
        have = made.shape[axis]
        if count.__class__ is int and count == -1:
            count = have - start
        if not _fits(start, count, have):
            raise ShapeError(f"slice: {count} from {start} on lie outside of dimension {axis} of the shape {tuple(input.shape)}")
        made = made[(*[builtins.slice(None)] * axis, builtins.slice(start, start + count))]
    return made


def _fits(start: Any, count: Any, have: Any) -> bool:
    if not all(x.__class__ is int for x in (start, count, have)):
        return True
    return bool(start >= 0 and count >= 0 and start + count <= have)


def slice(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """`size` elements from `begin` on, in each dimension; a size of -1 means all that follow.

    Errors:   ShapeError for what lies outside
    """
    made: Tensor = _sliced(convert_to_tensor(input_), begin, size, name=name)
    return made


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """x[begin[0]:end[0]:strides[0], …]; a bit that is set in a mask leaves a begin or an end out, or is what its name says.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.strided_slice([1, 2, 3, 4, 5], [1], [5], [2]))
    array([2, 4], dtype=int32)
    """
    x = convert_to_tensor(input_)
    firsts, lasts = _listed(begin), _listed(end)
    steps = [1] * len(firsts) if strides is None else _listed(strides)
    key: list[Any] = []
    for i, (first, last, step) in enumerate(zip(firsts, lasts, steps)):
        bit = 1 << i
        if ellipsis_mask & bit:
            key.append(...)
        elif new_axis_mask & bit:
            key.append(None)
        elif shrink_axis_mask & bit:
            key.append(first)
        else:
            key.append(("slice", None if begin_mask & bit else first, None if end_mask & bit else last, step))
    made: Tensor = strided_slice_(x, key, name=name)
    return made


def _listed(numbers: Any) -> list[Any]:
    """The elements of a list, or of a vector of known size."""
    if not isinstance(numbers, Tensor):
        return [int(x) if not isinstance(x, Tensor) else x for x in numbers]
    return unstack(numbers)
