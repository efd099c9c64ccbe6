"""Results of branches whose size is known only inside of a side, with gradients."""

from __future__ import annotations

import pytest

import duograph as dg
from duograph.errors import CaptureError


def one_side(x, c):
    y = x
    if c > 0:
        y = x[x > 0] ** 2
    return (y * y).sum() + y.shape[0]


def both_sides(x, c):
    if c > 0:
        y = x[x > 0]
    else:
        y = x[x <= 0] * 2
    return dg.cat([y, y**2]) * len(y)


def counts(x, c):
    n = 0
    if c > 0:
        n = len(dg.nonzero(x))
    elif c < -1:
        n = x[x < 0].shape[0] + 10
    return x * n


def rows(x, c):
    y = x.reshape(-1, 1) * dg.ones(2)
    if c > 0:
        y = y[x > 0]
    return y.t() @ y


def twice_as_long(x, c):
    y = x[:1]
    if c > 0:
        found = x[x > 0]
        y = dg.cat([found, found * 2, x[:1]])
    return y**2


def nested(x, c):
    if c > 0:
        y = x[x > 0]
        if c > 1:
            y = y[y > 1] ** 2
    else:
        y = x * 3
    return dg.cat([y, x]) ** 2


def in_a_loop(x, c):
    total = x.sum() * 0
    for k in range(3):
        if c > k:
            y = x[x > k]
        else:
            y = x * 2
        total = total + (y**3).sum()
    return total


def tuples(x, c):
    if c > 0:
        index = dg.nonzero(x).flatten()
        pair = (index, x[index])
    else:
        pair = (dg.arange(1), x[:1])
    return pair[1] * pair[0]


def asked_twice(x, c):
    n = len(x[x > 0])
    best = 0
    for k in range(4):
        if x.sum() * k > n:
            best = n
    return x * best


PROGRAMS = [asked_twice, one_side, both_sides, counts, rows, twice_as_long, nested, in_a_loop, tuples]
VALUES = [[1.0, -2.0, 3.0, 0.5], [2.0, 1.5, 3.0, 4.0], [-1.0, -2.0, -3.0, 0.0], [1.0, 2.0]]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", PROGRAMS)
def test_values_and_gradients_are_those_of_dynamic_mode(function, strict):
    static = dg.static(function, strict=strict)
    for values in VALUES:
        for c in (1.0, -1.0, 2.0, -2.0):
            ends = []
            for run in (function, static):
                x = dg.tensor(values).requires_grad_()
                out = run(x, dg.tensor(c))
                (first,) = dg.autograd.grad(out.sum(), x, create_graph=True, allow_unused=True, materialize_grads=True)
                second = dg.zeros(1)
                if first.requires_grad:
                    (second,) = dg.autograd.grad((first * first).sum(), x, allow_unused=True, materialize_grads=True)
                ends.append((out.tolist(), first.tolist(), second.tolist()))
            assert ends[0] == ends[1]
    assert static.captures <= 2  # the sizes of x


def test_sizes_without_a_bound_are_refused_with_the_line():
    def f(x, n):
        if n > 2:
            y = dg.ones(n)
        else:
            y = x
        return y

    with pytest.raises(CaptureError, match="y differs between the two sides") as raised:
        dg.static(f)(dg.ones(2), dg.tensor(3))
    assert "if n > 2" in str(raised.value)
