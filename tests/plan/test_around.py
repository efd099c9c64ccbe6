"""Convolutions of static graphs read images where they lie; the padded copy is not made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg

F = dg.nn.functional


def _kernels(function: Any, *args: Any) -> int:
    return len(function.explain(*args).static.kernel_list)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "kernels"),
    [
        ((14, 14), 1, 1, 1),
        ((9, 21), 1, (3, 1), 1),  # rows of windows on nothing but zeros
        ((16, 28), 2, 1, 1),
        ((15, 29), 2, 1, 2),  # the last window of a row ends on a zero, too
        ((14, 14), 1, 2, 2),  # two zeros beside each row
        ((14, 14), 1, (0, 1), 1),
        ((4, 4), 1, 1, 2),  # a product of matrices, which copies windows
    ],
)
def test_who_needs_a_padded_copy(size: Any, stride: int, padding: Any, kernels: int) -> None:
    dg.manual_seed(0)
    x, w = dg.randn(2, 40, *size), dg.randn(64, 40, 3, 3)
    static = dg.static(lambda x, w: F.conv2d(x, w, None, stride, padding), strict=True)
    assert static(x, w).equal(F.conv2d(x, w, None, stride, padding))
    assert _kernels(static, x, w) == kernels


def test_zeros_are_no_neighbours() -> None:
    """What lies beside a row in memory is another row, or nothing of the tensor's."""
    x, w = dg.full((1, 3, 20, 14), float("nan")), dg.ones(64, 3, 3, 3)
    x[:, :, 5:9] = 1.0
    made = dg.static(lambda x, w: F.conv2d(x, w, padding=1))(x, w)
    assert np.array_equal(made.numpy(), F.conv2d(x, w, padding=1).numpy(), equal_nan=True)
    assert made[0, 0, 6].tolist() == [18.0, *[27.0] * 12, 18.0]


def test_an_image_that_is_written_later_is_read_before() -> None:
    x, w = dg.randn(1, 32, 14, 14), dg.randn(64, 32, 3, 3)

    def step(x: Any, w: Any) -> Any:
        made = F.conv2d(x, w, padding=1)
        x.mul_(2.0)
        return made, F.conv2d(x, w, padding=1)

    first, second = x.clone(), x.clone()
    for one, other in zip(dg.static(step, strict=True)(first, w), step(second, w)):
        assert one.equal(other)
    assert first.equal(second)


def test_a_padded_copy_that_others_read_stays() -> None:
    x, w = dg.randn(1, 32, 14, 14), dg.randn(64, 32, 3, 3)

    def both(x: Any, w: Any) -> Any:
        padded = F.pad(x, (1, 1, 1, 1))
        return F.conv2d(padded, w), padded.cumsum(-1), padded

    for one, other in zip(dg.static(both, strict=True)(x, w), both(x, w)):
        assert one.equal(other)


def test_inside_branches_and_loops() -> None:
    x, w = dg.randn(1, 32, 14, 14), dg.randn(32, 32, 3, 3) * 0.05

    def turns(x: Any, w: Any, count: Any) -> Any:
        i = dg.tensor(0)
        while i < count:
            x = dg.relu(F.conv2d(x, w, padding=1)) if x.sum() > 0 else F.conv2d(-x, w, padding=1)
            i = i + 1
        return x

    static = dg.static(turns, strict=True)
    for count in range(4):
        assert static(x, w, dg.tensor(count)).equal(turns(x, w, dg.tensor(count)))
