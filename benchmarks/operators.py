"""All operators against PyTorch eager, from the registry: 64 and a million elements, recorded with gradient, 1 and 2 threads,
float32, float64 and int64; and the first call of each.

`python -m benchmarks operators` runs everything (a quarter of an hour). `python -m benchmarks.operators --help` says how to
pick: `--only sort,topk --quick --part million --dtype float32 --threads 1`.

How it is counted: a ratio is PyTorch's median over ours of interleaved batches; a geometric mean takes every work of
`operator_works` once. The copy floor is the time in which `numpy.copyto` moves as many bytes as the operator reads and
writes, half of them in, half out, in the same process. A first call is timed in an interpreter of its own that has imported
duograph, looked up names and made nothing else: what the call imports (as bytecode, written beforehand as an installation
does), reads from the cache of objects and maps counts (`first_calls`).
On one thread the clock is the processor time of the process, so that other processes do not count.
"""

from __future__ import annotations

import argparse
import compileall
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import first_calls, harness, peers
from benchmarks.harness import OURS, Case

SIDES = {"small": 8, "gradient": 8, "million": 1024}
TORCH = "torch eager"
NEAR_FLOOR = 1.15
SEVEN = ("sort", "topk", "cumsum", "scatter_add", "index_select", "unique", "masked_select")


def _prepared(module: str) -> Any:
    """The generated tests' ways to call an operator: here (`operator_harness`), in PyTorch (`torch_reference`)."""
    tests = str(Path(__file__).parent.parent / "tests" / "ops")
    if tests not in sys.path:
        sys.path.insert(0, tests)
    return import_module(module)


def cases(part: str, dtype: str, only: list[str]) -> Iterator[tuple[str, Case, int]]:
    """(family, case, bytes it reads and writes) of each operator's works."""
    ours, theirs = _prepared("operator_harness"), _prepared("torch_reference")
    from benchmarks import operator_works as table

    for definition in ours.definitions():
        name, function = definition.name, theirs.function_of(definition)
        if not (definition.public or definition.functional) or not callable(function) or (only and name not in only):
            continue
        if part == "gradient" and not definition.differentiable:
            continue
        for label, args, kwargs in table.works(name, definition.samples or (lambda m: []), dtype, SIDES[part]):
            call = ours.Call(args, kwargs)
            recorded = part == "gradient"
            try:
                contestants = {
                    OURS: _work(definition.exported, ours.tensors(call, dtype), recorded),
                    TORCH: _work(function, theirs.arguments(call, dtype), recorded),
                }
                moved = _bytes(ours, call, contestants[OURS]())
                contestants[TORCH]()
            except (RuntimeError, TypeError, ValueError, NotImplementedError):
                continue
            title = f"{name} {label}".strip()
            yield table.family_of(name, definition.kind), Case(title, contestants), moved


def _work(function: Callable[..., Any], call: Any, recorded: bool) -> Callable[[], object]:
    args, kwargs = call.args, call.kwargs
    if not recorded:
        return lambda: function(*args, **kwargs)
    given = [y for x in args for y in (x if isinstance(x, (list, tuple)) else [x])]
    leaves = [x.requires_grad_() for x in given if hasattr(x, "requires_grad_") and "float" in str(x.dtype)]
    found = _first(function(*args, **kwargs))
    gradient = found.detach() * 0 + 1

    def run() -> object:
        found = _first(function(*args, **kwargs))
        found.backward(gradient)
        for leaf in leaves:
            leaf.grad = None
        return found

    return run


def _first(found: Any) -> Any:
    return found[0] if isinstance(found, (tuple, list)) else found


def _bytes(ours: Any, call: Any, result: Any) -> int:
    """Bytes of the operands and of the results."""
    taken = sum(a.nbytes for a in ours.iterate_arrays(call))
    given = [x for x in ours.flat(result) if hasattr(x, "numel")]
    return int(taken + sum(x.numel() * x.dtype.itemsize for x in given))


