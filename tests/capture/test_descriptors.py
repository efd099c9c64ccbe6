"""Attributes that the user's classes compute: setters, cached properties, descriptors of one's own."""

from __future__ import annotations

import functools

import pytest

import duograph as dg
from duograph import nn


class Doubled:
    def __init__(self):
        self._n, self.log = 1.0, []

    @property
    def n(self):
        return self._n

    @n.setter
    def n(self, value):
        self._n = value * 2
        self.log.append(1)

    def step(self, x):
        self.n = self.n + 1
        return x * self._n * self.n

    def look(self):
        return self._n, len(self.log)


class Field:
    def __set_name__(self, owner, name):
        self.key, self.count = "_" + name, 0

    def __get__(self, holder, cls=None):
        return self if holder is None else holder.__dict__[self.key] + 1

    def __set__(self, holder, value):
        self.count += 1
        holder.__dict__[self.key] = value * 3


class WithField:
    a = Field()

    def __init__(self):
        self.a = 2.0
        WithField.__dict__["a"].count = 0

    def step(self, x):
        self.a = self.a + 1
        y = x * self.a
        self.a += 1
        return y * self.__dict__["_a"]

    def look(self):
        return self.a, WithField.__dict__["a"].count


class Counting:
    def __init__(self, function):
        self.function, self.n = function, 0

    def __call__(self, *args):
        self.n += 1
        return self.function(*args) * self.n

    def __get__(self, holder, cls):
        return self if holder is None else functools.partial(self, holder)


def with_counting():
    class Made:
        k = 3.0

        @Counting
        def step(self, x):
            return x * self.k

        def look(self):
            return type(self).__dict__["step"].n

    return Made()


class Cached:
    def __init__(self):
        self.w, self.calls = 2.0, 0

    @functools.cached_property
    def table(self):
        self.calls += 1
        return self.w * 10

    def step(self, x):
        y = x * self.table
        self.w += 1
        return y + self.table

    def look(self):
        return self.w, self.table, self.calls


@pytest.mark.parametrize("make", [Doubled, WithField, with_counting, Cached])
def test_modes_agree(make):
    x = dg.tensor([1.0, 2.0])
    plain, held = make(), make()
    expected = [(plain.step(x).tolist(), plain.look()) for _ in range(3)]
    if make is WithField:
        held = make()
    static = dg.static(lambda x: held.step(x))
    assert [(static(x).tolist(), held.look()) for _ in range(3)] == expected
    assert static.captures <= 2


def test_a_cached_tensor_of_a_module():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(3, 3)

        @functools.cached_property
        def table(self):
            return self.lin.weight.detach() * 2

        def forward(self, x):
            return self.lin(x) @ self.table

    model, x = Model(), dg.ones(2, 3).requires_grad_()
    static = dg.static(model)
    y = static(x)
    first = model.table.clone()
    (g,) = dg.autograd.grad((y * y).sum(), [x], create_graph=True)
    dg.autograd.grad((g * g).sum(), [x])
    with dg.no_grad():
        model.lin.weight.mul_(3)
    assert static(x).tolist() == model(x).tolist()  # with what was cached
    assert model.table.tolist() == first.tolist()
    del model.table
    assert static(x).tolist() == model(x).tolist()
    assert model.table.tolist() == (first * 3).tolist()
