"""Objects that a static function makes and hands out: each run makes them anew, or they are refused."""

from __future__ import annotations

import functools
from collections import OrderedDict, deque
from types import SimpleNamespace

import pytest

import duograph as dg
from duograph.errors import CaptureError


class Out:
    def __init__(self, y, n):
        self.y, self.n, self.text = y, n, "t"


def show(value):
    """Something comparable."""
    if isinstance(value, dg.Tensor):
        return value.tolist()
    if isinstance(value, (Out, SimpleNamespace)):
        return type(value).__name__, show(vars(value))
    if isinstance(value, dict):
        return type(value).__name__, [(key, show(x)) for key, x in value.items()]
    if isinstance(value, (list, tuple, set, deque)):
        return type(value).__name__, [show(x) for x in value]
    return value


MADE = {
    "object": lambda x: Out(x * 2, len(x)),
    "namespace": lambda x: SimpleNamespace(a=x * 2, b=[x + 1, None]),
    "ordered": lambda x: OrderedDict(z=x * 2, a=x.shape[0]),
    "deque": lambda x: deque([x * 2, 1]),
    "set": lambda x: {x * 2},
    "nested": lambda x: {"a": [Out(Out(x * 2, 1), 2.0)], "b": (deque([x]),)},
}


@pytest.mark.parametrize("function", MADE.values(), ids=MADE)
def test_made_anew_by_each_run(function):
    static = dg.static(function)
    made = []
    for n in (2, 2, 3, 4):
        x = dg.tensor([float(n + i) for i in range(n)])
        made.append(static(x))
        assert show(made[-1]) == show(function(x))
    assert len({id(x) for x in made}) == 4


def test_left_behind_in_an_attribute():
    holder = SimpleNamespace(out=None)

    def f(x):
        holder.out = Out(x * 2, 1)

    static = dg.static(f)
    for n in (1.0, 2.0, 3.0):
        static(dg.tensor([n]))
        assert holder.out.y.tolist() == [2 * n]


class Node:
    def __init__(self, y):
        self.y, self.me = y, self


class Row(list):
    pass


REFUSED = {
    "partial": lambda x: functools.partial(dg.add, x * 2),
    "closure": lambda x: (lambda y: lambda: y)(x * 2),
    "key": lambda x: {x * 2: 1},
    "range": lambda x: range(x.argmax()),
    "zip": lambda x: [zip(x, x)],
    "cycle": lambda x: Node(x * 2),
    "subclass": lambda x: Row([x * 2]),
}


@pytest.mark.parametrize("function", REFUSED.values(), ids=REFUSED)
def test_refused(function):
    with pytest.raises(CaptureError, match="that leaves the function holds a tensor or number") as raised:
        dg.static(function)(dg.ones(2))
    assert f"{__file__}:" in str(raised.value)


@pytest.mark.parametrize(
    "function",
    [lambda x: (v for v in x), lambda x: map(dg.relu, x), lambda x: iter([1, 2])],
    ids=["generator", "map", "iter"],
)
def test_iterators_are_refused(function):
    with pytest.raises(CaptureError, match="would be used up after the first run") as raised:
        dg.static(function)(dg.ones(2))
    assert "return list(" in str(raised.value)


TEXTS = {
    "repr": lambda x: repr(x.sum()),
    "str of a list": lambda x: str([x * 2, len(x)]),
    "f-string": lambda x: f"{[x * 2, {1: x}]!r:>30}",
    "modulo": lambda x: "%s" % [x * 2],
    "format": lambda x: "{} {n}".format({"a": x}, n=1),
    "join": lambda x: ", ".join(str(v) for v in x) + "|".join(["a", repr(x), "b"]),
}


@pytest.mark.parametrize("function", TEXTS.values(), ids=TEXTS)
def test_texts(function):
    static = dg.static(function)
    for x in (dg.ones(2), dg.zeros(2), dg.ones(3)):
        assert static(x) == function(x)


def test_texts_that_no_run_could_fill_in():
    with pytest.raises(CaptureError, match="was made where no run could fill it in"):
        dg.static(lambda x: ascii(x * 2))(dg.ones(2))
    for look in (len, lambda text: text[0], lambda text: "1" in text, lambda text: text == "1"):
        with pytest.raises(CaptureError, match="exists only when the static function runs") as raised:
            dg.static(lambda x, look=look: look(str(x)))(dg.ones(2))
        assert f"{__file__}:" in str(raised.value)
