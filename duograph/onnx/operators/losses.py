"""Losses."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph.nn import functional

from .definition import Tensor, operator

_NONE = -(2**31)  # an index that no target is


@operator("NegativeLogLikelihoodLoss", since=12)
def negative_log_likelihood(
    x: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Tensor:
    index = _NONE if ignore_index is None else ignore_index
    return functional.nll_loss(x, target.to(dg.int64), weight, ignore_index=index, reduction=reduction)


@operator("SoftmaxCrossEntropyLoss", since=12)
def softmax_cross_entropy(
    scores: Tensor, labels: Tensor, weights: Tensor | None = None, *, ignore_index: int | None = None, reduction: str = "mean",
    outputs: int = 1,
) -> Any:  # fmt: skip
    logs = dg.log_softmax(scores, 1)
    loss = negative_log_likelihood(logs, labels, weights, ignore_index=ignore_index, reduction=reduction)
    return loss if outputs == 1 else (loss, logs)
