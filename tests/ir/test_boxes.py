"""Boxes: loops that carry, by a number, tensors whose size changes from turn to turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value, symbol
from duograph.ir.dim import Expr
from duograph.ir.text import parse_graph, print_graph
from duograph.ir.verify import verify
from duograph.runtime.build import build

BOOL, INDEX, F32 = TensorType(core.bool), TensorType(core.int64), core.float32
N = symbol("n")
Array = np.ndarray[Any, Any]


def emit(b: Builder, op: str, inputs: list[Value], type: TensorType, **attrs: Any) -> Value:
    return b.emit(op, inputs, attrs, [type])[0]


def plus(b: Builder, value: Value, number: int) -> Value:
    return emit(b, "add", [value, b.constant(number, core.int64)], INDEX)


def number(b: Builder, size: Expr) -> Value:
    return emit(b, "size", [], INDEX, value=size)


def rows(size: Expr) -> TensorType:
    return TensorType(F32, (size, 3))


def joined(b: Builder, *parts: Value) -> Value:
    size: Expr = 0
    for part in parts:
        size = size + part.shape[0]
    return emit(b, "concat", list(parts), rows(size), dim=0)


def opened(b: Builder, count: Value, box: Value, name: str = "late") -> Value:
    """What is in a box of `count` rows."""
    return b.unbox(box, F32, (b.size_of(count, name), 3))


def checked(graph: Graph) -> Graph:
    verify(graph)
    assert print_graph(parse_graph(str(graph))) == str(graph)
    return graph


def made(graph: Graph, fuse: bool = True) -> Any:
    return build(checked(graph), fuse=fuse).program


def run(program: Any, tensors: list[Array], numbers: list[int]) -> list[Array]:
    return [out.numpy() for out in program.run([dg.from_numpy(t) for t in tensors], numbers, [])]


def table(n: int) -> Array:
    return np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)


def straight() -> Graph:
    """The rows of an input twice over, boxed and taken out again; the input itself, and twice what is in the box."""
    with Builder("straight") as b:
        x = b.input(rows(N), "x")
        count = number(b, N + N)
        found = opened(b, count, b.box(joined(b, x, x)))
        whole = b.unbox(b.box(x, keep=True), F32, (N, 3))
        return b.finish([found, whole, emit(b, "add", [found, found], found.type)])


@pytest.mark.parametrize("fuse", [True, False])
def test_what_was_boxed_is_in_the_box(fuse: bool) -> None:
    program = made(straight(), fuse)
    for n in (0, 1, 5, 3000):
        x = table(n)
        twice, same, doubled = run(program, [x], [])
        np.testing.assert_array_equal(twice, np.concatenate([x, x]))
        np.testing.assert_array_equal(same, x)
        np.testing.assert_array_equal(doubled, twice * 2)


def growing(keep: bool = False) -> Graph:
    """`for j in range(turns): w = cat([w, row j])`, where row j holds the sum of all of w so far and j."""
    with Builder("growing") as b:
        x = b.input(rows(N), "x")
        turns = b.input(INDEX, "turns", kind="number")
        with b.region([INDEX, INDEX, INDEX], ["j", "count", "box"]) as test:
            j, count, box = test.inputs
            v = opened(b, count, box)
            few = emit(b, "reduce", [v], TensorType(F32), kind="sum", dims=(0, 1))
            small = emit(b, "lt", [few, b.constant(1e9, F32)], BOOL)
            test.outputs = [emit(b, "logical_and", [small, emit(b, "lt", [j, turns], BOOL)], BOOL)]
        with b.region([INDEX, INDEX, INDEX], ["j", "count", "box"]) as body:
            j, count, box = body.inputs
            v = opened(b, count, box)
            sums = emit(b, "reduce", [v], TensorType(F32, (3,)), kind="sum", dims=(0,))
            mixed = emit(b, "add", [sums, b.broadcast(emit(b, "cast", [j], TensorType(F32)), (3,))], sums.type)
            row = emit(b, "reshape", [mixed], rows(1))
            w = joined(b, v, row)
            body.outputs = [plus(b, j, 1), number(b, w.shape[0]), b.box(w, keep)]
        initial = [b.constant(0, core.int64), number(b, N), b.box(x)]
        _, count, box = b.while_loop(test, body, initial)
        return b.finish([opened(b, count, box)])


def grown(x: Array, turns: int) -> Array:
    for j in range(turns):
        x = np.concatenate([x, x.sum(0, keepdims=True) + np.float32(j)])
    return x


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_a_loop_carries_a_tensor_that_grows(keep: bool, fuse: bool) -> None:
    program = made(growing(keep), fuse)
    for n, turns in ((1, 0), (0, 1), (4, 1), (3, 2), (2, 9), (0, 15)):
        x = table(n) * np.float32(0.1)
        (found,) = run(program, [x], [turns])
        assert found.shape == (n + turns, 3)
        np.testing.assert_allclose(found, grown(x, turns), rtol=1e-4, atol=1e-4)