def _copy_rate() -> Callable[[int], float]:
    """Seconds in which NumPy copies when so many bytes are read and written in all; the best of some."""
    known: dict[int, float] = {}

    def seconds(moved: int) -> float:
        size = max(moved // 2, 64)
        if size not in known:
            source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
            known[size] = min(_timed(lambda: np.copyto(target, source)) for _ in range(7))
        return known[size]

    return seconds


def _timed(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _clock(threads: int) -> Callable[[], float]:
    return time.process_time if threads == 1 else time.perf_counter


def inside(part: str, dtype: str, threads: int, only: list[str], rounds: int) -> None:
    """One part in this process: a line of JSON for each work."""
    peers.prepare(threads)
    warnings.simplefilter("ignore")
    if part == "first":
        _first_calls(only, rounds)
        return
    if peers.load("torch") is None:
        return
    floor = _copy_rate()
    for family, case, moved in cases(part, dtype, only):
        budget = 0.006 if part == "million" else 0.002
        try:
            found = harness.measure(case, rounds, budget, pause=0.01 if threads > 1 else 0.0, clock=_clock(threads))
        except (RuntimeError, ValueError):
            continue
        row = {"family": family, "name": case.title, "ours": found.medians[OURS], "theirs": found.medians[TORCH]}
        print(json.dumps(row | {"floor": floor(moved) if part == "million" else 0.0}), flush=True)


def _first_calls(only: list[str], rounds: int) -> None:
    """Seconds of each operator's first call with 64 elements in a new interpreter; the median of some."""
    compileall.compile_dir(str(Path(__file__).parent.parent / "duograph"), quiet=1)
    from benchmarks import operator_works as table

    for definition in _prepared("operator_harness").definitions():
        if not (definition.public or definition.functional) or (only and definition.name not in only):
            continue
        samples = definition.samples or (lambda m: [])
        calls = [table.works(definition.name, samples, dtype, 8) for dtype in ("float32", "int64")]
        firsts = [first for works in calls for first in list(works)[:1]]  # int64 for what takes nothing else
        found = next((times for _, *call in firsts if all(times := _first_times(definition.name, call, rounds))), None)
        if found:
            family = table.family_of(definition.name, definition.kind)
            print(json.dumps({"family": family, "name": definition.name, "ours": statistics.median(found)}), flush=True)
        elif firsts:
            print(f"{definition.name}: the call failed", file=sys.stderr)


def _first_times(name: str, call: list[Any], rounds: int) -> list[float]:
    described = first_calls.describe(name, *call)
    return [first_calls.seconds(described) for _ in range(rounds)]


def run(part: str, dtype: str, threads: int, only: list[str], rounds: int) -> list[dict[str, Any]]:
    """One part in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.operators", "--inside", "--part", part, "--dtype", dtype]
    command += ["--threads", str(threads), "--only", ",".join(only), "--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def report(part: str, dtype: str, threads: int, rows: list[dict[str, Any]]) -> None:
    """Geometric means of the families against what is asked, and the slowest."""
    from benchmarks import operator_works as table

    print(f"== {part}, {dtype}, {threads} thread{'s' * (threads > 1)}: {len(rows)} works", flush=True)
    if part == "first":
        slow = sorted(rows, key=lambda r: -r["ours"])[:15]
        print(f"   slowest first calls ({_verdict(not slow or slow[0]['ours'] <= 2e-3)}, asked ≤ 2 ms each): ", end="")
        print(", ".join(f"{r['name']} {r['ours'] * 1e3:.2f}" for r in slow))
        return
    groups = {family: [r for r in rows if r["family"] == family] for family in table.FAMILIES}
    if part != "million":
        groups = {"all but views": [r for r in rows if r["family"] != table.VIEW], table.VIEW: groups[table.VIEW]}
    for family, members in groups.items():
        if members:
            asked = _asked(part, dtype, family)
            mean = statistics.geometric_mean(_ratio(r) for r in members)
            mark = f"   asked ≥ {asked:g}: {_verdict(mean >= asked)}" if asked else ""
            print(f"   {family}: {len(members)} works, geometric mean {mean:.2f} × torch eager{mark}")
    slowest = sorted((r for r in rows if r["family"] != table.VIEW), key=_ratio)
    if part != "million":
        print("   slowest: " + ", ".join(f"{r['name']} {_ratio(r):.2f}" for r in slowest[:15]))
        return
    below = [r for r in slowest if _ratio(r) < 0.9]
    short = [r for r in below if r["ours"] > NEAR_FLOOR * r["floor"]]
    print(f"   below 0.9 and not within {NEAR_FLOOR} of the copy floor: {len(short)}: {_verdict(not short)}")
    for r in short + [r for r in below if r not in short]:
        print(f"      {r['name']:<32} {_ratio(r):.2f}   {harness.human(r['ours'])}, floor {harness.human(r['floor'])}")
    seven = [r for name in SEVEN for r in rows if r["name"].split()[0] == name]
    print(f"   asked ≥ 1 of each: {_verdict(all(_ratio(r) >= 1 for r in seven))}: ", end="")
    print(", ".join(f"{r['name']} {_ratio(r):.2f}" for r in seven))


def _ratio(row: dict[str, Any]) -> float:
    return float(row["theirs"] / row["ours"])


def _asked(part: str, dtype: str, family: str) -> float:
    from benchmarks import operator_works as table

    if part != "million":
        return 4.0 if family == "all but views" else 0.0
    bars = (table.ELEMENTWISE, table.REDUCTION, table.SHAPE, table.COMPOSITION)
    return (1.5 if dtype == "float32" else 1.3) if family in bars else 0.0


def _verdict(good: bool) -> str:
    return "ok" if good else "SHORT"


def main(arguments: list[str] | None = None) -> None:
    """All parts, or those picked, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="benchmarks.operators", description=__doc__)
    parser.add_argument("--part", choices=[*SIDES, "first"])
    parser.add_argument("--dtype", choices=["float32", "float64", "int64"])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", default="", help="names of operators, with commas")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--rounds", type=int, help="7; quick: 3")
    parser.add_argument("--all", action="store_true", help="print each work")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments if arguments is not None else [])
    only, rounds = [x for x in options.only.split(",") if x], options.rounds or (3 if options.quick else 7)
    if options.inside:
        inside(options.part, options.dtype, options.threads, only, rounds)
        return
    for part in [options.part] if options.part else [*SIDES, "first"]:
        million = part == "million"
        for dtype in [options.dtype] if options.dtype else ["float32", "float64", "int64"] if million else ["float32"]:
            for threads in [options.threads] if options.threads else [1, 2] if million else [1]:
                rows = run(part, dtype, threads, only, rounds)
                for r in sorted(rows, key=lambda r: r["theirs"] / r["ours"]) if options.all and part != "first" else ():
                    print(f"      {r['name']:<32} {_ratio(r):6.2f}   {harness.human(r['ours'])}")
                report(part, dtype, threads, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
