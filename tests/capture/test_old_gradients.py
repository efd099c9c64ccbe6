"""A static step that overwrites gradients does not hold those of before beside them."""

from __future__ import annotations

from typing import Any

import pytest

import duograph as dg
from duograph import _core as core
from duograph import nn

WIDTH = 256
ONE = WIDTH * WIDTH * 4


def made(order: str) -> tuple[Any, nn.Linear]:
    dg.manual_seed(0)
    layer = nn.Linear(WIDTH, WIDTH, bias=False)
    table = dg.rand(8, WIDTH)
    optimizer = dg.optim.SGD(layer.parameters(), lr=1e-3)

    @dg.static
    def step(x: Any) -> Any:
        if order == "accumulate":
            layer(x).sum().backward()
        elif order == "zero":
            optimizer.zero_grad()
            layer(x).sum().backward()
        elif order == "late zero":
            loss = layer(x).sum()
            optimizer.zero_grad()
            loss.backward()
        elif order == "read":
            before = layer.weight.grad.sum()
            optimizer.zero_grad()
            (layer(x).sum() * before).backward()
        elif order == "table, zero":  # an index out of range ends the call while the gradient is still there
            loss = layer(x + table[dg.ones((), dtype=dg.int64)]).sum()
            optimizer.zero_grad()
            loss.backward()
        else:
            optimizer.zero_grad()
            layer(x + table[dg.ones((), dtype=dg.int64)]).sum().backward()

    layer(dg.ones(1, WIDTH)).sum().backward()
    return step, layer


def peak(step: Any, x: Any) -> int:
    before = dg.memory_stats()["allocated"]
    core.reset_peak()
    step(x)
    return int(dg.memory_stats()["peak"] - before)


@pytest.mark.parametrize(("order", "sets"), [("zero", 0), ("late zero", 0), ("read", 1), ("table, zero", 1), ("table", 0)])
def test_one_set_of_gradients_at_the_peak(order: str, sets: int) -> None:
    step, layer = made(order)
    x = dg.ones(1, WIDTH)
    step(x)
    assert sets * ONE <= peak(step, x) < (sets + 0.5) * ONE
    with dg.dynamic_mode():
        expected, other = made(order)
        for _ in range(2):
            expected(x)
    assert layer.weight.grad.tolist() == other.weight.grad.tolist()


def test_gradients_that_are_added_to_stay() -> None:
    step, layer = made("accumulate")
    x = dg.ones(1, WIDTH)
    for k in range(3):
        assert layer.weight.grad[0, 0].item() == 1 + k
        step(x)


def test_who_holds_an_old_gradient_keeps_it() -> None:
    step, layer = made("zero")
    old = layer.weight.grad
    step(dg.ones(1, WIDTH) * 2)
    assert old[0, 0].item() == 1 and layer.weight.grad[0, 0].item() == 2


def test_a_step_that_fails_leaves_the_gradients_of_before() -> None:
    layer = nn.Linear(4, 4)
    table = dg.rand(3, 4)

    @dg.static
    def step(i: Any) -> None:
        loss = layer(table[i]).sum()
        layer.zero_grad()
        loss.backward()

    step(dg.tensor(0))
    old = layer.weight.grad.tolist()
    with pytest.raises(dg.Error):
        step(dg.tensor(7))
    assert layer.weight.grad.tolist() == old


def test_a_step_that_is_not_taken_leaves_the_gradients_of_before() -> None:
    layer = nn.Linear(4, 4, bias=False)

    @dg.static
    def step(x: Any) -> None:
        if x.sum() > 0:
            layer.zero_grad()
            layer(x).sum().backward()

    layer(dg.ones(1, 4) * 5).sum().backward()
    for value, expected in ((-1.0, 5), (2.0, 2), (-1.0, 2), (3.0, 3)):
        step(dg.ones(1, 4) * value)
        assert layer.weight.grad[0, 0].item() == expected
