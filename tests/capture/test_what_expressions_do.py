"""Conditional expressions, `and`, `or`, `assert`, conditions of loops and nested functions that change something on their way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import duograph as dg


def appends(x: Any) -> Any:
    items: list[Any] = []
    for i in range(3):
        items.append(x[i]) if x[i] > 0 else None
    return len(items)


def counts_in_a_comprehension(x: Any) -> Any:
    n = 0

    def double(v: Any) -> Any:
        nonlocal n
        n += 1
        return v * 2

    y = [double(v) if v > 0 else v for v in x]
    return n, dg.stack(y)


def counts_in_an_object(x: Any) -> Any:
    seen = SimpleNamespace(n=0)

    def double(v: Any) -> Any:
        seen.n += 1
        return v * 2

    for v in x:
        x = x + (double(v) if v > 0 else v)
    return seen.n, x


def stops_early(x: Any) -> Any:
    n = [0]

    def positive(v: Any) -> Any:
        n[0] += 1
        return v > 0

    both = positive(x[0]) and positive(x[1]) and positive(x[2])
    assert positive(x[0]) or positive(x[1]) or n[0] > 0
    return n[0], x * 2 if both else x


def condition_of_a_loop(x: Any) -> Any:
    n, i = [0], 0

    def read(v: Any) -> Any:
        n[0] += 1
        return v

    while i < 4 and read(x[i]) > 0:
        i += 1
    return n[0], i


def condition_that_writes(x: Any) -> Any:
    y, n = x.clone(), 0
    while y.mul_(0.5).abs().sum() > 0.1:
        n += 1
    return y, n


def condition_that_draws(x: Any) -> Any:
    n = 0
    while dg.rand(()) < 0.8 and n < 9:
        n += 1
    return n, dg.rand(())


def branch_in_a_nested_function(x: Any) -> Any:
    n, total = 0, x[0] * 0

    def look(v: Any) -> None:
        nonlocal n, total
        if v > 0:
            n += 1
            total = total + v
        elif v < -0.3:
            n = n - 5

    for v in x:
        look(v)
    return n, total


def loop_in_a_nested_function(x: Any) -> Any:
    h = None

    def step(v: Any) -> None:
        nonlocal h
        h = v if h is None else h * 0.5 + v
        for _ in range(3):
            if h > 1:
                h = h - 1
        while h > 0.3:
            h = h * 0.5

    for v in x:
        step(v)
    return h


def two_deep(x: Any) -> Any:
    t = x.sum() * 0

    def outer(v: Any) -> None:
        def inner(u: Any) -> None:
            nonlocal t
            t = t + u if u > 0 else t - 1

        inner(v)
        inner(-v)

    for v in x:
        outer(v)
    return t


def best_of_a_walk(x: Any) -> Any:
    best, count, i = x[0], 0, 0

    def look(v: Any) -> None:
        nonlocal best, count
        if v > best:
            best, count = v, count + 1

    while i < x.abs().sum():
        look(x[i % len(x)] * i)
        i += 1
    return best, count, i


PROGRAMS = [
    appends, counts_in_a_comprehension, counts_in_an_object, stops_early, condition_of_a_loop, condition_that_writes,
    condition_that_draws, branch_in_a_nested_function, loop_in_a_nested_function, two_deep, best_of_a_walk,
]  # fmt: skip
VALUES = ([0.1, -0.1, 0.6, 1.0], [0.2, 0.4, -0.5, 0.3], [0.3, 1.2, 2.0, -0.4], [0.5, 0.25, 0.75, 1.5, -2.0])


def plain(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        return [plain(item) for item in result]
    return result.tolist() if isinstance(result, dg.Tensor) else result


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_as_dynamic(program):
    static = dg.static(program, strict=True)
    for seed, values in enumerate(VALUES):
        dg.manual_seed(seed)
        expected = plain(program(dg.tensor(values)))
        dg.manual_seed(seed)
        assert plain(static(dg.tensor(values))) == expected, values


def test_gradients_through_a_nested_function():
    def f(x: Any) -> Any:
        total = x.sum() * 0

        def add(v: Any) -> None:
            nonlocal total
            if v > 0:
                total = total + v * v

        for v in x:
            add(v)
        return total

    static = dg.static(f, strict=True)
    for values in VALUES:
        x = dg.tensor(values, requires_grad=True)
        expected = dg.autograd.grad(f(x), x)[0]
        assert dg.autograd.grad(static(x), x)[0].equal(expected)


def test_a_condition_that_prints_does_so_once_more_than_there_are_turns(capsys):
    def f(x: Any) -> Any:
        def said(v: Any) -> Any:
            print("v", v)
            return v

        i = 0
        while said(x[i]) > 0:
            i += 1
        return i

    static = dg.static(f)
    for values in ([1.0, 2.0, -3.0], [-1.0, 2.0, -3.0]):
        wanted = f(dg.tensor(values)), capsys.readouterr().out
        assert (static(dg.tensor(values)), capsys.readouterr().out) == wanted
