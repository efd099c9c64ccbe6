"""Cells of recurrent networks: (inputs, state) -> (outputs, next state). TensorFlow 1's `tf.nn.rnn_cell`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import duograph as dg
from duograph.errors import ArgumentError, ShapeError

from ..definition import Numbers, Operand, filled, operation, structure_of
from ..dtypes import as_dtype
from ..elements import Tensor
from ..layer import Layer, known_size, ones, zeros
from ..scopes import name_scope
from ..shapes import TensorShape
from ..slicing import as_numbers
from ..variable_scopes import variable_scope
from .activations import dropout, sigmoid, tanh

__all__ = [
    "BasicLSTMCell",
    "BasicRNNCell",
    "DropoutWrapper",
    "GRUCell",
    "LSTMCell",
    "LSTMStateTuple",
    "MultiRNNCell",
    "RNNCell",
    "ResidualWrapper",
]


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM: what the cell holds, and its outputs."""

    c: Any
    h: Any


@operation("Zeros", sizes=True)
def _zeros(size: Numbers, dtype: Any, name: str | None = None) -> Any:
    return dg.zeros(as_numbers(size), dtype=dtype)


@operation("Linear")
def _linear(inputs: Operand, h: Operand, kernel: Operand, bias: Operand, name: str | None = None) -> Any:
    """[inputs, h] @ kernel + bias."""
    return dg.matmul(dg.cat([inputs, h], 1), kernel) + bias


@operation("LinearSplit")
def _gates(inputs: Operand, h: Operand, kernel: Operand, bias: Operand, count: int, name: str | None = None) -> Any:
    """[inputs, h] @ kernel + bias, in parts of equal width."""
    return tuple(dg.chunk(dg.matmul(dg.cat([inputs, h], 1), kernel) + bias, count, 1))


@operation("ClipByValue")
def _clipped(x: Operand, bound: Operand, name: str | None = None) -> Any:
    return dg.clamp(x, -bound, bound)


@operation("Projection")
def _projected(x: Operand, kernel: Operand, name: str | None = None) -> Any:
    return dg.matmul(x, kernel)


def leaves_of(nested: Any) -> tuple[Any, list[Any]]:
    """(the structure of nested tuples and lists, what is in it)."""
    leaves: list[Any] = []
    return structure_of(nested, leaves, lambda x: not isinstance(x, (list, tuple))), leaves


class RNNCell(Layer):
    """(inputs, state) -> (outputs, next state), with variables of its own.

    Subclasses have `state_size` and `output_size`, make variables in `build(input_shape)`, and compute in `call(inputs, state)`.

    Shapes:   inputs [N, I], state of nested [N, S] → outputs [N, O], state
    """

    @property
    def state_size(self) -> Any:
        """The width of the state, in its structure."""
        raise NotImplementedError(type(self).__name__)

    @property
    def output_size(self) -> int:
        """The width of the outputs."""
        raise NotImplementedError(type(self).__name__)

    def __call__(self, inputs: Any, state: Any, scope: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """(outputs, next state)."""
        return super().__call__(inputs, state, scope=scope, **kwargs)

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """A state of zeros. `batch_size`: a number or a tensor."""
        with name_scope(f"{type(self).__name__}ZeroState", values=[batch_size]):
            structure, sizes = leaves_of(self.state_size)
            made = [_zeros([batch_size, size], as_dtype(dtype)) for size in sizes]
            for tensor, size in zip(made, sizes):
                tensor.set_shape([None if isinstance(batch_size, Tensor) else batch_size, size])
            return filled(structure, made)


class _Units(RNNCell):
    """A cell with one size."""

    def __init__(self, num_units: int, reuse: Any, name: str | None, dtype: Any, **others: Any) -> None:
        others.setdefault("_reuse", reuse)
        super().__init__(name=name, dtype=dtype, **others)
        if int(num_units) < 1:
            raise ArgumentError(f"{type(self).__name__}: num_units = {num_units}: expected a positive number")
        self._num_units = int(num_units)

    @property
    def state_size(self) -> Any:
        """The width of the state."""
        return self._num_units

    @property
    def output_size(self) -> int:
        """The width of the outputs."""
        return self._num_units


class BasicRNNCell(_Units):
    """activation([inputs, state] @ kernel + bias), which is the outputs and the state; `activation` is tanh by default."""

    def __init__(
        self, num_units: int, activation: Any = None, reuse: Any = None, name: str | None = None, dtype: Any = None, **others: Any
    ) -> None:
        super().__init__(num_units, reuse, name, dtype, **others)
        self._activation = activation or tanh

    def build(self, input_shape: TensorShape) -> None:
        """Makes kernel and bias."""
        width = known_size(self, input_shape, -1) + self._num_units
        self.kernel = self.add_weight("kernel", [width, self._num_units])
        self.bias = self.add_weight("bias", [self._num_units], initializer=zeros)

    def call(self, inputs: Any, state: Any, **kwargs: Any) -> Any:
        """(outputs, state)."""
        outputs = self._activation(_linear(inputs, state, self.kernel, self.bias))
        return outputs, outputs


class GRUCell(_Units):
    """The gated recurrent unit (Cho et al., 2014).

    Args:
        activation: of the candidate, tanh by default.
        kernel_initializer, bias_initializer: of the variables; gates have biases of 1 by default.
    """

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **others: Any,
    ) -> None:
        super().__init__(num_units, reuse, name, dtype, **others)
        self._activation = activation or tanh
        self._kernel_initializer, self._bias_initializer = kernel_initializer, bias_initializer

    def build(self, input_shape: TensorShape) -> None:
        """Makes kernels and biases."""
        units, width = self._num_units, known_size(self, input_shape, -1) + self._num_units
        kernel, bias = self._kernel_initializer, self._bias_initializer
        self._gate_kernel = self.add_weight("gates/kernel", [width, 2 * units], initializer=kernel)
        self._gate_bias = self.add_weight("gates/bias", [2 * units], initializer=ones if bias is None else bias)
        self._candidate_kernel = self.add_weight("candidate/kernel", [width, units], initializer=kernel)
        self._candidate_bias = self.add_weight("candidate/bias", [units], initializer=zeros if bias is None else bias)

    def call(self, inputs: Any, state: Any, **kwargs: Any) -> Any:
        """(outputs, state)."""
        reset, update = [sigmoid(x) for x in _gates(inputs, state, self._gate_kernel, self._gate_bias, 2)]
        candidate = self._activation(_linear(inputs, reset * state, self._candidate_kernel, self._candidate_bias))
        outputs = update * state + (1.0 - update) * candidate
        return outputs, outputs


