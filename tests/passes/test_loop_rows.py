"""What loops keep for their gradients: each row once, and of long loops only those of the last turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.capture.session import Session
from duograph.ir import Graph, Node
from duograph.passes.pipeline import Options, optimise
from duograph.passes.rewriting import segment_loops

SIZE, BATCH, TURNS = 32, 8, 40


def recurrent() -> tuple[Callable[[Any], Any], list[Any]]:
    """The gradients of a small recurrent network."""
    rng = np.random.default_rng(0)
    weights = [dg.tensor(rng.uniform(-0.2, 0.2, shape).astype(np.float32)) for shape in ((SIZE, SIZE), (SIZE, SIZE), (SIZE,))]
    for weight in weights:
        weight.requires_grad_()
    w, u, b = weights

    def run(x: Any) -> Any:
        h = x[0] * 0.5
        for t in range(x.shape[0]):
            h = (x[t] @ w + h @ u + b).tanh()
        (h * h).mean().backward()
        grads = [p.grad for p in weights]
        for p in weights:
            p.grad = None
        return grads

    return run, weights


def inputs(turns: int = TURNS) -> Any:
    return dg.tensor(np.random.default_rng(1).standard_normal((turns, BATCH, SIZE)).astype(np.float32))


def loops(function: Callable[..., Any], *arguments: Any) -> list[Node]:
    graph: Graph = Session(function, "run", differentiable=False).run(arguments, {}).graph
    found = optimise(graph, Options(verify=True))
    return [node for node in found.nodes if node.op == "while_loop"]


def rows(nodes: list[Node]) -> list[list[int]]:
    """The number of rows of each stack of each loop."""
    return [[int(value.shape[0]) for value in node.outputs[node.attrs["carried"] :]] for node in nodes]  # type: ignore[arg-type]


def same_bits(function: Callable[..., Any], *arguments: Any) -> None:
    dg.manual_seed(3)
    with dg.dynamic_mode():
        expected = function(*arguments)
    for strict in (True, False):
        dg.manual_seed(3)
        found = dg.static(function, strict=strict)(*arguments)
        for a, b in zip(found, expected):
            if strict:
                assert a.numpy().tobytes() == b.numpy().tobytes()
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=2e-6)


def test_a_state_is_kept_once_though_its_gradient_needs_it_before_and_after_each_turn() -> None:
    run, _ = recurrent()
    assert rows(loops(run, inputs())) == [[TURNS], []]
    same_bits(run, inputs())


def test_a_while_loop_of_unknown_length_keeps_its_state_once_too() -> None:
    w = dg.tensor(np.full((4, 4), 0.3, np.float32), requires_grad=True)

    def run(x: Any) -> Any:
        h = x @ w
        while h.abs().sum() < 1e3:
            h = (h @ w).sin() + h * 1.3
        h.sum().backward()
        grad, w.grad = w.grad, None
        return [grad]

    forward, _ = loops(run, dg.ones(2, 4))
    assert forward.attrs["stacked"] == len(set(forward.regions[1].outputs[forward.attrs["carried"] :])) == 2
    same_bits(run, dg.ones(2, 4))


def test_rows_that_the_program_returns_stay_whole() -> None:
    _, weights = recurrent()

    def states(x: Any) -> Any:
        h, kept = x[0] * 0.5, []
        for t in range(x.shape[0]):
            kept.append(h)
            h = (x[t] @ weights[0] + h @ weights[1]).tanh()
        every = dg.stack(kept)
        (every * every).mean().backward()
        grads = [p.grad for p in weights[:2]]
        for p in weights:
            p.grad = None
        return [every.detach(), *grads]

    same_bits(states, inputs())


@pytest.fixture
def small_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_loops, "LEAST_BYTES", 1)


@pytest.mark.usefixtures("small_rows")
def test_of_a_long_loop_only_the_last_rows_are_kept() -> None:
    run, _ = recurrent()
    first, last, again = (rows(loops(run, inputs()))[i] for i in (0, 1, 3))
    assert first == []
    assert last[0] + again[0] == TURNS
    assert last[0] >= again[0] > TURNS // 3
    same_bits(run, inputs())


@pytest.mark.usefixtures("small_rows")
@pytest.mark.parametrize("turns", [8, 9, 17])
def test_bits_stay_at_any_length(turns: int) -> None:
    run, _ = recurrent()
    assert len(loops(run, inputs(turns))) == 5
    same_bits(run, inputs(turns))


@pytest.mark.parametrize("parts", [2, 3, 5, TURNS, 2 * TURNS])
def test_a_loop_is_cut_into_as_many_segments_as_asked(parts: int) -> None:
    run, _ = recurrent()
    graph = Session(run, "run", differentiable=False).run((inputs(),), {}).graph
    cut = optimise(graph, Options(verify=True, cut=segment_loops.in_parts(parts)))
    kept = [r[0] for r in rows([node for node in cut.nodes if node.op == "while_loop"]) if r]
    assert sum(kept) == TURNS
    assert max(kept) == -(-TURNS // parts)


def not_cut(function: Callable[..., Any], *arguments: Any) -> None:
    assert sum(bool(r) for r in rows(loops(function, *arguments))) == 1
    same_bits(function, *arguments)


@pytest.mark.usefixtures("small_rows")
def test_a_loop_that_draws_random_numbers_runs_once() -> None:
    w = dg.tensor(np.full((SIZE, SIZE), 0.1, np.float32), requires_grad=True)

    def run(x: Any) -> Any:
        h = x[0]
        for t in range(x.shape[0]):
            h = (h @ w + dg.dropout(x[t], 0.5, True)).tanh()
        h.sum().backward()
        grad, w.grad = w.grad, None
        return [grad]

    not_cut(run, inputs())


@pytest.mark.usefixtures("small_rows")
def test_a_loop_whose_rows_are_results_is_not_cut() -> None:
    w = dg.tensor(np.full((SIZE, SIZE), 0.1, np.float32), requires_grad=True)

    def run(x: Any) -> Any:
        h, kept = x[0], []
        for t in range(x.shape[0]):
            h = (h @ w + x[t]).tanh()
            kept.append(h)
        h.sum().backward()
        grad, w.grad = w.grad, None
        return [dg.stack(kept).detach(), grad]

    not_cut(run, inputs())


@pytest.mark.usefixtures("small_rows")
def test_second_order_gradients_through_a_loop() -> None:
    w = dg.tensor(np.full((SIZE, SIZE), 0.1, np.float32), requires_grad=True)

    def run(x: Any) -> Any:
        h = x[0]
        for t in range(x.shape[0]):
            h = (h @ w + x[t]).tanh()
        (first,) = dg.autograd.grad(h.sum(), [w], create_graph=True)
        (second,) = dg.autograd.grad((first * first).sum(), [w])
        return [first.detach(), second]

    arguments = (inputs(12),)
    with dg.dynamic_mode():
        expected = run(*arguments)
    for a, b in zip(dg.static(run)(*arguments), expected):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4)


def test_a_recurrent_training_step_needs_less_than_three_quarters_of_what_dynamic_mode_needs() -> None:
    from benchmarks.memory import _peak
    from benchmarks.works import rnn_step

    x = dg.randn(100, 16, 128)
    static = dg.static(rnn_step(dg))
    assert static.explain(x).peak_bytes <= 0.75 * _peak(rnn_step(dg), x)


def test_a_row_read_in_parts_is_not_copied() -> None:
    """Each part is read where the stack lies."""

    def run(x: Any) -> Any:
        h = dg.zeros(200)
        for t in range(x.shape[0]):
            h = (h + x[t][:200]) * x[t][200:]
        return h

    static, x = dg.static(run), dg.rand(20, 400)
    np.testing.assert_array_equal(static(x).numpy(), run(x).numpy())
    expressions = [kernel.expression for kernel in static.explain(x).static.kernel_list]
    assert all("*" in text for text in expressions if "[" in text), expressions
