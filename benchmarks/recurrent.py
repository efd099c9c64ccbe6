"""Recurrent layers: one LSTM (batch 16, input and hidden 256, 100 steps), forward and backward.

The floor: five times 0.84 GFLOP. The state's product in each step there and in each step back, and over all 1600 rows the
input's product and those of the gradients of both weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.fused import ENVIRONMENTS as ENVIRONMENTS  # with page faults and without
from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1, 2)
STEPS, BATCH, SIZE = 100, 16, 256


def _weights() -> list[np.ndarray]:
    """weight_ih, weight_hh, bias_ih, bias_hh."""
    rng = np.random.default_rng(0)
    bound = 1 / SIZE**0.5
    shapes = [(4 * SIZE, SIZE), (4 * SIZE, SIZE), (4 * SIZE,), (4 * SIZE,)]
    return [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes]


def lstm_gradients(library: Any) -> Callable[[Any], Any]:
    """The library's own layer; the gradients of all weights."""
    layer = library.nn.LSTM(SIZE, SIZE)
    with library.no_grad():
        for parameter, given in zip(layer.parameters(), _weights()):
            parameter.copy_(library.from_numpy(given))

    def run(x: Any) -> Any:
        output, _ = layer(x)
        loss = (output * output).mean()
        loss.backward()
        gradients = [p.grad for p in layer.parameters()]
        for p in layer.parameters():
            p.grad = None
        return loss, gradients

    return run


def _jax(jax: Any, x: Any) -> Callable[[], object]:
    jnp = jax.numpy
    weights = tuple(map(jnp.asarray, _weights()))

    def loss_of(weights: Any, x: Any) -> Any:
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        projected = x @ weight_ih.T + (bias_ih + bias_hh)

        def cell(state: Any, row: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(row + h @ weight_hh.T, 4, 1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((BATCH, SIZE), jnp.float32)
        _, output = jax.lax.scan(cell, (zeros, zeros), projected)
        return (output * output).mean()

    compiled = jax.jit(jax.value_and_grad(loss_of))
    given = jnp.asarray(x)
    return lambda: jax.block_until_ready(compiled(weights, given))


def _tensorflow(tf: Any, x: Any) -> Callable[[], object]:
    weight_ih, weight_hh, bias_ih, bias_hh = _weights()
    variables = [tf.Variable(w) for w in (weight_ih.T.copy(), weight_hh.T.copy(), bias_ih + bias_hh)]

    @tf.function
    def run(x: Any) -> Any:
        with tf.GradientTape() as tape:
            w, u, b = variables
            projected = tf.reshape(tf.reshape(x, (STEPS * BATCH, SIZE)) @ w + b, (STEPS, BATCH, 4 * SIZE))
            h = c = tf.zeros((BATCH, SIZE))
            outputs = tf.TensorArray(tf.float32, STEPS)
            for t in tf.range(STEPS):
                i, f, g, o = tf.split(projected[t] + h @ u, 4, 1)
                c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
                h = tf.sigmoid(o) * tf.tanh(c)
                outputs = outputs.write(t, h)
            loss = tf.reduce_mean(outputs.stack() ** 2)
        return loss, tape.gradient(loss, variables)

    given = tf.constant(x)
    return lambda: run(given)[0].numpy()


def cases() -> Iterator[Case]:
    import duograph as dg

    x = np.random.default_rng(1).standard_normal((STEPS, BATCH, SIZE)).astype(np.float32)
    given = dg.from_numpy(x)
    dynamic, static = lstm_gradients(dg), dg.static(lstm_gradients(dg))
    peers: dict[str, Callable[[], object]] = {}
    if torch := load("torch"):
        eager, tx = lstm_gradients(torch), torch.from_numpy(x)
        peers["torch.nn.LSTM"] = lambda: eager(tx)
    if jax := load("jax"):
        peers["jax.lax.scan"] = _jax(jax, x)
    if tf := load("tensorflow"):
        peers["TF while loop"] = _tensorflow(tf, x)
    best = tuple(peers)
    asked = {"best": 1.3} if best else {}
    yield Case("bar 9: LSTM, static", {OURS: lambda: static(given), "our dynamic": lambda: dynamic(given), **peers}, asked, best)
    yield Case("LSTM, dynamic", {OURS: lambda: dynamic(given), **peers}, asked, best)
