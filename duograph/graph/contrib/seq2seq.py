"""`tf.contrib.seq2seq`: the loss of sequences."""

from __future__ import annotations

from typing import Any

from duograph.errors import ShapeError

from ..constants import convert_to_tensor
from ..elements import Tensor
from ..nn import sparse_softmax_cross_entropy_with_logits
from ..reductions import reduce_sum
from ..scopes import name_scope

__all__ = ["sequence_loss"]


def sequence_loss(
    logits: Any,
    targets: Any,
    weights: Any,
    average_across_timesteps: bool = True,
    average_across_batch: bool = True,
    softmax_loss_function: Any = None,
    name: str | None = None,
) -> Tensor:
    """The weighted cross entropy of sequences of classes.

    Args:
        weights: [N, T], for instance a mask of the steps that count.
        average_across_timesteps, average_across_batch: divide by the weights along that dimension; otherwise it stays.
        softmax_loss_function: of labels and logits, by default `tf.nn.sparse_softmax_cross_entropy_with_logits`.

    Shapes:   logits [N, T, C], targets [N, T] of integers → [], [T] or [N]; [N, T] if neither is averaged
    """
    logits, targets, weights = (convert_to_tensor(x) for x in (logits, targets, weights))
    if logits.shape.ndims not in (3, None) or targets.shape.ndims not in (2, None) or weights.shape.ndims not in (2, None):
        raise ShapeError(
            f"sequence_loss: logits have shape {logits.shape}, targets {targets.shape}, weights {weights.shape}: "
            "expected [N, T, C], [N, T], [N, T]",
            [logits.node.built_at],
        )
    with logits.graph.as_default(), name_scope(name or "sequence_loss"):
        function = softmax_loss_function or sparse_softmax_cross_entropy_with_logits
        losses: Any = function(labels=targets, logits=logits) * weights
        dims = [d for d, averaged in ((0, average_across_batch), (1, average_across_timesteps)) if averaged]
        if dims:
            losses = reduce_sum(losses, dims) / (reduce_sum(weights, dims) + 1e-12)
        found: Tensor = losses
        return found
