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
    states    how many tensors a step hands on
    apart     whether the product with the state has a bias of its own, and so slopes of its own
    """

    gates: int
    forward: Callable[[Tensors, Any, Tensors], tuple[Tensors, Tensors]]
    backward: Callable[[Tensors, Tensors, Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]
    states: int = 1
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


def _in_place(parts: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """What belongs to each gate in the order in which weights have them."""
    return [part for _, part in sorted(zip(places, parts), key=lambda pair: pair[0])]


def _lstm(places: tuple[int, int, int, int]) -> Cell:
    """c = f · c + i · g, h = o · tanh(c). ``places``: which rows of the weights are those of i, f, g and o."""

    def forward(states: Tensors, projected: Any, fixed: Tensors) -> tuple[Tensors, Tensors]:
        h, c = states
        sums = _sums(projected, h, fixed, 4, c.shape[1])
        of_i, of_f, of_g, of_o = (sums[place] for place in places)
        i, f, g, o = sigmoid(of_i), sigmoid(of_f), tanh(of_g), sigmoid(of_o)
        c = f * c + i * g
        h = o * tanh(c)
        if len(fixed[-1].shape) != 2:
            return [h, c], [i, f, g, o]
        return [times(h, fixed[-1]), c], [i, f, g, o, h]

    def backward(slopes: Tensors, before: Tensors, kept: Tensors, after: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
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
        joined = cat(_in_place(to_sums, places), 1)
        return [times(joined, weights[0]), to_c * f], [joined, to_h][: len(weights)]

    return Cell(4, forward, backward, states=2)


def _gru(places: tuple[int, int, int]) -> Cell:
    """h = n + z · (h - n). ``places``: which rows of the weights are those of r, z and n."""

    def forward(states: Tensors, projected: Any, fixed: Tensors) -> tuple[Tensors, Tensors]:
        (h,) = states
        size = h.shape[1]
        from_x, from_h = _parts(projected, 3, size), _products(h, fixed[0], 3)
        if len(fixed) > 1:
            from_x, from_h = ([a + b for a, b in zip(xs, _parts(bias, 3, size))] for xs, bias in zip((from_x, from_h), fixed[1:]))
        of_r, of_z, of_n = ((from_x[place], from_h[place]) for place in places)
        r, z = sigmoid(of_r[0] + of_r[1]), sigmoid(of_z[0] + of_z[1])
        n = tanh(of_n[0] + r * of_n[1])
        return [n + z * (h - n)], [r, z, n, of_n[1]]

    def backward(slopes: Tensors, before: Tensors, kept: Tensors, after: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        (to_h,) = slopes
        r, z, n, from_h = kept
        to_n = to_h * (1 - z) * (1 - n * n)
        to_r = to_n * from_h * (r * (1 - r))
        to_z = to_h * (before[0] - n) * (z * (1 - z))
        to_state = cat(_in_place([to_r, to_z, to_n * r], places), 1)
        return [to_h * z + times(to_state, weights[0])], [cat(_in_place([to_r, to_z, to_n], places), 1), to_state]

    return Cell(3, forward, backward, apart=True)


# By name; those behind have the gates in the order of ONNX: input, output, forget, cell; update, reset, hidden.
CELLS = {
    "rnn_tanh": _plain(tanh, lambda g, h: g * (1 - h * h)),
    "rnn_relu": _plain(relu, lambda g, h: where(h > 0, g, 0.0)),
    "lstm": _lstm((0, 1, 2, 3)),
    "gru": _gru((0, 1, 2)),
    "lstm_iofc": _lstm((0, 2, 3, 1)),
    "gru_zrh": _gru((1, 0, 2)),
}
