"""Cells: one step of a recurrent layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core as core
from ..errors import ArgumentError, DomainError, ShapeError
from ..ops.arguments import checked
from ..ops.recurrence.layers import recurrent_cell
from ..tensors.creation import empty, zeros
from .module import Module
from .parameter import Parameter
from .recurrent import check_size, draw, in_lower, kept

Tensor = core.Tensor

_lowered = checked(lambda mode, *operands: recurrent_cell(mode, *operands), "RNNCell", autocast="lower")


class RNNCellBase(Module):
    """What the cells share: weights and biases of input and state, uniform in ±1/√hidden_size."""

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        owner, rows = type(self).__name__, num_chunks * hidden_size
        self.input_size = check_size(owner, "input_size", input_size, 0)
        self.hidden_size = check_size(owner, "hidden_size", hidden_size)
        self.bias = bias
        self.weight_ih = Parameter(empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        draw(self.parameters(), self.hidden_size)

    def extra_repr(self) -> str:
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        bias = "" if self.bias else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}" + (
            f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else ""
        )

    def _step(self, mode: str, input: Tensor, states: Sequence[Tensor] | None, count: int = 1) -> tuple[Tensor, ...]:
        owner = type(self).__name__
        if input.dim() not in (1, 2):
            raise ShapeError(f"{owner}: the input must be [batch, features], or [features] alone, got {tuple(input.shape)}")
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{owner}: input.shape[-1] must be input_size = {self.input_size}, got {input.shape[-1]} of {tuple(input.shape)}"
            )
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if states is None:
            states = [zeros(x.shape[0], self.hidden_size, dtype=x.dtype, device=x.device)] * count
        else:
            self._check_states(states, input)
            states = states if batched else [s.unsqueeze(0) for s in states]
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        second = states[1] if count > 1 else None
        run = _lowered if mode.startswith("rnn") or in_lower(states) else recurrent_cell  # the others' states stay as given
        found = run(mode, x, states[0], second, *weights, kept([x, *states, *weights]))
        after = found[:count] if isinstance(found, tuple) else (found,)
        return after if batched else tuple(s.squeeze(0) for s in after)

    def _check_states(self, states: Sequence[Tensor], input: Tensor) -> None:
        wanted = (*input.shape[:-1], self.hidden_size)
        for name, state in zip(("h", "c"), states):
            fits = state.dim() == input.dim() and all(a == b for a, b in zip(state.shape, wanted))
            if not fits:
                raise ShapeError(f"{type(self).__name__}: {name} must have shape {tuple(wanted)}, got {tuple(state.shape)}")


class RNNCell(RNNCellBase):
    """h' = tanh(weight_ih · x + bias_ih + weight_hh · h + bias_hh), or with relu (`nonlinearity`).

    Shapes: x [batch, input_size] or [input_size], h [batch, hidden_size] or [hidden_size], zeros if left out → h's

    >>> import duograph as dg
    >>> dg.nn.RNNCell(3, 4)(dg.ones(2, 3)).shape
    duograph.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise DomainError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(f"rnn_{self.nonlinearity}", input, None if hx is None else [hx])[0]


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`: (h', c') of an input and (h, c).

    Shapes: x [batch, input_size] or [input_size]; h, c [batch, hidden_size] or [hidden_size], zeros if left out → h's, c's

    >>> import duograph as dg
    >>> h, c = dg.nn.LSTMCell(3, 4)(dg.ones(2, 3))
    >>> h.shape
    duograph.Size([2, 4])
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Tensor]:
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise ArgumentError(f"LSTMCell: hx must be a pair (h, c) of tensors, got {type(hx).__name__}")
        h, c = self._step("lstm", input, hx, 2)
        return h, c


class GRUCell(RNNCellBase):
    """One step of a `GRU`.

    Shapes: x [batch, input_size] or [input_size], h [batch, hidden_size] or [hidden_size], zeros if left out → h's

    >>> import duograph as dg
    >>> dg.nn.GRUCell(3, 4)(dg.ones(2, 3)).shape
    duograph.Size([2, 4])
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("gru", input, None if hx is None else [hx])[0]
