"""Gradients taken outside of a static function that has overwritten what they need: errors as in dynamic mode."""

from __future__ import annotations

import math

import pytest

import duograph as dg


def value(x, w):
    y = x.exp()
    z = y * y
    y.add_(1)
    return z + w, w * 2


def argument(x, w):
    y = x * w.detach()
    w.detach().fill_(math.inf)
    return y, x * 3


def indices(x, w):
    at = (w * 0).to(dg.int64)
    y = x[at]
    at.fill_(1)
    return y * w, w * x


def result(x, w):
    y = x.exp()
    z = y + w
    y.mul_(2)
    return y, z


def kept_by_a_copy(x, w):
    y = x.exp()
    z = y.clone() * w
    y.detach().mul_(2)
    return z, y.detach()


def not_needed(x, w):
    y = x * 2
    z = y + w
    y.mul_(y.detach())
    return z, w * 1


def gradients(f, outputs, inputs):
    x = dg.tensor([1.0, 2.0]).requires_grad_()
    w = dg.tensor([3.0, 5.0]).requires_grad_()
    found = f(x, w)
    total = sum((found[k] * (k + 1)).sum() for k in outputs)
    try:
        grads = dg.autograd.grad(total, [(x, w)[k] for k in inputs], allow_unused=True)
    except dg.errors.GradError as error:
        lines = str(error).splitlines()
        return lines[0].split(" (version")[0], lines[1].partition("recorded at")[2], lines[-1]
    return [[0.0, 0.0] if g is None else g.tolist() for g in grads]


@pytest.mark.parametrize("inputs", [[0], [1], [0, 1]], ids=str)
@pytest.mark.parametrize("outputs", [[0], [1], [0, 1]], ids=str)
@pytest.mark.parametrize("f", [value, argument, result, kept_by_a_copy, not_needed])
def test_as_in_dynamic_mode(f, outputs, inputs):
    if f is kept_by_a_copy and outputs != [0]:
        outputs = [0]
    assert gradients(dg.static(f, strict=True), outputs, inputs) == gradients(f, outputs, inputs)


def test_only_what_needs_it_is_an_error():
    run = dg.static(value)
    message, line, hint = gradients(run, [0], [0])
    assert message == "mul: a was overwritten in place after it was saved for the gradient"
    assert "z = y * y" in line and "x.clone()" in hint
    assert gradients(run, [0], [1]) == [[1.0, 1.0]]
    assert gradients(run, [1], [0, 1]) == [[0.0, 0.0], [4.0, 4.0]]


def test_indices():
    message, line, _ = gradients(dg.static(indices), [0], [0])
    assert "was overwritten in place after it was saved" in message and "y = x[at]" in line
    assert gradients(dg.static(indices), [1], [0, 1]) == gradients(indices, [1], [0, 1])


@pytest.mark.parametrize("how", ["backward", "create_graph", "pull"])
def test_every_way_to_ask(how):
    x = dg.tensor([1.0, 2.0]).requires_grad_()
    z = dg.static(value)(x * 1, dg.tensor([1.0, 1.0]))[0]
    with pytest.raises(dg.errors.GradError, match="overwritten in place after it was saved"):
        if how == "backward":
            z.sum().backward()
        elif how == "create_graph":
            dg.autograd.grad(z.sum(), x, create_graph=True)
        else:
            dg.func.vjp(lambda x: dg.static(value)(x, dg.tensor([1.0, 1.0]))[0], x)[1](dg.tensor([1.0, 1.0]))
    assert x.grad is None


def test_what_was_written_on_some_ways_only_is_as_it_was():
    def f(x, b):
        y = x * b
        if x.sum() > 0:
            b.fill_(math.inf)
        return y

    x, b = dg.tensor([1.0, 2.0]).requires_grad_(), dg.tensor([3.0, 4.0])
    y = dg.static(f)(x, b)
    assert b.tolist() == [math.inf, math.inf]
    assert dg.autograd.grad(y.sum(), x)[0].tolist() == [3.0, 4.0]


