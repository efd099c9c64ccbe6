"""State that loops keep in objects, closures and containers, at lengths that change: dynamic, static and strict agree."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import types

import numpy as np
import pytest
from user_modes import Program, check, make


def nonloc_state(x):
    h = x[0]

    def step(r):
        nonlocal h
        h = h * 0.5 + r

    for r in x:
        step(r)
    return h


def nonloc_read_state(x):
    h = x[0]
    y = x[0] * 0

    def step(r):
        nonlocal h
        h = h * 0.5 + r
        return h

    for r in x:
        y = y + step(r)
    return y


def closure_list_state(x):
    h = [x[0]]
    y = x[0] * 0

    def step(r):
        h[0] = h[0] * 0.5 + r
        return h[0]

    for r in x:
        y = y + step(r)
    return y


def closure_append_state(x):
    h = [x[0]]
    y = x[0] * 0

    def step(r):
        h.append(h[-1] * 0.5 + r)
        return h[-1]

    for r in x:
        y = y + step(r)
    return y


def nested_dict_state(x):
    s = {"p": {"q": x[0]}}
    y = x[0] * 0
    for r in x:
        s["p"]["q"] = s["p"]["q"] * 0.5 + r
        y = y + s["p"]["q"]
    return y


def dict1_state(x):
    s = {"p": x[0]}
    y = x[0] * 0
    for r in x:
        s["p"] = s["p"] * 0.5 + r
        y = y + s["p"]
    return y


def obj_state(x):
    class S:
        pass

    s = S()
    s.h = x[0]
    y = x[0] * 0
    for r in x:
        s.h = s.h * 0.5 + r
        y = y + s.h
    return y


class Cell:
    def __init__(self, h):
        self.h = h

    def __call__(self, r):
        self.h = self.h * 0.5 + r
        return self.h


def objcall_state(x):
    s = Cell(x[0])
    y = x[0] * 0
    for r in x:
        y = y + s(r)
    return y


@dataclasses.dataclass
class D:
    h: object
    n: int = 0


def dcls_state(x):
    s = D(x[0])
    y = x[0] * 0
    for r in x:
        s.h = s.h * 0.5 + r
        s.n += 1
        y = y + s.h * s.n
    return y


def dcls_fn_state(x):
    s = D(x[0])
    y = x[0] * 0

    def upd(s, r):
        s.h = s.h * 0.5 + r
        s.n += 1
        return s.h * s.n

    for r in x:
        y = y + upd(s, r)
    return y


def deq_state(x):
    s = collections.deque([x[0], x[1]], maxlen=2)
    y = x[0] * 0
    for r in x:
        s.append(s[0] * 0.5 + r)
        y = y + s[0] + s[-1]
    return y


def dflt_state(x):
    s = collections.defaultdict(lambda: x[0] * 0)
    y = x[0] * 0
    for i, r in enumerate(x):
        s["a"] = s["a"] * 0.5 + r
        y = y + s["a"]
    return y


def ctr_state(x):
    s = collections.Counter()
    y = x[0] * 0
    for i, r in enumerate(x):
        s["a"] += 1
        y = y + r * s["a"]
    return y


def setattr__state(x):
    s = types.SimpleNamespace(h=x[0])
    y = x[0] * 0
    for r in x:
        s.h = s.h * 0.5 + r
        y = y + s.h
    return y


def lst_of_lst_state(x):
    s = [[x[0]], [x[1]]]
    y = x[0] * 0
    for r in x:
        s[0][0] = s[0][0] * 0.5 + r
        y = y + s[0][0]
    return y


def gen_state(x):
    def g():
        h = x[0]
        while True:
            h = h * 0.5 + 1
            yield h

    it = g()
    y = x[0] * 0
    for r in x:
        y = y + next(it) * r
    return y


def itr_state(x):
    it = iter([1.0, 2.0, 3.0] * 10)
    y = x[0] * 0
    for r in x:
        y = y + next(it) * r
    return y


def count__state(x):
    it = itertools.count()
    y = x[0] * 0
    for r in x:
        y = y + next(it) * r
    return y


def pop_state(x):
    w = list(range(30))
    y = x[0] * 0
    for r in x:
        y = y + w.pop() * r
    return y


def memo_state(x):
    c = {}
    y = x[0] * 0
    for r in x:
        if "k" not in c:
            c["k"] = r * 2
        y = y + c["k"] * r
    return y


def memo_obj_state(x):
    class S:
        k = None

    s = S()
    y = x[0] * 0
    for r in x:
        if s.k is None:
            s.k = r * 2
        y = y + s.k * r
    return y


def firstflag_state(x):
    y = x[0] * 0
    first = True
    for r in x:
        if first:
            y = y + r * 10
            first = False
        y = y + r
    return y


def prev_state(x):
    y = x[0] * 0
    p = None
    for r in x:
        if p is not None:
            y = y + p * r
        p = r
    return y


def setadd_state(x):
    y = x[0] * 0
    s = set()
    for i, r in enumerate(x):
        s.add(i)
        y = y + r * len(s)
    return y


def lru_state(x):
    calls = []

    @functools.lru_cache
    def g(k):
        calls.append(k)
        return k * 2

    y = x[0] * 0
    for r in x:
        y = y + g(1) * r
    return y * len(calls)


class Acc:
    def __init__(self):
        self.total = 0
        self.n = 0

    def add(self, v):
        self.total = self.total + v
        self.n += 1

    @property
    def mean(self):
        return self.total / self.n


def acc_state(x):
    a = Acc()
    y = x[0] * 0
    for r in x:
        a.add(r)
        y = y + a.mean
    return y


def acc_end_state(x):
    a = Acc()
    for r in x:
        a.add(r)
    return a.mean


def partial_state_state(x):
    st = {"h": x[0]}

    def step(st, r):
        st["h"] = st["h"] * 0.5 + r
        return st["h"]

    g = functools.partial(step, st)
    y = x[0] * 0
    for r in x:
        y = y + g(r)
    return y


def meth_state_state(x):
    class S:
        def __init__(s):
            s.h = x[0]

        def step(s, r):
            s.h = s.h * 0.5 + r
            return s.h

    f = S().step
    y = x[0] * 0
    for r in x:
        y = y + f(r)
    return y


def fnattr_state(x):
    def step(r):
        step.h = step.h * 0.5 + r
        return step.h

    step.h = x[0]
    y = x[0] * 0
    for r in x:
        y = y + step(r)
    return y


def clsattr_state(x):
    class S:
        h = x[0]

    y = x[0] * 0
    for r in x:
        S.h = S.h * 0.5 + r
        y = y + S.h
    return y


def tupdict_state(x):
    t = ({"h": x[0]}, 1)
    y = x[0] * 0
    for r in x:
        t[0]["h"] = t[0]["h"] * 0.5 + r
        y = y + t[0]["h"]
    return y


def nparr_state(x):
    a = np.zeros(3)
    y = x[0] * 0
    for r in x:
        a[0] += 1
        y = y + r * float(a[0])
    return y


# How often each is captured for four lengths: twice, or for each length where the state is no tensor.
CAPTURES = {
    nonloc_state: 2,
    nonloc_read_state: 2,
    closure_list_state: 2,
    closure_append_state: 2,
    nested_dict_state: 2,
    dict1_state: 2,
    obj_state: 2,
    objcall_state: 2,
    dcls_state: 2,
    dcls_fn_state: 2,
    deq_state: 4,
    dflt_state: 4,
    ctr_state: 4,
    setattr__state: 2,
    lst_of_lst_state: 2,
    gen_state: 4,
    itr_state: 4,
    count__state: 4,
    pop_state: 4,
    memo_state: 4,
    memo_obj_state: 4,
    firstflag_state: 2,
    prev_state: 4,
    setadd_state: 4,
    lru_state: 2,
    acc_state: 4,
    acc_end_state: 4,
    partial_state_state: 2,
    meth_state_state: 4,
    fnattr_state: 2,
    clsattr_state: 4,
    tupdict_state: 2,
    nparr_state: 4,
}


@pytest.mark.filterwarnings("ignore:static")
@pytest.mark.parametrize("function", CAPTURES, ids=lambda function: function.__name__)
def test_modes_agree(function):
    check(lambda: Program(function, *[(make(n, 3),) for n in (12, 5, 9, 14)]), CAPTURES[function])
