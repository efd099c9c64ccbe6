"""Both passes of a second-order gradient inside of a static function have dynamic mode's bits under `strict`."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg


def fixed(x, y):
    for _ in dg.arange(9):
        y = (y * x).tanh()
    return x, y


def two_variables(x, y):
    for _ in dg.arange(9):
        y = (y * x).sin() + x * 0.1
        x = x * 1.1 + y * 0.25
    return x, y


def while_it_lasts(x, y):
    while (x * x).sum() < 40:
        y = (y * x).sin() + x * 0.1
        x = x * 1.5 + y * 0.25
    return x, y


def reads_outside(x, y):
    w = x * y
    for k in dg.arange(8):
        y = (y * w).tanh() * k + w.exp() * 0.1
    return y, w


def one_in_another(x, y):
    for _ in dg.arange(8):
        for _ in dg.arange(9):
            y = (y * x).sin() + x * 0.1
        x = x * 0.9 + y.tanh() * 0.25
    return x, y


def one_after_another(x, y):
    for _ in dg.arange(8):
        x = (x * y).tanh() + y
    while (y * y).sum() < 40:
        y = (y * x).sin() + y * 1.5
    return x, y


def over_rows(x, y):
    for row in dg.stack([x * 0.1, x, y, x * 2, y * x, x + y, x - y, x.sin(), y.cos()]):
        y = (y * row + x).tanh()
    return y, x


def products(x, y):
    w = x @ y.t()
    for _ in dg.arange(8):
        x = (w @ x).tanh() + y
    return x, w


def a_list(x, y):
    kept = []
    for _ in dg.arange(8):
        x = (x * y).tanh() + y
        kept.append(x * 2)
    return dg.stack(kept), x


def written_in_place(x, y):
    x = x * 1.0
    for _ in dg.arange(8):
        z = x * y
        z.sin_()
        x = z * y + x
    return x, y


def branched(x, y):
    if y.sum() > -100:
        z = (x * y).tanh() * x
        z = (z * z).sin() + z
    else:
        z = (x - y).sin() * y
    return z, z * x


def other_side(x, y):
    z = (x * y).exp()
    if y.sum() > 100:
        z = (z * y).tanh() * x
    else:
        w = z.sin() * z
        z = (x - y).sin() * w
        if w.sum() > -100:
            z = (z * w).tanh() + w
    return z, z * x


def branches_in_a_loop(x, y):
    for _ in dg.arange(9):
        if y.sum() > 0:
            y = (y * x).sin() + x * 0.1
        else:
            y = (y + x).tanh() * 1.5
        x = x * 1.1 + y * 0.25
    return x, y


def a_loop_in_a_branch(x, y):
    if y.sum() > -100:
        for _ in dg.arange(8):
            y = (y * x).sin() + x * 0.1
            x = x * 1.1 + y * 0.25
    else:
        x = x * y
    return x, (y * x).tanh()


FUNCTIONS = [
    fixed, two_variables, while_it_lasts, reads_outside, one_in_another, one_after_another, over_rows, products, a_list,
    written_in_place, branched, other_side, branches_in_a_loop, a_loop_in_a_branch,
]  # fmt: skip


def arguments():
    generator = np.random.default_rng(7)
    return [dg.from_numpy(generator.uniform(-1, 1, (3, 4)).astype(np.float32)).requires_grad_() for _ in range(2)]


def second(function):
    def run(x, y):
        u, v = function(x * 1.0, y * 1.0)
        first = dg.autograd.grad((u.sin() * u).sum() + (v * v.sigmoid()).sum(), [x, y], create_graph=True)
        loss = (first[0] * first[1]).sum() + (first[0] * first[0]).sum() + (u * v.sum()).sum()
        return (*(g.detach() for g in first), *dg.autograd.grad(loss, [x, y]))

    return run


@pytest.mark.parametrize("function", FUNCTIONS)
def test_second_order(function):
    run = second(function)
    static = dg.static(run, strict=True)
    for _ in range(2):
        assert [g.tolist() for g in static(*arguments())] == [g.tolist() for g in run(*arguments())]


@pytest.mark.parametrize("function", [fixed, while_it_lasts, one_in_another, branches_in_a_loop, a_loop_in_a_branch])
def test_forward_over_reverse(function):
    def run(x, y):
        def loss(a, b):
            u, v = function(a, b)
            return (u.sin() * v).sum()

        return dg.func.jacfwd(dg.func.grad(loss))(x, y)

    x, y = (t.detach()[0, :2] for t in arguments())
    expected = run(x, y)
    assert dg.allclose(dg.static(run, strict=True)(x, y), expected, rtol=1e-4, atol=1e-5)
