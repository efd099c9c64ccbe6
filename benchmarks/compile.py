"""Capture and compilation with a cold cache: small steps (bar 5 of the switch), ResNet-18's (bar 10 of the networks)."""

from __future__ import annotations

import statistics

from benchmarks.cold import measure_all, verdict
from benchmarks.harness import human

TITLES = {"depth": "step of random depth", "deep": "step of a 50-layer MLP", "rnn": "RNN, 100 steps"}
ASKED = {"torch": 20, "jax": 1.5}
ASKED_OF_NETWORKS = {"torch": 8, "jax": 1.5}


def main(rounds: int = 3) -> None:
    for work, title in TITLES.items():
        peers = ("duograph", "torch") if work == "depth" else ("duograph", "torch", "jax")
        found = measure_all(work, peers, rounds)
        times = {library: statistics.median(run["first"][0] for run in runs) for library, runs in found.items()}
        _compare(f"bar 5: first call, cold cache: {title}", times, ASKED)
    resnet(rounds)


def resnet(rounds: int = 3) -> None:
    found = measure_all("resnet", ("duograph", "torch", "jax"), rounds)
    times = {library: statistics.median(run["first"][0] - run["steady"][0] for run in runs) for library, runs in found.items()}
    _compare("bar 10: first call less a later one, cold cache: ResNet-18's training step, batch 8", times, ASKED_OF_NETWORKS)


def _compare(title: str, times: dict[str, float], asked: dict[str, float]) -> None:
    ours = times.pop("duograph")
    print(f"{title}: duograph {human(ours)}", flush=True)
    for library, seconds in times.items():
        verdict(f"    {library}", human(seconds), seconds / ours, asked[library])
