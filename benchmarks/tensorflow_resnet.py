"""ResNet-18's training step in TensorFlow, channels last as its kernels want it: what `jax_resnet` does, with or without XLA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.jax_resnet import KEPT, LAYERS, MOMENTUM, RATE, parameters


def resnet18_step(tf: Any, state: Mapping[str, np.ndarray] | None = None, xla: bool = True) -> Callable[[Any, Any], Any]:
    """The step; images are [n, h, w, c]."""
    trained, kept = parameters(state)
    variables = {(name, key): tf.Variable(_laid_out(value)) for name, own in trained.items() for key, value in own.items()}
    moving = {name: tf.Variable(tf.zeros_like(value)) for name, value in variables.items()}
    statistics = {(name, key): tf.Variable(value) for name, own in kept.items() for key, value in own.items()}

    def normed(name: str, x: Any, stride: int) -> Any:
        weight = variables[name, "weight"]
        pad = weight.shape[0] // 2
        x = tf.nn.conv2d(x, weight, stride, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        made, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, variables[name, "scale"], variables[name, "shift"], epsilon=1e-5, is_training=True
        )
        for key, now in (("mean", mean), ("variance", variance)):
            statistics[name, key].assign(KEPT * statistics[name, key] + (1 - KEPT) * now)
        return made

    def network(x: Any) -> Any:
        x = tf.nn.relu(normed("stem", x, 2))
        x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")  # nothing is below 0
        for number, (_, _, stride) in enumerate(LAYERS):
            short = x if stride == 1 else normed(f"{number}.short", x, stride)
            made = tf.nn.relu(normed(f"{number}.1", x, stride))
            x = tf.nn.relu(normed(f"{number}.2", made, 1) + short)
        return tf.reduce_mean(x, (1, 2)) @ variables["last", "weight"] + variables["last", "shift"]

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, network(x)))
        for name, slope in zip(variables, tape.gradient(loss, list(variables.values()))):
            moving[name].assign(MOMENTUM * moving[name] + slope)
            variables[name].assign_sub(RATE * moving[name])
        return loss

    def run(x: Any, y: Any) -> Any:
        return step(x, y).numpy()

    return run


def _laid_out(value: np.ndarray) -> np.ndarray:
    """Kernels [h, w, c, f]; others as they are."""
    return np.ascontiguousarray(value.transpose(2, 3, 1, 0)) if value.ndim == 4 else value
