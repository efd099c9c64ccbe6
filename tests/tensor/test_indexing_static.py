"""Indexing inside static programs: the same elements as in the dynamic graph, read and written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg

INDICES: list[Any] = [
    0,
    (1, -2),
    slice(1, 3),
    (..., slice(None, None, 2)),
    (None, 1, slice(-2, None)),
    [2, 0],
    ([0, 1], slice(None), [1, 2]),
    (slice(None), np.array([[0, 1], [2, 3]])),
]


def data() -> dg.Tensor:
    return dg.arange(60, dtype=dg.float32).reshape(3, 4, 5)


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_read(index: Any) -> None:
    static = dg.static(lambda x: x[index] * 2)
    for _ in range(2):
        assert static(data()).tolist() == (data()[index] * 2).tolist()


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_write(index: Any) -> None:
    def write(x: dg.Tensor) -> dg.Tensor:
        y = x * 1
        y[index] = -1
        y[index] += 3
        return y

    static = dg.static(write)
    for _ in range(2):
        assert static(data()).tolist() == write(data()).tolist()


def test_write_into_an_argument() -> None:
    @dg.static
    def bump(x: dg.Tensor, at: dg.Tensor) -> dg.Tensor:
        x[1] += 10
        x[at] = 0
        return x.sum()

    x = dg.ones(4)
    assert bump(x, dg.tensor(3)).item() == 13 and x.tolist() == [1, 11, 1, 0]
    assert bump(x, dg.tensor(0)).item() == 22 and x.tolist() == [0, 21, 1, 0]


def test_by_tensors() -> None:
    @dg.static
    def pick(x: dg.Tensor, at: dg.Tensor, one: dg.Tensor) -> tuple[dg.Tensor, dg.Tensor]:
        return x[at], x[one, 1:]

    for rows, row in (([0, 2], 1), ([1, 1], 2)):
        many, single = pick(data(), dg.tensor(rows), dg.tensor(row))
        assert many.tolist() == data()[rows].tolist() and single.tolist() == data()[row, 1:].tolist()


def test_masked_write_and_read() -> None:
    @dg.static
    def clip(x: dg.Tensor) -> dg.Tensor:
        y = x * 1
        y[y > 30] = 30
        return y

    assert clip(data()).max().item() == 30
    select = dg.static(lambda x: x[x > 30])
    assert select(data()).tolist() == data()[data() > 30].tolist()


def test_gradients() -> None:
    def loss(x: dg.Tensor) -> dg.Tensor:
        y = x * 2
        y[0] = x[1] * x[2, 1]
        return y[[0, 0, 2]].sum() + y[:, 1:3].prod()

    x = dg.tensor([[0.5, 1.5, 1.0], [1.0, 0.5, 2.0], [1.0, 2.0, 0.5]], requires_grad=True)
    loss(x).backward()
    expected, x.grad = x.grad.tolist(), None
    dg.static(loss, strict=True)(x).backward()
    assert x.grad.tolist() == expected


def test_scalar_tensor_beside_separate_indices_is_refused() -> None:
    @dg.static
    def write(x: dg.Tensor, at: dg.Tensor) -> dg.Tensor:
        y = x * 1
        y[at, :, [0, 1]] = 0
        return y

    with pytest.raises(dg.Error, match="an integer tensor without dimensions beside other indices"):
        write(data(), dg.tensor(0))


@pytest.mark.parametrize("mode", [lambda f: f, dg.static])
def test_a_position_outside_of_one_element_is_an_error(mode: Any) -> None:
    for function in (
        lambda x, i: dg.index_select(x, 0, i),
        lambda x, i: x[i],
        lambda x, i: x[i[0]],
        lambda x, i: dg.gather(x, 0, i.reshape(-1, 1)),
        lambda x, i: x.index_put([i], dg.zeros(1, 3)),
    ):
        checked = mode(function)
        checked(dg.zeros(1, 3), dg.tensor([0]))
        with pytest.raises(dg.errors.BoundsError, match="index 2 is out of range for a dimension of size 1"):
            checked(dg.zeros(1, 3), dg.tensor([2]))
