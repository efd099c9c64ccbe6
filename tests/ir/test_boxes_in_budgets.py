"""Boxes in programs that must do with so much memory."""

from __future__ import annotations

import numpy as np
import pytest
from box_graphs import F32, INDEX, checked, counting, emit, growing, plus, rows, run, table

from duograph import _core as core
from duograph.errors import OutOfMemoryError
from duograph.ir import Builder, Graph, TensorType
from duograph.ir.dim import Expr
from duograph.runtime.build import build


def test_a_budget_does_not_go_with_boxes() -> None:
    with pytest.raises(OutOfMemoryError, match="known only when it runs"):
        build(checked(growing()), budget=1 << 20)


def in_bounds(keep: bool) -> Graph:
    """A loop of four turns that boxes as many rows as there are, up to eight, added to themselves."""
    with Builder("in_bounds") as b:
        x = b.input(rows(8), "x")
        count = b.input(INDEX, "count", kind="number")
        test = counting(b, b.constant(4, core.int64), 1)
        size = b.size_of(count, high=8)
        start = emit(b, "slice", [x], rows(size), starts=(0, 0), stops=(size, 3), steps=(1, 1))
        with b.region([INDEX] * 2) as body:
            j, box = body.inputs
            v = b.unbox(box, F32, (size, 3))
            body.outputs = [plus(b, j, 1), b.box(emit(b, "add", [v, v], v.type), keep)]
        _, box = b.while_loop(test, body, [b.constant(0, core.int64), b.box(start)])
        return b.finish([b.unbox(box, F32, (size, 3))])


@pytest.mark.parametrize("keep", [True, False])
def test_boxes_count_in_a_budget(keep: bool) -> None:
    built = build(checked(in_bounds(keep)), budget=4096)
    assert built.report.peak is not None
    x = table(8)
    for count in (0, 3, 8):
        np.testing.assert_array_equal(run(built.program, [x], [count])[0], x[:count] * 16)
    with pytest.raises(OutOfMemoryError, match="cannot run in"):
        build(checked(in_bounds(keep)), budget=96 * (5 if keep else 3))  # the boxes alone are not larger than that


def chain(late: bool) -> Graph:
    """A chain of values that are all read again, last first; one of them is boxed on the way."""
    with Builder("chain") as b:
        x = b.input(TensorType(F32, (3000,)), "x")
        count = b.input(INDEX, "count", kind="number")
        size: Expr = b.size_of(count, high=3000) if late else 3000
        vector = TensorType(F32, (size,))
        h = emit(b, "slice", [x], vector, starts=(0,), steps=(1,))
        kept = []
        for k in range(12):
            if k == 6:
                h = b.unbox(b.box(h), F32, (size,))
            h = emit(b, "tanh", [emit(b, "add", [h, b.constant(0.1 * k, F32, (size,))], vector)], vector)
            total = emit(b, "reduce", [h], TensorType(F32), kind="sum", dims=(0,))
            h = emit(b, "add", [h, b.broadcast(emit(b, "cos", [total], total.type), (size,))], vector)
            kept.append(h)
        for value in reversed(kept):
            h = emit(b, "mul", [h, emit(b, "cos", [value], vector)], vector)
            total = emit(b, "reduce", [h], TensorType(F32), kind="sum", dims=(0,))
            h = emit(b, "add", [h, b.broadcast(total, (size,))], vector)
        return b.finish([h])


@pytest.mark.parametrize("late", [True, False])
def test_what_is_computed_again_for_a_budget_is_not_boxed_again(late: bool) -> None:
    whole, tight = (build(checked(chain(late)), budget=budget) for budget in (None, 0.65))
    assert tight.report.recomputed.values > 0
    assert [step["kind"] for step in tight.program.profile()].count("box") == 1
    x = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    for count in (3000, 17) if late else (3000,):
        (wanted,), (found,) = (run(made_of.program, [x], [count]) for made_of in (whole, tight))
        np.testing.assert_array_equal(found, wanted)
