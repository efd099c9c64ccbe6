"""Gradients of tensors that are used several times: sums in dynamic mode's order, to the last bit."""

import numpy as np
import pytest

import duograph as dg


def inside_and_outside_of_a_loop(x, w, n):
    z, y = w.sin(), x * 1.0
    a = (x * w).tanh()
    for _ in range(n):
        y = (y * w + y.sin() * x * z).tanh()
    return y * x + w * z - a


def around_a_branch_in_a_loop(x, w, n):
    y = x * 0.5
    for _ in range(n):
        y = (y * w + x.sin() * x).tanh()
        if y.sum() > 0.1:
            y = y * w + x * w.cos()
    return y * x * w


def on_one_side(x, w, n):
    y = x * w + w.sin()
    y = y * w * x.cos() + x if y.sum() * n > 0.5 else y * 0.5
    return y * w + x * y


def what_a_variable_began_with(x, w, n):
    x = x * 1.0
    y = x
    while y.sum() < n * 2.0 + 12.0:
        y = y * 0.5 + y.sin().abs() * y.cos() + w * w + 1.0
    return (y * x.sin() - x * w) * x


def an_append_again_and_again(x, w, n):
    items = [x]
    for _ in range(n):
        items.append(x)
        x = (x * w + x).sin()
    return dg.stack(items).sin().sum(0) * w * x


def nested(x, w, n):
    y = x * 1.0
    for _ in range(n):
        for _ in range(n):
            y = (y * w + x.sin() * x).tanh()
        y = y * x + w
    return y * w - x * y


FUNCTIONS = [
    inside_and_outside_of_a_loop,
    around_a_branch_in_a_loop,
    on_one_side,
    what_a_variable_began_with,
    an_append_again_and_again,
    nested,
]


def arguments(seed, size=11):
    rng = np.random.default_rng(seed)
    return [dg.from_numpy(rng.uniform(-1, 1, size).astype(np.float32)).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_first_order_inside_a_function(function):
    def gradients(x, w, n):
        result = function(x, w, n)
        return dg.autograd.grad((result * result).sum(), [x, w])

    static = dg.static(gradients, strict=True)
    for seed in range(12):
        x, w = arguments(seed)
        n = dg.tensor(seed % 4)
        expected = [g.tolist() for g in gradients(x, w, n)]
        assert [g.tolist() for g in static(x, w, n)] == expected, seed
    assert static.captures == 1


def test_a_parameter_that_only_a_branch_in_a_loop_uses_has_no_gradient_without_it():
    def step(x, w, v, limit, n):
        y = x * v
        for _ in range(n):
            y = y * w if y.sum() > limit else y * 0.5
        y.sum().backward()

    static = dg.static(step)
    for limit, n in ((1000.0, 3), (1.0, 3), (1.0, 0)):
        found = []
        for function in (step, static):
            x, w, v = (dg.tensor([1.0, 2.0]).requires_grad_() for _ in range(3))
            function(x, w, v, limit, dg.tensor(n))
            found.append([None if t.grad is None else t.grad.tolist() for t in (x, w, v)])
        assert found[0] == found[1]


def test_hooks_see_a_sum_once():
    def gradient(x, w, n):
        x = x * 1.0
        seen = []
        x.register_hook(lambda g: seen.append(g) or g * 2)
        result = inside_and_outside_of_a_loop(x, w, n)
        found = dg.autograd.grad((result * result).sum(), [w, x])
        return (*found, *seen)

    x, w = arguments(3)
    expected = [g.tolist() for g in gradient(x, w, dg.tensor(3))]
    assert len(expected) == 3
    assert [g.tolist() for g in dg.static(gradient, strict=True)(x, w, dg.tensor(3))] == expected
