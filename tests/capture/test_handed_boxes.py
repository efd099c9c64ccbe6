"""Gradients of loops of unknown length that draw or call, inside of branches and other loops: they do so once."""

import numpy as np
import pytest

import duograph as dg

SAID = []


@dg.host_callback
def say(value):
    SAID.append(value.tolist())


def in_a_branch(x, w):
    if x.sum() > 0:
        h = x
        while h.abs().max() < 10:
            h = h * 1.5 + w * dg.rand(3)
            say(h)
        return (h * w).sum()
    return (x * w).sum()


def in_two_branches(x, w):
    if x.sum() > 0:
        if w.sum() > 0:
            h = x
            while h.max() < 4:
                h = h * 1.3 + w * dg.rand(3)
                say(h.max())
            return (h.sin() * w * w).sum()
        return (x * w).sum() * 3
    return (x * w).sum()


def in_a_loop(x, w):
    h = x
    while h.sum() < 30:
        k = h * 0.1
        while k.max() < 2:
            k = k * 1.5 + w * dg.rand(3)
            say(k.sum())
        h = h + k * w
    return (h * w).sum()


def in_a_branch_of_a_loop(x, w):
    h = x
    for _ in range(3):
        if h.sum() > 1:
            k = h
            while k.max() < 5:
                k = (k * w).sin() * 2 + k * dg.rand(3) + 0.3
                say(k)
            h = h * 0.5 + k * 0.1
        else:
            h = h + w * dg.rand(3)
    return (h * w).sum()


def of_rows(x, w):
    kept = []
    while x.max() < 4:
        if x.sum() > 0:
            k = x
            while k.max() < 4:
                k = k * 1.6 + w * dg.rand(3)
                say(k)
            kept.append(k)
        else:
            kept.append(x)
        x = x + dg.rand(3)
    return sum(kept).sum() * w.sum()


def gradients(function, scale, order):
    """(result, its gradients, those of the sum of their squares), what was said meanwhile."""
    x, w = (dg.tensor(v).requires_grad_() for v in ([0.1 * scale, 0.2 * scale, 0.3 * scale], [1.0, 0.7, 0.8]))
    dg.manual_seed(0)
    SAID.clear()
    y = function(x, w)
    found = [y, *dg.autograd.grad(y, [x, w], create_graph=order > 1)]
    if order > 1 and found[1].requires_grad:
        found += dg.autograd.grad((found[1] * found[2]).sum(), [x, w], allow_unused=True)
    return [None if t is None else t.tolist() for t in found], list(SAID)


def with_gradients(function):
    def step(x, w):
        y = function(x, w)
        return (y, *dg.autograd.grad(y, [x, w]))

    return step


@pytest.mark.parametrize("function", [in_a_branch, in_two_branches, in_a_loop, in_a_branch_of_a_loop])
def test_gradients_outside_agree_to_the_bit(function):
    static = dg.static(function, strict=True)
    for scale in (1, -1, 4):
        for order in (1, 2):
            assert gradients(static, scale, order) == gradients(function, scale, order)


@pytest.mark.parametrize("function", [in_a_branch, in_two_branches, in_a_loop, in_a_branch_of_a_loop, of_rows])
def test_gradients_inside_agree_to_the_bit(function):
    step, static = with_gradients(function), dg.static(with_gradients(function), strict=True)
    for scale in (1, -1, 4):
        found = []
        for one in (step, static):
            dg.manual_seed(0)
            SAID.clear()
            x, w = dg.tensor([0.1 * scale, 0.2 * scale, 0.3 * scale]), dg.tensor([1.0, 0.7, 0.8])
            found.append(([t.tolist() for t in one(x.requires_grad_(), w.requires_grad_())], list(SAID)))
        assert found[0] == found[1]
    assert static.captures == 1


def in_loops_of_a_branch(x, w):
    h = x
    if x.sum() > 0:
        while h.sum() < 8:
            k = h
            while k.sum() < 4:
                say(k)
                k, h = h * 1.5 + 0.1, k * 0.5 + w
            h = h * 1.3 + k * 0.2
    return (h * w).sum()


@pytest.mark.filterwarnings("ignore:.*last bits:duograph.errors.CaptureWarning")
@pytest.mark.parametrize("strict", [False, True])
def test_gradients_of_loops_in_a_loop_of_a_branch(strict):
    static = dg.static(in_loops_of_a_branch, strict=strict)
    for scale in (1, -1, 4):
        expected, words = gradients(in_loops_of_a_branch, scale, 1)
        found, said = gradients(static, scale, 1)
        assert len(said) == len(words)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0 if strict else 1e-4)
