"""Loops and branches over scalars run inside one kernel: values, bits, edges, reports, interrupts."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value
from duograph.ir.verify import verify
from duograph.runtime.build import Built, build

DTYPES = ("float32", "float64", "int64", "int32", "bool")
B = TensorType(core.bool)


def scalar(name: str) -> TensorType:
    return TensorType(getattr(core, name))


F, I = scalar("float32"), scalar("int64")


class Scalars(Builder):
    """A builder of scalar programs."""

    def op(self, op: str, *inputs: Value, type: TensorType | None = None) -> Value:
        return self.emit(op, inputs, {}, [type or inputs[-1].type])[0]

    def compare(self, op: str, left: Value, right: Value) -> Value:
        return self.op(op, left, right, type=B)

    def repeat(self, test: Any, step: Any, initial: Sequence[Value]) -> list[Value]:
        """`while test(*carried): carried = step(*carried)`"""
        types = [value.type for value in initial]
        with self.region(types) as condition:
            condition.outputs = [test(*condition.inputs)]
        with self.region(types) as body:
            body.outputs = step(*body.inputs)
        return self.while_loop(condition, body, initial)

    def choose(self, predicate: Value, then: Any, otherwise: Any) -> list[Value]:
        with self.region([]) as first:
            first.outputs = then()
        with self.region([]) as second:
            second.outputs = otherwise()
        return self.cond(predicate, first, second)


def kinds(built: Built) -> list[str]:
    """The steps of a program: "kernel", "while", ..."""
    return [step[0] for step in built.spec["steps"]]


def run(graph: Graph, arguments: Sequence[Any], fuse: bool = True) -> list[bytes]:
    verify(graph)
    built = build(graph, fuse=fuse, cached=False)
    return [out.numpy().tobytes() for out in built.program.run([dg.from_numpy(np.array(x)) for x in arguments], [], [])]


def counter() -> Graph:
    with Scalars("counter") as b:
        n, x = b.input(I, "n"), b.input(F, "x")
        one = b.constant(1, core.int64)
        outputs = b.repeat(
            lambda i, s: b.compare("lt", i, n),
            lambda i, s: [b.op("add", i, one), b.op("add", s, x)],
            [b.constant(0, core.int64), b.constant(0.0, core.float32)],
        )
        return b.finish(outputs)


@pytest.mark.parametrize("n", [-3, 0, 1, 2, 4095, 4096, 4097, 100_000])
def test_counter(n: int) -> None:
    built = build(counter(), cached=False)
    assert kinds(built) == ["kernel"]
    count, total = built.program.run([dg.from_numpy(np.array(n)), dg.tensor(0.1)], [], [])
    assert count.item() == max(n, 0)
    expected = np.float32(0)
    for _ in range(n):
        expected += np.float32(0.1)
    assert total.item() == expected


def test_report() -> None:
    (kernel,) = build(counter(), cached=False).report.kernels
    assert kernel.expression == "t0, t1 = 0, 0; while t0 < n: {t0, t1 = t0 + 1, t1 + x}; result = t0; result = t1"


def collatz() -> Graph:
    """How many steps each of n, n - 1, ..., 1 takes to reach 1, added up; and the highest number met."""
    with Scalars("collatz") as b:
        n = b.input(I, "n")
        zero, one, two, three = (b.constant(i, core.int64) for i in range(4))

        def halve_or_not(k: Value) -> Value:
            even = b.compare("eq", b.op("mod", k, two), zero)
            return b.choose(
                even,
                lambda: [b.op("floordiv", k, two)],
                lambda: [b.op("add", b.op("mul", three, k), one)],
            )[0]

        def outer(k: Value, steps: Value, top: Value) -> list[Value]:
            _, steps, top = b.repeat(
                lambda j, steps, top: b.compare("ne", j, one),
                lambda j, steps, top: [halve_or_not(j), b.op("add", steps, one), b.op("maximum", top, j)],
                [k, steps, top],
            )
            return [b.op("sub", k, one), steps, top]

        _, steps, top = b.repeat(lambda k, steps, top: b.compare("gt", k, zero), outer, [n, zero, zero])
        return b.finish([steps, top])


@pytest.mark.parametrize("n", [0, 1, 2, 27, 300])
def test_nested_loops_and_branches(n: int) -> None:
    steps = top = 0
    for k in range(1, n + 1):
        while k != 1:
            top = max(top, k)
            k = k // 2 if k % 2 == 0 else 3 * k + 1
            steps += 1
    built = build(collatz(), cached=False)
    assert kinds(built) == ["kernel"]
    assert [out.item() for out in built.program.run([dg.from_numpy(np.array(n))], [], [])] == [steps, top]


def test_integers_wrap() -> None:
    with Scalars() as b:
        n, x = b.input(I, "n"), b.input(I, "x")
        one = b.constant(1, core.int64)
        outputs = b.repeat(
            lambda i, x: b.compare("lt", i, n),
            lambda i, x: [b.op("add", i, one), b.op("mul", x, b.constant(3, core.int64))],
            [b.constant(0, core.int64), x],
        )
        graph = b.finish(outputs[1:])
    (found,) = run(graph, [50, 2**62])
    assert np.frombuffer(found, np.int64)[0] == ((2**62 * 3**50 + 2**63) % 2**64) - 2**63


@pytest.mark.parametrize("divisor", [-1, 0])
def test_division_by_zero_is_reported_only_where_it_happens(divisor: int) -> None:
    """A branch that is not taken does not fail; one that is does."""
    with Scalars() as b:
        a, d = b.input(I, "a"), b.input(I, "d")
        (out,) = b.choose(
            b.compare("lt", d, b.constant(0, core.int64)), lambda: [b.op("neg", a)], lambda: [b.op("floordiv", a, d)]
        )
        graph = b.finish([out])
    if divisor:
        assert run(graph, [7, divisor]) == [np.int64(-7).tobytes()]
    else:
        with pytest.raises(dg.Error, match="integer division by zero"):
            run(graph, [7, divisor])


def test_states_of_all_dtypes_and_swaps() -> None:
    """Carried values that change places, and 16-bit floats, which round each time."""
    names = ("float16", "bfloat16", "uint8", "bool", "float64")
    with Scalars() as b:
        inputs = [b.input(scalar(name), name) for name in names for _ in range(2)]

        def step(i: Value, *state: Value) -> list[Value]:
            swapped = []
            for left, right in zip(state[::2], state[1::2]):
                kind = left.dtype.kind
                op = "logical_xor" if kind == "b" else "add"
                swapped += [right, b.op(op, left, right)]
            return [b.op("add", i, b.constant(1, core.int64)), *swapped]

        _, *outputs = b.repeat(
            lambda i, *state: b.compare("lt", i, b.constant(9, core.int64)), step, [b.constant(0, core.int64), *inputs]
        )
        graph = b.finish(outputs)
    values = [dg.tensor(v, dtype=getattr(dg, name)) for name in names for v in (0.3, 1.7)]
    fused, apart = (build(graph, fuse=fuse, cached=False) for fuse in (True, False))
    assert kinds(fused) == ["kernel"]
    first, second = (built.program.run(values, [], []) for built in (fused, apart))
    for a, c in zip(first, second):
        assert a.dtype == c.dtype
        assert a.item() == c.item()


def trace_of(matrix: bool) -> Graph:
    """The sum of x[i], or of x[i, i], for i < n."""
    vector = TensorType(core.float32, (5,))
    with Scalars() as b:
        x = b.input(TensorType(core.float32, (6, 5)) if matrix else vector, "x")
        n = b.input(I, "n")

        def step(i: Value, total: Value) -> list[Value]:
            row = b.op("row", x, i, type=vector) if matrix else x
            item = b.op("row", row, i, type=F)
            return [b.op("add", i, b.constant(1, core.int64)), b.op("add", total, item)]

        zero = [b.constant(0, core.int64), b.constant(0.0, core.float32)]
        return b.finish(b.repeat(lambda i, total: b.compare("lt", i, n), step, zero)[1:])


@pytest.mark.parametrize("matrix", [False, True])
def test_elements_of_arrays_are_read(matrix: bool) -> None:
    built = build(trace_of(matrix), cached=False)
    assert kinds(built) == ["kernel"]
    x = np.arange(30, dtype=np.float32).reshape(6, 5)
    given = x if matrix else x[2].copy()
    for n in (0, 1, 5):
        (found,) = built.program.run([dg.from_numpy(given), dg.from_numpy(np.array(n))], [], [])
        assert found.item() == (np.trace(x[:n]) if matrix else x[2, :n].sum())
    with pytest.raises(dg.Error, match="index 5 is out of range for a dimension of size 5"):
        built.program.run([dg.from_numpy(given), dg.from_numpy(np.array(6))], [], [])


@pytest.mark.parametrize("layout", ["rows", "columns", "one", "every other"])
@pytest.mark.parametrize("width", [3, 16, 20])
def test_rows_of_arrays_are_read(layout: str, width: int) -> None:
    """v = v / 2 + x[i], where the rows of x lie next to each other, or apart."""
    vector, half = TensorType(core.float32, (width,)), 0.5
    strides = {"rows": None, "columns": (1, 7), "one": (0, 1), "every other": (3 * width, 2)}[layout]
    with Scalars() as b:
        x = b.input(TensorType(core.float32, (6, width)), "x", strides=strides)
        n = b.input(I, "n")

        def step(i: Value, v: Value) -> list[Value]:
            following = b.op("add", b.op("mul", v, b.constant(half, core.float32, (width,))), b.op("row", x, i, type=vector))
            return [b.op("add", i, b.constant(1, core.int64)), following]

        initial = [b.constant(0, core.int64), b.constant(0.0, core.float32, (width,))]
        built = build(b.finish(b.repeat(lambda i, v: b.compare("lt", i, n), step, initial)[1:]), cached=False)
    assert kinds(built) == ["kernel"]
    memory = np.arange(18 * width, dtype=np.float32)
    given = np.lib.stride_tricks.as_strided(memory, (6, width), tuple(4 * s for s in strides or (width, 1)))
    expected = np.zeros(width, np.float32)
    for row in given:
        expected = expected * np.float32(half) + row
    tensor = dg.from_numpy(given)
    (found,) = built.program.run([tensor, dg.from_numpy(np.array(6))], [], [])
    np.testing.assert_array_equal(found.numpy(), expected)
    with pytest.raises(dg.Error, match="index 6 is out of range for a dimension of size 6"):
        built.program.run([tensor, dg.from_numpy(np.array(7))], [], [])


# Random programs


class Random:
    """Draws programs of loops and branches in each other, over scalars and tensors of one small shape."""

    def __init__(self, seed: int, shape: tuple[int, ...] = ()) -> None:
        self.random = random.Random(seed)
        self.shape = shape
        self.b = Scalars()

    def graph(self) -> Graph:
        with self.b as b:
            values = [b.input(scalar(name), name) for name in DTYPES for _ in range(2)]
            if self.shape:
                values += [b.input(TensorType(getattr(core, name), self.shape), name) for name in DTYPES]
            values = self.block(values, 3)
            return b.finish(values[-6:])

    def block(self, values: list[Value], depth: int) -> list[Value]:
        values = list(values)
        for _ in range(self.random.randint(1, 5)):
            made = self.loop(values, depth) if depth and self.random.random() < 0.3 else self.simple(values)
            if depth and self.random.random() < 0.3:
                made = self.branch(values, depth)
            values += made
        return values

    def pick(self, values: Sequence[Value], name: str, shape: tuple[int, ...] | None = None) -> Value:
        found = [v for v in values if v.dtype.name == name and (shape is None or v.shape == shape)]
        return self.random.choice(found)

    def simple(self, values: Sequence[Value]) -> list[Value]:
        b, name = self.b, self.random.choice(DTYPES)
        x, y = self.pick(values, name), self.pick(values, name)
        shape = x.shape or y.shape
        x, y = b.broadcast(x, shape), b.broadcast(y, shape)
        boolean = TensorType(core.bool, shape)
        if shape and self.random.random() < 0.3:
            kinds = ("any", "all") if name == "bool" else ("sum", "prod", "max", "min")
            return b.emit("reduce", [x], {"kind": self.random.choice(kinds), "dims": tuple(range(len(shape)))}, [scalar(name)])
        if name == "bool":
            return [b.op(self.random.choice(("logical_and", "logical_or", "logical_xor")), x, y)]
        choice = self.random.random()
        if choice < 0.2:
            return [b.op(self.random.choice(("lt", "le", "eq", "ne", "gt", "ge")), x, y, type=boolean)]
        if choice < 0.3:
            other = self.random.choice(DTYPES)
            return [b.op("cast", x, type=TensorType(getattr(core, other), shape))]
        if choice < 0.4:
            choose = self.pick(values, "bool")
            shape = shape or choose.shape
            return [b.op("where", *(b.broadcast(value, shape) for value in (choose, x, y)))]
        if choice < 0.5 and name.startswith("float"):
            return [b.op(self.random.choice(("exp", "tanh", "sin", "sqrt", "floor")), x)]
        if choice < 0.6:
            return [b.op("mod", x, b.constant(7 if name.startswith("i") else 7.5, x.dtype, shape))]
        return [b.op(self.random.choice(("add", "sub", "mul", "maximum", "minimum")), x, y)]

    def loop(self, values: Sequence[Value], depth: int) -> list[Value]:
        b = self.b
        state = self.random.sample(values, self.random.randint(1, 4))
        limit = b.constant(self.random.randint(0, 5), core.int64)
        outer = [value for value in values if self.random.random() < 0.5 or value in values[:15]]

        def test(i: Value, *carried: Value) -> Value:
            inner = [*outer, *carried, *self.simple([*outer, *carried])]
            stay = b.op("logical_or", self.pick(inner, "bool", ()), self.pick(inner, "bool", ()))
            below = b.compare("lt", i, limit)
            return below if self.random.random() < 0.5 else b.op("logical_and", below, stay)

        def step(i: Value, *carried: Value) -> list[Value]:
            inner = self.block([*outer, *carried], depth - 1)
            following = (self.pick(inner[-8:] + inner, v.dtype.name, v.shape) for v in carried)
            return [b.op("add", i, b.constant(1, core.int64)), *following]

        return b.repeat(test, step, [b.constant(0, core.int64), *state])[1:]

    def branch(self, values: Sequence[Value], depth: int) -> list[Value]:
        kinds = [(self.random.choice(DTYPES), self.random.choice([(), self.shape])) for _ in range(self.random.randint(1, 3))]

        def side() -> list[Value]:
            inner = self.block(list(values), depth - 1)
            return [self.pick(inner[-6:] + list(values), *kind) for kind in kinds]

        return self.b.choose(self.pick(values, "bool", ()), side, side)


def arguments(rng: random.Random, shape: tuple[int, ...] = ()) -> list[Any]:
    edges = {"float32": [0.0, -0.0, np.inf, np.nan, 1e-40], "int64": [0, -1, 2**63 - 1, -(2**63)], "int32": [0, -(2**31)]}

    def one(name: str) -> Any:
        if name == "bool":
            return np.bool_(rng.random() < 0.5)
        if rng.random() < 0.2 and name in edges:
            return np.dtype(name).type(rng.choice(edges[name]))
        return np.dtype(name).type(rng.uniform(-20, 20))

    found = [np.array(one(name)) for name in DTYPES for _ in range(2)]
    if shape:
        found += [np.array([one(name) for _ in range(np.prod(shape))]).reshape(shape) for name in DTYPES]
    return found


SHAPES = [(), (1,), (3,), (2, 3), (16,), (40,), (8, 8)]


def agree(seed: int, shape: tuple[int, ...]) -> None:
    graph = Random(seed, shape).graph()
    verify(graph)
    rng = random.Random(seed)
    # The last one runs what was written, each operation a kernel, each branch a jump.
    programs = [
        build(graph, fuse=fuse, optimised=optimised, cached=False).program
        for fuse, optimised in ((True, False), (False, False), (True, True), (False, True))
    ]
    for _ in range(6):
        given = [dg.from_numpy(x) for x in arguments(rng, shape)]
        first, *others = (program.run(given, [], []) for program in programs)
        for other in others:
            for a, c in zip(first, other):
                np.testing.assert_array_equal(a.numpy(), c.numpy())


@pytest.mark.parametrize("seed", range(12))
def test_the_bits_are_those_of_separate_kernels(seed: int) -> None:
    agree(seed, ())


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("seed", range(3))
def test_the_bits_of_small_tensors(seed: int, shape: tuple[int, ...]) -> None:
    agree(seed, shape)


@pytest.mark.parametrize("shape", SHAPES[:5])
def test_random_programs_use_such_kernels(shape: tuple[int, ...]) -> None:
    """The tests above would pass if no loop ever ran inside a kernel."""
    loops = 0
    for seed in range(12):
        built = build(Random(seed, shape).graph(), cached=False)
        assert not {"while", "cond"} & set(kinds(built))
        loops += sum("while" in kernel.expression for kernel in built.report.kernels)
    assert loops > 4


# Interrupts

FOREVER = """
import os, signal, sys, threading, time
sys.path.insert(0, {folder!r})
from test_small_loops import counter
import duograph as dg
import numpy as np
from duograph.runtime.build import build

