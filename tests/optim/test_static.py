"""Whole training steps as static programs: the same numbers as the dynamic graph's, whatever changes between steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import duograph as dg
from duograph import nn

OPTIMIZERS: dict[str, Callable[[Any], dg.optim.Optimizer]] = {
    "sgd": lambda params: dg.optim.SGD(params, lr=0.05),
    "momentum": lambda params: dg.optim.SGD(params, lr=0.05, momentum=0.9),
    "dampening": lambda params: dg.optim.SGD(params, lr=0.05, momentum=0.9, dampening=0.3),
    "nesterov": lambda params: dg.optim.SGD(params, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda params: dg.optim.Adam(params, lr=0.01),
    "adamw": lambda params: dg.optim.AdamW(params, lr=0.01, weight_decay=0.1),
}


def train(
    make: Callable[[Any], dg.optim.Optimizer], static: bool, during: Callable[..., Any] | None = None
) -> tuple[list[Any], Any]:
    dg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.LayerNorm(8), nn.Dropout(0.2), nn.Linear(8, 2))
    optimizer = make(model.parameters())
    x, y = dg.randn(16, 3), dg.randint(0, 2, (16,))

    def step(x: dg.Tensor, y: dg.Tensor) -> dg.Tensor:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run: Any = dg.static(step, strict=True) if static else step
    losses = []
    for number in range(8):
        if during is not None:
            during(number, model, optimizer)
        losses.append(run(x, y).item())
    return [losses, [p.tolist() for p in model.parameters()], [p.grad.tolist() for p in model.parameters()]], run


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_bits_as_dynamic(name: str) -> None:
    dynamic, _ = train(OPTIMIZERS[name], False)
    static, run = train(OPTIMIZERS[name], True)
    assert static == dynamic
    assert run.captures <= 2


def test_a_changed_learning_rate_needs_no_new_capture() -> None:
    def during(number: int, model: nn.Module, optimizer: dg.optim.Optimizer) -> None:
        optimizer.param_groups[0]["lr"] = 0.05 / (number + 1)

    dynamic, _ = train(OPTIMIZERS["adam"], False, during)
    static, run = train(OPTIMIZERS["adam"], True, during)
    assert static == dynamic
    assert run.captures == 1


def test_eval_in_between_is_noticed() -> None:
    def during(number: int, model: nn.Module, optimizer: dg.optim.Optimizer) -> None:
        model.train(number % 3 != 1)

    dynamic, _ = train(OPTIMIZERS["momentum"], False, during)
    static, run = train(OPTIMIZERS["momentum"], True, during)
    assert static == dynamic
    assert run.captures <= 3


def test_loaded_state_is_noticed() -> None:
    saved: dict[str, Any] = {}

    def during(number: int, model: nn.Module, optimizer: dg.optim.Optimizer) -> None:
        if number == 2:
            saved["model"] = {name: value.clone() for name, value in model.state_dict().items()}
            saved["optimizer"] = optimizer.state_dict()
        if number == 5:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])

    dynamic, _ = train(OPTIMIZERS["adam"], False, during)
    static, _ = train(OPTIMIZERS["adam"], True, during)
    assert static == dynamic


def test_static_module() -> None:
    dg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Softmax(dim=-1)).eval()
    static = dg.static(model)
    x = dg.randn(3, 4)
    with dg.no_grad():
        assert static(x).sub(model(x)).abs().max().item() < 1e-6
        model[0] = nn.Linear(4, 4)
        assert static(x).sub(model(x)).abs().max().item() < 1e-6
    assert static.captures == 2
