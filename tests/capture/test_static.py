"""Static functions: results, guards, numbers, effects and refusals, each against dynamic mode."""

# ruff: noqa: B007, NPY002  (loops that set globals; the generator that is refused)
import collections
import dataclasses
import datetime
import gc
import random
import struct
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from both_modes import same, vector

import duograph as dg
import duograph.config

SCALE = 2.0
STATE = dg.tensor([1.0, 2.0, 3.0])
SWITCH = True


def test_results_and_captures():
    @dg.static(strict=True)
    def line(w, x, b):
        return w * x + b

    a, b, c = vector(1, 2, 3), vector(4, 5, 6), vector(7, 8, 9)
    same(line(a, b, c), a * b + c)
    same(line(b, a, c), a * b + c)
    assert (line.captures, line.compilations) == (1, 1)
    same(line(a, x=b, b=c), a * b + c)
    assert line.captures == 2
    same(line(a, a, a), a * a + a)  # one tensor three times is another structure
    same(line(vector(1, 2), vector(3, 4), vector(5, 6)), vector(8, 14))
    assert line.captures == 4 and line.__name__ == "line"


def test_fast_math_is_only_fused_multiply_add():
    w, x, b = (dg.rand(1000) for _ in range(3))

    def line(w, x, b):
        return w * x + b

    same(dg.static(line, strict=True)(w, x, b), line(w, x, b))
    np.testing.assert_allclose(dg.static(line)(w, x, b).numpy(), line(w, x, b).numpy(), rtol=1e-6)


@dataclasses.dataclass
class Pair:
    left: object
    right: object
    name: str = "pair"


Point = collections.namedtuple("Point", "x y")


def test_structured_arguments_and_results():
    def f(pair, point, table, items, flag=None):
        total = pair.left + point.x * table["k"]
        return {"sum": total, "pair": Pair(total, pair.right, "made"), "point": Point(point.y, 3)}, [items[0], None, flag]

    static = dg.static(f)
    a, b = vector(1, 2), vector(3, 4)
    args = (Pair(a, 2.0), Point(b, a), {"k": 3.0}, [a, b])
    (table, items), (expected, expected_items) = static(*args), f(*args)
    same(table["sum"], expected["sum"])
    assert isinstance(table["pair"], Pair) and table["pair"].right == 2.0 and table["pair"].name == "made"
    assert isinstance(table["point"], Point) and table["point"].x is a and table["point"].y == 3
    assert items[0] is a and items[1:] == [None, None] and expected_items[0] is a
    static(Pair(b, 7.0), Point(a, b), {"k": 5.0}, [b, a])
    assert static.captures == 1
    static(*args, flag="x")
    static(*args, flag="y")
    assert static.captures == 3


def test_tensors_of_globals_closures_and_attributes_are_read_afresh():
    global STATE
    local = vector(1, 1, 1)

    class Box:
        pass

    box = Box()
    box.inner = Box()
    box.inner.value = vector(5, 5, 5)

    @dg.static
    def f(x):
        return x + STATE + local + box.inner.value

    before = STATE
    try:
        same(f(vector(0, 0, 0)), vector(7, 8, 9))
        STATE = vector(10, 10, 10)
        same(f(vector(0, 0, 0)), vector(16, 16, 16))
        local = vector(2, 2, 2)
        box.inner.value = vector(0, 0, 0)
        same(f(vector(0, 0, 0)), vector(12, 12, 12))
        local.mul_(2)
        same(f(vector(0, 0, 0)), vector(14, 14, 14))
        assert f.captures == 1
        box.inner = Box()
        box.inner.value = vector(1, 1, 1)
        same(f(vector(0, 0, 0)), vector(15, 15, 15))
        assert f.captures == 2
    finally:
        STATE = before


def test_numbers_in_arithmetic_are_inputs_and_numbers_that_steer_are_guards():
    global SCALE
    rate = 0.5

    @dg.static
    def f(x, k):
        y = x * SCALE + rate * 2
        if k > 3:
            y = y * (k - 1)
        return y, k / 2 + rate

    before = SCALE
    try:
        for SCALE, rate, k in [(2.0, 0.5, 1.0), (3.0, 0.25, 2.0), (4.0, 0.125, 3.0)]:
            y, number = f(vector(1, 2), k)
            same(y, vector(1, 2) * SCALE + rate * 2)
            assert number == k / 2 + rate
        assert f.captures == 1
        same(f(vector(1, 2), 5.0)[0], (vector(1, 2) * 4 + 0.25) * 4)
        assert f.captures == 2
        same(f(vector(1, 2), 9.0)[0], (vector(1, 2) * 4 + 0.25) * 8)
        assert f.captures == 2
        f(vector(1, 2), 9)  # an int is another type
        assert f.captures == 3
    finally:
        SCALE = before


