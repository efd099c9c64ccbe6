"""Programs that users write, of functions, closures and branches: each is the same in every mode."""

import contextlib

import pytest
from user_modes import Program, check, make

import duograph as dg

COUNTER = 0


def kw_program():

    def g(a, *, b=2.0, c):
        return a * b + c

    def f(x):
        return (g(x, c=x) + g(a=x, b=3.0, c=1), g(**{"a": x, "c": 2}))

    return Program(f, (make(3),), (make(3),))


def try_program():
    log = []

    def f(x, k):
        try:
            if k > 2:
                raise ValueError("too big")
            y = x * k
        except ValueError as e:
            log.append(str(e))
            y = x
        else:
            y = y + 1
        finally:
            log.append("done")
        return y

    return Program(f, (make(3), 1), (make(3), 3), (make(3), 2), (make(3), 4), state=lambda: log)


def raise_python_program():

    def f(x, k):
        if k < 0:
            raise ValueError(f"negative {k}")
        return x * k

    return Program(f, (make(3), 1), (make(3), -3), (make(3), 2), (make(3), -4))


def with_ctx_program():
    log = []

    class Ctx:
        def __enter__(self):
            log.append("in")
            return self

        def __exit__(self, *a):
            log.append("out")
            return False

    @contextlib.contextmanager
    def cm(name):
        log.append(name)
        try:
            yield name
        finally:
            log.append("end " + name)

    def f(x):
        with Ctx(), cm("a"):
            y = x * 2
        with dg.no_grad():
            z = y * 3
        return y + z

    return Program(f, (make(3, grad=True),), (make(3, grad=True),), (make(3, grad=True),), state=lambda: log)


def lambda_dict_program():
    acts = {"relu": lambda x: x.relu(), "tanh": lambda x: x.tanh(), "id": lambda x: x}

    def f(x, name):
        return (acts[name](x), acts.get(name, None)(x))

    return Program(f, (make(3), "relu"), (make(3), "tanh"), (make(3), "relu"))


def sorted_program():

    def f(xs):
        xs = sorted(xs, key=lambda t: t.shape[0])
        return [x * i for i, x in enumerate(xs)]

    return Program(f, ([make(3), make(2)],), ([make(2), make(5)],), ([make(4), make(1)],))


def anyall_program():

    def f(x):
        a = any(r.sum() > 0 for r in x)
        b = all(r.sum() > 0 for r in x)
        return (a, b)

    return Program(f, (make(3, 2),), (-make(3, 2),), (make(3, 2).abs(),), (-make(3, 2).abs(),))


def anyall_list_program():

    def f(x):
        if any([v > 0 for v in x]):
            return x * 2
        return x

    return Program(f, (make(3),), (-make(3).abs(),))


def summin_program():

    def f(x):
        rows = [r for r in x]
        return (sum(rows), sum([r.sum() for r in rows]), min(r.sum() for r in rows), max(rows, key=lambda r: r.sum()))

    return Program(f, (make(3, 2),), (-make(3, 2),))


def max2_program():

    def f(x, y):
        return (
            max(x.sum(), y.sum()),
            min([x.sum(), y.sum(), x[0]]),
            max(x, y, key=lambda t: t.mean()) if x.shape == y.shape else x,
        )

    return Program(f, (make(3, grad=True), make(2, grad=True)), (make(2, grad=True), make(3, grad=True)))


def walrus_program():

    def f(x):
        if (s := x.sum()) > 0:
            return x * s
        n = 0
        while (s := (s * 0.5)) < -0.1:
            n += 1
        return x + s + n

    return Program(f, (make(3, grad=True),), (-make(3).abs(),))


def match_program():

    def f(x, cmd):
        match cmd:
            case "double":
                return x * 2
            case ["scale", k]:
                return x * k
            case {"add": v}:
                return x + v
            case int(n) if n > 3:
                return x - n
            case _:
                return x

    return Program(
        f,
        (make(3), "double"),
        (make(3), ("scale", 3.0)),
        (make(3), {"add": 1.5}),
        (make(3), 7),
        (make(3), 2),
        (make(3), ("scale", 4.0)),
    )


def match_tensor_program():

    def f(x):
        match x.shape:
            case [n]:
                return x * n
            case [n, m]:
                return x * n + m

    return Program(f, (make(3),), (make(3, 4),), (make(5),), (make(6),), (make(7),))


def match_value_program():

    def f(x):
        match x.sum() > 0:
            case True:
                return x * 2
            case _:
                return x

    return Program(f, (make(3),), (-make(3),))


def star_program():

    def f(x):
        a, *b, c = x
        (d, e), *_ = [x.chunk(2), 1]
        return (a + c, [t * 2 for t in b], d, e, *b)

    return Program(f, (make(4, grad=True),), (make(4, seed=1, grad=True),))


def chain_program():

    def f(x, lo, hi):
        s = x.sum()
        if lo < s < hi:
            return x
        if not (s <= lo or s >= 2 * hi):
            return x * 2
        return -x

    return Program(f, *[(make(3) + k, -1.0, 1.0) for k in (-2, -0.5, 0, 0.3, 1.0, 3)])


def ternary_program():

    def f(x):
        k = 2.0 if x.sum() > 0 else 3.0
        return (x * k, x.exp() if x.max() > 1 else x.sin() if x.min() < -1 else x)

    return Program(f, (make(3, grad=True),), (make(3, seed=5, grad=True),), (-make(3),))


def global_program():
    global COUNTER
    COUNTER = 0

    def f(x):
        global COUNTER
        COUNTER += 1
        return x * COUNTER

    return Program(f, (make(3),), (make(3),), (make(3),), state=lambda: COUNTER)


def nonlocal_program():
    n = 0

    def f(x):
        nonlocal n
        n = n + x.shape[0]
        return x * n

    return Program(f, (make(3),), (make(4),), (make(5),), (make(6),), state=lambda: n)


def del_program():

    def f(x):
        y = x * 2
        z = y + 1
        del y
        d = {"a": z, "b": x}
        del d["b"]
        l = [x, z]
        del l[0]
        return (d, l)

    return Program(f, (make(3),), (make(3),))


PROGRAMS = [
    kw_program,
    try_program,
    raise_python_program,
    with_ctx_program,
    lambda_dict_program,
    sorted_program,
    anyall_program,
    anyall_list_program,
    summin_program,
    max2_program,
    walrus_program,
    match_program,
    match_tensor_program,
    match_value_program,
    star_program,
    chain_program,
    ternary_program,
    global_program,
    nonlocal_program,
    del_program,
]
CAPTURES = {sorted_program: 4, match_program: 9, match_tensor_program: 9}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))
