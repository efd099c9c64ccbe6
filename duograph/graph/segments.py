"""Sums and extrema of rows that belong together, and counts of numbers, under TensorFlow's names."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core

from .definition import Numbers, Operand, operation
from .dtypes import as_dtype
from .resolving import as_tensor
from .slicing import as_number

__all__ = [
    "bincount", "confusion_matrix", "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum",
    "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min", "unsorted_segment_prod", "unsorted_segment_sqrt_n",
    "unsorted_segment_sum",
]  # fmt: skip


def _count_of(ids: Any) -> Any:
    """How many segments there are: one more than the greatest id."""
    return as_number((dg.amax(ids.to(core.int64)) + 1).reshape(()))


def _rows(data: Any, ids: Any) -> tuple[Any, Any]:
    """(the rows of data one behind the other, the id of each)."""
    tail = list(data.shape[ids.ndim :])
    return data.reshape([ids.numel() if ids.ndim != 1 else data.shape[0], *tail]), ids.reshape([-1]).to(core.int64)


def _added(data: Any, ids: Any, count: Any) -> Any:
    """Sums of segments; rows with negative ids belong to none."""
    rows, places = _rows(data, ids)
    start = dg.zeros([count + 1, *rows.shape[1:]], dtype=data.dtype)
    return start.index_add(0, dg.where(places < 0, count, places), rows).narrow(0, 0, count)


def _sizes(data: Any, ids: Any, count: Any) -> Any:
    """How many rows each segment has, with dimensions of size 1 to fit its sums."""
    kind = data.dtype if data.dtype.is_floating_point else core.float32
    found = _added(dg.ones(list(ids.shape), dtype=kind), ids, count)
    return found.reshape([count, *[1] * (data.ndim - ids.ndim)])


def _reduced(data: Any, ids: Any, count: Any, reduce: str, first: Any) -> Any:
    rows, places = _rows(data, ids)
    start = dg.full_like(rows.sum(0), first).to(data.dtype).unsqueeze(0).expand([count + 1, *rows.shape[1:]]).clone()
    index = dg.where(places < 0, count, places).reshape([-1, *[1] * (rows.ndim - 1)]).expand(rows.shape)
    return start.scatter_reduce(0, index, rows, reduce).narrow(0, 0, count)


def _mean(data: Any, ids: Any, count: Any) -> Any:
    return (_added(data, ids, count) / dg.clamp(_sizes(data, ids, count), min=1.0)).to(data.dtype)


def _extremum(data: Any, ids: Any, count: Any, reduce: str, empty: Any = None) -> Any:
    """The greatest or smallest of each segment; one without rows gets `empty`, or the least or greatest number."""
    edge = data.dtype.min if reduce == "amax" else data.dtype.max
    found = _reduced(data, ids, count, reduce, edge.item() if hasattr(edge, "item") else edge)
    return found if empty is None else dg.where(_sizes(data, ids, count) > 0, found, empty).to(data.dtype)


@operation("SegmentSum")
def segment_sum(data: Operand, segment_ids: Operand, name: str | None = None) -> Any:
    """The sums of the rows of each segment: row i belongs to segment segment_ids[i].

    Shapes:   data [N, *S], segment_ids [N] → [greatest id + 1, *S]
    """
    return _added(data, segment_ids, _count_of(segment_ids))


@operation("SegmentMean")
def segment_mean(data: Operand, segment_ids: Operand, name: str | None = None) -> Any:
    """The means of the rows of each segment; 0 for one without rows."""
    return _mean(data, segment_ids, _count_of(segment_ids))


@operation("SegmentProd")
def segment_prod(data: Operand, segment_ids: Operand, name: str | None = None) -> Any:
    """The products of the rows of each segment; 1 for one without rows."""
    return _reduced(data, segment_ids, _count_of(segment_ids), "prod", 1)


@operation("SegmentMax")
def segment_max(data: Operand, segment_ids: Operand, name: str | None = None) -> Any:
    """The greatest elements of each segment; 0 for one without rows."""
    return _extremum(data, segment_ids, _count_of(segment_ids), "amax", 0)


@operation("SegmentMin")
def segment_min(data: Operand, segment_ids: Operand, name: str | None = None) -> Any:
    """The smallest elements of each segment; 0 for one without rows."""
    return _extremum(data, segment_ids, _count_of(segment_ids), "amin", 0)


@operation("UnsortedSegmentSum")
def unsorted_segment_sum(data: Operand, segment_ids: Operand, num_segments: Numbers, name: str | None = None) -> Any:
    """The sums of the rows of each of `num_segments` segments; rows with negative ids are left out.

    Shapes:   data [*I, *S], segment_ids [*I] → [num_segments, *S]

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.unsorted_segment_sum([1, 2, 3], [2, 0, 2], 3)).tolist()
    [2, 0, 4]
    """
    return _added(data, segment_ids, as_number(num_segments))


@operation("UnsortedSegmentMean")
def unsorted_segment_mean(data: Operand, segment_ids: Operand, num_segments: Numbers, name: str | None = None) -> Any:
    """The means of the rows of each segment; 0 for one without rows."""
    return _mean(data, segment_ids, as_number(num_segments))


@operation("UnsortedSegmentSqrtN")
def unsorted_segment_sqrt_n(data: Operand, segment_ids: Operand, num_segments: Numbers, name: str | None = None) -> Any:
    """The sums of the rows of each segment, divided by the square roots of their numbers."""
    count = as_number(num_segments)
    return _added(data, segment_ids, count) / dg.sqrt(dg.clamp(_sizes(data, segment_ids, count), min=1.0))


@operation("UnsortedSegmentProd")
def unsorted_segment_prod(data: Operand, segment_ids: Operand, num_segments: Numbers, name: str | None = None) -> Any:
    """The products of the rows of each segment; 1 for one without rows."""
    return _reduced(data, segment_ids, as_number(num_segments), "prod", 1)


@operation("UnsortedSegmentMax")
def unsorted_segment_max(data: Operand, segment_ids: Operand, num_segments: Numbers, name: str | None = None) -> Any:
    """The greatest elements of each segment; the least number of the dtype for one without rows."""
    return _extremum(data, segment_ids, as_number(num_segments), "amax")


@operation("UnsortedSegmentMin")
def unsorted_segment_min(data: Operand, segment_ids: Operand, num_segments: Numbers, name: str | None = None) -> Any:
    """The smallest elements of each segment; the greatest number of the dtype for one without rows."""
    return _extremum(data, segment_ids, as_number(num_segments), "amin")


@operation("ConfusionMatrix", differentiable=False)
def confusion_matrix(
    labels: Operand,
    predictions: Operand,
    num_classes: Numbers = None,
    dtype: Any = core.int32,
    name: str | None = None,
    weights: Operand = None,
) -> Any:
    """How often (or with which weights) each label, in rows, was predicted as each class, in columns.

    Args:
        num_classes: by default one more than the greatest label or prediction.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.confusion_matrix([0, 1, 1], [0, 1, 0], 2)).tolist()
    [[1, 0], [1, 1]]
    """
    rows, columns = (v.reshape([-1]).to(core.int64) for v in (labels, predictions))
    count = _count_of(dg.maximum(rows, columns)) if num_classes is None else as_number(num_classes)
    given = dg.ones_like(rows) if weights is None else as_tensor(weights).expand(rows.shape)
    start = dg.zeros([count * count], dtype=as_dtype(dtype))
    return start.index_add(0, rows * count + columns, given.to(as_dtype(dtype))).reshape([count, count])


@operation("Bincount", differentiable=False)
def bincount(
    arr: Operand,
    weights: Operand = None,
    minlength: Numbers = None,
    maxlength: Numbers = None,
    dtype: Any = core.int32,
    name: str | None = None,
) -> Any:
    """How often (or with which weights) each of the numbers 0, 1, 2 … is in `arr`, up to the greatest.

    Args:
        minlength, maxlength: bounds of the number of results; greater numbers are left out.
    """
    numbers = arr.reshape([-1]).to(core.int64)
    count = dg.amax(dg.cat([numbers, dg.full([1], -1, dtype=core.int64)])) + 1
    if minlength is not None:
        count = dg.maximum(count, as_number(minlength))
    if maxlength is not None:
        count = dg.minimum(count, as_number(maxlength))
    size = as_number(count.reshape(()))
    given = dg.ones_like(numbers).to(as_dtype(dtype)) if weights is None else weights.reshape([-1])
    return _added(given, dg.where(numbers < count, numbers, -1), size)
