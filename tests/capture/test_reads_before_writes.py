"""What is read of memory in another shape is read before the memory is written."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg


def in_a_loop(y, factor, turns):
    s = y[0, 0]
    for i in range(turns):
        s = y.reshape(-1)[1].tanh() * factor
        y = y * 0.5 + i
    return s, y


def in_place(y, factor, turns):
    s = y.reshape(-1)[1].tanh() * factor
    y.mul_(0.5)
    return s, y * turns


def several_shapes(y, factor, turns):
    s = y[0, 0]
    while turns > 0:
        s = (y.reshape(-1)[3:].reshape(-1) * factor).sum() + y.reshape(y.shape[1], y.shape[0])[1].max()
        y = y.t().reshape(y.shape[0], y.shape[1]) * 0.5
        turns = turns - 1
    return s, y


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("function", [in_a_loop, in_place, several_shapes])
def test_a_reshaped_read_sees_what_was_there_before_the_write(function, strict):
    static = dg.static(function, strict=strict)
    generator = np.random.default_rng(3)
    for rows, columns, turns in ((4, 5, 2), (3, 4, 1), (5, 2, 3), (2, 2, 3)):
        values = generator.uniform(-1, 1, (rows, columns)).astype(np.float32)
        expected = function(dg.tensor(values), 1.5, dg.tensor(turns))
        found = static(dg.tensor(values), 1.5, dg.tensor(turns))
        for a, b in zip(expected, found):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-6)
