"""Programs of loops, searches and training methods: each is the same in every mode."""

import pytest
from user_modes import Program, check, make

import duograph as dg
from duograph import nn, optim


def inplace_arg_program():

    def f(x):
        x += 1
        x[0] = 5.0
        return x.sum()

    return Program(f, (make(3),), (make(4),), (make(5),))


def swap_program():

    def f(a, b):
        a, b = (b, a)
        if a.sum() > b.sum():
            a, b = (b, a)
        return (a, b)

    return Program(f, (make(3), make(3, seed=7)), (make(3, seed=7), make(3)))


def flag_program():

    def f(x):
        done = False
        n = 0
        while not done:
            x = x * 0.5
            n += 1
            done = x.abs().max() < 0.1
        return (x, n)

    return Program(f, (make(3),), (make(3) * 9,))


def flag2_program():

    def f(x):
        found = False
        for i in range(20):
            if x.abs().max() < 0.1:
                found = True
                break
            x = x * 0.7
        return (x, found, i)

    return Program(f, (make(3),), (make(3) * 1000000.0,))


def best_program():

    def f(xs):
        best, best_i = (None, -1)
        for i, x in enumerate(xs):
            s = x.sum()
            if best is None or s > best:
                best, best_i = (s, i)
        return (best, best_i)

    return Program(f, (make(4, 3),), (-make(4, 3),), (make(12, 3),), (make(11, 3),))


def patience_program():

    def f(losses):
        best = float("inf")
        bad = 0
        stop = -1
        for i, l in enumerate(losses):
            if l < best:
                best = l
                bad = 0
            else:
                bad += 1
                if bad >= 3:
                    stop = i
                    break
        return (best, bad, stop)

    return Program(f, (make(20),), (make(21),), (make(23, seed=5),), (make(5),))


def bisection_program():

    def f(a):
        lo, hi = (0.0, 10.0)
        for _ in range(30):
            mid = (lo + hi) / 2
            if mid * mid < a:
                lo = mid
            else:
                hi = mid
        return lo

    return Program(f, (dg.tensor(2.0),), (dg.tensor(30.0),))


def collatz_program():

    def f(n):
        c = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            c += 1
        return c

    return Program(f, (dg.tensor(6),), (dg.tensor(27),))


def gcd_program():

    def f(a, b):
        while b:
            a, b = (b, a % b)
        return a

    return Program(f, (dg.tensor(12), dg.tensor(18)), (dg.tensor(35), dg.tensor(14)))


def sieve_program():

    def f(n):
        flags = dg.ones(n, dtype=dg.bool) if hasattr(dg, "bool") else dg.ones(n) > 0
        for i in range(2, n):
            if flags[i]:
                flags[i * i :: i] = False
        return flags.sum()

    return Program(f, (10,), (20,), (30,))


def sorting_program():

    def f(x):
        x = x.clone()
        n = x.shape[0]
        for i in range(n):
            for j in range(n - 1 - i):
                if x[j] > x[j + 1]:
                    a, b = (x[j].clone(), x[j + 1].clone())
                    x[j], x[j + 1] = (b, a)
        return x

    return Program(f, (make(5),), (make(5, seed=2),))


def viterbi_program():

    def f(logp, trans):
        delta = logp[0]
        back = []
        for t in range(1, logp.shape[0]):
            s = delta.unsqueeze(1) + trans
            best, idx = s.max(0)
            delta = best + logp[t]
            back.append(idx)
        path = [delta.argmax()]
        for idx in reversed(back):
            path.append(idx[path[-1]])
        return (dg.stack(path[::-1]), delta.max())

    return Program(f, (make(5, 3), make(3, 3)), (make(6, 3), make(3, 3)), (make(9, 3), make(3, 3)), (make(12, 3), make(3, 3)))


def levenshtein_program():

    def f(a, b):
        prev = dg.arange(len(b) + 1)
        for i in range(len(a)):
            cur = [dg.tensor(i + 1)]
            for j in range(len(b)):
                cost = (a[i] != b[j]).long() if hasattr(prev, "long") else (a[i] != b[j]) * 1
                cur.append(dg.minimum(dg.minimum(prev[j + 1] + 1, cur[j] + 1), prev[j] + cost))
            prev = dg.stack(cur)
        return prev[-1]

    return Program(
        f,
        (dg.tensor([1, 2, 3]), dg.tensor([1, 3, 3])),
        (dg.tensor([1, 2, 3, 4]), dg.tensor([3, 3, 4])),
        (dg.tensor([1, 2]), dg.tensor([3, 3, 4])),
    )


