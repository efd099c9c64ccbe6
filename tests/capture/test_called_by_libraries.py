"""User code that Python's library calls, in static functions: what it reads is read anew at each run."""

from __future__ import annotations

import abc
import contextlib
import functools
import heapq
import itertools
import operator

import pytest
from both_modes import reads_anew

import duograph as dg


class Config:
    scale = 2.0


config = Config()
config.scale = 2.0


def scaled(x):
    return x * config.scale


def near(value):
    return abs(value - config.scale)


def step(a, b):
    return a * config.scale + b


class Layer:
    @functools.singledispatchmethod
    def go(self, x):
        return x

    @go.register
    def _(self, x: dg.Tensor):
        return scaled(x)

    def method(self, x, k=1):
        return x * config.scale * k

    @property
    def now(self):
        return config.scale

    @functools.cached_property
    def once(self):
        return config.scale * 2

    def __call__(self, x):
        return x * config.scale


layer = Layer()


class Abstract(abc.ABC):
    def __init__(self, x):
        self.x = x * config.scale

    @abc.abstractmethod
    def go(self): ...


class Derived(Abstract):
    def __init__(self, x):
        super().__init__(x)
        self.y = self.x * config.scale

    def go(self):
        return self.y


class Made:
    def __new__(cls, x):
        self = super().__new__(cls)
        self.x = x * config.scale
        return self


class Shape:
    def __new__(cls, kind, x):
        return object.__new__(Round if kind == "round" else cls)

    def __init__(self, kind, x):
        self.x = x * config.scale


class Round(Shape):
    def __init__(self, kind, x):
        self.x = x * config.scale * 10


class Items(list):
    def __init__(self, items):
        super().__init__(x * config.scale for x in items)


class Manager(contextlib.ContextDecorator):
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@Manager()
def managed(x):
    return x * config.scale


@contextlib.contextmanager
def generated():
    yield


@generated()
def managed_too(x):
    return x * config.scale


PROGRAMS = [
    lambda x: layer.go(x),
    lambda x: Layer().go(x),
    lambda x: operator.methodcaller("method", x, k=2)(layer),
    lambda x: operator.methodcaller("method", x)(Layer()),
    lambda x: x * operator.attrgetter("scale")(config),
    lambda x: x * operator.attrgetter("now")(Layer()),
    lambda x: x * Layer().now,
    lambda x: x * Layer().once,
    lambda x: operator.call(layer, x),
    lambda x: next(itertools.starmap(layer.method, [(x, 2)])),
    lambda x: list(itertools.accumulate([x, x], step))[-1],
    lambda x: functools.reduce(step, [x, x]),
    lambda x: next(map(layer, [x])),
    lambda x: next(map(Made, [x])).x,
    lambda x: x * heapq.nsmallest(1, [1.0, 3.0, 5.0], key=near)[0],
    lambda x: x * sorted([1.0, 3.0, 5.0], key=near)[0],
    lambda x: x * len(list(itertools.takewhile(near, [1.0, 3.0, 5.0]))),
    lambda x: Derived(x).y,
    lambda x: Made(x).x,
    lambda x: Shape("round", x).x + Shape("flat", x).x,
    lambda x: Items([x])[0],
    managed,
    managed_too,
    lambda x: managed(x) + managed_too(x),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=map(str, range(len(PROGRAMS))))
def test_what_it_reads_is_read_anew(program):
    def run(x):
        return program(x)

    reads_anew(run, config)
