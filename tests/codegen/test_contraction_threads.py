"""Contractions through the core: threads, fused bias, Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import duograph as dg

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def threads_kept() -> Iterator[None]:
    before = dg.get_num_threads()
    yield
    dg.set_num_threads(before)


def numpy_product(a: dg.Tensor, b: dg.Tensor, threads: int) -> np.ndarray:
    dg.set_num_threads(threads)
    return np.asarray(dg.matmul(a, b))


@pytest.mark.parametrize(
    "shape", [(1, 700, 900), (700, 1, 900), (64, 100, 1000), (200, 300, 520), (8, 768, 300), (1300, 130, 520)]
)
def test_same_bits_on_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    x, y = RNG.standard_normal((m, k)).astype("f"), RNG.standard_normal((k, n)).astype("f")
    a, b = dg.from_numpy(x), dg.from_numpy(y)
    a_columns, b_columns = (dg.from_numpy(np.ascontiguousarray(array.T)).transpose(0, 1) for array in (x, y))
    expected = numpy_product(a, b, 1)
    assert np.allclose(expected, x @ y, atol=1e-3)
    for threads in (2, 3, 7):
        assert np.array_equal(numpy_product(a, b, threads), expected)
        assert np.array_equal(numpy_product(a, b_columns, threads), expected)
        assert np.array_equal(numpy_product(a_columns, b, threads), expected)


def test_fused_bias_has_the_bits_of_two_operators() -> None:
    x, w, b = (dg.from_numpy(RNG.standard_normal(shape).astype("f")) for shape in ((65, 70), (40, 70), (40,)))
    fused = dg.nn.functional.linear(x, w, b)
    assert np.array_equal(np.asarray(fused), np.asarray(dg.matmul(x, w.transpose(0, 1)) + b))


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_in_a_long_product(threads: int) -> None:
    """The product is given up long before its end, and the next one is whole."""
    dg.set_num_threads(threads)
    a = dg.ones(3500, 3500)
    dg.matmul(dg.ones(8, 8), dg.ones(8, 8))  # compiled before the clock runs
    timer = threading.Timer(0.03, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(100):
            dg.matmul(a, a)
    assert time.perf_counter() - start < 0.3
    assert np.array_equal(np.asarray(dg.matmul(dg.ones(30, 40), dg.ones(40, 50))), np.full((30, 50), 40, np.float32))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_in_the_midst_of_an_addition_in_place(threads: int) -> None:
    """A handler that does not raise changes nothing: no product is added twice."""
    dg.set_num_threads(threads)

    def accumulate(x: dg.Tensor) -> dg.Tensor:
        total = dg.zeros(1500, 1500)
        for t in range(x.shape[0]):
            total = total + x[t].T @ x[t]
        return total

    run, x = dg.static(accumulate), dg.ones(40, 256, 1500)
    run(x)
    over, seen = threading.Event(), []

    def disturb() -> None:
        while not over.wait(0.06):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    sender = threading.Thread(target=disturb)
    sender.start()
    try:
        found = np.asarray(run(x))
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGINT, before)
    assert seen and np.array_equal(found, np.full((1500, 1500), 40 * 256, np.float32))
