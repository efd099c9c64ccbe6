"""Each pass: text in, text out; both graphs run and agree (bit for bit unless the rule says otherwise)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.errors import InternalError
from duograph.ir.graph import Graph
from duograph.ir.text import parse_graph, print_graph
from duograph.passes.fusion.reductions import split_reductions
from duograph.passes.pipeline import Options, optimise
from duograph.passes.rewriting.cleanup import merge_common
from duograph.passes.rewriting.contract_fma import contract_fma
from duograph.passes.rewriting.drop_dead import drop_dead
from duograph.passes.rewriting.expand import expand
from duograph.passes.rewriting.fold import fold_constants
from duograph.passes.rewriting.patterns import Op, Rule, Rules, Var
from duograph.passes.rewriting.simplify import SIMPLIFY, simplify
from duograph.runtime.build import build


def parse(body: str, inputs: str = "%x: float32[3, 4], %y: float32[3, 4]") -> Graph:
    lines = "".join(f"  {line.strip()}\n" for line in body.strip().splitlines())
    return parse_graph(f"graph g({inputs}) {{\n{lines}}}\n")


def body_of(graph: Graph) -> list[str]:
    return [line.strip() for line in print_graph(graph).splitlines()[1:-1]]


def outputs(graph: Graph, arrays: list[Any]) -> list[Any]:
    program = build(graph, optimised=True).program
    return [out.numpy() for out in program.run([dg.from_numpy(a) for a in arrays], [], [])]


def arrays_for(graph: Graph) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(value.shape).astype(value.dtype.name) for value in graph.inputs]


SIMPLE = {
    "mul_one": ("%0: float32[] = constant() {value=1.0}", "%2: float32[3, 4] = mul(%1, %x)"),
    "div_one": ("%0: float32[] = constant() {value=1.0}", "%2: float32[3, 4] = div(%x, %1)"),
    "sub_zero": ("%0: float32[] = constant() {value=0.0}", "%2: float32[3, 4] = sub(%x, %1)"),
}


@pytest.mark.parametrize("rule", SIMPLE)
def test_arithmetic_with_nothing_to_do(rule: str) -> None:
    constant, node = SIMPLE[rule]
    graph = parse(f"{constant}\n%1: float32[3, 4] = broadcast(%0)\n{node}\n%3: float32[3, 4] = exp(%2)\nreturn %3")
    after = drop_dead(simplify(graph, strict=True))
    assert body_of(after) == ["%0: float32[3, 4] = exp(%x)", "return %0"]
    for a, b in zip(outputs(graph, arrays_for(graph)), outputs(after, arrays_for(graph))):
        np.testing.assert_array_equal(a, b)


def test_add_zero_is_kept_under_strict() -> None:
    graph = parse(
        "%0: float32[] = constant() {value=0.0}\n%1: float32[3, 4] = broadcast(%0)\n%2: float32[3, 4] = add(%x, %1)\nreturn %2"
    )
    assert simplify(graph, strict=True) is graph
    assert simplify(graph, strict=False) is not graph
    negative_zero = np.full((3, 4), -0.0, np.float32)
    (kept,) = outputs(graph, [negative_zero, negative_zero])
    assert not np.signbit(kept).any()


def test_movement_composes() -> None:
    graph = parse(
        """%0: float32[4, 3] = permute(%x) {dims=(1, 0)}
        %1: float32[3, 4] = permute(%0) {dims=(1, 0)}
        %2: float32[12] = reshape(%1)
        %3: float32[2, 6] = reshape(%2)
        %4: float32[2, 6] = neg(%3)
        %5: float32[2, 6] = neg(%4)
        %6: float32[2, 6] = tanh(%5)
        return %6"""
    )
    after = drop_dead(simplify(graph, strict=True))
    assert body_of(after) == ["%0: float32[2, 6] = reshape(%x)", "%1: float32[2, 6] = tanh(%0)", "return %1"]
    np.testing.assert_array_equal(outputs(graph, arrays_for(graph))[0], outputs(after, arrays_for(graph))[0])


def test_division_by_a_power_of_two() -> None:
    graph = parse(
        "%0: float32[] = constant() {value=8.0}\n%1: float32[3, 4] = broadcast(%0)\n%2: float32[3, 4] = div(%x, %1)\nreturn %2"
    )
    after = drop_dead(simplify(graph, strict=True))
    assert body_of(after)[0] == "%0: float32[] = constant() {value=0.125}"
    np.testing.assert_array_equal(outputs(graph, arrays_for(graph))[0], outputs(after, arrays_for(graph))[0])
    third = parse(
        "%0: float32[] = constant() {value=3.0}\n%1: float32[3, 4] = broadcast(%0)\n%2: float32[3, 4] = div(%x, %1)\nreturn %2"
    )
    assert simplify(third, strict=True) is third


@pytest.mark.parametrize(("middle", "dropped"), [("float64", True), ("float16", False), ("int32", False)])
def test_cast_there_and_back(middle: str, dropped: bool) -> None:
    graph = parse(f"%0: {middle}[3, 4] = cast(%x)\n%1: float32[3, 4] = cast(%0)\n%2: float32[3, 4] = exp(%1)\nreturn %2")
    after = drop_dead(simplify(graph, strict=True))
    assert len(after.nodes) == (1 if dropped else 3)


def test_rules_count_matches_and_stop_by_name() -> None:
    before = SIMPLIFY.counts["double_negation"]
    simplify(parse("%0: float32[3, 4] = neg(%x)\n%1: float32[3, 4] = neg(%0)\nreturn %1"), strict=True)
    assert SIMPLIFY.counts["double_negation"] == before + 1
    x = Var("x")
    looping = Rules("bad", Rule("swap_forever", Op("exp", x), lambda match: match.emit("exp", match["x"])))
    with pytest.raises(InternalError, match="swap_forever"):
        looping.apply(parse("%0: float32[3, 4] = exp(%x)\nreturn %0"), strict=True)


def test_fold_constants_rounds_like_a_kernel() -> None:
    graph = parse(
        """%0: float32[] = constant() {value=0.10000000149011612}
        %1: float32[] = constant() {value=3.0}
        %2: float32[] = mul(%0, %1)
        %3: float32[] = div(%2, %1)
        %4: float64[] = cast(%3)
        %5: float64[3] = broadcast(%4)
        return %5"""
    )
    after = drop_dead(fold_constants(graph))
    assert [node.op for node in after.nodes] == ["constant", "broadcast"]
    np.testing.assert_array_equal(outputs(graph, arrays_for(graph))[0], outputs(after, arrays_for(graph))[0])


def test_integer_constants_wrap() -> None:
    graph = parse("%0: int8[] = constant() {value=100}\n%1: int8[] = add(%0, %0)\n%2: int8[2] = broadcast(%1)\nreturn %2")
    after = drop_dead(fold_constants(graph))
    assert after.nodes[0].attrs["value"] == -56
    np.testing.assert_array_equal(outputs(graph, arrays_for(graph))[0], [-56, -56])


def test_merge_common_keeps_the_first_and_its_line() -> None:
    graph = parse(
        """%0: float32[3, 4] = exp(%x)  # a.py:1
        %1: float32[3, 4] = exp(%x)  # a.py:2
        %2: float32[3, 4] = add(%0, %1)
        return %2"""
    )
    after = merge_common(graph)
    assert body_of(after) == ["%0: float32[3, 4] = exp(%x)  # a.py:1", "%1: float32[3, 4] = add(%0, %0)", "return %1"]


def test_merge_common_takes_the_operands_of_sums_in_either_order() -> None:
    graph = parse(
        """%0: float32[3, 4] = exp(%x)
        %1: float32[3, 4] = add(%0, %x)
        %2: float32[3, 4] = add(%x, %0)
        %3: float32[3, 4] = sub(%0, %x)
        %4: float32[3, 4] = sub(%x, %0)
        return %1, %2, %3, %4"""
    )
    assert [node.op for node in merge_common(graph).nodes] == ["exp", "add", "sub", "sub"]


def test_constants_merge_by_value_and_type() -> None:
    graph = parse(
        """%0: float32[] = constant() {value=0.0}
        %1: float32[] = constant() {value=-0.0}
        %2: float32[] = constant() {value=0.0}
        return %0, %1, %2"""
    )
    assert len(merge_common(graph).nodes) == 2


def test_drop_dead_keeps_effects() -> None:
    graph = parse_graph(
        """graph g(%p: cell float32[2], %x: float32[2]) {
          %0: uint64[2] = random_key() {count=2}
          %1: float32[2] = random_uniform(%0)
          %2: float32[2] = assign(%p, %x)
          %3: float32[2] = exp(%x)
          %4: float32[2] = assign(%p, %3)
          return
        }
        """
    )
    assert [node.op for node in drop_dead(graph).nodes] == ["random_key", "exp", "assign"]


def test_contract_fma_needs_a_single_use() -> None:
    graph = parse("%0: float32[3, 4] = mul(%x, %y)\n%1: float32[3, 4] = add(%y, %0)\nreturn %1")
    assert body_of(drop_dead(contract_fma(graph))) == ["%0: float32[3, 4] = fma(%x, %y, %y)", "return %0"]
    shared = parse("%0: float32[3, 4] = mul(%x, %y)\n%1: float32[3, 4] = add(%y, %0)\nreturn %1, %0")
    assert contract_fma(shared) is shared
    half = parse("%0: float16[2] = mul(%x, %x)\n%1: float16[2] = add(%x, %0)\nreturn %1", "%x: float16[2]")
    assert contract_fma(half) is half


def test_contract_fma_with_subtraction() -> None:
    graph = parse("%0: float32[3, 4] = mul(%x, %y)\n%1: float32[3, 4] = sub(%y, %0)\nreturn %1")
    after = drop_dead(contract_fma(graph))
    assert [node.op for node in after.nodes] == ["neg", "fma"]
    np.testing.assert_allclose(outputs(graph, arrays_for(graph))[0], outputs(after, arrays_for(graph))[0], rtol=1e-5)


def test_split_reductions() -> None:
    graph = parse("%0: float32[4] = reduce(%x) {kind='sum', dims=(0, 2)}\nreturn %0", "%x: float32[3, 4, 5]")
    assert body_of(split_reductions(graph)) == [
        "%0: float32[3, 4] = reduce(%x) {kind='sum', dims=(2,)}",
        "%1: float32[4] = reduce(%0) {kind='sum', dims=(0,)}",
        "return %1",
    ]
    one_block = parse("%0: float32[3] = reduce(%x) {kind='sum', dims=(1, 2)}\nreturn %0", "%x: float32[3, 4, 5]")
    assert split_reductions(one_block) is one_block


def test_expand_inlines_and_writes_equal_sizes() -> None:
    graph = parse(
        """%0: float32[3, 4] = softplus(%x) [
          region() {
            %1: float32[3, 4] = exp(%x)
            %2: float32[3, 4] = log1p(%1)
            return %2
          }
        ]
        return %0"""
    )
    assert body_of(expand(graph)) == [
        "%0: float32[3, 4] = exp(%x)",
        "%1: float32[3, 4] = log1p(%0)",
        "return %1",
    ]


@pytest.mark.parametrize("name", ["expand", "simplify", "fold", "merge", "drop", "fma", "split"])
def test_returns_the_same_object_if_nothing_changes(name: str) -> None:
    graph = parse("%0: float32[3, 4] = exp(%x)\nreturn %0")
    passes = {
        "expand": expand,
        "simplify": lambda g: simplify(g, strict=False),
        "fold": fold_constants,
        "merge": merge_common,
        "drop": drop_dead,
        "fma": contract_fma,
        "split": split_reductions,
    }
    assert passes[name](graph) is graph


def test_driver_reports_each_pass_that_changed_the_graph() -> None:
    graph = parse("%0: float32[3, 4] = mul(%x, %y)\n%1: float32[3, 4] = add(%y, %0)\nreturn %1")
    seen: list[str] = []
    optimise(graph, Options(strict=False, verify=True), lambda name, graph: seen.append(name))
    assert seen == ["contract_fma", "drop_dead"]
    assert optimise(graph, Options(strict=True, verify=True)) is graph


def test_a_copy_of_what_is_computed_is_no_copy() -> None:
    graph = parse_graph("""graph g(%x: float32[3]) {
  %0: float32[3] = exp(%x)
  %1: float32[3] = copy(%0)
  %2: float32[3] = copy(%x)
  return %1, %2
}
""")
    after = drop_dead(simplify(graph, strict=True))
    assert [node.op for node in after.nodes] == ["exp", "copy"]
