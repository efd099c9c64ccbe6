"""Which loops become one, and that nothing they compute changes."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value
from duograph.ir.verify import verify
from duograph.passes.pipeline import Options, optimise
from duograph.passes.rewriting.join_loops import join_loops
from duograph.runtime.build import build

INDEX, BOOL, VECTOR = TensorType(core.int64), TensorType(core.bool), TensorType(core.float64, (4,))


def emit(b: Builder, op: str, inputs: list[Value], type: TensorType) -> Value:
    return b.emit(op, inputs, {}, [type])[0]


def loop(b: Builder, turns: Value, starts: list[Value], ops: list[str], first: int = 0) -> list[Value]:
    """From each start `ops[i]` of the first variable and the own one in each turn."""
    types, names = [INDEX] + [VECTOR] * len(starts), ["j", *(f"v{i}" for i in range(len(starts)))]
    with b.region(types, names) as condition:
        condition.outputs = [emit(b, "lt", [condition.inputs[0], turns], BOOL)]
    with b.region(types, names) as body:
        j, *values = body.inputs
        moved = [emit(b, op, [values[0], value], VECTOR) for op, value in zip(ops, values)]
        body.outputs = [emit(b, "add", [j, b.constant(1, core.int64)], INDEX), *moved]
    return b.while_loop(condition, body, [b.constant(first, core.int64), *starts])[1:]


def program(case: str) -> Graph:
    with Builder(case) as b:
        x, v = b.input(VECTOR, "x"), b.input(VECTOR, "v")
        turns, others = b.input(INDEX, "turns", kind="number"), b.input(INDEX, "others", kind="number")
        (y,) = loop(b, turns, [x], ["mul"])
        between = emit(b, "mul", [v, v], VECTOR)
        start = y if case == "begins with the result" else between
        second = others if case == "another number of turns" else turns
        ops = ["add", "sub"] if case == "another body" else ["mul", "sub"]
        made = loop(b, second, [x, start], ops, 1 if case == "begins later" else 0)
        graph = b.finish([y, emit(b, "add", [y, v], VECTOR), *made])
    verify(graph)
    return graph


def run(graph: Graph) -> list[np.ndarray]:
    x, v = dg.tensor(np.array([0.5, -1.5, 1.1, 0.9])), dg.tensor(np.array([1.0, 2.0, 3.0, 4.0]))
    return [t.numpy() for t in build(graph).program.run([x, v], [3, 2])]


def loops(graph: Graph) -> int:
    return sum(node.op == "while_loop" for node in graph.nodes)


CASES = ["contained", "another number of turns", "another body", "begins later", "begins with the result"]


@pytest.mark.parametrize("case", CASES)
def test_joined_where_turns_are_the_same(case: str) -> None:
    graph = program(case)
    after = join_loops(graph)
    verify(after)
    assert loops(after) == (1 if case == "contained" else 2)
    assert (after is graph) == (case != "contained")
    assert join_loops(after) is after
    done = optimise(after, Options(strict=True, verify=True))
    expected = [np.array([0.5, -1.5, 1.1, 0.9])]
    for _ in range(3):
        expected = [expected[0] * expected[0]]
    found = run(done)
    np.testing.assert_array_equal(found[0], expected[0])
    if case == "contained":
        np.testing.assert_array_equal(found[2], found[0])
        assert "mul" in [n.op for n in after.nodes[: next(i for i, n in enumerate(after.nodes) if n.op == "while_loop")]]
