"""Variables and results that are, on some ways through a function, parts of an argument: of any size, captured once for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import duograph as dg


def in_a_loop(x: Any, y: Any, n: int) -> Any:
    s = x.sum()
    for _ in range(n - 1):
        if s > 100 and not x.mean() > 0:
            continue
        s = y.reshape(-1)[1]
    return s


def windows(x: Any, y: Any, n: int) -> Any:
    s = y.unfold(0, 2, 1)[0].T
    i = 0
    while x.sum() > i:
        s = y[1:3].T.T
        i = i + 2
    return s


def diagonal(x: Any, y: Any, n: int) -> Any:
    s = y.diagonal()
    if x.sum() > 100:
        s = s * 2
    return s


def parts_of_one(x: Any, y: Any, n: int) -> Any:
    z = y * 2
    s = z[0]
    if x.sum() > 1:
        s = z[1]
    return s, z[1]


def diagonals_of_one(x: Any, y: Any, n: int) -> Any:
    z = y * 2
    s, t = z.diagonal(), z.diagonal()
    if x.sum() > 1:
        s = z[1]
    return s, t, z


def written(x: Any, y: Any, n: int) -> Any:
    s = x
    for _ in range(n):
        if x.sum() > 0:
            s = y.reshape(-1)[: x.shape[0]]
    s += 10
    return y * 1


def written_in_turns(x: Any, y: Any, n: int) -> Any:
    s = (y * 3)[1:, ::2]
    i = 0
    while x.sum() > i:
        s = y[1:, ::2]
        i = i + 1
    s.mul_(3)
    return s, y + 0


def transposed(x: Any, y: Any, n: int) -> Any:
    s = (y * 3)[1:, ::2].T
    for i in range(3):
        if x.sum() > i:
            s = y[1:, ::2].T
        s.add_(1)
    return y + 0


def last_row(x: Any, y: Any, n: int) -> Any:
    s = y[0]
    for i in range(n):
        if x[i] > 0:
            s = y[i]
    return s


def row_of_a_row(x: Any, y: Any, n: int) -> Any:
    s = y[0][:2]
    i = 0
    while x.sum() > i:
        s = y.T[i][:2] if x.sum() > 100 else y.reshape(n, n, 1)[i][1:3].reshape(-1)
        i = i + 1
    return s, y[1]


def best_row(x: Any, y: Any, n: int) -> Any:
    best = y[0]
    for row in y:
        if row.sum() > best.sum():
            best = row
    return best


def rows_written(x: Any, y: Any, n: int) -> Any:
    s = x
    for i in range(n):
        if x.sum() > i:
            s = y[i]
        s.add_(1)
    s.mul_(2)
    return y + 0


def row_of_either(x: Any, y: Any, n: int) -> Any:
    z = y * 2
    s = y[0]
    for i in range(n):
        if x.sum() > i + 1:
            s = z[i] if x[i] > 0 and i < n - 1 else y[i]
    return s, z


def item_of_a_list(x: Any, y: Any, n: int) -> Any:
    rows = []
    for i in range(n):
        rows.append(y[i])  # noqa: PERF401
    return rows[1]


ROWS = [last_row, best_row, rows_written, row_of_either, row_of_a_row]
WRITES = [written, written_in_turns, transposed, rows_written]
FUNCTIONS = [in_a_loop, diagonal, parts_of_one, diagonals_of_one, written, written_in_turns, transposed, *ROWS]


def outcome(function: Callable[..., Any], k: int, view: bool, gradient: bool) -> list[Any]:
    """What a call gives, what writes to its results change, and gradients."""
    start = dg.arange(float(k * k + 2))
    start = start.requires_grad_() if gradient else start
    whole = start * 1
    y = whole[1:-1].reshape(k, k) if view else whole[1:-1].clone().reshape(k, k).clone()
    found = function(dg.ones(k), y, k)
    results = list(found) if isinstance(found, tuple) else [found]
    seen = [t.tolist() for t in (*results, y)]
    for number, result in enumerate(results, 1):
        result.add_(10**number)
        seen += [t.tolist() for t in (*results, y)]
    if gradient:
        (results[0] * y.sum()).sum().backward()
        seen.append(start.grad.tolist())
    return seen


@pytest.mark.parametrize("view", [False, True], ids=["", "view"])
@pytest.mark.parametrize("gradient", [False, True], ids=["", "gradient"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_memory_is_shared_as_in_dynamic_mode_at_any_size(function: Callable[..., Any], gradient: bool, view: bool) -> None:
    if gradient and function in WRITES:
        pytest.skip("arguments with a history are not written in static functions")
    quick = dg.static(function)
    for k in (4, 4, 5, 6, 7, 8):
        assert outcome(quick, k, view, gradient) == outcome(function, k, view, gradient), k
    assert quick.captures <= 3


def test_a_size_that_follows_from_another_captures_once() -> None:
    @dg.static
    def half(x: Any, y: Any) -> Any:
        if x.sum() > 0:
            y = x[::2] * 2
        return y + 1

    for k in (4, 5, 6, 7, 8, 9, 10):
        x = dg.ones(k)
        assert half(x, dg.zeros((k + 1) // 2)).tolist() == [3.0] * ((k + 1) // 2)
        assert half(-x, dg.zeros((k + 1) // 2)).tolist() == [1.0] * ((k + 1) // 2)
    assert half.captures <= 4


def test_items_of_a_list_are_parts_too() -> None:
    quick = dg.static(item_of_a_list)
    for k in (4, 5, 6):
        assert outcome(quick, k, False, False) == outcome(item_of_a_list, k, False, False)


def test_a_result_that_cannot_be_followed_is_refused_with_its_line() -> None:
    @dg.static
    def collect(x: Any, y: Any) -> Any:
        rows = []
        i = 0
        while x.sum() > i:
            rows.append(y[i])
            i = i + 1
        return rows[-1]

    with pytest.raises(dg.errors.CaptureError, match=r"is a part of another tensor[^$]*while x.sum\(\) > i[^$]*add .clone\(\)"):
        collect(dg.ones(3), dg.ones(4, 2))
