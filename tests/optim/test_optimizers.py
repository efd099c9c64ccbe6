"""Optimisers against their formulas in NumPy, their state, and what mistakes say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import nn

SHAPES = [(3, 4), (5,), ()]
GRADIENTS = [[np.random.default_rng(10 * step + i).standard_normal(shape) for i, shape in enumerate(SHAPES)] for step in range(5)]


def start() -> list[np.ndarray[Any, Any]]:
    return [np.random.default_rng(100 + i).standard_normal(shape).astype(np.float32) for i, shape in enumerate(SHAPES)]


def sgd(
    lr: float, momentum: float = 0, dampening: float = 0, weight_decay: float = 0, nesterov: bool = False, maximize: bool = False
) -> Any:
    def run() -> list[Any]:
        values, velocity = [v.astype(np.float64) for v in start()], [None] * len(SHAPES)
        for gradients in GRADIENTS:
            for i, gradient in enumerate(gradients):
                g = -gradient if maximize else gradient
                g = g + weight_decay * values[i]
                if momentum:
                    velocity[i] = g if velocity[i] is None else momentum * velocity[i] + (1 - dampening) * g
                    g = g + momentum * velocity[i] if nesterov else velocity[i]
                values[i] = values[i] - lr * g
        return values

    return run


def adam(
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0,
    decoupled: bool = False,
    maximize: bool = False,
    amsgrad: bool = False,
) -> Any:
    def run() -> list[Any]:
        values = [v.astype(np.float64) for v in start()]
        means, squares = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
        largest = [np.zeros_like(v) for v in values]
        for step, gradients in enumerate(GRADIENTS, 1):
            for i, gradient in enumerate(gradients):
                g = -gradient if maximize else gradient
                if decoupled:
                    values[i] = values[i] * (1 - lr * weight_decay)
                else:
                    g = g + weight_decay * values[i]
                means[i] = betas[0] * means[i] + (1 - betas[0]) * g
                squares[i] = betas[1] * squares[i] + (1 - betas[1]) * g * g
                largest[i] = np.maximum(largest[i], squares[i]) if amsgrad else squares[i]
                root = np.sqrt(largest[i] / (1 - betas[1] ** step)) + eps
                values[i] = values[i] - lr * means[i] / (1 - betas[0] ** step) / root
        return values

    return run


CASES: list[tuple[str, Any, dict[str, Any], Any]] = [
    ("sgd", dg.optim.SGD, {"lr": 0.1}, sgd(0.1)),
    ("momentum", dg.optim.SGD, {"lr": 0.1, "momentum": 0.9}, sgd(0.1, 0.9)),
    ("dampening", dg.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}, sgd(0.1, 0.9, 0.5)),
    ("decay", dg.optim.SGD, {"lr": 0.1, "weight_decay": 0.2}, sgd(0.1, weight_decay=0.2)),
    ("nesterov", dg.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, sgd(0.1, 0.9, 0, 0.1, True)),
    ("ascent", dg.optim.SGD, {"lr": 0.1, "momentum": 0.5, "maximize": True}, sgd(0.1, 0.5, maximize=True)),
    ("adam", dg.optim.Adam, {"lr": 0.01}, adam(0.01)),
    ("adam decay", dg.optim.Adam, {"lr": 0.01, "weight_decay": 0.3}, adam(0.01, weight_decay=0.3)),
    ("adam betas", dg.optim.Adam, {"lr": 0.01, "betas": (0.5, 0.7), "eps": 0.1}, adam(0.01, (0.5, 0.7), 0.1)),
    ("adam ascent", dg.optim.Adam, {"lr": 0.01, "maximize": True}, adam(0.01, maximize=True)),
    ("amsgrad", dg.optim.Adam, {"lr": 0.01, "amsgrad": True}, adam(0.01, amsgrad=True)),
    ("adamw", dg.optim.AdamW, {"lr": 0.01}, adam(0.01, weight_decay=0.01, decoupled=True)),
    ("adamw decay", dg.optim.AdamW, {"lr": 0.01, "weight_decay": 0.5}, adam(0.01, weight_decay=0.5, decoupled=True)),
]


def run_steps(optimizer: Any, params: list[dg.Tensor], steps: Any = GRADIENTS) -> None:
    for gradients in steps:
        for parameter, gradient in zip(params, gradients):
            parameter.grad = dg.tensor(gradient, dtype=parameter.dtype)
        optimizer.step()


@pytest.mark.parametrize(("kind", "options", "reference"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_updates(kind: Any, options: dict[str, Any], reference: Any) -> None:
    params = [dg.tensor(value, requires_grad=True) for value in start()]
    run_steps(kind(params, **options), params)
    for parameter, expected in zip(params, reference()):
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=2e-5, atol=1e-6)
        assert parameter.is_leaf and parameter.requires_grad


@pytest.mark.parametrize(("kind", "options"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_resuming_is_exact(kind: Any, options: dict[str, Any], tmp_path: Any) -> None:
    whole = [dg.tensor(value, requires_grad=True) for value in start()]
    run_steps(kind(whole, **options), whole)
    params = [dg.tensor(value, requires_grad=True) for value in start()]
    first = kind(params, **options)
    run_steps(first, params, GRADIENTS[:2])
    dg.save({"optimizer": first.state_dict(), "params": params}, tmp_path / "state.safetensors")
    loaded = dg.load(tmp_path / "state.safetensors")
    params = [value.requires_grad_() for value in loaded["params"]]
    second = kind(params, lr=123.0)
    second.load_state_dict(loaded["optimizer"])
    run_steps(second, params, GRADIENTS[2:])
    assert [p.tolist() for p in params] == [p.tolist() for p in whole]


def test_parameters_without_gradient_are_left_alone() -> None:
    a, b = dg.ones(2, requires_grad=True), dg.ones(2, requires_grad=True)
    optimizer = dg.optim.Adam([a, b], lr=0.1)
    a.sum().backward()
    optimizer.step()
    assert b.tolist() == [1, 1] and a.tolist() != [1, 1] and b not in optimizer.state
    optimizer.zero_grad()
    assert a.grad is None
    b.sum().backward()
    optimizer.step()
    assert optimizer.state[a]["step"].item() == 1 and optimizer.state[b]["step"].item() == 1


def test_groups_and_changed_hyper_parameters() -> None:
    a, b, c = (dg.ones(1, requires_grad=True) for _ in range(3))
    optimizer = dg.optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.25)
    optimizer.add_param_group({"params": [c], "lr": 1.0})
    for p in (a, b, c):
        p.grad = dg.ones(1)
    optimizer.step()
    assert (a.item(), b.item(), c.item()) == (0.75, 0.5, 0.0)
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()
    assert a.item() == 0.25
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5, 1.0]


def test_closure() -> None:
    p = dg.tensor([2.0], requires_grad=True)
    optimizer = dg.optim.SGD([p], lr=0.1)

    def closure() -> dg.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert p.item() == pytest.approx(1.6)


def test_training_finds_a_line() -> None:
    dg.manual_seed(0)
    x = dg.randn(64, 3)
    y = x @ dg.tensor([[1.0], [-2.0], [0.5]]) + 3
    for make in (
        lambda p: dg.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: dg.optim.Adam(p, lr=0.1),
        lambda p: dg.optim.AdamW(p, 0.1, weight_decay=0),
    ):
        model = nn.Linear(3, 1)
        optimizer = make(model.parameters())
        for _ in range(200):
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss.item() < 1e-4 and model.bias.item() == pytest.approx(3, abs=0.02)


def test_step_needs_no_graph() -> None:
    p = dg.ones(1, requires_grad=True)
    (p * 2).sum().backward()
    dg.optim.SGD([p], lr=0.1).step()
    assert p.grad_fn is None and p.requires_grad


def test_text() -> None:
    text = repr(dg.optim.SGD([dg.ones(1, requires_grad=True)], lr=0.1))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n    lr: 0.1\n")


def leaf() -> dg.Tensor:
    return dg.ones(1, requires_grad=True)


SHARED = leaf()


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: dg.optim.SGD([], 0.1), "there are no parameters to update"),
        (lambda: dg.optim.SGD(leaf(), 0.1), "params must be a list or another iterable of tensors, got one Tensor"),
        (lambda: dg.optim.SGD([1], 0.1), "parameter 0 must be a Tensor, got int"),
        (lambda: dg.optim.SGD([leaf() * 2], 0.1), r"parameter 0 \(float32\[1\]\) is computed, not a leaf"),
        (lambda: dg.optim.SGD([SHARED, SHARED], 0.1), r"parameter 1 \(\[1\]\) is already among the parameters"),
        (lambda: dg.optim.SGD([leaf()], -0.1), r"SGD: lr must be at least 0, got -0\.1"),
        (lambda: dg.optim.SGD([leaf()], "fast"), "SGD: lr must be a number, got 'fast'"),
        (lambda: dg.optim.SGD([leaf()], 0.1, nesterov=True), "nesterov needs a momentum above 0"),
        (lambda: dg.optim.SGD([{"params": [leaf()], "lrr": 1}], 0.1), "unknown hyper-parameter 'lrr'; there are lr, momentum"),
        (lambda: dg.optim.Adam([leaf()], betas=(1.0, 0.9)), r"betas\[0\] must be at least 0 and below 1, got 1\.0"),
        (lambda: dg.optim.Adam([leaf()], betas=0.9), r"betas must be two numbers, got 0\.9"),
        (lambda: dg.optim.Adam([leaf()]).load_state_dict({}), "expected a dict with 'state' and 'param_groups'"),
        (
            lambda: dg.optim.Adam([leaf(), leaf()]).load_state_dict(dg.optim.Adam([leaf()]).state_dict()),
            "group 0 has 1 parameters in the state, 2 in the optimiser",
        ),
    ],
)
def test_mistakes(attempt: Any, message: str) -> None:
    with pytest.raises(dg.Error, match=message):
        attempt()


def test_state_of_other_shapes_is_refused() -> None:
    p = dg.ones(3, requires_grad=True)
    optimizer = dg.optim.Adam([p])
    p.sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match=r"'exp_avg' of parameter 0 is \[3\], the parameter is \[1\]"):
        dg.optim.Adam([leaf()]).load_state_dict(optimizer.state_dict())
