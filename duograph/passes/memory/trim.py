"""trim: a lower peak for next to no time, without a budget: what loops of arithmetic wrote long before it is used again is
computed again from what is in memory anyway.

Of what is alive at the peak, values that wait for their next use are candidates: normalised rows, products with
parameters, activations. Those that free most bytes for their work are taken, as many as the share `WORK` of the
program's time pays for. Programs whose sizes are not numbers are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from duograph.codegen.kernel import ContractionKernel, LoopKernel
from duograph.ir.dim import product
from duograph.ir.graph import Graph, Value
from duograph.ir.late import late_symbols
from duograph.ir.primitives import ELEMENTWISE, MOVEMENT, NULLARY, PRIMITIVES, REDUCE

from ..fusion.groups import Buffer
from ..fusion.schedule import KernelStep, Schedule, Step
from .plan_memory import Life, Plan, lifetimes, plan_memory
from .recompute import Fitted, Planner, Recomputation, planned_peak
from .steps import BYTES_PER_SECOND, FLOPS_PER_SECOND, Emitter, Segment, Timeline, without_reads_of_writes

SMALLEST = 1 << 18  # bytes of a peak worth the trouble
GAIN = 0.97  # of the peak must be left at most
WORK = 0.02  # of the program's time may be added
ROUNDS = 3
LONGEST = 64  # nodes of what is computed again at once


def ready(graph: Graph) -> Graph:
    """The graph as `trim` takes it, where that may do something."""
    return without_reads_of_writes(graph) if _is_straight(graph) else graph


def trim(graph: Graph, schedule: Schedule, planner: Planner) -> Fitted | None:
    """The program with cheap values computed again, if that lowers its planned peak; the graph must be `ready`."""
    if not _is_straight(graph) or not _may_help(schedule.steps):
        return None
    plan = plan_memory(schedule.steps, late=list(late_symbols(graph)))
    before = planned_peak(plan)
    if not isinstance(before, int):
        return None
    search = _Search(graph, schedule, plan)
    chosen = search.chosen()
    if not chosen:
        return None
    emitter = Emitter(search.timeline, sorted((option.segment for option in chosen), key=lambda segment: segment.again))
    made, late = emitter.run()
    schedule, plan = planner(made, late)
    after = planned_peak(plan)
    if not isinstance(after, int) or after > GAIN * before:
        return None
    evicted = [value for option in chosen for value in option.segment.evicted]
    size = sum(search.timeline.held[value].size for value in evicted)
    operations = sum(option.segment.flops for option in chosen)
    return Fitted(made, schedule, plan, Recomputation(None, before, after, len(evicted), size, operations))


def _is_straight(graph: Graph) -> bool:
    """Whether a program has no branches, loops and calls into Python."""
    return not any(node.regions or node.op == "host_call" for node in graph.nodes)


def _may_help(steps: Sequence[Step]) -> bool:
    """Whether loops of arithmetic wrote a good part of what waits at the peak."""
    kernels = [step for step in steps if isinstance(step, KernelStep)]
    if sum(isinstance(step.kernel, ContractionKernel) for step in kernels) < 2:
        return False
    lives = lifetimes(steps, {})
    sizes = [life.size for life in lives]
    if not all(isinstance(size, int) for size in sizes):
        return False
    alive = _alive(lives)
    peak = max(alive)
    if peak < SMALLEST:
        return False
    time = alive.index(peak)
    arithmetic = {buffer.owner for step in kernels if isinstance(step.kernel, LoopKernel) for buffer in step.writes}
    waiting = [
        life for life in lives if life.first < time < life.last and life.buffer in arithmetic and life.buffer.kind == "temp"
    ]
    return sum(_bytes(life) for life in waiting) > (1 - GAIN) * peak


def _bytes(life: Life) -> int:
    assert isinstance(life.size, int)
    return life.size


def _alive(lives: Sequence[Life]) -> list[int]:
    """Bytes alive at each time; what takes another's place counts from the time after."""
    change = [0] * (max((life.last for life in lives), default=0) + 2)
    last = {life.buffer: life for life in lives}
    for life in lives:
        change[life.first + _overlays(life, last)] += _bytes(life)
        change[life.last + 1] -= _bytes(life)
    return list(accumulate(change))


def _overlays(life: Life, others: Mapping[Buffer, Life]) -> bool:
    """Whether a buffer takes the place of one that dies as it is first written."""
    heirs = [others[old] for old in life.inherits if old in others]
    return life.last > life.first and any(old.last == life.first and old.size == life.size for old in heirs)


class _Option(NamedTuple):
    """Values of one step to compute again, what that reads, and the bytes it frees at the peak."""

    segment: Segment
    sources: frozenset[Value]
    freed: int


