"""`static(..., memory_budget=...)`: the same training, in less memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph import nn
from duograph.errors import ArgumentError, OutOfMemoryError

Step = Callable[..., Any]


def network(layers: int, width: int = 64, dropout: float = 0.0, norm: bool = False) -> nn.Module:
    dg.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Linear(width, width), nn.Tanh()]
        parts += [nn.LayerNorm(width)] if norm else []
        parts += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*parts)


def training(model: nn.Module, budget: Any, adam: bool = False, strict: bool = False) -> tuple[Any, tuple[Any, Any]]:
    optimiser = dg.optim.Adam(model.parameters(), lr=1e-3) if adam else dg.optim.SGD(model.parameters(), lr=0.1)
    dg.manual_seed(1)
    batch = dg.randn(256, 64), dg.randn(256, 64)

    @dg.static(strict=strict, memory_budget=budget)
    def step(x: Any, y: Any) -> Any:
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return loss

    return step, batch


def state(model: nn.Module) -> list[Any]:
    return [parameter.detach().numpy().copy() for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("options", "strict", "adam"),
    [({}, False, False), ({}, True, True), ({"dropout": 0.3}, False, True), ({"norm": True}, False, False)],
)
def test_the_same_bits_in_less_memory(options: dict[str, Any], strict: bool, adam: bool) -> None:
    results = []
    for budget in (None, "65%"):
        model = network(20, **options)
        step, batch = training(model, budget, adam, strict)
        losses = [step(*batch).item() for _ in range(3)]
        results.append((losses, state(model), step.explain(*batch)))
    (losses, parameters, plain), (again, same, report) = results
    assert losses == again
    for a, b in zip(parameters, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert 0 <= plain.peak_bytes - report.recomputed.before <= 4096  # what kernels need beside their operands
    assert report.peak_bytes <= 0.65 * plain.peak_bytes
    assert plain.recomputed is None or plain.recomputed.budget is None
    assert plain.static.flops < report.static.flops <= 1.4 * plain.static.flops


def test_what_is_really_allocated_shrinks_too() -> None:
    peaks = []
    for budget in (None, "40%"):
        step, batch = training(network(60), budget)
        for _ in range(2):
            step(*batch)
        core.reset_peak()
        before = dg.memory_stats()["allocated"]
        step(*batch)
        peaks.append(dg.memory_stats()["peak"] - before)
    assert peaks[1] <= 0.6 * peaks[0], peaks


def test_explain_says_what_was_done() -> None:
    step, batch = training(network(20), "70%")
    report = step.explain(*batch)
    done = report.recomputed
    assert done.values > 0 and done.after == report.peak_bytes <= done.budget < done.before
    text = str(report)
    spaced = f"{done.budget:,}".replace(",", " ")
    assert f"memory budget: {spaced} bytes" in text
    assert re.search(r"computed again: \d+ values of [\d ]+ bytes, [\d ]+ floating-point operations added", text)


def test_a_budget_that_cannot_be_met_names_the_smallest_that_can() -> None:
    step, batch = training(network(20), 1000)
    with pytest.raises(OutOfMemoryError, match="step cannot run in 1 000 bytes") as raised:
        step(*batch)
    assert "test_memory_budget.py" in str(raised.value)
    hint = re.search(r"memory_budget=(\d+)", str(raised.value))
    assert hint is not None
    least = int(hint[1])
    step, batch = training(network(20), least)
    step(*batch)
    assert step.explain(*batch).peak_bytes <= least


def test_gradients_left_in_grad_count() -> None:
    model = network(4)
    x = dg.randn(8, 64)

    @dg.static(memory_budget=10_000)
    def step(x: Any) -> None:
        model.zero_grad()
        model(x).sum().backward()

    with pytest.raises(OutOfMemoryError, match=r"[0-9 ]+ of them results") as raised:
        step(x)
    assert isinstance(raised.value, MemoryError)


def test_a_function_differentiated_outside() -> None:
    w = dg.randn(64, 64, requires_grad=True)

    def f(x: Any) -> Any:
        for _ in range(6):
            x = dg.tanh(x @ w)
        return x.sum()

    x = dg.randn(32, 64)
    plain, small = dg.static(f), dg.static(f, memory_budget="256MB")
    plain(x).backward()
    expected, w.grad = w.grad, None
    small(x).backward()
    np.testing.assert_array_equal(w.grad.numpy(), expected.numpy())


def test_each_size_has_its_own_plan() -> None:
    step = dg.static(lambda x: dg.tanh(dg.exp(x).sum(0) @ x.T), memory_budget="1.5GB")
    for rows in (3, 5, 7, 9):
        step(dg.randn(rows, 4))
    assert step.captures == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("256 megabytes", "'256 megabytes' is no amount of memory"),
        ("lots", "'lots' is no amount of memory"),
        ("", "'' is no amount of memory"),
        (0, "must be more than 0 bytes, got 0"),
        (-5, "must be more than 0 bytes, got -5"),
        ("0MB", "'0MB' is less than one byte"),
        ("130%", "'130%' is no share"),
        (True, "expected bytes, got True (bool)"),
        (1.5, "expected bytes, got 1.5 (float)"),
    ],
)
def test_wrong_budgets(given: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)) as raised:
        dg.static(lambda x: x, memory_budget=given)
    assert "256MB" in str(raised.value)


def test_budgets_read() -> None:
    from duograph.capture.budget import read_budget

    assert [read_budget(text) for text in (7, "7", "256MB", "1.5GB", "2 KiB", ".5mib", "25%")] == [
        7, 7, 256_000_000, 1_500_000_000, 2048, 524_288, 0.25,
    ]  # fmt: skip


def test_a_size_without_bound_has_no_budget() -> None:
    with pytest.raises(ArgumentError, match=r"memory_budget: n may be any size(.|\n)*give it a bound: Dim\('n', max=...\)"):
        dg.static(lambda x: x, sizes={"x": (dg.Dim("n"),)}, memory_budget="1MB")


def test_with_sizes_the_budget_holds_at_the_greatest() -> None:
    """One capture for all sizes, with a plan for the greatest; below what that needs is an error at any size."""
    batch = dg.Dim("batch", min=1, max=128)

    def made(budget: Any) -> tuple[Any, nn.Module]:
        model = network(16)
        optimiser = dg.optim.SGD(model.parameters(), lr=0.1)

        @dg.static(sizes={"x": (batch, 64), "y": (batch, 64)}, memory_budget=budget)
        def step(x: Any, y: Any) -> Any:
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            return loss

        return step, model

    def run(budget: Any) -> tuple[list[Any], Any]:
        step, model = made(budget)
        dg.manual_seed(2)
        losses = [step(dg.randn(n, 64), dg.randn(n, 64)).item() for n in (3, 128, 1, 77)]
        return [losses, state(model)], step

    x = dg.randn(5, 64)
    (losses, parameters), free = run(None)
    assert free.captures == 1
    whole = run("10MB")[1].explain(x, x).recomputed
    (found, reached), tight = run(int(0.8 * whole.after))
    assert tight.captures == 1
    done = tight.explain(x, x).recomputed
    assert done.values and done.after <= 0.8 * whole.after == pytest.approx(done.budget, abs=1)
    assert found == losses
    for a, b in zip(reached, parameters):
        np.testing.assert_array_equal(a, b)
    for size in (1, 128):
        with pytest.raises(OutOfMemoryError, match="the smallest possible"):
            made(whole.after // 8)[0](dg.randn(size, 64), dg.randn(size, 64))


def test_sizes_that_values_decide_count_with_their_bound() -> None:
    w = dg.tensor(np.full((64, 64), 0.05, np.float32), requires_grad=True)

    def step(x: Any, mask: Any) -> Any:
        y = x[mask]
        for _ in range(7):
            y = (y @ w).tanh()
        y.sum().backward()
        gradient, w.grad = w.grad, None
        return gradient

    dg.manual_seed(0)
    x = dg.randn(128, 64)
    whole = dg.static(step, memory_budget="100MB").explain(x, x[:, 0] > 0).recomputed
    assert whole.after >= 7 * 128 * 64 * 4  # all rows may be chosen
    tight = dg.static(step, memory_budget="80%")
    assert tight.explain(x, x[:, 0] > 0).recomputed.values
    free = dg.static(step)
    for mask in (x[:, 0] > 0, x[:, 0] > 9, x[:, 0] < 9):
        np.testing.assert_array_equal(tight(x, mask).numpy(), free(x, mask).numpy())


def recurrent(budget: Any, strict: bool = False) -> Any:
    rng = np.random.default_rng(0)
    w, u = (dg.tensor(rng.uniform(-0.1, 0.1, (64, 64)).astype(np.float32), requires_grad=True) for _ in range(2))

    @dg.static(memory_budget=budget, strict=strict)
    def step(x: Any) -> Any:
        h = dg.zeros(x.shape[1], 64)
        for t in range(x.shape[0]):
            h = (x[t] @ w + h @ u).tanh()
        (h * h).mean().backward()
        gradients = w.grad, u.grad
        w.grad = u.grad = None
        return gradients

    return step


def test_turns_of_loops_are_computed_again_only_as_far_as_the_budget_asks() -> None:
    x = dg.tensor(np.random.default_rng(1).standard_normal((96, 16, 64)).astype(np.float32))
    expected = recurrent("100MB", strict=True)(x)
    whole = recurrent("100MB").explain(x)
    assert whole.recomputed.turns == 0
    turns = []
    for share in (0.9, 0.6, 0.4):
        step = recurrent(int(share * whole.peak_bytes), strict=True)
        done = step.explain(x).recomputed
        assert done.after <= share * whole.peak_bytes
        turns.append(done.turns)
        for a, b in zip(step(x), expected):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert 0 < turns[0] < turns[1] < turns[2] < 96
    assert f"computed again: {turns[2]} turns of loops" in str(step.explain(x))
    with pytest.raises(OutOfMemoryError, match="the smallest possible") as error:
        recurrent(1)(x)
    least = int(str(error.value).split("memory_budget=")[1].split()[0])
    recurrent(least)(x)
    assert least < 0.4 * whole.peak_bytes


def test_without_a_budget_explain_says_which_turns_are_computed_again() -> None:
    x = dg.zeros(96, 16, 64)
    report = recurrent(None).explain(x)
    assert 0 < report.recomputed.turns < 48
    assert f"computed again: {report.recomputed.turns} turns of loops of" in str(report)
    assert "memory budget" not in str(report)


def controlled(kind: str, budget: Any) -> tuple[nn.Module, Any]:
    """A deep network with a branch or a loop in its middle, and its training step."""
    model = network(24)
    cell = nn.Linear(64, 64)
    optimiser = dg.optim.SGD([*model.parameters(), *cell.parameters()], lr=0.05)
    parts = list(model)

    def step(x: Any, n: Any) -> Any:
        for part in parts[:24]:
            x = part(x)
        if kind == "if":
            if n > 0:
                x = dg.tanh(cell(x))
            else:
                x = cell(x)
        else:
            i = dg.tensor(0)
            while i < n:
                x = dg.tanh(cell(x))
                i = i + 1
        for part in parts[24:]:
            x = part(x)
        loss = (x * x).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return loss

    return model, dg.static(step, memory_budget=budget)


@pytest.mark.parametrize("kind", ["if", "while"])
def test_control_flow_runs_once(kind: str) -> None:
    """Branches and loops are not repeated; what is around them is."""
    results = []
    for budget in (None, "75%"):
        model, step = controlled(kind, budget)
        dg.manual_seed(2)
        x = dg.randn(128, 64)
        losses = [step(x, dg.tensor(3)).item() for _ in range(2)]
        results.append((losses, state(model), step.explain(x, dg.tensor(3))))
    (losses, parameters, plain), (again, same, report) = results
    assert report.recomputed.values > 0
    assert report.static.kernels - plain.static.kernels <= 2 * report.recomputed.values
    assert losses == again
    for a, b in zip(parameters, same, strict=True):
        np.testing.assert_array_equal(a, b)
