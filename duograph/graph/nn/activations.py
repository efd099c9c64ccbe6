"""Activations, dropout, biases and choices among classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError
from duograph.nn import functional as F

from ..definition import Numbers, Operand, operation
from ..elements import Tensor
from ..elementwise import sigmoid, tanh
from ..layout import any_layout
from ..randoms import random_operation
from ..scopes import get_seed, name_scope
from ..slicing import as_number, as_numbers
from .windows import channels_first

__all__ = [
    "bias_add",
    "crelu",
    "dropout",
    "elu",
    "in_top_k",
    "l2_loss",
    "leaky_relu",
    "log_softmax",
    "relu",
    "relu6",
    "relu_layer",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
    "top_k",
    "xw_plus_b",
    "zero_fraction",
]


@operation("Relu")
@any_layout
def relu(features: Operand, name: str | None = None) -> Any:
    """max(features, 0)."""
    return F.relu(features)


@operation("Relu6")
@any_layout
def relu6(features: Operand, name: str | None = None) -> Any:
    """min(max(features, 0), 6)."""
    return F.relu6(features)


@operation("CRelu")
def crelu(features: Operand, name: str | None = None, axis: int = -1) -> Any:
    """relu of the features and of their negatives, one behind the other along `axis`.

    Shapes:   [*, N] → [*, 2N]
    """
    return dg.cat([F.relu(features), F.relu(-features)], axis)


@operation("Elu")
@any_layout
def elu(features: Operand, name: str | None = None) -> Any:
    """features where they are positive, exp(features) - 1 elsewhere."""
    return F.elu(features)


@operation("Selu")
@any_layout
def selu(features: Operand, name: str | None = None) -> Any:
    """The exponential unit that keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    return F.selu(features)


@operation("LeakyRelu")
@any_layout
def leaky_relu(features: Operand, alpha: Operand = 0.2, name: str | None = None) -> Any:
    """features where they are positive, alpha * features elsewhere."""
    return dg.where(features > 0, features, features * alpha)


@operation("Softplus")
@any_layout
def softplus(features: Operand, name: str | None = None) -> Any:
    """log(exp(features) + 1)."""
    return F.softplus(features)


@operation("Softsign")
@any_layout
def softsign(features: Operand, name: str | None = None) -> Any:
    """features / (abs(features) + 1)."""
    return F.softsign(features)


@operation("Swish")
@any_layout
def swish(features: Operand, name: str | None = None) -> Any:
    """features * sigmoid(features)."""
    return F.silu(features)


@operation("Softmax")
def _softmax(logits: Operand, axis: int, name: str | None = None) -> Any:
    return dg.softmax(logits, axis)


@operation("LogSoftmax")
def _log_softmax(logits: Operand, axis: int, name: str | None = None) -> Any:
    return dg.log_softmax(logits, axis)


