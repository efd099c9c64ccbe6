"""unrounded: contractions that multiply bfloat16 in pairs read parameters as they are, and round them while they pack.

So nobody converts a parameter in each run: what is made of it is kept with it. On machines that do not multiply pairs
(see `codegen.contraction.pairs`) the conversions stay, and products are those of float32.
"""

from __future__ import annotations

from collections.abc import Sequence

from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import MOVEMENT, PRIMITIVES
from duograph.ir.types import TensorType

from .rewrite import Rewriter, in_regions


def multiplies_pairs() -> bool:
    """Whether contractions that may be by pairs of bfloat16 are made so."""
    from duograph.codegen.target import get_target

    return get_target().dots


def read_unrounded(graph: Graph) -> Graph:
    """Operands that are conversions of inputs to bfloat16 and back become the inputs."""
    if not any(node.op == "contraction" and _is_paired(node) for node in graph.walk()) or not multiplies_pairs():
        return graph
    graph = in_regions(graph, read_unrounded)

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        if node.op != "contraction" or not _is_paired(node):
            return None
        inputs = [_unrounded(rewriter, value) or value for value in node.inputs]
        if inputs == list(node.inputs):
            return None
        return [rewriter.emit("contraction", inputs, node.attrs, node.outputs[0].type)]

    return Rewriter().run(graph, visit)


def _is_paired(node: Node) -> bool:
    """Whether a contraction is made of pairs: there is more than one element along their dim."""
    letter = node.attrs.get("pairs", "")
    size = node.inputs[0].shape[node.attrs["a"].index(letter)] if letter else 1
    return not (isinstance(size, int) and size == 1)


def _unrounded(rewriter: Rewriter, value: Value) -> Value | None:
    """What a value is made of by movement, without the conversions of an input on the way; None if it is made of others."""
    moves: list[Node] = []
    node = value.node
    while node is not None and PRIMITIVES[node.op].kind == MOVEMENT and len(node.inputs) == 1:
        moves.append(node)
        node = node.inputs[0].node
    if node is None or node.op != "cast" or node.output.dtype.name != "float32":
        return None
    source = node.inputs[0]
    if source.dtype.name == "bfloat16" and source.node is not None and source.node.op == "cast":
        source = source.node.inputs[0]
    if source.node is not None or source.dtype.name not in ("bfloat16", "float32"):
        return None
    for move in reversed(moves):
        source = rewriter.emit(move.op, [source], move.attrs, TensorType(source.dtype, move.output.shape))
    return source
