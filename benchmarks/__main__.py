"""`python -m benchmarks [group …] [--threads N …]`: each group in a process of its own, so that thread counts hold for all."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import subprocess
import sys

from benchmarks import harness, peers

GROUPS = (
    "eager", "inference", "fused", "rows", "matmul", "contraction", "training", "startup",
    "loops", "rnn", "recurrent", "sizes", "compile", "guards", "memory", "threads",
    "convolution", "small_networks", "networks", "language", "sixteen_bits", "sessions", "exported", "operators",
)  # fmt: skip


def _run_group(name: str, threads: int, only: str | None) -> None:
    peers.prepare(threads)
    peers.flush_denormals()
    group = importlib.import_module(f"benchmarks.{name}")

    def wanted(title: str) -> bool:
        return only is None or only in title

    chooses = "wanted" in inspect.signature(group.cases).parameters  # what is not wanted is not built
    results = []
    for case in group.cases(wanted) if chooses else group.cases():
        if wanted(case.title):
            rounds, pause = getattr(group, "ROUNDS", 21), 0.2 if threads > 1 else 0.0
            results.append(harness.measure(case, rounds=rounds, pause=pause))
            harness.show(results[-1])
            sys.stdout.flush()
    for line in getattr(group, "summary", lambda results: ())(results):
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)} (all)")
    parser.add_argument("--threads", type=int, nargs="*", help="thread counts (each group's own: 1, or 1 and 2)")
    parser.add_argument("--only", help="only cases whose title contains this")
    parser.add_argument("--alone", action="store_true", help="leave the peers out")
    parser.add_argument("--inside", nargs=2, metavar=("GROUP", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        _run_group(options.inside[0], int(options.inside[1]), options.only)
        return
    if options.alone:
        os.environ[peers.ALONE] = "1"
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    for name in options.groups or GROUPS:
        group = importlib.import_module(f"benchmarks.{name}")
        if hasattr(group, "main"):
            group.main()
            continue
        for threads in options.threads or group.THREADS:
            for environment in getattr(group, "ENVIRONMENTS", ({},)):
                print(f"== {name}, {threads} thread{'s' if threads > 1 else ''} {environment or ''}", flush=True)
                command = [sys.executable, "-W", "ignore", "-m", "benchmarks", "--inside", name, str(threads)]
                command += ["--only", options.only] if options.only else []
                subprocess.run(command, check=True, env=os.environ | environment)


if __name__ == "__main__":
    main()
