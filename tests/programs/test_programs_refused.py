"""Programs that cannot be static: each is refused with the user's line, and a way out."""

import itertools
import struct
from dataclasses import dataclass, field

import numpy as np
import pytest
from user_modes import Program, make

import duograph as dg
from duograph.errors import CaptureError


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


def dataclass_program():

    def f(s, dt):
        for _ in range(3):
            s = s.advance(dt)
        return (s.x, s.step)

    ss = [State(make(3)) for _ in range(3)]
    return Program(f, *[(s, 0.1 * i) for i, s in enumerate(ss)], state=lambda: [(s.step, s.history, s.x) for s in ss])


def generator_if_program():

    def gen(x):
        for i in range(3):
            if x.sum() > 0:
                yield (x * i)
            else:
                yield x

    def f(x):
        return sum(gen(x))

    return Program(f, (make(3),), (-make(3),))


def sorted_values_program():

    def f(xs):
        return sorted(xs, key=lambda t: t.sum())

    return Program(f, ([make(3), make(2)],), ([make(2), make(5)],))


def recursion_tensor_program():

    def shrink(x):
        if x.sum() > 1:
            return shrink(x * 0.5)
        return x

    return Program(shrink, (make(3).abs() + 3,), (-make(3),))


def numpy_of_x_program():

    def f(x):
        return dg.tensor(x.numpy() * 2)

    return Program(f, (make(2, 3),), (make(2, 3),))


def packed_item_program():

    def f(x):
        return x * len(struct.pack("d", x.sum().item()))

    return Program(f, (make(2, 3),), (make(2, 3),))


def index_of_item_program():

    def f(x):
        return [x, x * 2, x * 3, x * 4][(x > 0).sum().item()]

    return Program(f, (make(3),), (make(3),))


def long_list_program():
    w = make(100)

    def f(x):
        return x * sum(w.tolist())

    return Program(f, (make(3),), (make(3),))


def concrete_numpy_program():
    w = make(3)

    def f(x):
        return x * dg.tensor(w.numpy())

    def change(i):
        w.mul_(2.0)

    return Program(f, *[(make(3),)] * 3, before=change)


def np_arg_program():

    def f(x, a):
        return x * dg.tensor(a)

    return Program(f, (make(3), np.ones(3, "float32")), (make(3), np.zeros(3, "float32")))


def np_scalar_arg_program():

    def f(x, a):
        return x * a

    return Program(f, (make(3), np.float32(2)), (make(3), np.float32(3)), (make(3), np.float64(3)), (make(3), np.int64(3)))


def iter_state_program():
    data = iter([1.0, 2.0, 3.0, 4.0, 5.0])

    def f(x):
        return x * next(data)

    return Program(f, *[(make(3),)] * 3)


def count_state_program():
    c = itertools.count()

    def f(x):
        return x * next(c)

    return Program(f, *[(make(3),)] * 3)


def gen_external_program():

    def g():
        n = 0
        while True:
            n += 1
            yield n

    it = g()

    def f(x):
        return x * next(it)

    return Program(f, *[(make(3),)] * 3)


def none_result_program():

    def f(x):
        if x.sum() > 0:
            return x
        return None

    return Program(f, (make(3),), (-make(3),))


def diff_shape_program():

    def f(x):
        if x.sum() > 0:
            y = x
        else:
            y = x.sum()
        return y

    return Program(f, (make(3),), (-make(3),))


def diff_dtype_program():

    def f(x):
        y = x
        while y.sum() > 1:
            y = (y * 0.5).double()
        return y

    return Program(f, (make(3).abs() + 2,), (-make(3),))


def string_state_program():

    def f(x):
        mode = "a"
        if x.sum() > 0:
            mode = "b"
        return x * 2 if mode == "b" else x

    return Program(f, (make(3),), (-make(3),))


def eval_program():

    def f(x):
        return eval("x * 2")

    return Program(f, *[(make(3),)] * 2)


def iters_program():
    it = iter([1, 2, 3])

    def f(x):
        return [x * i for i in it]

    return Program(f, (make(3),), (make(3),))


def iters2_program():
    it = itertools.cycle([1, 2, 3])

    def f(x):
        for i in it:
            return x * i

    return Program(f, (make(3),), (make(3),))


def iters3_program():

    def f(x, it):
        return x * next(it)

    return Program(f, (make(3), iter([1, 2])), (make(3), iter([3])))


def pop_state_program():
    st = [make(3), make(3)]

    def f(x):
        return x + st.pop()

    return Program(f, (make(3),), (make(3),), state=lambda: st)


def early_none_program():

    def f(x):
        for i in range(20):
            x = x * 0.5
            if x.abs().max() < 0.1:
                return i

    return Program(f, (make(3),), (make(4) * 1000000000.0,))


REFUSED = [
    (dataclass_program, "is changed by the function", ""),
    (generator_if_program, "in a generator only Python decides", "if x.sum() > 0:"),
    (sorted_values_program, "the order of Python objects", "sorted(xs"),
    (recursion_tensor_program, "calls itself without end", "if x.sum() > 1:"),
    (numpy_of_x_program, "NumPy wants a tensor's values", "x.numpy()"),
    (packed_item_program, "float() reads a tensor's value", 'struct.pack("d", x.sum().item())'),
    (index_of_item_program, "index() reads a tensor's value", "(x > 0).sum().item()]"),
    (long_list_program, "tolist() reads", "w.tolist()"),
    (concrete_numpy_program, "NumPy wants", "w.numpy()"),
    (np_arg_program, "argument a is a NumPy ndarray", ""),
    (np_scalar_arg_program, "argument a is a NumPy float32", ""),
    (iter_state_program, "an iterator from outside", "next(data)"),
    (count_state_program, "an iterator from outside", "next(c)"),
    (gen_external_program, "an iterator from outside", "next(it)"),
    (none_result_program, "elsewhere it is None", "if x.sum() > 0"),
    (diff_shape_program, "y differs between the two sides", "if x.sum() > 0"),
    (
        diff_dtype_program,
        "y changes its dtype or shape in a loop: before a turn it is float32[3], after it it is float64[3]",
        "while y.sum() > 1",
    ),
    (string_state_program, "mode differs between the two sides", "if x.sum() > 0"),
    (eval_program, "runs code that is not seen", "eval("),
    (iters_program, "it is an iterator from outside", "for i in it"),
    (iters2_program, "it is an iterator from outside", "for i in it"),
    (iters3_program, "argument it is an iterator", ""),
    (pop_state_program, "takes out of a container", "st.pop()"),
    (early_none_program, "nothing on others", ""),
]


@pytest.mark.parametrize(("maker", "message", "line"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_static_is_refused(maker, message, line):
    program = maker()
    static = dg.static(program.function)
    with pytest.raises(CaptureError) as caught:
        for args in program.calls:
            static(*args)
    assert message in str(caught.value)
    assert line in str(caught.value)
    assert "hint:" in str(caught.value)
    assert "CaptureError" not in str(caught.value.__cause__)
