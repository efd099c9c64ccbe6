"""segment_loops: of a loop whose gradient's loop follows, only the rows of the last turns are kept; those of earlier turns
are computed again, segment by segment, when the gradient's loop has come that far.

The loop is cut into segments of turns. Each but the last runs without keeping rows; before the gradient's loop needs
them, the segment runs once more, now with rows, from the values it started with. Rows of different segments are not
alive together, so they share memory. The same operations make the same bits.

    for t < n: h = f(h); keep h             for t < m: h = f(h)                  the values at turn m
    for t < n: g = f'(g, kept[n-1-t])  →    for m <= t < n: h = f(h); keep h
                                            for t < n-m: g = f'(g, kept[n-1-t-m])
                                            for t < m: h = f(h); keep h          once more
                                            for n-m <= t < n: g = f'(g, kept[n-1-t])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from duograph.ir.builder import rename
from duograph.ir.dim import product
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbols
from duograph.ir.primitives import MOVEMENT, NULLARY, PRIMITIVES, REDUCE, has_effect
from duograph.ir.types import TensorType

from .rewrite import scalar_constant
from .share_rows import shared
from .turns import Counter

LEAST_BYTES = 1 << 18  # rows of fewer bytes are left alone: they stay in the cache
MORE_WORK = 0.18  # of the operations of loop and gradient, by default


class Pair(NamedTuple):
    """A loop of a known number of turns and the loop that reads its rows, last one first; operations of one turn of each."""

    loop: Node
    reader: Node
    turns: int
    counter: int  # positions of the counters among the carried values
    reader_counter: int
    row_bytes: int
    work: int
    reader_work: int


Cut = Callable[[Pair], Sequence[int]]


def by_default(pair: Pair) -> Sequence[int]:
    """Where a loop is cut without a memory budget: so that little more is computed, and much less is kept."""
    allowed = MORE_WORK * (pair.work + pair.reader_work) / max(pair.work, 1)
    middle = int(pair.turns * min(allowed, 0.5))
    return [middle] if middle and pair.turns * pair.row_bytes >= LEAST_BYTES else []


def in_parts(number: int, of: int = 0) -> Cut:
    """Cuts a loop into that many equal segments; with `of`, the first one holds `number` of so many parts of the turns."""
    if of:
        return lambda pair: [pair.turns * number // of]
    return lambda pair: [pair.turns * i // number for i in range(1, number)]


def nowhere(pair: Pair) -> Sequence[int]:
    """Leaves a loop whole."""
    return []


def segment_loops(graph: Graph, cut: Cut = by_default) -> Graph:
    """The graph with loops cut at the turns that `cut` says, bit for bit the same."""
    for pair, borders in _cuts(graph, cut):
        graph = _Segments(pair, [0, *borders, pair.turns]).write(graph)
    return graph


class Cost(NamedTuple):
    """What cutting loops costs: turns computed again and their operations; bytes of rows that are not kept."""

    turns: int
    bytes: int
    operations: int


def cost(graph: Graph, cut: Cut = by_default) -> Cost:
    """What cutting the loops of a graph costs."""
    turns = size = operations = 0
    for pair, borders in _cuts(graph, cut):
        rows = max(high - low for low, high in pairwise([0, *borders, pair.turns]))
        turns += borders[-1]
        size += (pair.turns - rows) * pair.row_bytes
        operations += borders[-1] * pair.work
    return Cost(turns, size, operations)


def _cuts(graph: Graph, cut: Cut) -> list[tuple[Pair, list[int]]]:
    """The loops to cut and where."""
    if sum(node.op == "while_loop" for node in graph.nodes) < 2:
        return []
    found = [(pair, sorted({turn for turn in cut(pair) if 0 < turn < pair.turns})) for pair in _pairs(graph, Counter(graph))]
    return [(pair, borders) for pair, borders in found if borders]


# Which loops


def _pairs(graph: Graph, counts: Counter) -> list[Pair]:
    users = graph.users()
    pairs: list[Pair] = []
    taken: set[Node] = set()
    for loop, (turns, counter, start) in counts.loops.items():
        if not isinstance(turns, int) or turns < 1 or start != 0:
            continue
        stacks = loop.outputs[loop.attrs["carried"] :]
        readers = {user for value in stacks for user in users.get(value, ())}
        if not stacks or len(readers) != 1 or any(value in graph.outputs for value in stacks):
            continue
        (reader,) = readers
        found = counts.loops.get(reader)
        if found is None or found[::2] != (turns, 0) or reader.attrs.get("stacked") or taken & {loop, reader}:
            continue
        if not _is_pure(loop) or not all(_reads_backwards(reader, value, counts) for value in stacks):
            continue
        spared = {pair.before for pair in shared(loop)}
        bytes = sum(_number(value.type.bytes) for value in stacks if value not in spared) // turns
        work = [sum(map(_work, node.regions[1].nodes)) for node in (loop, reader)]
        pairs.append(Pair(loop, reader, turns, counter, found[1], bytes, *work))
        taken |= {loop, reader}
    return pairs


def _is_pure(loop: Node) -> bool:
    """Whether a loop may run twice, with rows and carried values that mean the same both times."""
    return not any(has_effect(node.op) or node.op == "box" for region in loop.regions for node in region.walk()) and not any(
        late_symbols(region) for region in loop.regions
    )


def _reads_backwards(reader: Node, stack: Value, counts: Counter) -> bool:
    """Whether turn k of a loop reads row n - 1 - k of the stack, and nothing else."""
    carried = reader.attrs["carried"]
    turns, counter, _ = counts.loops[reader]
    assert isinstance(turns, int)
    test, body = reader.regions
    for i in (i for i, value in enumerate(reader.inputs) if value is stack):
        inner = body.inputs[i]
        reads = body.users().get(inner, [])
        if i < carried or test.users().get(test.inputs[i]) or inner in body.outputs:
            return False
        for node in reads:
            if node.op != "row" or node.inputs[1] is inner:
                return False
            if _linear(node.inputs[1], reader, counter, counts) != (-1, turns - 1):
                return False
    return True


def _linear(value: Value, loop: Node, counter: int, counts: Counter) -> tuple[int, int] | None:
    """(a, b) if a value of a loop's body is a times the turn's number plus b."""
    body = loop.regions[1]
    if value.node is None:
        at = body.inputs.index(value)
        if at == counter:
            return 1, 0
        known = counts.number(loop.inputs[at]) if at >= loop.attrs["carried"] else None
        return (0, known) if isinstance(known, int) else None
    number = scalar_constant(value)
    if type(number) is int:
        return 0, number
    if value.node.op == "cast" and value.dtype.kind in "iu":
        return _linear(value.node.inputs[0], loop, counter, counts)
    if value.node.op not in ("add", "sub"):
        return None
    left, right = (_linear(operand, loop, counter, counts) for operand in value.node.inputs)
    sign = 1 if value.node.op == "add" else -1
    return None if left is None or right is None else (left[0] + sign * right[0], left[1] + sign * right[1])


def _work(node: Node) -> int:
    """Roughly the operations of a node; those of a loop inside for one turn."""
    if node.regions:
        return sum(_work(inner) for region in node.regions for inner in region.nodes)
    row = PRIMITIVES[node.op]
    elements = _number(product(node.outputs[0].shape))
    if node.op == "contraction":
        letters = dict(zip(node.attrs["a"] + node.attrs["b"], (*node.inputs[0].shape, *node.inputs[1].shape)))
        return 2 * elements * _number(product([size for name, size in letters.items() if name not in node.attrs["out"]]))
    if row.kind == REDUCE:
        elements = _number(node.inputs[0].type.size)
    return 0 if row.kind in (NULLARY, MOVEMENT) else row.cost * elements


def _number(size: object) -> int:
    """A size; one that only the run knows counts as 1."""
    return size if isinstance(size, int) else 1


# Writing them


class _Segments:
    """A pair of loops cut at `borders`, which begin with 0 and end with the number of turns."""

    def __init__(self, pair: Pair, borders: Sequence[int]) -> None:
        self.pair = pair
        self.segments = list(pairwise(borders))
        self.starts: list[tuple[Value, ...]] = []  # carried values at the start of each segment
        self.last: Node | None = None
        self.values: dict[Value, Value] = {}
        self.nodes: list[Node] = []

    def write(self, graph: Graph) -> Graph:
        for node in graph.nodes:
            ((made,), _) = rename(Graph((), (node,), ()), self.values)
            if node is self.pair.loop:
                self._forward(made)
            elif node is self.pair.reader:
                self._backward(made)
            else:
                self.nodes.append(made)
                if made is not node:
                    self.values.update(zip(node.outputs, made.outputs))
        return graph.replace(nodes=tuple(self.nodes), outputs=tuple(self.values.get(v, v) for v in graph.outputs))

    def _forward(self, loop: Node) -> None:
        """The segments of the loop, of which only the last keeps rows."""
        self.loop = loop
        carried = loop.attrs["carried"]
        self.starts = [loop.inputs[:carried]]
        for _, high in self.segments[:-1]:
            made = self._segment(loop, self.starts[-1], self.pair.counter, high)
            self.starts.append(made.outputs)
        low, high = self.segments[-1]
        self.last = self._segment(loop, self.starts[-1], self.pair.counter, None, high - low)
        self.values.update(zip(self.pair.loop.outputs[:carried], self.last.outputs))

    def _backward(self, reader: Node) -> None:
        """The segments of the gradient's loop, last rows first, each after what makes its rows."""
        carried = reader.attrs["carried"]
        values = reader.inputs[:carried]
        rows = self.last
        assert rows is not None
        for number in reversed(range(len(self.segments))):
            low, high = self.segments[number]
            if number < len(self.segments) - 1:
                rows = self._segment(self.loop, self.starts[number], self.pair.counter, high, high - low)
            stacks = dict(
                zip(self.pair.loop.outputs[self.pair.loop.attrs["carried"] :], rows.outputs[self.loop.attrs["carried"] :])
            )
            reading = self._reading(reader, stacks, low)
            values = self._segment(reading, values, self.pair.reader_counter, self.pair.turns - low if low else None).outputs
        self.values.update(zip(self.pair.reader.outputs, values))

    def _segment(self, loop: Node, start: Sequence[Value], counter: int, end: int | None, rows: int = 0) -> Node:
        """The turns of a loop from carried values up to a turn; keeps rows if there is a number of them."""
        test, body = loop.regions
        carried = loop.attrs["carried"]
        attrs = {key: value for key, value in loop.attrs.items() if key not in ("stacked", "trips")}
        types = [value.type for value in loop.outputs[:carried]]
        if rows:
            attrs.update(stacked=loop.attrs["stacked"], trips=rows)
            types += [TensorType(row.dtype, (rows, *row.shape[1:])) for row in loop.outputs[carried:]]
        else:
            body = body.replace(outputs=body.outputs[:carried])
        if end is not None:
            count = test.inputs[counter]
            limit = Node("constant", (), {"value": end}, (count.type,), (), loop.location, loop.scope)
            less = Node("lt", (count, limit.output), {}, (test.outputs[0].type,), (), loop.location, loop.scope)
            test = test.replace(nodes=(limit, less), outputs=less.outputs)
        made = Node(loop.op, (*start, *loop.inputs[carried:]), attrs, tuple(types), (test, body), loop.location, loop.scope)
        for new, old in zip(made.outputs, loop.outputs):
            new.name = old.name
        self.nodes.append(made)
        return made

    def _reading(self, reader: Node, stacks: Mapping[Value, Value], low: int) -> Node:
        """The gradient's loop on the rows of one segment, the first of which is row `low`."""
        old = self.pair.reader
        inputs = tuple(stacks.get(before, value) for before, value in zip(old.inputs, reader.inputs))
        test, body = reader.regions
        replaced = [i for i, value in enumerate(old.inputs) if value in stacks]
        regions = []
        for region in (test, body):
            fresh = list(region.inputs)
            for i in replaced:
                fresh[i] = Value(inputs[i].type, None, i, region.inputs[i].name)
            values = {region.inputs[i]: fresh[i] for i in replaced}
            nodes: list[Node] = []
            for node in region.nodes:
                local = node.op == "row" and node.inputs[0] in values and low
                ((made,), _) = rename(Graph((), (node,), ()), values)
                if local:
                    offset = Node("constant", (), {"value": low}, (made.inputs[1].type,), (), node.location, node.scope)
                    index = Node(
                        "sub", (made.inputs[1], offset.output), {}, (made.inputs[1].type,), (), node.location, node.scope
                    )
                    made = made.with_inputs((made.inputs[0], index.output))
                    values.update(zip(node.outputs, made.outputs))
                    nodes += [offset, index]
                nodes.append(made)
            outputs = tuple(values.get(value, value) for value in region.outputs)
            regions.append(Graph(tuple(fresh), tuple(nodes), outputs, name=region.name))
        return Node(
            reader.op, inputs, reader.attrs, tuple(v.type for v in reader.outputs), tuple(regions), reader.location, reader.scope
        )
