"""Programs whose sizes change: each is the same in every mode, and captured only a few times."""

import math

import pytest
from user_modes import Program, check, make, xs

import duograph as dg


def late_div_program():

    def f(x):
        m = x > 0
        return x[m].sum() / x[m].shape[0]

    return xs(f)


def late_len_program():

    def f(x):
        idx = (x > 0).nonzero()
        return (x.sum() * len(idx) + len(idx) - x.mean() / (1 + len(idx)), len(idx) / 2 * x)

    return xs(f)


def late_mean_like_program():

    def f(x):
        v = x[x > 0]
        n = v.shape[0]
        return v.sum() / max(n, 1)

    return xs(f)


def late_numel_program():

    def f(x):
        v = x[x > 0]
        return (v.sum() / v.numel(), dg.arange(v.shape[0]).float().sum() / v.shape[0], dg.zeros(v.shape[0]) + v)

    return xs(f)


def late_sub_program():

    def f(x):
        n = x[x > 0].shape[0]
        return (x - n, n - x, n + x, n * x, x // (n + 1), x % (n + 1), n / (x.abs() + 1))

    return xs(f)


def late_return_program():

    def f(x):
        return (x[x > 0].shape[0], len(x[x > 0]))

    return xs(f)


def comprehension_program():

    def f(x):
        return dg.stack([row * 2 for row in x]).sum(0)

    return xs(f)


def while_i_program():

    def f(x):
        i, n, s = (0, x.shape[0], x[0] * 0)
        while i < n:
            s = s + x[i] * 0.5
            i += 1
        return s

    return xs(f)


def while_i_number_program():

    def f(x, n):
        i, s = (0, x[0] * 0)
        while i < n:
            s = s * 0.5 + x[0] * i
            i += 1
        return s

    return Program(f, *[(make(3, 4, grad=True), n) for n in (3, 5, 4, 9, 12, 11)])


def fstring_program():

    def f(x):
        print(f"rows {x.shape[0]} of {x.shape}")
        return x.sum()

    return xs(f)


def math_sqrt_program():

    def f(x):
        return (
            x.sum() / math.sqrt(x.shape[0]),
            x * (1 / math.sqrt(x.shape[0])),
            math.log(x.shape[0]) * x,
            math.exp(-x.shape[0]) * x,
        )

    return xs(f)


def math_ceil_program():

    def f(x):
        k = math.ceil(x.shape[0] / 2)
        return (x[:k].sum(), x[: math.floor(x.shape[0] / 2)].sum(), x[: int(x.shape[0] * 0.5)].sum())

    return xs(f)


def pow_half_program():

    def f(x):
        return (x * x.shape[0] ** (-0.5), x / x.shape[0] ** 0.5, x.shape[0] ** 2 * x)

    return xs(f)


def minmax_cross_program():

    def f(x):
        n = x.shape[0]
        return (x[: min(n, 7)].sum(), max(n, 4) * x)

    return xs(f, ns=(3, 5, 4, 9, 12, 2))


def range_step_program():

    def f(x):
        s = x[0] * 0
        for i in range(0, x.shape[0], 2):
            s = s + x[i]
        return s

    return xs(f, ns=(9, 11, 12, 15, 20, 8))


def range_back_program():

    def f(x):
        s = x[0] * 0
        for i in range(x.shape[0] - 1, -1, -1):
            s = s * 0.5 + x[i]
        for i in reversed(range(x.shape[0])):
            s = s * 0.5 + x[i]
        return s

    return xs(f, ns=(9, 11, 12, 15, 20, 8))


def range_small_program():

    def f(x):
        s = x[0] * 0
        for i in range(x.shape[0]):
            s = s * 0.5 + x[i]
        return s

    return xs(f, ns=(2, 3, 4, 5, 6, 7, 8, 1))


def eqshape_program():

    def f(x, y):
        if x.shape[0] == y.shape[0] and x.shape == y.shape:
            return (x * y).sum()
        return x.sum() + y.sum()

    return Program(f, *[(make(n, 4, grad=True), make(n, 4, seed=1)) for n in (3, 5, 4, 9)])


def eqshape2_program():

    def f(x, y):
        if x.shape == y.shape:
            return (x * y).sum()
        return x.sum() + y.sum()

    return Program(f, *[(make(n, 4, grad=True), make(n + n % 2, 4, seed=1)) for n in (3, 5, 4, 9, 7, 8, 10)])


def numel_program():

    def f(x):
        return (
            x.sum() / x.numel(),
            x.sum() / len(x),
            x.sum() / (x.shape[0] * x.shape[1]),
            x.sum() / x.size(0),
            x.ndim * x,
            x.dim() * x,
        )

    return xs(f)


def dictkeys_program():

    def f(x):
        d = {"n": x.shape[0], "m": x.shape[1]}
        l = [x.shape[0], 2]
        a, b = x.shape
        return (x * d["n"] / l[0] + a - b, x.reshape(l[0], 2, -1), sum(l) * x)

    return xs(f)


PROGRAMS = [
    late_div_program,
    late_len_program,
    late_mean_like_program,
    late_numel_program,
    late_sub_program,
    late_return_program,
    comprehension_program,
    while_i_program,
    while_i_number_program,
    fstring_program,
    math_sqrt_program,
    math_ceil_program,
    pow_half_program,
    minmax_cross_program,
    range_step_program,
    range_back_program,
    range_small_program,
    eqshape_program,
    eqshape2_program,
    numel_program,
    dictkeys_program,
]
CAPTURES = {}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))
