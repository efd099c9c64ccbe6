"""Programs that users write, of algorithms, functions and objects: each is the same in every mode."""

import dataclasses
import functools
from dataclasses import dataclass, field
from functools import lru_cache, partial

import pytest
from user_modes import Program, check, make

import duograph as dg
import duograph.nn.functional as F
from duograph import nn, optim


@dataclass
class State:
    x: dg.Tensor
    step: int = 0
    history: list = field(default_factory=list)

    def advance(self, dt):
        self.x = self.x * (1 - dt)
        self.step += 1
        self.history.append(self.step)
        return self


def early_stop_program():
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        opt.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        return loss.detach()

    x, y = (make(8, 4), make(8, 1))
    prog = Program(step, *[(x, y)] * 5, state=lambda: list(model.parameters()))
    return prog


def train_inside_program():
    model = nn.Linear(4, 1)
    opt = optim.Adam(model.parameters(), lr=0.1)

    def train(x, y):
        losses = []
        for epoch in range(5):
            opt.zero_grad()
            loss = F.mse_loss(model(x), y) if hasattr(F, "mse_loss") else ((model(x) - y) ** 2).mean()
            loss.backward()
            opt.step()
            losses.append(loss.detach())
        return dg.stack(losses)

    return Program(train, (make(8, 4), make(8, 1)), (make(8, 4, seed=1), make(8, 1)), state=lambda: list(model.parameters()))


def beam_program():
    w = make(5, 5)

    def beam(start, steps):
        scores = start.log_softmax(0)
        beams, idx = scores.topk(2)
        n = 0
        while n < steps:
            nxt = (beams.unsqueeze(1) + w[idx].log_softmax(1)).reshape(-1)
            beams, flat = nxt.topk(2)
            idx = flat % 5
            n += 1
        return (beams, idx)

    return Program(beam, (make(5), 3), (make(5, seed=2), 4), (make(5, seed=2), 9), (make(5, seed=2), 2))


def beam_until_program():
    w = make(5, 5)

    def beam(start):
        tok = start.argmax()
        length = 0
        total = dg.tensor(0.0)
        while tok != 0 and length < 10:
            logp = w[tok].log_softmax(0)
            tok = logp.argmax()
            total = total + logp[tok]
            length += 1
        return (total, length, tok)

    return Program(beam, *[(make(5, seed=i),) for i in range(4)])


def newton_for_else_program():

    def f(a):
        x = a
        for i in range(40):
            new = 0.5 * (x + a / x)
            if (new - x).abs().max() < 1e-05:
                x = new
                break
            x = new
        else:
            x = x * 0
        return (x, i)

    return Program(f, (dg.tensor([2.0, 9.0], requires_grad=True),), (dg.tensor([0.01, 99.0], requires_grad=True),))


def em_program():

    def em(x, k):
        mu = x[:k].clone()
        for _ in range(6):
            d = (x.unsqueeze(1) - mu.unsqueeze(0)) ** 2
            r = (-d).softmax(1)
            mu = (r * x.unsqueeze(1)).sum(0) / r.sum(0)
        return mu

    return Program(em, (make(9), 2), (make(12), 2), (make(12), 3), (make(10), 3))


def kmeans_program():

    def kmeans(x, k):
        c = x[:k].clone()
        for it in range(10):
            d = ((x[:, None] - c[None]) ** 2).sum(-1)
            a = d.argmin(1)
            new = c.clone()
            for j in range(k):
                m = a == j
                if m.any():
                    new[j] = x[m].mean(0)
            if (new - c).abs().max() < 0.0001:
                break
            c = new
        return (c, a)

    return Program(kmeans, (make(9, 2), 2), (make(12, 2), 2), (make(12, 2), 3))


def power_program():

    def power(a, tol=0.0001):
        v = dg.ones(a.shape[0])
        prev = dg.tensor(0.0)
        lam = dg.tensor(1.0)
        n = 0
        while abs(lam - prev) > tol:
            prev = lam
            w = a @ v
            lam = w.norm() if hasattr(w, "norm") else (w * w).sum().sqrt()
            v = w / lam
            n += 1
        return (lam, n)

    def spd(n):
        a = make(n, n)
        return a @ a.T + dg.eye(n)

    return Program(power, (spd(3),), (spd(4),), (spd(5),))


