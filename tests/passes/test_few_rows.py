"""Sums over few of many rows of zeros: kept small, with the same bits and the same errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import nn
from duograph.ir.text import parse_graph
from duograph.ir.verify import verify
from duograph.passes.rewriting.few_rows import few_rows

F = nn.functional


def sums(rows: int, width: int, filled: float = 0.0) -> str:
    return f"""graph g(%index: int64[2, 3], %source: float32[2, 3, {width}]) {{
  %number: float32[] = constant() {{value={filled}}}
  %start: float32[{rows}, {width}] = broadcast(%number)
  %0: float32[{rows}, {width}] = take_add(%start, %index, %source) {{dim=0}}
  return %0
}}"""


def test_few_rows_become_sums_and_a_map() -> None:
    graph = few_rows(parse_graph(sums(24, 16)))
    verify(graph)
    assert [node.op for node in graph.nodes if node.op.startswith("take")] == ["take_put", "take", "take_add", "take"]
    (added,) = (node for node in graph.nodes if node.op == "take_add")
    assert added.output.shape == (7, 16)
    assert few_rows(graph) is graph


@pytest.mark.parametrize("text", [sums(23, 16), sums(24, 15), sums(24, 16, 1.0)])
def test_others_stay(text: str) -> None:
    graph = parse_graph(text)
    assert few_rows(graph) is graph


def trained(tied: bool, switch: Any) -> np.ndarray:
    dg.manual_seed(0)
    table = dg.randn(300, 24, requires_grad=True)
    index = dg.randint(0, 300, (4, 6))
    index[1], index[2, 2] = index[0], 7

    def step(index: Any) -> Any:
        table.grad = None
        rows = F.embedding(index, table, padding_idx=7)
        made = (rows * rows).tanh()
        made = made @ table.T if tied else made
        (made * made).sum().backward()

    switch(step)(index)
    return np.asarray(table.grad.numpy())


@pytest.mark.parametrize("tied", [False, True])
def test_bits_of_dynamic_mode(tied: bool) -> None:
    wanted = trained(tied, lambda step: step)
    np.testing.assert_array_equal(trained(tied, lambda step: dg.static(step, strict=True)), wanted)
    np.testing.assert_allclose(trained(tied, dg.static), wanted, rtol=1e-5, atol=1e-4)


def test_an_index_out_of_range_is_refused_as_before() -> None:
    add = dg.static(lambda index, source: dg.zeros(300, 16).index_add(0, index, source))
    source = dg.randn(2, 16)
    np.testing.assert_array_equal(add(dg.tensor([7, 7]), source)[7].numpy(), (source[0] + source[1]).numpy())
    for wrong in (300, -301):
        with pytest.raises(IndexError, match=rf"index {wrong} is out of range for a dimension of size 300"):
            add(dg.tensor([7, wrong]), source)


def test_a_tied_tables_gradient_takes_no_second_table() -> None:
    table = dg.randn(5000, 128, requires_grad=True)
    optimizer = dg.optim.AdamW([table], lr=1e-3)

    @dg.static
    def step(index: Any) -> None:
        optimizer.zero_grad()
        F.linear(F.embedding(index, table), table).logsumexp(-1).sum().backward()
        optimizer.step()

    assert step.explain(dg.randint(0, 5000, (48,))).peak_bytes < 1.7 * table.numel() * 4


PRODUCT = """graph g(%index: int64[5], %source: float32[5, 16], %a: float32[24, 3], %b: float32[3, 16]) {{
  %number: float32[] = constant() {{value=0.0}}
  %start: float32[24, 16] = broadcast(%number)
  %0: float32[24, 16] = take_add(%start, %index, %source) {{dim=0}}
  %1: float32[24, 16] = contraction(%a, %b) {{a="mk", b="kn", out="mn"}}
  %2: float32[24, 16] = add({operands})
  return {results}
}}"""


@pytest.mark.parametrize("operands", ["%0, %1", "%1, %0"])
def test_a_product_gets_them_at_few_rows_alone(operands: str) -> None:
    graph = few_rows(parse_graph(PRODUCT.format(operands=operands, results="%2")))
    verify(graph)
    (result,) = graph.outputs
    assert result.node is not None and result.node.op == "take_add"
    assert result.node.inputs[0].node is not None and result.node.inputs[0].node.op == "contraction"


@pytest.mark.parametrize("results", ["%2, %1", "%2, %0"])
def test_a_product_that_others_want_stays(results: str) -> None:
    graph = few_rows(parse_graph(PRODUCT.format(operands="%0, %1", results=results)))
    assert all(node.op != "contraction" for node in (value.node for value in graph.outputs[:1]) if node is not None)
    assert graph.outputs[0].node is not None and graph.outputs[0].node.op == "add"