def test_numbers_that_become_structure_are_guarded_by_value():
    import math

    @dg.static
    def f(x, n, dim):
        for _ in range(n):
            x = x + 1
        return x.sum(dim) * math.sqrt(n)

    x = dg.zeros(2, 3)
    same(f(x, 4, 0), vector(16, 16, 16))
    same(f(x, 4, 1), vector(24, 24))
    same(f(x, 1, 1), vector(3, 3))
    same(f(x, 4, 1), vector(24, 24))
    assert f.captures == 3


def test_a_changed_global_closure_or_attribute_captures_again():
    global SWITCH
    mode = "double"

    class Options:
        negate = False

    options = Options()

    def f(x):
        if SWITCH:
            x = x * 2 if mode == "double" else x * 3
        return -x if options.negate else x

    static = dg.static(f)
    try:
        for SWITCH, mode, options.negate in [
            (True, "double", False),
            (False, "double", False),
            (True, "x", False),
            (True, "x", True),
        ]:
            same(static(vector(1, 2)), f(vector(1, 2)))
        assert static.captures == 4
        options.negate = False
        same(static(vector(1, 2)), f(vector(1, 2)))
        assert static.captures == 4  # known already
    finally:
        SWITCH = True


def helper(x):
    return x + SCALE


def test_called_functions_are_converted_on_the_way():
    global SCALE, helper

    class Thing:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return x * self.factor

    thing = Thing(3.0)

    def outer(x):
        made = Thing(2.0)
        return list(map(lambda v: helper(v), [thing(x), made(x)]))

    static = dg.static(outer)
    before, original = SCALE, helper
    try:
        for SCALE, thing.factor in [(2.0, 3.0), (5.0, 4.0)]:
            for got, expected in zip(static(vector(1, 2)), outer(vector(1, 2))):
                same(got, expected)
        assert static.captures == 1

        def helper(x):
            return x - 1

        for got, expected in zip(static(vector(1, 2)), outer(vector(1, 2))):
            same(got, expected)
        assert static.captures == 2
    finally:
        SCALE, helper = before, original


def test_methods():
    class Model:
        def __init__(self, k):
            self.k = k
            self.w = vector(1, 2)

        @dg.static
        def forward(self, x):
            return x * self.k + self.w

        @property
        def twice(self):
            return self.k * 2

        @dg.static
        def other(self, x):
            return x * self.twice

    one, two = Model(2.0), Model(3.0)
    same(one.forward(vector(1, 1)), vector(3, 4))
    same(two.forward(vector(1, 1)), vector(4, 5))
    one.k = 5.0
    same(one.forward(vector(1, 1)), vector(6, 7))
    same(one.other(vector(1, 1)), vector(10, 10))
    one.k = 6.0
    same(one.other(vector(1, 1)), vector(12, 12))
    assert Model.forward.captures == 2 and Model.other.captures == 1


# ---- effects ------------------------------------------------------------------------------------------------------


class Accumulator:
    def __init__(self):
        self.count = 0
        self.last = None
        self.log = []
        self.table = {"n": 1}

    def step(self, x):
        self.count += 1
        self.last = x * self.count
        self.log.append(self.last)
        self.table["n"] *= 2
        return self.last


def test_python_state_is_written_at_every_run():
    ours, theirs = Accumulator(), Accumulator()
    static = dg.static(ours.step)
    for _ in range(4):
        same(static(vector(1, 2)), theirs.step(vector(1, 2)))
    assert ours.count == theirs.count == 4 and ours.table == theirs.table
    assert len(ours.log) == 4
    for a, b in zip(ours.log, theirs.log):
        same(a, b)
    same(ours.last, theirs.last)
    assert static.captures <= 2


TOTAL = 0


def test_globals_and_closures_are_written_at_every_run():
    global TOTAL
    TOTAL = 0
    calls = 10

    @dg.static
    def f(x):
        global TOTAL
        nonlocal calls
        TOTAL += 1
        calls -= 1
        return x * calls

    same(f(vector(1)), vector(9))
    same(f(vector(1)), vector(8))
    assert (TOTAL, calls, f.captures) == (2, 8, 1)


def test_print_happens_at_every_run(capsys):
    @dg.static
    def f(x):
        print("value", x.sum())
        return x

    f(vector(1, 2))
    f(vector(3, 4))
    assert capsys.readouterr().out == "value tensor(3.)\nvalue tensor(7.)\n"


# ---- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (lambda x: x.numpy(), ".numpy()"),
        (lambda x: x.item(), ".item()"),
        (lambda x: struct.pack("d", x[0].item()), "struct.pack"),
        (lambda x: {1.0: x}.get(x[0].item(), -x), ".get("),
        (lambda x: bytes(int(x[0])), "bytes("),
        (lambda x: np.asarray(x), "np.asarray"),
        (lambda x: random.choice([1, 2]) * x, "random.choice"),
        (lambda x: dg.from_numpy(np.random.rand(2)) * x, "np.random.rand(2)"),
        (lambda x: datetime.datetime.now().second * x, "datetime.now()"),
        (lambda x: [1, 2, 3][random.randint(0, 2)] * x, "random.randint"),
    ],
)
def test_value_reads_and_randomness_are_refused_with_the_line(read, text):
    static = dg.static(read)
    for _ in range(2):
        with pytest.raises(dg.errors.CaptureError) as error:
            static(vector(1, 2))
        assert isinstance(error.value, dg.Error) and isinstance(error.value, RuntimeError)
        assert "test_static.py" in str(error.value) and text in str(error.value), str(error.value)


