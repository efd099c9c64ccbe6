"""Recurrent networks: a cell at each step of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph.errors import ArgumentError, ShapeError

from ..arrays import shape
from ..constants import convert_to_tensor
from ..control_flow import while_loop
from ..definition import Operand, filled, operation
from ..elements import Tensor
from ..tensor_arrays import TensorArray
from ..variable_scopes import variable_scope
from .rnn_cell import RNNCell, leaves_of

__all__ = ["bidirectional_dynamic_rnn", "dynamic_rnn", "static_bidirectional_rnn", "static_rnn"]


@operation("SwapTimeAndBatch")
def _swapped(x: Operand, name: str | None = None) -> Any:
    return x.transpose(0, 1)


@operation("WhereAlive")
def _where_alive(time: Operand, lengths: Operand, new: Operand, old: Operand, name: str | None = None) -> Any:
    """`new` for sequences that go on at this step, `old` (None: zeros) for those that have ended."""
    alive = (time < lengths).reshape([-1] + [1] * (new.ndim - 1))
    return dg.where(alive, new, 0.0 if old is None else old)


@operation("ReverseSequence")
def _reversed(x: Operand, lengths: Operand, time_axis: int, name: str | None = None) -> Any:
    """Sequences from their last step to the first; what is behind their end stays where it is."""
    if lengths is None:
        return x.flip(time_axis)
    batch_first = x.transpose(0, 1) if time_axis == 0 else x
    steps = dg.arange(batch_first.shape[1])
    ends = lengths.to(steps.dtype).unsqueeze(1)
    places = dg.where(steps < ends, ends - 1 - steps, steps)
    places = places.reshape([*places.shape, *[1] * (batch_first.ndim - 2)])
    found = dg.gather(batch_first, 1, places.expand(batch_first.shape))
    return found.transpose(0, 1) if time_axis == 0 else found


@operation("ConcatV2", called="concat")
def _joined(a: Operand, b: Operand, name: str | None = None) -> Any:
    return dg.cat([a, b], -1)


def _check_cell(function: str, cell: Any) -> None:
    if not isinstance(cell, RNNCell) and not (hasattr(cell, "state_size") and callable(cell)):
        raise ArgumentError(f"{function}: {cell!r} is no RNNCell")


def _initial(function: str, cell: Any, state: Any, batch: Any, dtype: Any) -> Any:
    if state is not None:
        structure, leaves = leaves_of(state)
        return filled(structure, [convert_to_tensor(x) for x in leaves])
    if dtype is None:
        raise ArgumentError(f"{function}: give initial_state, or dtype for a state of zeros")
    return cell.zero_state(batch, dtype)


def _stepped(cell: Any, x: Any, state: Any, time: Any, lengths: Any) -> Any:
    """(outputs, next state) of one step; sequences that have ended give zeros and keep their state."""
    outputs, new = cell(x, state)
    structure, made = leaves_of(new)
    _, old = leaves_of(state)
    if len(made) != len(old):
        raise ShapeError(f"{cell!r}: the next state has {len(made)} parts, the state {len(old)}")
    if lengths is not None:
        made = [_where_alive(time, lengths, n, o) for n, o in zip(made, old)]
        outputs = _where_alive(time, lengths, outputs, None)
    for n, o in zip(made, old):
        n.set_shape(o.shape)
    return outputs, filled(structure, made)


def dynamic_rnn(
    cell: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Tensor, Any]:
    """A cell at each step of sequences: (outputs, last state). One loop of the graph, for any number of steps.

    Args:
        sequence_length: [N]: how many steps of each sequence count. Behind them, outputs are 0 and the state stays.
        initial_state: by default zeros of `dtype`.
        time_major: inputs and outputs are [T, N, *].
        scope: of the variables, by default "rnn".

    Shapes:   inputs [N, T, I] → outputs [N, T, O]

    >>> import duograph.graph as tf
    >>> x = tf.placeholder(tf.float32, [None, None, 3])
    >>> outputs, state = tf.nn.dynamic_rnn(tf.nn.rnn_cell.GRUCell(4), x, dtype=tf.float32)
    >>> outputs.shape, state.shape
    (TensorShape([None, None, 4]), TensorShape([None, 4]))
    """
    _check_cell("dynamic_rnn", cell)
    inputs = convert_to_tensor(inputs)
    if inputs.shape.ndims is None or inputs.shape.ndims < 2:
        raise ShapeError(f"dynamic_rnn: inputs have shape {inputs.shape}: expected [batch, time, features]")
    with inputs.graph.as_default(), variable_scope(scope if scope is not None else "rnn"):
        steps = inputs if time_major else _swapped(inputs)
        lengths = None if sequence_length is None else convert_to_tensor(sequence_length)
        count, batch = steps.shape.as_list()[0], steps.shape.as_list()[1]
        state = _initial("dynamic_rnn", cell, initial_state, shape(steps)[1] if batch is None else batch, dtype)
        total = shape(steps)[0] if count is None else count
        rows = TensorArray(steps.dtype, size=total).unstack(steps)
        dtypes = {x.dtype for x in leaves_of(state)[1]}
        made = TensorArray(dtypes.pop() if len(dtypes) == 1 else steps.dtype, size=total)

        def turn(time: Any, made: TensorArray, state: Any) -> Any:
            x = rows.read(time)
            x.set_shape(steps.shape[1:])
            outputs, new = _stepped(cell, x, state, time, lengths)
            return time + 1, made.write(time, outputs), new

        _, made, state = while_loop(
            lambda time, made, state: time < total, turn, [convert_to_tensor(0), made, state], swap_memory=swap_memory
        )
        outputs = made.stack()
        outputs.set_shape([count, batch, *([cell.output_size] if isinstance(cell.output_size, int) else outputs.shape[2:])])
        return outputs if time_major else _swapped(outputs), state


def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """`dynamic_rnn` from the first step to the last and, with another cell, back: both outputs, and both states."""
    axis = 0 if time_major else 1
    lengths = None if sequence_length is None else convert_to_tensor(sequence_length)
    with variable_scope(scope if scope is not None else "bidirectional_rnn"):
        forward, state = dynamic_rnn(cell_fw, inputs, lengths, initial_state_fw, dtype, time_major=time_major, scope="fw")
        backward, last = dynamic_rnn(
            cell_bw, _reversed(inputs, lengths, axis), lengths, initial_state_bw, dtype, time_major=time_major, scope="bw"
        )
        return (forward, _reversed(backward, lengths, axis)), (state, last)


def static_rnn(
    cell: Any,
    inputs: Sequence[Any],
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Tensor], Any]:
    """A cell at each of a list of inputs: (list of outputs, last state). The graph holds each step.

    Shapes:   inputs: T tensors [N, I] → T tensors [N, O]
    """
    _check_cell("static_rnn", cell)
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise ArgumentError("static_rnn: inputs is a list of tensors, one for each step", hint="tf.unstack(inputs, axis=1)")
    steps = [convert_to_tensor(x) for x in inputs]
    with steps[0].graph.as_default(), variable_scope(scope if scope is not None else "rnn"):
        batch = steps[0].shape.as_list()[0]
        state = _initial("static_rnn", cell, initial_state, shape(steps[0])[0] if batch is None else batch, dtype)
        lengths = None if sequence_length is None else convert_to_tensor(sequence_length)
        outputs = []
        for time, x in enumerate(steps):
            output, state = _stepped(cell, x, state, time, lengths)
            outputs.append(output)
        return outputs, state


def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Sequence[Any],
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Tensor], Any, Any]:
    """`static_rnn` there and back: (outputs of both, one behind the other; state; state of the way back)."""
    if sequence_length is not None:
        raise ArgumentError("static_bidirectional_rnn: sequence_length is not there", hint="tf.nn.bidirectional_dynamic_rnn")
    with variable_scope(scope if scope is not None else "bidirectional_rnn"):
        forward, state = static_rnn(cell_fw, inputs, initial_state_fw, dtype, scope="fw")
        backward, last = static_rnn(cell_bw, list(inputs)[::-1], initial_state_bw, dtype, scope="bw")
        return [_joined(a, b) for a, b in zip(forward, backward[::-1])], state, last
