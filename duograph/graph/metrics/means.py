"""Means over many runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ShapeError

from ..building import GraphKeys, get_default_graph
from ..constants import constant
from ..definition import Operand, operation
from ..elements import Tensor
from ..scopes import name_scope
from ..variables import Variable, assign_add

__all__ = [
    "accuracy",
    "mean",
    "mean_absolute_error",
    "mean_cosine_distance",
    "mean_relative_error",
    "mean_squared_error",
    "mean_tensor",
    "percentage_below",
    "root_mean_squared_error",
]

Pair = tuple[Tensor, Tensor]


def _variable(name: str, shape: Sequence[int] = ()) -> Variable:
    return Variable(
        lambda: constant(0.0, shape=list(shape)),
        trainable=False,
        collections=[GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES],
        name=name,
    )


def measured(
    title: str,
    name: str | None,
    sums: Any,
    names: Sequence[str],
    result: Callable[..., Any],
    collections: tuple[Any, Any] = (None, None),
) -> Pair:
    """The value and the update of a measure.

    Args:
        sums: () -> for each of `names` what a batch adds to its variable.
        result: (variables, name) -> the value.
    """
    with name_scope(name, title):
        added = sums()
        variables = [_variable(key, x.shape.as_list()) for key, x in zip(names, added)]
        value = result(*variables, name="value")
        update = result(*[assign_add(v, x) for v, x in zip(variables, added)], name="update_op")
    for keys, tensor in zip(collections, (value, update)):
        if keys:
            get_default_graph().add_to_collections(keys, tensor)
    return value, update


@operation("DivNoNan", differentiable=False)
def ratio(total: Operand, count: Operand, name: str | None = None) -> Any:
    return dg.where(count == 0, 0.0, total / dg.where(count == 0, 1.0, count))


def weights_for(values: Any, weights: Any) -> Any:
    """Weights in the shape of the values."""
    if not isinstance(weights, core.Tensor):
        return dg.full_like(values, 1.0 if weights is None else float(weights))
    weights = weights.to(values.dtype)
    while weights.ndim < values.ndim:
        weights = weights.unsqueeze(-1)
    if weights.ndim > values.ndim and weights.shape[-1] == 1:
        weights = weights.squeeze(-1)
    return dg.broadcast_to(weights, values.shape)


@operation("WeightedSum", differentiable=False)
def _weighted_sum(values: Operand, weights: Operand, name: str | None = None) -> Any:
    values = values.to(core.float32)
    found = weights_for(values, weights)
    return (values * found).sum(), found.sum()


def _mean(title: str, made: Callable[[], Any], weights: Any, collections: tuple[Any, Any], name: str | None) -> Pair:
    """The mean of values."""
    return measured(title, name, lambda: _weighted_sum(made(), weights), ("total", "count"), ratio, collections)


def mean(
    values: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None, name: str | None = None
) -> Pair:
    """The weighted mean of all values so far.

    >>> import duograph.graph as tf
    >>> x = tf.placeholder(tf.float32, [None])
    >>> value, update = tf.metrics.mean(x)
    >>> with tf.Session() as session:
    ...     session.run(tf.local_variables_initializer())
    ...     for batch in ([1.0, 2.0], [6.0]):
    ...         _ = session.run(update, {x: batch})
    ...     session.run(value)
    np.float32(3.0)
    """
    return _mean("mean", lambda: values, weights, (metrics_collections, updates_collections), name)


@operation("WeightedSumOfTensors", differentiable=False)
def _weighted_tensors(values: Operand, weights: Operand, name: str | None = None) -> Any:
    values = values.to(core.float32)
    found = weights_for(values, weights)
    return values * found, found


def mean_tensor(
    values: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None, name: str | None = None
) -> Pair:
    """The weighted mean of all tensors so far, element by element."""
    collections = metrics_collections, updates_collections
    return measured(
        "mean", name, lambda: _weighted_tensors(values, weights), ("total_tensor", "count_tensor"), ratio, collections
    )


def alike(function: str, labels: Any, predictions: Any) -> tuple[Any, Any]:
    """Labels and predictions of one rank. ShapeError if their shapes differ."""
    if labels.ndim == predictions.ndim + 1 and labels.shape[-1] == 1:
        labels = labels.squeeze(-1)
    elif predictions.ndim == labels.ndim + 1 and predictions.shape[-1] == 1:
        predictions = predictions.squeeze(-1)
    if tuple(labels.shape) != tuple(predictions.shape):
        raise ShapeError(f"{function}: labels have shape {tuple(labels.shape)}, predictions {tuple(predictions.shape)}")
    return labels, predictions


@operation("Hits", differentiable=False)
def _hits(labels: Operand, predictions: Operand, name: str | None = None) -> Any:
    labels, predictions = alike("accuracy", labels, predictions)
    return (labels == predictions.to(labels.dtype)).to(core.float32)


def accuracy(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """How often predictions equal labels."""
    return _mean("accuracy", lambda: _hits(labels, predictions), weights, (metrics_collections, updates_collections), name)


@operation("Errors", differentiable=False)
def _errors(labels: Operand, predictions: Operand, kind: str, normalizer: Operand = None, name: str | None = None) -> Any:
    labels, predictions = alike(kind, labels.to(core.float32), predictions.to(core.float32))
    if kind == "mean_squared_error":
        return (predictions - labels) ** 2
    found = (predictions - labels).abs()
    return found if normalizer is None else dg.where(normalizer == 0, 0.0, found / dg.where(normalizer == 0, 1.0, normalizer))


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """The mean of (predictions - labels)²."""
    kind, collections = "mean_squared_error", (metrics_collections, updates_collections)
    return _mean(kind, lambda: _errors(labels, predictions, kind), weights, collections, name)


@operation("RootOfRatio", differentiable=False)
def _root(total: Operand, count: Operand, name: str | None = None) -> Any:
    return dg.sqrt(dg.where(count == 0, 0.0, total / dg.where(count == 0, 1.0, count)))


def root_mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """The root of the mean of (predictions - labels)²."""

    def sums() -> Any:
        return _weighted_sum(_errors(labels, predictions, "mean_squared_error"), weights)

    collections = metrics_collections, updates_collections
    return measured("root_mean_squared_error", name, sums, ("total", "count"), _root, collections)


def mean_absolute_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """The mean of abs(predictions - labels)."""
    kind, collections = "mean_absolute_error", (metrics_collections, updates_collections)
    return _mean(kind, lambda: _errors(labels, predictions, kind), weights, collections, name)


def mean_relative_error(
    labels: Any,
    predictions: Any,
    normalizer: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """The mean of abs(predictions - labels) / normalizer, which is 0 where normalizer is."""
    kind, collections = "mean_relative_error", (metrics_collections, updates_collections)
    return _mean(kind, lambda: _errors(labels, predictions, kind, normalizer), weights, collections, name)


@operation("Cosine", differentiable=False)
def _distance(labels: Operand, predictions: Operand, dim: int, name: str | None = None) -> Any:
    return 1 - (labels * predictions).sum(dim)


def mean_cosine_distance(
    labels: Any,
    predictions: Any,
    dim: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """The mean of 1 - sum(labels * predictions) along `dim`."""
    collections = metrics_collections, updates_collections
    return _mean("mean_cosine_distance", lambda: _distance(labels, predictions, dim), weights, collections, name)


def percentage_below(
    values: Any,
    threshold: float,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Pair:
    """The part of the values that are below a threshold."""
    from ..arithmetic import less

    return _mean(
        "percentage_below_threshold", lambda: less(values, threshold), weights, (metrics_collections, updates_collections), name
    )
