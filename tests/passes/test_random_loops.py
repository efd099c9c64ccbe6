"""Random loops: what the passes and fusion make of them gives the values that nodes one by one give."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value, symbol
from duograph.ir.verify import verify
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.build import build

N, D = symbol("n", 1), symbol("d", 1)
INDEX, BOOL = TensorType(core.int64), TensorType(core.bool)
SCALAR, VECTOR = TensorType(core.float32), TensorType(core.float32, (D,))
MATRIX, SQUARE = TensorType(core.float32, (N, D)), TensorType(core.float32, (D, D))
FLAT = TensorType(core.float32, (N * D,))  # a matrix in another shape
ROW = TensorType(core.float32, (1, D))


class Maker:
    """Writes random nodes; values by type are what it picks operands from."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.b = Builder("loops")
        self.depth = 0

    def emit(self, op: str, inputs: list[Value], type: TensorType, **attrs: Any) -> Value:
        return self.b.emit(op, inputs, attrs, [type])[0]

    def pick(self, values: list[Value], type: TensorType) -> Value:
        return self.random.choice([value for value in values if value.type == type])

    def position(self, values: list[Value]) -> Value:
        """A row of the matrices: always in range, if there are rows."""
        size = self.emit("size", [], INDEX, value=N)
        return self.emit("mod", [self.pick(values, INDEX), size], INDEX)

    def node(self, values: list[Value]) -> Value:
        choice = self.random.randrange(14)
        pick = lambda type: self.pick(values, type)  # noqa: E731
        if choice < 4:
            type = self.random.choice([SCALAR, VECTOR, VECTOR, MATRIX])
            op = self.random.choice(["add", "mul", "maximum", "sub"])
            return self.emit("tanh", [self.emit(op, [pick(type), pick(type)], type)], type)
        if choice == 4:
            return self.emit("row", [pick(MATRIX), self.position(values)], VECTOR)
        if choice == 5:
            return self.emit("row_update", [pick(MATRIX), self.position(values), pick(VECTOR)], MATRIX)
        if choice == 6:
            return self.emit(
                "tanh", [self.emit("contraction", [pick(VECTOR), pick(SQUARE)], VECTOR, a="k", b="kn", out="n")], VECTOR
            )
        if choice == 7:
            total = self.emit("reduce", [pick(VECTOR)], SCALAR, kind="max", dims=(0,))
            return self.emit("sin", [total], SCALAR)
        if choice == 8:
            return self.emit("reduce", [pick(MATRIX)], VECTOR, kind="max", dims=(0,))
        if choice == 9:
            return self.b.broadcast(pick(SCALAR), (D,))
        if choice == 10 and self.depth < 2:
            return self.branch(values)
        if choice == 11 and self.depth < 2:
            self.loop(values)
        if choice == 12:
            flat = pick(FLAT)
            return self.emit("reshape", [flat], MATRIX) if self.random.random() < 0.5 else self.emit("neg", [flat], FLAT)
        if choice == 13:
            if self.random.random() < 0.5:
                return self.emit("reshape", [pick(MATRIX)], FLAT)
            row = self.emit("reshape", [pick(VECTOR)], ROW)
            return self.emit("slice_update", [pick(MATRIX), row], MATRIX, starts=(0, 0), steps=(1, 1))
        return self.emit("neg", [pick(VECTOR)], VECTOR)

    def nodes(self, values: list[Value], count: int) -> list[Value]:
        found = list(values)
        for _ in range(count):
            found.append(self.node(found))
        return found

    def branch(self, values: list[Value]) -> Value:
        predicate = self.emit("gt", [self.pick(values, SCALAR), self.b.constant(0.1, core.float32)], BOOL)
        self.depth += 1
        regions = []
        for _ in range(2):
            with self.b.region([]) as region:
                found = self.nodes(values, self.random.randrange(1, 4))
                region.outputs = [self.pick(found, VECTOR), self.pick(found, MATRIX)]
            regions.append(region)
        self.depth -= 1
        first, second = self.b.cond(predicate, *regions)
        values.append(second)
        return first

    def loop(self, values: list[Value]) -> None:
        """A loop whose number of turns is the size n, a count, or decided by a value; its results join the values."""
        r = self.random
        types = [r.choice([SCALAR, VECTOR, MATRIX, FLAT]) for _ in range(r.randrange(1, 4))]
        initial = [self.b.constant(0, core.int64), *(self.pick(values, type) for type in types)]
        kind = r.choice(["size", "count", "value"])
        self.depth += 1
        with self.b.region([INDEX, *types]) as test:
            limit = self.emit("size", [], INDEX, value=N) if kind == "size" else self.b.constant(r.randrange(4), core.int64)
            go_on = self.emit("lt", [test.inputs[0], limit], BOOL)
            if kind == "value":
                found = self.nodes([*values, *test.inputs], 2)
                small = self.emit("lt", [self.pick(found, SCALAR), self.b.constant(0.5, core.float32)], BOOL)
                go_on = self.emit("logical_and", [go_on, small], BOOL)
            test.outputs = [go_on]
        stacked = r.randrange(3)
        with self.b.region([INDEX, *types]) as body:
            found = self.nodes([*values, *body.inputs], r.randrange(2, 8))
            following = self.emit("add", [body.inputs[0], self.b.constant(1, core.int64)], INDEX)
            rows = [self.pick(found, r.choice([SCALAR, VECTOR])) for _ in range(stacked)]
            body.outputs = [following, *(self.pick(found, type) for type in types), *rows]
        self.depth -= 1
        results = self.b.while_loop(test, body, initial, stacked, N if kind == "size" else None)
        values += results[: 1 + len(types)]
        for stack in results[1 + len(types) :]:
            dims = tuple(range(1, len(stack.shape)))
            flat = (
                self.emit("reduce", [stack], TensorType(core.float32, stack.shape[:1]), kind="max", dims=dims) if dims else stack
            )
            if self.depth == 0 and r.random() < 0.5:
                self.stacks.append(self.emit("tanh", [stack], stack.type))
            scaled = self.emit("mul", [flat, flat], flat.type)
            zero = self.b.constant(0.0, core.float32)
            total = self.emit("reduce", [scaled], SCALAR, kind="sum", dims=(0,))
            values.append(self.emit("sin", [self.emit("add", [total, zero], SCALAR)], SCALAR))

    def graph(self) -> Graph:
        self.stacks: list[Value] = []
        with self.b as b:
            values = [b.input(type) for type in (SCALAR, VECTOR, MATRIX, SQUARE)] + [b.input(INDEX, kind="number")]
            values.append(self.emit("reshape", [values[2]], FLAT))
            values = self.nodes(values, self.random.randrange(2, 6))
            for _ in range(self.random.randrange(1, 3)):
                self.loop(values)
                values = self.nodes(values, 2)
            results = [*self.random.sample(values[6:], min(4, len(values) - 6)), *self.stacks]
            return b.finish(results)


def inputs(seed: int, n: int, d: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [dg.from_numpy(np.asarray(rng.standard_normal(shape), np.float32)) for shape in ((), (d,), (n, d), (d, d))]


def compare(seed: int) -> None:
    graph = Maker(seed).graph()
    verify(graph)
    plain = build(graph, fuse=False, optimised=True, cached=False).program
    after = optimise(graph, Options(verify=True))
    fast = build(after, optimised=True, cached=False).program
    for n, d in ((1, 1), (3, 2), (5, 17)):
        tensors = inputs(seed, n, d)
        expected = [out.numpy() for out in plain.run(tensors, [n - 1], [])]
        found = [out.numpy() for out in fast.run(tensors, [n - 1], [])]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}, n = {n}, d = {d}")


@pytest.mark.parametrize("seed", range(25))
def test_random_loops(seed: int) -> None:
    compare(seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(25, 1000))
def test_many_random_loops(seed: int) -> None:
    compare(seed)
