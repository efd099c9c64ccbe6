"""Memory budgets of programs that call into Python: calls are made once and in order, what is between them is computed again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import nn


class Work:
    """A training step that prints, asserts and calls back in its middle."""

    def __init__(self, budget: Any, dropout: float = 0.0) -> None:
        dg.manual_seed(0)
        parts = [part for _ in range(16) for part in (nn.Linear(64, 64), nn.Tanh(), nn.Dropout(dropout))]
        model = self.model = nn.Sequential(*parts)
        optimiser = dg.optim.SGD(model.parameters(), lr=0.1)
        self.seen: list[float] = []
        self.arguments = dg.randn(256, 64), dg.randn(256, 64)
        look = dg.host_callback(lambda value: self.seen.append(float(value)))

        @dg.static(memory_budget=budget)
        def step(x: Any, y: Any) -> Any:
            h = model[:24](x)
            look(h.sum())
            loss = ((model[24:](h) - y) ** 2).mean()
            print(f"loss {loss}")
            assert loss < 100, "too large"
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            return loss

        self.step = step

    def run(self) -> tuple[list[float], list[Any], list[float]]:
        dg.manual_seed(1)
        losses = [self.step(*self.arguments).item() for _ in range(3)]
        return losses, [parameter.detach().numpy().copy() for parameter in self.model.parameters()], list(self.seen)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_values_between_calls_are_computed_again(dropout: float, capsys: pytest.CaptureFixture[str]) -> None:
    free, tight = Work(None, dropout), Work("75%", dropout)
    losses, parameters, seen = free.run()
    printed = capsys.readouterr().out
    again, same, looked = tight.run()
    assert losses == again and seen == looked and len(seen) == 3
    assert capsys.readouterr().out == printed and printed.count("loss") == 3
    for a, b in zip(parameters, same, strict=True):
        np.testing.assert_array_equal(a, b)
    done = tight.step.explain(*tight.arguments).recomputed
    assert done.values > 0
    assert done.after <= done.budget <= 0.75 * done.before


def test_a_call_that_raises_stops_what_comes_behind_it() -> None:
    work = Work("75%")
    before = work.run()[1]
    with pytest.raises(AssertionError, match="too large"):
        work.step(work.arguments[0], work.arguments[1] + 1000)
    for a, b in zip(before, work.model.parameters(), strict=True):
        np.testing.assert_array_equal(a, b.detach().numpy())
    assert len(work.seen) == 4


def test_random_numbers_drawn_before_a_call_and_used_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    def noisy(x: Any) -> Any:
        noise = dg.rand(16)
        print("between")
        return x + noise

    static = dg.static(noisy)
    for seed in (1, 2):
        results = []
        for function in (noisy, static):
            dg.manual_seed(seed)
            results.append(function(dg.zeros(16)).numpy())
        np.testing.assert_array_equal(*results)
    assert capsys.readouterr().out == "between\n" * 4
