"""Batching branches and loops: where examples differ, both sides run and `where` chooses, and a loop runs while any example does.

Under a *mask* (one bool per example) an example that is not meant has values nobody reads. What could fail for it, an
index or a division by zero, gets harmless operands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from duograph import _core as core
from duograph.ir.builder import close_regions
from duograph.ir.dim import Dim
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol, mentions
from duograph.ir.primitives import ELEMENTWISE, PRIMITIVES, RANDOM
from duograph.ir.types import TensorType

if TYPE_CHECKING:
    from .batching import Batching

_SAFE = frozenset({"row", "while_loop", "cond", "broadcast", "constant"})  # what may touch rows of loops of unlike lengths
_INDEXED = frozenset({"gather", "take", "row", "scatter", "scatter_add", "scatter_reduce", "take_add", "take_put", "row_update"})


class Dependence:
    """Which values depend on the example.

    Args:
        known: those of the graph around.
        different: whether random numbers do.
    """

    def __init__(self, known: set[Value], different: bool) -> None:
        self.known = known
        self.different = different
        self.found: set[Value] = set()

    def on(self, value: Value) -> bool:
        """Whether the value is known to depend on it."""
        return value in self.found or value in self.known

    def through(self, graph: Graph, flags: Iterable[bool], masked: bool) -> list[bool]:
        """Of each result of a region whether it does, if these inputs do."""
        self.found.update(v for v, on in zip(graph.inputs, flags) if on)
        self.nodes(graph.nodes, masked)
        return [self.on(v) for v in graph.outputs]

    def nodes(self, nodes: Iterable[Node], masked: bool) -> None:
        """Go through nodes in order."""
        for node in nodes:
            self.found.update(v for v, on in zip(node.outputs, self.results(node, masked)) if on)

    def results(self, node: Node, masked: bool) -> list[bool]:
        """Of each result of a node whether it does."""
        flags = [self.on(v) for v in node.inputs]
        if node.op == "cond":
            return self.branch(node, flags, masked)
        if node.op == "while_loop":
            _, carried, rows = self.loop(node, flags, masked)
            return [*carried, *rows]
        if node.op not in PRIMITIVES:
            self.nodes(node.regions[0].nodes, masked)
            return [self.on(v) for v in node.regions[0].outputs]
        if PRIMITIVES[node.op].kind == RANDOM and node.op != "random_key":
            return [self.different] * len(node.outputs)
        return [any(flags)] * len(node.outputs)

    def branch(self, node: Node, flags: Sequence[bool], masked: bool) -> list[bool]:
        """As `results`, of a branch."""
        sides = [self.through(region, flags[1:], masked or flags[0]) for region in node.regions]
        return [flags[0] or a or b for a, b in zip(*sides)]

    def loop(self, node: Node, flags: Sequence[bool], masked: bool) -> tuple[bool, list[bool], list[bool]]:
        """Whether examples make unlike numbers of turns, and which carried values and rows depend on the example."""
        count, (test, body) = node.attrs["carried"], node.regions
        given = list(flags)
        while True:
            steered = self.through(test, given, masked)[0] or (masked and not counts(node))
            after = self.through(body, given, masked or steered)
            carried = [steered or a or b for a, b in zip(given[:count], after)]
            if carried == given[:count]:
                return steered, carried, after[count:]
            given[:count] = carried


def counts(node: Node) -> bool:
    """Whether a loop's test does nothing but compare a counter with a number that no turn changes: it ends by itself."""
    test = node.regions[0]
    less, last = test.outputs[0].node, test.inputs[node.attrs["carried"] :]
    return less is not None and less.op == "lt" and len(test.nodes) == 1 and less.inputs[1] in last


def control(to: Batching, node: Node, inputs: list[Value]) -> None:
    """A branch or a loop."""
    flags = [value in to.batched for value in node.inputs]
    dependence = Dependence(to.batched, to.randomness == "different")
    masked = to.mask is not None
    if not any(dependence.results(node, masked)):
        made = to.builder.emit(node.op, inputs, node.attrs, [v.type for v in node.outputs], node.regions)
        to.values.update(zip(node.outputs, made))
    elif node.op == "while_loop":
        _Loop(to, node, inputs, *dependence.loop(node, flags, masked)).emit()
    elif flags[0]:
        _both_sides(to, node, inputs, flags)
    else:
        _one_side(to, node, inputs, flags, dependence.branch(node, flags, masked))


