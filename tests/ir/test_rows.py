"""Rows of an array read and written at a position known only when the program runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import BoundsError, InternalError
from duograph.ir import Builder, Graph, TensorType, Value, symbol
from duograph.ir.text import parse_graph, print_graph
from duograph.ir.verify import verify
from duograph.passes.fusion.schedule import CopyStep, KernelStep, WhileStep
from duograph.passes.pipeline import Options
from duograph.runtime.assemble import Assembled, assemble
from duograph.runtime.build import build

N, D = 6, 5
INDEX = TensorType(core.int64)
MATRIX = TensorType(core.float32, (symbol("n"), symbol("d")))
ROW = TensorType(core.float32, (symbol("d"),))

Make = Callable[[Builder, Value, Value], list[Value]]


def emit(builder: Builder, op: str, inputs: list[Value], type: TensorType, **attrs: Any) -> Value:
    return builder.emit(op, inputs, attrs, [type])[0]


def graph_of(make: Make) -> Graph:
    with Builder("rows") as builder:
        x = builder.input(MATRIX, "x")
        i = builder.input(INDEX, "i", kind="number")
        graph = builder.finish(make(builder, x, i))
    verify(graph)
    assert print_graph(parse_graph(str(graph))) == str(graph)
    return graph


def compiled(graph: Graph, fuse: bool = True) -> Assembled:
    return assemble(graph, Options(fuse=fuse, verify=True), False, True)


def matrix() -> np.ndarray[Any, Any]:
    return np.arange(N * D, dtype=np.float32).reshape(N, D) / 7


def read_and_write(b: Builder, x: Value, i: Value) -> list[Value]:
    row = emit(b, "row", [x, i], ROW)
    twice = emit(b, "add", [row, row], ROW)
    return [twice, emit(b, "row_update", [emit(b, "exp", [x], MATRIX), i, twice], MATRIX)]


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("i", [0, 3, N - 1])
def test_values(i: int, fuse: bool) -> None:
    program = build(graph_of(read_and_write), fuse=fuse).program
    x = matrix()
    twice, updated = program.run([dg.from_numpy(x)], [i], [])
    np.testing.assert_array_equal(twice.numpy(), x[i] * 2)
    expected = np.exp(x)
    expected[i] = x[i] * 2
    np.testing.assert_allclose(updated.numpy(), expected, rtol=2e-7)


@pytest.mark.parametrize("i", [-1, N, 2**40])
def test_a_position_outside_is_an_error(i: int) -> None:
    program = build(graph_of(read_and_write)).program
    with pytest.raises(BoundsError, match=rf"index {i} is out of range for a dimension of size {N}"):
        program.run([dg.from_numpy(matrix())], [i], [])


def test_a_row_is_read_inside_its_consumers_kernel() -> None:
    made = compiled(graph_of(lambda b, x, i: [emit(b, "exp", [emit(b, "row", [x, i], ROW)], ROW)]))
    assert len(made.plan.steps) == 1


def test_a_row_as_operand_of_a_contraction() -> None:
    square = TensorType(core.float32, (symbol("d"), symbol("d")))

    def make(b: Builder, x: Value, i: Value) -> list[Value]:
        w = b.input(square, "w")
        return [emit(b, "contraction", [emit(b, "row", [x, i], ROW), w], ROW, a="k", b="kn", out="n")]

    x, w = matrix(), np.linspace(-1, 1, D * D, dtype=np.float32).reshape(D, D)
    (out,) = build(graph_of(make)).program.run([dg.from_numpy(x), dg.from_numpy(w)], [2], [])
    np.testing.assert_allclose(out.numpy(), x[2] @ w, rtol=1e-5)


def chain(b: Builder, x: Value, i: Value) -> list[Value]:
    """Two rows written into a value that nobody else reads."""
    start = emit(b, "exp", [x], MATRIX)
    once = emit(b, "row_update", [start, i, emit(b, "row", [x, i], ROW)], MATRIX)
    return [emit(b, "row_update", [once, b.constant(0, core.int64), b.constant(1.0, core.float32, ROW.shape)], MATRIX)]


def test_updates_of_a_dying_value_happen_in_its_memory() -> None:
    made = compiled(graph_of(chain))
    assert len(made.plan.steps) == 3  # exp, and one small kernel for each row
    whole = [s for s in made.plan.steps if isinstance(s, KernelStep) and any(node.op == "exp" for node in s.nodes)]
    assert len(whole) == 1
    assert not made.memory.offsets  # all in the result
    x = matrix()
    (out,) = build(graph_of(chain)).program.run([dg.from_numpy(x)], [2], [])
    expected = np.exp(x)
    expected[2], expected[0] = x[2], 1
    np.testing.assert_allclose(out.numpy(), expected, rtol=2e-7)


def test_a_value_that_lives_on_is_not_overwritten() -> None:
    def make(b: Builder, x: Value, i: Value) -> list[Value]:
        start = emit(b, "exp", [x], MATRIX)
        updated = emit(b, "row_update", [start, i, b.constant(9.0, core.float32, ROW.shape)], MATRIX)
        return [updated, emit(b, "neg", [start], MATRIX)]

    x = matrix()
    updated, negated = build(graph_of(make)).program.run([dg.from_numpy(x)], [4], [])
    expected = np.exp(x)
    np.testing.assert_allclose(negated.numpy(), -expected, rtol=2e-7)
    expected[4] = 9
    np.testing.assert_allclose(updated.numpy(), expected, rtol=2e-7)


def accumulate(builder: Builder, x: Value, n: Value) -> list[Value]:
    """acc[j % 3] = acc[j % 3] * 0.5 + x[j] for j < n."""
    half, three = builder.constant(0.5, core.float32, ROW.shape), builder.constant(3, core.int64)
    with builder.region([INDEX, MATRIX], ["j", "acc"]) as test:
        test.outputs = [emit(builder, "lt", [test.inputs[0], n], TensorType(core.bool))]
    with builder.region([INDEX, MATRIX], ["j", "acc"]) as body:
        j, acc = body.inputs
        at = emit(builder, "mod", [j, three], INDEX)
        old = emit(builder, "mul", [emit(builder, "row", [acc, at], ROW), half], ROW)
        new = emit(builder, "add", [old, emit(builder, "row", [x, j], ROW)], ROW)
        following = emit(builder, "add", [j, builder.constant(1, core.int64)], INDEX)
        body.outputs = [following, emit(builder, "row_update", [acc, at, new], MATRIX)]
    start = builder.constant(0.0, core.float32, MATRIX.shape)
    return builder.while_loop(test, body, [builder.constant(0, core.int64), start])


def test_a_carried_value_is_updated_in_place() -> None:
    made = compiled(graph_of(accumulate))
    (loop,) = [step for step in made.plan.steps if isinstance(step, WhileStep)]
    assert not any(isinstance(step, CopyStep) for step in loop.body)
    assert len(loop.body) == 2  # the row, the counter
    x = matrix()
    expected = np.zeros_like(x)
    for j in range(N):
        expected[j % 3] = expected[j % 3] * np.float32(0.5) + x[j]
    for fuse in (True, False):
        count, acc = build(graph_of(accumulate), fuse=fuse).program.run([dg.from_numpy(x)], [N], [])
        assert count.item() == N
        np.testing.assert_array_equal(acc.numpy(), expected)


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        ("row", [MATRIX, TensorType(core.int32)], "int64 of shape"),
        ("row", [INDEX, INDEX], "something that has rows"),
        ("row_update", [MATRIX, INDEX, TensorType(core.float32, (symbol("n"),))], "is a row of the first"),
        ("row_update", [MATRIX, INDEX, TensorType(core.float64, (symbol("d"),))], "one dtype"),
    ],
)
def test_verifier(op: str, types: list[TensorType], message: str) -> None:
    with Builder() as builder:
        values = [builder.input(type) for type in types]
        result = ROW if op == "row" else MATRIX
        graph = builder.finish([emit(builder, op, values, result)])
    with pytest.raises(InternalError, match=message):
        verify(graph)
