"""Programs that several groups time, written for duograph or PyTorch alike, and their JAX forms."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np


def mlp(library: Any, widths: tuple[int, ...]) -> Any:
    layers: list[Any] = []
    for a, b in zip(widths, widths[1:]):
        layers += [library.nn.Linear(a, b), library.nn.ReLU()]
    return library.nn.Sequential(*layers[:-1])


def mlp_step(library: Any, widths: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    """Forward, backward and a plain gradient step."""
    library.manual_seed(0)
    model = mlp(library, widths)
    optimizer = library.optim.SGD(model.parameters(), lr=1e-3)
    loss_fn = library.nn.MSELoss()

    def step(x: Any, y: Any) -> Any:
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()  # leaves no gradient behind: memory is measured too
        return loss

    return step


def random_depth_step(library: Any) -> Callable[[Any, Any], Any]:
    """A network that draws its depth at each call."""
    library.manual_seed(0)
    first, hidden, last = library.nn.Linear(1000, 100), library.nn.Linear(100, 100), library.nn.Linear(100, 10)
    parameters = [p for layer in (first, hidden, last) for p in layer.parameters()]
    optimizer = library.optim.Adam(parameters, lr=1e-4)
    loss_fn = library.nn.MSELoss(reduction="sum")

    def step(x: Any, y: Any) -> Any:
        h = library.relu(first(x))
        for _ in range(random.randint(0, 3)):
            h = library.relu(hidden(h))
        loss = loss_fn(last(h), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def rnn_weights(size: int = 128) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scale = 1 / size**0.5
    w, u = (rng.uniform(-scale, scale, (size, size)).astype(np.float32) for _ in range(2))
    return w, u, np.zeros(size, np.float32)


def rnn_gradients(library: Any) -> Callable[[Any], Any]:
    """A vanilla RNN as a Python `for` over time, forward and backward; x is [time, batch, size]."""
    w, u, b = (library.from_numpy(a).requires_grad_() for a in rnn_weights())

    def run(x: Any) -> Any:
        h = library.zeros(x.shape[1], 128)
        for t in range(x.shape[0]):
            h = (x[t] @ w + h @ u + b).tanh()
        loss = (h * h).mean()
        loss.backward()
        gradients = w.grad, u.grad, b.grad  # all of them: what nobody reads, a static program does not compute
        w.grad = u.grad = b.grad = None
        return loss, gradients

    return run


def rnn_step(library: Any) -> Callable[[Any], Any]:
    """A training step of the same network: forward, backward and a plain gradient step."""
    parameters = [library.from_numpy(a).requires_grad_() for a in rnn_weights()]
    optimizer = library.optim.SGD(parameters, lr=1e-3)
    w, u, b = parameters

    def step(x: Any) -> Any:
        h = library.zeros(x.shape[1], 128)
        for t in range(x.shape[0]):
            h = (x[t] @ w + h @ u + b).tanh()
        loss = (h * h).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def jax_rnn(jax: Any) -> Callable[[Any], Any]:
    """The same under jax.jit with lax.scan."""
    jnp = jax.numpy
    weights = tuple(map(jnp.asarray, rnn_weights()))

    def loss_of(weights: Any, x: Any) -> Any:
        w, u, b = weights

        def cell(h: Any, row: Any) -> Any:
            h = jnp.tanh(row @ w + h @ u + b)
            return h, None

        h, _ = jax.lax.scan(cell, jnp.zeros((x.shape[1], 128), jnp.float32), x)
        return (h * h).mean()

    compiled = jax.jit(jax.value_and_grad(loss_of))

    def run(x: Any) -> Any:
        loss, gradients = compiled(weights, x)
        return loss.block_until_ready(), gradients

    return run


def jax_mlp_step(jax: Any, widths: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    jnp = jax.numpy
    rng = np.random.default_rng(0)
    pairs = list(zip(widths, widths[1:]))
    state = [[(jnp.asarray(rng.uniform(-0.05, 0.05, p), jnp.float32), jnp.zeros(p[1], jnp.float32)) for p in pairs]]

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        for i, (w, b) in enumerate(params):
            x = x @ w + b
            x = jax.nn.relu(x) if i < len(params) - 1 else x
        return ((x - y) ** 2).mean()

    @jax.jit
    def update(params: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        return loss, jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads)

    def step(x: Any, y: Any) -> Any:
        loss, state[0] = update(state[0], x, y)
        return loss.block_until_ready()

    return step
