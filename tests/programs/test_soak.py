"""Long training: memory after the first hundred steps does not grow, in either mode; captures are bounded."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import duograph as dg
from duograph import nn


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def dynamic(function: Any) -> Any:
    return function


def make_step(switch: Callable[[Any], Any]) -> Callable[[], None]:
    dg.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.1), nn.LayerNorm(32), nn.Linear(32, 5))
    optimizer = dg.optim.Adam(model.parameters(), lr=1e-3)

    @switch
    def step(x: dg.Tensor, y: dg.Tensor) -> dg.Tensor:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def once() -> None:
        x = dg.randn(16, 20)
        assert step(x, dg.randint(0, 5, (16,))).item() < 10

    return once


def memory(steps: int, switch: Callable[[Any], Any]) -> None:
    once = make_step(switch)
    for _ in range(100):
        once()
    gc.collect()
    before, resident_before, objects = dg.memory_stats(), resident(), len(gc.get_objects())
    for _ in range(steps - 100):
        once()
    gc.collect()
    after = dg.memory_stats()
    assert after["allocated"] <= before["allocated"] and after["live_buffers"] <= before["live_buffers"]
    assert after["reserved"] <= before["reserved"]
    assert len(gc.get_objects()) <= objects + 50
    assert resident() <= resident_before + (1 << 20)


MODES = pytest.mark.parametrize("switch", [dynamic, dg.static], ids=["dynamic", "static"])


def memory_in_a_fresh_process(steps: int, switch: Callable[[Any], Any]) -> None:
    """Other tests leave a heap behind in which the resident size of this one drifts."""
    mode = "dynamic" if switch is dynamic else "static"
    done = subprocess.run([sys.executable, __file__, mode, str(steps)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@MODES
def test_memory_does_not_grow_in_ten_thousand_steps(switch: Callable[[Any], Any]) -> None:
    memory_in_a_fresh_process(10_000, switch)


@pytest.mark.long
@MODES
def test_memory_does_not_grow_in_two_hundred_thousand(switch: Callable[[Any], Any]) -> None:
    memory_in_a_fresh_process(200_000, switch)


def test_changing_depth_and_failing_steps_leave_nothing() -> None:
    weight = dg.randn(8, 8, requires_grad=True)

    def once(i: int) -> None:
        y = dg.ones(2, 8)
        for _ in range(i % 5 + 1):
            y = (y @ weight).tanh()
        if i % 3 == 0:
            with pytest.raises(dg.Error):
                (y @ dg.ones(7, 7)).sum().backward()
        elif i % 3 == 1:
            y.sum().backward()
        weight.grad = None

    for i in range(60):
        once(i)
    gc.collect()
    before = dg.memory_stats()
    for i in range(300):
        once(i)
    gc.collect()
    after = dg.memory_stats()
    assert after["live_buffers"] <= before["live_buffers"] and after["allocated"] <= before["allocated"]


def capture_again_and_again(times: int) -> None:
    """Every call needs a capture of its own; only so many are kept."""
    state = {"flag": 0}

    @dg.static
    def f(x: dg.Tensor, label: str) -> dg.Tensor:
        return x * 2 + len(label) + state["flag"]

    x = dg.ones(3)
    for i in range(20):
        f(x, "a" * i)
    gc.collect()
    objects, live = len(gc.get_objects()), dg.memory_stats()["live_buffers"]
    for i in range(20, 20 + times):
        f(x, "a" * i)
    gc.collect()
    assert len(f.entries) <= 16
    assert len(gc.get_objects()) <= objects + 200 and dg.memory_stats()["live_buffers"] <= live + 2


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
def test_captures_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path))  # all of them compile
    capture_again_and_again(40)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
def test_captures_are_bounded_over_a_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path))
    capture_again_and_again(1000)


def test_captured_functions_are_collected() -> None:
    def once() -> None:
        model = nn.Linear(4, 4)
        dg.static(lambda x: model(x).sum())(dg.ones(2, 4)).backward()

    for _ in range(5):
        once()
    gc.collect()
    live = dg.memory_stats()["live_buffers"]
    for _ in range(20):
        once()
    gc.collect()
    assert dg.memory_stats()["live_buffers"] <= live


@pytest.mark.parametrize("threads", [1, 2])
@MODES
def test_step_counters_beside_a_large_reduction(switch: Callable[[Any], Any], threads: int) -> None:
    """Scalars updated in the kernel of a reduction that runs in many chunks are updated once."""
    before = dg.get_num_threads()
    dg.set_num_threads(threads)
    try:
        model = nn.Sequential(nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 300))
        optimizer = dg.optim.Adam(model.parameters())
        data = dg.rand(100, 300)

        @switch
        def step(x: dg.Tensor) -> dg.Tensor:
            optimizer.zero_grad()
            loss = (model(x) - x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        for _ in range(5):
            step(data)
        assert [int(state["step"]) for state in optimizer.state.values()] == [5] * 4
    finally:
        dg.set_num_threads(before)


if __name__ == "__main__":
    memory(int(sys.argv[2]), dynamic if sys.argv[1] == "dynamic" else dg.static)
