"""`tf.contrib.layers`: initialisers and regularisers under their old names, and the layers that programs use most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from duograph import _core as core

from ..initializers import glorot_normal_initializer, glorot_uniform_initializer, variance_scaling_initializer, zeros_initializer
from ..layers import conv2d as _conv2d
from ..layers import dense as _dense
from ..layers import flatten as _flatten
from ..layers.regularizers import *
from ..nn import relu
from ..train import exponential_decay as exponential_decay
from ..variable_scopes import variable_scope

__all__ = [
    "conv2d", "convolution2d", "flatten", "fully_connected", "linear", "variance_scaling_initializer", "xavier_initializer",
    "xavier_initializer_conv2d",
]  # fmt: skip


def xavier_initializer(uniform: bool = True, seed: int | None = None, dtype: Any = core.float32) -> Any:
    """Glorot and Bengio's: numbers of variance 2 / (inputs + outputs), uniform or normal."""
    return (glorot_uniform_initializer if uniform else glorot_normal_initializer)(seed, dtype)


xavier_initializer_conv2d = xavier_initializer


def flatten(inputs: Any, outputs_collections: Any = None, scope: Any = None) -> Any:
    """`tf.layers.flatten`."""
    return _flatten(inputs)


def fully_connected(
    inputs: Any,
    num_outputs: int,
    activation_fn: Callable[..., Any] | None = relu,
    normalizer_fn: Callable[..., Any] | None = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: Any = None,
    weights_regularizer: Any = None,
    biases_initializer: Any = zeros_initializer,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """`tf.layers.dense` with relu, and Xavier's initialiser. With `normalizer_fn` there is no bias.

    Differs: the variables are called kernel and bias
    """
    with variable_scope(scope, default_name="fully_connected", reuse=reuse):
        made = _dense(
            inputs,
            num_outputs,
            None,
            normalizer_fn is None and biases_initializer is not None,
            weights_initializer or xavier_initializer(),
            _made(biases_initializer),
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            name="dense",
        )
        return _activated(made, normalizer_fn, normalizer_params, activation_fn)


def conv2d(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: Any = None,
    rate: Any = 1,
    activation_fn: Callable[..., Any] | None = relu,
    normalizer_fn: Callable[..., Any] | None = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: Any = None,
    weights_regularizer: Any = None,
    biases_initializer: Any = zeros_initializer,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """`tf.layers.conv2d` with "SAME" padding, relu, and Xavier's initialiser. With `normalizer_fn` there is no bias.

    Differs: the variables are called kernel and bias
    """
    with variable_scope(scope, default_name="Conv", reuse=reuse):
        made = _conv2d(
            inputs,
            num_outputs,
            kernel_size,
            stride,
            padding,
            "channels_first" if data_format == "NCHW" else "channels_last",
            rate,
            None,
            normalizer_fn is None and biases_initializer is not None,
            weights_initializer or xavier_initializer(),
            _made(biases_initializer),
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            name="conv2d",
        )
        return _activated(made, normalizer_fn, normalizer_params, activation_fn)


def _made(initializer: Any) -> Any:
    """An initialiser, given as such, as its class, or not at all."""
    return zeros_initializer() if initializer in (None, zeros_initializer) else initializer


def _activated(x: Any, normalizer: Any, options: dict[str, Any] | None, activation: Any) -> Any:
    x = x if normalizer is None else normalizer(x, **(options or {}))
    return x if activation is None else activation(x)


def linear(inputs: Any, num_outputs: int, **options: Any) -> Any:
    """`fully_connected` without an activation."""
    return fully_connected(inputs, num_outputs, activation_fn=None, **options)


convolution2d = conv2d
