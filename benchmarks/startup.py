"""Bars 10, 11, 12 and 14: import, the first results of a fresh process, the first static call, the installed size."""

from __future__ import annotations

import importlib.metadata
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_FIRST = """
import {library} as lib
x = lib.rand(64, 64, requires_grad=True)
y = lib.softmax(lib.matmul(x, x), dim=-1).sum()
y.backward()
print(x.grad)
"""
_STEP = """
import sys, time
sys.path.insert(0, {root!r})
import {library} as lib
from benchmarks.training import make_step, batch
x, y = (lib.from_numpy(a) for a in batch())
step = lib.{compile}(make_step(lib))
start = time.perf_counter()
step(x, y)
print(time.perf_counter() - start)
"""


def _seconds(code: str, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ | environment)
    return time.perf_counter() - start


def _report(title: str, ours: float, peer: float, asked: float) -> None:
    ratio = peer / ours
    verdict = "ok" if ratio >= asked else "SHORT"
    times = f"duograph {ours * 1e3:.0f} ms, torch {peer * 1e3:.0f} ms"
    print(f"{title}: {times}, {ratio:.1f} ×   asked ≥ {asked:g}: {verdict}")


def _imports(rounds: int) -> None:
    times: dict[str, list[float]] = {"pass": [], "import duograph": [], "import torch": []}
    for _ in range(rounds):
        for code, taken in times.items():
            taken.append(_seconds(code, {}))
    bare, ours, torch = (statistics.median(t) for t in times.values())
    _report("bar 10: import, Python's own start subtracted", ours - bare, torch - bare, 20)


def _first_results(rounds: int) -> None:
    ours, torch = _FIRST.format(library="duograph"), _FIRST.format(library="torch")
    with tempfile.TemporaryDirectory() as warm:
        _seconds(ours, {"DUOGRAPH_CACHE_DIR": warm})
        taken: dict[str, list[float]] = {"warm": [], "cold": [], "torch": []}
        for _ in range(rounds):
            taken["warm"].append(_seconds(ours, {"DUOGRAPH_CACHE_DIR": warm}))
            with tempfile.TemporaryDirectory() as cold:
                taken["cold"].append(_seconds(ours, {"DUOGRAPH_CACHE_DIR": cold}))
            taken["torch"].append(_seconds(torch, {}))
    medians = {name: statistics.median(t) for name, t in taken.items()}
    _report("bar 11: fresh process to printed gradient, warm object cache", medians["warm"], medians["torch"], 8)
    _report("bar 11: the same, cold object cache", medians["cold"], medians["torch"], 2)


def _first_static_call(rounds: int) -> None:
    root = str(Path(__file__).parent.parent)
    taken: dict[str, list[float]] = {"duograph": [], "torch": []}
    for _ in range(rounds):
        for library, compile_name in (("duograph", "static"), ("torch", "compile")):
            with tempfile.TemporaryDirectory() as cold:
                environment = os.environ | {"DUOGRAPH_CACHE_DIR": cold, "TORCHINDUCTOR_CACHE_DIR": cold}
                code = _STEP.format(root=root, library=library, compile=compile_name)
                done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
                taken[library].append(float(done.stdout.split()[-1]))
    _report("bar 12: digits MLP step, first static call, cold cache", *(statistics.median(t) for t in taken.values()), 25)


def _installed_bytes(name: str, seen: set[str]) -> int:
    """Bytes on disk of a distribution and what it requires (extras apart)."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in seen:
        return 0
    seen.add(name)
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return 0
    files = (Path(str(f.locate())) for f in distribution.files or ())
    total = sum(f.stat().st_size for f in files if f.is_file() and not f.name.endswith(".pyc"))
    for requirement in distribution.requires or ():
        if "extra ==" not in requirement:
            found = re.match(r"[A-Za-z0-9._-]+", requirement)
            total += _installed_bytes(found.group(), seen) if found else 0
    return total


def _tree_bytes(package: str) -> int:
    """Bytes of an imported package's own tree: counts an editable install too."""
    import importlib.util

    spec = importlib.util.find_spec(package)
    roots = {Path(p) for p in (spec.submodule_search_locations or ())} if spec else set()
    return sum(f.stat().st_size for root in roots for f in root.rglob("*") if f.is_file() and f.suffix != ".pyc")


def _sizes() -> None:
    ours = _tree_bytes("duograph") + sum(_installed_bytes(n, set()) for n in ("numpy", "llvmlite", "safetensors"))
    torch = _installed_bytes("torch", set())
    ratio = ours / torch
    print(
        f"bar 14: installed with dependencies: duograph {ours / 1e6:.0f} MB, torch {torch / 1e6:.0f} MB, ratio {ratio:.2f}"
        f"   asked ≤ 0.4: {'ok' if ratio <= 0.4 else 'SHORT'}"
    )


def main(rounds: int = 5) -> None:
    _imports(rounds)
    _first_results(rounds)
    _first_static_call(min(rounds, 3))
    _sizes()
