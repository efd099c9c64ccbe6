"""Rewrite rules as data: a pattern, what replaces it, and whether that keeps every bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from duograph.errors import InternalError
from duograph.ir.graph import Graph, Node, Value

from .rewrite import Rewriter, in_regions, scalar_constant

MAX_SWEEPS = 32


class Pattern:
    """Matches a value: `Op("mul", x, 1)` a node, `Var("x")` anything (the same thing each time), a number a constant."""

    def match(self, value: Value, found: dict[str, Value]) -> bool:
        raise NotImplementedError

    def __add__(self, other: Pattern | float) -> Op:
        return Op("add", self, other)

    def __sub__(self, other: Pattern | float) -> Op:
        return Op("sub", self, other)

    def __mul__(self, other: Pattern | float) -> Op:
        return Op("mul", self, other)

    def __truediv__(self, other: Pattern | float) -> Op:
        return Op("div", self, other)

    def __neg__(self) -> Op:
        return Op("neg", self)


class Var(Pattern):
    """Any value, bound to a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def match(self, value: Value, found: dict[str, Value]) -> bool:
        return found.setdefault(self.name, value) is value


class Number(Pattern):
    """A constant of this value, broadcast or not."""

    def __init__(self, number: float) -> None:
        self.number = number

    def match(self, value: Value, found: dict[str, Value]) -> bool:
        number = scalar_constant(value)
        return number is not None and number == self.number and str(float(number)) == str(float(self.number))


class Constant(Var):
    """Any constant number, bound to a name."""

    def match(self, value: Value, found: dict[str, Value]) -> bool:
        return scalar_constant(value) is not None and super().match(value, found)


class Op(Pattern):
    """A node of this op with these operands; operands of add and mul match in either order."""

    def __init__(self, op: str, *operands: Pattern | float) -> None:
        self.op = op
        self.operands = tuple(operand if isinstance(operand, Pattern) else Number(operand) for operand in operands)
        # in the order of matching: what matches anything comes last
        self.choosy = sorted(enumerate(self.operands), key=lambda pair: pair[1].__class__ is Var)

    def match(self, value: Value, found: dict[str, Value]) -> bool:
        return value.node is not None and self.match_node(value.node, found)

    def match_node(self, node: Node, found: dict[str, Value]) -> bool:
        """Whether the node matches; names in the pattern are then bound in `found`."""
        if node.op != self.op or len(node.inputs) != len(self.operands):
            return False
        return self._bind(node.inputs, found) or (node.op in ("add", "mul") and self._bind(node.inputs[::-1], found))

    def _bind(self, operands: Sequence[Value], found: dict[str, Value]) -> bool:
        trial = dict(found)
        for place, pattern in self.choosy:
            if not pattern.match(operands[place], trial):
                return False
        found.update(trial)
        return True


class Match:
    """What a rule's replacement is computed from: the matched node, the bound values, and a way to emit nodes."""

    def __init__(self, rewriter: Rewriter, node: Node, values: dict[str, Value]) -> None:
        self.rewriter = rewriter
        self.node = node
        self.values = values

    @property
    def type(self) -> Any:
        return self.node.outputs[0].type

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def emit(self, op: str, *inputs: Value, **attrs: Any) -> Value:
        """A node of the matched node's type."""
        return self.rewriter.emit(op, inputs, attrs, self.type)

    def constant(self, number: float) -> Value:
        """A number in the matched node's dtype and shape."""
        constant = self.rewriter.emit("constant", (), {"value": number}, self.type.with_shape(()))
        return constant if self.type.shape == () else self.rewriter.emit("broadcast", [constant], {}, self.type)


class Rule:
    """`replace` returns the value that takes the match's place, or None where a condition does not hold.

    A rule that may change floating-point results says `exact=False` and is off under `strict` and in dynamic mode.
    """

    def __init__(self, name: str, pattern: Op, replace: Callable[[Match], Value | None], exact: bool = True) -> None:
        self.name = name
        self.pattern = pattern
        self.replace = replace
        self.exact = exact


class Rules:
    """A named set of rules, applied until none matches; `counts` says how often each did, over the process's life."""

    def __init__(self, name: str, *rules: Rule) -> None:
        self.name = name
        self.rules = rules
        self.counts: Counter[str] = Counter()

    def apply(self, graph: Graph, strict: bool) -> Graph:
        """The graph after all matches; the same graph if there is none."""
        by_op: dict[str, list[Rule]] = {}
        for rule in self.rules:
            if rule.exact or not strict:
                by_op.setdefault(rule.pattern.op, []).append(rule)
        return self._sweep(graph, by_op)

    def _sweep(self, graph: Graph, by_op: dict[str, list[Rule]]) -> Graph:
        graph = in_regions(graph, lambda region: self._sweep(region, by_op))
        last = ""

        def replaced(rewriter: Rewriter, node: Node) -> Value | None:
            nonlocal last
            for rule in by_op.get(node.op, ()):
                found: dict[str, Value] = {}
                if rule.pattern.match_node(node, found):
                    value = rule.replace(Match(rewriter, node, found))
                    if value is not None:
                        self.counts[rule.name] += 1
                        last = rule.name
                        return value
            return None

        def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
            value = replaced(rewriter, node)
            if value is None:
                return None
            for _ in range(MAX_SWEEPS):  # what took its place may match at once: its users then see the end of it
                again = None if value.node is None else replaced(rewriter, value.node)
                if again is None:
                    return [value]
                value = again
            raise InternalError(f"rule {last!r} of {self.name} matches its own results")

        for _ in range(MAX_SWEEPS):
            after = Rewriter().run(graph, visit)
            if after is graph:
                return graph
            graph = after
        raise InternalError(f"rule {last!r} of {self.name} matches its own results")
