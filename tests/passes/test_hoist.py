"""What leaves a loop and what stays in it; the bits do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import BoundsError
from duograph.ir import Builder, Graph, TensorType, Value, symbol
from duograph.ir.dim import Expr
from duograph.ir.verify import verify
from duograph.passes.pipeline import Options, optimise
from duograph.passes.rewriting.hoist import hoist
from duograph.runtime.build import build

D = symbol("d", 1)
INDEX, BOOL = TensorType(core.int64), TensorType(core.bool)
VECTOR, SQUARE = TensorType(core.float32, (D,)), TensorType(core.float32, (D, D))
Step = Callable[[Builder, Value, Value, Value, Value], Value]


def emit(builder: Builder, op: str, inputs: list[Value], type: TensorType, **attrs: Any) -> Value:
    return builder.emit(op, inputs, attrs, [type])[0]


def loop_of(step: Step, test: Step | None = None, trips: Expr | None = None) -> Graph:
    """h = step(h, w, v, j) for j < turns."""
    with Builder("loop") as b:
        h0, v, w = b.input(VECTOR, "h0"), b.input(VECTOR, "v"), b.input(SQUARE, "w")
        turns, k = b.input(INDEX, "turns", kind="number"), b.input(INDEX, "k", kind="number")
        with b.region([INDEX, VECTOR, INDEX], ["j", "h", "k"]) as condition:
            j, h, at = condition.inputs
            less = emit(b, "lt", [j, turns], BOOL)
            condition.outputs = [emit(b, "logical_and", [less, test(b, h, w, v, at)], BOOL) if test else less]
        with b.region([INDEX, VECTOR, INDEX], ["j", "h", "k"]) as body:
            j, h, at = body.inputs
            new = step(b, h, w, v, at)
            body.outputs = [emit(b, "add", [j, b.constant(1, core.int64)], INDEX), new, at]
        found = b.while_loop(condition, body, [b.constant(0, core.int64), h0, k])
        graph = b.finish([found[1]])
    if trips is not None:
        node = next(node for node in graph.nodes if node.op == "while_loop")
        node.attrs["trips"] = trips
    verify(graph)
    return graph


def loops(graph: Graph) -> list[list[str]]:
    """The operators in the bodies of the loops."""
    return [[n.op for n in node.regions[1].nodes] for node in graph.walk() if node.op == "while_loop"]


def outside(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def product(b: Builder, h: Value, w: Value, v: Value, k: Value) -> Value:
    """h @ (w.T * w) + v @ w"""
    weight = emit(b, "mul", [emit(b, "permute", [w], SQUARE, dims=(1, 0)), w], SQUARE)
    left = emit(b, "contraction", [h, weight], VECTOR, a="k", b="kn", out="n")
    right = emit(b, "contraction", [v, w], VECTOR, a="k", b="kn", out="n")
    return emit(b, "tanh", [emit(b, "add", [left, right], VECTOR)], VECTOR)


def cheap(b: Builder, h: Value, w: Value, v: Value, k: Value) -> Value:
    """h + (v + v): adding costs less than a load"""
    return emit(b, "add", [h, emit(b, "add", [v, v], VECTOR)], VECTOR)


def row(b: Builder, h: Value, w: Value, v: Value, k: Value) -> Value:
    return emit(b, "add", [h, emit(b, "exp", [emit(b, "row", [w, k], VECTOR)], VECTOR)], VECTOR)


def summed(b: Builder, h: Value, w: Value, v: Value, k: Value) -> Value:
    """h + exp(sum(w)), two steps that leave one after the other"""
    total = emit(b, "reduce", [w], VECTOR, kind="sum", dims=(0,))
    return emit(b, "add", [h, emit(b, "exp", [total], VECTOR)], VECTOR)


def operands() -> list[Any]:
    rng = np.random.default_rng(0)
    return [dg.from_numpy(rng.standard_normal(s).astype(np.float32) / 4) for s in ((9,), (9,), (9, 9))]


@pytest.mark.parametrize("step", [product, cheap, row, summed])
def test_bits(step: Step) -> None:
    graph = loop_of(step)
    plain = build(graph, optimised=True).program
    hoisted = build(optimise(graph, Options(verify=True)), optimised=True).program
    for turns in (0, 1, 5):
        expected = plain.run(operands(), [turns, 3], [])[0].numpy()
        np.testing.assert_array_equal(hoisted.run(operands(), [turns, 3], [])[0].numpy(), expected)


def test_products_of_invariants_leave() -> None:
    after = optimise(loop_of(product), Options(verify=True))
    (body,) = loops(after)
    assert body.count("contraction") == 1 and "mul" not in body
    assert outside(after).count("contraction") == 1 and "mul" in outside(after)


def test_what_leaves_leaves_in_one_go() -> None:
    after = optimise(loop_of(summed), Options(verify=True))
    (body,) = loops(after)
    assert "reduce" not in body and "exp" not in body


def test_cheap_work_stays() -> None:
    graph = loop_of(cheap)
    assert hoist(graph) is graph


def test_what_can_fail_stays_in_a_loop_that_may_make_no_turn() -> None:
    graph = optimise(loop_of(row), Options(verify=True))
    assert "row" in loops(graph)[0]
    program = build(graph, optimised=True).program
    program.run(operands(), [0, 99], [])
    with pytest.raises(BoundsError, match="index 99 is out of range"):
        program.run(operands(), [1, 99], [])
    assert "row" not in loops(optimise(loop_of(row, trips=D), Options()))[0]


def test_a_test_runs_at_least_once() -> None:
    def above(b: Builder, h: Value, w: Value, v: Value, k: Value) -> Value:
        total = emit(b, "reduce", [emit(b, "row", [w, k], VECTOR)], TensorType(core.float32), kind="sum", dims=(0,))
        return emit(b, "lt", [total, b.constant(1e9, core.float32)], BOOL)

    graph = optimise(loop_of(cheap, above), Options(verify=True))
    assert {"row", "reduce"} <= set(outside(graph))


def test_inner_work_leaves_both_loops() -> None:
    with Builder("nested") as b:
        h0, w = b.input(VECTOR, "h0"), b.input(SQUARE, "w")
        turns = b.input(INDEX, "turns", kind="number")

        def counted(step: Callable[[Value], Value], start: Value) -> Value:
            with b.region([INDEX, VECTOR]) as test:
                test.outputs = [emit(b, "lt", [test.inputs[0], turns], BOOL)]
            with b.region([INDEX, VECTOR]) as body:
                following = emit(b, "add", [body.inputs[0], b.constant(1, core.int64)], INDEX)
                body.outputs = [following, step(body.inputs[1])]
            return b.while_loop(test, body, [b.constant(0, core.int64), start])[1]

        def inner(h: Value) -> Value:
            return emit(b, "add", [h, emit(b, "reduce", [w], VECTOR, kind="sum", dims=(1,))], VECTOR)

        graph = b.finish([counted(lambda h: counted(inner, h), h0)])
    after = optimise(graph, Options(verify=True))
    assert "reduce" in outside(after)
    w = np.eye(4, dtype=np.float32)
    (out,) = build(after, optimised=True).program.run([dg.zeros(4), dg.from_numpy(w)], [3], [])
    np.testing.assert_array_equal(out.numpy(), np.full(4, 9, np.float32))
