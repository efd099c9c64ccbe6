"""Programs that users write, of Modules and training steps: each is the same in every mode."""

import copy
import math

import numpy as np
import pytest
from user_modes import Program, check, make

import duograph as dg
from duograph import nn, optim


def recursion_program():

    def poly(x, n):
        return dg.ones_like(x) if n == 0 else x * poly(x, n - 1)

    return Program(poly, (make(3, grad=True), 3), (make(3, grad=True), 5), (make(3, grad=True), 3))


def closure_updated_program():
    k = 2.0
    w = make(3)

    def f(x):
        return x * k + w

    def change(i):
        nonlocal k, w
        k = 2.0 + i
        if i == 2:
            w = make(3, seed=9)

    return Program(f, *[(make(3),)] * 4, before=change)


def default_program():

    def f(x, w=make(3), *, acc=[]):
        acc.append(x.shape[0])
        return x * w * len(acc)

    return Program(
        f, (make(3),), (make(3),), (make(3),), state=lambda: f.__kwdefaults__["acc"] if hasattr(f, "__kwdefaults__") else None
    )


def dictcomp_program():

    def f(d):
        return ({k: v.relu() for k, v in d.items() if k != "skip"}, {k for k in d}, [v * i for i, (k, v) in enumerate(d.items())])

    return Program(f, ({"a": make(3), "skip": make(2)},), ({"a": make(4), "skip": make(2)},), ({"a": make(5), "skip": make(2)},))


def isinst_program():

    def f(x, y):
        k = 1 if isinstance(x, dg.Tensor) else 2
        if hasattr(x, "shape") and (not hasattr(x, "nope")):
            k += getattr(x, "ndim")
        s = getattr(x, "sum")()
        return (s * k + getattr(y, "foo", 3), callable(x.sum), type(x) is dg.Tensor, isinstance(y, (int, float)))

    return Program(f, (make(3), 1.0), (make(3), 2))


def deepcopy_program():
    net = nn.Linear(3, 3)

    def f(x):
        twin = copy.deepcopy(net)
        with dg.no_grad():
            twin.weight.mul_(2.0)
        return twin(x) + net(x)

    return Program(f, (make(2, 3),), (make(2, 3),), state=lambda: list(net.parameters()))


def running_program():

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", dg.zeros(3))
            self.register_buffer("count", dg.tensor(0))
            self.steps = 0

        def forward(self, x):
            if self.training:
                with dg.no_grad():
                    self.mean.mul_(0.9).add_(x.mean(0) * 0.1)
                    self.count += 1
                self.steps += 1
            return x - self.mean

    n = Norm()

    def sw(i):
        n.train(i < 3)

    return Program(n, *[(make(k, 3),) for k in (2, 3, 4, 5, 6, 7)], state=lambda: (n.mean, n.count, n.steps), before=sw)


def bn_program():
    n = nn.BatchNorm1d(3) if hasattr(nn, "BatchNorm1d") else nn.LayerNorm(3)

    def sw(i):
        n.train(i % 2 == 0)

    return Program(
        n,
        *[(make(k, 3, grad=True),) for k in (2, 3, 4, 5, 6, 7)],
        state=lambda: (list(n.buffers()), list(n.parameters())),
        before=sw,
    )


def modlist_program():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])

        def forward(self, x):
            for l in self.layers:
                x = l(x).relu()
            return x

    net = Net()

    def change(i):
        if i == 1:
            net.layers[1] = nn.Linear(3, 3)
        if i == 2:
            net.layers.append(nn.Linear(3, 3))
        if i == 3:
            net.layers = nn.ModuleList([nn.Linear(3, 3)])

    return Program(net, *[(make(2, 3),)] * 5, before=change)


def sequential_eval_program():
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))

    def sw(i):
        net.eval() if i % 2 else net.train()

    return Program(net, *[(make(2, 3),)] * 4, before=sw)


def lr_schedule_program():
    net = nn.Linear(3, 1)
    opt = optim.SGD(net.parameters(), lr=0.1)

    def step(x, y):
        opt.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        return loss.detach()

    def change(i):
        for g in opt.param_groups:
            g["lr"] = 0.1 * 0.5**i

    return Program(step, *[(make(4, 3), make(4, 1))] * 4, before=change, state=lambda: list(net.parameters()))


