"""Static functions write in place to arguments and state with a history, or give them one, as dynamic mode does."""

from __future__ import annotations

import gc
import weakref

import pytest

import duograph as dg


def scaled(x, b):
    x.mul_(2)
    return x * x


def part_set(x, b):
    x[0] = 0
    return (x * x).sum()


def own_square(x, b):
    x.pow_(2)
    return x


def nothing_returned(x, b):
    x.mul_(3)
    x.add_(b.detach())


def filled(x, b):
    b[1] = x.sum() * 2
    b += x.mean()
    return b * x


def both(x, b):
    y = x * 1.5
    x.mul_(y)
    b.add_(x * y)
    return y


def returned_view(x, b):
    x.mul_(2)
    return x[1:], x[0] * 3


def in_a_loop(x, b):
    for _ in range(3):
        x.mul_(1.5)
    return x.exp()


FUNCTIONS = [scaled, part_set, own_square, nothing_returned, filled, both, returned_view, in_a_loop]


def outcome(f, sizes, calls):
    rows = []
    for size in sizes:
        p = dg.arange(1, size + 1, dtype=dg.float32).requires_grad_()
        x, b = p * 0.5, dg.zeros(size)
        part = x[1:]  # of what is written
        results = []
        for _ in range(calls):
            found = f(x, b)
            results += [] if found is None else found if isinstance(found, tuple) else [found]
        total = (x * x).sum() + (b * 3).sum() + (part * 2).sum()
        for k, result in enumerate(results):
            total = total + (result * (k + 2)).sum()
        rows.append([t.tolist() for t in (x, b, *results)] + [[t.requires_grad, t.is_leaf] for t in (x, b)])
        total.backward()
        rows.append(p.grad.tolist())
    return rows


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("sizes", [[3], [3, 4, 5, 3]], ids=["one_size", "sizes"])
@pytest.mark.parametrize("f", FUNCTIONS)
def test_as_in_dynamic_mode(f, sizes, calls):
    try:
        expected = outcome(f, sizes, calls)
    except dg.errors.GradError as error:
        assert "was overwritten in place" in str(error)
        with pytest.raises(dg.errors.GradError, match=r"was overwritten in place|overwritten since the call"):
            outcome(dg.static(f, strict=True), sizes, calls)
        return
    assert outcome(dg.static(f, strict=True), sizes, calls) == expected


def test_state_with_a_history():
    class Memory:
        def __init__(self):
            self.h = dg.zeros(3)

        def step(self, x):
            self.h.mul_(0.5)
            self.h.add_(x)
            return self.h.sum()

    def run(make):
        memory = Memory()
        step = make(memory.step)
        x = dg.tensor([1.0, 2.0, 3.0]).requires_grad_()
        total = sum(step(x * (k + 1)) for k in range(4))
        total.backward()
        return x.grad.tolist(), memory.h.tolist()

    assert run(lambda f: dg.static(f, strict=True)) == run(lambda f: f)


def test_leaves_and_views_are_not_taken_for_others():
    step = dg.static(nothing_returned)
    p, b = dg.ones(3).requires_grad_(), dg.zeros(3)
    step(p * 1, b)
    with pytest.raises(dg.errors.GradError, match="a leaf tensor that requires grad cannot be written in place"):
        step(p, b)
    assert p.tolist() == [1.0, 1.0, 1.0]
    whole = dg.stack([p, p])
    with pytest.raises(dg.errors.GradError, match="a view cannot be written in a captured function"):
        step(whole[0], b)
    assert whole.tolist() == [[1.0] * 3] * 2


def test_what_is_written_again_after_the_call():
    p = dg.tensor([1.0, 2.0]).requires_grad_()
    x = p * 1
    y = dg.static(scaled)(x, p)
    x.add_(1)
    with pytest.raises(dg.errors.GradError, match="overwritten since the call"):
        y.sum().backward()


def test_gradients_of_gradients_are_refused_outside():
    p = dg.tensor([1.0, 2.0]).requires_grad_()
    y = dg.static(scaled)(p * 1, p)
    with pytest.raises(dg.errors.GradError, match="it has written in place what its results depend on"):
        dg.autograd.grad(y.sum(), p, create_graph=True)


def test_nothing_is_kept_alive():
    p = dg.tensor([1.0, 2.0]).requires_grad_()
    step = dg.static(scaled)
    step(p * 1, p)
    gc.collect()
    gc.disable()
    try:
        x = p * 1
        alive = weakref.ref(x)
        y = step(x, p)
        del x, y
        assert alive() is None
    finally:
        gc.enable()
