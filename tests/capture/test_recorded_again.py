"""Gradients of gradients run a static function's Python again: as it was at the call, and unseen."""

from __future__ import annotations

import pytest

import duograph as dg


class State:
    def __init__(self) -> None:
        self.count = 0
        self.scale = 2.0
        self.last = None
        self.mean = dg.zeros(3)
        self.seen: list = []
        self.said = 0


state = State()


@dg.host_callback
def say(x):
    state.said += 1


def with_dropout(x):
    return dg.nn.functional.dropout(x.tanh(), 0.5) * x


def counts(x):
    state.count += 1
    return (x * state.count).tanh()


def stores_a_tensor(x):
    state.last = (x * 2).sin()
    return x.tanh() * state.last


def running_mean(x):
    state.mean.mul_(0.9).add_(x.detach() * 0.1)
    return (x - x.mean()).tanh()


def appends(x):
    state.seen.append(x * 2)
    return x.sin()


def says(x):
    say(x)
    return x.tanh()


def both_orders(function):
    global state
    state = State()
    dg.manual_seed(3)
    x = dg.tensor([0.3, 0.7, -0.2]).requires_grad_()
    y = function(x)
    noise = dg.rand(2).tolist()
    (first,) = dg.autograd.grad((y * y).sum(), [x], create_graph=True)
    (second,) = dg.autograd.grad((first * first).sum(), [x])
    noise += dg.rand(2).tolist()
    after = (state.count, state.last is None, state.mean.tolist(), [t.tolist() for t in state.seen], state.said)
    return first.tolist(), second.tolist(), noise, after


FUNCTIONS = [with_dropout, counts, stores_a_tensor, running_mean, appends, says]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_happens_twice(function):
    expected = both_orders(function)
    static = dg.static(function, strict=True)
    for _ in range(2):
        assert both_orders(static) == expected


def test_a_gradient_by_what_is_stored():
    def by_the_stored(function):
        global state
        state = State()
        x = dg.tensor([0.3, 0.7, -0.2]).requires_grad_()
        function(x)
        last = state.last
        (first,) = dg.autograd.grad(last.sum(), [x], create_graph=True)
        assert state.last is last
        return first.tolist(), dg.autograd.grad(first.sum(), [x])[0].tolist()

    assert by_the_stored(dg.static(stores_a_tensor, strict=True)) == by_the_stored(stores_a_tensor)


def changed_number(x):
    return x * state.scale * x


def changed_tensor(x):
    return x * x + state.mean


def own_write(x):
    y = (x + state.mean).sin()
    state.mean.add_(1)
    return y


def of_another_time(x):
    import random

    return x * x * random.random()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (changed_number, "a number that it reads has changed"),
        (changed_tensor, "a tensor that it reads was written in place"),
        (own_write, "it has written in place what its results depend on"),
        (of_another_time, "it takes Python's random numbers"),
    ],
)
def test_what_would_be_another_result_is_refused(function, says):
    static = dg.static(function)
    x = dg.tensor([0.3, 0.7, -0.2]).requires_grad_()
    y = static(x)
    state.scale += 1
    if function is changed_tensor:
        state.mean.add_(1)
    with pytest.raises(dg.errors.GradError, match=says) as error:
        dg.autograd.grad(y.sum(), [x], create_graph=True)
    assert "create_graph=True" in str(error.value) and "dynamic_mode" in str(error.value)
    assert dg.autograd.grad(static(x).sum(), [x])[0].shape == (3,)
    with dg.dynamic_mode():
        y = static(x)
    (g,) = dg.autograd.grad(y.sum(), [x], create_graph=True)
    assert g.requires_grad


@pytest.mark.parametrize("alias", [lambda x: x.detach(), lambda x: x.data])
def test_an_argument_that_is_first_read_without_history(alias):
    def function(x):
        factor = alias(x) * 2
        return x.tanh() + factor

    static = dg.static(function, strict=True)
    for value in (0.3, 0.5, 0.7):
        x = dg.full((3,), value).requires_grad_()
        y, expected = static(x), function(x)
        assert y.tolist() == expected.tolist()
        assert dg.autograd.grad(y.sum(), [x])[0].tolist() == dg.autograd.grad(expected.sum(), [x])[0].tolist()
    assert static.captures == 1


weight = dg.tensor([0.5, -0.3, 0.2], requires_grad=True)


def goes_backward(x):
    (x * weight).tanh().sum().backward()
    return (x * weight).sin() * x


def reads_what_it_wrote(x):
    (x * weight).tanh().sum().backward(create_graph=True)
    return (x * weight).sin() * weight.grad


def two_results(x):
    (x * weight).tanh().sum().backward()
    y = (x * weight).sin()
    return y, y * x


@pytest.mark.parametrize("before", [None, [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("function", [goes_backward, reads_what_it_wrote, two_results])
def test_functions_that_write_gradients(function, before):
    def run(function):
        weight.grad = None if before is None else dg.tensor(before)
        held = weight.grad
        x = dg.tensor([0.3, 0.7, -0.2]).requires_grad_()
        y = function(x)
        after = [weight.grad.tolist(), None if x.grad is None else x.grad.tolist()]
        between = [] if not isinstance(y, tuple) else [dg.autograd.grad(y[1].sum(), y[0], create_graph=True)[0].tolist()]
        y = y[1] if isinstance(y, tuple) else y
        (first,) = dg.autograd.grad((y * y).sum(), x, create_graph=True)
        second = dg.autograd.grad((first * first).sum(), (x, weight))
        assert [weight.grad.tolist(), None if x.grad is None else x.grad.tolist()] == after
        return [*after, between, first.tolist(), [g.tolist() for g in second], None if held is None else held.tolist()]

    expected = run(function)
    static = dg.static(function, strict=True)
    for _ in range(2):
        assert run(static) == expected
