"""Under `strict`, gradients of variables that may be one another are summed in the order of their uses, as in dynamic mode."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph.errors import CaptureWarning


def after_a_branch(x, c):
    a = x * 1.0
    y = a if c > 0 else a * 2
    return y.sin() + a.cos() * 1.3 + (y * y).tanh() * 0.7 + (a * a * a) * 0.77 + (y * 1.7).sigmoid() * 3.3


def change_places(x, c):
    a = x * 1.0
    b = x * 1.5
    k = 0
    while k < c:
        a, b = b, a
        k = k + 1
    return a.sin() * 1.1 + b.cos() * 1.3 + (a * a).tanh() * 0.7 + (b * b * b) * 0.77 + (x * 1.7).sigmoid() * 3.3 + a * b


def first_value_of_a_loop(x, c):
    a = x * 1.0
    h = a
    k = 0
    while k < c:
        h = (h * a).tanh() * 0.77 + a.sin() * 0.33 + h * h * 0.11
        k = k + 1
    return h.sin() + a.cos() * 1.3 + (h * a).tanh() * 0.7 + (a * a * a) * 0.77 + (h * 1.7).sigmoid() * 3.3


def inside_of_branches(x, c):
    a = x * 1.0
    y = a if c > 0 else a * 2
    if c > 1:
        z = y.sin() * 0.9 + a * 0.33 + (y * a).cos() * 1.3
        b = a
    else:
        z = y * 0.3 + a * 0.77 + (a * 1.9).sin() * 1.3 + y * y * 0.2
        b = y
    return z * 1.1 + y.sin() * 0.3 + a.cos() * 0.7 + (y * y * 0.7) + b * a * 0.33


def inside_of_a_loop(x, c):
    a = x * 1.0
    y = a if c > 0 else a * 2
    h = y
    for i in range(c + 2):
        if y.sum() > i:
            h = h * 0.3 + a.sin() * 0.7 + y * 0.11 + (a * y).cos() * 1.7
        else:
            h = a
        y = y if h.sum() > 1.0 else a
    return h * 1.1 + y.sin() * 0.3 + a.cos() * 0.7 + (y * y * 0.7) + h * a * 0.33


def inside_of_loops_in_loops(x, c):
    a = x * 1.0
    h = g = a
    for _i in range(c + 2):
        g = h
        for _j in range(c + 1):
            g = g * 0.3 + a.sin() * 0.7 + h * 0.11 + (a * g).cos() * 1.7
            h = a if g.sum() > 0.1 else h
        h = h * 0.9 + g * 0.2
    return h * 1.1 + g.sin() * 0.3 + a.cos() * 0.7 + (g * g * 0.7) + h * a * 0.33


def first_value_of_loops_in_loops(x, c):
    a = x * 1.0
    h = a
    k = 0
    while k < c:
        j = 0
        g = h
        while j < k:
            g = (g * a).tanh() * 0.77 + a.sin() * 0.33 + h * g * 0.11
            j = j + 1
        h = g if g.sum() > -1 else a
        k = k + 1
    return h.sin() + a.cos() * 1.3 + (h * a).tanh() * 0.7 + (a * a * a) * 0.77 + (h * 1.7).sigmoid() * 3.3


def change_places_in_loops_in_loops(x, c):
    a = x * 1.0
    y = a * 2
    z = a * 0.1
    for _i in range(c + 2):
        for _j in range(c + 1):
            z = z + y * 0.3 + a * 0.11 + y * a * 0.3
            y, a = a, y
    return z * 1.1 + y.sin() * 0.3 + a.cos() * 0.7 + y * y * 0.7


def of_one_side_or_from_before(x, c):
    a = x * 1.0
    y = a * 2
    if c > 0:
        u = a * 1.3
        y = a
        u = u + a.sin()
    else:
        u = y
    return u + y.sin() + a.cos() * 1.3 + (y * y).tanh() * 0.7 + (a * a * a) * 0.77 + u * y * 0.3


def written_in_turn(x, c):
    a = x * 1.0
    y = a if c > 0 else a * 2
    y *= 1.1
    z = y * 0.3 + a * 1.3
    a += 0.5
    return z + (y * y).tanh() * 0.7 + (a * a * a) * 0.77 + (y * 1.7).sigmoid() * 3.3


def row_or_another(x, c):
    a = x * 1.0
    r = a[0]
    z = a[1] * 2
    y = r if c > 0 else z
    return y.sin() + r.cos() * 1.3 + (y * y).tanh() * 0.7 + (r * r * r) * 0.77 + (y * 1.7).sigmoid() * 3.3 + a[0] * 1.1


def one_from_the_second_turn_on(x, c):
    h = x * 0.0
    z = g = x * 0.1
    for _i in range(c + 2):
        z = z * 0.9 + (g * h).sin() + g.cos() * h + (h * 1.3).sin() * g
        h = (h * 0.7 + x * 1.1).tanh()
        g = h
    return z


def first_value_for_several_turns(x, c):
    a = x * 1.0
    h = a
    for i in range(c + 3):
        z = (h * a).sin() + a.cos() * 1.3 + h * h * a * 0.1 + h.sin() * 0.3
        h = h if i < 2 else z.tanh() + h * 0.1 + a * 0.3
    return h * 1.1


def perhaps_the_one_before(x, c):
    a = x * 1.0
    g = a * 0.3
    h = a
    z = g
    for i in range(c + 3):
        z = z * 0.9 + (g * h).sin() + g.cos() * h + (h * 1.3).sin() * g
        g = h if i % 2 == 0 else g
        h = h if z.sum() > 0 else (h * 0.7 + x * 1.1).tanh()
    return z


FUNCTIONS = (
    one_from_the_second_turn_on,
    first_value_for_several_turns,
    perhaps_the_one_before,
    row_or_another,
    after_a_branch,
    change_places,
    first_value_of_a_loop,
    inside_of_branches,
    inside_of_a_loop,
    inside_of_loops_in_loops,
    first_value_of_loops_in_loops,
    change_places_in_loops_in_loops,
    of_one_side_or_from_before,
    written_in_turn,
)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bits_are_those_of_dynamic_mode(function):
    def gradient(x, c):
        return dg.autograd.grad(function(x, c).sum(), [x])[0]

    generator = np.random.default_rng(0)
    static, inside = dg.static(function, strict=True), dg.static(gradient, strict=True)
    for c in (3, -1, 0, 1):
        data, steps = generator.uniform(-2, 2, (9, 7)).astype(np.float32), dg.tensor(c)
        runs = (gradient, lambda x, c: dg.autograd.grad(static(x, c).sum(), [x])[0], inside)
        found = [run(dg.from_numpy(data.copy()).requires_grad_(), steps).tolist() for run in runs]
        assert found[0] == found[1] == found[2]
    assert static.captures == inside.captures == 1


def view_written_and_used_later(x):
    x = x * 1.0
    v = x[0]
    v += 1
    y, z = x.sin() * 0.7, (x * x).cos()
    return y + z * 1.3 + v * 3.3 + v.cos(), v


def view_behind_its_base(x):
    x = x * 1.0
    v = x[0]
    x[1] = v
    return x, v


def view_of_what_may_be_written_used_before_and_after(x):
    x = x * 1.0
    v = x[0]
    early = v * 3.3
    y = x if x.sum() > 0 else x * 1.0
    y[1] = early
    return x.cos() + early, v.sin() + v * 0.7, v, y


VIEWS = (view_written_and_used_later, view_behind_its_base, view_of_what_may_be_written_used_before_and_after)


@pytest.mark.parametrize("function", VIEWS)
def test_views_take_their_place_on_the_tape_when_they_do_in_dynamic_mode(function):
    def gradient(x, f=function):
        return dg.autograd.grad(sum((t * t.sin()).sum() for t in f(x)), [x])[0]

    static, inside = dg.static(function, strict=True), dg.static(gradient, strict=True)
    generator = np.random.default_rng(0)
    for _ in range(9):
        data = generator.uniform(-3, 3, (2, 8)).astype(np.float32)
        runs = (gradient, lambda x: gradient(x, static), inside)
        found = [run(dg.from_numpy(data.copy()).requires_grad_()).tolist() for run in runs]
        assert found[0] == found[1] == found[2]


def test_a_gradient_that_no_use_gives_is_none():
    weight = dg.nn.Parameter(dg.ones(3))
    other = dg.nn.Parameter(dg.ones(3) * 2)

    def step(c):
        w = weight if c > 0 else other * 1.0
        loss = (w * w).sum() + (w.sin() * other).sum() if c > 5 else (w * w.cos()).sum()
        loss.backward()
        return loss

    static = dg.static(step, strict=True)
    for c in (1, -1, 9, -1, 1):
        found = []
        for run in (step, static):
            weight.grad = other.grad = None
            run(dg.tensor(c))
            found.append([None if p.grad is None else p.grad.tolist() for p in (weight, other)])
        assert found[0] == found[1]


def second_order(function):
    def second(x, c):
        grad = dg.autograd.grad((function(x, c) * x.cos()).sum(), [x], create_graph=True)[0]
        return dg.autograd.grad((grad * grad.sin()).sum(), [x])[0]

    return second


def test_a_second_order_gradient_that_loses_the_order_says_so():
    static = dg.static(second_order(after_a_branch), strict=True)
    with pytest.warns(CaptureWarning, match="a gradient of a gradient goes through a branch or loop"):
        static(dg.ones(3, requires_grad=True), dg.tensor(1))


@pytest.mark.parametrize("function", (inside_of_a_loop, inside_of_loops_in_loops))
def test_second_order_gradients_that_only_some_turns_give(function):
    second = second_order(function)
    static = dg.static(second)
    data = np.random.default_rng(0).uniform(-2, 2, (3, 4))
    for c in (3, -1, 0, 1):
        x = dg.from_numpy(data.copy()).requires_grad_()
        np.testing.assert_allclose(static(x, dg.tensor(c)).numpy(), second(x, dg.tensor(c)).numpy(), 1e-9)
