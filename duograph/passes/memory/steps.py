"""A scheduled program step by step: when values are written and read, segments of steps, and the graph written anew in
the order of its steps with segments computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from duograph.ir.effects import calls_host, commits, is_parted
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import makes, mentions
from duograph.ir.primitives import CONTROL, EFFECT, LATE, NULLARY, ORDERED, PRIMITIVES

from ..fusion.groups import Buffer
from ..fusion.schedule import CondStep, HostStep, KernelStep, RandomStep, Schedule, Step, WhileStep, touched
from .plan_memory import Plan, aligned, most, results_bytes

BYTES_PER_SECOND = 1e10  # what reading and writing costs beside operations, roughly
FLOPS_PER_SECOND = 1e11
SHORTEST_GAP = 3  # steps for which a value lies unused before computing it again may help


def without_reads_of_writes(graph: Graph) -> Graph:
    """Who reads what an assignment returned reads the assigned value; the assignments come last."""
    values: dict[Value, Value] = {}
    nodes: list[Node] = []
    writes: list[Node] = []
    changed = False
    for node in graph.nodes:
        inputs = tuple(values.get(value, value) for value in node.inputs)
        made = node if inputs == node.inputs or node.op == "assign" else node.with_inputs(inputs)
        changed = changed or made is not node
        if node.op == "assign":
            writes.append(node.with_inputs((node.inputs[0], inputs[1])))
            values.update((output, inputs[1]) for output in node.outputs)
            continue
        values.update(zip(node.outputs, made.outputs) if made is not node else ())
        nodes.append(made)
    if not writes:
        return graph
    returned = {old: new for node, made in zip(_assigns(graph), writes) for old, new in zip(node.outputs, made.outputs)}
    outputs = tuple(returned.get(value) or values.get(value, value) for value in graph.outputs)
    return graph.replace(nodes=(*nodes, *writes), outputs=outputs)


def can_be_segmented(graph: Graph) -> bool:
    """Whether the graph can be written anew step by step. With calls into Python, these, writes and random keys keep their
    order: no write may be read or follow another one, and branches and loops without calls are not moved.
    """
    if not is_parted(graph):
        return True
    writes = _assigns(graph)
    read = {value for node in graph.nodes for value in node.inputs}
    control = [node for node in graph.nodes if PRIMITIVES[node.op].kind in (CONTROL, LATE)]
    return (
        all(calls_host(node) and not commits(node) for node in control)
        and len({node.inputs[0] for node in writes}) == len(writes)
        and not any(value in read for node in writes for value in node.outputs)
    )


def _calls(step: Step) -> bool:
    """Whether a step calls into Python."""
    if isinstance(step, CondStep):
        return any(map(_calls, (*step.then, *step.otherwise)))
    if isinstance(step, WhileStep):
        return any(map(_calls, (*step.condition, *step.body)))
    return isinstance(step, HostStep)


def _assigns(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op == "assign"]


@dataclass
class Held:
    """A value in memory: bytes, the step that writes it, those that read it; `early` is the last before the longest gap."""

    size: int
    writer: int
    uses: list[int] = field(default_factory=list)
    early: int = 0
    late: int = 0
    buffers: int = 1
    writers: int = 1

    @property
    def last(self) -> int:
        return self.uses[-1] if self.uses else self.writer


@dataclass
class Segment:
    """Steps low+1 … high whose values are computed again before step `again`.

    changes  (first step, last step, bytes): what that does to the bytes alive
    saved    bytes times steps
    work     seconds, roughly; `flops` counts floating-point operations
    """

    low: int
    high: int
    evicted: list[Value]
    again: int
    changes: list[tuple[int, int, int]]
    saved: int
    work: float
    flops: int


class Timeline:
    """When the values of a scheduled graph are written and read. Steps count from 1."""

    def __init__(self, graph: Graph, schedule: Schedule, plan: Plan) -> None:
        self.graph = graph
        self.steps = schedule.steps
        self.length = len(schedule.steps)
        self.nodes = {node: i for i, node in enumerate(graph.nodes)}
        self.roots: list[list[Value]] = []
        self.loads: list[set[Value]] = []
        self.held: dict[Value, Held] = {}
        self._assigned = {node.inputs[0]: node.inputs[1] for node in graph.nodes if node.op == "assign"}
        self._read()
        self.candidates = {value: held for value, held in self.held.items() if self._is_candidate(value, held)}
        for held in self.held.values():
            _split(held)
        self.candidates = {v: h for v, h in self.candidates.items() if h.late - h.early >= SHORTEST_GAP}
        for value, held in self.held.items():
            if value not in self.candidates:
                held.early = held.last
        self.results = most(results_bytes(plan))
        self.alive = self._alive()
        self.crossing = self._crossing()
        self.by_writer: list[list[Value]] = [[] for _ in range(self.length + 2)]
        for value, held in self.held.items():
            self.by_writer[held.writer].append(value)

    def _value(self, buffer: Buffer) -> Value | None:
        """The value of this graph that a buffer holds."""
        value = buffer.value
        if buffer.kind == "output":
            value = self.graph.outputs[buffer.index]
        elif buffer.kind == "input":
            value = self._assigned.get(self.graph.inputs[buffer.index])
        return value if value is not None and value.node in self.nodes else None

    def _read(self) -> None:
        buffers: dict[Value, set[Buffer]] = {}
        for time, step in enumerate(self.steps, 1):
            written, read = _written_and_read(step)
            roots: dict[Value, None] = {}
            loads: set[Value] = set()
            for buffer in written:
                value = self._value(buffer)
                if value is not None:
                    self._write(value, buffer, time, buffers)
                    roots[value] = None
            for buffer in read:
                value = self._value(buffer)
                # What a kernel reads of an input that it writes itself is the value of before.
                if value is not None and value not in roots and buffer in buffers.get(value, ()):
                    self.held[value].uses.append(time)
                    loads.add(value)
            # What a loop carries is written first by whoever computes its initial value: loops come when they are read.
            self.roots.append([value for value in roots if value.node is None or not value.node.regions])
            self.loads.append(loads)
        self._temporary = {value for value, kept in buffers.items() if all(b.kind == "temp" for b in kept)}

    def _write(self, value: Value, buffer: Buffer, time: int, buffers: dict[Value, set[Buffer]]) -> None:
        held = self.held.get(value)
        if held is None:
            self.held[value] = Held(0 if buffer.kind == "input" else most(aligned(buffer.bytes)), time)
            buffers[value] = {buffer}
            return
        held.uses.append(time)
        held.writers += 1
        buffers[value].add(buffer)
        held.buffers = len(buffers[value])

    def _is_candidate(self, value: Value, held: Held) -> bool:
        return held.buffers == held.writers == 1 and value in self._temporary and self.can_repeat(value) and bool(held.uses)

    @staticmethod
    def can_repeat(value: Value) -> bool:
        """Whether a value's node may be computed twice."""
        return value.node is not None and not _is_once(value.node)

    def _alive(self) -> list[int]:
        """Bytes alive at each step, results from their first write on."""
        change = [0] * (self.length + 3)
        for value, held in self.held.items():
            change[held.writer] += held.size
            change[(held.last if value in self._temporary else self.length) + 1] -= held.size
        return list(accumulate(change))

    def _crossing(self) -> list[int]:
        """For each step the bytes that steps behind it read before their longest gap."""
        change = [0] * (self.length + 3)
        for held in self.held.values():
            if held.early > held.writer:
                change[held.writer] += held.size
                change[held.early] -= held.size
        return list(accumulate(change))

    def cut(self, limit: int) -> list[Segment]:
        """Segments that hold about `limit` bytes each, cut where little crosses."""
        segments: list[Segment] = []
        low = since = 0
        best: tuple[int, int] | None = None
        for time in range(1, self.length + 1):
            since += sum(self.candidates[value].size for value in self.by_writer[time] if value in self.candidates)
            if 2 * since >= limit and (best is None or self.crossing[time] <= best[0]):
                best = (self.crossing[time], time)
            if since >= limit and best is not None:
                segments += self._segment(low, best[1])
                low, best = best[1], None
                since = sum(
                    self.candidates[value].size
                    for t in range(low + 1, time + 1)
                    for value in self.by_writer[t]
                    if value in self.candidates
                )
        segments += self._segment(low, self.length)
        return segments

    def _segment(self, low: int, high: int) -> list[Segment]:
        """The segment of the steps behind `low` up to `high`, if computing it again can help."""
        inside = [value for time in range(low + 1, high + 1) for value in self.by_writer[time]]
        evicted = [v for v in inside if v in self.candidates and self.held[v].early <= high]
        again = min((self.held[value].late for value in evicted), default=0)
        evicted = [value for value in evicted if again - self.held[value].early >= SHORTEST_GAP]
        if not evicted:
            return []
        again = min(self.held[value].late for value in evicted)
        changes = []
        saved = 0
        for value in evicted:
            held = self.held[value]
            changes.append((held.early + 1, again - 1, -held.size))
            saved += held.size * (again - 1 - held.early)
        needed, seconds, flops = self._needed(low, high, set(evicted), again)
        passing: dict[int, int] = {}
        for value in needed:
            held = self.held[value]
            if held.writer > low and value not in evicted:  # computed again on the way
                passing[held.writer] = passing.get(held.writer, 0) + held.size
                passing[held.last + 1] = passing.get(held.last + 1, 0) - held.size
            elif held.writer <= low and held.last < again:
                changes.append((held.last + 1, again, held.size))
        alive = accumulate(change for _, change in sorted(passing.items()))
        changes.append((again, again, max(alive, default=0)))
        return [Segment(low, high, evicted, again, changes, saved, seconds, flops)]

    def _needed(self, low: int, high: int, evicted: set[Value], again: int) -> tuple[set[Value], float, int]:
        """What computing values again reads or computes, how long that takes and its floating-point operations."""
        needed = set(evicted)
        seconds, flops = 0.0, 0
        for time in range(high, low, -1):
            if not any(value in needed and self.is_repeated(value, low, high, again) for value in self.roots[time - 1]):
                continue
            step = self.steps[time - 1]
            needed |= self.loads[time - 1]
            if isinstance(step, KernelStep):
                flops += most(step.flops)
                seconds += most(step.flops) / FLOPS_PER_SECOND + most(step.bytes) / BYTES_PER_SECOND
        return needed, seconds, flops

    def is_repeated(self, value: Value, low: int, high: int, again: int) -> bool:
        """Whether computing a segment again computes this value again: it was written there and is gone by then."""
        held = self.held[value]
        if not low < held.writer <= high or value not in self._temporary or not self.can_repeat(value):
            return False
        return held.early <= high if value in self.candidates else held.last < again


