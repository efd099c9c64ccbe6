"""A matrix that a loop multiplies few rows with is laid out by rows before the loop; the bits stay."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType
from duograph.ir.verify import verify
from duograph.passes.rewriting.lay_out_loops import lay_out_loops
from duograph.runtime.build import build

I, B = TensorType(core.int64), TensorType(core.bool)


def powers(rows: int, letters: str = "nk", permuted: bool = False, inside: bool = False, width: int = 8) -> Graph:
    """`for _ in range(3): h = h @ w` with the dims of w in this order; `inside`: w changes in each turn."""
    state, square = TensorType(core.float32, (rows, width)), TensorType(core.float32, (width, width))
    with Builder() as b:
        h, w = b.input(state, "h"), b.input(square, "w")
        types = [I, state, square] if inside else [I, state]
        with b.region(types) as test:
            test.outputs = b.emit("lt", [test.inputs[0], b.constant(3, core.int64)], {}, [B])
        with b.region(types) as body:
            i, left, *rest = body.inputs
            right = rest[0] if inside else w
            if permuted:
                (right,) = b.emit("permute", [right], {"dims": (1, 0)}, [square])
            (product,) = b.emit("contraction", [left, right], {"a": "mk", "b": letters, "out": "mn"}, [state])
            following = b.emit("add", [i, b.constant(1, core.int64)], {}, [I])
            body.outputs = [*following, product, *(b.emit("neg", rest, {}, [square]) if inside else [])]
        initial = [b.constant(0, core.int64), h, w] if inside else [b.constant(0, core.int64), h]
        return b.finish(b.while_loop(test, body, initial)[1:2])


@pytest.mark.parametrize(("letters", "permuted"), [("nk", False), ("kn", True)])
@pytest.mark.parametrize("rows", [1, 4])
def test_a_transposed_matrix_is_copied_once(rows: int, letters: str, permuted: bool) -> None:
    graph = powers(rows, letters, permuted)
    verify(graph)
    made = lay_out_loops(graph)
    verify(made)
    assert [node.op for node in made.nodes] == ["constant", "permute", "copy", "while_loop"]
    (product,) = [node for node in made.nodes[-1].regions[1].nodes if node.op == "contraction"]
    assert product.attrs["b"] == "kn"
    x, w = dg.randn(rows, 8), dg.randn(8, 8)
    found = [build(g, optimised=True, cached=False).program.run([x, w], [], [])[0].numpy() for g in (graph, made)]
    np.testing.assert_array_equal(*found)
    expected = x.numpy()
    for _ in range(3):
        expected = expected @ w.numpy().T
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5)
    assert lay_out_loops(made) is made


@pytest.mark.parametrize(
    "graph",
    [
        powers(4, "kn"),  # lies so already
        powers(4, "nk", permuted=True),
        powers(100, "nk"),  # is packed in any case
        powers(1, "nk", width=700),  # a row is multiplied with either as fast as memory gives it
        powers(4, "nk", inside=True),  # is another matrix in each turn
    ],
)
def test_what_stays(graph: Graph) -> None:
    assert lay_out_loops(graph) is graph
