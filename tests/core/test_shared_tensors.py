"""Tensors used, exchanged and dropped by several Python threads at once."""

from __future__ import annotations

import threading

import duograph as dg
from duograph import _core as core


def test_data_exchanged_while_another_thread_computes_with_it() -> None:
    """The sum may see the old data or the new; the memory of neither may go while it is read."""
    shared = dg.ones(3_000_000)
    stop = threading.Event()
    wrong: list[float] = []

    def exchange() -> None:
        value = 1
        while not stop.is_set():
            value = 3 - value
            shared.data = dg.full((3_000_000,), float(value))
            core.empty_cache()

    def compute() -> None:
        for _ in range(30):
            total = (shared * 2).sum().item()
            if total not in (6_000_000, 12_000_000):
                wrong.append(total)

    exchanger = threading.Thread(target=exchange)
    workers = [threading.Thread(target=compute) for _ in range(3)]
    for thread in (exchanger, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    exchanger.join()
    assert not wrong


def test_eight_threads_on_the_same_tensors() -> None:
    a, b = dg.rand(64, 64), dg.rand(300, 300)
    expected = [x.tolist() for x in (a @ a, a + a, b.sum(), dg.softmax(b, -1))]
    wrong: list[int] = []

    def body(seed: int) -> None:
        for i in range(40):
            got = [x.tolist() for x in (a @ a, a + a, b.sum(), dg.softmax(b, -1))]
            if got != expected:
                wrong.append(seed * 100 + i)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
