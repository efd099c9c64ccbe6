"""Recurrent layers: all steps of a sequence, in one or both directions, several layers on top of each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from .. import _core as core
from ..errors import ArgumentError, DomainError, DTypeError, ShapeError
from ..ir.builder import active
from ..ir.dim import Dim
from ..ops.arguments import checked
from ..ops.recurrence.layers import recurrent_layer
from ..ops.shapes.joining import cat, stack
from ..tensors.creation import empty, zeros
from . import functional, init
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence, steps_of

Tensor = core.Tensor
States: TypeAlias = "tuple[Tensor, ...]"  # h, or h and c

_in_widest = checked(lambda mode, *operands: recurrent_layer(mode, *operands), "GRU", autocast="promote")

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def check_size(owner: str, name: str, value: object, least: int = 1) -> int:
    """A size given to a recurrent layer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(f"{owner}: {name} must be an int, got {value!r}")
    if value < least:
        raise DomainError(f"{owner}: {name} must be at least {least}, got {value}")
    return value


def draw(parameters: Iterator[Parameter], hidden_size: int) -> None:
    """Uniform in ±1/√hidden_size."""
    bound = 1 / math.sqrt(hidden_size)
    for parameter in parameters:
        init.uniform_(parameter, -bound, bound)


def kept(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a gradient may be asked for: else what it needs is not kept."""
    if active():
        return True  # a program keeps what it reads
    return core.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def in_lower(states: Sequence[Tensor]) -> bool:
    """Whether states have the dtype of autocast already: then a step that leaves states as they are is made in it."""
    enabled, dtype = core.autocast()[:2]
    return bool(enabled) and all(s.dtype == dtype for s in states)


class Sequences(NamedTuple):
    """What a layer's loop goes over: steps [time, batch, features], which of them there are, how many sequences."""

    steps: Tensor
    live: Tensor | None
    batch: Any


class RNNBase(Module):
    """What RNN, LSTM and GRU share. `mode` is "RNN_TANH", "RNN_RELU", "LSTM" or "GRU"; the rest as there."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        if mode not in _GATES:
            raise DomainError(f"{owner}: mode must be one of {', '.join(_GATES)}, got {mode!r}")
        self.mode = mode
        self.input_size = check_size(owner, "input_size", input_size, 0)
        self.hidden_size = check_size(owner, "hidden_size", hidden_size)
        self.num_layers = check_size(owner, "num_layers", num_layers)
        self.proj_size = self._checked_projection(proj_size)
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bool(bidirectional)
        self.dropout = self._checked_dropout(dropout)
        self._all_weights = [self._add_weights(*place, device=device, dtype=dtype) for place in self._places()]
        self.reset_parameters()

    def _checked_projection(self, size: int) -> int:
        owner = type(self).__name__
        if size and self.mode != "LSTM":
            raise DomainError(f"{owner}: proj_size is for LSTM only, got {size}")
        check_size(owner, "proj_size", size, 0)
        if size >= self.hidden_size:
            raise DomainError(f"{owner}: proj_size must be smaller than hidden_size, got {size} and {self.hidden_size}")
        return size

    def _checked_dropout(self, share: float) -> float:
        owner = type(self).__name__
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise DomainError(f"{owner}: dropout must be a probability between 0 and 1, got {share!r}")
        if share > 0 and self.num_layers == 1:
            warnings.warn(
                f"{owner}: dropout={share} drops after all layers but the last, so with num_layers=1 it does nothing",
                stacklevel=4,
            )
        return float(share)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _outputs(self) -> int:
        """Features of one direction's output."""
        return self.proj_size or self.hidden_size

    def _places(self) -> list[tuple[int, bool]]:
        """(layer, whether it goes backwards), in the order of states and weights."""
        return [(layer, bool(d)) for layer in range(self.num_layers) for d in range(self._directions)]

    def _add_weights(self, layer: int, backwards: bool, **factory: Any) -> list[str]:
        """Makes the parameters of one direction of a layer; their names."""
        inputs = self.input_size if layer == 0 else self._outputs * self._directions
        rows = _GATES[self.mode] * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, self._outputs)}
        if self.bias:
            shapes.update(bias_ih=(rows,), bias_hh=(rows,))
        if self.proj_size:
            shapes.update(weight_hr=(self.proj_size, self.hidden_size))
        suffix = f"_l{layer}{'_reverse' * backwards}"
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(empty(*shape, **factory)))
        return [name + suffix for name in shapes]

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        draw(self.parameters(), self.hidden_size)

    def flatten_parameters(self) -> None:
        """Does nothing: weights need not lie in one piece of memory."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        given = {name: getattr(self, name) for name in defaults}
        return text + "".join(f", {name}={given[name]}" for name, usual in defaults.items() if given[name] != usual)

    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._of_packed(input, hx)
        batched = self._is_batched(input)
        steps = input if batched else input.unsqueeze(1)
        steps = steps.transpose(0, 1) if batched and self.batch_first else steps
        states = self._states(hx, batched)
        output, last = self._run(Sequences(steps, None, steps.shape[1]), states)
        if not batched:
            return output.squeeze(1), self._given_back([s.squeeze(1) for s in last])
        return output.transpose(0, 1) if self.batch_first else output, self._given_back(last)

    def _of_packed(self, packed: PackedSequence, hx: Any) -> Any:
        sequences = Sequences(*steps_of(packed))
        self._check_features(sequences.steps)
        states = self._states(hx, True)
        if states is not None:
            states = tuple(_sorted(s, packed.sorted_indices) for s in states)
        output, last = self._run(sequences, states)
        return packed.like(output), self._given_back([_sorted(s, packed.unsorted_indices) for s in last])

    def _is_batched(self, input: Tensor) -> bool:
        owner = type(self).__name__
        if not isinstance(input, core.Tensor):
            raise ArgumentError(f"{owner}: expected a Tensor or a PackedSequence, got {type(input).__name__}")
        if input.dim() not in (2, 3):
            raise ShapeError(
                f"{owner}: the input must have 3 dimensions, or 2 without a batch, got {tuple(input.shape)}",
                hint="[time, batch, features], with batch_first=True [batch, time, features]",
            )
        self._check_features(input)
        time = input.shape[1 if self.batch_first and input.dim() == 3 else 0]
        if time == 0:
            raise ShapeError(f"{owner}: a sequence needs at least one step, got {tuple(input.shape)}")
        return bool(input.dim() == 3)

    def _check_features(self, input: Tensor) -> None:
        owner, have = type(self).__name__, input.shape[-1]
        if have != self.input_size:
            raise ShapeError(
                f"{owner}: input.shape[-1] must be input_size = {self.input_size}, got {have} of {tuple(input.shape)}",
                hint=f"make it {owner}({have}, {self.hidden_size}), or give it inputs of {self.input_size} features",
            )
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype != weight.dtype and not core.autocast()[0]:
            raise DTypeError(
                f"{owner}: the input is {input.dtype.name}, the weights are {weight.dtype.name}",
                hint=f"convert one of them: x.to(dg.{weight.dtype.name}), or the layer's .to(dg.{input.dtype.name})",
            )

    def _widths(self) -> tuple[int, ...]:
        """The features of each state."""
        return (self._outputs,)

    def _given_back(self, states: Sequence[Tensor]) -> Any:
        return states[0]

    def _taken(self, hx: Any) -> States:
        """What the user gave as state."""
        if not isinstance(hx, core.Tensor):
            raise ArgumentError(f"{type(self).__name__}: hx must be a Tensor, got {type(hx).__name__}")
        return (hx,)

    def _states(self, hx: Any, batched: bool) -> States | None:
        """States given by the user with a batch; their shapes are checked with the sequences'."""
        if hx is None:
            return None
        states = self._taken(hx)
        rank, count = 3 if batched else 2, self.num_layers * self._directions
        for name, state, width in zip(("h_0", "c_0"), states, self._widths()):
            shape = f"({count}, {'batch, ' * batched}{width})"
            fits = state.dim() == rank and state.shape[0] == count and state.shape[-1] == width
            if not fits:
                raise ShapeError(f"{type(self).__name__}: {name} must have shape {shape}, got {tuple(state.shape)}")
        return states if batched else tuple(s.unsqueeze(1) for s in states)

    def _run(self, sequences: Sequences, states: States | None) -> tuple[Tensor, list[Tensor]]:
        """All layers: the last one's output, and the states after the last step, [layers · directions, batch, features]."""
        steps, live, batch = sequences
        if states is None:
            states = tuple(zeros(batch, width, dtype=steps.dtype, device=steps.device) for width in self._widths())
            given = [states] * len(self._places())
        else:
            self._check_batch(states, batch)
            given = [tuple(s[i] for s in states) for i in range(len(self._places()))]
        outputs: list[Tensor] = []
        last: list[States] = []
        for (layer, backwards), names, begin in zip(self._places(), self._all_weights, given):
            output, *after = self._direction(steps, begin, names, live, backwards)
            outputs.append(output)
            last.append(tuple(after))
            if len(outputs) == self._directions:
                steps, outputs = _side_by_side(outputs), []
                if self.dropout and layer < self.num_layers - 1:
                    steps = functional.dropout(steps, self.dropout, self.training)
        return steps, [_stacked(list(parts)) for parts in zip(*last)]

    def _check_batch(self, states: States, batch: Any) -> None:
        for name, state in zip(("h_0", "c_0"), states):
            if not isinstance(batch, Dim) and state.shape[1] != batch:  # a size that only the run knows is checked there
                raise ShapeError(
                    f"{type(self).__name__}: {name} has {state.shape[1]} sequences, the input {batch}: {tuple(state.shape)}"
                )

    def _direction(
        self, steps: Tensor, states: States, names: Sequence[str], live: Tensor | None, backwards: bool
    ) -> tuple[Tensor, ...]:
        """One direction of one layer: output and last states."""
        weights = {name.partition("_l")[0]: getattr(self, name) for name in names}
        operands = [weights.get(name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")]
        h, c = states if len(states) > 1 else (states[0], None)
        keep = kept([steps, *states, *operands])
        # as in PyTorch, whose GRU is no single operator: products are lowered, states stay
        run = _in_widest if self.mode == "GRU" and not in_lower(states) else recurrent_layer
        made = run(self.mode.lower(), steps, h, c, *operands, live, backwards, keep)
        return tuple(made[: 1 + len(states)])


def _side_by_side(parts: list[Tensor]) -> Tensor:
    """The outputs of both directions side by side."""
    return parts[0] if len(parts) == 1 else cat(parts, -1)


def _stacked(parts: list[Tensor]) -> Tensor:
    return parts[0].unsqueeze(0) if len(parts) == 1 else stack(parts)


def _sorted(state: Tensor, order: Tensor | None) -> Tensor:
    """The states of a batch in another order."""
    return state if order is None else state.index_select(1, order)


class RNN(RNNBase):
    """h[t] = tanh(weight_ih · x[t] + bias_ih + weight_hh · h[t-1] + bias_hh), or with relu (`nonlinearity`).

    Shapes: input [time, batch, input_size], [batch, time, …] with `batch_first`, [time, input_size] without a batch, or a
    PackedSequence; h_0 [layers · directions, batch, hidden_size], zeros if left out
    → output [time, batch, directions · hidden_size], h_n as h_0
    Parameters of layer k: `weight_ih_lk`, `weight_hh_lk`, `bias_ih_lk`, `bias_hh_lk`, those of the other direction with
    `_reverse`; all start uniform in ±1/√hidden_size. `dropout`: between layers, in training.

    >>> import duograph as dg
    >>> output, h = dg.nn.RNN(3, 4)(dg.ones(5, 2, 3))
    >>> output.shape, h.shape
    (duograph.Size([5, 2, 4]), duograph.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise DomainError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device=device, dtype=dtype
        )


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): i, f, g, o of input and state; c = f·c + i·g, h = o·tanh(c).

    Shapes: input as RNN's; (h_0, c_0) [layers · directions, batch, hidden_size], zeros if left out
    → output [time, batch, directions · hidden_size], (h_n, c_n) as (h_0, c_0)
    With `proj_size` h = weight_hr · (o·tanh(c)) has that many features (Sak, Senior and Beaufays 2014). Parameters as RNN's.

    >>> import duograph as dg
    >>> output, (h, c) = dg.nn.LSTM(3, 4, bidirectional=True)(dg.ones(5, 2, 3))
    >>> output.shape, c.shape
    (duograph.Size([5, 2, 8]), duograph.Size([2, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )

    def _widths(self) -> tuple[int, ...]:
        return self._outputs, self.hidden_size

    def _given_back(self, states: Sequence[Tensor]) -> Any:
        return tuple(states)

    def _taken(self, hx: Any) -> States:
        if not isinstance(hx, (tuple, list)) or len(hx) != 2 or not all(isinstance(s, core.Tensor) for s in hx):
            raise ArgumentError(f"LSTM: hx must be a pair (h_0, c_0) of tensors, got {type(hx).__name__}")
        return tuple(hx)


class GRU(RNNBase):
    """Gated recurrent unit (Cho et al. 2014): r, z, n of input and state, r before the state's share of n; h = (1-z)·n + z·h.

    Shapes and parameters: as RNN.

    >>> import duograph as dg
    >>> output, h = dg.nn.GRU(3, 4, batch_first=True)(dg.ones(2, 5, 3))
    >>> output.shape, h.shape
    (duograph.Size([2, 5, 4]), duograph.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device=device, dtype=dtype
        )
