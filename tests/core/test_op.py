"""Op: binding of arguments, the entry cache, what reaches the compile hooks."""

from __future__ import annotations

import gc
import threading

import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, Error
from duograph.ops.definition import REGISTRY

T, OPTIONAL, LIST, NUMBER, ATTR, SIZES, SIZE, ATTRS = range(8)


@pytest.fixture
def traced(monkeypatch):
    """Calls of the tracer, and a traced tensor."""
    calls = []

    def trace(op, args):
        calls.append((op.name, args))
        return core.traced(object(), core.float32, 1, (2,))

    core.set_hook("trace_op", trace)
    yield calls, core.traced(object(), core.float32, 1, (2,))
    core.set_hook("trace_op", "duograph.ops.tracing:trace_op")


def make(*params, flags=0, **more):
    return core.Op("thing", tuple(params), flags, None, **more)


def test_positions_names_and_defaults(traced):
    calls, x = traced
    op = make(("x", T, core.REQUIRED), ("dim", ATTR, -1), ("keepdim", ATTR, False))
    op(x)
    op(x, 2)
    op(x, keepdim=True)
    op(dim=1, x=x)
    assert [args[1:] for _, args in calls] == [(-1, False), (2, False), (-1, True), (1, False)]


@pytest.mark.parametrize(
    ("args", "names", "text"),
    [
        ((), {}, "is missing x"),
        ((1, 2, 3, 4), {}, "takes 3 arguments, got 4"),
        ((1,), {"dims": 1}, "has no argument named dims"),
        ((1,), {"x": 1}, "got two values for x"),
    ],
)
def test_wrong_calls(args, names, text):
    op = make(("x", T, core.REQUIRED), ("dim", ATTR, -1), ("keepdim", ATTR, False))
    with pytest.raises(ArgumentError, match=text) as error:
        op(*args, **names)
    assert "thing(x, dim=-1, keepdim=False)" in str(error.value)
    assert isinstance(error.value, TypeError) and __file__ in str(error.value)


def test_variadic_sizes_and_attributes(traced):
    calls, x = traced
    sizes = make(("x", T, core.REQUIRED), ("shape", SIZES, core.REQUIRED))
    sizes(x, 2, -1)
    sizes(x, (2, -1))
    sizes(x, [2, -1])
    sizes(x, shape=(2, -1))
    sizes(x, 3)
    dims = make(("x", T, core.REQUIRED), ("dims", ATTRS, core.REQUIRED))
    dims(x, 0, 2)
    dims(x, (0, 2))
    dims(x, [0, 2])
    assert [args[1] for _, args in calls] == [(2, -1)] * 4 + [(3,)] + [(0, 2)] * 3


def test_methods(traced):
    calls, x = traced
    op = make(("x", T, core.REQUIRED), ("n", ATTR, 0))
    core.bind_method("thing_for_a_test", op)
    x.thing_for_a_test(3)
    method = x.thing_for_a_test
    method(n=4)
    assert [args[1] for _, args in calls] == [3, 4]
    assert core.Tensor.thing_for_a_test is op
    del core.Tensor.thing_for_a_test


def test_definition_stands_behind():
    class Definition:
        """What it does."""

        answer = 42

    op = core.Op("thing", (), 0, Definition())
    assert op.answer == 42 and op.__doc__ == "What it does." and op.name == "thing" == op.__name__
    with pytest.raises(AttributeError):
        op.nothing()
    assert "thing" in repr(op)


@pytest.mark.parametrize(
    "arguments",
    [
        (1, (), 0, None),
        ("a", [], 0, None),
        ("a", ((1, 2, 3),), 0, None),
        ("a", (("x", 99, None),), 0, None),
        ("a", (("x", ATTR, None),), 4, None),
        ("a", (("x",),), 0, None),
    ],
)
def test_wrong_operators(arguments):
    with pytest.raises(TypeError):
        core.Op(*arguments)


def test_operand_types():
    t = dg.ones(2)
    with pytest.raises(ArgumentError, match="b must be a Tensor or a number, not str"):
        REGISTRY["add"].op(t, "1")
    with pytest.raises(ArgumentError, match="not NoneType"):
        REGISTRY["add"].op(t, None)
    with pytest.raises(ArgumentError, match="sequence of Tensors"):
        dg.cat(t)
    with pytest.raises(ArgumentError, match="one element is not a Tensor but int"):
        dg.cat([t, 3])
    with pytest.raises(ArgumentError):
        t.reshape("2")
    with pytest.raises(ArgumentError):
        t.reshape(1.5)
    with pytest.raises(OverflowError):
        t.reshape(2**70)
    with pytest.raises(ArgumentError, match="cannot be a Tensor"):
        t.sum(dg.tensor([0]))
    with pytest.raises(ArgumentError):
        t.sum({})


class Spy:
    """Records what the compile hook is asked, and passes it on."""

    def __init__(self):
        self.calls = []
        self.watched = []

    def fresh(self, name):
        self.watched.append(fresh(name))
        return self.watched[-1]

    def __call__(self, op, operands, attrs, n_sizes):
        from duograph.runtime.compile import compile_entry

        if op in self.watched:
            self.calls.append((op.name, operands, attrs, n_sizes))
        return compile_entry(op, operands, attrs, n_sizes)


