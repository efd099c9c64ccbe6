"""Layers that learn the number of their inputs from the first one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import duograph as dg

LAYERS = [
    ("LazyLinear", (3,), {}, (2, 5)),
    ("LazyLinear", (3,), {"bias": False}, (5,)),
    *((f"LazyConv{n}d", (3, 2), {}, (2, 4, *[5] * n)) for n in (1, 2, 3)),
    ("LazyConv2d", (3, 2), {"bias": False}, (4, 5, 5)),
    *((f"LazyConvTranspose{n}d", (3, 2), {}, (2, 4, *[5] * n)) for n in (1, 2, 3)),
    *((f"LazyBatchNorm{n}d", (), {}, (2, 4, *[5] * n)) for n in (1, 2, 3)),
    *((f"LazyInstanceNorm{n}d", (), {"affine": n < 3}, (2, 4, *[5] * n)) for n in (1, 2, 3)),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS)
def test_as_in_torch(name: str, args: Any, kwargs: Any, shape: tuple[int, ...]) -> None:
    ours, theirs = getattr(dg.nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    before = dict(ours.named_parameters())
    assert list(before) == [n for n, _ in theirs.named_parameters()] and ours.has_uninitialized_params()
    assert ours(dg.rand(shape)).shape == theirs(torch.rand(shape)).shape
    assert type(ours) is getattr(dg.nn, name.removeprefix("Lazy")) and repr(ours) == repr(theirs)
    assert {n: tuple(p.shape) for n, p in ours.state_dict().items()} == {
        n: tuple(p.shape) for n, p in theirs.state_dict().items()
    }
    assert all(p is before[n] for n, p in ours.named_parameters())


def test_training_and_dtypes() -> None:
    model = dg.nn.Sequential(dg.nn.LazyLinear(4), dg.nn.ReLU(), dg.nn.LazyLinear(1)).double()
    optimiser = dg.optim.SGD(model.parameters(), lr=0.1)
    x = dg.rand(8, 3, dtype=dg.float64)
    first = model(x).square().mean()
    first.backward()
    optimiser.step()
    assert model[0].weight.dtype is dg.float64 and model(x).square().mean().item() < first.item()
    assert dg.allclose(dg.static(model)(x), model(x))


def test_refused() -> None:
    with pytest.raises(dg.errors.CaptureError, match=r"(?s)LazyLinear gets its parameters from its first input.*call the module"):
        dg.static(dg.nn.LazyLinear(2))(dg.ones(2, 3))
    with pytest.raises(dg.errors.ShapeError, match="LazyConv2d: expected 3 or 4 dimensions"):
        dg.nn.LazyConv2d(2, 1)(dg.ones(2, 3))