def test_parameters_are_not_kept_for_a_gradient_that_nobody_can_take():
    w = dg.ones(100, 100).requires_grad_()
    optimiser = dg.optim.SGD([w], lr=0.1)

    @dg.static
    def step(x):
        loss = (x @ w).sum()
        optimiser.zero_grad()
        loss.backward()
        out = x @ w
        optimiser.step()
        return out

    x = dg.ones(2, 100).requires_grad_()
    out = step(x)
    assert out.tolist() == [[100.0] * 100] * 2
    with pytest.raises(dg.errors.GradError, match="overwritten in place after it was saved"):
        out.sum().backward()


def test_only_gradients_that_need_what_was_written_after_the_call():
    x, b = dg.tensor([1.0, 2.0]).requires_grad_(), dg.tensor([3.0, 4.0])
    y, z = dg.static(lambda x, b: (x * b, x * 2 + b))(x, b)
    b.add_(1)
    assert dg.autograd.grad(z.sum(), x, retain_graph=True)[0].tolist() == [2.0, 2.0]
    with pytest.raises(dg.errors.GradError, match="was overwritten since the call"):
        dg.autograd.grad((y + z).sum(), x)


def test_arguments_and_state_written_after_the_call():
    scale = dg.tensor([1.0, 2.0])

    @dg.static
    def f(x, b):
        return x * scale * b

    x, b = dg.tensor([1.0, 2.0]).requires_grad_(), dg.tensor([3.0, 4.0])
    for written in (scale, b):
        y = f(x, b)
        written.add_(1)
        with pytest.raises(dg.errors.GradError, match="was overwritten since the call"):
            y.sum().backward()
    assert x.grad is None


def row(x, w, t):
    y = w.tanh()
    y[0] = 0.25
    if t > 2:
        y = x * 2
    return y


def part(x, w, t):
    y = w.sigmoid()
    y[:1] = x[:1]
    if t > 2:
        if x.sum() > 100:
            return y
        y = x * 2
    return y


def sum_of_a_row(x, w, t):
    y = w.exp()
    y[0] += 0.25
    for _ in range(t - 2):
        y = x * 2
    return y


def turns(x, w, t):
    w = w * 1.0
    for _ in range(2):
        w[0] = x[1]
        w = (w * w.sum()).tanh()
    for _ in range(t - 2):
        w = x.sin()
    return w


def loop_in_a_branch(x, w, t):
    y = w.tanh()
    y[0] = 0.25
    if x.sum() < 100:
        for _ in range(t - 2):
            for _ in range(2):
                y = x * 2
    return y


def one_of_two(x, w, t):
    y = w.tanh()
    y[0] = 0.25
    if t > 2:
        y = x * 2
    return y, w * x.detach()


def outcome(f, size, steps, take):
    x = (dg.arange(size) + 1.0).requires_grad_()
    w = (dg.arange(size) / 7).requires_grad_()
    found = f(x, w, dg.tensor(steps))
    try:
        grads = dg.autograd.grad(take(found), [x, w], allow_unused=True)
    except dg.errors.GradError as error:
        return str(error).splitlines()[0].split(" (version")[0]
    return [[0.0] * size if g is None else g.tolist() for g in grads]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("f", [row, part, sum_of_a_row, turns, loop_in_a_branch])
def test_an_error_in_runs_whose_gradient_goes_there_only(f, strict):
    static = dg.static(f, strict=strict)
    seen = set()
    for size in (3, 4, 5):
        for steps in (3, 1, 4):
            expected = outcome(f, size, steps, lambda y: (y * 2).sum())
            assert outcome(static, size, steps, lambda y: (y * 2).sum()) == expected
            seen.add(type(expected))
    assert seen == {str, list} and static.captures <= 2


@pytest.mark.parametrize("which", [0, 1])
def test_of_several_results_those_whose_gradient_goes_there_in_this_run(which):
    static = dg.static(one_of_two)
    for steps in (3, 1):
        expected = outcome(one_of_two, 3, steps, lambda found: found[which].sum())
        assert outcome(static, 3, steps, lambda found: found[which].sum()) == expected


def test_gradients_of_gradients_where_a_run_leaves_it_out():
    for f in (row, dg.static(row)):
        x, w = dg.ones(3).requires_grad_(), dg.ones(3).requires_grad_()
        (g,) = dg.autograd.grad((f(x, w, dg.tensor(3)) ** 2).sum(), [x], create_graph=True)
        assert dg.autograd.grad((g * g).sum(), [x])[0].tolist() == [128.0] * 3
