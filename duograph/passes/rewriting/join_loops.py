"""join_loops: of two loops that make the same turns, the later one's turns become a part of the first one's.

Forward mode makes such pairs: a loop, and the same loop that carries tangents, too, and reads rows of what the first one
drew. Joined, both compute the values once, and rows that were kept for the second loop alone are not kept any more.

Which carried variables of the two are the same is found as in minimising automata: they are taken for equal as long as they
begin with the same value and no turn tells them apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from duograph.ir.builder import rename
from duograph.ir.dim import Dim
from duograph.ir.effects import calls_host, must_run
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbols, mentions
from duograph.ir.primitives import ORDERED

from .cleanup import in_one_order, key_of
from .rewrite import in_regions

_UNIQUE = ORDERED | {"copy"}


class Numbers:
    """Equal numbers for values that are computed alike."""

    def __init__(self) -> None:
        self.known: dict[Hashable, int] = {}

    def of(self, key: Hashable) -> int:
        """The number of what has this key."""
        return self.known.setdefault(key, len(self.known))

    def run(self, nodes: Iterable[Node], values: dict[Value, int]) -> None:
        """Number the nodes' results; `values` has the numbers of what they read."""
        for node in nodes:
            key: Hashable = node if node.op in _UNIQUE or must_run(node) else self._key(node, values)
            for i, value in enumerate(node.outputs):
                values[value] = self.of((key, i))

    def _key(self, node: Node, values: dict[Value, int]) -> Hashable:
        op, inputs, attrs, type_ = key_of(node)
        return op, in_one_order(op, [values[v] for v in inputs]), attrs, type_, tuple(self._region(r) for r in node.regions)

    def _region(self, region: Graph) -> Hashable:
        values = {value: self.of(("input", i, value.type)) for i, value in enumerate(region.inputs)}
        self.run(region.nodes, values)
        return tuple(values[v] for v in region.outputs)


class Turn(NamedTuple):
    """What one turn computes, as numbers: the test's result, the body's results, and which of its values are what."""

    test: int
    results: list[int]
    values: dict[Value, int]


def join_loops(graph: Graph) -> Graph:
    """The graph with the turns of loops joined where they are the same turns."""
    while (found := _join_one(graph)) is not None:
        graph = found
    return in_regions(graph, join_loops)


def _join_one(graph: Graph) -> Graph | None:
    loops = [i for i, node in enumerate(graph.nodes) if node.op == "while_loop"]
    if len(loops) < 2:
        return None
    numbers = Numbers()
    values = {value: numbers.of(("argument", i)) for i, value in enumerate(graph.inputs)}
    numbers.run(graph.nodes, values)
    for n, first in enumerate(loops):
        for second in loops[n + 1 :]:
            pair = Pair(graph, first, second, numbers, values)
            if pair.starts_alike() and pair.can_move() and pair.turns_are_the_same():
                return pair.joined()
    return None