def test_a_function_without_source_is_traced_on_a_single_path():
    scope = {"dg": dg}
    exec("def f(x):\n    return x * 2 + 1\ndef g(x):\n    return x if x.sum() > 0 else -x", scope)
    same(dg.static(scope["f"])(vector(1, 2)), vector(3, 5))
    with pytest.raises(dg.errors.CaptureError):
        dg.static(scope["g"])(vector(1, 2))


def test_a_changed_argument_list_is_refused():
    @dg.static
    def f(items):
        items.append(items[0])
        return items[0]

    with pytest.raises(dg.errors.CaptureError, match="items"):
        f([vector(1)])


def test_an_exception_leaves_what_was_done_before_it_and_nothing_else():
    def outcome(switch):
        box = Accumulator()
        weight = dg.tensor([1.0, 2.0], requires_grad=True)
        state = vector(1, 2)

        def fails(x):
            (weight * x).sum().backward()
            state.add_(x)
            box.step(x)
            with dg.no_grad():
                weight.mul_(2)
            raise ValueError("stop")

        function, found = switch(fails), []
        for _ in range(2):
            with pytest.raises(ValueError, match="stop") as error:
                function(vector(1, 2))
            assert error.traceback[-1].lineno == fails.__code__.co_firstlineno + 5
            log = [x.tolist() for x in box.log]
            found.append((weight.grad.tolist(), box.count, log, dict(box.table), state.tolist(), weight.tolist()))
            assert dg.is_grad_enabled() and not dg._core.tracing()
        return found

    assert outcome(dg.static) == outcome(lambda f: f)
    same(dg.static(lambda x: x + 1)(vector(1)), vector(2))


def test_bad_targets():
    with pytest.raises(TypeError):
        dg.static(3)
    with pytest.raises(TypeError):
        dg.static(int)
    with pytest.raises(dg.Error, match="NumPy"):
        dg.static(lambda x: x)(np.ones(3))


# ---- life ---------------------------------------------------------------------------------------------------------


def test_nested_static_functions_are_one_program():
    inner = dg.static(lambda x: x * 2)
    outer = dg.static(lambda x: inner(x) + 1)
    same(outer(vector(1, 2)), vector(3, 5))
    assert inner.captures == 0 and outer.captures == 1


def test_dynamic_mode():
    seen = []

    @dg.static
    def f(x):
        seen.append(float(x.sum()))
        return x + 1

    with dg.dynamic_mode():
        same(f(vector(1, 2)), vector(2, 3))
    assert seen == [3.0] and f.captures == 0
    code = (
        "import duograph as dg\n"
        "f = dg.static(lambda x: float(x.sum()))\n"
        "assert f(dg.tensor([1.0, 2.0])) == 3.0 and f.captures == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"DUOGRAPH_DYNAMIC": "1", "PATH": ""})


def test_captures_are_bounded():
    @dg.static
    def f(x, key):
        return x + 1

    with pytest.warns(dg.errors.CaptureWarning, match="argument key"):
        for i in range(50):
            f(vector(1), f"key{i}")
    assert f.captures == 50 and len(f.entries) == dg.config.config.capture_limit
    f(vector(1), "key49")
    assert f.captures == 50


def test_static_functions_are_collected():
    class Owner:
        pass

    def make():
        owner = Owner()
        owner.value = vector(1, 2)
        owner.run = dg.static(lambda x: x + owner.value)
        owner.run(vector(1, 1))
        return weakref.ref(owner)

    dead = make()
    gc.collect()
    assert dead() is None


def test_threads_share_a_static_function():
    @dg.static
    def f(x, k):
        y = x
        for _ in range(5):
            y = y * 1.5 + k
        return y.sum()

    expected = {n: [f.__wrapped__(dg.ones(n), float(k)).item() for k in range(5)] for n in (3, 5, 7)}
    failures = []

    def work(n):
        try:
            for i in range(60):
                got = f(dg.ones(n), float(i % 5)).item()
                if abs(got - expected[n][i % 5]) > 1e-3:
                    failures.append((n, i, got))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in (3, 5, 7) * 2]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures and f.captures == 2  # the second size is a symbol


def test_jit_trace_and_script():
    traced = dg.jit.trace(lambda x: x * 2, vector(1, 2))
    assert traced.captures == 1
    same(traced(vector(3, 4)), vector(6, 8))
    assert traced.captures == 1
    with pytest.raises(dg.Error):
        dg.jit.trace(lambda x: x if x.sum() > 0 else -x, (vector(1, 2),))
    same(dg.jit.script(lambda x: x * 2)(vector(1)), vector(2))
    assert dg.compile is dg.static
