"""recompute: fewer bytes alive at once, by computing values again shortly before their late uses instead of keeping them.

Works on a program that was scheduled once. Steps are cut into segments where few bytes cross; of a chosen segment only
what crosses its borders is kept, the rest is computed again, once, when the first of its late uses comes. Random
numbers keep their keys, so every value has the same bits both times. Which segments: those that save most bytes times
steps per second of work, at several lengths, by an estimate that is linear in steps; the plan itself has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from duograph.errors import OutOfMemoryError
from duograph.ir.dim import Expr
from duograph.ir.effects import is_parted
from duograph.ir.graph import Graph, Value

from ..fusion.schedule import Schedule
from .plan_memory import Plan, most, results_bytes
from .steps import Emitter, Segment, Timeline, can_be_segmented, without_reads_of_writes

ATTEMPTS = 6
PARTS = (1, 2, 3, 4, 6, 8, 11, 13, 16, 19, 23, 32, 45, 64, 91, 128)  # numbers of segments to try

Planner: TypeAlias = "Callable[[Graph, Mapping[Value, int]], tuple[Schedule, Plan]]"


class Recomputation(NamedTuple):
    """What is computed again instead of kept: values, turns of loops, the bytes that were not kept, the operations added.

    `before` and `after` are planned peaks in bytes, those of the greatest sizes where sizes are symbols.
    """

    budget: int | None
    before: int
    after: int
    values: int = 0
    bytes: int = 0
    operations: int = 0
    turns: int = 0


@dataclass
class Choice:
    """Segments to compute again, the seconds that takes, and the peak to expect."""

    segments: list[Segment]
    work: float
    peak: int


class Fitted(NamedTuple):
    """A program within its budget."""

    graph: Graph
    schedule: Schedule
    plan: Plan
    report: Recomputation


def planned_peak(plan: Plan) -> Expr:
    """Bytes a program allocates for itself: its arena, its boxes and its results."""
    total = plan.arena + plan.boxes + results_bytes(plan)
    for size in plan.late:
        total = total + size
    return total


def greatest_peak(name: str, plan: Plan) -> int:
    """The planned peak where all sizes are greatest; OutOfMemoryError if they have no bound."""
    peak = planned_peak(plan)
    try:
        return most(peak)
    except OverflowError:
        raise OutOfMemoryError(
            f"memory_budget: {name} needs {peak} bytes, which is known only when it runs",
            hint="leave memory_budget out, or give sizes that values decide an upper bound",
        ) from None


def fit(graph: Graph, budget: int | float, planner: Planner, reserve: int = 0) -> Fitted:
    """The program of a graph whose planned peak is at most the budget; where that cannot be, the smallest found.

    Args:
        budget: bytes, or as a float a share of the peak without a budget.
        reserve: bytes that the planner does not know of.
    """
    graph = graph if is_parted(graph) else without_reads_of_writes(graph)
    schedule, plan = planner(graph, {})
    before = greatest_peak(graph.name, plan) + reserve
    budget = budget if isinstance(budget, int) else int(before * budget)
    if before <= budget:
        return Fitted(graph, schedule, plan, Recomputation(budget, before, before))
    found = None if not can_be_segmented(graph) else _Search(graph, schedule, plan, planner).within(budget - reserve)
    if found is None:
        return Fitted(graph, schedule, plan, Recomputation(budget, before, before))
    report = found.report._replace(budget=budget, before=before, after=found.report.after + reserve)
    return found._replace(report=report)


def too_small(name: str, done: Recomputation, results: Expr) -> OutOfMemoryError:
    """The error for a budget below what the smallest program found needs."""
    return OutOfMemoryError(
        f"memory_budget: {name} cannot run in {_spaced(done.budget or 0)} bytes",
        [
            f"without a budget: {_spaced(done.before)} bytes",
            f"the smallest possible: {_spaced(done.after)} bytes, {_spaced(results)} of them results",
        ],
        hint=f"memory_budget={done.after}",
    )


def _spaced(number: Expr) -> str:
    return f"{most(number):,}".replace(",", " ")


class _Search:
    """Choices by estimate, and what their plans really need."""

    def __init__(self, graph: Graph, schedule: Schedule, plan: Plan, planner: Planner) -> None:
        self.graph = graph
        self.planner = planner
        self.timeline = Timeline(graph, schedule, plan)
        self.lengths = self._lengths()

    def _lengths(self) -> list[list[Segment]]:
        """The steps cut into segments, in several ways."""
        total = sum(life.size for life in self.timeline.candidates.values())
        limits = dict.fromkeys(max(total // parts, 1) for parts in PARTS if parts <= 2 * len(self.timeline.candidates))
        return [self._ranked(self.timeline.cut(limit)) for limit in limits]

    @staticmethod
    def _ranked(segments: Sequence[Segment]) -> list[Segment]:
        return sorted(segments, key=lambda segment: (segment.work / max(segment.saved, 1), segment.low))

    def within(self, budget: int) -> Fitted | None:
        """The cheapest program found within the budget, else the smallest; None if no other than the given is possible."""
        found = self._cheapest_within(budget)
        if found is not None:
            return found
        everything = [Choice(segments, 0.0, self._estimate(segments)) for segments in self.lengths if segments]
        smallest: Fitted | None = None
        for choice in sorted(everything, key=lambda choice: choice.peak)[:ATTEMPTS]:
            made, peak = self._plan(choice)
            if peak <= budget:
                return made
            if smallest is None or peak < smallest.report.after:
                smallest = made
        return smallest

    def _cheapest_within(self, budget: int) -> Fitted | None:
        """Try what is expected to do; what the plans really need corrects the expectation, both ways."""
        found: Fitted | None = None
        target = budget
        work = failed = float("inf")
        for _ in range(ATTEMPTS):
            choices = [choice for segments in self.lengths if (choice := self._cheapest(segments, target))]
            best = min(choices, key=lambda choice: choice.work, default=None)
            if best is None or best.work >= work:
                break
            made, peak = self._plan(best)
            if peak <= budget:
                found, work = made, best.work
                target = int(min(target * budget / peak, failed - 1))
            elif found is not None:
                break
            else:
                failed = target
                target = min(target - 1, int(target * budget / peak))
        return found

    def _cheapest(self, segments: Sequence[Segment], target: int) -> Choice | None:
        """The fewest of the ranked segments that are expected to do."""
        if not segments or self._estimate(segments) > target:
            return None
        low, high = 0, len(segments)
        while high - low > 1:
            middle = (low + high) // 2
            if self._estimate(segments[:middle]) <= target:
                high = middle
            else:
                low = middle
        chosen = list(segments[:high])
        return Choice(chosen, sum(segment.work for segment in chosen), self._estimate(chosen))

    def _estimate(self, segments: Sequence[Segment]) -> int:
        """The peak if these segments are computed again."""
        timeline = self.timeline
        change = [0] * (timeline.length + 3)
        for segment in segments:
            for first, last, size in segment.changes:
                change[first] += size
                change[last + 1] -= size
        return max(max(map(int.__add__, timeline.alive, accumulate(change)), default=0), timeline.results)

    def _plan(self, choice: Choice) -> tuple[Fitted, int]:
        """The program with these segments computed again, and its peak."""
        emitter = Emitter(self.timeline, sorted(choice.segments, key=lambda segment: segment.again))
        graph, late = emitter.run()
        schedule, plan = self.planner(graph, late)
        peak = most(planned_peak(plan))
        evicted = [value for segment in choice.segments for value in segment.evicted]
        size = sum(self.timeline.candidates[value].size for value in evicted)
        operations = sum(segment.flops for segment in choice.segments)
        return Fitted(graph, schedule, plan, Recomputation(0, 0, peak, len(evicted), size, operations)), peak
