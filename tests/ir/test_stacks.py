"""Loops that keep a row of each turn, with the number of turns known or not, and sizes known only while a program runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import BoundsError, InternalError
from duograph.ir import Builder, Graph, TensorType, Value, symbol
from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Node
from duograph.ir.late import late_symbols
from duograph.ir.text import parse_graph, print_graph
from duograph.ir.verify import verify
from duograph.passes.fusion.schedule import KernelStep, WhileStep
from duograph.passes.pipeline import Options
from duograph.runtime.assemble import Assembled, assemble
from duograph.runtime.build import build

BOOL, INDEX = TensorType(core.bool), TensorType(core.int64)
N, D = symbol("n"), symbol("d")
VECTOR, MATRIX = TensorType(core.float32, (D,)), TensorType(core.float32, (N, D))
Array = np.ndarray[Any, Any]


def emit(builder: Builder, op: str, inputs: list[Value], type: TensorType, **attrs: Any) -> Value:
    return builder.emit(op, inputs, attrs, [type])[0]


def counted(b: Builder, limit: Value, types: list[TensorType]) -> Any:
    """The test of a loop that carries a counter first."""
    with b.region([INDEX, *types]) as test:
        test.outputs = [emit(b, "lt", [test.inputs[0], limit], BOOL)]
    return test


def following(b: Builder, j: Value) -> Value:
    return emit(b, "add", [j, b.constant(1, core.int64)], INDEX)


def checked(graph: Graph) -> Graph:
    verify(graph)
    assert print_graph(parse_graph(str(graph))) == str(graph)
    return graph


def compiled(graph: Graph) -> Assembled:
    return assemble(graph, Options(verify=True), False, True)


def run(graph: Graph, tensors: list[Array], numbers: list[int], fuse: bool = True) -> list[Array]:
    program = build(checked(graph), fuse=fuse).program
    return [out.numpy() for out in program.run([dg.from_numpy(t) for t in tensors], numbers, [])]


def recurrence(matmul: bool, trips: Expr | None, more: Callable[[Builder, Value], list[Value]] | None = None) -> Graph:
    """h = tanh(h @ w + x[j]) or tanh(h + x[j]) for j < turns; the last h, all of them, and those before each turn."""
    with Builder("recurrence") as b:
        x, h0 = b.input(MATRIX, "x"), b.input(VECTOR, "h0")
        w = b.input(TensorType(core.float32, (D, D)), "w")
        turns = b.input(INDEX, "turns", kind="number")
        test = counted(b, turns, [VECTOR])
        with b.region([INDEX, VECTOR], ["j", "h"]) as body:
            j, h = body.inputs
            mixed = emit(b, "contraction", [h, w], VECTOR, a="k", b="kn", out="n") if matmul else h
            new = emit(b, "tanh", [emit(b, "add", [mixed, emit(b, "row", [x, j], VECTOR)], VECTOR)], VECTOR)
            body.outputs = [following(b, j), new, new, h]
        _, last, after, before = b.while_loop(test, body, [b.constant(0, core.int64), h0], stacked=2, trips=trips)
        extra = more(b, after) if more else []
        return b.finish([last, after, before, *extra])


def expected(x: Array, h: Array, w: Array | None, turns: int) -> tuple[Array, Array, Array]:
    after, before = np.zeros((turns, len(h)), np.float32), np.zeros((turns, len(h)), np.float32)
    for j in range(turns):
        before[j] = h
        h = np.tanh((h if w is None else h @ w) + x[j])
        after[j] = h
    return h, after, before


def operands(n: int, d: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(n * 100 + d)
    x, h = rng.standard_normal((n, d), np.float32), rng.standard_normal(d, np.float32)
    return x, h, rng.standard_normal((d, d), np.float32) / np.float32(max(d, 1)) ** np.float32(0.5)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("matmul", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_stacks(known: bool, matmul: bool, fuse: bool) -> None:
    graph = recurrence(matmul, N if known else None)
    for n, d in ((0, 3), (1, 1), (7, 5), (40, 33), (3, 0), (1000, 2)):
        x, h, w = operands(n, d)
        found = run(graph, [x, h, w], [n], fuse)
        for a, b in zip(found, expected(x, h, w if matmul else None, n)):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("known", [True, False])
def test_rows_are_written_by_the_kernel_that_computes_them(known: bool) -> None:
    made = compiled(recurrence(False, N if known else None))
    (loop,) = [step for step in made.plan.steps if isinstance(step, WhileStep)]
    assert len(loop.stacks) == 2
    kernels = [step for step in loop.body if isinstance(step, KernelStep)]
    exp = [step for step in kernels if any(node.op == "tanh" for node in step.nodes)]
    assert len(exp) == 1
    assert len(kernels) <= 3  # the row with the carried value, the value before it, the counter


def test_a_known_number_of_turns_needs_no_further_memory() -> None:
    made = compiled(recurrence(True, N))
    assert not made.memory.late
    assert "late" not in str(made.spec["regs"])


@pytest.mark.parametrize("turns", [2, 4])
def test_another_number_of_turns_than_rows_is_an_error(turns: int) -> None:
    with pytest.raises(InternalError, match="code -5"):
        run(recurrence(False, N), [*operands(3, 4)], [turns]) if turns == 2 else run(
            recurrence(False, N), [operands(5, 4)[0][:3], *operands(5, 4)[1:]], [turns]
        )


def after_the_loop(b: Builder, after: Value) -> list[Value]:
    """Of a late size: an elementwise value, sums along both dims, numbers that need nothing but the size."""
    n = after.shape[0]
    twice = emit(b, "add", [after, after], after.type)
    columns = emit(b, "reduce", [emit(b, "exp", [twice], after.type)], VECTOR, kind="sum", dims=(0,))
    rows = emit(b, "reduce", [twice], TensorType(core.float32, (n,)), kind="sum", dims=(1,))
    numbers = emit(b, "iota", [], TensorType(core.int64, (n,)), dim=0)
    size = emit(b, "size", [], INDEX, value=n)
    scaled = emit(b, "mul", [rows, b.broadcast(emit(b, "cast", [size], TensorType(core.float32)), (n,))], rows.type)
    flat = emit(b, "reshape", [twice], TensorType(core.float32, (n * after.shape[1],)))
    return [twice, columns, scaled, numbers, size, flat]


@pytest.mark.parametrize("fuse", [True, False])
def test_late_sizes_after_the_loop(fuse: bool) -> None:
    graph = recurrence(True, None, after_the_loop)
    program = build(checked(graph), fuse=fuse).program
    for turns in (0, 1, 13, 100, 5):
        x, h, w = operands(100, 6)
        found = [out.numpy() for out in program.run([dg.from_numpy(t) for t in (x, h, w)], [turns], [])]
        last, after, before = expected(x, h, w, turns)
        twice = after * 2
        sums = twice.sum(1) * turns
        wanted = [last, after, before, twice, np.exp(twice).sum(0), sums, np.arange(turns), np.array(turns), twice.reshape(-1)]
        for a, b in zip(found, wanted):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def nested() -> Graph:
    """For j < n: the inner loop makes rows h, h + 1, … while below x[j]; the row kept is their number and their sum."""
    scalar = TensorType(core.float32)
    with Builder("nested") as b:
        x = b.input(TensorType(core.float32, (N,)), "x")
        limit = emit(b, "size", [], INDEX, value=N)
        one, zero = b.constant(1.0, core.float32), b.constant(0.0, core.float32)
        test = counted(b, limit, [])
        with b.region([INDEX], ["j"]) as body:
            (j,) = body.inputs
            end = emit(b, "row", [x, j], scalar)
            with b.region([scalar], ["h"]) as inner_test:
                inner_test.outputs = [emit(b, "lt", [inner_test.inputs[0], end], BOOL)]
            with b.region([scalar], ["h"]) as inner:
                new = emit(b, "add", [inner.inputs[0], one], scalar)
                pair = b.broadcast(inner.inputs[0], (2,))
                inner.outputs = [new, pair]
            _, rows = b.while_loop(inner_test, inner, [zero], stacked=1)
            squares = emit(b, "mul", [rows, rows], rows.type)
            total = emit(b, "reduce", [squares], scalar, kind="sum", dims=(0, 1))
            turns = emit(b, "cast", [emit(b, "size", [], INDEX, value=rows.shape[0])], scalar)
            body.outputs = [following(b, j), turns, total]
        _, counts, totals = b.while_loop(test, body, [b.constant(0, core.int64)], stacked=2)
        return b.finish([counts, totals])


def test_late_sizes_inside_a_loop_body() -> None:
    x = np.array([0, 5, 1, 300, 0, 2, 299], np.float32)
    counts, totals = run(nested(), [x], [])
    np.testing.assert_array_equal(counts, x)
    np.testing.assert_allclose(totals, [2 * sum(i * i for i in range(int(n))) for n in x])


def measured() -> Graph:
    """x[:size], its sum, and the positions of what is above 0 in x."""
    vector = TensorType(core.float32, (N,))
    with Builder("measured") as b:
        x, count = b.input(vector, "x"), b.input(INDEX, "count")
        size = b.size_of(count)
        cut = emit(b, "slice", [x], TensorType(core.float32, (size,)), starts=(0,), steps=(1,))
        b.check("le", size, N, 7)
        total = emit(b, "reduce", [cut], TensorType(core.float32), kind="sum", dims=(0,))
        mask = emit(b, "gt", [x, b.constant(0.0, core.float32, (N,))], TensorType(core.bool, (N,)))
        found = b.late("found")
        positions = emit(b, "nonzero", [mask], TensorType(core.int64, (found,)), size=found)
        taken = emit(b, "take", [x, positions], TensorType(core.float32, (found,)), dim=0)
        return b.finish([emit(b, "exp", [cut], cut.type), total, positions, emit(b, "neg", [taken], taken.type), cut])


@pytest.mark.parametrize("fuse", [True, False])
def test_sizes_from_values_and_counts(fuse: bool) -> None:
    graph = measured()
    for n, count in ((0, 0), (5, 3), (1000, 1000), (64, 0)):
        x = np.random.default_rng(n).standard_normal(n, np.float32)
        exp, total, positions, taken, cut = run(graph, [x, np.array(count)], [], fuse)
        np.testing.assert_allclose(exp, np.exp(x[:count]), rtol=2e-7)
        np.testing.assert_allclose(total, x[:count].sum(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(positions, np.flatnonzero(x > 0))
        np.testing.assert_array_equal(taken, -x[x > 0])
        np.testing.assert_array_equal(cut, x[:count])


@pytest.mark.parametrize(("count", "code"), [(-1, -6), (6, 7)])
def test_sizes_that_cannot_be(count: int, code: int) -> None:
    with pytest.raises(InternalError, match=f"code {code}"):
        run(measured(), [np.zeros(5, np.float32), np.array(count)], [])


def test_a_late_size_that_must_equal_a_known_one() -> None:
    with Builder("equal") as b:
        x, y = b.input(TensorType(core.float32, (N,)), "x"), b.input(TensorType(core.float32, (symbol("m"),)), "y")
        mask = emit(b, "gt", [x, b.constant(0.0, core.float32, (N,))], TensorType(core.bool, (N,)))
        found = b.late()
        positions = emit(b, "nonzero", [mask], TensorType(core.int64, (found,)), size=found)
        taken = emit(b, "take", [x, positions], TensorType(core.float32, (found,)), dim=0)
        size = b.unify(found, symbol("m"), 5)
        assert size is symbol("m")
        graph = b.finish([emit(b, "add", [taken, y], TensorType(core.float32, (size,)))])
    program = build(graph).program
    x = np.array([1, -1, 2], np.float32)
    (out,) = program.run([dg.from_numpy(x), dg.from_numpy(np.array([10, 20], np.float32))], [], [])
    np.testing.assert_array_equal(out.numpy(), [11, 22])
    with pytest.raises(InternalError, match="code 5"):
        program.run([dg.from_numpy(x), dg.from_numpy(np.zeros(3, np.float32))], [], [])


def test_nothing_leaks() -> None:
    graph = recurrence(True, None, after_the_loop)
    program = build(graph).program
    tensors = [dg.from_numpy(t) for t in operands(200, 30)]

    def live() -> int:
        return int(core.memory_stats()["live_buffers"])

    program.run(tensors, [200], [])
    before = live()
    for turns in (0, 200, 3):
        program.run(tensors, [turns], [])
        with pytest.raises(BoundsError, match="index 200 is out of range"):
            program.run(tensors, [201], [])
    assert live() == before


def _swap(graph: Graph, **changes: Any) -> Graph:
    nodes = []
    for node in graph.nodes:
        if node.op == "while_loop":
            made = Node(node.op, node.inputs, {**node.attrs, **changes}, tuple(v.type for v in node.outputs), node.regions)
            nodes.append(made)
        else:
            nodes.append(node)
    outputs = tuple(nodes[-1].outputs[value.index] for value in graph.outputs)
    return graph.replace(nodes=tuple(nodes), outputs=outputs)


def test_verifier() -> None:
    graph = recurrence(False, None)
    verify(graph)
    (late,) = late_symbols(graph)
    assert isinstance(late, Dim)
    for changes, message in (
        ({"stacked": 1}, "are 3 results"),
        ({"trips": N, "turns": None}, "rows of type"),
        ({"turns": N}, "belongs to"),
    ):
        with pytest.raises(InternalError, match=message):
            verify(_swap(graph, **changes))


def test_a_late_size_is_made_once_and_known_before_it_is_used() -> None:
    with Builder() as b:
        count = b.input(INDEX, "count")
        size = b.size_of(count)
        b.emit("size_of", [count], {"size": size}, [INDEX])
        with pytest.raises(InternalError, match="belongs to another node"):
            verify(b.finish([]))
    with Builder() as b:
        count = b.input(INDEX, "count")
        late = symbol("late0", 0)
        early = emit(b, "iota", [], TensorType(core.int64, (late,)), dim=0)
        assert b.size_of(count) is late
        with pytest.raises(InternalError, match="used before it is known"):
            verify(b.finish([early]))


def test_the_builder_counts_rows() -> None:
    with Builder() as b:
        test = counted(b, b.constant(3, core.int64), [])
        with b.region([INDEX]) as body:
            body.outputs = [following(b, body.inputs[0])]
        with pytest.raises(ValueError, match="1 carried values and 1 rows has 1 results"):
            b.while_loop(test, body, [b.constant(0, core.int64)], stacked=1)
