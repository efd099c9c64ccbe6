"""`view(dtype)`: the same bytes as elements of another dtype, against PyTorch and in static functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import duograph as dg

CASES: list[Callable[[Any], Any]] = [
    lambda L: L.tensor([1.0, -2.0]).view(L.int32),
    lambda L: L.ones(2, 4).view(L.float64),
    lambda L: L.ones(2, 4, dtype=L.float64).view(dtype=L.float32),
    lambda L: L.ones(()).view(L.int32),
    lambda L: L.arange(4).view(2, 2).view(L.int32),
    lambda L: L.arange(6, dtype=L.float32).view(2, 3).t().view(L.int32),
    lambda L: L.arange(6, dtype=L.float32).view(2, 3)[:, 1:].view(L.int16),
    lambda L: L.arange(8, dtype=L.int32).view(2, 4)[:, 2:].view(L.int64),
    lambda L: L.zeros(0, 4).view(L.int16),
    lambda L: L.ones(2, dtype=L.float16).view(L.int16),
    lambda L: L.ones(2, dtype=L.bfloat16).view(L.uint8),
    lambda L: L.tensor([True, False]).view(L.uint8),
    lambda L: L.ones(2, requires_grad=True).view(L.int32),
]


@pytest.mark.parametrize("case", CASES)
def test_as_in_torch(case: Callable[[Any], Any]) -> None:
    found, expected = case(dg), case(torch)
    assert found.dtype.name == str(expected.dtype).removeprefix("torch.") and not found.requires_grad
    assert tuple(found.stride()) == tuple(expected.stride()) and found.tolist() == expected.tolist()
    static = dg.static(lambda: case(dg))
    assert static().tolist() == static().tolist() == expected.tolist() and static().dtype is found.dtype


def test_memory_is_shared() -> None:
    x = dg.ones(2)
    bits = x.view(dg.int32)
    bits[0] = 0
    assert x.tolist() == [0, 1]
    x.zero_()
    assert bits.tolist() == [0, 0] and bits._base is x


MISFITS: list[Callable[[Any], Any]] = [
    lambda L: L.ones(2, 3).view(L.float64),
    lambda L: L.ones(()).view(L.int16),
    lambda L: L.ones(2, 3).t().view(L.int16),
    lambda L: L.ones(2, 4)[:, 1:3].view(L.float64),
]


@pytest.mark.parametrize("case", MISFITS)
def test_refused_as_in_torch(case: Callable[[Any], Any]) -> None:
    with pytest.raises(RuntimeError):
        case(torch)
    with pytest.raises(dg.errors.ShapeError, match="view: "):
        case(dg)


def test_refused() -> None:
    with pytest.raises(dg.errors.DTypeError, match=r"(?s)view: the bytes of uint8 elements are not all truth values.*x != 0"):
        dg.ones(2, dtype=dg.uint8).view(dg.bool)
    with pytest.raises(dg.errors.GradError, match=r"(?s)view: the bits of a tensor as another dtype have no gradient.*detach"):
        dg.ones(2, requires_grad=True).view(dg.float16)

    def writing(x: dg.Tensor) -> dg.Tensor:
        y = x * 1
        y.view(dg.int32).zero_()
        return y

    with pytest.raises(dg.errors.CaptureError, match="a write to a tensor with views"):
        dg.static(writing)(dg.ones(2))
