"""`autograd.grad` inside branches and loops, with respect to variables of the loop and of outside: dynamic mode's bits."""

from __future__ import annotations

import pytest

import duograph as dg
from duograph.errors import CaptureError

grad = dg.autograd.grad


def descent(x):
    w = x * 1
    for _ in range(12):
        (g,) = grad(((w * w - 2) * x).square().sum(), w, create_graph=True)
        w = w - 0.01 * g
    return w


def momentum(x):
    w = x * 1
    m = dg.zeros(2)
    for _ in range(dg.tensor(5)):
        (g,) = grad(((w * w - 2) * x).square().sum(), w, create_graph=True)
        m = m * 0.5 + g
        w = w - 0.01 * m
    return w


def two_variables(x):
    w, u = x * 1, x * 2
    i = dg.tensor(0)
    while i < 3:
        g, h = grad((u * u * w).sum() * w.sin().sum(), (w, u), create_graph=True)
        w, u = w - 0.01 * g, u - 0.02 * h
        i = i + 1
    return w * u


def in_branches(x):
    w = x * 2
    if w.sum() > 0:
        (g,) = grad((w * w * x).sum(), x, create_graph=True)
    else:
        (g,) = grad((w * w * x).sum(), w, create_graph=True)
    return g * x


def of_outside(x):
    w = x * 2
    s = x * 0
    i = dg.tensor(0)
    while i < 3:
        (g,) = grad((w * w * x).sum() * i, x, create_graph=True)
        s = s + g
        i = i + 1
    return s * x


def nested(x):
    w = x * 1
    i = dg.tensor(0)
    while i < 2:
        j = dg.tensor(0)
        while j < 2:
            (g,) = grad((w * w * w).sum(), w, create_graph=True)
            w = w - 0.1 * g
            j = j + 1
        (g,) = grad((w * w * x).sum(), w, create_graph=True)
        w = w - 0.1 * g
        i = i + 1
    return w


def in_a_branch_of_a_loop(x):
    w = x * 1
    i = dg.tensor(0)
    while i < 3:
        loss = (w * w * x).sum()
        if loss > 1:
            (g,) = grad(loss, w, create_graph=True)
        else:
            g = w * 0.5
        w = w - 0.1 * g
        i = i + 1
    return w


def second_order(x):
    w = x * 1
    i = dg.tensor(0)
    while i < 3:
        (g,) = grad((w * w * x).sum(), w, create_graph=True)
        (h,) = grad((g * g).sum(), w, create_graph=True)
        w = w - 0.1 * h
        i = i + 1
    return w


def without_history(x):
    w = x * 1
    i = dg.tensor(0)
    while i < 3:
        (g,) = grad((w * w * x).sum(), w)
        w = w - 0.1 * g
        i = i + 1
    return w


def unused(x):
    w = x * 1
    i = dg.tensor(0)
    while i < 3:
        g, none = grad((w * w).sum(), (w, x), allow_unused=True) if x.ndim > 1 else (w * 0.5, None)
        assert none is None
        w = w - 0.1 * g
        i = i + 1
    return w


def under_other_modes(x):
    w = x * 1
    i = dg.tensor(0)
    while i < 3:
        with dg.no_grad():
            u = w * 2
        with dg.enable_grad() as mode, dg.no_grad(), dg.enable_grad():
            del mode
            v = w * 1
            (g,) = grad((v * v * u).sum(), v, create_graph=True)
        w = w - 0.1 * g * w
        i = i + 1
    return w


def through_turns_of_known_number(x):
    w = x * 1
    for _ in range(9):
        (g,) = grad((w * w).sum(), x, create_graph=True)
        w = w - 0.1 * g
    return w


FUNCTIONS = [
    descent, momentum, two_variables, in_branches, of_outside, nested, in_a_branch_of_a_loop, second_order, without_history,
    unused, under_other_modes, through_turns_of_known_number,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_same_bits(function):
    static = dg.static(function, strict=True)
    for values in ([0.3, 0.7], [0.9, -1.2]):
        found = []
        for f in (function, static):
            x = dg.tensor(values, requires_grad=True)
            y = f(x)
            (first,) = grad((y * y).sum(), x, create_graph=True)
            found.append([y.tolist(), first.tolist(), grad(first.sum(), x)[0].tolist()])
        assert found[0] == found[1]


def of_a_turn_before(x):
    w, c = x * 1, x * 2
    i = dg.tensor(0)
    while i < 3:
        (g,) = grad((c * c * w).sum(), w, create_graph=True)
        w = w - 0.01 * g
        c = w * 2
        i = i + 1
    return w


def of_what_came_before_the_loop(x):
    w = x * 1
    i = dg.tensor(0)
    while i < 3:
        (g,) = grad((w * w).sum(), x, create_graph=True, allow_unused=True)
        w = w - 0.1 * g
        i = i + 1
    return w


@pytest.mark.parametrize("function", [of_a_turn_before, of_what_came_before_the_loop])
def test_gradients_through_earlier_turns_are_refused(function):
    with pytest.raises(CaptureError, match=r"autograd.grad\(\) in a loop .* goes on into the turn before") as caught:
        dg.static(function)(dg.tensor([0.3, 0.7], requires_grad=True))
    assert "(g,) = grad(" in str(caught.value)


def test_what_nothing_depends_on_is_an_error_as_in_dynamic_mode():
    def function(x):
        w, u = x * 1, x * 2
        i = dg.tensor(0)
        while i < 3:
            (g,) = grad((u * u).sum(), w)
            w = w - g
            i = i + 1
        return w

    for f in (function, dg.static(function)):
        with pytest.raises(dg.errors.GradError, match="the outputs do not depend on input 0"):
            f(dg.tensor([0.3, 0.7], requires_grad=True))