class Pair:
    """Two loops of a graph."""

    def __init__(self, graph: Graph, first: int, second: int, numbers: Numbers, values: dict[Value, int]) -> None:
        self.graph = graph
        self.first = first
        self.second = second
        self.numbers = numbers
        self.values = values
        self.a, self.b = graph.nodes[first], graph.nodes[second]
        self.count_a, self.count_b = (loop.attrs["carried"] for loop in (self.a, self.b))
        self.stacks = {value: k for k, value in enumerate(self.a.outputs[self.count_a :])}
        self.moved: list[Node] = []  # nodes between the loops that the second one needs
        self.same: dict[int, int] = {}  # carried variables of the second loop → of the first
        self.rows: dict[Value, int] = {}  # values of the second body that are rows of the first one's turn → which

    def starts_alike(self) -> bool:
        """Whether all that the first loop begins with the second one begins with, too."""
        starts = {self.values[v] for v in self.b.inputs[: self.count_b]}
        trips = [loop.attrs.get("trips") for loop in (self.a, self.b) if loop.attrs.get("stacked")]
        fits = len(trips) < 2 or (trips[0] is not None and trips[0] == trips[1])
        return fits and all(self.values[v] in starts for v in self.a.inputs[: self.count_a])

    def can_move(self) -> bool:
        """Whether the second loop may run where the first one does."""
        between = self.graph.nodes[self.first + 1 : self.second]
        if must_run(self.b) or any(map(calls_host, (self.a, *between))) or _writes(self.a):
            return False
        needed = {v for v in self.b.inputs if v not in self.stacks}
        for node in reversed(between):
            if any(value in needed for value in node.outputs):
                if must_run(node):
                    return False
                needed.update(node.inputs)
                self.moved.append(node)
        self.moved.reverse()
        if not needed.isdisjoint(self.a.outputs):
            return False
        late = late_symbols(self.graph)
        stays = {*self.graph.nodes[self.first : self.second]}.difference(self.moved)
        unknown = {symbol for symbol, node in late.items() if node in stays} - _turns(self.a) if late else set()
        return not any(mentions(node) & unknown for node in (*self.moved, self.b))

    def turns_are_the_same(self) -> bool:
        """Whether the test of both is the same in every turn, as far as turns can be told apart."""
        classes = [self._starts(self.a), self._starts(self.b)]
        while True:
            a = self._turn(self.a, classes[0], None)
            b = None if a is None else self._turn(self.b, classes[1], (classes[0][0], a))
            if a is None or b is None:
                return False
            refined = [
                [self.numbers.of(("moves", now, after)) for now, after in zip(row, turn.results)]
                for row, turn in zip(classes, (a, b))
            ]
            if len({*refined[0], *refined[1]}) == len({*classes[0], *classes[1]}):
                break
            classes = refined
        if a.test != b.test:
            return False
        here = {number: i for i, number in reversed(list(enumerate(classes[0])))}
        self.same = {j: here[number] for j, number in enumerate(classes[1]) if number in here}
        return set(classes[0]) <= set(classes[1])

    def _starts(self, loop: Node) -> list[int]:
        return [self.numbers.of(("starts", self.values[v], v.type)) for v in loop.inputs[: loop.attrs["carried"]]]

    def _turn(self, loop: Node, classes: Sequence[int], before: tuple[int, Turn] | None) -> Turn | None:
        """One turn; of the second loop with the number of the first one's counter and its turn. None: it needs other rows."""
        numbers = self.numbers
        outer = [*classes, *(numbers.of(("read", self.values[v])) for v in loop.inputs[len(classes) :])]
        test, body = loop.regions
        values = dict(zip(test.inputs, outer))
        numbers.run(test.nodes, values)
        result = values[test.outputs[0]]
        values = dict(zip(body.inputs, outer))
        stacks = {} if before is None else {x: self.stacks[v] for x, v in zip(body.inputs, loop.inputs) if v in self.stacks}
        for node in body.nodes:
            if not stacks or stacks.keys().isdisjoint(node.inputs):
                numbers.run([node], values)
            elif before is not None and node.op == "row" and values[node.inputs[1]] == before[0]:
                self.rows[node.output] = stacks[node.inputs[0]]
                values[node.output] = before[1].results[self.count_a + stacks[node.inputs[0]]]
            else:
                return None
        if stacks and not stacks.keys().isdisjoint(body.outputs):
            return None
        return Turn(result, [values[v] for v in body.outputs], values)

    def joined(self) -> Graph:
        """The graph with one loop in the place of both."""
        a, b = self.a, self.b
        own = [j for j in range(self.count_b) if j not in self.same]
        read = [i for i in range(self.count_b, len(b.inputs)) if b.inputs[i] not in self.stacks]
        inputs = [*a.inputs[: self.count_a], *(b.inputs[j] for j in own), *a.inputs[self.count_a :], *(b.inputs[i] for i in read)]
        first, second = (loop.regions[1].inputs for loop in (a, b))
        like = [*first[: self.count_a], *(second[j] for j in own), *first[self.count_a :], *(second[i] for i in read)]
        made_test, made_body = ([Value(v.type, None, i, v.name) for i, v in enumerate(like)] for _ in range(2))
        test, body = self._test(len(own), made_test), self._body(own, read, made_body)
        stacked = sum(loop.attrs.get("stacked") or 0 for loop in (a, b))
        attrs: dict[str, Any] = {**b.attrs, **a.attrs, "carried": self.count_a + len(own)}
        if stacked:
            attrs["stacked"] = stacked
        types = [v.type for v in (*a.outputs[: self.count_a], *(b.outputs[j] for j in own))]
        types += [v.type for v in (*a.outputs[self.count_a :], *b.outputs[self.count_b :])]
        made = Node("while_loop", tuple(inputs), attrs, tuple(types), (test, body), a.location, a.scope)
        rows_a, rows_b = len(a.outputs) - self.count_a, len(b.outputs) - self.count_b
        first_row = self.count_a + len(own)
        renamed = dict(zip(a.outputs, [*made.outputs[: self.count_a], *made.outputs[first_row : first_row + rows_a]]))
        last = [made.outputs[self.same[j] if j in self.same else self.count_a + own.index(j)] for j in range(self.count_b)]
        renamed |= dict(zip(b.outputs, [*last, *made.outputs[first_row + rows_a : first_row + rows_a + rows_b]]))
        return self._placed(made, renamed)

    def _placed(self, made: Node, renamed: dict[Value, Value]) -> Graph:
        """The graph with the new loop where the first one was, behind what the second one needs."""
        nodes = self.graph.nodes
        gone = {self.b, *self.moved}
        order = [*nodes[: self.first], *self.moved, made, *(n for n in nodes[self.first + 1 :] if n not in gone)]
        for old, new in renamed.items():
            new.name = new.name or old.name
        after, outputs = rename(self.graph.replace(nodes=tuple(order)), renamed)
        return self.graph.replace(nodes=after, outputs=outputs)

    def _test(self, added: int, made: Sequence[Value]) -> Graph:
        test, count = self.a.regions[0], self.count_a
        outer = made[count + added :]
        nodes, outputs = rename(test, dict(zip(test.inputs, [*made[:count], *outer])))
        return Graph(tuple(made), nodes, outputs, name=test.name)

    def _body(self, own: Sequence[int], read: Sequence[int], made: Sequence[Value]) -> Graph:
        a, b, count = self.a.regions[1], self.b.regions[1], self.count_a
        outer = count + len(own)
        first, results = rename(a, dict(zip(a.inputs, [*made[:count], *made[outer : outer + len(a.inputs) - count]])))
        values = {b.inputs[j]: made[i] for j, i in self.same.items()}
        values |= {b.inputs[j]: made[count + i] for i, j in enumerate(own)}
        values |= {b.inputs[j]: made[outer + len(a.inputs) - count + i] for i, j in enumerate(read)}
        values |= {value: results[count + k] for value, k in self.rows.items()}
        rest = tuple(node for node in b.nodes if len(node.outputs) != 1 or node.output not in self.rows)
        second, others = rename(b.replace(nodes=rest), values)
        outputs = (*results[:count], *(others[j] for j in own), *results[count:], *others[self.count_b :])
        return Graph(tuple(made), (*first, *second), outputs, name=a.name)


def _turns(loop: Node) -> set[Dim]:
    """The late size that a loop's rows have, if it makes one."""
    found = loop.attrs.get("turns")
    return {found} if isinstance(found, Dim) else set()


def _writes(node: Node) -> bool:
    return node.op == "assign" or any(_writes(inner) for region in node.regions for inner in region.nodes)