def rnn_mask_program():
    cell = nn.Linear(6, 3)

    def rnn(x, lengths):
        h = dg.zeros(x.shape[0], 3)
        for t in range(x.shape[1]):
            new = cell(dg.cat([x[:, t], h], 1)).tanh()
            mask = (t < lengths).unsqueeze(1)
            h = dg.where(mask, new, h)
        return h

    return Program(
        rnn,
        *[(make(3, t, 3, grad=True), dg.tensor([1, 2, t])) for t in (4, 9, 10, 12)],
        state=lambda: [p.grad for p in cell.parameters()],
    )


def dataclass_same_program():
    s = State(make(3))

    def f(dt):
        s.advance(dt)
        return (s.x, s.step)

    return Program(f, (0.1,), (0.2,), (0.3,), state=lambda: (s.step, s.history, s.x))


def frozen_replace_program():

    @dataclass(frozen=True)
    class S:
        x: dg.Tensor
        n: int

    def f(s):
        for _ in range(3):
            s = dataclasses.replace(s, x=s.x * 2, n=s.n + 1)
        return s

    return Program(f, (S(make(3), 1),), (S(make(3), 2),))


def generator_program():

    def gen(x):
        for i in range(3):
            yield (x * i)

    def f(x):
        return (sum(gen(x)), [g.sum() for g in gen(x)])

    return Program(f, (make(3, grad=True),), (make(4, grad=True),), (make(5, grad=True),))


def decorated_program():
    calls = []

    def logged(fn):

        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            calls.append(fn.__name__)
            return fn(*args, **kwargs)

        return wrapper

    @logged
    def inner(x, k=2.0):
        return x * k if x.sum() > 0 else x

    def f(x):
        return inner(x, k=3.0) + inner(x)

    return Program(f, (make(3),), (-make(3),), state=lambda: calls)


def lru_program():

    @lru_cache
    def factor(n):
        return n * 2.0

    def f(x):
        return x * factor(3) + factor(x.shape[0])

    return Program(f, (make(3),), (make(4),), (make(5),), (make(6),))


def lru_tensor_program():

    @functools.cache
    def mask(n):
        return dg.tril(dg.ones(n, n)) if hasattr(dg, "tril") else dg.ones(n, n)

    def f(x):
        return (x @ mask(4)).sum(1)

    return Program(f, (make(3, 4),), (make(3, 4, seed=3),), (make(5, 4),), (make(3, 4),))


def cache_dict_program():
    cache = {}

    def mask(n):
        if n not in cache:
            cache[n] = dg.ones(n, n).cumsum(0)
        return cache[n]

    def f(x):
        return x @ mask(x.shape[1])

    return Program(f, (make(3, 4),), (make(3, 4),), (make(5, 4),), (make(3, 3),), state=lambda: cache)


def partial_program():

    def act(x, slope):
        return dg.where(x > 0, x, x * slope)

    g = partial(act, slope=0.1)

    def f(x):
        return g(x) + partial(act, slope=0.2)(x)

    return Program(f, (make(3),), (make(3),))


def method_program():

    class M:
        scale = 2.0

        def __init__(self):
            self.n = 0
            self.w = make(3)

        @property
        def double(self):
            return self.w * 2

        @staticmethod
        def s(x):
            return x + 1

        @classmethod
        def c(cls, x):
            return x * cls.scale

        def __call__(self, x):
            self.n += 1
            return self.c(self.s(x)) * self.double

    m = M()

    def change(i):
        M.scale = 2.0 + i

    return Program(m, (make(3),), (make(3),), (make(3),), state=lambda: m.n, before=change)


def inherit_program():

    class A:
        def go(self, x):
            return x * self.k

        k = 2

    class B(A):
        def go(self, x):
            y = super().go(x)
            if y.sum() > 0:
                y = super().go(y)
            return y

    b = B()

    def change(i):
        if i == 2:
            B.k = 5

    return Program(b.go, (make(3),), (-make(3),), (make(3),), before=change)


def args_program():

    def f(*xs, **kw):
        a, *rest = xs
        return (a * len(rest) + sum(rest), {k: v * 2 for k, v in kw.items()})

    return Program(f, (make(3), make(3), make(3)), (make(3), make(3)))


PROGRAMS = [
    early_stop_program,
    train_inside_program,
    beam_program,
    beam_until_program,
    newton_for_else_program,
    em_program,
    kmeans_program,
    power_program,
    rnn_mask_program,
    dataclass_same_program,
    frozen_replace_program,
    generator_program,
    decorated_program,
    lru_program,
    lru_tensor_program,
    cache_dict_program,
    partial_program,
    method_program,
    inherit_program,
    args_program,
]
CAPTURES = {beam_program: 5, lru_program: 9, cache_dict_program: 5}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))
