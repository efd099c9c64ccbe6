"""Interleaved timing: the machine's mood of the minute hits every contestant alike, so ratios of medians can be trusted."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OURS = "duograph"


@dataclass
class Case:
    """One piece of work and everyone who does it: name → callable of no arguments that finishes its work before returning."""

    title: str
    contestants: dict[str, Callable[[], object]]
    asked: dict[str, float] = field(default_factory=dict)  # peer (or "best": of those listed in `best_of`) → ratio
    best_of: tuple[str, ...] = ()


@dataclass
class Result:
    """Median seconds a call by contestant, and the ratio peer / ours with what was asked of it."""

    title: str
    medians: dict[str, float]
    asked: dict[str, float]
    best_of: tuple[str, ...]

    def ratios(self) -> Iterator[tuple[str, float, float | None]]:
        ours = self.medians[OURS]
        for peer, seconds in self.medians.items():
            if peer != OURS:
                yield peer, seconds / ours, self.asked.get(peer)
        best = [self.medians[p] for p in (self.best_of or self.medians) if p != OURS and p in self.medians]
        if "best" in self.asked and best:
            yield "best peer", min(best) / ours, self.asked["best"]


def _repeats(call: Callable[[], object], budget: float, clock: Callable[[], float]) -> int:
    start = clock()
    call()
    once = clock() - start
    return max(1, int(budget / max(once, 1e-7)))


def _batch(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def measure(
    case: Case, rounds: int = 21, budget: float = 0.01, pause: float = 0.0, clock: Callable[[], float] = time.perf_counter
) -> Result:
    """Median over `rounds` of each contestant, one short batch (about `budget` seconds) each in turn.

    With `clock=time.process_time` what other processes take of the processor does not count (for works on one thread only).
    `pause` seconds go before each batch: thread pools spin for a while after their last work, on cores the next one needs.
    """
    repeats = {}
    for name, call in case.contestants.items():
        time.sleep(pause)
        for _ in range(3):
            call()
        repeats[name] = _repeats(call, budget, clock)
    times: dict[str, list[float]] = {name: [] for name in case.contestants}
    names = list(case.contestants)
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                if pause:
                    time.sleep(pause)
                    case.contestants[name]()  # wakes its threads
                times[name].append(_batch(case.contestants[name], repeats[name], clock))
    finally:
        gc.enable()
    return Result(case.title, {n: statistics.median(t) for n, t in times.items()}, case.asked, case.best_of)


def human(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def show(result: Result) -> None:
    """Print one case: our median, then each peer's with the ratio peer / ours and the mark asked."""
    print(f"{result.title}: duograph {human(result.medians[OURS])}")
    for peer, ratio, asked in result.ratios():
        time_text = human(result.medians[peer]) if peer in result.medians else ""
        mark = "" if asked is None else f"   asked ≥ {asked:g}: {'ok' if ratio >= asked else 'SHORT'}"
        print(f"    {peer:<28} {time_text:>9}   {ratio:7.2f} ×{mark}")
