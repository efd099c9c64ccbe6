"""Bars 3 and 4: the first call at sizes never seen before, and a whole sequence of sizes from a cold start."""

from __future__ import annotations

import statistics

from benchmarks.cold import measure_all, verdict
from benchmarks.harness import human


def main(rounds: int = 3) -> None:
    found = measure_all("lengths", ("duograph", "jax"), rounds)
    ratios, first = [], {}
    for library, runs in found.items():
        first[library] = statistics.median(t for run in runs for t in run["first"][2:])
    ratios = [a / b for run in found["duograph"] for a, b in zip(run["first"][2:], run["steady"][2:])]
    text = f"first call {human(first['duograph'])}"
    verdict("bar 3: RNN at 20 lengths and 20 batch sizes, first / steady", text, statistics.median(ratios), 1.5, at_least=False)
    if "jax" in first:
        verdict("bar 3: first call, jax.jit / ours", f"jax.jit {human(first['jax'])}", first["jax"] / first["duograph"], 50)
    found = measure_all("sizes", ("duograph", "torch", "torch-dynamic", "jax"), rounds)
    ratios = [a / b for run in found["duograph"] for a, b in zip(run["first"][2:], run["steady"][2:])]
    verdict("bar 4: MLP at 20 batch sizes, first / steady from the third on", "", statistics.median(ratios), 1.2, at_least=False)
    totals = {library: statistics.median(sum(run["first"]) for run in runs) for library, runs in found.items()}
    for library, asked in (("torch", 30), ("torch-dynamic", 30), ("jax", 8)):
        if library in totals:
            text = f"duograph {human(totals['duograph'])}, {library} {human(totals[library])}"
            verdict(f"bar 4: the sequence from cold, {library} / ours", text, totals[library] / totals["duograph"], asked)
    if len(totals) == 1:
        print(f"bar 4: the sequence from cold: duograph {human(totals['duograph'])}")
