"""What tests of boxes write graphs with: tensors of three columns and any number of rows, carried by numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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


def counting(b: Builder, limit: Value, carried: int) -> Any:
    """The test of a loop that carries a counter and further numbers."""
    with b.region([INDEX] * (1 + carried)) as test:
        test.outputs = [emit(b, "lt", [test.inputs[0], limit], BOOL)]
    return test


def last_row(b: Builder, v: Value) -> Value:
    return emit(b, "row", [v, plus(b, number(b, v.shape[0]), -1)], TensorType(F32, (3,)))


def last_row_of(b: Builder, v: Value) -> Value:
    return emit(b, "reshape", [last_row(b, v)], rows(1))


def appended(b: Builder, v: Value, row: Value) -> Value:
    return joined(b, v, emit(b, "reshape", [row], rows(1)))


def carried(b: Builder, first: Value, turns: Value, turn: Callable[[Value, Value], Value], keep: bool = False) -> Value:
    """What a loop of so many turns ends with that carries a tensor in a box; `turn`: (its number, the tensor) → the next."""
    test = counting(b, turns, 2)
    with b.region([INDEX] * 3, ["j", "count", "box"]) as body:
        j, count, box = body.inputs
        w = turn(j, opened(b, count, box))
        body.outputs = [plus(b, j, 1), number(b, w.shape[0]), b.box(w, keep)]
    _, count, box = b.while_loop(test, body, [b.constant(0, core.int64), number(b, first.shape[0]), b.box(first)])
    return opened(b, count, box)


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


def nested(inner_keep: bool) -> Graph:
    """For i < turns: a loop appends the last row plus 1, i times; then, in a branch on i being odd, the first row goes."""
    with Builder("nested") as b:
        x = b.input(rows(N), "x")
        turns = b.input(INDEX, "turns", kind="number")
        test = counting(b, turns, 2)
        with b.region([INDEX] * 3, ["i", "count", "box"]) as body:
            i, count, box = body.inputs
            before = opened(b, count, box)
            one = b.constant(1.0, F32, (3,))
            longer = carried(
                b, before, i, lambda k, v: appended(b, v, emit(b, "add", [last_row(b, v), one], one.type)), inner_keep
            )
            after = joined(b, longer, last_row_of(b, before))  # what was before is still there
            odd = emit(b, "eq", [emit(b, "mod", [i, b.constant(2, core.int64)], INDEX), b.constant(1, core.int64)], BOOL)
            with b.region([]) as then:
                less = emit(
                    b,
                    "slice",
                    [after],
                    rows(after.shape[0] - 1),
                    starts=(1, 0),
                    stops=(after.shape[0], 3),
                    steps=(1, 1),
                )
                then.outputs = [number(b, less.shape[0]), b.box(less)]
            with b.region([]) as otherwise:
                otherwise.outputs = [number(b, after.shape[0]), b.box(after)]
            count, box = b.cond(odd, then, otherwise)
            body.outputs = [plus(b, i, 1), count, box]
        _, count, box = b.while_loop(test, body, [b.constant(0, core.int64), number(b, N), b.box(x)])
        return b.finish([opened(b, count, box)])


def nested_in_numpy(x: Array, turns: int) -> Array:
    for i in range(turns):
        before = x
        for _ in range(i):
            x = np.concatenate([x, x[-1:] + 1])
        x = np.concatenate([x, before[-1:]])
        x = x[1:] if i % 2 else x
    return x


def rolling(step: int) -> Graph:
    """A loop that drops `step` rows in front and appends one to what it carries."""
    with Builder("rolling") as b:
        x = b.input(rows(N), "x")
        turns = b.input(INDEX, "turns", kind="number")

        def turn(j: Value, v: Value) -> Value:
            size = v.shape[0]
            relation = {"relation": "le", "left": step, "right": size, "code": 7, "same": False}
            b.emit("require", [], relation, [BOOL])
            rest = emit(b, "slice", [v], rows(size - step), starts=(step, 0), stops=(size, 3), steps=(1, 1))
            return appended(b, rest, last_row(b, v))

        return b.finish([carried(b, x, turns, turn)])