class BasicLSTMCell(_Units):
    """The LSTM without peepholes and projection (Zaremba et al., 2014). Its state is an `LSTMStateTuple`.

    Args:
        forget_bias: is added to the gate that forgets.
        activation: tanh by default.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **others: Any,
    ) -> None:
        super().__init__(num_units, reuse, name, dtype, **others)
        _check_tuple(type(self).__name__, state_is_tuple)
        self._forget_bias = forget_bias
        self._activation = activation or tanh

    @property
    def state_size(self) -> LSTMStateTuple:
        """The widths of c and h."""
        return LSTMStateTuple(self._num_units, self._num_units)

    def build(self, input_shape: TensorShape) -> None:
        """Makes kernel and bias."""
        width = known_size(self, input_shape, -1) + self._num_units
        self.kernel = self.add_weight("kernel", [width, 4 * self._num_units])
        self.bias = self.add_weight("bias", [4 * self._num_units], initializer=zeros)

    def call(self, inputs: Any, state: Any, **kwargs: Any) -> Any:
        """(h, (c, h))."""
        c, h = state
        take, new, forget, give = _gates(inputs, h, self.kernel, self.bias, 4)
        c = c * sigmoid(forget + self._forget_bias) + sigmoid(take) * self._activation(new)
        h = self._activation(c) * sigmoid(give)
        return h, LSTMStateTuple(c, h)


def _check_tuple(cell: str, state_is_tuple: bool) -> None:
    if not state_is_tuple:
        raise ArgumentError(f"{cell}: the state is a tuple", hint="leave state_is_tuple=True")


class LSTMCell(_Units):
    """The LSTM with peepholes, clipping and projection, as far as they are asked for (Sak et al., 2014).

    Args:
        use_peepholes: gates see what the cell holds.
        cell_clip: the bound of what the cell holds.
        initializer: of the kernels.
        num_proj, proj_clip: the width of the outputs, and their bound.
        forget_bias: is added to the gate that forgets.
        activation: tanh by default.
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: Any = None,
        num_proj_shards: Any = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **others: Any,
    ) -> None:
        super().__init__(num_units, reuse, name, dtype, **others)
        _check_tuple(type(self).__name__, state_is_tuple)
        self._use_peepholes, self._cell_clip, self._initializer = use_peepholes, cell_clip, initializer
        self._num_proj, self._proj_clip = num_proj, proj_clip
        self._forget_bias = forget_bias
        self._activation = activation or tanh

    @property
    def state_size(self) -> LSTMStateTuple:
        """The widths of c and h."""
        return LSTMStateTuple(self._num_units, self.output_size)

    @property
    def output_size(self) -> int:
        """The width of the outputs."""
        return self._num_proj or self._num_units

    def build(self, input_shape: TensorShape) -> None:
        """Makes kernels, bias and peepholes."""
        units, width = self._num_units, known_size(self, input_shape, -1) + self.output_size
        self.kernel = self.add_weight("kernel", [width, 4 * units], initializer=self._initializer)
        self.bias = self.add_weight("bias", [4 * units], initializer=zeros)
        if self._use_peepholes:
            self._peepholes = [
                self.add_weight(f"w_{gate}_diag", [units], initializer=self._initializer) for gate in ("f", "i", "o")
            ]
        if self._num_proj:
            self._projection = self.add_weight("projection/kernel", [units, self._num_proj], initializer=self._initializer)

    def call(self, inputs: Any, state: Any, **kwargs: Any) -> Any:
        """(h, (c, h))."""
        held, h = state
        take, new, forget, give = _gates(inputs, h, self.kernel, self.bias, 4)
        forget = forget + self._forget_bias
        if self._use_peepholes:
            forget, take = forget + self._peepholes[0] * held, take + self._peepholes[1] * held
        c = sigmoid(forget) * held + sigmoid(take) * self._activation(new)
        c = c if self._cell_clip is None else _clipped(c, self._cell_clip)
        if self._use_peepholes:
            give = give + self._peepholes[2] * c
        h = sigmoid(give) * self._activation(c)
        if self._num_proj:
            h = _projected(h, self._projection)
            h = h if self._proj_clip is None else _clipped(h, self._proj_clip)
        return h, LSTMStateTuple(c, h)


