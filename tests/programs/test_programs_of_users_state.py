"""Programs with state of all kinds outside of the function: each is the same in every mode."""

import abc
import collections
import enum
import functools
import types
from dataclasses import dataclass

import pytest
from user_modes import Program, check, make

import duograph as dg


class Scaler:
    def __init__(self, k):
        self.k = k
        self.uses = 0

    def __mul__(self, x):
        self.uses += 1
        return x * self.k if x.sum() > 0 else x

    def __rmul__(self, x):
        return self * x

    def __getitem__(self, i):
        return self.k * i

    def __setitem__(self, i, v):
        self.k = v

    def __len__(self):
        return int(self.k)

    def __iter__(self):
        for i in range(3):
            yield (self.k + i)

    def __contains__(self, v):
        return v == self.k

    def __bool__(self):
        return self.k > 0

    def __eq__(self, o):
        return self.k == o

    def __hash__(self):
        return 1

    def __enter__(self):
        self.uses += 10
        return self

    def __exit__(self, *a):
        self.uses += 100


def dunder_program():
    s = Scaler(2.0)

    def f(x):
        y = s * x + x * s
        y = y + s[3] + sum(s) + len(s)
        if 2.0 in s:
            y = y + 1
        if s:
            y = y + 2
        if s == 3.0:
            y = y * 2
        with s as t:
            y = y * t.k
        return y

    def change(i):
        s.k = float(i + 1)

    return Program(f, *[(make(3),), (-make(3),)] * 3, before=change, state=lambda: s.uses)


def dunder_set_program():
    s = Scaler(2.0)

    def f(x):
        s[0] = s.k + 1.0
        return x * s.k

    return Program(f, *[(make(3),)] * 3, state=lambda: s.k)


def concrete_bool_program():
    w = make(3)

    def f(x):
        return x if w.sum() > 0 else -x

    def change(i):
        w.mul_(-2.0)

    return Program(f, *[(make(3),)] * 3, before=change)


def cached_property_program():

    class C:
        def __init__(s, k):
            s.k = k

        @functools.cached_property
        def big(s):
            return s.k * 10

    c = C(2.0)
    d = C(make(3))

    def f(x):
        return x * c.big + d.big

    return Program(f, *[(make(3),)] * 3, state=lambda: (c.__dict__, d.__dict__))


def slots_program():

    class S:
        __slots__ = ("k", "n")

        def __init__(s):
            s.k = 2.0
            s.n = 0

    s = S()

    def f(x):
        s.n += 1
        return x * s.k * s.n

    def change(i):
        s.k = 2.0 + i

    return Program(f, *[(make(3),)] * 3, state=lambda: s.n, before=change)


def getattr_dyn_program():

    class Cfg:
        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            return VALUES[name]

    VALUES = {"lr": 0.5}
    c = Cfg()

    def f(x):
        return x * c.lr

    def change(i):
        VALUES["lr"] = 0.5 + i

    return Program(f, *[(make(3),)] * 3, before=change)


def namespace_program():
    ns = types.SimpleNamespace(a=2.0, b=make(3), hist=[])

    def f(x):
        ns.hist.append(1)
        ns.a = ns.a + 1
        return x * ns.a + ns.b

    return Program(f, *[(make(3),)] * 3, state=lambda: (ns.a, ns.hist))


def enum_program():

    class Mode(enum.Enum):
        A = 1
        B = 2

    def f(x, m):
        if m is Mode.A:
            return x * 2
        return x * m.value

    return Program(f, (make(3), Mode.A), (make(3), Mode.B), (make(3), Mode.A))


def namedtuple_program():
    P = collections.namedtuple("P", "x v")

    def f(p, dt):
        for _ in range(4):
            p = p._replace(x=p.x + dt * p.v, v=p.v - dt * p.x)
        return p

    return Program(f, (P(make(3), make(3)), 0.1), (P(make(3), make(3)), 0.2))


def verlet_while_program():

    @dataclass
    class S:
        x: dg.Tensor
        v: dg.Tensor
        n: int

    def f(s):
        while s.x.abs().max() < 5.0:
            s = S(s.x + 0.5 * s.v, s.v * 1.1, s.n + 1)
        return s

    return Program(f, (S(make(3, grad=True), make(3) + 1, 0),), (S(make(3), make(3) + 2, 0),))


