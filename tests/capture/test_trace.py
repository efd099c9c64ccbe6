"""`dg.jit.trace`: one way through a function, captured at once; what a value decides is refused with the line."""

from __future__ import annotations

import random
import time

import pytest
from user_modes import frozen

import duograph as dg

X, N = dg.tensor([1.0, 2.0, 3.0]), dg.tensor(2)


def looped(x, n):
    for i in range(n):
        x = x + i
    return x


def while_(x):
    while x.sum() < 10:
        x = x + 1
    return x


def asserts(x):
    assert x.sum() > 0
    return x


def raises(x):
    if x.sum() < 0:
        raise ValueError("negative")
    return x


def collects(x):
    out = []
    for v in x:
        if v > 1:
            out += [v]
    return out


@dg.static
def inner(x):
    return x if x.sum() > 0 else -x


REFUSED = [
    (lambda x: x if x.sum() > 0 else -x, (X,), "use dg.static"),
    (while_, (X,), "use dg.static"),
    (looped, (X, N), "use dg.static"),
    (asserts, (X,), "use dg.static"),
    (raises, (X,), "use dg.static"),
    (collects, (X,), "use dg.static"),
    (inner, (X,), "use dg.static"),
    (lambda x: inner(x) * 2, (X,), "use dg.static"),
    (lambda x: x.sum() > 0 and x.sum() < 3, (X,), "use dg.static"),
    (lambda x: x.sum() > 0 or x.sum() < 3, (X,), "use dg.static"),
    (lambda x: not x.sum() > 0, (X,), "use dg.static"),
    (lambda x: 0 < x.sum() < 3, (X,), "use dg.static"),
    (lambda x: max(x[0], x[1]), (X,), "use dg.static"),
    (lambda x: [v for v in x if v > 1], (X,), "use dg.static"),
    (lambda x: {True: 1}[bool(x.sum() > 0)], (X,), "use dg.static"),
    (lambda x, n: x[: int(n)], (X, N), "hint"),
    (lambda x: x * x.sum().item(), (X,), "hint"),
    (lambda x: x.tolist(), (X,), "hint"),
    (lambda x: x * random.random(), (X,), "pass the result"),
    (lambda x: x * time.time(), (X,), "pass the result"),
]


@pytest.mark.parametrize(("function", "example", "hint"), REFUSED)
def test_what_a_value_decides_is_refused_when_it_is_traced(function, example, hint):
    with pytest.raises(dg.errors.CaptureError, match=hint) as error:
        dg.jit.trace(function, example)
    assert "test_trace.py:" in str(error.value)


def rows(x):
    total = dg.zeros(())
    for row in x:
        total = total + row
    return total


FOLLOWED = [
    (lambda x: x * 2, [(X,), (dg.ones(5),), (dg.ones(2, 2),), (dg.ones(7),)]),
    (rows, [(X,), (dg.ones(4),), (dg.ones(6),)]),
    (looped, [(X, 2), (X, 3), (X, 0)]),
    (lambda x, n: x[:n], [(X, N), (X, dg.tensor(1)), (X, dg.tensor(-1))]),
    (lambda x, n: x[n], [(X, N), (X, dg.tensor(0))]),
    (lambda x, n: dg.zeros(n) + 1, [(X, N), (X, dg.tensor(3))]),
    (lambda x: x[x > 1.5], [(X,), (dg.ones(3),)]),
    (lambda x: x * 2 if len(x) > 4 else x, [(X,), (dg.ones(5),), (dg.ones(6),)]),
    (lambda d: [d["a"] * 2, d["b"]], [({"a": X, "b": 1},), ({"a": -X, "b": 2},)]),
    (lambda x: [v * 2 for v in x], [(X,), (dg.ones(4),)]),
    (lambda x: dg.where(x > 1, x, -x), [(X,), (-X,)]),
]


@pytest.mark.parametrize(("function", "calls"), FOLLOWED)
def test_nothing_is_frozen(function, calls):
    traced = dg.jit.trace(function, calls[0])
    assert traced.captures == 1
    for args in calls:
        assert frozen(traced(*args)) == frozen(function(*args))


def test_it_is_captured_at_once_and_without_effects(capsys):
    log = []

    def f(x):
        log.append(1)
        print(f"{x.sum():.1f}")
        return x * 2

    traced = dg.jit.trace(f, X)
    assert (traced.captures, log, capsys.readouterr().out) == (1, [], "")
    traced(X)
    traced(X * 2)
    assert (traced.captures, log, capsys.readouterr().out) == (1, [1, 1], "6.0\n12.0\n")


def test_a_module_keeps_its_methods_and_modes():
    model = dg.nn.Sequential(dg.nn.Linear(3, 2), dg.nn.Dropout(0.5))
    traced = dg.jit.trace(model, X)
    assert len(list(traced.parameters())) == 2
    model.eval()
    assert frozen(traced(X)) == frozen(model(X))


def test_gradients_go_through_it():
    x = dg.tensor([1.0, 2.0], requires_grad=True)
    dg.jit.trace(lambda v: (v * v).sum(), x)(x).backward()
    assert x.grad.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("target", [3, "text", dict, dg.nn.Linear])
def test_what_is_no_function_is_refused(target):
    with pytest.raises(dg.errors.ArgumentError, match="expected a function or a Module"):
        dg.jit.trace(target, X)
