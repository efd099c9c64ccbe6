"""Networks so small that calls and memory count as much as arithmetic: LeNet's training step (batch 128, Adam) and that of a
perceptron of 784, 256, 128 and 10 (batch 128, Adam).

The floor: of LeNet's step 0.32 GFLOP (0.42 million multiply-adds an image, three times less the first layer's input gradient)
beside 8 MB written by convolutions and poolings and read again; of the perceptron's 0.13 GFLOP (235 thousand, the same way)
beside 6 MB of weights, gradients and Adam's two means.
All sides have the same weights and data, and must give the same losses for three steps before they are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.fused import ENVIRONMENTS as ENVIRONMENTS  # with page faults and without
from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1, 2)
BATCH = 128
RATE, FIRST, SECOND, LEAST = 1e-3, 0.9, 0.999, 1e-8  # Adam's

Arrays = list[np.ndarray]
Step = Callable[[], Any]


def lenet(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def perceptron(nn: Any) -> Any:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )  # fmt: skip


def parameters(network: Callable[[Any], Any]) -> Arrays:
    import duograph as dg

    dg.manual_seed(0)
    return [p.detach().numpy().copy() for p in network(dg.nn).parameters()]


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((BATCH, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, BATCH)


def make_step(library: Any, network: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Written for duograph or PyTorch alike."""
    model = network(library.nn)
    with library.no_grad():
        for parameter, given in zip(model.parameters(), parameters(network)):
            parameter.copy_(library.from_numpy(given))
    optimizer = library.optim.Adam(model.parameters(), lr=RATE, betas=(FIRST, SECOND), eps=LEAST)
    loss_of = library.nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _last_channels(weights: Arrays, network: Callable[[Any], Any]) -> Arrays:
    """Kernels as [height, width, channels, kernels], matrices as [inputs, outputs], the first matrix for flattened [h, w, c]."""
    turned = [w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T for w in weights]
    if network is lenet:
        turned[4] = weights[4].reshape(120, 16, 5, 5).transpose(2, 3, 1, 0).reshape(400, 120)
    return [np.ascontiguousarray(w) for w in turned]


def _jax_step(jax: Any, network: Callable[[Any], Any], x: np.ndarray, y: np.ndarray) -> Step:
    jnp, lax, tree = jax.numpy, jax.lax, jax.tree_util

    def pooled(x: Any) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def logits_of(weights: Any, x: Any) -> Any:
        if network is lenet:
            for w, b, padding in zip(weights[:4:2], weights[1:4:2], ("SAME", "VALID")):
                x = lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
                x = pooled(jax.nn.relu(x + b))
            weights = weights[4:]
        x = x.reshape(x.shape[0], -1)
        for i in range(0, len(weights), 2):
            x = (jax.nn.relu(x) if i else x) @ weights[i] + weights[i + 1]
        return x

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits_of(weights, x)), y[:, None], 1).mean()

    def step(weights: Any, m: Any, v: Any, t: Any, x: Any, y: Any) -> Any:
        loss, slopes = jax.value_and_grad(loss_of)(weights, x, y)
        t = t + 1
        m = tree.tree_map(lambda m, g: FIRST * m + (1 - FIRST) * g, m, slopes)
        v = tree.tree_map(lambda v, g: SECOND * v + (1 - SECOND) * g * g, v, slopes)
        rate, root = RATE / (1 - FIRST**t), jnp.sqrt(1 - SECOND**t)
        weights = tree.tree_map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + LEAST), weights, m, v)
        return loss, weights, m, v, t

    compiled = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    weights = [jnp.asarray(w) for w in _last_channels(parameters(network), network)]
    state = [weights, *(tree.tree_map(jnp.zeros_like, weights) for _ in range(2)), jnp.asarray(0.0)]
    given, target = jnp.asarray(x.transpose(0, 2, 3, 1)), jnp.asarray(y)

    def run() -> Any:
        loss, *state[:] = compiled(*state, given, target)
        return loss.block_until_ready()

    return run


