"""Copies of and arithmetic on tensors that lie along another dimension than the result, of sizes around those of tiles."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg

SIZES = (1, 3, 7, 8, 15, 16, 17, 40, 130, 300)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64", "float16", "float32", "float64"])
def test_turned(dtype: str) -> None:
    random = np.random.default_rng(3)
    for rows in SIZES:
        for columns in SIZES:
            x = random.integers(0, 100, (rows, columns)).astype(dtype)
            t = dg.tensor(x)
            np.testing.assert_array_equal(t.T.contiguous().numpy(), x.T)
            np.testing.assert_array_equal(dg.flip(t, (1,)).T.contiguous().numpy(), x[:, ::-1].T)
            np.testing.assert_array_equal(dg.flip(t, (0, 1)).T.contiguous().numpy(), x[::-1, ::-1].T)


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
def test_turned_beside_straight(dtype: str) -> None:
    random = np.random.default_rng(4)
    for rows in SIZES:
        for columns in SIZES:
            x, y, z = (random.integers(0, 100, s).astype(dtype) for s in ((rows, columns), (columns, rows), (columns,)))
            found = dg.tensor(x) + dg.tensor(y).T * dg.tensor(z)
            np.testing.assert_array_equal(found.numpy(), x + y.T * z)


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32"])
@pytest.mark.parametrize("factor", [1, 2, 3, 5, 16, 20])
def test_short_columns_among_other_dimensions(dtype: str, factor: int) -> None:
    for h, w in ((1, 1), (3, 5), (2, 17), (4, 40)):
        x = np.arange(2 * 3 * factor * factor * h * w).astype(dtype).reshape(2, 3 * factor * factor, h, w)
        wide = x.reshape(2, 3, factor, factor, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(2, 3, h * factor, w * factor)
        np.testing.assert_array_equal(dg.nn.functional.pixel_shuffle(dg.tensor(x), factor).numpy(), wide)
        np.testing.assert_array_equal(dg.nn.functional.pixel_unshuffle(dg.tensor(wide), factor).numpy(), x)
