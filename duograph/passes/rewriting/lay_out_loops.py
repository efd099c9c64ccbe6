"""lay_out_loops: what each turn of a loop multiplies few rows with lies by rows, copied so once before the loop."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.ir.dim import product
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.types import TensorType

from .rewrite import Rewriter, in_regions

# Matrices with more rows on the other side are packed anyway, and then any layout is as good.
MOST_ROWS = 64
# One row is multiplied as fast as the matrix comes: a copy pays where the second level cache holds it from turn to turn.
MOST_BYTES_FOR_A_ROW = 3 << 19


def lay_out_loops(graph: Graph) -> Graph:
    """The graph with copies of matrices that loops do not change, in the order in which their products read them."""
    return Rewriter().run(in_regions(graph, lay_out_loops), _visit)


def _visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
    if node.op != "while_loop":
        return None
    loop = _Loop(rewriter, node)
    body = loop.rewrite()
    if not loop.added:
        return None
    inputs = (*node.inputs, *loop.added)
    test = node.regions[0]
    regions = (test.replace(inputs=_more_inputs(test, loop.added), arguments=()), body)
    made = node.with_inputs(inputs, regions)
    rewriter.nodes.append(made)
    return made.outputs


def _more_inputs(region: Graph, values: Sequence[Value]) -> tuple[Value, ...]:
    """The inputs of a region and one for each of these outer values."""
    count = len(region.inputs)
    return (*region.inputs, *(Value(value.type, None, count + i, value.name) for i, value in enumerate(values)))


class _Loop:
    """One loop; `added` are the copies made before it, `inside` the inputs of the body that stand for them."""

    def __init__(self, rewriter: Rewriter, node: Node) -> None:
        self.rewriter = rewriter
        self.node = node
        self.body = node.regions[1]
        fixed = range(node.attrs["carried"], len(node.inputs))
        self.outer = {self.body.inputs[i]: node.inputs[i] for i in fixed}
        self.added: list[Value] = []
        self.inside: dict[tuple[Value, tuple[int, ...]], Value] = {}

    def rewrite(self) -> Graph:
        """The body with its contractions reading the copies."""
        changed = Rewriter().run(self.body, self._contraction)
        return changed.replace(inputs=(*changed.inputs, *self.inside.values()), arguments=())

    def _contraction(self, rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        if node.op != "contraction" or not node.outputs[0].shape:
            return None
        column = node.attrs["out"][-1]
        sides = [side for side, name in enumerate("ab") if column in node.attrs[name]]
        if len(sides) != 1:
            return None
        (side,) = sides
        if not self._few_rows(node, 1 - side):
            return None
        letters = node.attrs["ab"[side]]
        source, dims = _behind(node.inputs[side])
        stored = "".join(letters[dims.index(d)] for d in range(len(dims)))  # the letters as they lie in memory
        if source not in self.outer or not stored or stored[-1] == column:
            return None
        order = tuple(d for d in range(len(stored)) if stored[d] != column) + (stored.index(column),)
        inputs = list(node.inputs)
        inputs[side] = self._copy(source, order)
        attrs = {**node.attrs, "ab"[side]: "".join(stored[d] for d in order)}
        return [rewriter.emit("contraction", inputs, attrs, node.outputs[0].type)]

    @staticmethod
    def _few_rows(node: Node, side: int) -> bool:
        """Whether the other operand has few rows of its own; one only for a matrix that stays in a cache."""
        letters, others = node.attrs["ab"[side]], node.attrs["ab"[1 - side]]
        sizes = [size for letter, size in zip(letters, node.inputs[side].shape) if letter not in others]
        rows = product(sizes)
        bytes = node.inputs[1 - side].type.bytes
        if rows == 1 and not (isinstance(bytes, int) and bytes <= MOST_BYTES_FOR_A_ROW):
            return False
        return isinstance(rows, int) and rows <= MOST_ROWS

    def _copy(self, source: Value, order: tuple[int, ...]) -> Value:
        """The body's input for the copy of an outer value with its dims in this order."""
        found = self.inside.get((source, order))
        if found is not None:
            return found
        outer = self.outer[source]
        type = TensorType(outer.dtype, tuple(outer.shape[d] for d in order))
        permuted = self.rewriter.emit("permute", [outer], {"dims": order}, type)
        copied = self.rewriter.emit("copy", [permuted], {}, type)
        copied.name = outer.name
        self.added.append(copied)
        made = Value(type, None, len(self.body.inputs) + len(self.inside), outer.name)
        self.inside[source, order] = made
        return made


def _behind(value: Value) -> tuple[Value, tuple[int, ...]]:
    """The value behind permutations, and which of its dims each dim is."""
    dims = tuple(range(len(value.shape)))
    while value.node is not None and value.node.op == "permute":
        dims = tuple(value.node.attrs["dims"][d] for d in dims)
        value = value.node.inputs[0]
    return value, dims
