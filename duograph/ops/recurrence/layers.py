"""Recurrent layers: one direction of one layer, all steps, and single cells; each is one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ShapeError
from duograph.ir.dim import product

from ..definition import COMPOSITION, op
from ..dtypes import same
from ..elementwise.choice import where
from ..matrix.contractions import contraction
from ..reduction.reductions import sum
from ..shapes.arranging import flip
from ..shapes.copying import clone
from ..shapes.joining import cat
from ..shapes.movement import reshape, unsqueeze
from ..shapes.permuting import permute
from ..shapes.slicing import slice
from ..tracing import require_equal, user_operator
from .cells import CELLS, Cell
from .scans import STEPS, Step, Tensors, scan

if TYPE_CHECKING:
    from duograph._core import Tensor


def _chosen(live: Any, some: Tensors, others: Tensors) -> list[Any]:
    return [where(live, a, b) for a, b in zip(some, others)]


def _forward(cell: Cell, masked: bool) -> Step:
    """Rows: projected, live. Kept: the output, the states after it but the first, what the gradient needs."""

    def run(states: Tensors, rows: Tensors, fixed: Tensors) -> tuple[Tensors, Tensors]:
        after, kept = cell.forward(states, rows[0], fixed)
        if not masked:
            return after, [*after, *kept]
        live = unsqueeze(rows[1], 1)
        output = where(live, after[0], 0.0)
        after = _chosen(live, after, states)
        return after, [output, *after[1:], *kept]

    return run


def _backward(cell: Cell, states: int, masked: bool) -> Step:
    """Rows: slope of the output, states before, states after, kept, live. Kept: slopes of the products."""

    def run(slopes: Tensors, rows: Tensors, fixed: Tensors) -> tuple[Tensors, Tensors]:
        kept = rows[1 + 2 * states : len(rows) - masked]
        before, after = rows[1 : 1 + states], rows[1 + states : 1 + 2 * states]
        arrived = [slopes[0] + rows[0], *slopes[1:]]
        given, products = cell.backward(arrived, before, kept, after, fixed)
        if not masked:
            return given, products
        live = unsqueeze(rows[-1], 1)
        return _chosen(live, given, slopes), [where(live, x, 0.0) for x in products]

    return run


for _name, _cell in CELLS.items():
    for _masked in (False, True):
        STEPS[f"{_name}{' live' * _masked}"] = _forward(_cell, _masked)
        STEPS[f"{_name} back{' live' * _masked}"] = _backward(_cell, _cell.states, _masked)


def _projected(x: Any, weight: Any) -> Any:
    """The input's share of the sums, for all steps."""
    flat = reshape(x, product(tuple(x.shape[:-1])), x.shape[-1])
    made = contraction(flat, weight, "mk,nk->mn")
    return reshape(made, *x.shape[:-1], weight.shape[0])


def _fixed(mode: str, hidden: Any, weight: Any, biases: Sequence[Any], projection: Any) -> list[Any]:
    """What steps read beside their input: see `cells`."""
    gates = reshape(weight, CELLS[mode].gates, hidden, weight.shape[1])
    found = [clone(permute(gates, (0, 2, 1)))]
    if biases[0] is not None:
        found += biases if CELLS[mode].apart else [biases[0] + biases[1]]
    return found if projection is None else [*found, clone(permute(projection, (1, 0)))]


def _check_shapes(mode: str, x: Any, states: Sequence[Any], weights: Sequence[Any]) -> None:
    """One layer's operands; x has one row for each sequence, the dimension of time left out."""
    name = user_operator(mode)
    weight_ih, weight_hh, bias_ih, bias_hh, weight_hr = weights
    hidden, gates = states[-1].shape[-1], CELLS[mode].gates
    wanted = [
        ("weight_ih", weight_ih, (gates * hidden, x.shape[-1])),
        ("weight_hh", weight_hh, (gates * hidden, states[0].shape[-1])),
        ("bias_ih", bias_ih, (gates * hidden,)),
        ("bias_hh", bias_hh, (gates * hidden,)),
        ("weight_hr", weight_hr, (states[0].shape[-1], hidden)),
        *((f"state {i}", s, (x.shape[-2], s.shape[-1])) for i, s in enumerate(states)),
    ]
    for what, tensor, shape in wanted:
        if tensor is None:
            continue
        message = f"{what} must have shape {tuple(shape)}, got {tuple(tensor.shape)}"
        if len(tensor.shape) != len(shape):
            raise ShapeError(f"{name}: {message}")
        for have, want in zip(tensor.shape, shape):
            require_equal(name, have, want, message)


