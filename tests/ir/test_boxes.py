"""Boxes: loops that carry, by a number, tensors whose size changes from turn to turn."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from box_graphs import (
    BOOL,
    F32,
    INDEX,
    N,
    appended,
    checked,
    counting,
    emit,
    growing,
    grown,
    joined,
    last_row,
    made,
    nested,
    nested_in_numpy,
    number,
    opened,
    plus,
    rolling,
    rows,
    run,
    table,
)

import duograph as dg
from duograph import _core as core
from duograph.errors import CaptureError, InternalError
from duograph.func.batching import Batching
from duograph.ir import Builder, Graph, TensorType
from duograph.ir.verify import verify
from duograph.passes.fusion.schedule import KernelStep, WhileStep
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.assemble import assemble
from duograph.runtime.build import build


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


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_a_loop_carries_a_tensor_that_grows(keep: bool, fuse: bool) -> None:
    program = made(growing(keep), fuse)
    for n, turns in ((1, 0), (0, 1), (4, 1), (3, 2), (2, 9), (0, 15)):
        x = table(n) * np.float32(0.1)
        (found,) = run(program, [x], [turns])
        assert found.shape == (n + turns, 3)
        np.testing.assert_allclose(found, grown(x, turns), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_loops_and_branches_inside_of_loops(keep: bool, fuse: bool) -> None:
    program = made(nested(keep), fuse)
    for n, turns in ((1, 0), (1, 1), (2, 5), (7, 12), (300, 3)):
        x = table(n)
        (found,) = run(program, [x], [turns])
        np.testing.assert_array_equal(found, nested_in_numpy(x, turns))


def backwards() -> Graph:
    """A loop appends the sum of all rows, and keeps what each turn began with; a second one goes through these, last first.

    Of each it adds up, row by row, twice the last one.
    """
    row_type = TensorType(F32, (3,))
    with Builder("backwards") as b:
        x = b.input(rows(N), "x")
        turns = b.input(INDEX, "turns", kind="number")
        test = counting(b, turns, 2)
        with b.region([INDEX] * 3, ["j", "count", "box"]) as body:
            j, count, box = body.inputs
            v = opened(b, count, box)
            w = appended(b, v, emit(b, "reduce", [v], row_type, kind="sum", dims=(0,)))
            body.outputs = [plus(b, j, 1), number(b, w.shape[0]), b.box(w, True), count, box]
        start = [b.constant(0, core.int64), number(b, N), b.box(x, True)]
        _, count, box, counts, boxes = b.while_loop(test, body, start, stacked=2)
        last = opened(b, count, box)
        with b.region([INDEX, row_type], ["k", "sum"]) as back_test:
            back_test.outputs = [emit(b, "lt", [back_test.inputs[0], turns], BOOL)]
        with b.region([INDEX, row_type], ["k", "sum"]) as back:
            k, total = back.inputs
            at = emit(b, "sub", [plus(b, turns, -1), k], INDEX)
            v = opened(b, emit(b, "row", [counts, at], INDEX), emit(b, "row", [boxes, at], INDEX))
            twice = emit(b, "add", [last_row(b, v), last_row(b, v)], row_type)
            back.outputs = [plus(b, k, 1), emit(b, "sub", [twice, total], row_type)]
        _, total = b.while_loop(back_test, back, [b.constant(0, core.int64), b.constant(0.0, F32, (3,))])
        return b.finish([last, total])


@pytest.mark.parametrize("fuse", [True, False])
def test_what_every_turn_began_with_is_kept_for_a_loop_that_runs_backwards(fuse: bool) -> None:
    program = made(backwards(), fuse)
    for n, turns in ((1, 0), (1, 1), (4, 7), (3, 20)):
        x = table(n)
        kept = []
        v = x
        for _ in range(turns):
            kept.append(v)
            v = np.concatenate([v, v.sum(0, keepdims=True)])
        total = np.zeros(3, np.float32)
        for k in reversed(kept):
            total = 2 * k[-1] - total
        last, found = run(program, [x], [turns])
        np.testing.assert_allclose(last, v, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(found, total, rtol=1e-4, atol=1e-3)


def swapping() -> Graph:
    """`a, b = b, cat([a, b's last row])`: each carried value has a box of its own."""
    with Builder("swapping") as b:
        x = b.input(rows(N), "x")
        turns = b.input(INDEX, "turns", kind="number")
        test = counting(b, turns, 4)
        with b.region([INDEX] * 5, ["j", "n", "a", "m", "b"]) as body:
            j, n, first, m, second = body.inputs
            v, w = opened(b, n, first), opened(b, m, second)
            longer = appended(b, v, last_row(b, w))
            body.outputs = [
                plus(b, j, 1),
                number(b, w.shape[0]),
                b.box(w),
                number(b, longer.shape[0]),
                b.box(longer),
            ]
        size = number(b, N)
        doubled = emit(b, "add", [x, x], x.type)
        start = [b.constant(0, core.int64), size, b.box(x), size, b.box(doubled)]
        _, n, first, m, second = b.while_loop(test, body, start)
        return b.finish([opened(b, n, first), opened(b, m, second)])


def test_two_carried_values_change_places() -> None:
    program = made(swapping())
    for n, turns in ((1, 0), (2, 1), (3, 8), (1, 31)):
        first, second = table(n), table(n) * 2
        for _ in range(turns):
            first, second = second, np.concatenate([first, second[-1:]])
        for found, wanted in zip(run(program, [table(n)], [turns]), (first, second)):
            np.testing.assert_array_equal(found, wanted)


# Memory


def live() -> int:
    return int(core.memory_stats()["live_buffers"])


def test_memory_is_flat_over_many_turns() -> None:
    program = made(rolling(1))
    x = table(1000)
    run(program, [x], [2])
    core.reset_peak()
    run(program, [x], [2])
    few = core.memory_stats()["peak"]
    before = live()
    core.reset_peak()
    (found,) = run(program, [x], [10_000])
    np.testing.assert_array_equal(found, np.repeat(x[-1:], 1000, 0))
    assert core.memory_stats()["peak"] <= few
    assert live() <= before + 1  # what was found


def test_kept_boxes_are_given_back_when_the_program_ends() -> None:
    program = made(growing(keep=True))
    run(program, [table(2)], [1])
    before = live()
    for _ in range(3):
        run(program, [table(2) * 0], [40])
        assert live() <= before


def test_a_run_that_fails_in_the_middle_leaves_nothing() -> None:
    program = made(rolling(3))  # after some turns there are fewer rows than it drops
    run(program, [table(30)], [2])
    before = live()
    for _ in range(3):
        with pytest.raises(Exception):  # noqa: B017 (which of the checks finds it does not matter)
            run(program, [table(30)], [50])
        assert live() <= before
    (found,) = run(program, [table(30)], [2])
    assert found.shape == (26, 3)


def test_threads_that_run_one_program_have_boxes_of_their_own() -> None:
    program = made(nested(False))
    wrong: list[str] = []

    def work(seed: int) -> None:
        x = table(seed + 1)
        wanted = nested_in_numpy(x, 6 + seed)
        for _ in range(50):
            (found,) = run(program, [x], [6 + seed])
            if not np.array_equal(found, wanted):
                wrong.append(f"thread {seed}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# What is wrong


def opening(sizes: int, put_in: bool = True) -> Graph:
    """Takes as many rows as a number says from a box of as many as an input has; or from the box of a number that is given."""
    with Builder("opening") as b:
        x = b.input(rows(N), "x")
        count = b.input(INDEX, "count", kind="number")
        box = b.box(x)
        if not put_in:
            box = emit(b, "sub", [box, b.constant(sizes, core.int64)], INDEX)
        return b.finish([opened(b, count, box)])


def test_no_more_is_taken_from_a_box_than_was_put_into_it() -> None:
    program = made(opening(0))
    np.testing.assert_array_equal(run(program, [table(5)], [4])[0], table(5)[:4])
    np.testing.assert_array_equal(run(program, [table(5)], [5])[0], table(5))
    with pytest.raises(InternalError, match="more is taken from a box than was put into it"):
        run(program, [table(5)], [6])


@pytest.mark.parametrize("away", [1, 2, -1, -100, 1 << 40])
def test_a_number_that_no_box_has(away: int) -> None:
    with pytest.raises(InternalError, match="no box of this number"):
        run(made(opening(away, False)), [table(5)], [1])


def stale() -> Graph:
    """A loop whose second carried number is that of the box of two turns ago."""
    with Builder("stale") as b:
        x = b.input(rows(N), "x")
        turns = b.input(INDEX, "turns", kind="number")
        test = counting(b, turns, 2)
        with b.region([INDEX] * 3, ["j", "box", "older"]) as body:
            j, box, _ = body.inputs
            v = b.unbox(box, F32, (N, 3))
            body.outputs = [plus(b, j, 1), b.box(emit(b, "add", [v, v], v.type)), box]
        start = b.box(x)
        _, box, older = b.while_loop(test, body, [b.constant(0, core.int64), start, start])
        with b.region([INDEX] * 2) as once:
            once.outputs = [b.constant(False, core.bool)]
        return b.finish([b.unbox(box, F32, (N, 3)), b.unbox(older, F32, (N, 3))])


def test_a_box_stays_while_its_node_runs_once_more() -> None:
    program = made(stale())
    for turns in (0, 1, 2, 9):
        newest, older = run(program, [table(4)], [turns])
        np.testing.assert_array_equal(newest, table(4) * np.float32(2**turns))
        np.testing.assert_array_equal(older, table(4) * np.float32(2 ** max(turns - 1, 0)))


def test_rules_of_the_graph() -> None:
    with Builder() as b:
        x = b.input(rows(N), "x")
        b.emit("box", [x], {"keep": False}, [TensorType(core.float32)])
        with pytest.raises(InternalError, match="a box has a number, an int64"):
            verify(b.finish([]))
    with Builder() as b:
        x = b.input(rows(N), "x")
        b.emit("box", [x], {}, [INDEX])
        with pytest.raises(InternalError, match="is kept or not"):
            verify(b.finish([]))
    with Builder() as b:
        x = b.input(rows(N), "x")
        with pytest.raises(InternalError, match="the number of a box is an int64"):
            verify(b.finish([b.unbox(x, F32, (N, 3))]))


SPEC: dict[str, Any] = {
    "inputs": [1],
    "regs": [["const", 8], ["mul", 0, 2], ["const", 0], ["const", 512]],
    "arena": 5,
    "slots": [["input", 0], ["temp", 4, 5], ["box"], ["output", 0], ["box"]],
    "steps": [["box", 4, 3, False], ["copy", 4, 0, 3], ["number", 4, 1], ["unbox", 2, 3, 1], ["copy", 3, 2, 3]],
    "outputs": [[5, [0], None]],
}


def test_the_spec_of_a_program_with_boxes() -> None:
    x = dg.from_numpy(np.arange(9))
    assert core.Program(SPEC).run([x], [], [])[0].tolist() == list(range(9))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([["box", 9, 3, False]], "slot 9 is not in"),
        ([["box", 0, 3, False]], "expected a box"),
        ([["box", 2, 77, False]], "register 77 is not in"),
        ([["box", 2, 3, 1]], "expected true or false"),
        ([["box", 2, 3]], "at least 4 items"),
        ([["number", 2, 1]], "nothing makes this box"),
        ([["box", 2, 3, False], ["number", 4, 1]], "nothing makes this box"),
        ([["box", 2, 3, False], ["number", 2, 7]], "slot 7 is not in"),
        ([["unbox", 1, 3, 1]], "expected a box"),
        ([["unbox", 2, 3, 7]], "slot 7 is not in"),
    ],
)
def test_wrong_specs(steps: list[Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        core.Program({**SPEC, "steps": steps})


def test_a_box_that_nothing_was_put_into() -> None:
    x = dg.from_numpy(np.arange(9))
    for first in (["zero", 1, 3], ["number", 4, 1]):
        steps = [first, ["unbox", 2, 3, 1], *SPEC["steps"][:3]]
        if first[0] == "number":  # of a box that is made in a branch that is not taken
            steps = [["zero", 1, 3], ["cond", 1, SPEC["steps"][:1], []], *steps[:2]]
        with pytest.raises(InternalError, match="no box of this number"):
            core.Program({**SPEC, "steps": steps}).run([x], [], [])


# Passes


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.walk()]


def simplified(graph: Graph) -> Graph:
    return optimise(checked(graph), Options(verify=True))


@pytest.mark.parametrize("keep", [True, False])
def test_equal_boxes_that_are_kept_are_one_and_unused_ones_go(keep: bool) -> None:
    with Builder() as b:
        x = b.input(rows(N), "x")
        twice = emit(b, "add", [x, x], x.type)
        same = [b.unbox(b.box(twice, keep), F32, (N, 3)) for _ in range(2)]
        b.unbox(b.box(x), F32, (N, 3))
        b.box(x, keep=True)
        graph = simplified(b.finish([emit(b, "add", same, x.type)]))
    assert ops(graph).count("box") == ops(graph).count("unbox") == (1 if keep else 2)
    x = table(4)
    np.testing.assert_array_equal(run(made(graph), [x], [])[0], x * 4)


def test_a_carried_box_that_nobody_wants_goes() -> None:
    with Builder() as b:
        x = b.input(rows(N), "x")
        turns = b.input(INDEX, "turns", kind="number")
        test = counting(b, turns, 2)
        with b.region([INDEX] * 3) as body:
            j, count, box = body.inputs
            v = opened(b, count, box)
            w = joined(b, v, v)
            body.outputs = [plus(b, j, 1), number(b, w.shape[0]), b.box(w)]
        j, _, _ = b.while_loop(test, body, [b.constant(0, core.int64), number(b, N), b.box(x)])
        graph = simplified(b.finish([j]))
    assert not {"box", "unbox", "size_of", "concat"} & set(ops(graph))


def test_rows_written_into_what_was_unboxed_do_not_change_the_box() -> None:
    with Builder() as b:
        x, at = b.input(rows(N), "x"), b.input(INDEX, "at", kind="number")
        box = b.box(x)
        first = b.unbox(box, F32, (N, 3))
        row = emit(b, "reduce", [first], TensorType(F32, (3,)), kind="sum", dims=(0,))
        changed = emit(b, "row_update", [first, at, row], x.type)
        again = b.unbox(emit(b, "where", [b.constant(True, core.bool), box, b.box(changed)], INDEX), F32, (N, 3))
        graph = b.finish([changed, again])
    x = table(6)
    changed, again = run(made(graph), [x], [2])
    np.testing.assert_array_equal(again, x)
    x[2] = changed[2]
    np.testing.assert_array_equal(changed, x)


@pytest.mark.parametrize("given", [True, False])
def test_vmap_refuses_boxes(given: bool) -> None:
    with Builder() as b:
        x = b.input(rows(4), "x")
        graph = b.finish([b.unbox(b.box(x), F32, (4, 3))])
    with Builder() as b:
        batching = Batching(b, 2)
        outer = b.input(TensorType(F32, (2, 4, 3)), "x")
        batching.bind(x, outer, True)
        if not given:
            batching.bind(x, b.input(rows(4), "x"), False)
            batching.mask = b.input(TensorType(core.bool, (2,)), "mask")
        with pytest.raises(CaptureError, match="a tensor whose size changes from turn to turn of a loop cannot be mapped"):
            batching.run(graph.nodes)


def test_ctrl_c_ends_a_loop_that_boxes() -> None:
    program = made(rolling(1))
    run(program, [table(50)], [1])
    before = live()
    for _ in range(2):
        timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run(program, [table(50)], [1 << 60])
        timer.join()
        assert live() <= before
    assert run(program, [table(50)], [7])[0].shape == (50, 3)


def test_what_is_joined_is_written_into_the_box() -> None:
    compiled = assemble(checked(growing()), Options(verify=True), False, True)
    (loop,) = [step for step in compiled.plan.steps if isinstance(step, WhileStep)]
    writes = [buffer for step in loop.body if isinstance(step, KernelStep) for buffer in step.writes if buffer.shape]
    assert [buffer.kind for buffer in writes] == ["box", "box"]  # the rows of before, and one more
    assert not any(life.buffer.value and life.buffer.shape for life in compiled.memory.lives if life.buffer.kind == "temp")


def test_reports_count_boxes() -> None:
    report = build(checked(opening(0))).report
    assert [str(variable.bytes) for variable in report.variables if variable.name.startswith("box")] == ["12*n"]
