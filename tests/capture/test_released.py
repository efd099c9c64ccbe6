"""Nothing of a capture outlives its static function: circles through the tape, which the garbage collector does not see."""

from __future__ import annotations

import gc

import pytest

import duograph as dg


def of_branches_in_a_loop(x, k, t):
    for _ in range(t):
        x = x * 1.5
        if x.sum() > 3:
            x = x.sin() * k
    return x


def of_a_list(x, k, t):
    items = []
    for _ in range(t):
        x = dg.where(x > 0, x, x * k)
        items.append(x)
    y = x
    if x.sum() > 3:
        y = y.flip(0) * k
    return dg.stack(items).sum(0) + y


def refused_at_first(x, k, t):
    while x.sum() < t:
        x = x * 1.5 + k
        if x.shape[0] > 3 and x.max() > 1:
            x = x.clone()
    return x


def builders():
    gc.collect()
    return [o for o in gc.get_objects() if type(o).__name__ == "CaptureBuilder"]


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", [of_branches_in_a_loop, of_a_list, refused_at_first])
def test_captures_are_released(function, strict):
    before = len(builders())
    static = dg.static(function, strict=strict)
    for n in (3, 4, 5):
        x = dg.linspace(0.1, 1.0, n).requires_grad_()
        y = static(x, 0.5 + n, dg.tensor(3))
        first = dg.autograd.grad((y * y).sum(), x, create_graph=True)[0]
        dg.autograd.grad((first * first).sum(), x)
        del y, first
    assert static.captures
    del static, x
    assert len(builders()) == before
