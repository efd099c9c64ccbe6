"""`match` on tensors and on numbers that only the run knows: the case is chosen by each run."""

from __future__ import annotations

from typing import NamedTuple

import pytest

import duograph as dg
from duograph.errors import CaptureError


class Limits:
    LOW = 3.0


class Pair(NamedTuple):
    first: float
    second: float


def literals(x):
    match x.sum():
        case 7:
            return x * 2
        case 3 | 4:
            return x * 3
        case _:
            return -x


def numbers(x):
    match x.sum().item():
        case 7.0:
            y = x * 2
        case Limits.LOW:
            y = x * 3
        case n if n > 100:
            y = x * n
        case float() as z:
            y = x - z
        case _:
            y = -x
    return y


def tuples(x):
    match (x[0].item(), x[1].item()):
        case (1.0, y):
            return x * y
        case (y, 2.0) if y > 4:
            return x - y
        case [float(a), b] if a > b:
            return x * a * b
    return x


def truths(x):
    match (x.sum() > 5).item():
        case True:
            return x
        case False:
            return -x
        case _:
            return x * 0


def bound_all_the_same(x):
    match x.sum().item():
        case n if n < 5:
            return x
        case _:
            return x * n


def in_a_loop(x):
    turn = 0
    while x.sum() > 1:
        match turn % 3:
            case 0:
                x = x * 0.5
            case 1:
                x = x - 0.25
                turn += 1
                continue
            case _:
                if x[0] < 0:
                    break
                x = x * 0.75
        turn += 1
    return x


def nested(x):
    match x[0].item():
        case 1:
            match x[1].item():
                case 2:
                    return x * 12
        case _:
            match x[1].item():
                case 2:
                    return x * 2
    return x


def python_decides(x):
    found = []
    for value in (1, "a", None, True, (1, 2), Pair(1.0, 2.0), [3], {"k": 1}, 2.5, b"x", range(2)):
        match value:
            case True:
                found.append(1)
            case None:
                found.append(2)
            case int(n):
                found.append(n)
            case str() | bytes():
                found.append(4)
            case Pair():
                found.append(5)
            case (a, b):
                found.append(a + b)
            case [a]:
                found.append(a)
            case _:
                found.append(8)
    match {"k": 1, "l": x}:  # left to Python
        case {"k": 1, **rest}:
            found.append(len(rest))
    match [1, 2, 3]:
        case [head, *tail]:
            found.append(head + len(tail))
    return x * dg.tensor([float(n) for n in found]).sum()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", [literals, numbers, tuples, truths, bound_all_the_same, in_a_loop, nested, python_decides])
def test_both_modes_take_the_same_case(function, strict):
    static = dg.static(function, strict=strict)
    for values in ([1.0, 2.0, 4.0], [1.0, 2.0, 0.0], [5.0, 2.0, 3.0], [1.0, 500.0, 0.0], [2.0, 1.0, 1.0], [-1.0, -3.0, 0.0]):
        ends = []
        for run in (function, static):
            x = dg.tensor(values).requires_grad_()
            out = run(x)
            (gradient,) = dg.autograd.grad(out.sum(), x)
            ends.append((out.tolist(), gradient.tolist()))
        assert ends[0] == ends[1]
    assert static.captures == 1


def test_a_name_that_only_one_case_binds_is_refused_with_the_line():
    def f(x):
        match x[0].item(), x[1].item():
            case 1.0, y:
                x = x * 2
            case _:
                pass
        return x * y

    with pytest.raises(CaptureError, match="y is assigned on one side of a branch only") as raised:
        dg.static(f)(dg.tensor([1.0, 2.0]))
    assert "case 1.0, y" in str(raised.value)
