"""few_rows: what is added at few rows of zeros is added up among these, and all rows are read from there.

The gradient of a table of fifty thousand tokens, of which a text has some hundred, is nearly all zeros. As sums of a row for
each index and a map from rows to sums it takes next to no memory, and kernels that use it read it through the map.
The sums are made in the same order, so the bits stay. A product that such a gradient is added to, as where a table is an
output layer, too, gets the sums at these few rows alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from duograph._core import bool as boolean
from duograph._core import int64
from duograph.ir.dim import known_le, product
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.types import TensorType

from .rewrite import Rewriter, in_regions, scalar_constant

ROWS = 4  # times as many as indices there must be
WIDTH = 16  # elements of a row, at least


def few_rows(graph: Graph) -> Graph:
    """The graph with sums over few of many rows kept small."""
    graph = in_regions(graph, few_rows)
    if not any(_is_sparse(node) for node in graph.nodes):
        return graph
    uses = Counter(value for node in graph.nodes for value in node.inputs)
    uses.update(graph.outputs)
    added = {node.output: _added_to_product(node, uses) for node in graph.nodes if node.op == "add"}
    later = {sparse for sparse in added.values() if sparse is not None}

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        sparse = added.get(old.output) if old.op == "add" else None
        if sparse is not None:
            left, right = node.inputs
            product, sums = (left, right) if right.node is not None and right.node.op == "take_add" else (right, left)
            assert sums.node is not None
            return [_add_to_rows(rewriter, sums.node, product)]
        return [_spread(rewriter, node)] if old.outputs[0] not in later and _is_sparse(node) else None

    return Rewriter().run(graph, visit)


def _is_sparse(node: Node) -> bool:
    """Whether a node adds to few rows of zeros, each of many elements."""
    if node.op != "take_add" or node.attrs["dim"] != 0 or scalar_constant(node.inputs[0]) != 0:
        return False
    rows, *row = node.output.shape
    return known_le(ROWS * product(node.inputs[1].shape), rows) and known_le(WIDTH, product(row))


def _added_to_product(node: Node, uses: Counter[Value]) -> Value | None:
    """What few rows are summed in, where a node does no more than add them to a product, whose elements are never -0."""
    for sums, other in (node.inputs, node.inputs[::-1]):
        both = sums.node is not None and other.node is not None and uses[sums] == uses[other] == 1
        if both and _is_sparse(sums.node) and other.node.op == "contraction":  # type: ignore[arg-type, union-attr]
            return sums
    return None


class _Rows(NamedTuple):
    """The rows that are added up: their indices, the place of each index's sum, the sums, and the number of each index."""

    flat: Value
    own: Value
    sums: Value
    numbers: Value


def _summed(rewriter: Rewriter, node: Node) -> _Rows:
    target, index, source = node.inputs
    zero = scalar_constant(target)
    assert zero is not None
    result = node.output.type
    rows, *row = result.shape
    count = product(index.shape)
    flat = rewriter.emit("reshape", [index], {}, index.type.with_shape((count,)))
    slopes = rewriter.emit("reshape", [source], {}, result.with_shape((count, *row)))
    numbers, places = TensorType(int64, (count,)), TensorType(int64, (rows,))
    number = _indexed(rewriter, "iota", (), numbers)
    own = _indexed(rewriter, "take_put", [_filled(rewriter, count, places), flat, number], places)
    sums = result.with_shape((count + 1, *row))  # the last is of the rows that are not among them
    mapped = _indexed(rewriter, "take", [own, flat], numbers)
    return _Rows(flat, own, _indexed(rewriter, "take_add", [_filled(rewriter, zero, sums), mapped, slopes], sums), number)


def _spread(rewriter: Rewriter, node: Node) -> Value:
    """All rows, read from the sums."""
    rows = _summed(rewriter, node)
    return _indexed(rewriter, "take", [rows.sums, rows.own], node.output.type)


def _add_to_rows(rewriter: Rewriter, node: Node, product: Value) -> Value:
    """The product with each sum added once, by one of the indices that it is of; the others add 0."""
    rows, type = _summed(rewriter, node), node.output.type
    numbers = rows.numbers.type
    mapped = _indexed(rewriter, "take", [rows.own, rows.flat], numbers)
    chosen = rewriter.emit("eq", [mapped, rows.numbers], {}, TensorType(boolean, numbers.shape))
    shape = (*numbers.shape, *type.shape[1:])
    aligned = TensorType(boolean, (*numbers.shape, *(1 for _ in type.shape[1:])))
    chosen = rewriter.emit("reshape", [chosen], {}, aligned)
    chosen = rewriter.emit("broadcast", [chosen], {}, TensorType(boolean, shape))
    found = _indexed(rewriter, "take", [rows.sums, mapped], type.with_shape(shape))
    once = rewriter.emit("where", [chosen, found, _filled(rewriter, 0.0, type.with_shape(shape))], {}, type.with_shape(shape))
    return _indexed(rewriter, "take_add", [product, rows.flat, once], type)


def _filled(rewriter: Rewriter, number: Any, type: TensorType) -> Value:
    constant = rewriter.emit("constant", (), {"value": number}, type.with_shape(()))
    return rewriter.emit("broadcast", [constant], {}, type)


def _indexed(rewriter: Rewriter, op: str, inputs: Sequence[Value], type: TensorType) -> Value:
    return rewriter.emit(op, inputs, {"dim": 0}, type)
