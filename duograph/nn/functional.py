"""The operators of networks as functions, under the names and argument orders that PyTorch users know."""

from __future__ import annotations

from .. import _core as core
from ..ops import embedding, gelu, layer_norm, linear, log_softmax, mse_loss, one_hot, sigmoid, softmax, tanh

Tensor = core.Tensor

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
