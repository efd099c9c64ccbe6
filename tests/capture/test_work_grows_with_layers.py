"""What a first call does grows with the program in proportion, not faster: counted in calls, not in seconds."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import duograph as dg
from duograph import nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: dg.Tensor) -> dg.Tensor:
        return x + nn.functional.gelu(self.inner(self.norm(x)))


def calls_of_first_step(layers: int) -> int:
    """Calls of functions that capturing and compiling a training step makes."""
    model, x = nn.Sequential(*(Block() for _ in range(layers))), dg.zeros(2, 4)
    optimizer = dg.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step(x: dg.Tensor) -> dg.Tensor:
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    static, count = dg.static(step), 0

    def counted(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        static(x)
    finally:
        sys.setprofile(before)
    return count


def test_calls_grow_in_proportion_to_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOGRAPH_CACHE", "0")
    calls_of_first_step(1)
    few, more, most = (calls_of_first_step(layers) for layers in (4, 8, 16))
    assert most - more < 2.1 * (more - few)
