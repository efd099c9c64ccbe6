"""Loops over ranges backward, and loops that ask how long the lists are which they make grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import duograph as dg


def backward(x: Any, n: Any) -> Any:
    for i in reversed(range(n)):
        x = x * 2 + i
    return x


def backward_from_one(x: Any, n: Any) -> Any:
    for i, j in enumerate(reversed(range(1, n))):
        x = x * 2 + i * j
    return x


def by_two(x: Any, n: Any) -> Any:
    for i in reversed(range(1, n, 2)):
        x = x * 2 + i
    return x


def down_by_two(x: Any, n: Any) -> Any:
    for i in reversed(range(n, -3, -2)):
        x = x * 2 + i
    return x


def sliced(x: Any, n: Any) -> Any:
    for i in range(n)[::-1]:
        x = x * 2 + i
    return x


def over_a_list(x: Any, n: Any) -> Any:
    items = []
    for i in range(n):
        items.append(x + i)  # noqa: PERF401
    for i in reversed(range(len(items))):
        x = x * 2 + items[i]
    return x


def until_long(x: Any, n: Any) -> Any:
    items: list[Any] = []
    while len(items) < n:
        items.append(x * len(items))
    return dg.stack(items)


def stops_when_long(x: Any, n: Any) -> Any:
    items = []
    for i in range(n):
        items.append(x * i)
        if len(items) > 3:
            break
    return dg.stack(items)


def asks_before(x: Any, n: Any) -> Any:
    items = []
    for i in range(n):
        if len(items) > 3:
            x = x + len(items)
        items.append(x * i)
    return dg.stack(items)


def two_each_turn(x: Any, n: Any) -> Any:
    items = [x]
    while len(items) < n and items[-1].sum() < 50:
        items.append(x * len(items) + items[-1])
        items.append(x + len(items))
    return dg.stack(items) * len(items)


def nested(x: Any, n: Any) -> Any:
    rows: list[Any] = []
    for _ in range(n):
        row: list[Any] = []
        for j in range(n):
            row.append(x + j * len(row) + len(rows))
            if len(row) > 2:
                break
        rows.append(dg.stack(row).sum(0))
        if len(rows) >= 4:
            break
    return dg.stack(rows)


RANGES = [backward, backward_from_one, by_two, down_by_two, sliced, over_a_list]
LENGTHS = [until_long, stops_when_long, asks_before, two_each_turn, nested]


@pytest.mark.parametrize("function", [*RANGES, *LENGTHS], ids=lambda f: f.__name__)
@pytest.mark.parametrize("number", [dg.tensor, int], ids=["tensor", "int"])
def test_one_capture_for_all_numbers(function: Callable[..., Any], number: Callable[[int], Any]) -> None:
    quick = dg.static(function, strict=True)
    for n in (3, 5, 2, 9, 12, 1):
        assert quick(dg.ones(3), number(n)).tolist() == function(dg.ones(3), n).tolist(), n
    assert quick.captures <= (1 if number is dg.tensor else 2)


@pytest.mark.parametrize("function", RANGES, ids=lambda f: f.__name__)
def test_no_turn_at_all(function: Callable[..., Any]) -> None:
    quick = dg.static(function)
    for n in (0, 3):
        assert quick(dg.ones(2), dg.tensor(n)).tolist() == function(dg.ones(2), n).tolist()


def test_numbers_that_cannot_be_negative() -> None:
    quick = dg.static(backward)
    for n in (0, 3):
        assert quick(dg.ones(2), dg.tensor(n, dtype=dg.uint8)).tolist() == backward(dg.ones(2), n).tolist()


@pytest.mark.parametrize("function", [backward, until_long, stops_when_long], ids=lambda f: f.__name__)
def test_gradients(function: Callable[..., Any]) -> None:
    quick = dg.static(function)
    for n in (2, 5, 11):
        x, y = (dg.arange(3.0).requires_grad_() for _ in "ab")
        (quick(x, dg.tensor(n)) ** 2).sum().backward()
        (function(y, n) ** 2).sum().backward()
        assert dg.allclose(x.grad, y.grad)
