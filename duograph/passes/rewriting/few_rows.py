"""few_rows: what is added at few rows of zeros is added up among these, and all rows are read from there.

The gradient of a table of fifty thousand tokens, of which a text has some hundred, is nearly all zeros. As sums of a row for
each index and a map from rows to sums it takes next to no memory, and kernels that use it read it through the map.
The sums are made in the same order, so the bits stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        return [_spread(rewriter, node)] if _is_sparse(node) else None

    return Rewriter().run(graph, visit)


def _is_sparse(node: Node) -> bool:
    """Whether a node adds to few rows of zeros, each of many elements."""
    if node.op != "take_add" or node.attrs["dim"] != 0 or scalar_constant(node.inputs[0]) != 0:
        return False
    rows, *row = node.output.shape
    return known_le(ROWS * product(node.inputs[1].shape), rows) and known_le(WIDTH, product(row))


def _spread(rewriter: Rewriter, node: Node) -> Value:
    target, index, source = node.inputs
    zero = scalar_constant(target)
    assert zero is not None
    result = node.output.type
    rows, *row = result.shape
    count = product(index.shape)

    def filled(number: Any, type: TensorType) -> Value:
        constant = rewriter.emit("constant", (), {"value": number}, type.with_shape(()))
        return rewriter.emit("broadcast", [constant], {}, type)

    def indexed(op: str, inputs: Sequence[Value], type: TensorType) -> Value:
        return rewriter.emit(op, inputs, {"dim": 0}, type)

    flat = rewriter.emit("reshape", [index], {}, index.type.with_shape((count,)))
    slopes = rewriter.emit("reshape", [source], {}, result.with_shape((count, *row)))
    numbers, places = TensorType(int64, (count,)), TensorType(int64, (rows,))
    own = indexed("take_put", [filled(count, places), flat, indexed("iota", (), numbers)], places)
    sums = result.with_shape((count + 1, *row))  # the last is of the rows that are not among them
    added = indexed("take_add", [filled(zero, sums), indexed("take", [own, flat], numbers), slopes], sums)
    return indexed("take", [added, own], result)
