"""GPT-2 in JAX: inference, and the training step with AdamW as `language.make_step` does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BLOCKS, HEADS = 12, 12
FIRST, SECOND, TINY, DECAY = 0.9, 0.999, 1e-8, 0.01  # AdamW's

Tree = dict[str, Any]


def _logits(jax: Any, weights: Tree, ids: Any) -> Any:
    jnp = jax.numpy

    def normed(name: str, x: Any) -> Any:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        made = (x - mean) * jax.lax.rsqrt(variance + 1e-5)
        return made * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(name: str, x: Any) -> Any:
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    batch, length = ids.shape
    x = weights["wte.weight"][ids] + weights["wpe.weight"][:length]
    for number in range(BLOCKS):
        name = f"h.{number}"
        parts = jnp.split(linear(f"{name}.attn.c_attn", normed(f"{name}.ln_1", x)), 3, -1)
        query, key, value = (part.reshape(batch, length, HEADS, -1) for part in parts)
        made = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        x = x + linear(f"{name}.attn.c_proj", made.reshape(x.shape))
        inner = jax.nn.gelu(linear(f"{name}.mlp.c_fc", normed(f"{name}.ln_2", x)), approximate=True)
        x = x + linear(f"{name}.mlp.c_proj", inner)
    return normed("ln_f", x) @ weights["wte.weight"].T


def gpt2_inference(jax: Any, weights: dict[str, np.ndarray]) -> Callable[[Any], Any]:
    held = {name: jax.numpy.array(value) for name, value in weights.items()}
    compiled = jax.jit(lambda weights, ids: _logits(jax, weights, ids))
    return lambda ids: compiled(held, ids).block_until_ready()


def gpt2_step(jax: Any, weights: dict[str, np.ndarray], rate: float) -> Callable[[Any, Any], Any]:
    jnp, tree = jax.numpy, jax.tree_util

    def loss_of(weights: Tree, x: Any, y: Any) -> Any:
        logits = _logits(jax, weights, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1).mean()

    def step(weights: Tree, first: Tree, second: Tree, count: Any, x: Any, y: Any) -> tuple[Any, ...]:
        loss, slopes = jax.value_and_grad(loss_of)(weights, x, y)
        count = count + 1
        first = tree.tree_map(lambda m, g: FIRST * m + (1 - FIRST) * g, first, slopes)
        second = tree.tree_map(lambda v, g: SECOND * v + (1 - SECOND) * g * g, second, slopes)
        one, other = 1 - FIRST**count, 1 - SECOND**count

        def moved(p: Any, m: Any, v: Any) -> Any:
            return p * (1 - rate * DECAY) - rate / one * m / (jnp.sqrt(v / other) + TINY)

        return tree.tree_map(moved, weights, first, second), first, second, count, loss

    compiled = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    held = {name: jnp.array(value) for name, value in weights.items()}
    state = (held, tree.tree_map(jnp.zeros_like, held), tree.tree_map(jnp.zeros_like, held), jnp.float32(0))

    def run(x: Any, y: Any) -> Any:
        nonlocal state
        *state, loss = compiled(*state, x, y)
        return loss.block_until_ready()

    return run
