"""The device table: a second device in host memory whose addresses fault catches accidental crossings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import duograph as dg
from duograph import _core as core


@pytest.fixture(scope="module")
def fenced() -> int:
    return int(core.register_fenced_device("fenced-tensors"))


def test_copies_there_and_back(fenced: int) -> None:
    x = dg.tensor([[1.0, 2.0], [3.0, 4.0]])
    there = core.to_device(x, fenced)
    assert there.shape == x.shape
    assert core.to_device(core.to_device(there, fenced), 0).tolist() == x.tolist()


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t + t,
        lambda t: t * 2,
        lambda t: dg.ones(2) - t,
        lambda t: dg.ones(2).add_(t),
        lambda t: t.add_(1),
        lambda t: t.sum(),
        lambda t: dg.ones(2, 2) @ t,
        lambda t: t.item(),
        lambda t: t.tolist(),
        lambda t: t.numpy(),
        lambda t: repr(t),
        lambda t: bool(t[0]),
        lambda t: t.__dlpack__(),
        lambda t: core.to_bytes(t),
    ],
    ids=[
        "add",
        "scale",
        "mixed",
        "into",
        "inplace",
        "sum",
        "matmul",
        "item",
        "tolist",
        "numpy",
        "repr",
        "bool",
        "dlpack",
        "bytes",
    ],
)
def test_no_operator_and_no_read_touches_it(fenced: int, read: Callable[[dg.Tensor], object]) -> None:
    there = core.to_device(dg.ones(2), fenced)
    with pytest.raises(dg.errors.DeviceError):
        read(there)


def test_shapes_and_views_need_no_data(fenced: int) -> None:
    there = core.to_device(dg.ones(2, 3), fenced)
    assert there.shape == (2, 3)
    assert there.stride() == (3, 1)
    with pytest.raises(dg.errors.DeviceError, match="there is no device 99"):
        core.to_device(dg.ones(1), 99)
