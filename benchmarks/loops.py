"""Bar 1: a counter loop of 10,000 turns (one comparison, two additions on scalars), static."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1,)
TURNS = 10_000


def _tensorflow(tf: Any) -> Callable[[], object]:
    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default():
        zero = tf.constant(0), tf.constant(0.0)
        _, total = v1.while_loop(lambda i, s: i < TURNS, lambda i, s: (i + 1, s + 1.5), zero)
        session = v1.Session(graph=graph)
    return lambda: session.run(total)


def _jax(jax: Any) -> Callable[[], object]:
    @jax.jit
    def run(turns: Any) -> Any:
        return jax.lax.while_loop(lambda c: c[0] < turns, lambda c: (c[0] + 1, c[1] + 1.5), (0, 0.0))[1]

    return lambda: run(TURNS).block_until_ready()


def cases() -> Iterator[Case]:
    import duograph as dg

    @dg.static
    def count(turns: Any) -> Any:
        i, total = 0, dg.tensor(0.0)
        while i < turns:
            i = i + 1
            total = total + 1.5
        return total

    turns = dg.tensor(TURNS)
    contestants: dict[str, Callable[[], object]] = {OURS: lambda: count(turns)}
    if tf := load("tensorflow"):
        contestants["TF v1 Session"] = _tensorflow(tf)
    if jax := load("jax"):
        contestants["jax.lax.while_loop"] = _jax(jax)
    yield Case(f"bar 1: counter loop, {TURNS} turns", contestants, {"TF v1 Session": 25, "jax.lax.while_loop": 0.7})