@pytest.fixture
def spy():
    made = Spy()
    core.set_hook("compile_entry", made)
    yield made
    core.set_hook("compile_entry", "duograph.runtime.compile:compile_entry")


def fresh(name):
    """A second Op of the same definition: its entry cache is empty."""
    op = REGISTRY[name].op
    return core.Op(op.name, op.params, op.flags, op.definition)


def test_numbers_and_sizes_are_not_structure(spy):
    add, reshape = spy.fresh("add"), spy.fresh("reshape")
    for n in (2, 3, 700):
        for number in (1.5, -2.0, 1e30):
            add(dg.ones(n), number)
    assert len(spy.calls) == 1 == add.entry_count
    name, operands, attrs, n_sizes = spy.calls[0]
    assert name == "add" and attrs == () and n_sizes == 0
    assert operands == ((11, 0, 1, (False,), "C", False), (12, 3, 0, (), "C", True))
    for n in (2, 3, 8):
        reshape(dg.ones(n, 4), (4, -1))
    assert len(spy.calls) == 2
    assert spy.calls[1][2:] == (((2, (1,)),), 2)


def test_same_shapes_are_flat(spy):
    add = spy.fresh("add")
    assert add(dg.ones(2, 3, 4), dg.ones(2, 3, 4)).shape == (2, 3, 4)
    assert add(dg.ones(5), dg.ones(5)).shape == (5,)
    assert len(spy.calls) == 1
    add(dg.ones(2, 3, 4), dg.ones(3, 4))
    assert spy.calls[1][1] == ((11, 0, 2, (False, False), "C", False), (11, 0, 2, (True, False), "C", False))
    add(dg.ones(3, 2).t(), dg.ones(2, 3))
    assert spy.calls[2][1][0][4] == (1, 2)
    add(dg.ones(2, 1).expand(2, 3), dg.ones(2, 3))
    assert spy.calls[3][1][0][3:5] == ((False, False), (1, 0))


def test_kinds_of_numbers_are_structure(spy):
    add = spy.fresh("add")
    t = dg.ones(2)
    for number in (1, 1.0, True):
        add(t, number)
    assert [call[1][1][1] for call in spy.calls] == [2, 3, 1]
    full = spy.fresh("sum")
    full(t, None, True)
    full(t, None, False)
    full(t, 0, False)
    full(t, (0,), False)
    full(t, [0], False)
    assert full.entry_count == 4


def test_the_default_dtype_is_structure(spy):
    op = spy.fresh("div")
    t = dg.tensor([1, 2])
    assert op(t, 2).dtype is dg.float32
    core.set_default_dtype(core.float64)
    try:
        assert op(t, 2).dtype is dg.float64
    finally:
        core.set_default_dtype(core.float32)
    assert op.entry_count == 2


def test_failing_compilation_leaves_no_entry():
    def fail(*args):
        raise KeyError("broken")

    add = fresh("add")
    core.set_hook("compile_entry", fail)
    try:
        with pytest.raises(KeyError):
            add(dg.ones(2), dg.ones(2))
        assert add.entry_count == 0
        core.set_hook("compile_entry", lambda *args: 3)
        with pytest.raises(Error, match="not a Program"):
            add(dg.ones(2), dg.ones(2))
    finally:
        core.set_hook("compile_entry", "duograph.runtime.compile:compile_entry")
    assert add(dg.ones(2), dg.ones(2)).tolist() == [2.0, 2.0]


def test_inplace():
    t = dg.ones(2, 3)
    with pytest.raises(Error):
        t.add_(dg.ones(4))
    with pytest.raises(Error):
        dg.ones(3).add_(dg.ones(2, 3))
    with pytest.raises(ValueError, match="expanded"):
        dg.ones(1, 3).expand(2, 3).add_(1)
    assert t.add_(dg.ones(3)) is t


def test_operators_are_collected():
    op = make(("x", ATTR, None))
    op.self = op
    import weakref

    gone = weakref.ref(op)
    del op
    gc.collect()
    assert gone() is None


def test_many_threads_compile_the_same():
    add = fresh("add")
    failures = []

    def work(seed):
        try:
            for rank in range(1, 5):
                t = dg.ones(*[2] * rank)
                for other in (t, t.sum(0), 1.5, 2):
                    got = add(t, other)
                    assert got.shape == t.shape
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_mixed_broadcasting_against_reference():
    import itertools

    import numpy as np

    random = np.random.default_rng(0)
    shapes = [(), (1,), (3,), (2, 1), (2, 3), (1, 3), (4, 1, 3), (4, 2, 1), (1, 1, 1), (0,), (2, 0)]
    for a, b in itertools.product(shapes, shapes):
        x, y = (np.asarray(random.random(shape), np.float32) for shape in (a, b))
        try:
            expected = x + y
        except ValueError:
            with pytest.raises(ValueError):
                dg.tensor(x) + dg.tensor(y)
            continue
        got = dg.tensor(x) + dg.tensor(y)
        assert got.shape == expected.shape and np.array_equal(got.numpy(), expected)