def gan_program():
    g, d = (nn.Linear(2, 3), nn.Linear(3, 1))
    og, od = (optim.Adam(g.parameters(), lr=0.1), optim.Adam(d.parameters(), lr=0.1))

    def step(z, real):
        od.zero_grad()
        ld = d(g(z).detach()).mean() - d(real).mean()
        ld.backward()
        od.step()
        og.zero_grad()
        lg = -d(g(z)).mean()
        lg.backward()
        og.step()
        return (ld.detach(), lg.detach())

    return Program(
        step,
        *[(make(4, 2, seed=i), make(4, 3, seed=i)) for i in range(3)],
        state=lambda: (list(g.parameters()), list(d.parameters())),
    )


def freeze_program():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    opt = optim.SGD(net.parameters(), lr=0.1)

    def step(x):
        opt.zero_grad()
        l = net(x).mean()
        l.backward()
        opt.step()
        return l.detach()

    def change(i):
        if i == 2:
            for p in net[0].parameters():
                p.requires_grad_(False)

    return Program(step, *[(make(4, 3),)] * 4, before=change, state=lambda: list(net.parameters()))


def hooks_program():
    net = nn.Linear(3, 1)
    log = []
    net.register_forward_hook(lambda m, i, o: log.append(o.shape[0])) if hasattr(net, "register_forward_hook") else None

    def f(x):
        return net(x)

    return Program(f, *[(make(4, 3),)] * 3, state=lambda: log)


def tensor_hook_program():

    def f(x):
        y = x * 2
        if y.requires_grad:
            y.register_hook(lambda g: g * 3)
        return y.sum()

    return Program(f, *[(make(4, grad=True),)] * 3)


def custom_fn_program():

    class Clamp(dg.autograd.Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.k = k
            ctx.save_for_backward(x)
            return x.clamp(-k, k)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return (dg.where(x.abs() < ctx.k, g, g * 0), None)

    def f(x, k):
        return Clamp.apply(x, k).sum()

    return Program(f, (make(4, grad=True), 0.5), (make(4, grad=True), 0.7), (make(5, grad=True), 0.7))


def exec_env_program():

    def f(x, flag=None):
        if not flag:
            flag = {"k": 1}
        flag = {**flag, "z": 2}
        return x * flag["k"] * flag["z"]

    return Program(f, (make(3),), (make(3), {"k": 3}), (make(3), {"k": 4}))


def try_tensor_program():

    def f(x):
        try:
            return x.reshape(7)
        except ValueError:
            return x * 2
        except dg.Error:
            return x * 3

    return Program(f, (make(3),), (make(7),), (make(5),))


def try_key_program():
    cfg = {}

    def f(x):
        try:
            k = cfg["k"]
        except KeyError:
            k = 1.0
        return x * k

    def change(i):
        if i == 1:
            cfg["k"] = 3.0
        if i == 2:
            cfg["k"] = 4.0
        if i == 3:
            del cfg["k"]

    return Program(f, *[(make(3),)] * 4, before=change)


def try_attr_program():

    class C:
        pass

    c = C()

    def f(x):
        try:
            k = c.k
        except AttributeError:
            k = 1.0
        return x * k * (2 if hasattr(c, "z") else 1)

    def change(i):
        if i == 1:
            c.k = 3.0
        if i == 2:
            c.z = 4.0
        if i == 3:
            del c.k

    return Program(f, *[(make(3),)] * 4, before=change)


def in_dict_program():
    cfg = {}

    def f(x):
        if "k" in cfg:
            return x * cfg["k"]
        return x + len(cfg)

    def change(i):
        if i == 1:
            cfg["j"] = 3.0
        if i == 2:
            cfg["k"] = 4.0

    return Program(f, *[(make(3),)] * 4, before=change)


PROGRAMS = [
    inplace_arg_program,
    swap_program,
    flag_program,
    flag2_program,
    best_program,
    patience_program,
    bisection_program,
    collatz_program,
    gcd_program,
    sieve_program,
    sorting_program,
    viterbi_program,
    levenshtein_program,
    gan_program,
    freeze_program,
    hooks_program,
    tensor_hook_program,
    custom_fn_program,
    exec_env_program,
    try_tensor_program,
    try_key_program,
    try_attr_program,
    in_dict_program,
]
CAPTURES = {sieve_program: 9, viterbi_program: 9, levenshtein_program: 9, try_key_program: 4, try_attr_program: 4}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))
