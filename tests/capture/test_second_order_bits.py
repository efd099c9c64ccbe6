"""Gradients of gradients through static functions have dynamic mode's bits under `strict`."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg


def tangled(x, y):
    a = (x * y).tanh()
    b = (a + x).sin() * a
    return a * 3, b + y * a


def looped(x, y):
    while (x * x).sum() < 40:
        y = (y * x).sin() + x * 0.1
        x = x * 1.5 + y * 0.25
    return x, y


def branched(x, y):
    if y.sum() > 0:
        z = (x * y).tanh() * x
    else:
        z = (x - y).sin() * y
    return z, z * x


def viewed(x, y):
    x = x * 1.0
    seen = x.view(-1).view(3, 4)
    x *= y
    return seen, x * y


FUNCTIONS = [tangled, looped, branched, viewed]


def arguments():
    generator = np.random.default_rng(7)
    return [dg.from_numpy(generator.uniform(-1, 1, (3, 4)).astype(np.float32)).requires_grad_() for _ in range(2)]


def square(tensors):
    return sum((t * t.sigmoid()).sum() for t in tensors)


def orders(function, order, x, y):
    """Gradients of each order; what the function is given and gives is used outside, before and after."""
    before = [x.sin() * y, (x + y).tanh()]
    u, v = function(*before)
    found = dg.autograd.grad(square([u, v, u * before[0], v * x]), [x, y], create_graph=True)
    gradients = [g.tolist() for g in found]
    for _ in range(order - 1):
        found = dg.autograd.grad(square([*found, found[0] * u]), [x, y], create_graph=True)
        gradients += [g.tolist() for g in found]
    return gradients


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_order(function, order):
    static = dg.static(function, strict=True)
    for _ in range(2):
        assert orders(static, order, *arguments()) == orders(function, order, *arguments())


def test_one_static_function_after_another():
    def chain(f, g):
        return lambda x, y: g(*f(x * 1.0, y * x))

    for f in FUNCTIONS:
        for g in FUNCTIONS:
            static = chain(dg.static(f, strict=True), dg.static(g, strict=True))
            assert orders(static, 2, *arguments()) == orders(chain(f, g), 2, *arguments())


def several_passes(function):
    """Passes that record and passes that do not, over one graph; gradients of results and by results."""
    x, y = arguments()
    u, v = function(x * 1.0, y * 1.0)
    u.retain_grad()
    seen = []
    u.register_hook(lambda g: seen.append(g.tolist()))
    first = dg.autograd.grad(square([u, v]), [x, u], create_graph=True)
    v.register_hook(lambda g: seen.append(g.tolist()) or g * 2)
    second = dg.autograd.grad(square([u, first[0], first[1]]), [x, y, u, v], create_graph=True, allow_unused=True)
    plain = dg.autograd.grad(square([u, v]), [y], retain_graph=True)
    square([u, v, first[0]]).backward(retain_graph=True)
    square([*(s for s in second if s is not None)]).backward()
    return [None if t is None else t.tolist() for t in (*first, *second, *plain, x.grad, y.grad, u.grad)], seen


@pytest.mark.parametrize("function", [tangled, looped])
def test_several_passes_and_hooks(function):
    assert several_passes(dg.static(function, strict=True)) == several_passes(function)


def test_a_pass_inside_of_a_hook():
    def run(function):
        x, y = arguments()
        u, v = function(x * 1.0, y * 1.0)
        w = u * 2

        def inner(g):
            with dg.enable_grad():
                return g + dg.autograd.grad(square([u]), [x], create_graph=True)[0].detach()

        w.register_hook(inner)
        first = dg.autograd.grad(square([w, v]), [x, y], create_graph=True)
        return [g.tolist() for g in (*first, *dg.autograd.grad(square(first), [x, y]))]

    assert run(dg.static(tangled, strict=True)) == run(tangled)


def test_a_graph_that_was_given_up_is_an_error():
    static = dg.static(tangled, strict=True)
    x, y = arguments()
    (g,) = dg.autograd.grad(square(static(x, y)), [x], create_graph=True)
    dg.autograd.grad(square([g]), [x])
    with pytest.raises(dg.errors.GradError, match="retain_graph"):
        dg.autograd.grad(square([g]), [x])
