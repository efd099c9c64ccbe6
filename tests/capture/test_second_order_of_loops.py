"""Gradients of gradients through loops whose turns keep a result, not an operand, for their gradient."""

import pytest

import duograph as dg


def tanh_of_the_state(x):
    for _ in range(12):
        x = (x * 1.1).tanh()
    return x


def tanh_of_state_and_input(x):
    h = x
    for k in range(12):
        h = (h + x * k).tanh()
    return h


def while_with_exp(x):
    h = x
    while h.sum() < 6:
        h = h + (h * 0.3).exp() * x
    return h


def softmax_of_the_state(x):
    h = x
    for _ in range(10):
        h = dg.softmax(h * 3 * x, 0)
    return h * x


@pytest.mark.parametrize("f", [tanh_of_the_state, tanh_of_state_and_input, while_with_exp, softmax_of_the_state])
def test_second_order_agrees_with_dynamic_mode(f):
    def second(x):
        return dg.func.grad(lambda x: (dg.func.grad(lambda x: f(x).sum())(x) * x).sum())(x)

    x = dg.tensor([0.2, 0.7, 0.4], dtype=dg.float64)
    wanted = second(x)
    assert float(wanted.abs().max()) > 1e-3
    for strict in (False, True):
        found = dg.static(second, strict=strict)(x)
        assert dg.allclose(found, wanted, rtol=1e-9), (found, wanted)