def warmup_if_program():
    net = nn.Linear(3, 1)
    opt = optim.SGD(net.parameters(), lr=0.1)

    class T:
        n = 0

    t = T()

    def step(x, y):
        t.n += 1
        lr = 0.1 * t.n / 3 if t.n < 3 else 0.1 / math.sqrt(t.n) if t.n < 5 else 0.05 * (1 + math.cos(t.n / 10))
        opt.param_groups[0]["lr"] = lr
        opt.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        return loss.detach()

    return Program(step, *[(make(4, 3), make(4, 1))] * 9, state=lambda: (list(net.parameters()), t.n, opt.param_groups[0]["lr"]))


def clip_program():
    net = nn.Linear(3, 1)
    opt = optim.SGD(net.parameters(), lr=0.1)

    def step(x, y):
        opt.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        total = sum((p.grad**2).sum() for p in net.parameters()) ** 0.5
        if total > 1.0:
            for p in net.parameters():
                p.grad.mul_(1.0 / total)
        opt.step()
        return (loss.detach(), total)

    return Program(
        step,
        *[(make(4, 3) * s, make(4, 1) * s) for s in (0.1, 1, 5, 0.2)],
        state=lambda: (list(net.parameters()), [p.grad for p in net.parameters()]),
    )


def accum_program():
    net = nn.Linear(3, 1)
    opt = optim.SGD(net.parameters(), lr=0.1)
    st = {"i": 0}

    def step(x, y):
        loss = ((net(x) - y) ** 2).mean() / 2
        loss.backward()
        st["i"] += 1
        if st["i"] % 2 == 0:
            opt.step()
            opt.zero_grad()
        return loss.detach()

    return Program(
        step,
        *[(make(4, 3, seed=i), make(4, 1)) for i in range(6)],
        state=lambda: (list(net.parameters()), [p.grad for p in net.parameters()], st),
    )


def numpy_mix_program():
    table = np.arange(6, dtype="float32").reshape(2, 3)

    def f(x):
        return x * dg.tensor(table) + np.float32(2.0) + x * float(table[0, 1]) + dg.tensor(np.eye(3, dtype="float32"))[0]

    def change(i):
        table[0, 1] = i

    return Program(f, (make(2, 3),), (make(2, 3),), (make(2, 3),), before=change)


def numpy_const_program():

    def f(x):
        w = dg.tensor(np.linspace(0, 1, 3).astype("float32"))
        return x * w + dg.from_numpy(np.ones(3, dtype="float32")) if hasattr(dg, "from_numpy") else x * w

    return Program(f, (make(2, 3),), (make(2, 3),))


def none2_program():

    def g(x):
        if x.shape[0] > 3:
            if x.sum() > 0:
                return x
            return x * 2
        return None

    def f(x):
        y = g(x)
        return x if y is None else y

    return Program(f, (make(3),), (-make(4),), (make(4),))


def early_in_loop_program():

    def f(x):
        for i in range(20):
            x = x * 0.5
            if x.abs().max() < 0.1:
                return (x, i)
        return (x * 0, -1)

    return Program(f, (make(3),), (make(4) * 1000000000.0,))


def tuple_none_program():

    def f(x):
        if x.sum() > 0:
            return (x, None)
        return (x * 2, None)

    return Program(f, (make(3),), (-make(4),))


def proc_program():
    st = {}

    def f(x):
        if x.shape[0] > 3:
            st["a"] = x * 2
            return
        st["b"] = x

    return Program(f, (make(3),), (-make(4),), state=lambda: st)


PROGRAMS = [
    recursion_program,
    closure_updated_program,
    default_program,
    dictcomp_program,
    isinst_program,
    deepcopy_program,
    running_program,
    bn_program,
    modlist_program,
    sequential_eval_program,
    lr_schedule_program,
    warmup_if_program,
    clip_program,
    accum_program,
    numpy_mix_program,
    numpy_const_program,
    none2_program,
    early_in_loop_program,
    tuple_none_program,
    proc_program,
]
CAPTURES = {default_program: 9, running_program: 5, bn_program: 5, modlist_program: 5, lr_schedule_program: 2, accum_program: 5}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))
