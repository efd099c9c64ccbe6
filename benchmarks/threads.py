"""Bar 9: four threads calling one static function (1 ms of work each) on two cores, against one thread."""

from __future__ import annotations

import os
import statistics
import threading
import time

from benchmarks.cold import verdict

CALLS, THREADS_CALLING, CORES = 200, 4, 2


def _calls_per_second(threads: int) -> float:
    import duograph as dg

    @dg.static
    def work(x: dg.Tensor) -> dg.Tensor:
        for _ in range(3):
            x = (x @ x).tanh()
        return x

    inputs = [dg.rand(208, 208) for _ in range(threads)]
    for x in inputs:
        work(x)
    gate = threading.Barrier(threads + 1)

    def run(x: dg.Tensor) -> None:
        gate.wait()
        for _ in range(CALLS):
            work(x)

    pool = [threading.Thread(target=run, args=(x,)) for x in inputs]
    for thread in pool:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in pool:
        thread.join()
    return threads * CALLS / (time.perf_counter() - start)


def main(rounds: int = 5) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    os.environ["DUOGRAPH_NUM_THREADS"] = "1"  # the parallelism is to come from the callers
    one, four = [], []
    for _ in range(rounds):
        one.append(_calls_per_second(1))
        four.append(_calls_per_second(THREADS_CALLING))
    a, b = statistics.median(one), statistics.median(four)
    verdict("bar 9: four threads / one, calls per second", f"{b:.0f} / {a:.0f} ({1e3 / a:.2f} ms each)", b / a, 1.8)