def _tensorflow_step(tf: Any, network: Callable[[Any], Any], x: np.ndarray, y: np.ndarray, compiled: bool) -> Step:
    """`tf.function`, with XLA or without; Adam's update is the one operator that TensorFlow has for it."""
    weights = [tf.Variable(w) for w in _last_channels(parameters(network), network)]
    means = [(tf.Variable(tf.zeros_like(w)), tf.Variable(tf.zeros_like(w))) for w in weights]
    power = [tf.Variable(FIRST), tf.Variable(SECOND)]

    def logits_of(x: Any) -> Any:
        rest = weights
        if network is lenet:
            for w, b, padding in zip(weights[:4:2], weights[1:4:2], ("SAME", "VALID")):
                x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, w, 1, padding), b)), 2, 2, "VALID")
            rest = weights[4:]
        x = tf.reshape(x, (BATCH, -1))
        for i in range(0, len(rest), 2):
            x = tf.nn.bias_add((tf.nn.relu(x) if i else x) @ rest[i], rest[i + 1])
        return x

    @tf.function(jit_compile=compiled)
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits_of(x)))
        for w, (m, v), g in zip(weights, means, tape.gradient(loss, weights)):
            tf.raw_ops.ResourceApplyAdam(
                var=w.handle, m=m.handle, v=v.handle, beta1_power=power[0], beta2_power=power[1],
                lr=RATE, beta1=FIRST, beta2=SECOND, epsilon=LEAST, grad=g,
            )  # fmt: skip
        power[0].assign(power[0] * FIRST)
        power[1].assign(power[1] * SECOND)
        return loss

    given, target = tf.constant(x.transpose(0, 2, 3, 1).copy()), tf.constant(y)
    return lambda: step(given, target).numpy()


def _same(calls: dict[str, Step]) -> dict[str, Step]:
    """The steps, the first three losses of which are those of the first."""
    losses = {name: [float(np.asarray(call())) for _ in range(3)] for name, call in calls.items()}
    first = next(iter(losses.values()))
    for name, found in losses.items():
        np.testing.assert_allclose(found, first, rtol=1e-3, err_msg=name)
    return calls


def _peers(network: Callable[[Any], Any], x: np.ndarray, y: np.ndarray) -> dict[str, Step]:
    calls: dict[str, Step] = {}
    if torch := load("torch"):
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)
        eager, compiled = make_step(torch, network), torch.compile(make_step(torch, network))
        calls["torch eager"] = lambda: eager(tx, ty)
        calls["torch.compile"] = lambda: compiled(tx, ty)
    if jax := load("jax"):
        calls["jax.jit"] = _jax_step(jax, network, x, y)
    if tf := load("tensorflow"):
        calls["TF function"] = _tensorflow_step(tf, network, x, y, False)
        calls["TF function, XLA"] = _tensorflow_step(tf, network, x, y, True)
    return calls


def _cases(title: str, network: Callable[[Any], Any], asked: float) -> Iterator[Case]:
    import duograph as dg

    x, y = batch()
    given, target = dg.from_numpy(x), dg.from_numpy(y)
    static, dynamic = dg.static(make_step(dg, network)), make_step(dg, network)
    peers = _peers(network, x, y)
    best = tuple(peers)
    ours = {"static": lambda: static(given, target), "dynamic": lambda: dynamic(given, target)}
    calls = _same({**ours, **peers})
    yield Case(
        f"bar 8: {title}, batch {BATCH}, static",
        {OURS: calls["static"], "our dynamic": calls["dynamic"], **peers},
        {"best": asked} if best else {},
        best,
    )
    eager = {name: peers[name] for name in best[:1]}
    yield Case(f"{title}, batch {BATCH}, dynamic", {OURS: calls["dynamic"], **eager}, {"best": 1.0} if eager else {})


def cases() -> Iterator[Case]:
    yield from _cases("LeNet", lenet, 1.2)
    yield from _cases("perceptron 784-256-128-10", perceptron, 1.3)
