"""Losses as one number, collected for training: TensorFlow 1's `tf.losses`."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError
from duograph.nn import functional as F

from .building import GraphKeys, get_default_graph
from .constants import constant
from .definition import Operand, Operands, operation
from .elements import Tensor
from .nn import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    sparse_softmax_cross_entropy_with_logits,
)
from .scopes import name_scope

__all__ = [
    "Reduction",
    "absolute_difference",
    "add_loss",
    "compute_weighted_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "huber_loss",
    "log_loss",
    "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]


class Reduction:
    """How the losses of elements become one.

    NONE                    they do not
    SUM                     their weighted sum
    SUM_OVER_BATCH_SIZE     divided by how many there are
    MEAN                    divided by the sum of the weights
    SUM_BY_NONZERO_WEIGHTS  divided by how many have a weight that is not 0
    """

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_OVER_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """All of them."""
        return cls.NONE, cls.SUM, cls.SUM_OVER_BATCH_SIZE, cls.MEAN, cls.SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def validate(cls, key: Any) -> None:
        """ArgumentError for what is none of them."""
        if key not in cls.all():
            raise ArgumentError(f"{key!r} is no reduction", hint=f"one of {', '.join(cls.all())}")


_BY_NONZERO = Reduction.SUM_BY_NONZERO_WEIGHTS


def _weights_like(losses: Any, weights: Any) -> Any:
    """Weights of the losses' rank. ShapeError if they do not fit."""
    if not isinstance(weights, core.Tensor):
        return dg.full([1] * losses.ndim, float(weights), dtype=losses.dtype)
    weights = weights.to(losses.dtype)
    if weights.ndim == losses.ndim - 1:
        weights = weights.unsqueeze(-1)
    elif weights.ndim == losses.ndim + 1 and weights.shape[-1] == 1:
        weights = weights.squeeze(-1)
    fits = weights.ndim == 0 or (
        weights.ndim == losses.ndim and all(w == 1 or w == n for w, n in zip(weights.shape, losses.shape))
    )
    if not fits:
        raise ShapeError(
            f"losses: weights have shape {tuple(weights.shape)}, losses {tuple(losses.shape)}",
            hint="a number, or the same rank with sizes that are equal or 1",
        )
    return weights


def _ratio(total: Any, count: Any) -> Any:
    """total / count, 0 where count is 0."""
    empty = count == 0
    return dg.where(empty, 0.0, total / dg.where(empty, 1.0, count)).to(total.dtype)


@operation("WeightedLoss")
def _weighted(losses: Operand, weights: Operand, reduction: str, name: str | None = None) -> Any:
    weights = _weights_like(losses, weights)
    found = losses * weights
    if reduction == Reduction.NONE:
        return found
    total = found.sum()
    if reduction == Reduction.SUM:
        return total
    if reduction == Reduction.SUM_OVER_BATCH_SIZE:
        return _ratio(total, dg.ones_like(losses).sum())
    counted = weights if reduction == Reduction.MEAN else (weights != 0).to(losses.dtype)
    return _ratio(total, dg.broadcast_to(counted, losses.shape).sum())


