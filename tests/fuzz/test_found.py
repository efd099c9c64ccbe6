"""Programs in which the fuzzer found a difference between the modes."""

from __future__ import annotations

import pytest

import duograph as dg


def write_and_assign(x, y, s, t):
    if y.min() < 5:
        s = s * 0.5
        x *= 0.5
    return x, s


def write_and_assign_in_a_loop(x, y, s, t):
    for _ in range(t):
        if y.min() > 5:
            continue
        s = s * 0.5
        x[1:] *= 0.5
    return x, s


def write_a_row(x, y, s, t):
    if y.max() < 0.91:
        row = x[-1]
        row.mul_(0.5)
        s = dg.where(s > s, s * 0.5, s)
    return x, s * 2


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", [write_and_assign, write_and_assign_in_a_loop, write_a_row])
def test_modes_agree(function, strict):
    static = dg.static(function, strict=strict)
    for value in (0.0, 9.0):
        found = []
        for run in (function, static):
            x = dg.ones(3, 2)
            results = run(x, dg.full((2,), value), dg.tensor(1.0), dg.tensor(3))
            found.append([r.tolist() for r in (*results, x)])
        assert found[0] == found[1]
    assert static.captures == 1
