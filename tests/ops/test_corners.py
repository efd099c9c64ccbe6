"""Odd corners of operators, against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lerp_reaches_its_end(dtype: str) -> None:
    def run(m: Any) -> Any:
        start, end = m.tensor([1e20, 2.0, -7.0], dtype=getattr(m, dtype)), m.tensor([1.0, 3.0, 0.1], dtype=getattr(m, dtype))
        return [
            m.lerp(start, end, w).numpy() for w in (0.0, 0.49, 0.5, 1.0, 2.5, -1.0, m.tensor([1.0, 0.0, 0.9], dtype=start.dtype))
        ]

    for found, expected in zip(run(dg), run(torch)):
        np.testing.assert_allclose(found, expected, rtol=3e-7)
