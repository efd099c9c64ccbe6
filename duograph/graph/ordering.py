"""Graph tensors sorted, searched, and as sets of numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError

from .constants import convert_to_tensor
from .definition import Operand, operation
from .dtypes import as_dtype
from .elements import Tensor

__all__ = [
    "argsort", "invert_permutation", "searchsorted", "setdiff1d", "sort", "unique", "unique_with_counts",
]  # fmt: skip


class Unique(NamedTuple):
    """y: the elements, each once; idx: for each element of x, its place in y."""

    y: Tensor
    idx: Tensor


class UniqueWithCounts(NamedTuple):
    """y: the elements, each once; idx: for each element of x, its place in y; count: how often each was there."""

    y: Tensor
    idx: Tensor
    count: Tensor  # type: ignore[assignment]


class ListDiff(NamedTuple):
    """out: the elements of x that y lacks; idx: their places in x."""

    out: Tensor
    idx: Tensor


@operation("Unique", differentiable=False)
def _unique(x: Operand, out_idx: Any, name: str | None = None) -> Any:
    values, places, counts = dg.unique(x, return_inverse=True, return_counts=True)
    positions = dg.arange(x.shape[0])
    first = dg.zeros_like(counts).scatter_reduce(0, places, positions, "amin", include_self=False)
    order = dg.argsort(first)  # as they come in x, not by size
    return values[order], dg.argsort(order)[places].to(out_idx), counts[order].to(out_idx)


def unique(x: Any, out_idx: Any = core.int32, name: str | None = None) -> Unique:
    """The elements of a vector, each once, as they come first; and for each element its place among those.

    >>> import duograph.graph as tf
    >>> y, idx = tf.unique([7, 7, 2, 7, 5])
    >>> with tf.Session() as session:
    ...     session.run([y, idx])
    [array([7, 2, 5], dtype=int32), array([0, 0, 1, 0, 2], dtype=int32)]
    """
    found = _unique(convert_to_tensor(x), as_dtype(out_idx), name=name)
    return Unique(*found[:2])


def unique_with_counts(x: Any, out_idx: Any = core.int32, name: str | None = None) -> UniqueWithCounts:
    """`unique`, and how often each element was there."""
    return UniqueWithCounts(*_unique(convert_to_tensor(x), as_dtype(out_idx), name=name))


@operation("ListDiff", differentiable=False)
def _difference(x: Operand, y: Operand, index_dtype: Any, name: str | None = None) -> Any:
    places = dg.nonzero(dg.logical_not(dg.isin(x, y))).reshape([-1])
    return x[places], places.to(index_dtype)


def setdiff1d(x: Any, y: Any, index_dtype: Any = core.int32, name: str | None = None) -> ListDiff:
    """The elements of a vector that another lacks, and their places."""
    return ListDiff(*_difference(convert_to_tensor(x), convert_to_tensor(y), as_dtype(index_dtype), name=name))


def _descending(function: str, direction: str) -> bool:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ArgumentError(f"{function}: direction {direction!r} is none", hint="'ASCENDING' or 'DESCENDING'")
    return direction == "DESCENDING"


@operation("Sort")
def _sort(values: Operand, axis: int, descending: bool, name: str | None = None) -> Any:
    return dg.sort(values, axis, descending)[0]


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """The elements in order along a dimension; gradients follow the elements."""
    made: Tensor = _sort(convert_to_tensor(values), axis, _descending("sort", direction), name=name)
    return made


@operation("ArgSort", differentiable=False)
def _argsort(values: Operand, axis: int, descending: bool, name: str | None = None) -> Any:
    return dg.argsort(values, axis, descending).to(core.int32)


def argsort(values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None) -> Tensor:
    """The places of the elements in order along a dimension, int32. It is always stable."""
    made: Tensor = _argsort(convert_to_tensor(values), axis, _descending("argsort", direction), name=name)
    return made


@operation("SearchSorted", differentiable=False)
def _searched(sorted_sequence: Operand, values: Operand, right: bool, out_type: Any, name: str | None = None) -> Any:
    return dg.searchsorted(sorted_sequence, values, right=right).to(out_type)


def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = core.int32, name: str | None = None
) -> Tensor:
    """Where values would go in rows that are sorted: before equal ones, or behind them for side="right".

    Shapes:   sorted_sequence [*B, N], values [*B, M] → [*B, M]
    """
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted: side {side!r} is none", hint="'left' or 'right'")
    rows = convert_to_tensor(sorted_sequence)
    made: Tensor = _searched(rows, convert_to_tensor(values, rows.dtype), side == "right", as_dtype(out_type), name=name)
    return made


@operation("InvertPermutation", differentiable=False)
def invert_permutation(x: Operand, name: str | None = None) -> Any:
    """The permutation that undoes another: y[x[i]] = i."""
    return dg.argsort(x).to(x.dtype)
