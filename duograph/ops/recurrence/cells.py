"""What one step of a recurrent layer does, and its gradient: the same for a cell and for a turn of a layer's loop.

`projected` is the input times its weights, made for all steps at once. `fixed` is what no step changes: the weights of the
state as steps read them, [gates, inputs, outputs], then biases (1-d), then an LSTM's projection (2-d). There is one
matrix for each gate: rows of memory are then short enough that their products find them in the caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..elementwise.activations import relu
from ..elementwise.choice import where
from ..elementwise.unary import sigmoid, tanh
from ..matrix.contractions import contraction
from ..shapes.joining import cat
from ..shapes.slicing import select, slice

if TYPE_CHECKING:
    from duograph._core import Tensor

    Tensors = Sequence[Tensor]


class Cell(NamedTuple):
    """One kind of recurrence.

    gates     how many times the hidden size its weights have rows
    forward   (states, projected, fixed) → (states after, what the gradient needs)
    backward  (slopes of states, states before, kept, states after, weights) → (slopes of states before, of the products);
              the weights as they are
    apart     whether the product with the state has a bias of its own, and so slopes of its own
    """

    gates: int
    forward: Callable[[Tensors, Any, Tensors], tuple[Tensors, Tensors]]
    backward: Callable[[Tensors, Tensors, Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]
    apart: bool = False


def times(a: Any, b: Any) -> Any:
    """a · b for one matrix."""
    return contraction(a, b, "nk,km->nm")


def _parts(x: Any, count: int, size: Any) -> list[Any]:
    """What each gate has of the last dimension."""
    return [slice(x, -1, size * i, size * (i + 1)) for i in range(count)]


def _products(state: Any, weight: Any, count: int) -> list[Any]:
    """The state times each gate's weights."""
    made = contraction(state, weight, "nk,gkh->gnh")
    return [select(made, 0, i) for i in range(count)]


def _plain(activation: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Cell:
    """h = activation(projected + h · w)"""

    def forward(states: Tensors, projected: Any, fixed: Tensors) -> tuple[Tensors, Tensors]:
        (total,) = _sums(projected, states[0], fixed, 1, states[0].shape[1])
        return [activation(total)], []

    def backward(slopes: Tensors, before: Tensors, kept: Tensors, after: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        to_product = slope(slopes[0], after[0])
        return [times(to_product, weights[0])], [to_product]

    return Cell(1, forward, backward)


def _sums(projected: Any, state: Any, fixed: Tensors, count: int, size: Any) -> list[Any]:
    """What each gate's activation is taken of; added here, so that products are written once."""
    from_x, from_h = _parts(projected, count, size), _products(state, fixed[0], count)
    found = [x + h for x, h in zip(from_x, from_h)]
    for bias in (x for x in fixed if len(x.shape) == 1):
        found = [total + part for total, part in zip(found, _parts(bias, count, size))]
    return found


def _lstm(states: Tensors, projected: Any, fixed: Tensors) -> tuple[Tensors, Tensors]:
    h, c = states
    sums = _sums(projected, h, fixed, 4, c.shape[1])
    i, f, g, o = sigmoid(sums[0]), sigmoid(sums[1]), tanh(sums[2]), sigmoid(sums[3])
    c = f * c + i * g
    h = o * tanh(c)
    if len(fixed[-1].shape) != 2:
        return [h, c], [i, f, g, o]
    return [times(h, fixed[-1]), c], [i, f, g, o, h]


def _lstm_back(slopes: Tensors, before: Tensors, kept: Tensors, after: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
    to_h, to_c = slopes
    i, f, g, o = kept[:4]
    to_wide = times(to_h, weights[1]) if len(weights) > 1 else to_h
    squashed = tanh(after[1])
    to_c = to_c + to_wide * o * (1 - squashed * squashed)
    to_sums = [
        to_c * g * (i * (1 - i)),
        to_c * before[1] * (f * (1 - f)),
        to_c * i * (1 - g * g),
        to_wide * squashed * (o * (1 - o)),
    ]
    joined = cat(to_sums, 1)
    return [times(joined, weights[0]), to_c * f], [joined, to_h][: len(weights)]


def _gru(states: Tensors, projected: Any, fixed: Tensors) -> tuple[Tensors, Tensors]:
    (h,) = states
    size = h.shape[1]
    from_x, from_h = _parts(projected, 3, size), _products(h, fixed[0], 3)
    if len(fixed) > 1:
        from_x, from_h = ([a + b for a, b in zip(xs, _parts(bias, 3, size))] for xs, bias in zip((from_x, from_h), fixed[1:]))
    r, z = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
    n = tanh(from_x[2] + r * from_h[2])
    return [n + z * (h - n)], [r, z, n, from_h[2]]


def _gru_back(slopes: Tensors, before: Tensors, kept: Tensors, after: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
    (to_h,) = slopes
    r, z, n, from_h = kept
    to_n = to_h * (1 - z) * (1 - n * n)
    to_r = to_n * from_h * (r * (1 - r))
    to_z = to_h * (before[0] - n) * (z * (1 - z))
    to_state = cat([to_r, to_z, to_n * r], 1)
    return [to_h * z + times(to_state, weights[0])], [cat([to_r, to_z, to_n], 1), to_state]


CELLS = {
    "rnn_tanh": _plain(tanh, lambda g, h: g * (1 - h * h)),
    "rnn_relu": _plain(relu, lambda g, h: where(h > 0, g, 0.0)),
    "lstm": Cell(4, _lstm, _lstm_back),
    "gru": Cell(3, _gru, _gru_back, apart=True),
}