def _states(h: Any, c: Any) -> list[Any]:
    return [h] if c is None else [h, c]


@op(
    kind=COMPOSITION,
    dtypes=same.on("x", "h", "c", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"),
    method=False,
    public=False,
    autocast="lower",
)
def recurrent_layer(
    mode: str,
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    weight_hr: Tensor | None = None,
    live: Tensor | None = None,
    backwards: bool = False,
    keep: bool = True,
) -> Tensor:
    """All steps of one direction of a recurrent layer: the output, the last states, and with `keep` what the gradient needs.

    What is kept is in the order of the steps, from the last one with `backwards`. Gates are in the order of PyTorch, or, in the
    modes "lstm_iofc" and "gru_zrh", in that of ONNX.

    Shapes:   x [time, batch, inputs], h [batch, outputs], c [batch, hidden], live [time, batch] → [time, batch, outputs], …
    Dtypes:   one dtype; live bool
    Gradient: one loop over the steps; the weights' are products over all steps
    Errors:   ShapeError; DTypeError
    Source:   torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu
    """
    states = _states(h, c)
    _check_shapes(mode, x, states, (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr))
    found = _loop(mode, x, states, (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr), live, backwards)
    last, (output, *kept) = found[: len(states)], found[len(states) :]
    output = flip(output, 0) if backwards else output
    return (output, *last, *kept) if keep else (output, *last)  # type: ignore[return-value]


def _loop(mode: str, x: Any, states: Any, weights: Sequence[Any], live: Any, backwards: bool) -> Any:
    weight_ih, weight_hh, bias_ih, bias_hh, weight_hr = weights
    projected = _projected(x, weight_ih)
    rows = [projected] if live is None else [projected, live]
    fixed = _fixed(mode, states[-1].shape[1], weight_hh, (bias_ih, bias_hh), weight_hr)
    return scan(mode if live is None else f"{mode} live", states, rows, fixed, backwards)


@recurrent_layer.vjp
def _(g: Any, out: Any, mode: str, x: Any, h: Any, c: Any, *rest: Any) -> Any:
    weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, live, backwards, keep = rest
    states = _states(h, c)
    count = len(states)
    if core.is_grad_enabled() or not keep:  # gradients of this one go through a loop that is recorded
        found = _loop(mode, x, states, (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr), live, backwards)
        outputs, kept = found[count], found[count + 1 :]
    else:
        outputs, kept = flip(out[0], 0) if backwards else out[0], out[1 + count :]
    ordered = (lambda t: flip(t, 0)) if backwards else (lambda t: t)  # of time to that of the steps
    alive = None if live is None else ordered(live)
    slope = ordered(g[0])
    if alive is not None:
        slope = where(unsqueeze(alive, 2), slope, 0.0)
    after = [outputs, *kept[: count - 1]]
    before = [_before(s, rows, alive if i == 0 else None) for i, (s, rows) in enumerate(zip(states, after))]
    rows = [slope, *before, *after, *kept[count - 1 :], *([] if alive is None else [alive])]
    weights = [weight_hh] if weight_hr is None else [weight_hh, weight_hr]
    name = f"{mode} back" if live is None else f"{mode} back live"
    made = scan(name, g[1 : 1 + count], rows, weights, True)
    to_states, products = made[:count], made[count:]
    return _to_operands(mode, (x, weight_ih, bias_ih, weight_hr), before[0], kept, to_states, products, backwards)


def _before(first: Any, rows: Any, alive: Any) -> Any:
    """The state that each step began with, from those it ended with: a sequence that had no step yet has the first one."""
    if alive is not None:
        rows = where(unsqueeze(alive, 2), rows, unsqueeze(first, 0))
    return cat([unsqueeze(first, 0), slice(rows, 0, 0, rows.shape[0] - 1)], 0)


def _to_operands(
    mode: str, given: Sequence[Any], before: Any, kept: Any, to_states: Any, products: Any, backwards: bool
) -> tuple[Any, ...]:
    """The gradients of the operands from the slopes of all steps' products, the last step first."""
    x, weight_ih, bias_ih, weight_hr = given
    timed = (lambda t: t) if backwards else (lambda t: flip(t, 0))
    to_x, to_h = products[0], products[-1] if CELLS[mode].apart else products[0]
    to_weight_ih, to_weight_hh = _summed(to_x, timed(x)), _summed(to_h, flip(before, 0))
    to_weight_hr = None if weight_hr is None else _summed(products[1], flip(kept[-1], 0))
    to_bias_ih = to_bias_hh = None
    if bias_ih is not None:
        to_bias_ih = sum(to_x, (0, 1))
        to_bias_hh = sum(to_h, (0, 1)) if CELLS[mode].apart else to_bias_ih
    flat = reshape(to_x, product(tuple(to_x.shape[:2])), to_x.shape[2])
    through = reshape(contraction(flat, weight_ih, "mn,nk->mk"), x.shape)
    to_c = to_states[1] if len(to_states) > 1 else None
    return timed(through), to_states[0], to_c, to_weight_ih, to_weight_hh, to_bias_ih, to_bias_hh, to_weight_hr, None


def _summed(slopes: Any, rows: Any) -> Any:
    """Over all steps and sequences, slope · rowᵀ."""
    flat = [reshape(t, product(tuple(t.shape[:2])), t.shape[2]) for t in (slopes, rows)]
    return contraction(*flat, "mn,mk->nk")


def _walked(mode: str, states: Any, weights: Sequence[Any]) -> tuple[Any, Any]:
    """States after one step, and what its gradient needs."""
    x, weight_ih, weight_hh, bias_ih, bias_hh = weights
    fixed = _fixed(mode, states[-1].shape[1], weight_hh, (bias_ih, bias_hh), None)
    after, kept = CELLS[mode].forward(states, _projected(x, weight_ih), fixed)
    return after, kept


@op(
    kind=COMPOSITION,
    dtypes=same.on("x", "h", "c", "weight_ih", "weight_hh", "bias_ih", "bias_hh"),
    method=False,
    public=False,
    autocast="promote",
)
def recurrent_cell(
    mode: str,
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    keep: bool = True,
) -> Tensor:
    """One step of a recurrent layer: the states after it, and with `keep` what the gradient needs.

    Shapes:   x [batch, inputs], h [batch, hidden], c [batch, hidden] → [batch, hidden], …
    Dtypes:   one dtype
    Gradient: to all operands
    Errors:   ShapeError; DTypeError
    Source:   torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell
    """
    states = _states(h, c)
    _check_shapes(mode, x, states, (weight_ih, weight_hh, bias_ih, bias_hh, None))
    after, kept = _walked(mode, states, (x, weight_ih, weight_hh, bias_ih, bias_hh))
    return (*after, *kept) if keep else (after[0] if len(after) == 1 else tuple(after))  # type: ignore[return-value]


@recurrent_cell.vjp
def _(
    g: Any, out: Any, mode: str, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, keep: bool
) -> Any:
    states, count = _states(h, c), 1 if c is None else 2
    out, g = (t if isinstance(t, tuple) else (t,) for t in (out, g))
    after, kept = out[:count], out[count:]
    if core.is_grad_enabled() or not keep:  # gradients of this one go through what is kept
        after, kept = _walked(mode, states, (x, weight_ih, weight_hh, bias_ih, bias_hh))
    to_states, products = CELLS[mode].backward(g[:count], states, kept, after, [weight_hh])
    to_x, to_h = products[0], products[-1]
    to_weights = contraction(to_x, x, "mn,mk->nk"), contraction(to_h, h, "mn,mk->nk")
    to_biases = (None, None) if bias_ih is None else (sum(to_x, 0), sum(to_h, 0))
    to_c = to_states[1] if count > 1 else None
    return contraction(to_x, weight_ih, "mn,nk->mk"), to_states[0], to_c, *to_weights, *to_biases
