"""hoist: what every turn of a loop would compute anew from the same values is computed once, before the loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from duograph.ir.builder import rename
from duograph.ir.dim import known_ge
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbols, mentions
from duograph.ir.primitives import CONTRACTION, DEMANDS, ELEMENTWISE, INDEXING, MOVEMENT, NULLARY, PRIMITIVES, REDUCE

from .costs import CHEAP, LOAD_COST
from .rewrite import Rewriter, in_regions, scalar_constant, source

_PURE = frozenset({ELEMENTWISE, NULLARY, MOVEMENT, REDUCE, CONTRACTION, INDEXING})
_DIVISIONS = frozenset({"div", "floordiv", "mod", "pow"})  # of integers; they can fail
_STRIDED = frozenset({"permute", "broadcast", "slice", "reshape"})  # a contraction reads through them


def hoist(graph: Graph) -> Graph:
    """The graph with invariant work in front of its loops, bit for bit the same.

    What can fail stays where it is, unless it would run in any case: in a test, or in a loop of at least one turn.
    """
    graph = in_regions(graph, hoist)
    if not any(node.op == "while_loop" for node in graph.nodes):
        return graph

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        return _hoist(rewriter, node) if node.op == "while_loop" else None

    return Rewriter().run(graph, visit)


def _hoist(rewriter: Rewriter, loop: Node) -> Sequence[Value] | None:
    fixed = _fixed(loop)
    runs = loop.attrs.get("trips") is not None and known_ge(loop.attrs["trips"], 1)
    operands: list[Value] = []
    regions: list[Graph] = []
    added: list[list[Value]] = []
    for region, surely in zip(loop.regions, (True, runs)):
        found = _invariant(region, fixed, surely)
        wanted = _worth(region, found)
        added.append(wanted)
        operands += _copied(rewriter, loop, region, found, wanted)
    if not operands:
        return None
    total = len(added[0]) + len(added[1])
    start = 0
    for region, wanted in zip(loop.regions, added):
        regions.append(_reading(region, wanted, start, total, operands))
        start += len(wanted)
    made = loop.with_inputs((*loop.inputs, *operands), tuple(regions))
    rewriter.nodes.append(made)
    return made.outputs


def _fixed(loop: Node) -> set[int]:
    """The positions of the operands that are the same in every turn."""
    body = loop.regions[1]
    carried = loop.attrs["carried"]
    unchanged = {i for i in range(carried) if body.outputs[i] is body.inputs[i]}
    return unchanged | set(range(carried, len(loop.inputs)))


def may_fail(node: Node) -> bool:
    """Whether a node can end the run, by its operands' values."""
    if PRIMITIVES[node.op].kind == INDEXING and node.op != "slice_update":
        return not node.attrs.get("within", False)
    if node.op in DEMANDS:
        return True
    if node.op not in _DIVISIONS or node.output.dtype.kind == "f":
        return False
    divisor = _integer(node.inputs[1])
    return divisor is None or divisor <= 0


def _integer(value: Value) -> int | None:
    """The integer a value is everywhere, if it is a constant, converted or not."""
    value = source(value)
    while value.node is not None and value.node.op == "cast":
        value = source(value.node.inputs[0])
    number = scalar_constant(value)
    return None if isinstance(number, float) else number


def _invariant(region: Graph, fixed: set[int], surely: bool) -> dict[Value, Node]:
    """Values of a region that are the same in every turn and may be computed before the first, by the nodes that do it."""
    same = {region.inputs[i] for i in fixed}
    late = set(late_symbols(region))
    found: dict[Value, Node] = {}
    for node in region.nodes:
        row = PRIMITIVES[node.op]
        if row.kind not in _PURE or node.regions or len(node.outputs) != 1:
            continue
        if late and mentions(node) & late:
            continue
        if all(value in same or value in found for value in node.inputs) and (surely or not may_fail(node)):
            found[node.output] = node
    return found


def _worth(region: Graph, found: dict[Value, Node]) -> list[Value]:
    """Those that cost more to compute than to load, and are used by what stays."""
    leaves = {value for node in region.nodes if node.op == "contraction" for value in node.inputs}
    costs: dict[Value, int] = {}
    heavy: set[Value] = set()
    for value, node in found.items():
        row = PRIMITIVES[node.op]
        costs[value] = row.cost + sum(0 if operand in heavy else costs.get(operand, LOAD_COST) for operand in node.inputs)
        moved = row.kind == MOVEMENT and (node.op not in _STRIDED or _is_computed(node, found))
        computed = node.op in ("concat", "pad") or row.kind in (CONTRACTION, REDUCE, INDEXING)
        if computed or (moved and value in leaves) or (row.kind == ELEMENTWISE and (costs[value] > CHEAP or value in leaves)):
            heavy.add(value)
    stays = set(region.outputs)
    for node in region.nodes:
        if len(node.outputs) != 1 or node.output not in heavy:
            stays.update(node.inputs)
    return [value for value in found if value in heavy and value in stays]


def _is_computed(node: Node, found: dict[Value, Node]) -> bool:
    """Whether behind movement there is something that is computed, not just loaded."""
    inner: Node | None = node
    while inner is not None and PRIMITIVES[inner.op].kind == MOVEMENT:
        if inner.op not in _STRIDED:
            return True
        inner = found.get(inner.inputs[0])
    return inner is not None and PRIMITIVES[inner.op].kind == ELEMENTWISE


def _copied(rewriter: Rewriter, loop: Node, region: Graph, found: dict[Value, Node], wanted: Iterable[Value]) -> list[Value]:
    """The wanted values, computed in front of the loop."""
    values = dict(zip(region.inputs, loop.inputs))
    needed = set(wanted)
    for value, node in reversed(found.items()):
        if value in needed:
            needed.update(node.inputs)
    for value, node in found.items():
        if value in needed:
            made = node.with_inputs(tuple(values[operand] for operand in node.inputs))
            rewriter.nodes.append(made)
            values[value] = made.output
    return [values[value] for value in wanted]


def _reading(region: Graph, wanted: Sequence[Value], start: int, total: int, operands: Sequence[Value]) -> Graph:
    """The region with `total` more inputs; those from `start` on take the place of what it computed itself."""
    count = len(region.inputs)
    added = [Value(operands[i].type, None, count + i, operands[i].name) for i in range(total)]
    computed = set(wanted)
    nodes = tuple(node for node in region.nodes if len(node.outputs) != 1 or node.output not in computed)
    values = dict(zip(wanted, added[start : start + len(wanted)]))
    nodes, outputs = rename(region.replace(nodes=nodes), values)
    return Graph((*region.inputs, *added), nodes, outputs, name=region.name)
