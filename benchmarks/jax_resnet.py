"""ResNet-18's training step in JAX: SGD with momentum, batch statistics kept, as `networks.make_step` does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LAYERS = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
CLASSES = 1000
RATE, MOMENTUM, KEPT = 0.01, 0.9, 0.9

Tree = dict[str, Any]


def parameters(state: Mapping[str, np.ndarray] | None = None) -> tuple[Tree, Tree]:
    """(what is trained, the statistics of normalisations), of a network with torchvision's names or drawn."""
    rng = np.random.default_rng(0)
    trained: Tree = {}
    kept: Tree = {}

    def drawn(inputs: int, outputs: int, size: int) -> np.ndarray:
        deviation = (2 / (inputs * size * size)) ** 0.5
        return rng.standard_normal((outputs, inputs, size, size), dtype=np.float32) * np.float32(deviation)

    def add(name: str, inputs: int, outputs: int, size: int, given: str) -> None:
        weight = drawn(inputs, outputs, size) if state is None else np.array(state[f"{given}.weight"])
        trained[name] = {"weight": weight, "scale": np.ones(outputs, np.float32), "shift": np.zeros(outputs, np.float32)}
        kept[name] = {"mean": np.zeros(outputs, np.float32), "variance": np.ones(outputs, np.float32)}

    add("stem", 3, 64, 7, "conv1")
    for number, (inputs, outputs, stride) in enumerate(LAYERS):
        block = f"layer{number // 2 + 1}.{number % 2}"
        add(f"{number}.1", inputs, outputs, 3, f"{block}.conv1")
        add(f"{number}.2", outputs, outputs, 3, f"{block}.conv2")
        if stride != 1:
            add(f"{number}.short", inputs, outputs, 1, f"{block}.downsample.0")
    weight = rng.standard_normal((512, CLASSES), dtype=np.float32) * np.float32(0.04)
    last = (
        (weight, np.zeros(CLASSES, np.float32)) if state is None else (np.array(state["fc.weight"]).T, np.array(state["fc.bias"]))
    )
    trained["last"] = {"weight": last[0], "shift": last[1]}
    return trained, kept


def _network(jax: Any, trained: Tree, kept: Tree, x: Any) -> tuple[Any, Tree]:
    """(logits, the new statistics)."""
    jnp, lax = jax.numpy, jax.lax
    renewed: Tree = {}

    def normed(name: str, x: Any, stride: int) -> Any:
        own = trained[name]
        pad = own["weight"].shape[-1] // 2
        dims = ("NCHW", "OIHW", "NCHW")
        x = lax.conv_general_dilated(x, own["weight"], (stride, stride), [(pad, pad)] * 2, dimension_numbers=dims)
        mean, variance = jnp.mean(x, (0, 2, 3)), jnp.var(x, (0, 2, 3))
        now = {"mean": mean, "variance": variance}
        renewed[name] = {key: KEPT * kept[name][key] + (1 - KEPT) * now[key] for key in now}
        factor = own["scale"] * lax.rsqrt(variance + 1e-5)
        return (x - mean[:, None, None]) * factor[:, None, None] + own["shift"][:, None, None]

    x = jax.nn.relu(normed("stem", x, 2))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 3), (1, 1, 2, 2), [(0, 0), (0, 0), (1, 1), (1, 1)])
    for number, (_, _, stride) in enumerate(LAYERS):
        short = x if stride == 1 else normed(f"{number}.short", x, stride)
        made = jax.nn.relu(normed(f"{number}.1", x, stride))
        x = jax.nn.relu(normed(f"{number}.2", made, 1) + short)
    return jnp.mean(x, (2, 3)) @ trained["last"]["weight"] + trained["last"]["shift"], renewed


def resnet18_step(jax: Any, state: Mapping[str, np.ndarray] | None = None) -> Callable[[Any, Any], Any]:
    jnp, tree = jax.numpy, jax.tree_util

    def loss_of(trained: Tree, kept: Tree, x: Any, y: Any) -> tuple[Any, Tree]:
        logits, renewed = _network(jax, trained, kept, x)
        rows = jnp.arange(y.shape[0])
        return -jnp.mean(jax.nn.log_softmax(logits)[rows, y]), renewed

    @jax.jit
    def step(trained: Tree, moving: Tree, kept: Tree, x: Any, y: Any) -> tuple[Any, ...]:
        (loss, renewed), slopes = jax.value_and_grad(loss_of, has_aux=True)(trained, kept, x, y)
        moving = tree.tree_map(lambda m, g: MOMENTUM * m + g, moving, slopes)
        return tree.tree_map(lambda p, m: p - RATE * m, trained, moving), moving, renewed, loss

    trained, kept = (tree.tree_map(jnp.asarray, part) for part in parameters(state))
    moving = tree.tree_map(jnp.zeros_like, trained)

    def run(x: Any, y: Any) -> Any:
        nonlocal trained, moving, kept
        trained, moving, kept, loss = step(trained, moving, kept, x, y)
        return loss.block_until_ready()

    return run
