"""Gradients that a call overwrites without a look are given up before it runs; an error leaves what dynamic mode leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import BoundsError

Step = Callable[[Any, Any], Any]
CLASSES = 5


def network() -> Any:
    pools = dg.nn.MaxPool2d(3, 2, 1), dg.nn.AdaptiveMaxPool2d(2)
    return dg.nn.Sequential(dg.nn.Conv2d(2, 4, 3), *pools, dg.nn.Flatten(), dg.nn.Linear(16, CLASSES))


def cleared_before(model: Any) -> Step:
    def step(x: Any, y: Any) -> Any:
        model.zero_grad()
        loss = dg.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss.detach()

    return step


def cleared_after_what_may_fail(model: Any) -> Step:
    def step(x: Any, y: Any) -> Any:
        loss = dg.nn.functional.cross_entropy(model(x), y)
        model.zero_grad()
        loss.backward()
        return loss.detach()

    return step


def cleared_in_the_end(model: Any) -> Step:
    def step(x: Any, y: Any) -> Any:
        loss = dg.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        model.zero_grad()
        return loss.detach()

    return step


def set_to_zeros(model: Any) -> Step:
    def step(x: Any, y: Any) -> Any:
        model.zero_grad(set_to_none=False)
        loss = dg.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss.detach()

    return step


def chosen_by_a_value(model: Any) -> Step:
    def step(x: Any, y: Any) -> Any:
        model.zero_grad()
        loss = dg.nn.functional.cross_entropy(model(x), y) if x.sum() > -1e9 else model(x).sum()
        loss.backward()
        return loss.detach()

    return step


STEPS = (cleared_before, cleared_after_what_may_fail, cleared_in_the_end, set_to_zeros, chosen_by_a_value)


def left_by_an_error(make: Callable[[Any], Step], static: bool) -> list[Any]:
    dg.manual_seed(0)
    model, x = network(), dg.rand(3, 2, 9, 9)
    step = make(model)
    call = dg.static(step, strict=True) if static else step
    for _ in range(3):
        call(x, dg.tensor([1, 0, 4]))
    with pytest.raises(BoundsError, match=f"index {CLASSES} is out of range"):
        call(x, dg.tensor([1, 0, CLASSES]))
    left = [None if p.grad is None else p.grad.tolist() for p in model.parameters()]
    call(x, dg.tensor([2, 2, 3]))
    return [left, [None if p.grad is None else p.grad.tolist() for p in model.parameters()]]


@pytest.mark.parametrize("make", [cleared_before, cleared_after_what_may_fail])
def test_an_error_leaves_what_dynamic_mode_leaves(make: Callable[[Any], Step]) -> None:
    assert left_by_an_error(make, static=True) == left_by_an_error(make, static=False)


@pytest.mark.parametrize("make", STEPS)
def test_the_step_after_an_error_is_as_ever(make: Callable[[Any], Step]) -> None:
    assert left_by_an_error(make, static=True)[1] == left_by_an_error(make, static=False)[1]


def test_two_sets_of_gradients_are_never_alive() -> None:
    weight = dg.rand(CLASSES, 1 << 18).requires_grad_()
    x, y = dg.rand(2, 1 << 18), dg.tensor([0, 3])

    @dg.static
    def step(x: Any, y: Any) -> Any:
        weight.grad = None
        loss = dg.nn.functional.cross_entropy(x @ weight.T, y)
        loss.backward()
        return loss.detach()

    for _ in range(2):
        step(x, y)
    core.reset_peak()
    before = dg.memory_stats()["allocated"]
    step(x, y)
    assert dg.memory_stats()["peak"] - before < weight.nbytes
