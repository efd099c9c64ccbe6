"""Objects, lists and dicts that the sides of a branch replace, change or leave: what is one object stays one."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass

import pytest

import duograph as dg


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b

    def __add__(self, other):
        return Pair(self.a + other.a, self.b - other.b)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class Logged:
    def __init__(self, x):
        self.x, self.log, self.counts = x, [], {"n": 0}

    def scale(self, k):
        self.x = self.x * k
        self.log.append("scaled")
        self.counts["n"] += k


@dataclass
class Normed:
    x: object
    n: int = 0

    def __post_init__(self):
        self.norm = self.x.abs().sum()


def attribute_besides_the_fields(x):
    d = Normed(x)
    if x.sum() > 0:
        d = Normed(x * 2)
    return d.norm, d.x


def attribute_besides_the_fields_in_a_loop(x):
    d = Normed(x)
    while d.norm < 50:
        d = Normed(d.x * 1.5)
    return d.norm, d.x


def list_in_an_object_that_changes(x):
    s = Logged(x)
    log, counts = s.log, s.counts
    if x.sum() > 0:
        s.scale(2)
    else:
        s.scale(3)
    s.log.append("end")
    return s.x, log, counts["n"], log is s.log, counts is s.counts


def list_in_a_tuple_that_changes(x):
    t = (x, [1, 2])
    numbers = t[1]
    if x.sum() > 0:
        t = (x * 2, t[1])
    t[1].append(3)
    return t[0], numbers, len(t[1])


def one_object_by_two_names(x):
    if x.sum() > 0:
        a = b = [x]
    else:
        a = b = [x * 2]
    a[0] = a[0] + 1
    return a[0], b[0], a is b


def changed_here_replaced_there(x):
    s = {"pair": Slotted(x, [x])}
    if x.sum() > 0:
        s["pair"].a = x * 2
        s["pair"].b[0] = x - 1
    else:
        s = {"pair": Slotted(x * 3, [x + 1])}
    return s["pair"].a, s["pair"].b[0]


def dataclass_changed_here_replaced_there(x):
    d = Normed(x)
    before = d
    if x.sum() > 0:
        d.x = x * 2
        d.n = 4
    else:
        d = Normed(x * 3)
    return d.x, d.norm, d.n, before.n


def slots_in_a_branch(x):
    s = Slotted(x, 1)
    if x.sum() > 0:
        s.a, s.b = s.a * 2, x.mean()
    else:
        s.a, s.b = s.a * 3, x.max()
    return s.a, s.b


def slots_in_a_loop(x):
    s = Slotted(x, 1.0)
    other = s
    while s.a.abs().sum() < 90:
        s.a = s.a * 1.3
        s.b += 1
    return s.a, other.a, other.b


def slot_without_a_value_before(x):
    s = Slotted.__new__(Slotted)
    s.a = x
    if x.sum() > 0:
        s.b = x.mean()
    else:
        s.b = x.max()
    del s.a
    return s.b, hasattr(s, "a")


def operators_of_a_class(x):
    v = Pair(x, x * 2)
    if x.sum() > 0:
        v = v + Pair(x, x * 0.5)
    else:
        v = Pair(v.b, v.a)
    for _ in range(2):
        v = v + v if v.a.sum() > 0 else Pair(v.b, v.a)
    return v.a, v.b


def operators_of_a_class_in_a_loop(x):
    v, n = Pair(x, x * 2), 0
    while v.a.abs().sum() < 200:
        v = v + Pair(v.a, v.b * 0.5)
        n += 1
    return v.a, v.b, n


def parents(x):
    root = Pair(x, None)
    child = Pair(x * 2, root)
    if x.sum() > 0:
        child = Pair(x * 3, root)
    child.b.a = child.b.a + 1
    return root.a, child.a, child.b is root


def rings(x):
    a, b = Pair(x, None), Pair(x * 2, None)
    a.b, b.b = b, a
    if x.sum() > 0:
        a.a = a.b.a * 3
    else:
        b.a = b.b.a - 1
    return a.a, b.a, a.b is b


def list_kept_by_a_loop(x):
    held = [x, 0.5]
    other = held
    while x.abs().sum() < 90:
        x = x * 1.5
        held[0] = x
        held = other
    other[0] = other[0] + 1
    return held[0], other[0]


def dicts_of_the_library(x):
    sums, ordered, last = defaultdict(float), OrderedDict(a=x, b=x * 2), deque([x, x + 1], maxlen=2)
    counts = Counter(up=1)
    for i, v in enumerate(x[:3]):
        sums[i % 2] += v
    for key in list(sums):
        if sums[key] > 0:
            sums[key] = sums[key] * 2
            counts["up"] += 2
            last.append(ordered["a"])
        else:
            counts["up"] -= 1
            last.append(ordered["b"])
    if x.sum() > 0:
        ordered["a"] = ordered["b"]
    return sums[0], sums[1], *ordered.values(), *last, counts["up"], list(ordered), len(sums)


FUNCTIONS = [
    attribute_besides_the_fields, attribute_besides_the_fields_in_a_loop, list_in_an_object_that_changes,
    list_in_a_tuple_that_changes, one_object_by_two_names, changed_here_replaced_there,
    dataclass_changed_here_replaced_there, slots_in_a_branch, slots_in_a_loop, slot_without_a_value_before,
    operators_of_a_class, operators_of_a_class_in_a_loop, parents, rings, list_kept_by_a_loop,
    dicts_of_the_library,
]  # fmt: skip


def run(function, values):
    x = dg.tensor(values, requires_grad=True)
    results = function(x * 1)
    tensors = [r for r in results if isinstance(r, dg.Tensor) and r.requires_grad]
    (first,) = dg.autograd.grad(sum((t * t).sum() for t in tensors), [x], create_graph=True)
    (second,) = dg.autograd.grad((first * first).sum(), [x])
    return [*(r.tolist() if isinstance(r, dg.Tensor) else r for r in results), first.tolist(), second.tolist()]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_as_in_dynamic_mode(function):
    static = dg.static(function, strict=True)
    for values in ([1.0, 2.0, 0.5], [-1.0, -2.0, 0.5], [2.0, -0.5, 1.0, 3.0]):
        assert run(static, values) == run(function, values)


def test_dataclass_with_more_attributes_than_fields_comes_and_goes():
    def f(d):
        made = Normed(d.x * d.norm + d.extra)
        made.text = "t"
        return made

    static = dg.static(f)
    for k in range(3):
        d = Normed(dg.tensor([1.0 + k, 2.0]))
        d.extra = float(k)
        got, expected = static(d), f(d)
        assert got.x.tolist() == expected.x.tolist()
        assert got.norm.tolist() == expected.norm.tolist()
        assert got.text == "t"
    assert static.captures == 1


def test_an_object_with_slots_is_made_anew_by_each_run():
    static = dg.static(lambda x: Slotted(x * 2, 1))
    first, second = static(dg.tensor([1.0])), static(dg.tensor([2.0]))
    assert (first.a.tolist(), second.a.tolist(), first.b) == ([2.0], [4.0], 1)
