"""Small branches become choices; branches that may fail, or cost, stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value
from duograph.passes.pipeline import Options, optimise
from duograph.passes.rewriting.select_branches import select_branches

I, B = TensorType(core.int64), TensorType(core.bool)


def branch(then: Callable[[Builder, Value, Value], Value], type: TensorType = I) -> Graph:
    """`then(x, y) if p else y`"""
    with Builder() as b:
        p, x, y = b.input(B, "p"), b.input(type, "x"), b.input(type, "y")
        with b.region([]) as first:
            first.outputs = [then(b, x, y)]
        with b.region([]) as second:
            second.outputs = [y]
        return b.finish(b.cond(p, first, second))


def op(name: str) -> Callable[[Builder, Value, Value], Value]:
    return lambda b, x, y: b.emit(name, [x, y], {}, [x.type])[0]


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


@pytest.mark.parametrize("name", ["add", "maximum", "shl"])
def test_a_cheap_branch_is_a_choice(name: str) -> None:
    assert ops(select_branches(branch(op(name)))) == [name, "where"]


@pytest.mark.parametrize("name", ["floordiv", "mod", "pow"])
def test_what_may_fail_stays_in_its_branch(name: str) -> None:
    graph = branch(op(name))
    assert select_branches(graph) is graph


@pytest.mark.parametrize(("divisor", "expected"), [(2, ["constant", "floordiv", "where"]), (0, ["cond"])])
def test_a_known_divisor(divisor: int, expected: list[str]) -> None:
    def divide(b: Builder, x: Value, y: Value) -> Value:
        return b.emit("floordiv", [x, b.constant(divisor, core.int64)], {}, [I])[0]

    assert ops(select_branches(branch(divide))) == expected


def test_small_tensors_are_chosen_whole_and_large_ones_not_at_all() -> None:
    small, large = (branch(op("add"), TensorType(core.float32, (n,))) for n in (8, 1000))
    assert ops(select_branches(small)) == ["add", "broadcast", "where"]
    assert select_branches(large) is large


def test_dear_branches_stay() -> None:
    def series(b: Builder, x: Value, y: Value) -> Value:
        for _ in range(5):
            x = b.emit("exp", [x], {}, [x.type])[0]
        return x

    graph = branch(series, TensorType(core.float32))
    assert select_branches(graph) is graph


def test_the_same_on_both_sides_is_no_choice() -> None:
    graph = branch(lambda b, x, y: y)
    assert optimise(graph, Options(verify=True)).outputs == graph.inputs[2:]
