"""Bar 2: a vanilla RNN written as a Python `for` over time (batch 16, input and hidden 128, 100 steps), forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case
from benchmarks.peers import load
from benchmarks.works import jax_rnn, rnn_gradients, rnn_weights

THREADS = (1,)


def _tensorflow(tf: Any, x: Any) -> Callable[[], object]:
    w, u, b = map(tf.Variable, rnn_weights())

    @tf.function
    def run(x: Any) -> Any:
        with tf.GradientTape() as tape:
            h = tf.zeros((16, 128))
            for t in tf.range(100):
                h = tf.tanh(x[t] @ w + h @ u + b)
            loss = tf.reduce_mean(h * h)
        return loss, tape.gradient(loss, (w, u, b))

    given = tf.constant(x)
    return lambda: run(given)[0].numpy()


def cases() -> Iterator[Case]:
    import duograph as dg

    x = np.random.default_rng(1).standard_normal((100, 16, 128)).astype(np.float32)
    given = dg.from_numpy(x)
    dynamic, static = rnn_gradients(dg), dg.static(rnn_gradients(dg))
    peers: dict[str, Callable[[], object]] = {}
    if torch := load("torch"):
        eager, tx = rnn_gradients(torch), torch.from_numpy(x)
        yield Case("bar 2: RNN, dynamic", {OURS: lambda: dynamic(given), "torch's loop": lambda: eager(tx)}, {"torch's loop": 2})
    if jax := load("jax"):
        scan, jx = jax_rnn(jax), jax.numpy.asarray(x)
        peers["jax.lax.scan"] = lambda: scan(jx)
    if tf := load("tensorflow"):
        peers["TF while loop"] = _tensorflow(tf, x)
    peers["our dynamic"] = lambda: dynamic(given)
    asked = {"best": 1.25} if len(peers) > 1 else {}
    yield Case("bar 2: RNN, static", {OURS: lambda: static(given), **peers}, asked, ("jax.lax.scan", "TF while loop"))
