"""Operators against PyTorch eager, from the registry: 64 elements (overhead), recorded with gradient, and a million elements.

The work is the operators' first sample, made longer; so the operators whose operands all have one length are here.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1,)
ROUNDS = 7
ASKED = {"64 elements": 4.0, "64 elements, with gradient": 4.0, "a million elements": 1.5}


def cases() -> Iterator[Case]:
    """One case for each operator and size."""
    torch = load("torch")
    if torch is None:
        return
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "ops"))
    import operator_harness
    import torch_reference

    from duograph.ops.definition import COMPOSITION, ELEMENTWISE, LOSS

    kinds = (ELEMENTWISE, LOSS, COMPOSITION)
    for definition in operator_harness.definitions():
        if definition.kind not in kinds or not torch_reference.is_compared(definition):
            continue
        made = operator_harness.calls(definition, "float32")
        arrays = list(operator_harness.iterate_arrays(made[0])) if made else []
        if not arrays or any(a.shape != arrays[0].shape or a.ndim != 2 or a.dtype != np.float32 for a in arrays):
            continue
        function = torch_reference.function_of(definition)
        for title, size, recorded in (
            ("64 elements", (8, 8), False),
            ("64 elements, with gradient", (8, 8), True),
            ("a million elements", (1024, 1024), False),
        ):
            if recorded and not definition.differentiable:
                continue
            call = torch_reference.replaced(made[0], [np.resize(a, size) for a in arrays])
            contestants = {
                OURS: _work(definition.exported, operator_harness.tensors(call, "float32"), recorded),
                "torch eager": _work(function, torch_reference.arguments(call, "float32"), recorded),
            }
            if all(_runs(work) for work in contestants.values()):
                yield Case(f"{definition.name}: {title}", contestants)


def _work(function: Callable[..., Any], call: Any, recorded: bool) -> Callable[[], object]:
    if not recorded:
        return lambda: function(*call.args, **call.kwargs)
    leaves = [x.requires_grad_() for x in call.args if hasattr(x, "requires_grad_") and "float" in str(x.dtype)]

    def run() -> object:
        found = function(*call.args, **call.kwargs)
        (found[0] if isinstance(found, tuple) else found).sum().backward()
        for leaf in leaves:
            leaf.grad = None
        return found

    return run


def _runs(work: Callable[[], object]) -> bool:
    try:
        work()
    except (RuntimeError, TypeError):
        return False
    return True


def main() -> None:
    """All cases, then the geometric means and the slowest of each size."""
    from benchmarks import peers

    peers.prepare(1)
    ratios: dict[str, list[tuple[float, str]]] = {title: [] for title in ASKED}
    for case in cases():
        name, _, title = case.title.partition(": ")
        result = harness.measure(case, rounds=ROUNDS, budget=0.004)
        ratios[title].append((result.medians["torch eager"] / result.medians[OURS], name))
    for title, rows in ratios.items():
        if not rows:
            continue
        mean = statistics.geometric_mean(ratio for ratio, _ in rows)
        mark = "ok" if mean >= ASKED[title] else "SHORT"
        print(f"{title}: {len(rows)} operators, geometric mean {mean:.2f} × torch eager   asked ≥ {ASKED[title]:g}: {mark}")
        print("    slowest: " + ", ".join(f"{name} {ratio:.2f}" for ratio, name in sorted(rows)[:15]))
