"""Gradients of loops that begin with a tensor which the body also reads, or several variables with one: dynamic mode's bits."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg


def read_too(x, w):
    h = x
    while h.sum() < 6:
        h = h + (h * 0.3).exp() * x
    return h


def read_thrice(x, w):
    h = x
    while h.sum() < 6:
        h = (h * x).sin() + h * w + x * 0.5 + 0.5
    return h


def two_from_one(x, w):
    h = c = x
    i = dg.tensor(0)
    while i < 4:
        h, c = (h * w + c.sin()).tanh() * h, c * h + w
        i = i + 1
    return h * c


def two_and_read(x, w):
    h = c = x
    i = dg.tensor(0)
    while i < 4:
        h, c = (h * x + c.sin() * w).tanh() * h, c * h + x
        i = i + 1
    return h * c


def from_a_result(x, w):
    z = x.sin() * w
    h = z
    i = dg.tensor(0)
    while i < 4:
        h = (h * z + w).tanh() + h * z
        i = i + 1
    return h * z + z


def perhaps_no_turn(x, w):
    h = x
    while h.sum() > 2.5:
        h = h * x * w * 0.5 + h * 0.25
    return h * x + w * h


def nested(x, w):
    h = x * 1
    i = dg.tensor(0)
    while i < 3:
        g = h
        j = dg.tensor(0)
        while j < 2:
            g = (g * h + x).tanh() + g * w
            j = j + 1
        h = g + h * x
        i = i + 1
    return h


def many_turns(x, w):
    h = x
    for _ in range(12):
        h = (h * x + w).tanh() + h * x
    return h


FUNCTIONS = [
    read_too, read_thrice, two_from_one, two_and_read, from_a_result, perhaps_no_turn, nested, many_turns,
]  # fmt: skip


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_same_bits(function, outside):
    def inside(x, w):
        before = x.cos() * w
        y = function(x, w)
        return dg.autograd.grad((y * x).sum() + (before * x * y.detach()).sum(), (x, w), allow_unused=True)

    def run(f):
        found = []
        generator = np.random.default_rng(1)
        for _ in range(8):
            x, w = (dg.from_numpy(generator.uniform(0.1, 1, 5).astype(np.float32)).requires_grad_() for _ in range(2))
            if outside:
                before = x.cos() * w
                y = f(x, w)
                grads = dg.autograd.grad((y * x).sum() + (before * x * y.detach()).sum(), (x, w), allow_unused=True)
            else:
                grads = f(x, w)
            found.append([None if g is None else g.tolist() for g in grads])
        return found

    used = function if outside else inside
    assert run(dg.static(used, strict=True)) == run(used)
