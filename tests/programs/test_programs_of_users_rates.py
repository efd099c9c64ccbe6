"""Numbers that change: learning rates written inside of a step, schedulers, functions of NumPy. The modes agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from user_modes import Program, check, make

import duograph as dg
from duograph import nn


def numpy_root():
    def f(x):
        return x / np.sqrt(x.shape[0])

    return Program(f, *[(make(n),) for n in (3, 4, 5, 6, 7)])


def numpy_functions():
    def f(x):
        return (x @ x.T) / np.sqrt(x.shape[-1]) * np.log(x.shape[0]) + np.pi

    return Program(f, *[(make(n, n + 1),) for n in (3, 4, 5, 6, 7)])


def roots():
    def f(x):
        return x / math.sqrt(x.shape[0])

    return Program(f, *[(make(n),) for n in (3, 4, 5, 6, 7)])


def numpy_numbers():
    def f(x):
        return x * np.float32(x.shape[0]) + np.prod(x.shape)

    return Program(f, *[(make(n, 2),) for n in (3, 4, 5, 6, 7)])


def rate_of_a_counter():
    w = nn.Parameter(make(4))
    o = dg.optim.SGD([w], lr=0.1)
    st = {"t": 0}

    def f(x):
        st["t"] += 1
        for g in o.param_groups:
            g["lr"] = 0.1 / (st["t"])
        o.zero_grad()
        l = ((w - x) ** 2).sum()
        l.backward()
        o.step()
        return l.detach()

    return Program(f, *[(make(4, seed=i),) for i in range(6)], state=lambda: [w.detach(), o.param_groups[0]["lr"]])


def rate_given():
    w = nn.Parameter(make(4))
    o = dg.optim.Adam([w], lr=0.1)

    def f(x, lr):
        o.param_groups[0]["lr"] = lr
        o.zero_grad()
        l = ((w - x) ** 2).sum()
        l.backward()
        o.step()
        return l.detach()

    return Program(f, *[(make(4, seed=i), 0.1 / (i + 1)) for i in range(6)], state=lambda: [w.detach(), o.param_groups[0]["lr"]])


def rate_decayed():
    w = nn.Parameter(make(4))
    o = dg.optim.SGD([w], lr=0.1, momentum=0.9)

    def f(x):
        for g in o.param_groups:
            g["lr"] *= 0.9
        o.zero_grad()
        l = ((w - x) ** 2).sum()
        l.backward()
        o.step()
        return l.detach()

    return Program(f, *[(make(4, seed=i),) for i in range(6)], state=lambda: [w.detach(), o.param_groups[0]["lr"]])


def cosine_rate():
    w = nn.Parameter(make(4))
    o = dg.optim.SGD([w], lr=0.1)
    st = {"t": 0}

    def f(x):
        st["t"] += 1
        lr = 0.1 * 0.5 * (1 + math.cos(math.pi * st["t"] / 10))
        for g in o.param_groups:
            g["lr"] = lr
        o.zero_grad()
        l = ((w - x) ** 2).sum()
        l.backward()
        o.step()
        return l.detach()

    return Program(f, *[(make(4, seed=i),) for i in range(6)], state=lambda: [w.detach(), o.param_groups[0]["lr"]])


def warm_up():
    w = nn.Parameter(make(4))
    o = dg.optim.SGD([w], lr=0.1)
    st = {"t": 0}

    def f(x):
        st["t"] += 1
        lr = 0.1 * min(1.0, st["t"] / 3)
        for g in o.param_groups:
            g["lr"] = lr
        o.zero_grad()
        l = ((w - x) ** 2).sum()
        l.backward()
        o.step()
        return l.detach()

    return Program(f, *[(make(4, seed=i),) for i in range(6)], state=lambda: [w.detach(), o.param_groups[0]["lr"]])


def scheduled(schedule, advance):
    """Steps of which each ends with `advance(scheduler, loss)`."""
    w = nn.Parameter(make(4))
    o = dg.optim.SGD([w], lr=0.1)
    s = schedule(o)

    def f(x):
        o.zero_grad()
        l = ((w - x) ** 2).sum()
        l.backward()
        o.step()
        advance(s, l)
        return l.detach()

    return Program(f, *[(make(4, seed=i),) for i in range(6)], state=lambda: [w.detach(), o.param_groups[0]["lr"]])


def exponential_schedule():
    return scheduled(lambda o: dg.optim.lr_scheduler.ExponentialLR(o, 0.9), lambda s, l: s.step())


def cosine_schedule():
    return scheduled(lambda o: dg.optim.lr_scheduler.CosineAnnealingLR(o, 10), lambda s, l: s.step())


def plateau():
    def advance(s, l):
        print(s.get_last_lr(), s.last_epoch)
        s.step(l)

    return scheduled(lambda o: dg.optim.lr_scheduler.ReduceLROnPlateau(o, patience=1, factor=0.5), advance)


CAPTURES = {
    numpy_root: 2,
    numpy_functions: 5,
    numpy_numbers: 5,
    roots: 2,
    rate_of_a_counter: 1,
    rate_given: 1,
    rate_decayed: 1,
    cosine_rate: 1,
    warm_up: 2,
    exponential_schedule: 1,
    cosine_schedule: 1,
    plateau: 1,
}


@pytest.mark.filterwarnings("ignore:static")
@pytest.mark.parametrize("program", CAPTURES, ids=lambda program: program.__name__)
def test_modes_agree(program):
    check(program, CAPTURES[program])


def test_a_rate_read_after_the_step_that_changes_it_is_refused():
    w = nn.Parameter(make(4))
    o = dg.optim.SGD([w], lr=0.1)
    s = dg.optim.lr_scheduler.ExponentialLR(o, 0.9)

    @dg.static
    def f(x):
        for _ in range(2):
            o.zero_grad()
            ((w - x) ** 2).sum().backward()
            o.step()
            s.step()

    with pytest.raises(dg.errors.CaptureError, match="is read after a call that changes it"):
        f(make(4))
    assert s.last_epoch == 0 and o.param_groups[0]["lr"] == 0.1