def softmax(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
    """exp(logits) divided by their sum along `axis`, by default the last one.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.nn.softmax([0.0, 0.0]))
    array([0.5, 0.5], dtype=float32)
    """
    made: Tensor = _softmax(logits, _axis("softmax", axis, dim), name)
    return made


def log_softmax(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
    """logits - log(sum(exp(logits))) along `axis`, by default the last one."""
    made: Tensor = _log_softmax(logits, _axis("log_softmax", axis, dim), name)
    return made


def _axis(function: str, axis: int | None, dim: int | None) -> int:
    if axis is not None and dim is not None:
        raise ArgumentError(f"{function}: axis and dim are the same argument: give one")
    found = dim if axis is None else axis
    return -1 if found is None else found


@random_operation("Dropout", differentiable=True)
def _dropout(x: Operand, keep_prob: Operand, noise_shape: Numbers, seeds: Any, name: str | None = None) -> Any:
    sizes = as_numbers(noise_shape)
    drawn = list(x.shape) if sizes is None else [n if s is None or s == -1 else s for n, s in zip(x.shape, sizes)]
    kept = dg.rand(drawn) < keep_prob
    return dg.where(kept, x / keep_prob, 0.0).to(x.dtype)


def dropout(
    x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: int | None = None, name: str | None = None, rate: Any = None
) -> Tensor:
    """Each element with probability `keep_prob`, divided by it, and 0 otherwise.

    Args:
        keep_prob: a number or a tensor: the part that is kept; or
        rate: 1 - keep_prob. One of the two is given.
        noise_shape: the shape of what is drawn: along sizes of 1, elements are kept or dropped together.

    Errors:   ArgumentError for a number outside of (0, 1], or where both or none are given
    """
    if (keep_prob is None) == (rate is None):
        raise ArgumentError("dropout: give keep_prob or rate", hint="rate = 1 - keep_prob")
    keep = keep_prob if rate is None else 1.0 - rate
    if isinstance(keep, (int, float)):
        if not 0.0 < keep <= 1.0:
            raise ArgumentError(f"dropout: keep_prob = {keep} is not in (0, 1], rate = 1 - keep_prob not in [0, 1)")
        if keep == 1.0:
            from ..constants import convert_to_tensor

            return convert_to_tensor(x)
    made: Tensor = _dropout(x, keep, noise_shape, get_seed(seed), name or "dropout")
    return made


@operation("BiasAdd")
def bias_add(value: Operand, bias: Operand, data_format: str | None = None, name: str | None = None) -> Any:
    """value + bias along the channels: the last dimension, or the second with data_format "NCHW".

    Shapes:   value [N, *, C], bias [C] → [N, *, C]
    Errors:   ShapeError if bias is no vector of C elements
    """
    first = channels_first(data_format) and value.ndim > 1
    channels = value.shape[1 if first else -1]
    if bias.ndim != 1 or bias.shape[0] != channels:
        raise ShapeError(f"bias_add: bias has shape {tuple(bias.shape)}, value {tuple(value.shape)} has {int(channels)} channels")
    return value + bias.reshape([-1] + [1] * (value.ndim - 2)) if first else _plus(x=value, y=bias)


@any_layout
def _plus(x: Any, y: Any) -> Any:
    return x + y


@operation("L2Loss")
def l2_loss(t: Operand, name: str | None = None) -> Any:
    """sum(t²) / 2."""
    return (t * t).sum() / 2


@operation("XWPlusB", called="xw_plus_b")
def xw_plus_b(x: Operand, weights: Operand, biases: Operand, name: str | None = None) -> Any:
    """x @ weights + biases.

    Shapes:   x [N, I], weights [I, O], biases [O] → [N, O]
    """
    return dg.matmul(x, weights) + biases


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(x @ weights + biases)."""
    with name_scope(name, "relu_layer", [x, weights, biases]):
        made: Tensor = relu(xw_plus_b(x, weights, biases))
        return made


@operation("ZeroFraction", differentiable=False)
def zero_fraction(value: Operand, name: str | None = None) -> Any:
    """The part of the elements that are 0, as float32; NaN for an empty tensor."""
    return (value == 0).to(core.float32).mean()


class TopKV2(NamedTuple):
    """What `top_k` gives."""

    values: Tensor
    indices: Tensor


@operation("TopKV2")
def top_k(input: Operand, k: Numbers = 1, sorted: bool = True, name: str | None = None) -> Any:
    """The k greatest elements of each row, and where they are: the first of equal ones comes first.

    Shapes:   [*S, N] → values [*S, k], indices int32 [*S, k]
    Errors:   BoundsError or ArgumentError if k is greater than N

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.nn.top_k([1.0, 3.0, 2.0], 2).indices).tolist()
    [1, 2]
    """
    if isinstance(k, core.Tensor):
        values, indices = dg.sort(input, -1, descending=True, stable=True)
        count = as_number(k)
        return TopKV2(values[..., :count], indices[..., :count].to(core.int32))
    values, indices = dg.topk(input, k, -1)
    return TopKV2(values, indices.to(core.int32))


@operation("InTopK", differentiable=False)
def in_top_k(predictions: Operand, targets: Operand, k: Numbers, name: str | None = None) -> Any:
    """Whether fewer than k predictions are greater than that of the target class; False where they are not finite.

    Shapes:   predictions [N, C], targets [N] of class numbers → bool [N]
    Errors:   BoundsError for a target outside of [0, C)
    """
    chosen = dg.gather(predictions, 1, targets.to(core.int64).unsqueeze(1))
    greater = (predictions > chosen).sum(1)
    return (greater < as_number(k)) & dg.isfinite(chosen.squeeze(1))