def deque_state_program():
    dq = collections.deque(maxlen=3)

    def f(x):
        dq.append(x.sum())
        return sum(dq)

    return Program(f, *[(make(3, seed=i),) for i in range(5)], state=lambda: list(dq))


def list_state_program():
    hist = []

    def f(x):
        hist.append(x.mean())
        return x * len(hist)

    return Program(f, *[(make(3, seed=i),) for i in range(4)], state=lambda: list(hist))


def set_state_program():
    seen = set()

    def f(x, k):
        seen.add(k)
        return x * k

    return Program(f, *[(make(3), i % 3) for i in range(5)], state=lambda: sorted(seen))


def dict_update_program():
    d = {}

    def f(x):
        d.update(last=x * 2, n=x.shape[0])
        d.setdefault("first", x)
        d["count"] = d.get("count", 0) + 1
        return x

    return Program(f, *[(make(3, seed=i),) for i in range(4)], state=lambda: d)


def ema_attr_program():

    class M:
        avg = None

        def step(self, x):
            if self.avg is None:
                self.avg = x.clone()
            else:
                self.avg = 0.9 * self.avg + 0.1 * x
            return self.avg

    m = M()
    return Program(m.step, *[(make(3, seed=i),) for i in range(4)], state=lambda: m.avg)


def class_counter_program():

    class M:
        total = 0

        def step(self, x):
            M.total += 1
            type(self).total += 1
            return x * M.total

    m = M()
    return Program(m.step, *[(make(3),) for i in range(4)], state=lambda: M.total)


def abc_program():

    class Base(abc.ABC):
        @abc.abstractmethod
        def act(self, x): ...

        def __call__(self, x):
            return self.act(x)

    class R(Base):
        def act(self, x):
            return x.relu() if x.sum() > 0 else x

    r = R()
    return Program(r, (make(3),), (-make(3),))


def singledispatch_program():

    @functools.singledispatch
    def go(a, x):
        return x

    @go.register
    def _(a: int, x):
        return x * a if x.sum() > 0 else x - a

    @go.register
    def _(a: str, x):
        return x + len(a)

    def f(x, a):
        return go(a, x)

    return Program(f, (make(3), 2), (-make(3), 2), (make(3), "ab"))


def yield_from_program():

    def g(x):
        yield from (x * i for i in range(2))
        yield x

    def f(x):
        return (list(g(x)), next(g(x)), next(iter([x])))

    return Program(f, (make(3),), (make(3),))


def send_program():

    def g():
        t = yield
        while True:
            t = yield (t * 2)

    def f(x):
        c = g()
        next(c)
        return c.send(x)

    return Program(f, (make(3),), (make(3),))


def nested_static_program():

    @dg.static
    def inner(x):
        return x * 2 if x.sum() > 0 else x

    def f(x):
        return inner(x) + inner(-x)

    return Program(f, (make(3, grad=True),), (-make(3),))


def grad_inside_program():

    def f(x):
        y = (x**3).sum()
        (g,) = dg.grad(y, [x], create_graph=True) if hasattr(dg, "grad") else dg.autograd.grad(y, [x], create_graph=True)
        return (g**2).sum()

    return Program(f, (make(3, grad=True),), (make(4, grad=True),), (make(5, grad=True),))


def maml_program():

    def f(w, x, y):
        fast = w
        for _ in range(3):
            loss = ((x @ fast - y) ** 2).mean()
            (g,) = dg.autograd.grad(loss, [fast], create_graph=True)
            fast = fast - 0.1 * g
        return ((x @ fast - y) ** 2).mean()

    return Program(f, (make(3, 1, grad=True), make(8, 3), make(8, 1)), (make(3, 1, grad=True), make(9, 3), make(9, 1)))


PROGRAMS = [
    dunder_program,
    dunder_set_program,
    concrete_bool_program,
    cached_property_program,
    slots_program,
    getattr_dyn_program,
    namespace_program,
    enum_program,
    namedtuple_program,
    verlet_while_program,
    deque_state_program,
    list_state_program,
    set_state_program,
    dict_update_program,
    ema_attr_program,
    class_counter_program,
    abc_program,
    singledispatch_program,
    yield_from_program,
    send_program,
    nested_static_program,
    grad_inside_program,
    maml_program,
]
CAPTURES = {dunder_program: 9, deque_state_program: 9, list_state_program: 9, set_state_program: 9, dict_update_program: 4}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))
