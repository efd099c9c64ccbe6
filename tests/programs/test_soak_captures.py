"""Captures run again and again with sizes that change: neither memory nor the time of a call grows."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import duograph as dg
from duograph import nn

WARM = 0.1  # of the calls come before anything is measured
WINDOWS = 10


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def symbolic() -> Callable[[int], None]:
    """A training step with a loop over time; every size is a symbol after the first few calls."""
    dg.manual_seed(0)
    cell, head = nn.Linear(8, 8), nn.Linear(8, 3)
    optimizer = dg.optim.SGD([*cell.parameters(), *head.parameters()], lr=1e-3)

    @dg.static
    def step(x: dg.Tensor, y: dg.Tensor) -> dg.Tensor:
        h = dg.zeros(x.shape[1], 8)
        for t in range(x.shape[0]):
            h = dg.tanh(cell(h) + x[t])
        loss = nn.functional.cross_entropy(head(h), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def once(i: int) -> None:
        turns, batch = 8 + i * 7 % 5, 2 + i * 13 % 31
        assert step(dg.ones(turns, batch, 8), dg.zeros(batch, dtype=dg.int64)).item() < 10
        assert step.captures < 10

    return once


def alternating() -> Callable[[int], None]:
    """Twelve captures in turn, all of which stay, at sizes that change."""

    @dg.static
    def f(x: dg.Tensor, label: str) -> dg.Tensor:
        return (x * 2 + len(label)).sum()

    def once(i: int) -> None:
        f(dg.ones(2 + i * 7 % 97, 3), "a" * (i % 12))
        assert f.captures < 60 and len(f.entries) <= 16

    return once


def evicted() -> Callable[[int], None]:
    """More captures in turn than are kept: each call makes one anew and another one goes."""

    @dg.static
    def f(x: dg.Tensor, label: str) -> dg.Tensor:
        return (x * 2 + len(label)).sum()

    def once(i: int) -> None:
        f(dg.ones(2 + i * 7 % 97, 3), "a" * (i % 20))
        assert len(f.entries) <= 16

    return once


def soak(kind: str, calls: int) -> None:
    """Run the calls; memory and time per call of the last windows are those of the first."""
    warnings.simplefilter("ignore")
    once = {"symbolic": symbolic, "alternating": alternating, "evicted": evicted}[kind]()
    for i in range(int(WARM * calls)):
        once(i)
    size = int((1 - WARM) * calls) // WINDOWS
    times: list[float] = []
    sizes: list[int] = []
    gc.collect()
    objects, before = len(gc.get_objects()), dg.memory_stats()
    for window in range(WINDOWS):
        spent: list[float] = []
        for i in range(window * size, (window + 1) * size):
            start = time.perf_counter()
            once(i)
            spent.append(time.perf_counter() - start)
        spent.sort()
        times.append(spent[len(spent) // 4])  # what else the machine does comes and goes
        gc.collect()
        sizes.append(resident())
    after = dg.memory_stats()
    print(f"{kind}: {calls} calls; µs: {[round(t * 1e6, 1) for t in times]}; MB: {[round(s / 1e6, 2) for s in sizes]}")
    assert after["allocated"] <= before["allocated"] and after["live_buffers"] <= before["live_buffers"]
    assert len(gc.get_objects()) <= objects + 200
    assert sizes[-1] <= sizes[1] + (1 << 20)
    assert min(times[-3:]) <= (1.3 if calls >= 100_000 else 2.0) * min(times[:3])  # short windows are noisy


def in_a_fresh_process(kind: str, calls: int, cache: Path) -> None:
    """Other tests leave a heap behind in which the resident size of this one drifts."""
    environment = {**os.environ, "DUOGRAPH_CACHE_DIR": str(cache)}
    command = [sys.executable, __file__, kind, str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "calls"), [("symbolic", 5000), ("alternating", 5000), ("evicted", 1000)])
def test_captures_run_again_with_changing_sizes(kind: str, calls: int, tmp_path: Path) -> None:
    in_a_fresh_process(kind, calls, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["symbolic", "alternating", "evicted"])
def test_captures_run_again_a_hundred_thousand_times(kind: str, tmp_path: Path) -> None:
    in_a_fresh_process(kind, 100_000, tmp_path)


if __name__ == "__main__":
    soak(sys.argv[1], int(sys.argv[2]))
