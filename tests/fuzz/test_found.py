"""Programs in which the fuzzer found a difference between the modes."""

from __future__ import annotations

import pytest
from test_programs import check

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


def write_and_assign_what_another_variable_is(x, y, s, t):
    x = x * 1
    before, row = x, x[0]
    for _ in range(t):
        x.add_(1.5)
        x = x * 0.5
    return x, before, row


MODES = (write_and_assign, write_and_assign_in_a_loop, write_a_row, write_and_assign_what_another_variable_is)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", MODES)
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


# With the seeds of their arguments.
SOURCES = {
    800301: """
def f(x, y, v, s, k, n, t):
    y = y * 1.0
    a1 = y[-1]
    y *= 0.5
    items1 = []
    for i1 in range(12):
        items1.append((a1 + v * 0.5).sin() * k)
    return y, a1, dg.stack(items1).mean(0)
""",
    700375: """
def f(x, y, v, s, k, n, t):
    y = dg.cat([y[1:], y[:1]], 0)
    for i1 in range(t):
        y, x = x * 0.5, y
        for i2 in range(t):
            x = x + 1
    return x, y
""",
    61022: """
def f(x, y, v, s, k, n, t):
    def helper0(p, q):
        return (p * 0.5 - q).tanh()
    items1 = []
    items1.append((v + v * 0.5).sin() * k)
    a1 = dg.stack(items1).mean(0)
    a2 = x[:, 0]
    a3p = (x, {'b': y * 0.5})
    x, y = a3p[1]['b'], a3p[0]
    for i2 in range(t):
        c3 = 0
        while (x.max() < 0.13) and c3 < 3:
            c3 += 1
            a2 = helper0(a2, a2)
        y[0] = a1
        a1 = y[-1]
    return y, v, s, a1, a2, k * 2
""",
    920211: """
def f(x, y, v, s, k, n, t):
    x, y, v, s = x * 1.0, y * 1.0, v * 1.0, s * 1.0
    if n % 2 == 0:
        for i1 in range(n):
            y[0] = v
            y = ((y @ y.transpose(0, 1)) @ y).tanh()
    a3 = x.tanh()
    for i3 in range(t + 1):
        y = dg.where(a3 > x, a3 * 0.5, x)
    return x, y, v, s, a3, k * 2
""",
}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("seed", SOURCES)
def test_programs_agree(seed, tmp_path):
    assert check(SOURCES[seed], seed, seed % 3 == 0, tmp_path) == "ok"


def test_gradient_of_a_list_of_one_tensor_from_outside_keeps_sizes_as_symbols():
    """A warning of a fault would be an error here."""

    def f(v, t):
        items = [v]
        for _ in range(t + 8):
            items.append(v)  # noqa: PERF401
        return dg.stack(items).mean(0)

    static = dg.static(f, strict=True)
    for n in (3, 4, 5):
        found = []
        for run in (f, static):
            v = dg.arange(n).float().requires_grad_()
            found.append(dg.autograd.grad((run(v, dg.tensor(2)) * v).sum(), [v])[0].tolist())
        assert found[0] == found[1]
    assert static.captures == 2
