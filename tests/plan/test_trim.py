"""Peaks that are lower because cheap values are computed again without a budget: which, when, and with the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import nn
from duograph.passes.memory import trim as trimming
from duograph.passes.memory.recompute import Recomputation
from duograph.runtime import cache


class Normalised(nn.Module):
    """Residual layers whose normalised rows wait for the way back."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(layers)])
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])

    def forward(self, x: Any) -> Any:
        for norm, layer in zip(self.norms, self.layers):
            x = x + dg.gelu(layer(norm(x)))
        return x


def training(width: int = 128, layers: int = 4, batch: int = 512) -> tuple[Any, Any, Any]:
    dg.manual_seed(3)
    model = Normalised(width, layers)
    optimiser = dg.optim.SGD(model.parameters(), lr=0.01)

    def step(x: Any) -> Any:
        optimiser.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimiser.step()
        return loss

    return step, model, dg.randn(batch, width)


def recomputed(step: Any, *arguments: Any) -> Recomputation | None:
    done = dg.static(step).explain(*arguments).recomputed
    assert done is None or isinstance(done, Recomputation)
    return done


def test_normalised_rows_are_computed_again() -> None:
    step, _, x = training()
    report = dg.static(step).explain(x)
    done = report.recomputed
    assert done is not None and done.values >= 2 and done.budget is None
    assert report.peak_bytes == done.after < 0.95 * done.before
    assert "computed again" in str(report)


def test_without_it_the_program_needs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    step, _, x = training()
    lower = dg.static(step).explain(x).peak_bytes
    monkeypatch.setattr(trimming, "WORK", 0.0)
    monkeypatch.setattr(cache, "folder", lambda: None)
    report = dg.static(step).explain(x)
    assert report.recomputed is None
    assert lower < 0.95 * report.peak_bytes


def test_results_and_gradients_have_dynamic_modes_bits() -> None:
    step, dynamic, x = training()
    losses = [step(x) for _ in range(3)]
    again, model, y = training()
    static = dg.static(again, strict=True)
    assert static.explain(y).recomputed is not None
    for loss in losses:
        np.testing.assert_array_equal(static(y).detach().numpy(), loss.detach().numpy())
    for a, b in zip(dynamic.parameters(), model.parameters()):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
        np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())


def test_small_programs_and_programs_without_loops_of_arithmetic_are_left_alone() -> None:
    step, _, x = training(width=8, layers=2, batch=16)
    assert recomputed(step, x) is None
    dg.manual_seed(0)
    model = nn.Sequential(*[part for _ in range(4) for part in (nn.Linear(256, 256), nn.ReLU())])
    optimiser = dg.optim.SGD(model.parameters(), lr=0.1)

    def plain(x: Any) -> None:
        model(x).sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    assert recomputed(plain, dg.randn(256, 256)) is None


def test_what_is_added_is_a_small_part_of_the_program() -> None:
    step, _, x = training()
    report = dg.static(step).explain(x)
    assert report.recomputed is not None
    assert report.recomputed.operations <= 0.02 * report.static.flops
