"""Programs that use what Python has: each is the same in every mode."""

import io
import logging
import os
import random
import sys

import pytest
from user_modes import Program, check, make

import duograph as dg
import duograph.nn.functional as F


def helper(x):
    return x * 2 if x.sum() > 0 else x


def globals_fn_program():

    def f(x):
        return globals()["helper"](x)

    return Program(f, *[(make(3),)] * 2)


def locals_program():

    def f(x):
        k = 2
        return x * locals()["k"]

    return Program(f, *[(make(3),)] * 2)


def fn_attr_program():

    def g(x):
        g.calls += 1
        return x * g.scale

    g.calls = 0
    g.scale = 2.0

    def f(x):
        return g(x)

    def change(i):
        g.scale = 2.0 + i

    return Program(f, *[(make(3),)] * 3, before=change, state=lambda: g.calls)


def super_init_program():

    class A:
        def __init__(self, x):
            self.x = x

    class B(A):
        def __init__(self, x, y):
            super().__init__(x)
            self.y = y if y.sum() > 0 else -y

    def f(x):
        b = B(x, x * 2)
        return b.x + b.y

    return Program(f, (make(3),), (-make(3),))


def inner_class_program():

    def f(x):

        class Acc:
            total = 0.0

            def add(self, v):
                self.total = self.total + v
                return self

        return Acc().add(x).add(x * 2).total

    return Program(f, (make(3),), (-make(3),))


def multi_return_types_program():

    def f(x):
        return {"a": (x, [x.sum(), 3, "s", None, True]), "n": x.shape[0], "sh": x.shape}

    return Program(f, (make(3),), (make(4),), (make(5),))


def or_default_program():

    def f(x, s=None):
        h = s or {"n": 1}
        return x * h["n"]

    return Program(f, (make(3),), (make(3), {"n": 5}))


def assert_program():

    def f(x, n):
        assert n > 0, "n must be positive"
        assert x.sum() < 100, f"too large {x.shape}"
        return x * n

    return Program(f, (make(3), 1), (make(3), 0), (make(3) + 100, 1))


def print_loop_program():

    def f(x):
        for i in range(3):
            print("step", i, x.shape[0])
            x = x * 2
        print(x.sum())
        return x

    return Program(f, (make(3),), (make(3),))


def random_program():

    def f(x):
        k = random.random()
        y = x * k
        random.shuffle
        return y.shape[0] * y

    def seed(i):
        random.seed(i)

    return Program(f, (make(3),), (make(3),), before=seed)


def dropout_seed_program():

    def f(x):
        return F.dropout(x, 0.5, training=True) + dg.randn(3)

    return Program(f, (make(3),), (make(3),), (make(3),))


def scope_leak_program():
    kept = []

    def f(x):
        y = x * 2
        kept.append(y)
        return y

    return Program(f, (make(3),), (make(3),), state=lambda: kept)


def type_ann_program():

    def f(x: dg.Tensor, n: int = 2) -> dg.Tensor:
        y: dg.Tensor = x * n
        z: int
        z = 3
        return y + z

    return Program(f, (make(3),), (make(3), 4))


def posonly_program():

    def f(x, /, k=2.0, *, b=1.0):
        return x * k + b

    return Program(f, (make(3),), (make(3), 4.0))


def unpack_rows_program():

    def f(x):
        (a, b), c = (x, 1)
        q, r = divmod(7, 2)
        return a * q + b * r + c

    return Program(f, (make(2, 3),), (make(2, 4),))


def complex_slice_program():

    def f(x):
        return (x[..., None], x[:, ::2], x[[0, 2]], x[x[:, 0] > 0], x[-1], x[1:-1], x[dg.tensor([0, 1])])

    return Program(f, (make(3, 4),), (make(5, 4),), (make(6, 4),), (make(7, 4),))


def log_program():
    lg = logging.getLogger("x")
    lg.setLevel(10)
    out = io.StringIO()
    h = logging.StreamHandler(out)
    lg.handlers = [h]
    lg.propagate = False

    def f(x):
        lg.info("n %d", 3)
        lg.warning("sum %s", x.sum())
        lg.debug(f"mean {x.mean()}", stacklevel=2)
        out.write("hi\n")
        sys.stdout.write("there\n")
        print("to out", x.sum(), file=out)
        return x

    return Program(f, (make(3),), (make(3, seed=1),), state=lambda: out.getvalue())


def env_program():

    def f(x):
        k = 1.0 if os.environ.get("DGT") is None else 2.0
        if os.getenv("DGT", "a") == "b":
            k = 3.0
        if "DGT" in os.environ:
            k += float(os.environ["DGT"] == "c")
        return x * k

    def change(i):
        os.environ.pop("DGT", None)
        if i:
            os.environ["DGT"] = "abc"[i - 1]

    return Program(f, *[(make(3),)] * 4, before=change)


def own_iter_program():

    class It:
        n = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.n += 1
            if self.n % 4 == 0:
                raise StopIteration
            return self.n

    it = It()

    def f(x):
        for i in it:
            x = x * i
        return x

    return Program(f, (make(3),), (make(3),), (make(3),), state=lambda: it.n)


def aug_state_program():

    class S:
        pass

    s = S()
    s.l = []
    s.k = 1
    s.t = dg.zeros(3)
    g = [1]

    def f(x):
        s.l += [1]
        h = s.l
        h += [2]
        s.k *= 2
        s.t += x
        g.extend([3])
        return x * s.k

    return Program(f, (make(3),), (make(3),), (make(3),), state=lambda: (s.l, s.k, s.t, g))


def del_state_program():
    d = {"a": 1, "b": 2, "c": 3}
    l = [1, 2, 3]

    class S:
        pass

    s = S()
    s.z = 3

    def f(x):
        if "a" in d:
            del d["a"]
        if len(l) > 1:
            del l[0]
        if hasattr(s, "z"):
            del s.z
        return x * len(d) + len(l)

    return Program(f, (make(3),), (make(3),), (make(3),), state=lambda: (d, l, s.__dict__))


def vars_program():

    class S:
        pass

    s = S()
    s.k = 2.0

    def f(x):
        return x * vars(s)["k"] * s.__dict__["k"] + len(vars(s))

    def change(i):
        s.k = 2.0 + i

    return Program(f, (make(3),), (make(3),), (make(3),), before=change)


PROGRAMS = [
    globals_fn_program,
    locals_program,
    fn_attr_program,
    super_init_program,
    inner_class_program,
    multi_return_types_program,
    or_default_program,
    assert_program,
    print_loop_program,
    random_program,
    dropout_seed_program,
    scope_leak_program,
    type_ann_program,
    posonly_program,
    unpack_rows_program,
    complex_slice_program,
    log_program,
    env_program,
    own_iter_program,
    aug_state_program,
    del_state_program,
    vars_program,
]
CAPTURES = {env_program: 4, aug_state_program: 9, del_state_program: 9, vars_program: 9}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))
