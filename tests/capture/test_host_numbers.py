"""Random numbers and clocks of Python in static functions: called anew in each run, in order, also where they steer."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

import duograph as dg


def same_draws(function, *args, runs=8):
    static = dg.static(function)
    results = []
    for call in (function, static):
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        results.append([call(*args) for _ in range(runs)])
    assert static.captures == 1
    for a, b in zip(*results):
        a, b = (x if isinstance(x, tuple) else (x,) for x in (a, b))
        for p, q in zip(a, b):
            assert type(p) is type(q)
            assert (p.tolist() == pytest.approx(q.tolist())) if isinstance(p, dg.Tensor) else p == pytest.approx(q)
    return results[0]


def test_numbers_are_inputs():
    drawn = same_draws(lambda x: (x * random.random() + random.randint(0, 3), random.uniform(2, 3)), dg.ones(2))
    assert len({number for _, number in drawn}) == 8


def test_numpy_and_generators_of_ones_own():
    generator = random.Random(5)
    same_draws(lambda x: x * np.random.rand() - np.random.randint(5), dg.ones(2))  # noqa: NPY002
    static = dg.static(lambda x: x * generator.random())
    twin = random.Random(5)
    assert [static(dg.ones(1)).item() for _ in range(3)] == pytest.approx([twin.random() for _ in range(3)])


def test_they_steer_loops_and_branches():
    def f(x):
        turns = 0
        for _ in range(random.randint(0, 3)):
            x = x * 2
            turns += 1
        if random.random() < 0.5:
            x = -x
        return x, turns

    assert len({turns for _, turns in same_draws(f, dg.ones(1), runs=16)}) > 2


def test_clocks_go_on():
    static = dg.static(lambda x: x * 0 + (time.perf_counter() - 1.0))
    first = static(dg.zeros(1, dtype=dg.float64)).item()
    time.sleep(0.01)
    assert static(dg.zeros(1, dtype=dg.float64)).item() > first
    assert static.captures == 1


def test_state_that_depends_on_a_draw_is_written_each_time():
    weight = dg.zeros(2)

    def f():
        weight.add_(random.randint(1, 9))

    static = dg.static(f)
    random.seed(1)
    for _ in range(5):
        static()
    random.seed(1)
    assert weight.tolist() == [sum(random.randint(1, 9) for _ in range(5))] * 2


def test_draws_in_loops_and_branches_that_a_tensor_steers_are_made_anew_at_each_turn():
    def f(x):
        while x.sum() < 10:
            x = x + random.random()
            if x.sum() > 4:
                x = x + np.random.randint(1, 3)  # noqa: NPY002
        return x

    assert len({str(x) for x in same_draws(f, dg.ones(2))}) == 8


def test_an_array_where_a_number_was_expected():
    static = dg.static(lambda x: x * np.random.normal(0.0, 1.0, 2).sum())  # noqa: NPY002
    with pytest.raises(dg.errors.CaptureError):
        static(dg.ones(2))
