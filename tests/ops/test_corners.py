"""Odd corners of operators, against torch."""

from __future__ import annotations

import math
import time
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


PUTS = {
    "a mask": lambda m: ([m.tensor([True, False])], m.tensor(5.0)),
    "a mask of all": lambda m: ([m.tensor([[True, False, True], [False, True, True]])], m.tensor([5.0, 6, 7, 8])),
    "a mask and positions": lambda m: ([m.tensor([False, True]), m.tensor([-1])], m.tensor([4.0])),
    "positions and a mask": lambda m: ([m.tensor([1, 0]), m.tensor([True, False, True])], m.tensor([4.0, 9.0])),
}


@pytest.mark.parametrize("name", PUTS)
@pytest.mark.parametrize("accumulate", [False, True])
def test_index_put_takes_masks(name: str, accumulate: bool) -> None:
    def run(m: Any, switch: Any = lambda f: f) -> list[Any]:
        def put(x: Any, value: Any) -> Any:
            indices, _ = PUTS[name](m)
            return x.index_put(indices, value, accumulate), x.clone().index_put_(indices, value, accumulate=accumulate)

        return [y.tolist() for y in switch(put)(m.ones(2, 3), PUTS[name](m)[1])]

    assert run(dg) == run(dg, dg.static) == run(torch)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(dg.errors.ShapeError, match=r"a mask has shape \(3,\), the dimensions that it is for have \(2,\)"):
        dg.ones(2, 3).index_put_([dg.tensor([True, False, True])], dg.tensor(1.0))


def test_the_median_of_nothing_is_nan() -> None:
    for f in ("median", "nanmedian"):
        x = dg.zeros(0, 3, requires_grad=True)
        found = getattr(dg, f)(x)
        found.backward()
        assert found.isnan().item() and found.shape == () and x.grad is not None and x.grad.shape == (0, 3)
        assert getattr(torch, f)(torch.zeros(0, 3)).isnan()
        with pytest.raises(dg.errors.BoundsError, match="the median of no elements"):
            getattr(dg, f)(x, 0)


def test_index_fill_counts_from_the_end() -> None:
    assert dg.zeros(3).index_fill(0, dg.tensor([-1, 0]), 2).tolist() == [2, 0, 2]
    with pytest.raises(dg.errors.BoundsError, match="index -4 is out of range for a dimension of size 3"):
        dg.zeros(3).index_fill(0, dg.tensor([-4]), 2)


@pytest.mark.parametrize("name", ["median", "nanmedian"])
@pytest.mark.parametrize("values", [[3.0, 1.0, 2.0, 2.0], [[2.0, 2.0], [2.0, 5.0]], [float("nan"), 1.0, float("nan")], 4.0])
def test_the_median_of_all_shares_its_gradient(name: str, values: Any) -> None:
    def slope(m: Any) -> Any:
        x = m.tensor(values, requires_grad=True)
        return m.autograd.grad(getattr(m, name)(x) * 3, x)[0].numpy()

    np.testing.assert_array_equal(slope(dg), slope(torch))


def test_in() -> None:
    for m in (dg, torch):
        x = m.tensor([[1.0, 2.0], [3.0, float("nan")]])
        assert 3 in x and True in x and 5 not in x and float("nan") not in x
        assert m.tensor([3.0, 7.0]) in x and m.tensor(7.0) not in x and 1 in m.tensor(1)
    with pytest.raises(dg.errors.ArgumentError, match="in: a Tensor holds numbers, not str"):
        "a" in dg.ones(2)  # noqa: B015


def test_padding_that_cuts_has_a_gradient_of_what_is_left():
    """Sizes below 0: the gradient read beyond its memory."""
    for shape, sizes in (((7,), (2, -3)), ((3, 7), (-2, 1)), ((3, 7), (1, -2, -1, 1)), ((3, 7), (2, -2, 1, -1))):
        x = dg.ones(shape, dtype=dg.float64, requires_grad=True)
        y = dg.nn.functional.pad(x, sizes)
        weight = dg.arange(1, y.numel() + 1, dtype=dg.float64).reshape(y.shape)
        (found,) = dg.autograd.grad((y * weight).sum(), x)
        other = torch.ones(shape, dtype=torch.float64, requires_grad=True)
        (torch.nn.functional.pad(other, sizes) * torch.from_numpy(weight.numpy())).sum().backward()
        assert found.tolist() == other.grad.tolist(), sizes


def test_exp_of_masked_scores_takes_no_longer_than_of_others() -> None:
    """What underflows to 0 is not computed by multiplications that underflow, which processors are slow at."""

    def seconds(value: float) -> float:
        x = dg.full((50_000,), value)
        dg.exp(x)
        times = []
        for _ in range(7):
            start = time.thread_time()
            dg.exp(x)
            times.append(time.thread_time() - start)
        return min(times)

    assert seconds(-math.inf) < 5 * seconds(-1.0)
