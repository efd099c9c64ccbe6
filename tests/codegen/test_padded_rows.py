"""Rows of padded copies: short ones by masks that are parts of one word, long ones in pieces."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg

WIDTHS = (1, 2, 13, 16, 17, 31, 33, 47, 58, 60, 61, 62, 63, 64, 65, 80, 131)


@pytest.mark.parametrize("low, high", [(1, 1), (0, 3), (5, 0), (2, -1), (-2, 17), (-1, -1), (66, 2)])
def test_rows_of_any_width(low: int, high: int) -> None:
    padded = dg.static(lambda x: dg.nn.functional.pad(x, (low, high, 1, 0)) * 2)
    for width in WIDTHS:
        if width + min(low, 0) + min(high, 0) < 0:
            continue
        x = np.arange(1, 5 * width + 1, dtype="float32").reshape(5, width)
        ends = [(1, 0), (max(low, 0), max(high, 0))]
        kept = x[:, max(-low, 0) : width - max(-high, 0)]
        assert np.array_equal(padded(dg.from_numpy(x)).numpy(), 2 * np.pad(kept, ends)), width


def test_a_row_that_two_masks_cut() -> None:
    def both(x: dg.Tensor, y: dg.Tensor) -> dg.Tensor:
        return dg.ops.zero_pad(x, (1, 4), (0, 2)) + dg.ops.zero_pad(y, (0, 1), (1, 30))

    run = dg.static(both, strict=True)
    for width in (28, 40, 56):
        x = np.random.default_rng(width).standard_normal((7, width)).astype("float32")
        y = x[:, : width + 6 - 31] + 1
        made = run(dg.from_numpy(x), dg.from_numpy(y.copy())).numpy()
        assert np.array_equal(made, np.pad(x, ((1, 0), (4, 2))) + np.pad(y, ((0, 1), (1, 30))))
