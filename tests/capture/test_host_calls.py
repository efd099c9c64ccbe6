"""What static functions call in Python while they run: callbacks, prints, asserts, errors and draws, in program order.

PYTEST_DONT_REWRITE: the asserts inside of the functions are part of what is tested.
"""

from __future__ import annotations

import random
import threading
import traceback

import numpy as np
import pytest

import duograph as dg


def lists(value):
    """Results as plain data, to compare."""
    if isinstance(value, dg.Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [lists(item) for item in value]
    return value


class Stage:
    """A tensor, an attribute and a list that functions change from within, and a record of what a run of them did."""

    def __init__(self):
        self.weight = dg.zeros(2)
        self.count = 0
        self.log = []

    def seen(self):
        return self.weight.tolist(), self.count, lists(self.log)


def outcomes(make, calls, capsys, switch):
    """What each call gives, raises (with the line), prints and leaves behind."""
    stage = Stage()
    function = switch(make(stage))
    found = []
    random.seed(1)
    dg.manual_seed(1)
    capsys.readouterr()
    for args in calls:
        try:
            result = lists(function(*(a.clone() if isinstance(a, dg.Tensor) else a for a in args)))
        except Exception as error:
            result = repr(error), traceback.extract_tb(error.__traceback__)[-1].line
        found.append((result, capsys.readouterr().out, stage.seen()))
    if hasattr(function, "captures"):
        assert function.captures == 1
    return found


def alike(make, calls, capsys):
    """Dynamic and static mode, strict and not, do the same."""
    expected = outcomes(make, calls, capsys, lambda f: f)
    assert outcomes(make, calls, capsys, lambda f: dg.static(f, strict=True)) == expected
    assert outcomes(make, calls, capsys, dg.static) == expected
    return expected


def full(*values):
    return [(dg.full((2,), float(v)),) for v in values]


def test_assert_and_raise_act_at_their_place(capsys):
    def make(stage):
        def step(x):
            stage.weight.add_(x)
            stage.count = stage.count + 1
            stage.log.append(x)
            print("before", stage.weight, stage.count)
            assert x.sum() > 0, f"not positive: {x.sum():.1f}"
            stage.weight.add_(100)
            stage.count = stage.count + 10
            if x.sum() > 50:
                raise ValueError("too much", x)
            stage.weight.mul_(2)
            print(f"end {stage.weight.sum():.0f}")
            return stage.weight * 2

        return step

    found = alike(make, full(1, -5, 60, 2), capsys)
    assert [kind[0] if isinstance(kind, tuple) else "" for kind, _, _ in found][1] == "AssertionError('not positive: -10.0')"


def test_inside_of_branches_and_loops(capsys):
    def make(stage):
        def step(x):
            turn = 0
            while x.sum() < 40:
                print("turn", turn, x)
                stage.weight.add_(1)
                if x.sum() > 8:
                    print(f"large: {x.max():.1f}")
                    stage.weight.add_(x)
                    assert x.min() != 12, "twelve"
                elif x.sum() < 0:
                    stage.weight.mul_(3)
                    raise KeyError("negative", turn)
                x = x * 2
                turn += 1
            print("after", stage.weight)
            return x, turn

        return step

    found = alike(make, full(1, 3, -1, 100, 2), capsys)
    assert "twelve" in found[1][0][0] and "negative" in found[2][0][0]


def test_loops_over_rows_and_ranges(capsys):
    def make(stage):
        def step(x):
            for i, row in enumerate(x):
                stage.weight.add_(row)
                print(i, row)
                assert row.sum() < 30
            for i in range(12):
                if i > 3 and stage.weight.sum() > 20:
                    print("stops", i)
                    break
                stage.weight.add_(i)
            return stage.weight.clone()

        return step

    rows = [dg.arange(20).reshape(10, 2).to(dg.float32) * k for k in (1, -1, 2)]
    alike(make, [(r,) for r in rows], capsys)


def test_both_ways_may_raise_and_expressions_too(capsys):
    def make(stage):
        def check(x):
            if x.sum() > 0:
                raise ValueError("positive")
            raise TypeError("negative")

        def step(x):
            print("start")
            y = x * 2 if x.sum() < 10 else check(x)
            stage.weight.add_(1)
            if y.sum() < -10:
                check(y)
            while y.sum() > 6:
                stage.weight.add_(5)
                raise RuntimeError("in a loop")
            return y

        return step

    found = alike(make, full(1, 20, -9, 2), capsys)
    assert ["positive" in str(f[0]) for f in found] == [False, True, False, False]
    assert "in a loop" in str(found[3][0])


def test_draws_and_prints_take_turns(capsys):
    def make(stage):
        def step(x):
            x = x * random.random()
            print("first", x)
            while x.sum() < 6:
                x = x + random.random() + np.random.randint(1, 2)  # noqa: NPY002
                if random.random() < 0.5:
                    print("more", x)
                    x = x * dg.rand(2)
            return x + random.random()

        return step

    alike(make, full(1, 2, 3, 1), capsys)


def test_callbacks_see_what_the_program_has_done(capsys):
    def make(stage):
        @dg.host_callback
        def look(tag, x):
            stage.log.append((tag, x.tolist(), stage.weight.tolist(), stage.count))

        @dg.host_callback(like="x")
        def order(x):
            return dg.tensor(np.sort(x.numpy())[::-1].copy())

        @dg.host_callback(like=(float, lambda x: x[:1]))
        def two(x):
            return x.sum().item(), x[:1] * 2

        def step(x):
            stage.weight.add_(x)
            stage.count = stage.count + 1
            look("a", x)
            while x.sum() < 30:
                total, head = two(x)
                x = order(x) + total + head
                stage.weight.add_(x)
                look("b", x)
                if x.sum() > 20:
                    stage.weight.mul_(-1)
                    look("c", stage.weight)
            stage.weight.add_(1000)
            look("d", x)
            return x

        return step

    found = alike(make, [(dg.tensor([1.0, 2.0]),), (dg.tensor([4.0, -3.0]),), (dg.tensor([50.0, 1.0]),)], capsys)
    assert [entry[0] for entry in found[1][2][2]].count("c") > 0


def test_a_callback_may_raise_anywhere(capsys):
    class Mine(Exception):
        pass

    def make(stage):
        @dg.host_callback
        def guard(x):
            if x.sum() > 9:
                raise Mine("enough")

        def step(x):
            while x.sum() < 100:
                stage.weight.add_(x)
                guard(x)
                x = x + 1
                stage.count_of = None
            return x

        def plain(x):
            while x.sum() < 100:
                stage.weight.add_(x)
                guard(x)
                x = x + 1
            return x

        return plain

    found = alike(make, full(1, 3, 200), capsys)
    assert found[0][0] == ("Mine('enough')", 'raise Mine("enough")')
    function = dg.static(make(Stage()))
    with pytest.raises(Mine) as error:
        function(dg.ones(2))
    assert "guard(x)" in [frame.line for frame in traceback.extract_tb(error.value.__traceback__)]


@dg.host_callback(like="x")
def cube(x):
    return x * x * x


@dg.host_callback(like=lambda x, g: g)
def cube_gradient(x, g):
    return g * 3 * x * x


class Cube(dg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return cube(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return cube_gradient(x, g)


def gradients_of(function, value):
    x = dg.tensor(value, requires_grad=True)
    y = function(x)
    y.sum().backward()
    return y.tolist(), x.grad.tolist()


def test_a_callback_with_a_gradient():
    def loop(x):
        while x.sum() < 100:
            x = Cube.apply(x)
            if x.sum() > 20:
                x = Cube.apply(x) * 0.5 + x
        return x

    def step(x):
        y = loop(x)
        y.sum().backward()
        return y

    for value in ([1.1, 1.3], [3.0, 2.0], [60.0, 60.0]):
        assert gradients_of(dg.static(loop, strict=True), value) == gradients_of(loop, value)
        x, y = (dg.tensor(value, requires_grad=True) for _ in range(2))
        assert dg.static(step, strict=True)(x).tolist() == step(y).tolist() and x.grad.tolist() == y.grad.tolist()


def test_gradients_know_the_numbers_that_were_drawn():
    """What cannot happen twice is handed on to the gradient: not drawn, called or printed again."""

    def draws(x):
        if x.sum() > 0:
            x = x * random.random() * x * dg.rand(2)
            print("drawn")
        for _ in range(10):
            if x.sum() < 100:
                x = x * (1 + random.random()) * x.exp()
        return x

    for value in ([1.0, 1.5], [-1.0, 0.5]):
        found = []
        for function in (draws, dg.static(draws, strict=True)):
            random.seed(2)
            dg.manual_seed(2)
            found.append([gradients_of(function, value) for _ in range(3)])
        assert found[0] == found[1]


def test_a_branch_prints_once_also_with_a_gradient(capsys):
    def step(x):
        if x.sum() > 0:
            print("once")
            x = x * x
        return x

    for function in (step, dg.static(step)):
        gradients_of(function, [1.0, 2.0])
        assert capsys.readouterr().out == "once\n"


def test_sizes_that_change(capsys):
    def make(stage):
        @dg.host_callback(like=lambda x: x[1:])
        def tail(x):
            stage.log.append(tuple(x.shape))
            return x[1:] * 2

        def step(x):
            print(x.shape[0], x)
            return tail(x) + tail(x * 2)

        return step

    calls = [(dg.arange(n).to(dg.float32),) for n in (3, 4, 5, 9)]
    expected = outcomes(make, calls, capsys, lambda f: f)
    stage = Stage()
    static = dg.static(make(stage))
    for args, (result, text, seen) in zip(calls, expected):
        assert static(*args).tolist() == result and capsys.readouterr().out == text and stage.seen() == seen
    assert static.captures == 2


def test_what_is_refused_names_the_line():
    @dg.host_callback(like="x")
    def double(x):
        return x * 2

    @dg.host_callback
    def gives(x):
        return 3

    @dg.host_callback(like="x")
    def wrong(x):
        return x.to(dg.float64) if x.sum() > 0 else x[:1]

    @dg.host_callback
    def writes(x):
        x.add_(1)

    weight = dg.ones(2)

    @dg.host_callback
    def writes_state(x):
        weight.add_(1)

    def refused(function, match, x):
        with pytest.raises(dg.Error, match=match) as error:
            dg.static(function)(x)
        return str(error.value)

    assert "y = double(x)" in refused(lambda x: double(x), "nobody knows its gradient", dg.ones(2, requires_grad=True)).replace(
        "lambda x: double(x)", "y = double(x)"
    )
    refused(lambda x: gives(x), "declared to give nothing", dg.ones(2))
    refused(lambda x: wrong(x), "float64", dg.ones(2))
    refused(lambda x: wrong(x), "shape", -dg.ones(2))
    refused(lambda x: writes(x), "copies", dg.ones(2) * 2)
    refused(lambda x: (weight * x, writes_state(x)), "writes? into|wrote into", dg.ones(2))
    dg.static(lambda x: double(x.detach()))(dg.ones(2, requires_grad=True))


def test_an_error_steered_by_a_tensor_inside_try_is_refused():
    def caught(x):
        try:
            with dg.no_grad():
                assert x.sum() > 0
        except AssertionError:
            return x * 0
        return x

    with pytest.raises(dg.errors.CaptureError, match="try") as error:
        dg.static(caught)(dg.ones(2))
    assert "assert x.sum() > 0" in str(error.value)


def test_threads_and_nested_calls():
    results = {}

    @dg.static
    def inner(x):
        return x * 2

    @dg.host_callback(like="x")
    def through(x):
        return inner(x) + 1

    @dg.static
    def outer(x):
        while x.sum() < 1000:
            x = through(x)
        return x

    def work(k):
        results[k] = [outer(dg.full((2,), float(k + 1))).tolist() for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, found in results.items():
        x = dg.full((2,), float(k + 1))
        while x.sum() < 1000:
            x = x * 2 + 1
        assert found == [x.tolist()] * 20


def test_an_interrupt_in_a_callback_ends_the_run():
    weight = dg.zeros(1)

    @dg.host_callback
    def stop(x):
        if x > 5:
            raise KeyboardInterrupt

    @dg.static
    def run(x):
        while x < 100:
            weight.add_(1)
            stop(x)
            x = x + 1
        return x

    with pytest.raises(KeyboardInterrupt):
        run(dg.tensor(0.0))
    assert weight.tolist() == [7.0]
    assert run(dg.tensor(200.0)).item() == 200.0


def test_under_a_memory_budget(capsys):
    def step(x):
        print("in", x.sum())
        y = (x * 2).sum()
        print("out", y)
        return y

    dg.static(step, memory_budget="1MB")(dg.ones(8))
    assert capsys.readouterr().out == "in tensor(8.)\nout tensor(16.)\n"


def test_a_set_changed_in_a_branch_is_noticed():
    def f(x):
        names = {"a"}
        if x.sum() > 0:
            names.add("b")
        return x * len(names)

    with pytest.raises(dg.errors.CaptureError, match="a set differs"):
        dg.static(f)(dg.ones(2))

    def same_on_both(x):
        names = {"a"}
        if x.sum() > 0:
            names.add("b")
            x = x * 2
        else:
            names.add("b")
        return x * len(names)

    assert dg.static(same_on_both)(dg.ones(2)).tolist() == [4.0, 4.0]
