"""One static function called from several threads: right results, own gradients, and no lock held while it works."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import duograph as dg


def test_four_threads_get_their_own_results():
    w = dg.rand(16, 16).requires_grad_()

    @dg.static
    def f(x, turns):
        y = x
        for _ in range(turns):
            y = (y @ w).tanh()
            if y.sum() > 0:
                y = y + x
        return y

    dynamic = f.__wrapped__
    jobs = [(dg.rand(4 + i % 3, 16) - 0.5, dg.tensor(1 + i % 4)) for i in range(12)]
    expected = []
    for x, turns in jobs:
        y = dynamic(x, turns)
        (g,) = dg.autograd.grad(y.sum(), w)
        expected.append((y.tolist(), g.tolist()))

    def work(number):
        found = []
        for i in range(30):
            x, turns = jobs[(number + i) % len(jobs)]
            y = f(x, turns)
            (g,) = dg.autograd.grad(y.sum(), w)
            found.append(((number + i) % len(jobs), y.tolist(), g.tolist()))
        return found

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, range(4)):
            for job, y, g in found:
                for mine, theirs in zip((y, g), expected[job]):
                    flat = [v for row in theirs for v in row]
                    assert [v for row in mine for v in row] == pytest.approx(flat, rel=1e-4, abs=1e-5)
    assert f.captures <= 4


def test_threads_that_miss_at_once_capture_once():
    calls = []

    def f(x):
        calls.append(1)
        return x * 2 + 1

    static = dg.static(f)
    gate = threading.Barrier(4)

    def work(number):
        gate.wait()
        return static(dg.full((3,), float(number))).tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [[2.0 * n + 1] * 3 for n in range(4)]
    assert static.captures == 1


def test_python_runs_while_a_static_function_works():
    @dg.static
    def work(x, turns):
        for _ in range(turns):
            x = (x @ x).tanh()
        return x

    x = dg.rand(128, 128)
    work(x, dg.tensor(2))
    turns = 50
    while True:  # until one call takes a good while
        start = time.perf_counter()
        work(x, dg.tensor(turns))
        if time.perf_counter() - start > 0.3:
            break
        turns *= 2
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    old = sys.getswitchinterval()
    thread.start()
    try:
        while not ticks:
            time.sleep(0.001)
        start = time.perf_counter()
        work(x, dg.tensor(turns))
        end = time.perf_counter()
    finally:
        stop.set()
        thread.join()
    during = [t for t in ticks if start < t < end]
    assert len(during) > 5 and sys.getswitchinterval() == old