def _is_once(node: Node) -> bool:
    """Whether a program has a node once, whoever uses it: constants, loops and branches, effects, sizes known late."""
    return node.op == "random_key" or PRIMITIVES[node.op].kind in (CONTROL, EFFECT, LATE, NULLARY)


def _split(held: Held) -> None:
    """Find the longest time between two uses."""
    before = held.writer
    longest = -1
    for use in held.uses:
        if use - before > longest:
            longest, held.early, held.late = use - before, before, use
        before = use


def _written_and_read(step: Step) -> tuple[list[Buffer], list[Buffer]]:
    """The buffers a step writes and those it reads; of branches and loops all count as both."""
    if isinstance(step, KernelStep):
        written = [buffer.owner for buffer in step.writes]
        roles = zip(step.buffers, step.kernel.operands)
        return written, [buffer.owner for buffer, operand in roles if operand.role != "out"]
    if isinstance(step, RandomStep):
        return [step.buffer.owner], []
    if isinstance(step, HostStep):
        return [buffer.owner for buffer in step.results], [buffer.owner for buffer in step.operands]
    both = list(dict.fromkeys(buffer for buffer in touched((step,)) if buffer.kind != "input"))  # they never write inputs
    return both, both


class Emitter:
    """Writes the graph anew in the order of its steps: each node once for every step that computes it."""

    def __init__(self, timeline: Timeline, segments: Sequence[Segment]) -> None:
        self.timeline = timeline
        self.segments = segments
        self.nodes: list[Node] = []
        self.taken: set[Node] = set()
        self.made: dict[Value, Value] = {}  # values in memory, and constants
        self.again: dict[Value, Value] = {}  # those computed again
        self.evicted = {value for segment in segments for value in segment.evicted}
        self.late: dict[Value, int] = {}
        self.makers = {symbol: node for node in timeline.graph.nodes for symbol in makes(node)}
        parted = is_parted(timeline.graph)  # then calls, writes and random keys keep their order
        kept = [node for node in timeline.graph.nodes if node.op in ORDERED or calls_host(node)] if parted else []
        self.ordered = kept
        self.calls = iter([node for node in kept if calls_host(node)])  # one step each, in this order
        self.next = 0

    def _in_order(self, last: Node | None, time: int) -> None:
        """Emit calls, writes and random keys up to one of them, or all that are left."""
        while self.next < len(self.ordered) and (last is None or last not in self.taken):
            node = self.ordered[self.next]
            self.next += 1
            if node in self.taken:
                continue
            local: dict[Value, Value] = {}
            self._compute(node.inputs, local, time, frozenset(), set())
            inputs = tuple(self._seen(value, local, time, frozenset(), set()) or value for value in node.inputs)
            self._emit(node, self.made, inputs)

    def run(self) -> tuple[Graph, dict[Value, int]]:
        """The new graph, and for the values computed again the number of their segment, from 1."""
        graph = self.timeline.graph
        for node in graph.nodes if not self.ordered else ():
            if node.op == "random_key":
                self._emit(node, self.made)
        waiting = list(reversed(self.segments))
        for time, step in enumerate(self.timeline.steps, 1):
            while waiting and waiting[-1].again == time:
                self._repeat(waiting.pop(), len(self.segments) - len(waiting))
            self._step(time, step)
        local: dict[Value, Value] = {}
        end = self.timeline.length + 1
        self._in_order(None, end)
        outputs = [value for value in graph.outputs if value.node is None or value.node.op != "assign"]
        self._compute([*outputs, *(node.inputs[1] for node in _assigns(graph))], local, end, frozenset(), set())

        def final(value: Value) -> Value:
            return self._seen(value, local, end, frozenset(), set()) or value

        for node in _assigns(graph) if not self.ordered else ():
            made = node.with_inputs((node.inputs[0], final(node.inputs[1])))
            self.nodes.append(made)
            local.update(zip(node.outputs, made.outputs))
        results = tuple(map(final, graph.outputs))
        return graph.replace(nodes=tuple(self.nodes), outputs=results), self.late

    def _step(self, time: int, step: Step) -> None:
        if self.ordered and _calls(step):
            self._in_order(next(self.calls), time)
            return
        nodes = frozenset(step.nodes) if isinstance(step, KernelStep) else frozenset()
        loads = self.timeline.loads[time - 1]
        local: dict[Value, Value] = {}
        roots = [value for value in self.timeline.roots[time - 1] if value not in self.made]
        self._compute(roots, local, time, nodes, loads)
        self.made.update((value, local[value]) for value in roots if value in local)

    def _seen(
        self, value: Value, local: Mapping[Value, Value], time: int, nodes: frozenset[Node], loads: set[Value]
    ) -> Value | None:
        """What a value is in the new graph for a step; None if the step has yet to compute it."""
        if value.node is None:
            return value
        if value in local:
            return local[value]
        if value in self.evicted and time > self.timeline.held[value].early and value in self.again:
            return self.again[value]
        if value in self.made and (value in loads or value.node not in nodes or _is_once(value.node)):
            return self.made[value]
        return None

    def _compute(
        self, roots: Sequence[Value], local: dict[Value, Value], time: int, nodes: frozenset[Node], loads: set[Value]
    ) -> None:
        """Emit what a step computes."""

        def seen(value: Value) -> Value | None:
            return self._seen(value, local, time, nodes, loads)

        for node in self._missing(roots, seen):
            self._emit(node, local, tuple(seen(value) or value for value in node.inputs))

    def _missing(self, roots: Sequence[Value], seen: object) -> Iterator[Node]:
        """The nodes that compute the roots from what is seen, and make the sizes they speak of, in the graph's order."""
        assert callable(seen)
        pending = [value for value in roots if seen(value) is None]
        found: set[Node] = set()
        while pending:
            node = pending.pop().node
            assert node is not None
            if node not in found:
                found.add(node)
                sizes = [self.makers[s].outputs[0] for s in mentions(node) if s in self.makers] if self.makers else []
                pending += [value for value in (*node.inputs, *sizes) if seen(value) is None]
        yield from sorted(found, key=self.timeline.nodes.__getitem__)

    def _repeat(self, segment: Segment, number: int) -> None:
        """Emit the values of a segment once more."""
        held = self.timeline.held
        local: dict[Value, Value] = {}
        evicted = set(segment.evicted)

        def seen(value: Value) -> Value | None:
            if value.node is None:
                return value
            if value in local:
                return local[value]
            if value not in self.made or value in evicted:
                return None
            known = held.get(value)
            if known is None:
                return self.made[value]
            if self.timeline.is_repeated(value, segment.low, segment.high, segment.again):
                return None
            return self.again.get(value) or self.made[value]

        start = len(self.nodes)
        for node in self._missing(segment.evicted, seen):
            self._emit(node, local, tuple(seen(value) or value for value in node.inputs))
        self.again.update((value, local[value]) for value in segment.evicted)
        self.late.update((value, number) for node in self.nodes[start:] for value in node.outputs)

    def _emit(self, node: Node, local: dict[Value, Value], inputs: tuple[Value, ...] = ()) -> None:
        made = node if inputs == node.inputs and node not in self.taken else node.with_inputs(inputs)
        self.taken.add(node)
        self.nodes.append(made)
        target = self.made if _is_once(node) else local
        target.update(zip(node.outputs, made.outputs))
