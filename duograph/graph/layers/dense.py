"""Layers of weighted sums, dropout, and flat rows."""

from __future__ import annotations

from typing import Any

from duograph.errors import ArgumentError

from .. import nn
from ..arithmetic import matmul
from ..constants import identity
from ..control_flow import cond
from ..definition import Operand, operation
from ..elements import Tensor
from ..layer import Layer, known_size, zeros
from ..shapes import TensorShape
from .functions import function_of

__all__ = ["Dense", "Dropout", "Flatten", "dense", "dropout", "flatten", "fully_connected"]


class Dense(Layer):
    """activation(inputs @ kernel + bias).

    Args:
        units: how many outputs.
        activation: a function of the sum, or None.
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer: of the variables; by default the scope's, and zeros.
        kernel_regularizer, bias_regularizer, activity_regularizer: functions whose results are losses.
        kernel_constraint, bias_constraint: functions that optimizers apply after each step.

    Shapes:   [*, I] → [*, units]; kernel [I, units], bias [units]
    """

    kernel: Any = None
    bias: Any = None

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = zeros,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(trainable=trainable, name=name, activity_regularizer=activity_regularizer, **others)
        if int(units) < 1:
            raise ArgumentError(f"Dense: units = {units}: expected a positive number")
        self.units = int(units)
        self.activation = activation
        self.use_bias = use_bias
        self._kernel_options = {
            "initializer": kernel_initializer, "regularizer": kernel_regularizer, "constraint": kernel_constraint,
        }  # fmt: skip
        self._bias_options = {"initializer": bias_initializer, "regularizer": bias_regularizer, "constraint": bias_constraint}

    def build(self, input_shape: TensorShape) -> None:
        """Makes kernel and bias."""
        self.kernel = self.add_weight("kernel", [known_size(self, input_shape, -1), self.units], **self._kernel_options)
        if self.use_bias:
            self.bias = self.add_weight("bias", [self.units], **self._bias_options)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs."""
        outputs = matmul(inputs, self.kernel)
        outputs = outputs if self.bias is None else nn.bias_add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


class Dropout(Layer):
    """Each element with probability 1 - rate, divided by it, and 0 otherwise, where `training`; else the inputs.

    Args:
        rate: the part that is dropped.
        noise_shape: the shape of what is drawn.

    A call takes `training`, a Python bool or a bool tensor.
    """

    def __init__(self, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, name: str | None = None, **others: Any):
        super().__init__(name=name, **others)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def call(self, inputs: Any, training: Any = False, **kwargs: Any) -> Any:
        """The outputs."""

        def dropped() -> Tensor:
            return nn.dropout(inputs, noise_shape=self.noise_shape, seed=self.seed, rate=self.rate)

        if isinstance(training, Tensor):
            return cond(training, dropped, lambda: identity(inputs))
        return dropped() if training else identity(inputs)


class Flatten(Layer):
    """The same elements as rows: one for each of the first dimension. Shapes: [N, *S] → [N, product of S]."""

    def __init__(self, data_format: str = "channels_last", name: str | None = None, **others: Any) -> None:
        super().__init__(name=name, **others)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The rows."""
        return _flat(inputs)


@operation("Flatten")
def _flat(inputs: Operand, name: str | None = None) -> Any:
    count = 1
    for size in inputs.shape[1:]:
        count = count * size
    return inputs.reshape([inputs.shape[0], count])


dense = function_of(Dense, "dense")
fully_connected = dense


def dropout(
    inputs: Any, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, training: Any = False, name: str | None = None
) -> Tensor:
    """Each element with probability 1 - rate, divided by it, and 0 otherwise, where `training`; else the inputs.

    Args:
        training: a Python bool or a bool tensor.
    """
    made: Tensor = Dropout(rate, noise_shape, seed, name=name)(inputs, training=training)
    return made


def flatten(inputs: Any, name: str | None = None, data_format: str = "channels_last") -> Tensor:
    """The same elements as rows, one for each of the first dimension. Shapes: [N, *S] → [N, product of S]."""
    made: Tensor = Flatten(data_format, name=name)(inputs)
    return made
