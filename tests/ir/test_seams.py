"""The seams, by hand: a loop with regions, a branch, a symbolic size, a random effect and a mutated cell in one program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value, symbol
from duograph.ir.text import parse_graph, print_graph
from duograph.ir.verify import verify
from duograph.runtime.build import build

LIMIT = 4


def seams() -> Graph:
    """v = x + random; `limit` times v = v / 2 + state; state += -v if sum(v) > 0 else exp(v)."""
    n = symbol("n")
    vector, scalar = TensorType(core.float32, (n,)), TensorType(core.int64)
    with Builder("seams") as builder:
        x = builder.input(vector, "x")
        state = builder.input(vector, "state", kind="cell", origin="state")
        limit = builder.input(scalar, "limit", kind="number")

        def emit(op: str, inputs: list[Value], type: TensorType, **attrs: Any) -> Value:
            return builder.emit(op, inputs, attrs, [type])[0]

        key = emit("random_key", [], TensorType(core.uint64, (2,)), count=n)
        start = emit("add", [x, emit("random_uniform", [key], vector)], vector)
        with builder.region([scalar, vector], ["i", "v"]) as test:
            test.outputs = [emit("lt", [test.inputs[0], limit], TensorType(core.bool))]
        with builder.region([scalar, vector], ["i", "v"]) as body:
            i, v = body.inputs
            halved = emit("mul", [v, builder.constant(0.5, core.float32, (n,))], vector)
            body.outputs = [emit("add", [i, builder.constant(1, core.int64)], scalar), emit("add", [halved, state], vector)]
        count, final = builder.while_loop(test, body, [builder.constant(0, core.int64), start])
        total = emit("reduce", [final], TensorType(core.float32), kind="sum", dims=(0,))
        positive = emit("gt", [total, builder.constant(0.0, core.float32)], TensorType(core.bool))
        with builder.region([]) as then:
            then.outputs = [emit("neg", [final], vector)]
        with builder.region([]) as otherwise:
            otherwise.outputs = [emit("exp", [final], vector)]
        (picked,) = builder.cond(positive, then, otherwise)
        after = builder.assign(state, emit("add", [state, picked], vector))
        return builder.finish([count, picked, after])


def test_verifies_and_round_trips() -> None:
    graph = seams()
    verify(graph)
    assert print_graph(parse_graph(str(graph))) == str(graph)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_runs_at_any_size(sign: int, fuse: bool) -> None:
    program = build(seams(), fuse=fuse).program
    for n in (0, 1, 5, 1000):
        x = (sign * np.arange(n)).astype(np.float32)
        initial = np.full(n, sign * 0.25, np.float32)
        state = dg.from_numpy(initial.copy())
        core.manual_seed(3)
        count, picked, after = program.run([dg.from_numpy(x), state], [LIMIT], [])
        core.manual_seed(3)
        v = x + dg.rand(n).numpy()
        for _ in range(LIMIT):
            v = v * np.float32(0.5) + initial
        expected = -v if v.sum() > 0 else np.exp(v)
        assert count.item() == LIMIT
        np.testing.assert_allclose(picked.numpy(), expected, rtol=2e-7)
        np.testing.assert_array_equal(after.numpy(), initial + picked.numpy())
        assert after.data_ptr() == state.data_ptr()
