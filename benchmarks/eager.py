"""Bars 1 to 4: what one operator, one small graph and one small training step cost in dynamic mode."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1,)


def cases() -> Iterator[Case]:
    import duograph as dg

    load("paddle")  # its library and TensorFlow's clash in one process unless paddle's is loaded first
    torch = load("torch")
    yield _add(dg, torch)
    yield _recorded(dg, torch)
    yield _chain(dg, torch)
    yield _random_depth(dg, torch)


def _add(dg: Any, torch: Any) -> Case:
    a, b = dg.rand(8, 8), dg.rand(8, 8)
    contestants: dict[str, Callable[[], object]] = {OURS: lambda: a + b}
    if torch:
        ta, tb = torch.rand(8, 8), torch.rand(8, 8)
        contestants["torch eager"] = lambda: ta + tb
    return Case("bar 1: a + b, 8×8, nothing recorded", contestants, {"torch eager": 5})


def _recorded(dg: Any, torch: Any) -> Case:
    a, b = dg.rand(8, 8, requires_grad=True), dg.rand(8, 8)
    contestants: dict[str, Callable[[], object]] = {OURS: lambda: a * b}
    if torch:
        ta, tb = torch.rand(8, 8, requires_grad=True), torch.rand(8, 8)
        contestants["torch eager"] = lambda: ta * tb
    return Case("bar 2: a * b, 8×8, recorded", contestants, {"torch eager": 6})


def _chain(dg: Any, torch: Any) -> Case:
    def recorded(library: Any, x: Any, w: Any) -> Callable[[], object]:
        def run() -> object:
            y = x
            for _ in range(10):
                y = library.tanh(y * w)
            w.grad = None
            y.sum().backward()
            return w.grad

        return run

    contestants = {OURS: recorded(dg, dg.rand(8, 8), dg.rand(8, 8, requires_grad=True))}
    if torch:
        contestants["torch eager"] = recorded(torch, torch.rand(8, 8), torch.rand(8, 8, requires_grad=True))
    if tf := load("tensorflow"):
        tx, tw = tf.random.uniform((8, 8)), tf.Variable(tf.random.uniform((8, 8)))

        def tf_run() -> object:
            with tf.GradientTape() as tape:
                y = tx
                for _ in range(10):
                    y = tf.tanh(y * tw)
                total = tf.reduce_sum(y)
            return tape.gradient(total, tw)

        contestants["tensorflow eager"] = tf_run
    if paddle := load("paddle"):
        paddle.set_device("cpu")
        px, pw = paddle.rand((8, 8)), paddle.rand((8, 8))
        pw.stop_gradient = False

        def paddle_run() -> object:
            y = px
            for _ in range(10):
                y = paddle.tanh(y * pw)
            pw.clear_grad()
            y.sum().backward()
            return pw.grad

        contestants["paddle eager"] = paddle_run
    if jax := load("jax"):
        jnp = jax.numpy

        def loss(w: Any, x: Any) -> Any:
            y = x
            for _ in range(10):
                y = jnp.tanh(y * w)
            return y.sum()

        step = jax.jit(jax.grad(loss))
        jx, jw = jnp.ones((8, 8)), jnp.ones((8, 8)) * 0.5
        contestants["jax.jit"] = lambda: step(jw, jx).block_until_ready()
    asked = {"torch eager": 5, "tensorflow eager": 6, "paddle eager": 6, "jax.jit": 0.5}
    return Case("bar 3: ten times (mul, tanh), sum, backward, 8×8", contestants, asked)


def _torch_like_step(library: Any, make_optimizer: Callable[[Any], Any]) -> Callable[[], float]:
    nn = library.nn

    class DynamicNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.input_layer = nn.Linear(1000, 100)
            self.hidden_layer = nn.Linear(100, 100)
            self.output_layer = nn.Linear(100, 10)
            self.relu = nn.ReLU()
            self.draw = random.Random(0)

        def forward(self, x: Any) -> Any:
            h = self.relu(self.input_layer(x))
            for _ in range(self.draw.randint(0, 3)):
                h = self.relu(self.hidden_layer(h))
            return self.output_layer(h)

    library.manual_seed(0)
    inputs, labels = library.randn(64, 1000), library.randn(64, 10)
    model = DynamicNet()
    loss_fn = nn.MSELoss(reduction="sum")
    optimizer = make_optimizer(model.parameters())

    def step() -> float:
        loss = loss_fn(model(inputs), labels)
        value = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(value)

    return step


def _jax_step(jax: Any) -> Callable[[], float]:
    jnp = jax.numpy
    rng = np.random.default_rng(0)

    def linear(m: int, n: int) -> tuple[Any, Any]:
        return jnp.asarray(rng.uniform(-0.03, 0.03, (m, n)), jnp.float32), jnp.zeros((n,), jnp.float32)

    params = [linear(1000, 100), linear(100, 100), linear(100, 10)]
    x, y = jnp.asarray(rng.standard_normal((64, 1000)), jnp.float32), jnp.asarray(rng.standard_normal((64, 10)), jnp.float32)

    def loss_of(depth: int, params: Any) -> Any:
        h = jax.nn.relu(x @ params[0][0] + params[0][1])
        for _ in range(depth):
            h = jax.nn.relu(h @ params[1][0] + params[1][1])
        return jnp.sum((h @ params[2][0] + params[2][1] - y) ** 2)

    def make(depth: int) -> Any:
        def step(params: Any, m: Any, v: Any, t: Any) -> Any:
            loss, grads = jax.value_and_grad(lambda p: loss_of(depth, p))(params)
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
            scale = 1e-4 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) + 1e-8), params, m, v)
            return loss, params, m, v, t

        return jax.jit(step, donate_argnums=(0, 1, 2, 3))

    steps = [make(depth) for depth in range(4)]
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [params, zeros, jax.tree.map(jnp.zeros_like, params), jnp.asarray(0.0)]
    draw = random.Random(0)

    def run() -> float:
        loss, *state[:] = steps[draw.randint(0, 3)](*state)
        return float(loss)

    for _ in range(40):
        run()
    return run


def _random_depth(dg: Any, torch: Any) -> Case:
    contestants: dict[str, Callable[[], object]] = {OURS: _torch_like_step(dg, lambda p: dg.optim.Adam(p, lr=1e-4))}
    if torch:
        contestants["torch eager"] = _torch_like_step(torch, lambda p: torch.optim.Adam(p, lr=1e-4))
        contestants["torch fused Adam"] = _torch_like_step(torch, lambda p: torch.optim.Adam(p, lr=1e-4, fused=True))
    if jax := load("jax"):
        contestants["jax.jit per depth, donated"] = _jax_step(jax)
    asked = {"torch eager": 3.5, "torch fused Adam": 2.7, "best": 1.4}
    return Case("bar 4: random_depth.py's training step, dynamic", contestants, asked)
