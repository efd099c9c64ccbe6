"""Losses of single elements and rows."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, ShapeError
from duograph.nn import functional as F

from ..constants import convert_to_tensor
from ..definition import Operand, operation
from ..elements import Tensor

__all__ = [
    "log_poisson_loss",
    "sigmoid_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "sparse_softmax_cross_entropy_with_logits",
    "weighted_cross_entropy_with_logits",
]


def _check_given(function: str, sentinel: Any, labels: Any, logits: Any) -> None:
    if sentinel is not None or labels is None or logits is None:
        raise ArgumentError(f"{function}: give labels and logits, both by name", hint=f"{function}(labels=…, logits=…)")


def _check_alike(function: str, labels: Any, logits: Any) -> None:
    if tuple(labels.shape) != tuple(logits.shape):
        raise ShapeError(f"{function}: labels have shape {tuple(labels.shape)}, logits {tuple(logits.shape)}")


@operation("SoftmaxCrossEntropyWithLogits")
def _softmax_cross_entropy(labels: Operand, logits: Operand, axis: int, through: bool, name: str | None = None) -> Any:
    _check_alike("softmax_cross_entropy_with_logits", labels, logits)
    labels = labels.to(logits.dtype) if through else labels.to(logits.dtype).detach()
    return -(labels * dg.log_softmax(logits, axis)).sum(axis)


def softmax_cross_entropy_with_logits_v2(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    axis: int | None = None,
    name: str | None = None,
    dim: int | None = None,
) -> Tensor:
    """The cross entropy of two distributions of classes: -sum(labels * log_softmax(logits)) along `axis`, by default the last.

    Shapes:   labels, logits [*S, C] → [*S]
    Gradient: of logits and of labels
    Errors:   ShapeError if the shapes differ; ArgumentError for arguments without names
    """
    _check_given("softmax_cross_entropy_with_logits_v2", _sentinel, labels, logits)
    along = axis if axis is not None else dim if dim is not None else -1
    made: Tensor = _softmax_cross_entropy(labels, logits, along, True, name or "softmax_cross_entropy_with_logits")
    return made


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, dim: int = -1, name: str | None = None, axis: int | None = None
) -> Tensor:
    """`softmax_cross_entropy_with_logits_v2` that has no gradient of the labels."""
    _check_given("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    along = dim if axis is None else axis
    made: Tensor = _softmax_cross_entropy(labels, logits, along, False, name or "softmax_cross_entropy_with_logits_sg")
    return made


@operation("SparseSoftmaxCrossEntropyWithLogits")
def _sparse_softmax_cross_entropy(labels: Operand, logits: Operand, name: str | None = None) -> Any:
    function = "sparse_softmax_cross_entropy_with_logits"
    if tuple(labels.shape) != tuple(logits.shape[:-1]):
        raise ShapeError(f"{function}: labels have shape {tuple(labels.shape)}, logits {tuple(logits.shape)}")
    flat = F.cross_entropy(
        logits.reshape([-1, logits.shape[-1]]), labels.to(core.int64).reshape([-1]), ignore_index=-(2**31), reduction="none"
    )
    return flat.reshape(labels.shape)


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """The cross entropy of classes given by number: -log_softmax(logits)[label].

    Shapes:   labels [*S] of integers, logits [*S, C] → [*S]
    Errors:   ShapeError if the shapes do not fit; BoundsError for a label outside of [0, C)

    >>> import duograph.graph as tf
    >>> loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0], logits=[[0.0, 0.0]])
    >>> with tf.Session() as session:
    ...     session.run(loss)
    array([0.6931472], dtype=float32)
    """
    _check_given("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    labels = convert_to_tensor(labels)
    if labels.dtype.kind not in "iu":
        raise DTypeError(
            f"sparse_softmax_cross_entropy_with_logits: labels are {labels.dtype.name}, they must be numbers of classes",
            [labels.node.built_at],
            hint="tf.cast(labels, tf.int64); of probabilities: softmax_cross_entropy_with_logits",
        )
    made: Tensor = _sparse_softmax_cross_entropy(labels, logits, name or "SparseSoftmaxCrossEntropyWithLogits")
    return made


@operation("SigmoidCrossEntropyWithLogits")
def _sigmoid_cross_entropy(labels: Operand, logits: Operand, name: str | None = None) -> Any:
    _check_alike("sigmoid_cross_entropy_with_logits", labels, logits)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """The cross entropy of independent events: -labels * log(sigmoid(logits)) - (1 - labels) * log(1 - sigmoid(logits)).

    Shapes:   labels, logits and the result have one shape
    """
    _check_given("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    made: Tensor = _sigmoid_cross_entropy(labels, logits, name or "logistic_loss")
    return made


@operation("WeightedCrossEntropyWithLogits", aliases={"targets": "labels"})
def weighted_cross_entropy_with_logits(labels: Operand, logits: Operand, pos_weight: Operand, name: str | None = None) -> Any:
    """`sigmoid_cross_entropy_with_logits` in which events that happen count `pos_weight` times."""
    _check_alike("weighted_cross_entropy_with_logits", labels, logits)
    weight = 1 + (pos_weight - 1) * labels
    return (1 - labels) * logits + weight * (dg.log1p(dg.exp(-dg.abs(logits))) + F.relu(-logits))


@operation("LogPoissonLoss")
def log_poisson_loss(targets: Operand, log_input: Operand, compute_full_loss: bool = False, name: str | None = None) -> Any:
    """exp(log_input) - targets * log_input, up to a constant the negative log-likelihood of counts.

    Args:
        compute_full_loss: adds Stirling's approximation of that constant, 0 for targets of 0 and 1.
    """
    _check_alike("log_poisson_loss", targets, log_input)
    loss = dg.exp(log_input) - log_input * targets
    if not compute_full_loss:
        return loss
    safe = dg.where(targets > 1, targets, 1.0)
    stirling = safe * dg.log(safe) - safe + 0.5 * dg.log(6.283185307179586 * safe)
    return loss + dg.where(targets > 1, stirling, 0.0)
