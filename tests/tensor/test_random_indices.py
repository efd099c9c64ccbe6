"""Random indices (integers, slices, None, ellipsis, arrays and masks mixed) read and written as PyTorch does, with gradients."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg


def item(choose: random.Random, draws: np.random.Generator, size: int) -> Any:
    """An index of one dimension."""
    kind = choose.random()
    if kind < 0.2:
        return choose.randrange(-size, size)
    if kind < 0.5:
        bounds = [choose.choice([None, choose.randrange(-size - 1, size + 2)]) for _ in range(2)]
        return slice(*bounds, choose.choice([None, 1, 2, 3]))
    if kind < 0.85:
        return draws.integers(-size, size, choose.choice([(3,), (2, 1), (1,), (2, 3)]))
    return draws.random(size) > 0.5


def index(choose: random.Random, draws: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
    made: list[Any] = []
    taken = choose.randrange(len(shape) + 1)
    for d in range(taken):
        if choose.random() < 0.15:
            made.append(None)
        made.append(item(choose, draws, shape[d]))
    if choose.random() < 0.3:
        made.append(Ellipsis)
    return tuple(made)


def check(seed: int) -> None:
    choose, draws = random.Random(seed), np.random.default_rng(seed)
    shape = tuple(choose.randrange(1, 5) for _ in range(choose.randrange(1, 4)))
    data = draws.standard_normal(shape).astype("float32")
    at = index(choose, draws, shape)
    theirs = tuple(torch.from_numpy(i) if isinstance(i, np.ndarray) else i for i in at)
    ours = tuple(dg.tensor(i) if isinstance(i, np.ndarray) else i for i in at)
    x, y = torch.tensor(data, requires_grad=True), dg.tensor(data).requires_grad_()
    try:
        part = x[theirs]
    except IndexError:  # arrays that do not broadcast
        with pytest.raises((dg.errors.BoundsError, dg.errors.ShapeError)):
            y[ours]
        return
    values = draws.standard_normal(tuple(part.shape)).astype("float32")
    (part * torch.tensor(values)).sum().backward()
    (y[ours] * dg.tensor(values)).sum().backward()
    text = f"seed {seed}: shape {shape}, index {at}"
    np.testing.assert_array_equal(y[ours].detach().numpy(), part.detach().numpy(), err_msg=text)
    np.testing.assert_allclose(y.grad.numpy(), x.grad.numpy(), rtol=1e-6, err_msg=text)
    for add in (False, True):
        a, b = torch.tensor(data), dg.tensor(data)
        if add:
            a[theirs] += torch.tensor(values)
            b[ours] += dg.tensor(values)
        else:
            a[theirs] = torch.tensor(values)
            b[ours] = dg.tensor(values)
        np.testing.assert_array_equal(b.numpy(), a.numpy(), err_msg=f"{text}, {'+=' if add else '='}")


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_random_indices(first: int) -> None:
    for seed in range(first, first + 10):
        check(seed)


@pytest.mark.long
def test_many_random_indices() -> None:
    for seed in range(1000, 3000):
        check(seed)