class MultiRNNCell(RNNCell):
    """Cells one above the other: the outputs of each are the inputs of the next. The state is a tuple of theirs."""

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True, **others: Any) -> None:
        super().__init__(**others)
        _check_tuple("MultiRNNCell", state_is_tuple)
        if not cells:
            raise ArgumentError("MultiRNNCell: there are no cells")
        if len({id(cell) for cell in cells}) < len(cells):
            raise ArgumentError(
                "MultiRNNCell: one cell is there twice: both places would share its variables",
                hint="make a cell for each: [tf.nn.rnn_cell.GRUCell(8) for _ in range(2)]",
            )
        self._cells = list(cells)

    @property
    def state_size(self) -> tuple[Any, ...]:
        """The sizes of the cells."""
        return tuple(cell.state_size for cell in self._cells)

    @property
    def output_size(self) -> int:
        """The width of the last cell's outputs."""
        return self._cells[-1].output_size

    def call(self, inputs: Any, state: Any, **kwargs: Any) -> Any:
        """(the last cell's outputs, all states)."""
        if len(state) != len(self._cells):
            raise ShapeError(f"MultiRNNCell: {len(state)} states for {len(self._cells)} cells")
        states = []
        for i, (cell, old) in enumerate(zip(self._cells, state)):
            with variable_scope(f"cell_{i}"):
                inputs, new = cell(inputs, old)
            states.append(new)
        self.variables = [v for cell in self._cells for v in cell.variables]
        return inputs, tuple(states)


class _Wrapper(RNNCell):
    """Something around a cell. It has no scope of its own."""

    def __init__(self, cell: RNNCell) -> None:
        super().__init__()
        self._cell = cell

    @property
    def state_size(self) -> Any:
        """That of the cell."""
        return self._cell.state_size

    @property
    def output_size(self) -> int:
        """That of the cell."""
        return self._cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """That of the cell."""
        return self._cell.zero_state(batch_size, dtype)

    def wrapped(self, inputs: Any, state: Any, scope: Any) -> Any:
        """(outputs, next state)."""
        raise NotImplementedError(type(self).__name__)

    def __call__(self, inputs: Any, state: Any, scope: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """(outputs, next state)."""
        found = self.wrapped(inputs, state, scope)
        self.variables = self._cell.variables
        return found


class DropoutWrapper(_Wrapper):
    """A cell of which inputs, outputs and states are dropped now and then.

    Args:
        input_keep_prob, output_keep_prob, state_keep_prob: numbers or tensors: the parts that are kept.

    What an LSTM's cell holds (`c`) is not dropped.
    """

    def __init__(
        self,
        cell: RNNCell,
        input_keep_prob: Any = 1.0,
        output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False,
        input_size: Any = None,
        dtype: Any = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(cell)
        if variational_recurrent:
            raise ArgumentError("DropoutWrapper: variational_recurrent is not there", hint="leave it out")
        self._parts = input_keep_prob, output_keep_prob, state_keep_prob
        self._seed = seed

    def _dropped(self, x: Any, part: Any) -> Any:
        return x if isinstance(part, (int, float)) and part >= 1.0 else dropout(x, part, seed=self._seed)

    def _state(self, state: Any, part: Any) -> Any:
        if isinstance(state, LSTMStateTuple):
            return LSTMStateTuple(state.c, self._dropped(state.h, part))
        if isinstance(state, (list, tuple)):
            return type(state)(self._state(x, part) for x in state)
        return self._dropped(state, part)

    def wrapped(self, inputs: Any, state: Any, scope: Any) -> Any:
        """(outputs, next state)."""
        before, behind, between = self._parts
        outputs, new = self._cell(self._dropped(inputs, before), state, scope)
        return self._dropped(outputs, behind), self._state(new, between)


class ResidualWrapper(_Wrapper):
    """A cell whose inputs are added to its outputs; `residual_fn(inputs, outputs)` may say otherwise."""

    def __init__(self, cell: RNNCell, residual_fn: Any = None) -> None:
        super().__init__(cell)
        self._residual = residual_fn or (lambda inputs, outputs: inputs + outputs)

    def wrapped(self, inputs: Any, state: Any, scope: Any) -> Any:
        """(outputs, next state)."""
        outputs, new = self._cell(inputs, state, scope)
        return self._residual(inputs, outputs), new
