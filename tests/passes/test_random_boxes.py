"""Random programs whose variables change their size in loops and branches, nested, against the same in NumPy."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from box_graphs import BOOL, F32, INDEX, N, emit, joined, made, number, opened, plus, rows, run, table

from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value

Array = np.ndarray[Any, Any]
Block = list[Any]
NAMES = ("a", "b", "c")


def block(rng: random.Random, depth: int) -> Block:
    """Statements: tuples of a kind, the variable that changes and others, or of a kind and blocks."""
    found: Block = []
    for _ in range(rng.randint(1, 3)):
        kinds = ["join", "shift", "map", "sum", "swap"] + (["loop", "loop", "if"] if depth else [])
        kind = rng.choice(kinds)
        if kind == "loop":
            found.append((kind, rng.randint(0, 3), rng.random() < 0.3, block(rng, depth - 1)))
        elif kind == "if":
            found.append((kind, rng.randint(0, 6), block(rng, depth - 1), block(rng, depth - 1)))
        else:
            found.append((kind, rng.choice(NAMES), rng.choice(NAMES)))
    return found


def in_numpy(statements: Block, values: dict[str, Array]) -> None:
    for kind, *rest in statements:
        if kind == "loop":
            for _ in range(rest[0]):
                in_numpy(rest[2], values)
        elif kind == "if":
            in_numpy(rest[1] if len(values["a"]) > rest[0] else rest[2], values)
        else:
            x, y = values[rest[0]], values[rest[1]]
            if kind == "join":
                values[rest[0]] = np.concatenate([x, y[-1:]])
            elif kind == "shift":
                values[rest[0]] = np.concatenate([x[1:], y[:1]])
            elif kind == "map":
                values[rest[0]] = np.maximum(x, -x) * np.float32(0.5) + y[-1]
            elif kind == "sum":
                values[rest[0]] = np.concatenate([x.max(0, keepdims=True), y])[:40]
            else:
                values[rest[0]], values[rest[1]] = y, x


def part(b: Builder, x: Value, start: Any, stop: Any) -> Value:
    return emit(b, "slice", [x], rows(stop - start), starts=(start, 0), stops=(stop, 3), steps=(1, 1))


def row(b: Builder, x: Value, at: int) -> Value:
    where = b.constant(0, core.int64) if at == 0 else plus(b, number(b, x.shape[0]), -1)
    return emit(b, "row", [x, where], TensorType(F32, (3,)))


def as_rows(b: Builder, x: Value) -> Value:
    return emit(b, "reshape", [x], rows(1))


def simple(b: Builder, kind: str, values: dict[str, Value], first: str, second: str) -> None:
    x, y = values[first], values[second]
    if kind == "join":
        values[first] = joined(b, x, as_rows(b, row(b, y, -1)))
    elif kind == "shift":
        values[first] = joined(b, part(b, x, 1, x.shape[0]), as_rows(b, row(b, y, 0)))
    elif kind == "map":
        size = emit(b, "maximum", [x, emit(b, "neg", [x], x.type)], x.type)
        half = emit(b, "mul", [size, b.constant(0.5, F32, x.shape)], x.type)
        values[first] = emit(b, "add", [half, b.broadcast(row(b, y, -1), x.shape)], x.type)
    elif kind == "sum":
        top = emit(b, "reduce", [x], TensorType(F32, (3,)), kind="max", dims=(0,))
        whole = joined(b, as_rows(b, top), y)
        few = emit(b, "minimum", [number(b, whole.shape[0]), b.constant(40, core.int64)], INDEX)
        values[first] = part(b, whole, 0, b.size_of(few))
    else:
        values[first], values[second] = y, x


def boxed(b: Builder, values: dict[str, Value], keep: bool) -> list[Value]:
    return [value for name in NAMES for value in (number(b, values[name].shape[0]), b.box(values[name], keep))]


def unboxed(b: Builder, numbers: Any) -> dict[str, Value]:
    return {name: opened(b, *numbers[2 * i : 2 * i + 2]) for i, name in enumerate(NAMES)}


def write(b: Builder, statements: Block, values: dict[str, Value]) -> None:
    for kind, *rest in statements:
        if kind == "loop":
            with b.region([INDEX] * 7) as test:
                test.outputs = [emit(b, "lt", [test.inputs[0], b.constant(rest[0], core.int64)], BOOL)]
            with b.region([INDEX] * 7) as body:
                inner = unboxed(b, body.inputs[1:])
                write(b, rest[2], inner)
                body.outputs = [plus(b, body.inputs[0], 1), *boxed(b, inner, rest[1])]
            start = [b.constant(0, core.int64), *boxed(b, values, rest[1])]
            values.update(unboxed(b, b.while_loop(test, body, start)[1:]))
        elif kind == "if":
            longer = emit(b, "gt", [number(b, values["a"].shape[0]), b.constant(rest[0], core.int64)], BOOL)
            sides = []
            for statements_of_side in rest[1:]:
                with b.region([]) as side:
                    inner = dict(values)
                    write(b, statements_of_side, inner)
                    side.outputs = boxed(b, inner, False)
                sides.append(side)
            values.update(unboxed(b, b.cond(longer, *sides)))
        else:
            simple(b, kind, values, *rest)


def program(statements: Block) -> Graph:
    with Builder("random") as b:
        x = b.input(rows(N), "x")
        values = {"a": x, "b": emit(b, "add", [x, x], x.type), "c": as_rows(b, row(b, x, 0))}
        write(b, statements, values)
        return b.finish([values[name] for name in NAMES])


@pytest.mark.parametrize("seed", range(24))
def test_random_programs(seed: int) -> None:
    rng = random.Random(seed)
    statements = [*block(rng, 2), ("loop", 3, seed % 2 == 0, block(rng, 1)), *block(rng, 1)]
    graph = program(statements)
    for fuse in (True, False) if seed % 4 == 0 else (True,):
        compiled = made(graph, fuse)
        for n in (1, 4):
            x = table(n)
            values = {"a": x, "b": x + x, "c": x[:1]}
            in_numpy(statements, values)
            for name, found in zip(NAMES, run(compiled, [x], [])):
                np.testing.assert_array_equal(found, values[name], err_msg=f"{name} after {statements}")
