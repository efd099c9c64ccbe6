"""Computing values again instead of keeping them: the same bits, within the budget, for little work."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.errors import OutOfMemoryError
from duograph.ir.graph import Graph, Value
from duograph.ir.text import parse_graph
from duograph.ir.verify import verify
from duograph.passes.fusion.schedule import Schedule
from duograph.passes.lowering.scheduling import schedule
from duograph.passes.memory import steps
from duograph.passes.memory.plan_memory import Plan, plan_memory
from duograph.passes.memory.recompute import Fitted, fit, planned_peak
from duograph.passes.memory.steps import Emitter, Timeline, without_reads_of_writes
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.build import build

sys.path.append(str(Path(__file__).parent.parent / "passes"))

from random_graphs import RandomGraph

KB = 4096  # bytes of one value of a chain


def planner(graph: Graph, again: Mapping[Value, int]) -> tuple[Schedule, Plan]:
    plan = schedule(graph, True, False, again)
    return plan, plan_memory(plan.steps)


def run(graph: Graph, drawn: RandomGraph) -> list[Any]:
    tensors = [dg.from_numpy(np.array(x)) if x.flags.c_contiguous else dg.from_numpy(_strided(x)) for x in drawn.inputs]
    outputs = build(graph, optimised=True, views=False).program.run(tensors, [], [])
    return [out.numpy() for out in [*outputs, *(tensors[i] for i in drawn.written)]]


def _strided(x: Any) -> Any:
    return np.lib.stride_tricks.as_strided(x.base.copy(), x.shape, x.strides)


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_computed_again_have_the_same_bits(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SHORTEST_GAP", 1)
    drawn = RandomGraph(seed, nodes=random.Random(seed).randint(8, 40), cells=seed % 2 == 1)
    graph = without_reads_of_writes(optimise(drawn.graph, Options(strict=True)))
    timeline = Timeline(graph, *planner(graph, {}))
    expected = run(graph, drawn)
    for limit in (1, 64, 200, 1 << 20):
        segments = timeline.cut(limit)
        made, _ = Emitter(timeline, sorted(segments, key=lambda segment: segment.again)).run()
        verify(made)
        for ours, theirs in zip(run(made, drawn), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def chain(layers: int) -> Graph:
    """A forward chain and the way back, which reads every value of it: what a deep network's training step looks like."""
    lines = ["graph chain(%x: float32[32, 32], %w: float32[32, 32]) {"]
    name = "x"
    for i in range(layers):
        lines.append(f"  %m{i}: float32[32, 32] = contraction(%{name}, %w) {{a='ij', b='jk', out='ik'}}")
        lines.append(f"  %h{i}: float32[32, 32] = tanh(%m{i})")
        name = f"h{i}"
    gradient = name
    for i in reversed(range(layers)):
        lines.append(f"  %p{i}: float32[32, 32] = mul(%{gradient}, %h{i})")
        lines.append(f"  %g{i}: float32[32, 32] = contraction(%p{i}, %w) {{a='ij', b='kj', out='ik'}}")
        gradient = f"g{i}"
    return optimise(parse_graph("\n".join([*lines, f"  return %{gradient}", "}"])), Options())


def operations(plan: Schedule) -> int:
    return sum(int(getattr(step, "flops", 0)) for step in plan.steps)


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_a_chain_within_its_budget(share: float) -> None:
    graph = chain(64)
    plain, plan = planner(graph, {})
    before = planned_peak(plan)
    assert isinstance(before, int)
    assert before >= 64 * KB
    found = fit(graph, int(share * before), planner)
    after = planned_peak(found.plan)
    assert isinstance(after, int)
    assert after == found.report.after <= share * before
    assert found.report.before == before
    # Only the way forward is repeated, at most once, and no more of it than what does not fit.
    added = operations(found.schedule) - operations(plain)
    assert added == found.report.operations
    assert added <= operations(plain) / 2 * min(1.0, 1.25 * (1 - share) + 0.05)
    assert found.report.bytes == found.report.values * KB


def test_the_same_results_within_a_budget() -> None:
    graph = chain(24)
    arrays = [np.random.default_rng(i).standard_normal((32, 32), dtype=np.float32) * 0.3 for i in range(2)]
    results = []
    for budget in (None, 0.5):
        built = build(graph, optimised=True, budget=budget)
        (out,) = built.program.run([dg.from_numpy(a.copy()) for a in arrays], [], [])
        results.append(out.numpy())
        assert (built.report.recomputed is None) == (budget is None)
    np.testing.assert_array_equal(*results)


def test_a_budget_that_is_large_enough_changes_nothing() -> None:
    graph = chain(8)
    plan, memory = planner(graph, {})
    peak = planned_peak(memory)
    assert isinstance(peak, int)
    found = fit(graph, peak, planner)
    assert found.report.values == found.report.operations == 0
    assert len(found.schedule.steps) == len(plan.steps)


def smallest(graph: Graph) -> int:
    return fit(graph, 1, planner).report.after


@pytest.mark.parametrize("layers", [1, 3, 10, 40])
def test_the_smallest_budget_named_is_possible(layers: int) -> None:
    graph = chain(layers)
    least = smallest(graph)
    found: Fitted = fit(graph, least, planner)
    assert found.report.after <= least
    assert fit(graph, least - 1, planner).report.after >= least
    with pytest.raises(OutOfMemoryError, match=r"the smallest possible: .*(.|\n)*memory_budget=\d+"):
        build(graph, optimised=True, budget=least // 2)


def test_the_smallest_budget_grows_with_the_root_of_the_layers() -> None:
    few = smallest(chain(64))
    assert few <= 1.2 * 2 * 8 * KB + 6 * KB
    assert smallest(chain(256)) <= 2.4 * few


def test_two_ways_back_each_within_the_budget() -> None:
    """Two chains one after the other have two peaks; both must go."""
    first = "\n".join(str(chain(32)).splitlines()[1:-2])
    renamed = re.sub(r"%(?!w\b)(\w+)", r"%b\1", first)
    last = re.findall(r"%(\w+):", first)[-1]
    text = "graph two(%x: float32[32, 32], %bx: float32[32, 32], %w: float32[32, 32]) {\n" + first + "\n"
    text += renamed + f"\n  %sum: float32[32, 32] = add(%{last}, %b{last})\n  return %sum\n}}"
    graph = parse_graph(text)
    before = planned_peak(planner(graph, {})[1])
    assert isinstance(before, int)
    assert fit(graph, int(0.5 * before), planner).report.after <= 0.5 * before


def test_sizes_that_are_symbols_have_no_budget() -> None:
    text = """graph g(%x: float32[n]) {
  %0: float32[n] = exp(%x)
  return %0
}
"""
    with pytest.raises(OutOfMemoryError, match="known only when it runs"):
        fit(parse_graph(text), 1 << 20, planner)
