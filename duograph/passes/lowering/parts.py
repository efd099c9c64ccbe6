"""Programs that call into Python run in parts: whatever such a call could see of the program is done when it is made.

Calls, and branches and loops that make some, are *borders*. Writes to inputs, random keys and what can fail stay on
their side of a border; everything else is computed as late as its first use allows. A value that crosses a border is kept
in memory, an input that is read after it was written is copied in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from duograph.ir.dim import contiguous_strides
from duograph.ir.effects import calls_host, commits
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import CONTROL, EFFECT, LATE, MOVEMENT, NULLARY, PRIMITIVES

from ..fusion.groups import Buffer, Placement, Target
from ..fusion.schedule import HostStep, Schedule, Step
from ..rewriting.hoist import may_fail

Wanted: TypeAlias = "list[tuple[Value, Target]]"
Scheduler: TypeAlias = "Callable[[Graph, dict[Value, Placement], Wanted], tuple[Step, ...]]"
_VIEWS = frozenset({"broadcast", "reshape", "permute", "slice", "flip"})


def parted_steps(
    graph: Graph, placements: Mapping[Value, Placement], targets: Sequence[tuple[Value, Target]], plan: Schedule, run: Scheduler
) -> tuple[Step, ...]:
    """The steps of a graph that calls into Python; `run` schedules the nodes of one part."""
    return _Parts(graph, placements, targets, plan, run).steps()


class _Parts:
    """Even parts lie between borders, odd ones are borders. What is computed again in each part belongs to none."""

    def __init__(
        self,
        graph: Graph,
        placements: Mapping[Value, Placement],
        targets: Sequence[tuple[Value, Target]],
        plan: Schedule,
        run: Scheduler,
    ) -> None:
        self.graph = graph
        self.given = placements
        self.plan = plan
        self.run = run
        self.order = {node: i for i, node in enumerate(graph.nodes)}
        self.borders = [node for node in graph.nodes if calls_host(node)]
        self.count = 2 * len(self.borders) + 1
        self.home: dict[Value, int] = {}
        self.last_use: dict[Value, int] = {}
        self.first_use: dict[Value, int] = {}
        self.nodes: list[list[Node]] = [[] for _ in range(self.count)]
        self.writes: list[list[tuple[Value, Value]]] = [[] for _ in range(self.count)]  # (input, what it holds then)
        self.wanted: list[Wanted] = [[] for _ in range(self.count)]
        self.where: dict[Value, Placement] = dict(placements)
        cells = [v for v, argument in zip(graph.inputs, graph.arguments) if argument.kind == "cell"]
        self.held: dict[Value, Value | None] = {cell: cell for cell in cells}  # what written inputs hold; None: unknown
        self.operands: dict[Value, Placement] = {}  # of the next call, where they are not in memory as it takes them
        self._distribute(targets)

    def steps(self) -> tuple[Step, ...]:
        found: list[Step] = []
        for part in range(self.count):
            border = self.borders[part // 2] if part % 2 else None
            found += [self._call(border)] if border is not None and border.op == "host_call" else self._part(part)
        return tuple(found)

    # ---- which part a node belongs to

    def _distribute(self, targets: Sequence[tuple[Value, Target]]) -> None:
        part = 0
        program: dict[Node, int] = {}
        for node in self.graph.nodes:
            part += 2 * calls_host(node)
            program[node] = part - calls_host(node)
        for value, _ in targets:
            self._use(value, self.count - 1)
        for node in reversed(self.graph.nodes):
            if _is_repeated(node):
                continue
            if node.op == "assign":
                self._use(node.inputs[1], program[node])
                self.writes[program[node]].insert(0, (node.inputs[0], node.inputs[1]))
                continue
            uses = [self.first_use[value] for value in node.outputs if value in self.first_use]
            if not uses and not _is_pinned(node):
                continue
            home = program[node] if _is_pinned(node) else min(uses) & ~1
            self.home.update(dict.fromkeys(node.outputs, home))
            self.nodes[home].insert(0, node)
            for value in node.inputs:
                self._use(value, home)
        for value, target in targets:
            home = self.home.get(value, -1)
            is_result = value.node is not None and value.node.op == "host_call"
            self.wanted[home if target.cell is None and home >= 0 and not is_result else self.count - 1].append((value, target))

    def _use(self, value: Value, part: int) -> None:
        """Note that a part reads a value, or what it is computed from if that is done in each part."""
        while value.node is not None and _is_repeated(value.node):
            if not value.node.inputs:
                return
            value = value.node.inputs[0]
        self.last_use[value] = max(part, self.last_use.get(value, part))
        self.first_use[value] = min(part, self.first_use.get(value, part))

    def _repeated(self, values: Iterable[Value]) -> list[Node]:
        """The nodes that a part computes for itself to get values."""
        found: set[Node] = set()
        pending = list(values)
        while pending:
            node = pending.pop().node
            if node is not None and _is_repeated(node) and node not in found:
                found.add(node)
                pending += node.inputs
        return sorted(found, key=self.order.__getitem__)

    # ---- one part

    def _part(self, part: int) -> tuple[Step, ...]:
        nodes, wanted = self.nodes[part], self.wanted[part]
        computed = {value for node in nodes for value in node.outputs}
        after: dict[Value, Placement] = {}
        targets: Wanted = []
        for cell, value in self.writes[part]:
            self._leaves(cell, part, wanted, after)
            old = self.held[cell]
            targets.append((value, Target(self.given[cell], cell=cell if old is None else old)))
            self.held[cell] = value
            if value in computed:
                after.setdefault(value, self.given[cell])
        following = self.borders[part // 2] if part % 2 == 0 and part + 1 < self.count else None
        if following is not None and following.op != "host_call" and commits(following):
            for cell in self.held:
                self._leaves(cell, part, wanted, after)
                self.held[cell] = None
        for value in computed:
            if self.last_use.get(value, -1) > part and value not in after:
                after[value] = self._keep(value, wanted)
        if following is not None and following.op == "host_call":
            self._ready(following, wanted, after)
        steps = self._run(nodes, computed, [*wanted, *targets])
        self.where.update(after)
        return steps

    def _leaves(self, cell: Value, part: int, wanted: Wanted, after: dict[Value, Placement]) -> None:
        """An input is about to be written: what it holds is copied if it is read behind this part."""
        old = self.held[cell]
        if old is None or self.last_use.get(old, -1) <= part:
            return
        place = after.get(old, self.where.get(old))
        if place is self.given[cell]:
            after[old] = self._keep(old, wanted)

    def _keep(self, value: Value, wanted: Wanted) -> Placement:
        """Let a part leave a value in memory; gives where."""
        for known, target in wanted:
            place = target.placement
            if known is value and target.readable and target.cell is None and place.strides == contiguous_strides(value.shape):
                return place
        place = self._temporary(value)
        wanted.append((value, Target(place)))
        return place

    def _temporary(self, value: Value) -> Placement:
        buffer = Buffer("temp", -1, value.dtype, value.shape, value.name)
        buffer.value = value
        self.plan.buffers.append(buffer)
        return Placement.contiguous(buffer, value.shape)

    def _run(self, nodes: Sequence[Node], computed: set[Value], wanted: Wanted) -> tuple[Step, ...]:
        values = [*(v for node in nodes for v in node.inputs), *(v for v, _ in wanted)]
        repeated = self._repeated(values)
        values += [v for node in repeated for v in node.inputs]
        if not nodes and not wanted:
            return ()
        own = computed.union(*(node.outputs for node in repeated))
        inputs = tuple(dict.fromkeys(v for v in values if v not in own))
        whole = sorted((*repeated, *nodes), key=self.order.__getitem__)
        graph = Graph(inputs, tuple(whole), (), name=self.graph.name)
        cells = [target.cell for _, target in wanted if target.cell is not None]
        places = {value: self.where[value] for value in (*inputs, *cells)}
        return self.run(graph, places, wanted)

    # ---- calls

    def _ready(self, call: Node, wanted: Wanted, after: Mapping[Value, Placement]) -> None:
        """Let the part in front of a call leave its operands in row-major order."""
        for value in call.inputs:
            place = after.get(value, self.where.get(value))
            if place is None or place.strides != contiguous_strides(value.shape):
                place = self._temporary(value)
                wanted.append((value, Target(place)))
            self.operands[value] = place

    def _call(self, node: Node) -> Step:
        operands = tuple(_as_buffer(self.operands[value], value) for value in node.inputs)
        self.operands = {}
        results = []
        for value in node.outputs[: node.attrs["results"]]:
            self.where[value] = self._temporary(value)
            results.append(_as_buffer(self.where[value], value))
        return HostStep(node.attrs["number"], operands, tuple(results))


def _as_buffer(place: Placement, value: Value) -> Buffer:
    """The memory of a value as a buffer of its shape."""
    buffer = place.buffer.view(place.offset)
    if buffer.shape == value.shape:
        return buffer
    made = Buffer(buffer.kind, buffer.index, value.dtype, value.shape, buffer.name)
    made.base, made.offset = buffer.owner, buffer.offset
    return made


def _is_repeated(node: Node) -> bool:
    """Whether each part that uses a node computes it for itself."""
    return PRIMITIVES[node.op].kind == NULLARY or (PRIMITIVES[node.op].kind == MOVEMENT and node.op in _VIEWS)


def _is_pinned(node: Node) -> bool:
    """Whether a node stays on its side of borders."""
    return PRIMITIVES[node.op].kind in (CONTROL, EFFECT, LATE) or node.op == "random_key" or may_fail(node)