program = build(counter(), cached=False).program
forever = [dg.from_numpy(np.array(2**62)), dg.tensor(0.5)]
sent = []
def send(after, times):
    for _ in range(times):
        time.sleep(after)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
def start(after=0.2, times=1):
    threading.Thread(target=send, args=(after, times)).start()
"""


def fresh(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", FOREVER.format(folder=str(Path(__file__).parent)) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ctrl_c_ends_an_endless_loop() -> None:
    out = fresh("""
        for _ in range(3):
            start()
            try:
                program.run(forever, [], [])
            except KeyboardInterrupt:
                print(time.perf_counter() - sent[-1] < 0.1)
        print(program.run([dg.from_numpy(np.array(3)), dg.tensor(0.5)], [], [])[1].item())
    """)
    assert out == "True\nTrue\nTrue\n1.5\n"


def test_a_handler_that_does_not_raise_lets_the_loop_end_well() -> None:
    out = fresh("""
        seen = []
        signal.signal(signal.SIGINT, lambda *_: seen.append(1))
        start(0.02, 2)
        some = [dg.from_numpy(np.array(200_000_000)), dg.tensor(0.5)]
        print(program.run(some, [], [])[0].item(), len(seen))
    """)
    assert out == "200000000 2\n"


def test_a_handler_that_raises_the_second_time() -> None:
    out = fresh("""
        seen = []
        def handler(*_):
            seen.append(1)
            if len(seen) == 2:
                raise KeyboardInterrupt
        signal.signal(signal.SIGINT, handler)
        start(0.2, 2)
        try:
            program.run(forever, [], [])
        except KeyboardInterrupt:
            print(len(seen), time.perf_counter() - sent[-1] < 0.1)
    """)
    assert out == "2 True\n"


def test_a_handler_that_sets_another_one() -> None:
    out = fresh("""
        def last(*_):
            raise KeyboardInterrupt
        def first(*_):
            print("once more to stop")
            signal.signal(signal.SIGINT, last)
        signal.signal(signal.SIGINT, first)
        start(0.2, 2)
        try:
            program.run(forever, [], [])
        except KeyboardInterrupt:
            print(signal.getsignal(signal.SIGINT) is last)
        start(0.2, 1)
        try:
            program.run(forever, [], [])
        except KeyboardInterrupt:
            print("stopped")
    """)
    assert out == "once more to stop\nTrue\nstopped\n"
