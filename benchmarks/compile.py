"""Bar 5: capture and compilation with a cold cache."""

from __future__ import annotations

import statistics

from benchmarks.cold import measure_all, verdict
from benchmarks.harness import human

TITLES = {"depth": "step of random depth", "deep": "step of a 50-layer MLP", "rnn": "RNN, 100 steps"}


def main(rounds: int = 3) -> None:
    for work, title in TITLES.items():
        peers = ("duograph", "torch") if work == "depth" else ("duograph", "torch", "jax")
        found = measure_all(work, peers, rounds)
        times = {library: statistics.median(run["first"][0] for run in runs) for library, runs in found.items()}
        ours = times.pop("duograph")
        print(f"bar 5: first call, cold cache: {title}: duograph {human(ours)}", flush=True)
        for library, asked in (("torch", 20), ("jax", 1.5)):
            if library in times:
                verdict(f"    {library}", human(times[library]), times[library] / ours, asked)
