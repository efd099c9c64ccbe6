"""`backward()` in branches and loops that a tensor steers: `.grad` is as in dynamic mode, absent ones too.

PYTEST_DONT_REWRITE: one of the functions asserts.
"""

from __future__ import annotations

import pytest

import duograph as dg


class Net:
    """Two parameters, and one that only some ways use."""

    def __init__(self, kind):
        self.w = dg.tensor([1.0, -2.0], requires_grad=True)
        self.b = dg.tensor([0.5], requires_grad=True)
        self.rare = dg.tensor([2.0], requires_grad=True)
        self.all = [self.w, self.b, self.rare]
        self.opt = kind(self.all, lr=0.05)

    def loss(self, x):
        return ((self.w * x).sum() + self.b - 3).square().sum()

    def state(self):
        return [(p.tolist(), None if p.grad is None else p.grad.tolist()) for p in self.all]


def only_small_losses(net, x):
    loss = net.loss(x)
    if loss < 10:
        loss.backward()
        net.opt.step()
        net.opt.zero_grad()
    return loss


def left_behind(net, x):
    net.opt.zero_grad()
    loss = net.loss(x)
    if loss < 10:
        (loss * net.rare).sum().backward()
    net.opt.step()
    return loss


def both_ways(net, x):
    net.opt.zero_grad()
    if x.sum() > 1:
        net.loss(x).backward()
    else:
        (net.rare * x.sum()).sum().backward()
    net.opt.step()
    return x


def through_what_is_outside(net, x):
    hidden = net.w * x
    if x.sum() > 0:
        y = hidden.sum() * net.b
        if y.sum() > -3:
            y.square().sum().backward()
        else:
            (y * net.rare).sum().backward()
    return hidden.detach()


def accumulated(net, x):
    net.opt.zero_grad()
    turn = dg.tensor(0)
    while turn < x[0]:
        (net.loss(x * turn) / 4).backward()
        turn = turn + 1
    net.opt.step()
    return turn


def trained_to_the_end(net, x):
    turns = 0
    loss = net.loss(x).detach()
    while loss > 0.5:
        net.opt.zero_grad()
        now = net.loss(x)
        now.backward()
        net.opt.step()
        loss = net.loss(x).detach()
        turns += 1
        if turns > 12:
            break
    return loss, turns


def accumulated_on_some_turns(net, x):
    for i in range(10):
        if x.sum() + i > 7:
            net.loss(x + i).backward()
        if i == 8 and x.sum() < 0:
            net.opt.zero_grad()
    return x


def on_top_of_what_may_be_there(net, x):
    net.opt.zero_grad()
    if x.sum() > 1:
        (net.rare * 3).sum().backward()
    net.loss(x).backward()
    if x.sum() < 0:
        (net.rare * x.sum()).sum().backward()
    net.opt.step()
    return x


def raises_after_it(net, x):
    net.opt.zero_grad()
    loss = net.loss(x)
    if loss > 4:
        loss.backward()
        assert net.w.grad.abs().sum() < 60, "too steep"
        net.opt.step()
    return loss


STEPS = [
    only_small_losses,
    left_behind,
    both_ways,
    through_what_is_outside,
    accumulated,
    trained_to_the_end,
    accumulated_on_some_turns,
    on_top_of_what_may_be_there,
    raises_after_it,
]


def outcome(step, kind, switch):
    net = Net(kind)
    function = switch(lambda x: step(net, x))
    found = []
    for values in ([1.0, 0.5], [3.0, -1.0], [0.0, 0.1], [-4.0, 2.0], [2.0, 0.0], [1.0, 0.5]):
        try:
            result = function(dg.tensor(values))
            result = [x.tolist() if isinstance(x, dg.Tensor) else x for x in (result if isinstance(result, tuple) else (result,))]
        except AssertionError as error:
            result = str(error)
        found.append((result, net.state()))
    return found


@pytest.mark.parametrize("kind", [dg.optim.SGD, dg.optim.Adam])
@pytest.mark.parametrize("step", STEPS)
def test_as_in_dynamic_mode(step, kind):
    expected = outcome(step, kind, lambda f: f)
    assert outcome(step, kind, lambda f: dg.static(f, strict=True)) == expected
    for (result, state), (other, after) in zip(expected, outcome(step, kind, dg.static)):
        assert str(result)[:4] == str(other)[:4]
        for (p, g), (q, h) in zip(state, after):
            assert p == pytest.approx(q, rel=1e-4, abs=1e-5) and (g is None) == (h is None)


def test_what_cannot_be_is_refused_with_the_line():
    w = dg.ones(2, requires_grad=True)

    def chosen(x):
        if x.sum() > 0:
            (w * x).sum().backward(inputs=[w])
        return x

    def of_the_turn_before(x):
        loss = (w * x).sum()
        while loss < 10:
            loss.backward()
            loss = (w * x).sum() + w.grad.sum()
        return loss

    with pytest.raises(dg.errors.CaptureError, match=r"autograd\.grad") as error:
        dg.static(chosen)(dg.ones(2))
    assert "backward(inputs=[w])" in str(error.value)

    def looked_at(x):
        w.grad = None
        if x.sum() > 0:
            (w * x).sum().backward()
        return x if w.grad is None else w.grad * 2

    with pytest.raises(dg.errors.CaptureError, match="a gradient here or None") as error:
        dg.static(looked_at)(dg.ones(2))
    assert "w.grad is None" in str(error.value)
    with pytest.raises(dg.errors.CaptureError, match="the turn before") as error:
        dg.static(of_the_turn_before)(dg.ones(2))
    assert "loss.backward()" in str(error.value)
