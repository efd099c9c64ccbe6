"""Bar 13: the digits MLP's training step (batch 64), steady, both modes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1,)


def make_step(library: Any) -> Callable[[], Any]:
    """The demo's step written for duograph or PyTorch alike: forward, backward, Adam; no value is read."""
    nn = library.nn
    library.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = library.optim.Adam(model.parameters(), lr=1e-3)
    loss_fn = nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def batch() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.random((64, 64), dtype=np.float32), rng.integers(0, 10, 64)


def _jax_step(jax: Any, x: Any, y: Any) -> Callable[[], object]:
    jnp = jax.numpy
    rng = np.random.default_rng(0)
    shapes = ((64, 128), (128, 64), (64, 10))
    params = [(jnp.asarray(rng.uniform(-0.1, 0.1, s), jnp.float32), jnp.zeros(s[1], jnp.float32)) for s in shapes]
    jx, jy = jnp.asarray(x), jnp.asarray(y)

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        h = x
        for index, (w, b) in enumerate(params):
            h = h @ w + b
            if index < 2:
                h = jax.nn.relu(h)
        return -jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], 1).mean()

    def step(params: Any, m: Any, v: Any, t: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        scale = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) + 1e-8), params, m, v)
        return loss, params, m, v, t

    compiled = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    state = [params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params), jnp.asarray(0.0)]

    def run() -> object:
        loss, *state[:] = compiled(*state, jx, jy)
        return loss.block_until_ready()

    return run


def cases() -> Iterator[Case]:
    import duograph as dg

    x, y = batch()
    dx, dy = dg.from_numpy(x), dg.from_numpy(y)
    static, dynamic = dg.static(make_step(dg)), make_step(dg)
    peers: dict[str, Callable[[], object]] = {}
    if torch := load("torch"):
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)
        eager, compiled = make_step(torch), torch.compile(make_step(torch))
        peers["torch eager"] = lambda: eager(tx, ty)
        peers["torch.compile"] = lambda: compiled(tx, ty)
    if jax := load("jax"):
        peers["jax.jit"] = _jax_step(jax, x, y)
    yield Case("bar 13: digits MLP step, static", {OURS: lambda: static(dx, dy), **peers}, {"torch.compile": 3, "jax.jit": 1.5})
    yield Case("bar 13: digits MLP step, dynamic", {OURS: lambda: dynamic(dx, dy), **peers}, {"torch eager": 3})
    yield Case(
        "bar 13: digits MLP step, static against our dynamic",
        {OURS: lambda: static(dx, dy), "our dynamic": lambda: dynamic(dx, dy)},
        {"our dynamic": 1.0},
    )
