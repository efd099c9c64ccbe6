"""Measures of what was told apart: true and false, positives and negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError

from ..definition import Operand, operation
from .means import Pair, alike, measured, weights_for

__all__ = [
    "auc",
    "false_negatives",
    "false_positives",
    "mean_iou",
    "mean_per_class_accuracy",
    "precision",
    "precision_at_thresholds",
    "recall",
    "recall_at_thresholds",
    "true_negatives",
    "true_positives",
]

_KINDS = ("true_positives", "false_positives", "true_negatives", "false_negatives")


@operation("ConfusionCounts", differentiable=False)
def _counts(
    labels: Operand, predictions: Operand, weights: Operand, kinds: Any, thresholds: Any = None, name: str | None = None
) -> Any:
    """How often the asked kinds occurred: numbers, or one for each threshold that predictions must be above."""
    labels, predictions = alike("confusion", labels, predictions)
    counted = weights_for(predictions.to(core.float32), weights).reshape([-1])
    actual = (labels != 0).reshape([-1])
    if thresholds is None:
        found = (predictions != 0).reshape([-1])
    else:
        found = predictions.reshape([1, -1]) > dg.tensor(list(thresholds), dtype=predictions.dtype).reshape([-1, 1])
    table = {
        "true_positives": actual & found,
        "false_positives": ~actual & found,
        "true_negatives": ~(actual | found),
        "false_negatives": actual & ~found,
    }
    return tuple((table[kind].to(core.float32) * counted).sum(-1) for kind in kinds)


def _one(kind: str, labels: Any, predictions: Any, weights: Any, collections: tuple[Any, Any], name: str | None) -> Pair:
    return measured(kind, name, lambda: _counts(labels, predictions, weights, (kind,)), ("count",), _itself, collections)


@operation("Identity", differentiable=False)
def _itself(count: Operand, name: str | None = None) -> Any:
    return count.clone()


def true_positives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """How often label and prediction were true."""
    return _one("true_positives", labels, predictions, weights, (metrics_collections, updates_collections), name)


def false_positives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """How often the prediction was true, and the label false."""
    return _one("false_positives", labels, predictions, weights, (metrics_collections, updates_collections), name)


def true_negatives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """How often label and prediction were false."""
    return _one("true_negatives", labels, predictions, weights, (metrics_collections, updates_collections), name)


def false_negatives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """How often the label was true, and the prediction false."""
    return _one("false_negatives", labels, predictions, weights, (metrics_collections, updates_collections), name)


@operation("Share", differentiable=False)
def _share(hits: Operand, misses: Operand, name: str | None = None) -> Any:
    total = hits + misses
    return dg.where(total == 0, 0.0, hits / dg.where(total == 0, 1.0, total))


def _shared(
    title: str,
    other: str,
    labels: Any,
    predictions: Any,
    thresholds: Any,
    weights: Any,
    collections: tuple[Any, Any],
    name: str | None,
) -> Pair:
    """true positives / (true positives + `other`)."""
    kinds = ("true_positives", other)

    def sums() -> Any:
        return _counts(labels, predictions, weights, kinds, thresholds)

    return measured(title, name, sums, kinds, _share, collections)


def precision(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """Which part of what was predicted is true."""
    collections = metrics_collections, updates_collections
    return _shared("precision", "false_positives", labels, predictions, None, weights, collections, name)


def recall(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """Which part of what is true was predicted."""
    collections = metrics_collections, updates_collections
    return _shared("recall", "false_negatives", labels, predictions, None, weights, collections, name)


def precision_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """`precision` of predictions that are above each of some thresholds."""
    collections = metrics_collections, updates_collections
    limits = tuple(float(x) for x in thresholds)
    return _shared("precision_at_thresholds", "false_positives", labels, predictions, limits, weights, collections, name)


def recall_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """`recall` of predictions that are above each of some thresholds."""
    collections = metrics_collections, updates_collections
    limits = tuple(float(x) for x in thresholds)
    return _shared("recall_at_thresholds", "false_negatives", labels, predictions, limits, weights, collections, name)


@operation("AreaUnderCurve", differentiable=False)
def _area(
    positives: Operand,
    wrong: Operand,
    negatives: Operand,
    missed: Operand,
    curve: str = "ROC",
    method: str = "trapezoidal",
    name: str | None = None,
) -> Any:
    tiny = 1e-6
    hits = (positives + tiny) / (positives + missed + tiny)
    if curve == "ROC":
        across, up = wrong / (wrong + negatives + tiny), hits
    else:
        across, up = hits, (positives + tiny) / (positives + wrong + tiny)
    left, right = up[:-1], up[1:]
    heights = {
        "trapezoidal": (left + right) / 2,
        "minoring": dg.minimum(left, right),
        "majoring": dg.maximum(left, right),
    }
    return ((across[:-1] - across[1:]) * heights[method]).sum()


def auc(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    num_thresholds: int = 200,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    curve: str = "ROC",
    name: str | None = None,
    summation_method: str = "trapezoidal",
    thresholds: Sequence[float] | None = None,
) -> Pair:
    """The area under the curve of hits over false alarms ("ROC"), or of precision over recall ("PR").

    Args:
        predictions: between 0 and 1.
        num_thresholds: at how many places the curve is known.
        summation_method: "trapezoidal", "minoring" or "majoring".
    """
    if curve not in ("ROC", "PR"):
        raise ArgumentError(f'auc: curve is "ROC" or "PR", not {curve!r}')
    if summation_method not in ("trapezoidal", "minoring", "majoring"):
        raise ArgumentError(f"auc: there is no summation_method {summation_method!r}", hint='"trapezoidal"')
    if thresholds is None:
        thresholds = [(i + 1.0) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
    limits = (-1e-7, *map(float, thresholds), 1.0 + 1e-7)

    def area(*counts: Any, name: str) -> Any:
        return _area(*counts, curve, summation_method, name)

    def sums() -> Any:
        return _counts(labels, predictions, weights, _KINDS, limits)

    return measured("auc", name, sums, _KINDS, area, (metrics_collections, updates_collections))


@operation("ConfusionMatrix", differentiable=False)
def _matrix(labels: Operand, predictions: Operand, weights: Operand, classes: int, name: str | None = None) -> Any:
    labels, predictions = alike("confusion_matrix", labels, predictions)
    cells = (labels.to(core.int64) * classes + predictions.to(core.int64)).reshape([-1])
    counted = weights_for(labels.to(core.float32), weights).reshape([-1])
    return dg.zeros([classes * classes]).index_add(0, cells, counted).reshape([classes, classes])


@operation("MeanIoU", differentiable=False)
def _overlap(matrix: Operand, name: str | None = None) -> Any:
    hits = dg.diagonal(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    there = (union != 0).to(core.float32)
    parts = hits / dg.where(union == 0, 1.0, union)
    return dg.where(there.sum() == 0, 0.0, parts.sum() / dg.clamp_min(there.sum(), 1.0))


def mean_iou(
    labels: Any,
    predictions: Any,
    num_classes: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """The mean over classes of true positives / (true positives + false positives + false negatives).

    Differs:  the second tensor is the mean after the update, not the confusion matrix
    """

    def sums() -> Any:
        return (_matrix(labels, predictions, weights, int(num_classes)),)

    return measured("mean_iou", name, sums, ("total_confusion_matrix",), _overlap, (metrics_collections, updates_collections))


@operation("CountsByClass", differentiable=False)
def _by_class(labels: Operand, predictions: Operand, weights: Operand, classes: int, name: str | None = None) -> Any:
    labels, predictions = alike("mean_per_class_accuracy", labels, predictions)
    places = labels.to(core.int64).reshape([-1])
    counted = weights_for(labels.to(core.float32), weights).reshape([-1])
    hits = (labels == predictions.to(labels.dtype)).to(core.float32).reshape([-1])
    return tuple(dg.zeros([classes]).index_add(0, places, x) for x in (counted * hits, counted))


@operation("MeanOfRatios", differentiable=False)
def _mean_ratio(hits: Operand, counts: Operand, name: str | None = None) -> Any:
    return dg.where(counts == 0, 0.0, hits / dg.where(counts == 0, 1.0, counts)).mean()


def mean_per_class_accuracy(
    labels: Any,
    predictions: Any,
    num_classes: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """The mean over classes of how often each was predicted where it is the label.

    Differs:  the second tensor is the mean after the update, not that of single classes
    """

    def sums() -> Any:
        return _by_class(labels, predictions, weights, int(num_classes))

    collections = metrics_collections, updates_collections
    return measured("mean_accuracy", name, sums, ("total", "count"), _mean_ratio, collections)
