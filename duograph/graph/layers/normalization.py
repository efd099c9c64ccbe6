"""Batch normalisation with moving averages."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph.errors import ArgumentError
from duograph.nn import functional as F

from ..control_flow import cond
from ..definition import Operand, operation
from ..elements import Tensor
from ..layer import Layer, known_size, ones, zeros
from ..scopes import name_scope
from ..shapes import TensorShape
from ..variables import assign_sub

__all__ = ["BatchNormalization", "batch_norm", "batch_normalization"]


@operation("BatchNormalization")
def _by_batch(
    x: Operand, gamma: Operand, beta: Operand, epsilon: float, axis: int, unbiased: bool, name: str | None = None
) -> Any:
    """(normalised inputs, mean, variance), over all dimensions but `axis`."""
    others = [d for d in range(x.ndim) if d != axis % x.ndim]
    if unbiased:
        first = x.movedim(axis, 1)
        mean, variance = (dg.zeros([int(first.shape[1])], dtype=x.dtype) for _ in range(2))
        made = F.batch_norm(first, mean, variance, gamma, beta, True, 1.0, epsilon)  # a momentum of 1 keeps the batch's alone
        return made.movedim(1, axis), mean, variance
    variance, mean = dg.var_mean(x, others, correction=0)
    return _normalised(x, mean, variance, gamma, beta, epsilon, axis), mean.detach(), variance.detach()


def _normalised(x: Any, mean: Any, variance: Any, gamma: Any, beta: Any, epsilon: float, axis: int) -> Any:
    shape = [1] * x.ndim
    shape[axis] = -1
    factor = dg.rsqrt(variance + epsilon)
    factor = factor if gamma is None else factor * gamma
    shift = -mean * factor if beta is None else beta - mean * factor
    return x * factor.reshape(shape) + shift.reshape(shape)


@operation("BatchNormalizationInference")
def _by_given(
    x: Operand,
    mean: Operand,
    variance: Operand,
    gamma: Operand,
    beta: Operand,
    epsilon: float,
    axis: int,
    name: str | None = None,
) -> Any:
    return _normalised(x, mean, variance, gamma, beta, epsilon, axis)


class BatchNormalization(Layer):
    """Inputs with mean 0 and variance 1 in each channel, times gamma, plus beta (Ioffe and Szegedy, 2015).

    Args:
        axis: the dimension of the channels.
        momentum: the weight of the past in the moving averages.
        epsilon: is added to the variance.
        center, scale: whether there are beta and gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, …: by default zeros, and ones for gamma and the variance.

    A call takes `training`, a Python bool or a bool tensor. Where it holds, mean and variance are the batch's, and operations
    that renew `moving_mean` and `moving_variance` are in GraphKeys.UPDATE_OPS: run them with each training step

        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train = optimizer.minimize(loss)

    Else the moving averages normalise. That of images' variances takes them divided by one less than the count.
    """

    beta: Any = None
    gamma: Any = None
    moving_mean: Any = None
    moving_variance: Any = None

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = zeros,
        gamma_initializer: Any = ones,
        moving_mean_initializer: Any = zeros,
        moving_variance_initializer: Any = ones,
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **others: Any,
    ) -> None:
        fused = others.pop("fused", None)
        _refuse_renorm(others)
        super().__init__(trainable=trainable, name=name, **others)
        self.axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        self.momentum, self.epsilon, self.fused = momentum, epsilon, fused
        self._beta_options = (
            {"initializer": beta_initializer, "regularizer": beta_regularizer, "constraint": beta_constraint} if center else None
        )
        self._gamma_options = (
            {"initializer": gamma_initializer, "regularizer": gamma_regularizer, "constraint": gamma_constraint}
            if scale
            else None
        )
        self._moving = {"moving_mean": moving_mean_initializer, "moving_variance": moving_variance_initializer}

    def build(self, input_shape: TensorShape) -> None:
        """Makes gamma, beta and the moving averages."""
        channels = [known_size(self, input_shape, self.axis)]
        if self._gamma_options is not None:
            self.gamma = self.add_weight("gamma", channels, **self._gamma_options)
        if self._beta_options is not None:
            self.beta = self.add_weight("beta", channels, **self._beta_options)
        self.moving_mean, self.moving_variance = (
            self.add_weight(name, channels, initializer=initializer, trainable=False)
            for name, initializer in self._moving.items()
        )

    def call(self, inputs: Any, training: Any = False, **kwargs: Any) -> Any:
        """The outputs; also adds the operations that renew the averages."""
        unbiased = len(inputs.shape) == 4 and self.fused is not False

        def by_batch() -> Any:
            return _by_batch(inputs, self.gamma, self.beta, self.epsilon, self.axis, unbiased)

        def by_given() -> Any:
            averages = self.moving_mean, self.moving_variance
            return _by_given(inputs, *averages, self.gamma, self.beta, self.epsilon, self.axis), *averages

        if isinstance(training, Tensor):
            outputs, mean, variance = cond(training, by_batch, by_given)
        else:
            outputs, mean, variance = by_batch() if training else by_given()
        if isinstance(training, Tensor) or training:
            self.add_update([self._renewed(self.moving_mean, mean), self._renewed(self.moving_variance, variance)])
        return outputs

    def _renewed(self, average: Any, value: Any) -> Tensor:
        with name_scope("AssignMovingAvg"):
            return assign_sub(average, (average - value) * (1.0 - self.momentum))


def _refuse_renorm(options: dict[str, Any]) -> None:
    for name in ("renorm", "renorm_clipping", "virtual_batch_size", "adjustment"):
        if options.pop(name, None):
            raise ArgumentError(f"BatchNormalization: {name} is not there", hint="leave it out")
    options.pop("renorm_momentum", None)


def batch_normalization(
    inputs: Any,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Any = zeros,
    gamma_initializer: Any = ones,
    moving_mean_initializer: Any = zeros,
    moving_variance_initializer: Any = ones,
    beta_regularizer: Any = None,
    gamma_regularizer: Any = None,
    beta_constraint: Any = None,
    gamma_constraint: Any = None,
    training: Any = False,
    trainable: bool = True,
    name: str | None = None,
    reuse: Any = None,
    **others: Any,
) -> Tensor:
    """Calls a new `BatchNormalization`, in training or not.

    Args:
        training: a Python bool or a bool tensor; the other arguments are those of the class.
    """
    layer = BatchNormalization(
        axis, momentum, epsilon, center, scale, beta_initializer, gamma_initializer, moving_mean_initializer,
        moving_variance_initializer, beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint, trainable, name,
        _reuse=reuse, _scope=name, **others,
    )  # fmt: skip
    made: Tensor = layer(inputs, training=training)
    return made


batch_norm = batch_normalization
