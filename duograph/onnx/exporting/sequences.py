"""Recurrent layers as ONNX's own: LSTM, GRU, RNN, one direction each."""

from __future__ import annotations

from duograph.ir.graph import Node

from .networks import operand
from .table import standard
from .writer import Writer

# For each mode: the operator, where ONNX's gates lie in ours (one number: in the same order), and its activation where that
# has to be said.
_LAYERS = {
    "lstm": ("LSTM", (0, 3, 1, 2), None),
    "gru": ("GRU", (1, 0, 2), None),
    "lstm_iofc": ("LSTM", (0,), None),
    "gru_zrh": ("GRU", (0,), None),
    "rnn_tanh": ("RNN", (0,), "Tanh"),
    "rnn_relu": ("RNN", (0,), "Relu"),
}


@standard("recurrent_layer")
def recurrent_layer(w: Writer, node: Node) -> list[str] | None:
    name, order, activation = _LAYERS.get(str(node.call["mode"]).lower(), ("", (), None))
    x, h, c = (operand(node, key) for key in ("x", "h", "c"))
    weights = [operand(node, key) for key in ("weight_ih", "weight_hh")]
    states = 1 if c is None else 2
    if not name or x is None or h is None or None in weights or not w.model.read.isdisjoint(node.outputs[1 + states :]):
        return None
    if any(operand(node, key) is not None for key in ("weight_hr", "live")) or x.dtype.name not in ("float32", "float16"):
        return None
    size = h.shape[1]
    if not isinstance(size, int):
        return None
    given = [w.emit("Unsqueeze", [_gates(w, w.use(v), order, size), w.numbers([0])]) for v in weights if v is not None]
    biases = [operand(node, key) for key in ("bias_ih", "bias_hh")]
    if None in biases:
        given.append("")
    else:
        rows = [_gates(w, w.use(v), order, size) for v in biases if v is not None]
        given.append(w.emit("Unsqueeze", [w.emit("Concat", rows, axis=0), w.numbers([0])]))
    first = [w.emit("Unsqueeze", [w.use(v), w.numbers([0])]) for v in (h, c) if v is not None]
    made = w.emit_several(
        name,
        [w.use(x), *given, "", *first],
        1 + states,
        hidden_size=size,
        direction="reverse" if node.call["backwards"] else None,
        linear_before_reset=1 if name == "GRU" else None,
        activations=[activation] if activation else None,
    )
    output = w.emit("Squeeze", [made[0], w.numbers([1])])
    return [output, *(w.emit("Squeeze", [state, w.numbers([0])]) for state in made[1:])]


def _gates(w: Writer, name: str, order: tuple[int, ...], size: int) -> str:
    """Rows of gates in another order."""
    if len(order) == 1:
        return name
    parts = w.emit_several("Split", [name, w.numbers([size] * len(order))], len(order), axis=0)
    return w.emit("Concat", [parts[i] for i in order], axis=0)
