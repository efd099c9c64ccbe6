"""What one step of a recurrent layer does, and its gradient: the same for a cell and for a turn of a layer's loop.

`projected` is the input times its weights plus biases, made for all steps at once. `inner` are the matrices that states are
multiplied by, [inputs, outputs] as a step reads them. `live` says which sequences of a batch have this step; the others
keep their state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..elementwise.activations import relu
from ..elementwise.choice import where
from ..elementwise.unary import sigmoid, tanh
from ..matrix.contractions import contraction
from ..shapes.joining import cat
from ..shapes.slicing import slice

if TYPE_CHECKING:
    from duograph._core import Tensor

    Tensors = Sequence[Tensor]


class Cell(NamedTuple):
    """One kind of recurrence.

    gates     how many times the hidden size its weights have rows
    forward   (states, projected, inner) → (states after, what the gradient needs)
    backward  (slopes of states, states before, kept, states after, inner) → (slopes of states before, of the products)
    apart     whether the product with the state has a bias of its own, and so slopes of its own
    """

    gates: int
    forward: Callable[[Tensors, Any, Tensors], tuple[Tensors, Tensors]]
    backward: Callable[[Tensors, Tensors, Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]
    apart: bool = False


def times(a: Any, b: Any) -> Any:
    return contraction(a, b, "nk,km->nm")


def _parts(x: Any, count: int, size: Any) -> list[Any]:
    return [slice(x, 1, size * i, size * (i + 1)) for i in range(count)]


def _plain(activation: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Cell:
    """h = activation(projected + h · w)"""

    def forward(states: Tensors, projected: Any, inner: Tensors) -> tuple[Tensors, Tensors]:
        return [activation(projected + times(states[0], inner[0]))], []

    def backward(slopes: Tensors, before: Tensors, kept: Tensors, after: Tensors, inner: Tensors) -> tuple[Tensors, Tensors]:
        to_product = slope(slopes[0], after[0])
        return [times(to_product, inner[0])], [to_product]

    return Cell(1, forward, backward)


def _lstm(states: Tensors, projected: Any, inner: Tensors) -> tuple[Tensors, Tensors]:
    h, c = states
    from_x, from_h = _parts(projected, 4, c.shape[1]), _parts(times(h, inner[0]), 4, c.shape[1])
    sums = [a + b for a, b in zip(from_x, from_h)]  # added where they are used: the product is written once
    i, f, g, o = sigmoid(sums[0]), sigmoid(sums[1]), tanh(sums[2]), sigmoid(sums[3])
    c = f * c + i * g
    h = o * tanh(c)
    if len(inner) == 1:
        return [h, c], [i, f, g, o]
    return [times(h, inner[1]), c], [i, f, g, o, h]


def _lstm_back(slopes: Tensors, before: Tensors, kept: Tensors, after: Tensors, inner: Tensors) -> tuple[Tensors, Tensors]:
    to_h, to_c = slopes
    i, f, g, o = kept[:4]
    to_wide = times(to_h, inner[1]) if len(inner) > 1 else to_h
    squashed = tanh(after[1])
    to_c = to_c + to_wide * o * (1 - squashed * squashed)
    to_sums = [
        to_c * g * (i * (1 - i)),
        to_c * before[1] * (f * (1 - f)),
        to_c * i * (1 - g * g),
        to_wide * squashed * (o * (1 - o)),
    ]
    joined = cat(to_sums, 1)
    return [times(joined, inner[0]), to_c * f], [joined, to_h][: len(inner)]


def _gru(states: Tensors, projected: Any, inner: Tensors) -> tuple[Tensors, Tensors]:
    (h,) = states
    sums = times(h, inner[0])
    if len(inner) > 1:
        sums = sums + inner[1]
    from_x, from_h = _parts(projected, 3, h.shape[1]), _parts(sums, 3, h.shape[1])
    r, z = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
    n = tanh(from_x[2] + r * from_h[2])
    return [n + z * (h - n)], [r, z, n, from_h[2]]


def _gru_back(slopes: Tensors, before: Tensors, kept: Tensors, after: Tensors, inner: Tensors) -> tuple[Tensors, Tensors]:
    (to_h,) = slopes
    r, z, n, from_h = kept
    to_n = to_h * (1 - z) * (1 - n * n)
    to_r = to_n * from_h * (r * (1 - r))
    to_z = to_h * (before[0] - n) * (z * (1 - z))
    to_state = cat([to_r, to_z, to_n * r], 1)
    return [to_h * z + times(to_state, inner[0])], [cat([to_r, to_z, to_n], 1), to_state]


CELLS = {
    "rnn_tanh": _plain(tanh, lambda g, h: g * (1 - h * h)),
    "rnn_relu": _plain(relu, lambda g, h: where(h > 0, g, 0.0)),
    "lstm": Cell(4, _lstm, _lstm_back),
    "gru": Cell(3, _gru, _gru_back, apart=True),
}