def _one_side(to: Batching, node: Node, inputs: list[Value], flags: list[bool], wanted: list[bool]) -> None:
    """All examples take the same side."""
    graphs = []
    for side in node.regions:
        with to.builder.region([]) as region:
            region.outputs = _inline(to, side, inputs[1:], flags[1:], wanted)
        graphs.append(region.graph)
    closed, outer = close_regions(graphs)
    types = [value.type for value in closed[0].outputs]
    made = to.builder.emit("cond", [inputs[0], *outer], node.attrs, types, tuple(closed))
    for old, new, on in zip(node.outputs, made, wanted):
        to.bind(old, new, on)


def _both_sides(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> None:
    """Examples differ: both sides run, each under its mask."""
    taken = inputs[0]
    (other,) = to.emit_like("logical_not", [taken])
    results = []
    before = to.mask
    for side, condition in zip(node.regions, (taken, other)):
        to.mask = condition if before is None else to.emit_like("logical_and", [before, condition])[0]
        results.append(_inline(to, side, inputs[1:], flags[1:], [True] * len(node.outputs)))
    to.mask = before
    for old, a, b in zip(node.outputs, *results):
        to.bind(old, select(to, taken, a, b), True)


def _inline(to: Batching, side: Graph, inputs: Sequence[Value], flags: Sequence[bool], wanted: Sequence[bool]) -> list[Value]:
    for inner, value, on in zip(side.inputs, inputs, flags):
        to.bind(inner, value, on)
    to.run(side.nodes)
    return [to.result(v) if on else to.values.get(v, v) for v, on in zip(side.outputs, wanted)]


def select(to: Batching, mask: Value, a: Value, b: Value) -> Value:
    """For each example a if the mask holds there, else b."""
    if len(b.shape) > 1:
        shape = (b.shape[0], *(1 for _ in b.shape[1:]))
        mask = to.emit("broadcast", [to.emit("reshape", [mask], {}, mask.dtype, shape)], {}, mask.dtype, b.shape)
    return to.emit("where", [mask, a, b], {}, b.dtype, b.shape)


class _Loop:
    """One loop."""

    def __init__(
        self, to: Batching, node: Node, inputs: list[Value], steered: bool, carried: list[bool], rows: list[bool]
    ) -> None:
        self.to = to
        self.node = node
        self.steered = steered
        self.carried = carried
        self.rows = rows
        self.test, self.body = node.regions
        count = node.attrs["carried"]
        for region in node.regions:
            for inner, given, old in zip(region.inputs[count:], inputs[count:], node.inputs[count:]):
                to.bind(inner, given, old in to.batched)
        self.initial = [
            to.stretched(value, old in to.batched, old.shape) if on else value
            for value, old, on in zip(inputs, node.inputs, carried)
        ]

    def emit(self) -> None:
        to, node = self.to, self.node
        initial = [*self.initial, self._start()] if self.steered else self.initial
        types = [value.type for value in initial]
        with to.builder.region(types) as test:
            test.outputs = [self._goes_on(test.inputs)]
        with to.builder.region(types) as body:
            body.outputs = self._masked_turn(body.inputs) if self.steered else self._turn(body.inputs)
        (first, second), outer = close_regions([test.graph, body.graph])
        attrs = {**node.attrs, "carried": len(initial)}
        stacks = [
            TensorType(row.dtype, (old.shape[0], *row.shape)) for row, old in zip(second.outputs[len(initial) :], self._stacks())
        ]
        made = to.builder.emit("while_loop", [*initial, *outer], attrs, [*types, *stacks], (first, second))
        for old, new, on in zip(node.outputs, made, self.carried):
            to.bind(old, new, on)
        for old, new, on in zip(self._stacks(), made[len(initial) :], self.rows):
            if on:
                order = (1, 0, *range(2, len(new.shape)))
                new = to.emit("permute", [new], {"dims": order}, new.dtype, [new.shape[d] for d in order])
            to.bind(old, new, on)
        symbol = late_symbol(node)
        if self.steered and symbol is not None:
            to.unlike[symbol] = made[0]

    def _stacks(self) -> tuple[Value, ...]:
        return self.node.outputs[self.node.attrs["carried"] :]

    def _bind(self, region: Graph, values: Sequence[Value]) -> None:
        for inner, value, on in zip(region.inputs, values, self.carried):
            self.to.bind(inner, value, on)

    def _tested(self, values: Sequence[Value]) -> Value:
        self._bind(self.test, values)
        self.to.run(self.test.nodes)
        result = self.test.outputs[0]
        return self.to.result(result) if self.steered else self.to.values.get(result, result)

    def _start(self) -> Value:
        """Which examples make a first turn."""
        to = self.to
        go = self._tested(self.initial)
        return go if to.mask is None else to.emit_like("logical_and", [to.mask, go])[0]

    def _goes_on(self, state: Sequence[Value]) -> Value:
        if not self.steered:
            return self._tested(state)
        return self.to.emit("reduce", [state[-1]], {"kind": "any", "dims": (0,)}, core.bool, ())

    def _turn(self, state: Sequence[Value]) -> list[Value]:
        to = self.to
        self._bind(self.body, state)
        to.run(self.body.nodes)
        flags = [*self.carried, *self.rows]
        return [to.result(v) if on else to.values.get(v, v) for v, on in zip(self.body.outputs, flags)]

    def _masked_turn(self, state: Sequence[Value]) -> list[Value]:
        """A turn in which only some examples move on."""
        to, before = self.to, self.to.mask
        *old, active = state
        to.mask = active
        results = self._turn(old)
        merged = [select(to, active, new, value) for new, value in zip(results, old)]
        (active,) = to.emit_like("logical_and", [active, self._tested(merged)])
        to.mask = before
        return [*merged, active, *results[len(merged) :]]


def guarded(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> tuple[list[Value], list[bool]]:
    """The operands of a node that could fail for examples that are not meant, made harmless there."""
    if node.op in _INDEXED:
        harmless, filler = 1, 0
    elif node.op in ("floordiv", "mod", "div", "fmod") and node.inputs[1].dtype.kind in "iu":
        harmless, filler = 1, 1
    else:
        return inputs, flags
    assert to.mask is not None
    given = to.stretched(inputs[harmless], flags[harmless], node.inputs[harmless].shape)
    other = to.builder.constant(filler, given.dtype, tuple(given.shape))
    inputs, flags = list(inputs), list(flags)
    inputs[harmless], flags[harmless] = select(to, to.mask, given, other), True
    return inputs, flags


def touches_unlike(to: Batching, node: Node) -> bool:
    """Whether a node does with the rows of a loop whose turns differ what needs to know how many there are."""
    spoken = {s for s in mentions(node) if s in to.unlike}
    return bool(spoken) and node.op not in _SAFE and PRIMITIVES[node.op].kind != ELEMENTWISE


def flipped(to: Batching, node: Node, x: Value) -> Value | None:
    """The rows of a loop whose turns differ in reverse order: of each example its own; None where this is something else."""
    size = node.output.shape[0]
    if node.op != "flip" or node.attrs["dims"] != (0,) or not isinstance(size, Dim) or size not in to.unlike:
        return None
    int64, shape = core.int64, x.shape[:2]
    number = to.emit("iota", [], {"dim": 1}, int64, shape)
    counted = to.emit("reshape", [to.emit("cast", [to.unlike[size]], {}, int64, shape[:1])], {}, int64, (shape[0], 1))
    last = to.emit(
        "sub", [to.emit("broadcast", [counted], {}, int64, shape), to.builder.constant(1, int64, shape)], {}, int64, shape
    )
    index = to.emit("sub", [last, number], {}, int64, shape)
    index = to.emit("maximum", [index, to.builder.constant(0, int64, shape)], {}, int64, shape)
    index = to.emit("reshape", [index], {}, int64, (*shape, *(1 for _ in x.shape[2:])))
    index = to.emit("broadcast", [index], {}, int64, x.shape)
    return to.emit("gather", [x, index], {"dim": 1}, x.dtype, x.shape)
