"""The operators of networks as functions, under the names and argument orders that PyTorch users know."""

from __future__ import annotations

from .. import _core as core
from ..ops.activations import elu, gelu, leaky_relu, log_softmax_of, softmax_of, softplus
from ..ops.activations import relu as relu_of
from ..ops.activations import silu as silu_of
from ..ops.arguments import checked
from ..ops.contractions import linear
from ..ops.losses import binary_cross_entropy_with_logits, cross_entropy, l1_loss, mse_loss, nll_loss
from ..ops.normalisation import layer_norm, rms_norm
from ..ops.random import dropout
from ..ops.tables import embedding, one_hot
from ..ops.unary import logsigmoid, sigmoid, tanh

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
    "logsigmoid",
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


@checked
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0); `inplace` writes it into the input.

    >>> import duograph as dg
    >>> relu(dg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    result = relu_of(input)
    if inplace:
        input.copy_(result)
        return input
    return result


@checked
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input · sigmoid(input); `inplace` writes it into the input.

    >>> import duograph as dg
    >>> silu(dg.tensor([0.0, 2.0]))
    tensor([0.0000, 1.7616])
    """
    result = silu_of(input)
    if inplace:
        input.copy_(result)
        return input
    return result


@checked
def softmax(input: Tensor, dim: int | None = None, dtype: core.DType | None = None) -> Tensor:
    """exp(input) scaled to sum to 1 along `dim`; left out, it is dimension 0 of 0, 1 or 3 dimensions and else 1.

    >>> import duograph as dg
    >>> softmax(dg.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return softmax_of(input, _softmax_dim(input, dim), dtype)


@checked
def log_softmax(input: Tensor, dim: int | None = None, dtype: core.DType | None = None) -> Tensor:
    """The logarithm of `softmax`, computed without overflow.

    >>> import duograph as dg
    >>> log_softmax(dg.tensor([0.0, 0.0]), dim=0)
    tensor([-0.6931, -0.6931])
    """
    return log_softmax_of(input, _softmax_dim(input, dim), dtype)


def _softmax_dim(input: Tensor, dim: int | None) -> int:
    if dim is not None:
        return dim
    return 0 if input.dim() in (0, 1, 3) else 1