def compute_weighted_loss(
    losses: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """The weighted losses as one number, which goes to the collection of losses.

    Args:
        losses: of single elements.
        weights: a number, or a tensor that is stretched to the shape of the losses.
        loss_collection: where the result goes; None for nowhere.
        reduction: one of `Reduction`.

    Errors:   ShapeError if the weights do not fit; ArgumentError for an unknown reduction
    """
    Reduction.validate(reduction)
    with name_scope(scope, "weighted_loss", [losses, weights]):
        made: Tensor = _weighted(losses, weights, reduction, "value")
    add_loss(made, loss_collection)
    return made


# ---- the collection


def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Puts a loss into the collection."""
    if loss_collection:
        get_default_graph().add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Tensor]:
    """The losses of the collection."""
    return get_default_graph().get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Tensor]:
    """The losses of variables."""
    return get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


@operation("AddN")
def _sum(losses: Operands, name: str | None = None) -> Any:
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Tensor:
    """The sum of the losses of variables, 0 where there are none."""
    losses = get_regularization_losses(scope)
    made: Tensor = _sum(losses, name) if losses else constant(0.0, name=name)
    return made


def get_total_loss(add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None) -> Tensor:
    """The sum of all losses. ArgumentError where there are none."""
    losses = get_losses(scope)
    if add_regularization_losses:
        losses += get_regularization_losses(scope)
    if not losses:
        raise ArgumentError(
            "get_total_loss: there are no losses", hint="functions of tf.losses collect theirs; tf.losses.add_loss"
        )
    made: Tensor = _sum(losses, name)
    return made


# ---- losses of elements


def _alike(function: str, labels: Any, predictions: Any) -> tuple[Any, Any]:
    """Labels and predictions as floats. ShapeError if their shapes differ."""
    if tuple(labels.shape) != tuple(predictions.shape):
        raise ShapeError(f"{function}: labels have shape {tuple(labels.shape)}, predictions {tuple(predictions.shape)}")
    predictions = predictions if predictions.dtype.is_floating_point else predictions.to(core.float32)
    return labels.to(predictions.dtype), predictions


@operation("AbsoluteDifference")
def _absolute_difference(labels: Operand, predictions: Operand, name: str | None = None) -> Any:
    labels, predictions = _alike("absolute_difference", labels, predictions)
    return (predictions - labels).abs()


@operation("SquaredDifference")
def _squared_difference(labels: Operand, predictions: Operand, name: str | None = None) -> Any:
    labels, predictions = _alike("mean_squared_error", labels, predictions)
    return (predictions - labels) ** 2


@operation("CosineDistance")
def _cosine_distance(labels: Operand, predictions: Operand, axis: int, name: str | None = None) -> Any:
    labels, predictions = _alike("cosine_distance", labels, predictions)
    return 1 - (labels * predictions).sum(axis, keepdim=True)


@operation("HingeLoss")
def _hinge(labels: Operand, logits: Operand, name: str | None = None) -> Any:
    labels, logits = _alike("hinge_loss", labels, logits)
    return F.relu(1 - (2 * labels - 1) * logits)


@operation("HuberLoss")
def _huber(labels: Operand, predictions: Operand, delta: Operand, name: str | None = None) -> Any:
    labels, predictions = _alike("huber_loss", labels, predictions)
    error = (predictions - labels).abs()
    return dg.where(error < delta, 0.5 * error * error, delta * error - 0.5 * delta * delta)


@operation("LogLoss")
def _log_loss(labels: Operand, predictions: Operand, epsilon: Operand, name: str | None = None) -> Any:
    labels, predictions = _alike("log_loss", labels, predictions)
    return -labels * dg.log(predictions + epsilon) - (1 - labels) * dg.log(1 - predictions + epsilon)


@operation("PairwiseSquaredError")
def _pairwise(labels: Operand, predictions: Operand, weights: Operand, name: str | None = None) -> Any:
    labels, predictions = _alike("mean_pairwise_squared_error", labels, predictions)
    difference = predictions - labels
    weights = _weights_like(difference, weights)
    axes = list(range(1, difference.ndim))

    def total(x: Any) -> Any:
        return x.sum(axes, keepdim=True) if axes else x

    count = total(dg.broadcast_to((weights != 0).to(difference.dtype), difference.shape))
    squares = 2 * _ratio(total(difference * difference), dg.clamp_min(count - 1, 0))
    mixed = 2 * _ratio(total(difference) ** 2, count * (count - 1))
    return ((squares - mixed) * weights).sum()


@operation("SmoothLabels")
def _smoothed(labels: Operand, smoothing: float, towards: str, dtype: Any, name: str | None = None) -> Any:
    target = 0.5 if towards == "half" else 1.0 / int(labels.shape[-1])
    return labels.to(dtype) * (1 - smoothing) + target * smoothing


@operation("WithoutLast")
def _without_last(labels: Operand, logits: Operand, name: str | None = None) -> Any:
    return labels.squeeze(-1) if labels.ndim == logits.ndim and labels.shape[-1] == 1 else labels


def _loss(title: str, made: Any, weights: Any, scope: str | None, collection: str | None, reduction: str) -> Tensor:
    """The one number of the losses that `made()` gives, in a scope of its own."""
    Reduction.validate(reduction)
    with name_scope(scope, title) as inner:
        return compute_weighted_loss(made(), weights, inner, collection, reduction)


def absolute_difference(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """abs(predictions - labels), as `compute_weighted_loss` makes one number of it."""
    return _loss(
        "absolute_difference", lambda: _absolute_difference(labels, predictions), weights, scope, loss_collection, reduction
    )


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """(predictions - labels)², as `compute_weighted_loss` makes one number of it.

    >>> import duograph.graph as tf
    >>> loss = tf.losses.mean_squared_error(labels=[1.0, 2.0], predictions=[1.0, 4.0])
    >>> with tf.Session() as session:
    ...     session.run(loss)
    np.float32(2.0)
    """
    return _loss(
        "mean_squared_error", lambda: _squared_difference(labels, predictions), weights, scope, loss_collection, reduction
    )


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int | None = None,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
    dim: int | None = None,
) -> Tensor:
    """1 - sum(labels * predictions) along `axis`, of which both are expected to have length 1 there."""
    along = dim if axis is None else axis
    if along is None:
        raise ArgumentError("cosine_distance: axis is missing")
    return _loss(
        "cosine_distance_loss", lambda: _cosine_distance(labels, predictions, along), weights, scope, loss_collection, reduction
    )


def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """max(0, 1 - logits) for labels of 1, max(0, 1 + logits) for labels of 0."""
    return _loss("hinge_loss", lambda: _hinge(labels, logits), weights, scope, loss_collection, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """error² / 2 up to an error of `delta`, and a straight line from there."""
    return _loss("huber_loss", lambda: _huber(labels, predictions, delta), weights, scope, loss_collection, reduction)


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """The cross entropy of probabilities: -labels * log(predictions) - (1 - labels) * log(1 - predictions)."""
    return _loss("log_loss", lambda: _log_loss(labels, predictions, epsilon), weights, scope, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = GraphKeys.LOSSES
) -> Tensor:
    """The mean squared difference of differences between the elements of each row, added up over the rows.

    Shapes:   labels, predictions [N, *]; weights a number, [N] or [N, 1, …]
    """
    with name_scope(scope, "mean_pairwise_squared_error"):
        made: Tensor = _pairwise(labels, predictions, weights, "value")
    add_loss(made, loss_collection)
    return made


def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """`tf.nn.sigmoid_cross_entropy_with_logits` as one number; labels are moved towards 1/2 by `label_smoothing`."""

    def made() -> Tensor:
        labels: Any = multi_class_labels
        if label_smoothing:
            labels = _smoothed(labels, float(label_smoothing), "half", _float_of(logits))
        return sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)

    return _loss("sigmoid_cross_entropy_loss", made, weights, scope, loss_collection, reduction)


def _float_of(logits: Any) -> Any:
    return logits.dtype if isinstance(logits, Tensor) else core.float32


def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """`tf.nn.softmax_cross_entropy_with_logits` as one number; labels are moved towards 1 / classes by `label_smoothing`.

    Shapes:   onehot_labels, logits [N, C]; weights a number, or [N]
    """

    def made() -> Tensor:
        labels: Any = onehot_labels
        if label_smoothing:
            labels = _smoothed(labels, float(label_smoothing), "classes", _float_of(logits))
        return softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    return _loss("softmax_cross_entropy_loss", made, weights, scope, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """`tf.nn.sparse_softmax_cross_entropy_with_logits` as one number.

    Shapes:   labels [N] or [N, 1] of class numbers, logits [N, C]; weights a number, [N] or [N, 1]
    """

    def made() -> Tensor:
        return sparse_softmax_cross_entropy_with_logits(labels=_without_last(labels, logits), logits=logits)

    return _loss("sparse_softmax_cross_entropy_loss", made, weights, scope, loss_collection, reduction)
