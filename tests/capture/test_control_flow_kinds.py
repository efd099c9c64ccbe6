"""Kinds of Python control flow over tensors, each as a small program: dynamic and static agree, with one capture."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest

import duograph as dg
from duograph import nn

POSITIVE = [(dg.ones(4) * v,) for v in (0.5, 3.0)]
ALL = [*POSITIVE, (dg.ones(4) * -2.0,)]
CASES = []


def case(*calls):
    """Registers a program with its calls."""

    def register(function):
        CASES.append(pytest.param(function, calls or ALL, id=function.__name__))
        return function

    return register


def check(expected, found):
    if isinstance(expected, dg.Tensor):
        assert isinstance(found, dg.Tensor) and expected.dtype is found.dtype and expected.shape == found.shape
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-5)
    elif isinstance(expected, (tuple, list)):
        assert type(expected) is type(found) and len(expected) == len(found)
        for a, b in zip(expected, found):
            check(a, b)
    elif isinstance(expected, dict):
        assert list(expected) == list(found)
        check(list(expected.values()), list(found.values()))
    else:
        assert type(expected) is type(found) and expected == pytest.approx(found)


@case((dg.tensor([1.0, 5.0, 2.0, 3.0]),), (dg.tensor([7.0, 5.0, 2.0, 9.0]),))
def largest_by_hand(x):
    best, at = x[0], 0
    for i in range(4):
        if x[i] > best:
            best = x[i]
            at = i
    return best, at


@case((dg.tensor(10),), (dg.tensor(0),))
def fibonacci(n):
    a, b = dg.tensor(0), dg.tensor(1)
    while n > 0:
        a, b = b, a + b
        n = n - 1
    return a


@case()
def nested_functions_and_lambdas(x):
    def inner(y):
        if y.sum() > 1:
            return y * 2
        return y / 2

    step = lambda t: t + 1 if t.max() > 0 else t - 1  # noqa: E731
    return inner(step(inner(x)))


@dataclasses.dataclass
class State:
    h: dg.Tensor
    turns: int


@case(*POSITIVE)
def a_dataclass_as_state(x):
    state = State(x, 0)
    while state.h.sum() < 20:
        state = State(state.h * 1.5 + 1, state.turns + 1)
    return state.h, state.turns


Pair = collections.namedtuple("Pair", "a b")


@case(*POSITIVE)
def a_namedtuple_as_state(x):
    state = Pair(x, x * 2)
    while state.a.sum() < 20:
        state = Pair(state.b + 1, state.a + 2)
    return state.a, state.b


@case()
def in_a_try(x):
    try:
        if x.sum() > 0:
            y = x + 1
        else:
            y = x - 1
    finally:
        z = 2
    return y * z


@case()
def a_short_loop_with_break_and_else(x):
    for _ in range(3):
        if x.sum() > 5:
            break
        x = x + 2
    else:
        x = x * 10
    return x


@case()
def a_long_loop_with_break_and_else(x):
    for i in range(20):
        if x.sum() > 50:
            break
        x = x + i
    else:
        x = x * 10
    return x, i


@case()
def a_list_that_both_sides_append_to(x):
    out = []
    for i in range(5):
        if x.sum() > 2:
            out.append(x * i)
        else:
            out.append(x - i)
    return dg.stack(out)


@case()
def a_triangle_of_turns(x):
    n = x.sum().abs().int()
    for i in range(n):
        for j in range(i + 1):
            x = x + i * j
    return x


@case()
def writes_into_parts(x):
    y = x.clone()
    y[0] = y[1] + 1
    if y[0] > 1:
        y[1:3] = 0
    while y.sum() < 5:
        y[2] += 1
    return y


@case()
def a_dict_from_each_side(x):
    some = (x > 0).any()
    if some and not (x > 2).all():
        return {"a": x, "b": (1, x + 1)}
    return {"a": -x, "b": (2, x - 1)}


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.gate = True

    def forward(self, x):
        if self.gate and x.mean() > 0:
            return self.linear(x)
        return x


gated = Gated()


@case()
def a_module(x):
    with dg.no_grad():
        return gated(x)


@case(*POSITIVE)
def return_is_the_only_way_out(x):
    turns = 0
    while True:
        x = x * 2 + 1
        turns += 1
        if x.sum() > 30:
            return x, turns


@case()
def a_counter_that_is_a_tensor(x):
    i = dg.zeros((), dtype=dg.int64)
    x = x.clone()
    while i < len(x):
        x[i] = x[i] * i
        i = i + 1
    return x


@case()
def a_comprehension_over_rows(x):
    return sum([a * b for a, b in zip(x, x + 1)])


@case()
def a_side_that_does_nothing(x):
    if x.sum() > 0:
        pass
    elif x.sum() < -5:
        x = x + 1
    return x


@case()
def python_and_tensors_in_one_condition(x):
    turns = 0
    while turns < 3 and x.sum() < 100:
        x = x * 3
        turns += 1
    return x, turns


@case()
def numbers_become_tensors(x):
    total = 0.0
    for value in x:
        total += value * 2
    return total


@pytest.mark.parametrize(("function", "calls"), CASES)
def test_agreement(function, calls):
    static = dg.static(function)
    for args in calls:
        check(function(*args), static(*args))
    assert static.captures == 1


class Counter:
    turns = 0


def test_what_a_long_python_loop_does_outside_happens_once_each_turn(capsys):
    seen, counter = [], Counter()

    def f(x):
        counter.turns = counter.turns + 100
        for i in range(10):
            x = x + i
            print(i, x.sum())
            seen.append(i)
            counter.turns = counter.turns + 1
        return x

    outcomes = []
    for call in (f, dg.static(f)):
        seen.clear()
        counter.turns = 0
        values = [call(dg.ones(2)).tolist() for _ in range(2)]
        outcomes.append((values, list(seen), counter.turns, capsys.readouterr().out))
    assert outcomes[0] == outcomes[1] and outcomes[0][2] == 220
