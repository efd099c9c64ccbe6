"""Gradients through loops and branches of static functions: any order, strict bits, absent where dynamic mode has none."""

from __future__ import annotations

import random

import pytest

import duograph as dg
from duograph import nn


def gradients(function, inputs, order):
    """The function's value and gradients up to an order, as lists."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    value = function(*leaves)
    found = [value.tolist()]
    for k in range(order):
        grads = dg.autograd.grad(value.square().sum() if k else value.sum(), leaves, create_graph=True, allow_unused=True)
        found += [None if g is None else g.tolist() for g in grads]
        value = sum((g.sin().sum() for g in grads if g is not None), dg.zeros(()))
        if not value.requires_grad:
            break
    return found


def flat(x):
    return [y for item in x for y in flat(item)] if isinstance(x, list) else [x]


def agree(function, *calls, order=2, rel=1e-4):
    for strict in (True, False):
        static = dg.static(function, strict=strict)
        for inputs in calls:
            expected, found = gradients(function, inputs, order), gradients(static, inputs, order)
            for i, (a, b) in enumerate(zip(expected, found)):
                if a is None:
                    assert b is None or not any(flat(b))
                elif strict and i <= len(inputs):  # value and first gradients
                    assert a == b
                else:
                    assert flat(a) == pytest.approx(flat(b), rel=rel, abs=1e-5)
        assert static.captures == 1


def test_newton_iteration():
    def root(x):
        y = x
        while (y * y - x).abs() > 1e-5:
            y = (y + x / y) / 2
        return y

    agree(root, *[(dg.tensor(v),) for v in (2.0, 9.0, 100.0, 1.0)], rel=1e-3)


def test_recurrence_over_rows():
    def f(x, w, u):
        h = dg.zeros(2, 4)
        for t in range(12):
            h = (x[t] @ w + h @ u).tanh()
        return h

    dg.manual_seed(1)
    agree(f, (dg.randn(12, 2, 3), dg.randn(3, 4), dg.randn(4, 4)))


def test_going_over_a_tensor_with_a_list_of_results():
    def f(x, u):
        h = x[0] * 0
        outs = []
        for row in x:
            h = (row + h * u).sin()
            outs.append(h * 2)
        return dg.stack(outs) * outs[3] + dg.cat(outs).sum()

    dg.manual_seed(2)
    agree(f, (dg.randn(10, 3), dg.randn(3)))


def test_branches_in_loops_and_loops_in_branches():
    def f(x, w):
        y = x
        while y.sum() < 20:
            if y.max() > 2:
                y = y * w + 1
            else:
                for _ in range(9):
                    y = y + 0.1 * w
        if y.sum() > 30:
            while y.sum() > 25:
                y = y * 0.9
        return y * w

    agree(f, *[(dg.ones(3) * v, dg.ones(3) * 1.5) for v in (0.5, 2.5, 20.0)])


def test_nested_loops_whose_turns_depend_on_data():
    def f(x, w):
        y = x
        while y.sum() < 50:
            z = y
            while z.max() > 1:
                z = z * 0.5 * w
            y = y * 1.5 + z
        return y

    agree(f, *[(dg.ones(3) * v, dg.ones(3) * 0.9) for v in (0.4, 3.0, 40.0)])


def test_dropout_in_a_loop_draws_the_same_numbers():
    def f(x, w):
        for _ in range(10):
            x = nn.functional.dropout(x * w, 0.3) + x
        return x

    results = []
    for call in (f, dg.static(f, strict=True)):
        dg.manual_seed(5)
        x, w = dg.ones(6, requires_grad=True), (dg.ones(6) * 0.3).requires_grad_()
        y = call(x, w)
        y.sum().backward()
        results.append((y.tolist(), x.grad.tolist(), w.grad.tolist()))
    assert results[0] == results[1]


class Depth(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = self.first(x).relu()
        for _ in range(random.randint(0, 3)):
            h = self.hidden(h).relu()
        return self.last(h)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_parameter_no_turn_used_is_left_alone(name):
    def run(make):
        random.seed(0)
        dg.manual_seed(0)
        model = Depth()
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(dg.optim, name)(model.parameters(), lr=0.01, **options)

        @make
        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().sum()
            loss.backward()
            optimizer.step()
            return loss

        x = dg.randn(4, 6)
        steps = [(step(x).item(), [p.grad is None for p in model.parameters()]) for _ in range(12)]
        return [*steps, [p.tolist() for p in model.parameters()]]

    runs = [run(lambda f: f), run(lambda f: dg.static(f, strict=True))]
    assert runs[0] == runs[1]
    assert any(any(missing) for _, missing in runs[0][:-1])


def test_one_side_of_a_branch_uses_a_parameter():
    a, b = nn.Parameter(dg.ones(2)), nn.Parameter(dg.ones(2))

    def step(x):
        a.grad = b.grad = None
        y = x * a if x.sum() > 0 else x * b
        y.sum().backward()

    static = dg.static(step)
    for value in (1.0, -1.0, 2.0):
        found = []
        for call in (step, static):
            call(dg.ones(2) * value)
            found.append([None if p.grad is None else p.grad.tolist() for p in (a, b)])
        assert found[0] == found[1] and None in found[0]


@pytest.mark.parametrize("product", [lambda h, w: h @ w, lambda h, w: nn.functional.linear(h, w)])
def test_second_order_gradients_through_products_inside_the_function(product):
    """Gradients taken twice inside of a static function: products hand the gradient on to both operands each time."""
    w = dg.tensor([[0.3, -0.4], [0.5, 0.2]], dtype=dg.float64, requires_grad=True)
    x = dg.tensor([[0.1 * i + j for j in range(2)] for i in range(10)], dtype=dg.float64).reshape(10, 1, 2)

    def run(x):
        h = x[0]
        for t in range(x.shape[0]):
            h = (product(h, w) + x[t]).tanh()
        (first,) = dg.autograd.grad((h * h).sum(), [w], create_graph=True)
        (second,) = dg.autograd.grad((first * first).sum(), [w])
        return second

    with dg.dynamic_mode():
        expected = run(x).tolist()
    for strict in (True, False):
        assert flat(dg.static(run, strict=strict)(x).tolist()) == pytest.approx(flat(expected), rel=1e-10)


@pytest.mark.parametrize("nested", [False, True])
def test_a_variable_that_each_turn_replaces_has_a_gradient_without_a_turn_only(nested):
    p = nn.Parameter(dg.ones(2))

    def step(x, n):
        p.grad, y = None, p
        for _ in range(2 if nested else 1):
            for _ in range(n):
                y = x * 2
        (y * y).sum().backward()

    static = dg.static(step)
    for n in (0, 2, 1):
        found = []
        for call in (step, static):
            call(dg.ones(2).requires_grad_(), dg.tensor(n))
            found.append(None if p.grad is None else p.grad.tolist())
        assert found[0] == found[1] and (found[0] is None) == (n > 0)
