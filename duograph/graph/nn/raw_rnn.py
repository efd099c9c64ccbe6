"""A recurrent network of which a function decides each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arithmetic import logical_or
from ..arrays import shape
from ..constants import convert_to_tensor
from ..control_flow import while_loop
from ..creation import zeros
from ..definition import filled
from ..elements import Tensor
from ..gathering import where
from ..reductions import reduce_all
from ..tensor_arrays import TensorArray
from ..variable_scopes import variable_scope
from .rnn import _check_cell
from .rnn_cell import leaves_of

__all__ = ["raw_rnn"]


def raw_rnn(
    cell: Any,
    loop_fn: Callable[..., Any],
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Any]:
    """A cell whose next input, state and output a function gives, until all sequences are finished.

    Args:
        loop_fn: (time, cell_output, cell_state, loop_state) → (finished, next input, next state, output, loop_state). At time
            0 the other arguments are None; what it gives there for `output` is None, or says the outputs' structure and dtypes.

    Returns (TensorArrays of the outputs, last state, last loop_state). Sequences that are finished give zeros and keep
    their state.
    """
    _check_cell("raw_rnn", cell)
    with variable_scope(scope if scope is not None else "rnn"):
        time = convert_to_tensor(0)
        finished, first, state, like, loop_state = loop_fn(time, None, None, None)
        _, inputs = leaves_of(first)
        finished = convert_to_tensor(finished)
        structure, kinds = _outputs(cell, like, convert_to_tensor(inputs[0]))
        arrays = [TensorArray(dtype, size=0, dynamic_size=True) for dtype, _ in kinds]
        keeps = loop_state is not None

        def turn(time: Any, finished: Any, current: Any, arrays: Any, state: Any, kept: Any) -> Any:
            outputs, new = cell(current, state)
            over, following, new, made, kept_on = loop_fn(time + 1, outputs, new, kept if keeps else None)
            _, emitted = leaves_of(outputs if made is None else made)
            rows = [_kept(finished, x, _nothing(x, finished)) for x in emitted]
            arrays = [array.write(time, row) for array, row in zip(arrays, rows)]
            template, states = leaves_of(new)
            states = [_kept(finished, n, o) for n, o in zip(states, leaves_of(state)[1])]
            over = logical_or(finished, convert_to_tensor(over))
            return time + 1, over, following, arrays, filled(template, states), kept_on if keeps else kept

        start = (time, finished, first, arrays, _tensors(state), loop_state if keeps else convert_to_tensor(0))
        ends = while_loop(lambda time, finished, *rest: ~reduce_all(finished), turn, start, swap_memory=swap_memory, name="while")
        _, _, _, arrays, state, kept = ends
        return filled(structure, arrays), state, kept if keeps else None


def _tensors(value: Any) -> Any:
    structure, leaves = leaves_of(value)
    return filled(structure, [convert_to_tensor(x) for x in leaves])


def _outputs(cell: Any, like: Any, first: Tensor) -> tuple[Any, list[Any]]:
    """The structure of the outputs, and (dtype, shape) of each."""
    structure, leaves = leaves_of(cell.output_size if like is None else like)
    kinds = [(first.dtype, None) if like is None else (x.dtype, x.shape) for x in leaves]
    return structure, kinds


def _nothing(x: Tensor, finished: Tensor) -> Tensor:
    made: Tensor = zeros(shape(x), x.dtype)
    return made


def _kept(finished: Tensor, new: Any, old: Any) -> Tensor:
    """`old` for sequences that are finished; what has no batch goes on."""
    value: Tensor = convert_to_tensor(new)
    if value.shape.ndims == 0:
        return value
    found: Tensor = where(finished, old, value)
    found.set_shape(value.shape)
    return found
