"""contract_fma: a multiply whose only use is an addition becomes one fused multiply-add, with one rounding instead of two.

The only pass of default static mode that changes floating-point results; off in dynamic mode and under `strict`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from duograph.ir.graph import Graph, Node, Value

from .rewrite import Rewriter, in_regions

_DTYPES = ("float32", "float64")


def contract_fma(graph: Graph) -> Graph:
    """add(mul(a, b), c) as fma(a, b, c); sub(mul(a, b), c) and sub(c, mul(a, b)) with one operand negated."""
    graph = in_regions(graph, contract_fma)
    uses = Counter(value for node in graph.nodes for value in node.inputs)
    uses.update(graph.outputs)

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        if node.op not in ("add", "sub") or node.outputs[0].dtype.name not in _DTYPES:
            return None
        for position, value in enumerate(node.inputs):
            if value.node is None or value.node.op != "mul" or uses[old.inputs[position]] != 1:
                continue
            type = node.outputs[0].type
            a, b = value.node.inputs
            other = node.inputs[1 - position]
            if node.op == "sub" and position == 0:
                other = rewriter.emit("neg", [other], {}, type)
            elif node.op == "sub":
                a = rewriter.emit("neg", [a], {}, type)
            made = rewriter.emit("fma", [a, b, other], {}, type)
            if made.node is not None:
                made.node.scope = "\n".join(dict.fromkeys(x for x in (value.node.scope, node.scope) if x))
            return [made]
        return None

    return Rewriter().run(graph, visit)
