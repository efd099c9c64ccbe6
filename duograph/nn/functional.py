"""The operators of networks as functions, under the names and argument orders that PyTorch users know."""

from __future__ import annotations

from .. import _core as core
from .. import ops
from ..ops import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    dropout,
    elu,
    embedding,
    gelu,
    l1_loss,
    layer_norm,
    leaky_relu,
    linear,
    mse_loss,
    nll_loss,
    one_hot,
    rms_norm,
    sigmoid,
    softplus,
    tanh,
)

Tensor = core.Tensor

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "rms_norm",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0); `inplace` writes it into the input.

    >>> import duograph as dg
    >>> relu(dg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    result = ops.relu(input)
    return input.copy_(result) if inplace else result


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input · sigmoid(input); `inplace` writes it into the input.

    >>> import duograph as dg
    >>> silu(dg.tensor([0.0, 2.0]))
    tensor([0.0000, 1.7616])
    """
    result = ops.silu(input)
    return input.copy_(result) if inplace else result


def softmax(input: Tensor, dim: int | None = None, dtype: core.DType | None = None) -> Tensor:
    """exp(input) scaled to sum to 1 along `dim`; left out, it is dimension 0 of 0, 1 or 3 dimensions and else 1.

    >>> import duograph as dg
    >>> softmax(dg.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return ops.softmax(input, _softmax_dim(input, dim), dtype)


def log_softmax(input: Tensor, dim: int | None = None, dtype: core.DType | None = None) -> Tensor:
    """The logarithm of `softmax`, computed without overflow.

    >>> import duograph as dg
    >>> log_softmax(dg.tensor([0.0, 0.0]), dim=0)
    tensor([-0.6931, -0.6931])
    """
    return ops.log_softmax(input, _softmax_dim(input, dim), dtype)


def _softmax_dim(input: Tensor, dim: int | None) -> int:
    if dim is not None:
        return dim
    return 0 if input.dim() in (0, 1, 3) else 1
