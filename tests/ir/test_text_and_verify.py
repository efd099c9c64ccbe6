"""Text form round trips; the verifier rejects what is wrong and says where."""

from __future__ import annotations

import pytest

from duograph import _core as core
from duograph.errors import InternalError
from duograph.ir import Builder, Graph, Location, Node, TensorType, Value, symbol
from duograph.ir.text import ParseError, parse_graph, print_graph
from duograph.ir.verify import verify

LINE = """\
graph line(%w: float32[n], %x: float32[n, 2*n + 1] strides(s, 1), %p: cell float32[n] state, %r: number weak float64[]) sizes(k) {
  check eq(n, k) 3
  %0: float32[n] = mul(%w, %w)  # model.py:3 in line:    return w * w
  %1: float32[n + 1] = pad(%0) {low=(0,), high=(1,)}
  %2: float32[] = constant() {value=0.5}
  %3: float32[n] = broadcast(%2)
  %4: float32[n] = sub(%p, %3)
  %5: float32[n] = assign(%p, %4)
  return %1, %5
}
"""


def test_text_round_trip() -> None:
    graph = parse_graph(LINE)
    assert print_graph(graph) == LINE
    verify(graph)
    assert graph.nodes[0].location == Location("model.py", 3, "line", "return w * w")


def test_regions_round_trip() -> None:
    i64 = TensorType(core.int64)
    with Builder("count") as builder:
        limit = builder.input(i64, "limit", kind="number")
        with builder.region([i64], ["i"]) as test:
            test.outputs = builder.emit("lt", [test.inputs[0], limit], {}, [TensorType(core.bool)])
        with builder.region([i64], ["i"]) as body:
            body.outputs = builder.emit("add", [body.inputs[0], builder.constant(1, core.int64)], {}, [i64])
        graph = builder.finish(builder.while_loop(test, body, [builder.constant(0, core.int64)]))
    verify(graph)
    assert [len(region.inputs) for region in graph.nodes[-1].regions] == [2, 2]
    assert print_graph(parse_graph(str(graph))) == str(graph)


def test_composite_reads_outer_values() -> None:
    f32 = TensorType(core.float32, (symbol("n"),))
    with Builder() as builder:
        x = builder.input(f32, "x")
        with builder.composite("double", {"times": 2}) as results:
            results += builder.emit("add", [x, x], {}, [f32])
        graph = builder.finish(results)
    (node,) = graph.nodes
    assert (node.op, node.inputs, node.attrs) == ("double", (x,), {"times": 2})
    verify(graph)


@pytest.mark.parametrize("text", ["", "graph", "graph g() {\n  %0 = add(\n", "graph g() {\n  return %7\n}\n"])
def test_text_that_is_no_graph(text: str) -> None:
    with pytest.raises(ParseError):
        parse_graph(text)


BROKEN = {
    "elementwise node have its shape": "%1: float32[n] = add(%x, %y)",
    "one dtype": "%1: float32[n] = add(%x, %i)",
    "takes 2 operands": "%1: float32[n] = add(%x)",
    "dtype of the result": "%1: int64[n] = add(%x, %x)",
    "does not broadcast": "%1: float32[3] = broadcast(%x)",
    "the shape should be": "%1: float32[n] = reduce(%x) {kind='sum', dims=(0,)}",
    "not a permutation": "%1: float32[n] = permute(%x) {dims=(1,)}",
    "sizes of 'k' differ": "%1: float32[n, n] = contraction(%z, %y) {a='mk', b='k', out='mk'}",
    "not a mutable input": "%1: float32[n] = assign(%x, %x)",
    "a composite has one region": "%1: float32[n] = frobnicate(%x)",
}


@pytest.mark.parametrize(("rule", "line"), BROKEN.items())
def test_verifier_rejects(rule: str, line: str) -> None:
    graph = parse_graph(
        f"graph g(%x: float32[n], %y: float32[m], %i: int64[n], %z: float32[n, n]) {{\n  {line}\n  return %1\n}}\n"
    )
    with pytest.raises(InternalError, match=rule):
        verify(graph)


def test_verifier_rejects_use_before_definition() -> None:
    type = TensorType(core.float32, (2,))
    x = Value(type)
    first = Node("neg", (x,), {}, (type,))
    second = Node("exp", (first.output,), {}, (type,))
    verify(Graph((x,), (first, second), (second.output,)))
    with pytest.raises(InternalError, match="before it is defined"):
        verify(Graph((x,), (second, first), (second.output,)))
    with pytest.raises(InternalError, match="defined twice"):
        verify(Graph((x,), (first, first), (first.output,)))
    with pytest.raises(InternalError, match="result"):
        verify(Graph((x,), (), (first.output,)))


def test_unify_prefers_numbers_and_records_a_check() -> None:
    builder = Builder()
    n, m = symbol("n"), symbol("m")
    assert builder.unify(n, 4, 7) == 4
    assert builder.unify(m, n) == 4
    assert builder.resolve(n * m + 1) == 17
    assert [(check.relation, check.left, check.right, check.code) for check in builder.checks] == [
        ("eq", n, 4, 7),
        ("eq", m, 4, 0),
    ]
