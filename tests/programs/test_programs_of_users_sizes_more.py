"""More programs whose sizes change: each is the same in every mode, and captured only a few times."""

import pytest
from user_modes import Program, check, make, xs

import duograph as dg


def sizekey_program():

    def f(x):
        d = {x.shape[0]: 1.0}
        return x * d.get(4, 2.0)

    return xs(f)


def zip_program():

    def f(x):
        s = x[0] * 0
        for row, i in zip(x, range(x.shape[0])):
            s = s + row * i
        for i, row in enumerate(x):
            s = s + row * i
        return s

    return xs(f, ns=(9, 11, 12, 15, 20, 8))


def slices_program():

    def f(x):
        n = x.shape[0]
        return (
            x[: n // 2].sum(),
            x[n // 2 :].sum(),
            x[-(n // 2) :].sum(),
            x[::2].sum(),
            x[n - 1],
            x[: n - 1] * x[1:],
            x[1 : n // 2 + 1],
        )

    return xs(f, ns=(3, 5, 4, 9, 12, 2))


def makers_program():

    def f(x):
        n, m = x.shape
        return (
            dg.arange(n).float().sum() * x,
            dg.zeros(n, m) + x,
            dg.ones((n, 2)).sum() * x,
            dg.full((n,), 2.0).sum() * x,
            dg.eye(n) @ x,
            dg.zeros_like(x) + x,
            x.new_zeros(n) if hasattr(x, "new_zeros") else x,
            dg.linspace(0, 1, n).sum() * x,
            dg.arange(0, n, 2).sum() * x,
            dg.zeros(x.shape) + x,
        )

    return xs(f)


def shapetricks_program():

    def f(x):
        b, *rest = x.shape
        shape = tuple(x.shape[:-1]) + (2, 2)
        y = x.reshape(shape)
        z = x.reshape(*x.shape[:-1], 4, 1)
        return (y, z, x.reshape([b] + rest), x.expand(3, *x.shape).sum(0), x.repeat(2, 1), x.unsqueeze(0).expand(b, -1, -1))

    return xs(f)


def grad_arg_program():

    def f(x):
        return (x * x.shape[0]).sum()

    def before(n):
        pass

    a = [make(n, 4, grad=True) for n in (3, 5, 4, 9)]
    for t in a:
        t.grad = dg.ones(*t.shape)
    return Program(f, *[(t,) for t in a])


def batch1_program():

    def f(x):
        return (x.mean(0) + x.var(0, unbiased=False)).sum()

    return xs(f, ns=(4, 1, 3, 1, 5, 2))


def ifsize_program():

    def f(x):
        n = x.shape[0]
        if n % 2 == 0:
            return x[: n // 2] + x[n // 2 :]
        return x

    return xs(f, ns=(4, 6, 8, 3, 5, 7, 10, 9))


def bit_program():

    def f(x):
        n = x.shape[0]
        return (x * (n & 1), x * (n >> 1), x * (n << 1), x * divmod(n, 2)[0])

    return xs(f)


def listcomp_range_program():

    def f(x):
        return dg.stack([x[i] * i for i in range(x.shape[0])])

    return xs(f)


def append_range_program():

    def f(x):
        out = []
        for i in range(x.shape[0]):
            out.append(x[i] * 2)
        return (dg.stack(out), len(out))

    return xs(f, ns=(9, 11, 12, 15, 20, 8))


def max_len_pad_program():

    def f(a, b):
        n = max(a.shape[0], b.shape[0])
        out = dg.zeros(2, n)
        out[0, : a.shape[0]] = a
        out[1, : len(b)] = b
        return out

    return Program(f, *[(make(n, grad=True), make(m, grad=True)) for n, m in ((3, 4), (5, 6), (4, 9), (6, 2), (7, 3))])


def chunks_program():

    def f(x):
        return ([c.sum() for c in x.chunk(2)], [c.sum() for c in x.split(2)])

    return xs(f, ns=(4, 6, 8, 5))


def walk_while2_program():

    def f(x):
        i, s = (x.shape[0] - 1, 0.0)
        while i >= 0:
            s = s + x[i].sum()
            i -= 1
        return s

    return xs(f, ns=(9, 11, 12, 15, 20, 8))


def bisect_program():

    def f(x):
        n = x.shape[0]
        while n > 1:
            half = n // 2
            x = x[:half] + x[half : 2 * half]
            n = half
        return x

    return xs(f, ns=(4, 5, 6, 7, 8, 16))


def isinstance_program():

    def f(x):
        n = x.shape[0]
        assert isinstance(n, int) and isinstance(x.shape, tuple) and (type(n) is int) or True
        return x * n if isinstance(n, int) and hasattr(n, "bit_length") else x

    return xs(f)


def sizes_default_program():

    def f(x, k=None):
        k = k or x.shape[0] // 2
        return x[:k].sum()

    return xs(f, ns=(4, 6, 8, 5))


def in_program():

    def f(x):
        return x * 2 if x.shape[0] in (3, 4) else x

    return xs(f, ns=(4, 6, 8, 5, 3, 7))


def sum_gen_program():

    def f(x):
        return (sum(row.sum() * 0.5 for row in x), sum(x))

    return xs(f, ns=(9, 11, 12, 15, 20, 8), grad=False)


def topk_program():

    def f(x):
        return x.topk(min(3, x.shape[0]), 0)[0] if hasattr(x, "topk") else x

    return xs(f, ns=(4, 6, 8, 5, 3, 7))


PROGRAMS = [
    sizekey_program,
    zip_program,
    slices_program,
    makers_program,
    shapetricks_program,
    grad_arg_program,
    batch1_program,
    ifsize_program,
    bit_program,
    listcomp_range_program,
    append_range_program,
    max_len_pad_program,
    chunks_program,
    walk_while2_program,
    bisect_program,
    isinstance_program,
    sizes_default_program,
    in_program,
    sum_gen_program,
    topk_program,
]
CAPTURES = {sizekey_program: 9, batch1_program: 4, chunks_program: 9, bisect_program: 9}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))
