"""Optimiser updates against their formulas, in float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph import ops


def parameters(seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype("float32") for shape in ((3, 4), (5,), (), (70,))]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd(momentum: float, nesterov: bool) -> None:
    params, buffers = [dg.tensor(p) for p in parameters(0)], [dg.zeros(p.shape) for p in parameters(0)]
    expected, velocity = [p.astype("float64") for p in parameters(0)], [np.zeros(p.shape) for p in parameters(0)]
    for step in range(3):
        grads = parameters(step + 1)
        given = buffers if momentum else []
        pointers = [p.data_ptr() for p in params]
        ops.sgd_update_(params, [dg.tensor(g) for g in grads], given, 0.1, momentum, 0.0, 0.01, nesterov, False, step == 0)
        assert pointers == [p.data_ptr() for p in params]
        for i, grad in enumerate(grads):
            g = grad + 0.01 * expected[i]
            if momentum:
                velocity[i] = g if step == 0 else momentum * velocity[i] + g
                g = g + momentum * velocity[i] if nesterov else velocity[i]
            expected[i] = expected[i] - 0.1 * g
    for p, e in zip(params, expected):
        np.testing.assert_allclose(p.numpy(), e, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam(decoupled: bool, amsgrad: bool) -> None:
    lr, b1, b2, eps, decay = 0.05, 0.9, 0.999, 1e-8, 0.02
    params = [dg.tensor(p) for p in parameters(0)]
    state = [[dg.zeros(p.shape) for p in params] for _ in range(3)]
    steps = [dg.tensor(0.0) for _ in params]
    expected = [p.astype("float64") for p in parameters(0)]
    m, v, top = ([np.zeros(p.shape) for p in expected] for _ in range(3))
    for step in range(1, 4):
        grads = parameters(step)
        greatest = state[2] if amsgrad else []
        ops.adam_update_(
            params, [dg.tensor(g) for g in grads], state[0], state[1], steps, lr, b1, b2, eps, decay, decoupled, False, greatest
        )
        for i, grad in enumerate(grads):
            g = grad.astype("float64")
            if decoupled:
                expected[i] = expected[i] * (1 - lr * decay)
            else:
                g = g + decay * expected[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            top[i] = np.maximum(top[i], v[i])
            seen = top[i] if amsgrad else v[i]
            expected[i] = expected[i] - lr / (1 - b1**step) * m[i] / (np.sqrt(seen) / np.sqrt(1 - b2**step) + eps)
    assert [s.item() for s in steps] == [3.0] * 4
    for p, e in zip(params, expected):
        np.testing.assert_allclose(p.numpy(), e, rtol=2e-5, atol=1e-6)


def test_new_numbers_compile_nothing() -> None:
    p, g = [dg.ones(3)], [dg.ones(3)]
    ops.sgd_update_(p, g, [], 0.5, 0.0, 0.0)
    count = ops.sgd_update_.entry_count
    for lr in (0.25, 0.125):
        ops.sgd_update_(p, g, [], lr, 0.0, 0.0)
    assert ops.sgd_update_.entry_count == count
    assert p[0].tolist() == [0.125] * 3