class _Search:
    """What to compute again so that the most bytes alive at once are fewer."""

    def __init__(self, graph: Graph, schedule: Schedule, plan: Plan) -> None:
        self.timeline = Timeline(graph, schedule, plan)
        self.alive = self.timeline.alive
        self._discount(plan.lives)
        kernels = [step for step in schedule.steps if isinstance(step, KernelStep)]
        seconds = sum(_number(step.flops) / FLOPS_PER_SECOND + _number(step.bytes) / BYTES_PER_SECOND for step in kernels)
        self.left = WORK * seconds
        self.evicted: set[Value] = set()
        self.sources: set[Value] = set()

    def _discount(self, lives: Sequence[Life]) -> None:
        """Count what takes another's place from the step after."""
        others = {life.buffer: life for life in lives}
        for life in lives:
            held = None if life.buffer.value is None else self.timeline.held.get(life.buffer.value)
            if held is not None and _overlays(life, others):
                self.alive[held.writer] -= held.size

    def chosen(self) -> list[_Option]:
        """The options, in rounds for a peak each."""
        found: list[_Option] = []
        for _ in range(ROUNDS):
            taken = self._round()
            if not taken:
                break
            found += taken
        return found

    def _round(self) -> list[_Option]:
        peak = max(self.alive)
        time = self.alive.index(peak)
        options = [option for step in range(1, self.timeline.length + 1) for option in self._best(step, time)]
        options.sort(key=lambda option: (option.segment.work / option.freed, option.segment.low))
        affordable: list[_Option] = []
        for option in options:
            if option.segment.work <= self.left and self._is_free(option):
                affordable.append(option)
                self.left -= option.segment.work
                self.evicted.update(option.segment.evicted)
                self.sources.update(option.sources)
        count = self._enough(affordable, peak)
        for option in affordable[count:]:
            self.left += option.segment.work
            self.evicted.difference_update(option.segment.evicted)
        self.alive = self._after(affordable[:count])
        return affordable[:count]

    def _is_free(self, option: _Option) -> bool:
        """Whether an option and those taken do not need what the other gives up."""
        return self.evicted.isdisjoint(option.sources) and self.sources.isdisjoint(option.segment.evicted)

    def _enough(self, options: Sequence[_Option], peak: int) -> int:
        """The fewest of the first options that lower the peak about as far as all of them."""
        if not options:
            return 0
        least = max(self._after(options))
        if least >= peak:
            return 0
        low, high = 0, len(options)
        while high - low > 1:
            middle = (low + high) // 2
            if max(self._after(options[:middle])) <= least:
                high = middle
            else:
                low = middle
        return high

    def _after(self, options: Iterable[_Option]) -> list[int]:
        change = [0] * len(self.alive)
        for option in options:
            for first, last, size in option.segment.changes:
                change[first] += size
                change[last + 1] -= size
        return list(map(int.__add__, self.alive, accumulate(change)))

    def _best(self, number: int, time: int) -> list[_Option]:
        """What of a step's values to give up over a time: all, or the one that frees most; nothing if that frees nothing."""
        step = self.timeline.steps[number - 1]
        if not isinstance(step, KernelStep) or not isinstance(step.kernel, LoopKernel):
            return []
        held = self.timeline.held
        waiting = [
            value
            for value in self.timeline.by_writer[number]
            if value in self.timeline.candidates and held[value].early < time < held[value].late and value not in self.evicted
        ]
        sets = [waiting, *([value] for value in waiting)] if len(waiting) > 1 else [waiting] * bool(waiting)
        options = [option for values in sets if (option := self._option(number, values, time)) is not None]
        return [max(options, key=lambda option: (option.freed, -option.segment.work))] if options else []

    def _option(self, number: int, values: list[Value], time: int) -> _Option | None:
        held = self.timeline.held
        again = min(held[value].late for value in values)
        cone = self._cone(values)
        if cone is None:
            return None
        sources, work, flops = cone
        changes = [(held[value].early + 1, again - 1, -held[value].size) for value in values]
        kept = [held[value] for value in sources if value in held and held[value].last < again]
        changes += [(source.last + 1, again, source.size) for source in kept]
        freed = -sum(size for first, last, size in changes if first <= time <= last)
        if freed <= 0:
            return None
        high = max(held[value].early for value in values)
        return _Option(Segment(number, high, values, again, changes, freed, work, flops), frozenset(sources), freed)

    def _cone(self, values: Sequence[Value]) -> tuple[set[Value], float, int] | None:
        """What computing values again reads, its seconds and operations; None if that is more than arithmetic."""
        held = self.timeline.held
        sources: set[Value] = set()
        pending, seen = list(values), set(values)
        seconds, flops = sum(held[value].size for value in values) / BYTES_PER_SECOND, 0
        while pending:
            node = pending.pop().node
            if node is None or len(seen) > LONGEST:
                return None
            row = PRIMITIVES[node.op]
            if row.kind not in (ELEMENTWISE, MOVEMENT, REDUCE, NULLARY):
                return None
            elements = _number(product(node.outputs[0].shape if row.kind != REDUCE else node.inputs[0].shape))
            seconds += elements * row.cost / FLOPS_PER_SECOND
            flops += elements * row.flops
            for value in node.inputs:
                if value in seen:
                    continue
                seen.add(value)
                if value.node is None or value in held:
                    sources.add(value)
                    seconds += _number(value.type.bytes) / BYTES_PER_SECOND
                else:
                    pending.append(value)
        return sources, seconds, flops


def _number(size: object) -> int:
    return size if isinstance(size, int) else 0
