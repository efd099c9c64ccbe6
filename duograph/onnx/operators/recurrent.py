"""Recurrent layers. The usual ones are duograph's own; peepholes, bounds and other activations go step by step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import duograph as dg
from duograph.ops.recurrence.layers import recurrent_layer

from .definition import Tensor, operator

_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": lambda x, a, b: dg.relu(x),
    "tanh": lambda x, a, b: dg.tanh(x),
    "sigmoid": lambda x, a, b: dg.sigmoid(x),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: dg.leaky_relu(x, a),
    "thresholdedrelu": lambda x, a, b: dg.where(x > a, x, dg.zeros_like(x)),
    "scaledtanh": lambda x, a, b: a * dg.tanh(b * x),
    "hardsigmoid": lambda x, a, b: dg.clamp(a * x + b, 0, 1),
    "elu": lambda x, a, b: dg.elu(x, a),
    "softsign": lambda x, a, b: dg.softsign(x),
    "softplus": lambda x, a, b: dg.softplus(x),
}
_DEFAULTS = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}
_ALPHA = {"affine": 1.0, "leakyrelu": 0.01, "thresholdedrelu": 1.0, "scaledtanh": 1.0, "hardsigmoid": 0.2, "elu": 1.0}
_BETA = {"scaledtanh": 1.0, "hardsigmoid": 0.5}
_MODES = {"LSTM": "lstm_iofc", "GRU": "gru_zrh", "RNN": "rnn_tanh"}


class Layer:
    """One direction of a layer: its tensors and what its steps do."""

    def __init__(
        self, kind: str, hidden: int, functions: Sequence[Callable[[Any], Any]], clip: float | None, reset_late: bool
    ) -> None:
        self.kind = kind
        self.hidden = hidden
        self.functions = functions
        self.clip = clip
        self.reset_late = reset_late

    def bounded(self, x: Any) -> Any:
        return x if self.clip is None else dg.clamp(x, -self.clip, self.clip)

    def step(self, projected: Any, states: list[Any], r: Any, rb: Any, p: Any) -> list[Any]:
        """The states after a step; `projected` is the input's share of the sums, both biases in it but for a GRU's."""
        n = self.hidden
        h = states[0]
        if self.kind == "RNN":
            return [self.functions[0](self.bounded(projected + h @ r.t() + rb))]
        f, g = self.functions[:2]
        if self.kind == "GRU":
            sums = projected[:, : 2 * n] + h @ r[: 2 * n].t() + rb[: 2 * n]
            z, reset = f(self.bounded(sums[:, :n])), f(self.bounded(sums[:, n:]))
            if self.reset_late:
                last = reset * (h @ r[2 * n :].t() + rb[2 * n :])
            else:
                last = (reset * h) @ r[2 * n :].t() + rb[2 * n :]
            return [(1 - z) * g(self.bounded(projected[:, 2 * n :] + last)) + z * h]
        c = states[1]
        i, o, k, new = dg.split(projected + h @ r.t() + rb, n, 1)
        if p is not None:
            i, k = i + p[:n] * c, k + p[2 * n :] * c
        c = f(self.bounded(k)) * c + f(self.bounded(i)) * g(self.bounded(new))
        o = f(self.bounded(o + p[n : 2 * n] * c if p is not None else o))
        return [o * self.functions[2](c), c]


def _functions(kind: str, names: Sequence[str], alphas: Any, betas: Any) -> tuple[list[Callable[[Any], Any]], bool]:
    """The activations of one direction, and whether they are the usual ones."""
    alpha, beta = iter(alphas or ()), iter(betas or ())
    made: list[Callable[[Any], Any]] = []
    for name in names:
        key = name.lower()
        a = next(alpha, _ALPHA[key]) if key in _ALPHA else 0.0
        b = next(beta, _BETA.get(key, 0.0)) if key in _BETA or key == "affine" else 0.0
        made.append(functools.partial(_ACTIVATIONS[key], a=a, b=b))
    return made, tuple(name.lower() for name in names) == _DEFAULTS[kind]


def _run(
    kind: str, x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, lengths: Tensor | None, states: list[Any], p: Tensor | None,
    *, names: Any, alphas: Any, betas: Any, clip: float | None, direction: str, hidden_size: int | None, layout: int,
    late: bool,
) -> Any:  # fmt: skip
    hidden = r.shape[-1] if hidden_size is None else hidden_size
    x = x.transpose(0, 1) if layout else x
    count = 2 if direction == "bidirectional" else 1
    names = names or list(_DEFAULTS[kind]) * count
    size = len(names) // count
    live = None if lengths is None else dg.arange(x.shape[0]).reshape(-1, 1) < lengths.reshape(1, -1)
    outputs, lasts = [], []
    for d in range(count):
        functions, usual = _functions(
            kind, names[d * size : (d + 1) * size], (alphas or [])[d * size :], (betas or [])[d * size :]
        )
        first = [
            dg.zeros(x.shape[1], hidden, dtype=x.dtype) if s is None else (s[:, d] if layout else s[d]) for s in states
        ]  # fmt: skip
        layer = Layer(kind, hidden, functions, clip, late)
        backwards = direction == "reverse" or d == 1
        biases = (None, None) if b is None else (b[d][: b.shape[1] // 2], b[d][b.shape[1] // 2 :])
        if usual and clip is None and p is None and (kind != "GRU" or late):
            output, last = _whole(kind, x, w[d], r[d], biases, live, first, backwards)
        else:
            output, last = _steps(layer, x, w[d], r[d], biases, live, first, None if p is None else p[d], backwards)
        outputs.append(output)
        lasts.append(last)
    made = dg.stack(outputs, 1)
    ends = [dg.stack([last[i] for last in lasts], 1 if layout else 0) for i in range(len(states))]
    return (made.permute(2, 0, 1, 3) if layout else made, *ends)


def _whole(kind: str, x: Any, w: Any, r: Any, biases: Any, live: Any, first: list[Any], backwards: bool) -> Any:
    state = (first[0], first[1] if len(first) > 1 else None)
    found = recurrent_layer(_MODES[kind], x, *state, w, r, *biases, None, live, backwards, False)
    output = found[0] if live is None else found[0] * live.unsqueeze(-1).to(x.dtype)
    return output, list(found[1 : 1 + len(first)])


def _steps(layer: Layer, x: Any, w: Any, r: Any, biases: Any, live: Any, states: list[Any], p: Any, backwards: bool) -> Any:
    projected = x @ w.t() + (0.0 if biases[0] is None else biases[0])
    rb = dg.zeros(r.shape[0], dtype=x.dtype) if biases[1] is None else biases[1]
    length = int(x.shape[0])
    rows: list[Any] = [None] * length
    for t in range(length)[:: -1 if backwards else 1]:
        new = layer.step(projected[t], states, r, rb, p)
        if live is not None:
            mask = live[t].unsqueeze(-1)
            rows[t] = dg.where(mask, new[0], dg.zeros_like(new[0]))
            states = [dg.where(mask, a, b) for a, b in zip(new, states)]
        else:
            rows[t], states = new[0], new
    return dg.stack(rows), states


@operator("LSTM", since=7)
def lstm(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None, h: Tensor | None = None,
    c: Tensor | None = None, p: Tensor | None = None, *, activation_alpha: Any = None, activation_beta: Any = None,
    activations: Any = None, clip: float | None = None, direction: str = "forward", hidden_size: int | None = None,
    input_forget: int = 0, layout: int = 0,
) -> Any:  # fmt: skip
    if input_forget:
        raise NotImplementedError("input_forget is not known")
    return _run("LSTM", x, w, r, b, lengths, [h, c], p, names=activations, alphas=activation_alpha, betas=activation_beta,
                clip=clip, direction=direction, hidden_size=hidden_size, layout=layout, late=False)  # fmt: skip


@operator("GRU", since=7)
def gru(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None, h: Tensor | None = None, *,
    activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, layout: int = 0, linear_before_reset: int = 0,
) -> Any:  # fmt: skip
    late = bool(linear_before_reset)
    return _run("GRU", x, w, r, b, lengths, [h], None, names=activations, alphas=activation_alpha, betas=activation_beta,
                clip=clip, direction=direction, hidden_size=hidden_size, layout=layout, late=late)  # fmt: skip


@operator("RNN", since=7)
def rnn(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None, h: Tensor | None = None, *,
    activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, layout: int = 0,
) -> Any:  # fmt: skip
    return _run("RNN", x, w, r, b, lengths, [h], None, names=activations, alphas=activation_alpha, betas=activation_beta,
                clip=clip, direction=direction, hidden_size=hidden_size, layout=layout, late=False)  # fmt: skip
