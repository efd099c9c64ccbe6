"""Optimisers, schedules and clipping against torch, in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg
from duograph import nn
from duograph.optim import lr_scheduler

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "momentum": 0.5, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "centered": True, "maximize": True}),
    ("RMSprop", {"lr": 0.05, "centered": True, "momentum": 0.9, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.2, "initial_accumulator_value": 0.5, "eps": 1e-6}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.05, "betas": (0.9, 0.99), "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.05, "fused": False, "foreach": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.2), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.05, "lambd": 0.1, "t0": 3, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "eps": (1e-8, 0.1), "d": 1.5, "weight_decay": 0.1, "maximize": True}),
]
IDS = [f"{name} {' '.join(options)}" for name, options in KINDS]


def leaf() -> dg.Tensor:
    return dg.ones(1, requires_grad=True)


def _start() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal(5).astype(np.float32), np.float32(0.5)]


def _loss(params: list[Any], step: int) -> Any:
    return (params[0] * (step + 1)).sin().sum() + (params[1] ** 2).sum() + (params[2] * params[1]).sum()


def _train(params: list[Any], optimizer: Any, steps: int = 8) -> list[Any]:
    for step in range(steps):
        optimizer.zero_grad()
        _loss(params, step).backward()
        optimizer.step()
    return [p.detach().numpy() for p in params]


@pytest.mark.parametrize(("name", "options"), KINDS, ids=IDS)
def test_updates(name: str, options: dict[str, Any]) -> None:
    theirs = [torch.tensor(v, requires_grad=True) for v in _start()]
    expected = _train(theirs, getattr(torch.optim, name)(theirs, **options))
    ours = [dg.tensor(v, requires_grad=True) for v in _start()]
    for got, want in zip(_train(ours, getattr(dg.optim, name)(ours, **options)), expected):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "options"), KINDS, ids=IDS)
def test_a_static_step_gives_the_same_bits_and_state_can_be_saved(name: str, options: dict[str, Any], tmp_path: Any) -> None:
    def make(values: list[Any]) -> tuple[list[dg.Tensor], Any]:
        params = [dg.tensor(v, requires_grad=True) for v in values]
        return params, getattr(dg.optim, name)(params, **options)

    def step(params: list[dg.Tensor], optimizer: Any) -> Callable[[], dg.Tensor]:
        def run() -> dg.Tensor:
            optimizer.zero_grad()
            loss = _loss(params, 1)
            loss.backward()
            optimizer.step()
            return loss

        return run

    params, optimizer = make(_start())
    dynamic = step(params, optimizer)
    for _ in range(7):
        dynamic()
    others, resumed = make(_start())
    static = dg.static(step(others, resumed), strict=True)
    for _ in range(4):
        static()
    assert static.captures == 1
    dg.save({"params": others, "optimizer": resumed.state_dict()}, tmp_path / "state.safetensors")
    loaded = dg.load(tmp_path / "state.safetensors")
    others, resumed = make([p.numpy() for p in loaded["params"]])
    resumed.load_state_dict(loaded["optimizer"])
    again = dg.static(step(others, resumed), strict=True)
    for _ in range(3):
        again()
    assert [p.tolist() for p in others] == [p.tolist() for p in params]


@pytest.mark.parametrize("adjust", [None, "match_rms_adamw"])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_muon(adjust: str | None, shape: tuple[int, int]) -> None:
    """PyTorch's orthogonalises in bfloat16: so near, and not nearer."""
    rng = np.random.default_rng(1)
    start, target = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(shape).astype(np.float32)

    def train(framework: Any, optim: Any) -> Any:
        p = framework.tensor(start, requires_grad=True)
        optimizer = optim.Muon([p], lr=0.1, adjust_lr_fn=adjust)
        for _ in range(3):
            optimizer.zero_grad()
            ((p - framework.tensor(target)) ** 2).sum().backward()
            optimizer.step()
        return p.detach().numpy()

    np.testing.assert_allclose(train(dg, dg.optim), train(torch, torch.optim), atol=6e-3)
    with pytest.raises(dg.errors.ArgumentError, match=r"parameter 0 is \[1\], not a matrix"):
        dg.optim.Muon([leaf()])


def test_hints_of_how_to_compute_are_taken() -> None:
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad"):
        getattr(dg.optim, name)([leaf()], foreach=True, fused=None, capturable=False)
        with pytest.raises(dg.errors.ArgumentError, match=f"{name}: has no argument named fast"):
            getattr(dg.optim, name)([leaf()], fast=True)
        with pytest.raises(dg.errors.ArgumentError, match="not recorded for gradients"):
            getattr(dg.optim, name)([leaf()], differentiable=True)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("history", [100, 2])
def test_lbfgs(search: str | None, history: int) -> None:
    def minimise(framework: Any, optim: Any) -> list[float]:
        p = framework.tensor([-1.2, 1.0, 0.5], dtype=framework.float64, requires_grad=True)
        optimizer = optim.LBFGS([p], lr=0.5 if search is None else 1, line_search_fn=search, history_size=history)
        losses = []

        def closure() -> Any:
            optimizer.zero_grad()
            loss = 10 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2 + (p[2] - p[1]) ** 4
            loss.backward()
            losses.append(float(loss.detach()))
            return loss

        for _ in range(2):
            optimizer.step(closure)
        return [*losses, *p.tolist()]

    np.testing.assert_allclose(minimise(dg, dg.optim), minimise(torch, torch.optim), rtol=1e-6, atol=1e-9)


def test_lbfgs_with_a_static_closure() -> None:
    p = dg.tensor([3.0, -2.0], requires_grad=True)
    optimizer = dg.optim.LBFGS([p], line_search_fn="strong_wolfe")

    @dg.static
    def closure() -> dg.Tensor:
        optimizer.zero_grad()
        loss = ((p - 1) ** 2).sum() + (p[0] * p[1]) ** 2
        loss.backward()
        return loss

    first = float(optimizer.step(closure))
    assert float(closure()) < 0.9 < first
    with pytest.raises(dg.errors.CaptureError, match="LBFGS: how often step evaluates its closure"):
        dg.static(lambda: optimizer.step(closure))()


def swa(schedulers: Any) -> Any:
    return (dg if schedulers is lr_scheduler else torch).optim.swa_utils


SCHEDULES: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("LambdaLR", lambda s, o: s.LambdaLR(o, lambda e: 0.9**e)),
    ("LambdaLR of each", lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (e + 1)])),
    ("MultiplicativeLR", lambda s, o: s.MultiplicativeLR(o, lambda e: 0.9)),
    ("StepLR", lambda s, o: s.StepLR(o, 3, 0.5)),
    ("MultiStepLR", lambda s, o: s.MultiStepLR(o, [2, 5, 5], 0.5)),
    ("ConstantLR", lambda s, o: s.ConstantLR(o, 0.25, 4)),
    ("LinearLR", lambda s, o: s.LinearLR(o, 0.25, 0.75, 6)),
    ("ExponentialLR", lambda s, o: s.ExponentialLR(o, 0.8)),
    ("PolynomialLR", lambda s, o: s.PolynomialLR(o, 6, 2.0)),
    ("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, 4, 0.01)),
    ("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, 3)),
    ("CosineAnnealingWarmRestarts growing", lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 2, 0.01)),
    ("CyclicLR", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, 2)),
    ("CyclicLR triangular2", lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.1, 2, mode="triangular2", cycle_momentum=False)),
    ("CyclicLR exp_range", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 2, mode="exp_range", gamma=0.9)),
    ("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.5, 14)),
    ("OneCycleLR in epochs", lambda s, o: s.OneCycleLR(o, [0.5, 0.2], None, 2, 8, anneal_strategy="linear", three_phase=True)),
    ("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)])),
    ("SWALR", lambda s, o: swa(s).SWALR(o, 0.01, 5)),
    ("SWALR linear", lambda s, o: swa(s).SWALR(o, [0.01, 0.5], 4, "linear")),
    ("SWALR at once", lambda s, o: swa(s).SWALR(o, 0.01, 0)),
    ("SequentialLR", lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9), s.StepLR(o, 2)], [4, 8])),
]  # fmt: skip


@pytest.mark.parametrize("make", [case[1] for case in SCHEDULES], ids=[case[0] for case in SCHEDULES])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedules(make: Callable[[Any, Any], Any]) -> None:
    def rates(framework: Any, schedulers: Any, resume: bool) -> list[Any]:
        def optimizer() -> Any:
            groups = [
                {"params": [framework.ones(1, requires_grad=True)]},
                {"params": [framework.ones(1, requires_grad=True)], "lr": 0.3},
            ]
            return framework.optim.SGD(groups, lr=0.1, momentum=0.9)

        of = optimizer()
        scheduler = make(schedulers, of)
        found = []
        for step in range(12):
            found.append([(g["lr"], g["momentum"]) for g in of.param_groups] + list(scheduler.get_last_lr()))
            of.step()
            scheduler.step()
            if resume and step == 5:
                states = scheduler.state_dict(), of.state_dict()
                of = optimizer()
                scheduler = make(schedulers, of)
                scheduler.load_state_dict(states[0])
                of.load_state_dict(states[1])
        return [np.ravel(row[0] + row[1]).tolist() + row[2:] for row in found]

    expected = rates(torch, torch.optim.lr_scheduler, False)
    np.testing.assert_allclose(rates(dg, lr_scheduler, False), expected, rtol=1e-9)
    np.testing.assert_allclose(rates(dg, lr_scheduler, True), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"mode": "max", "threshold_mode": "abs", "threshold": 0.3}, {"cooldown": 2, "min_lr": 0.02}]
)
def test_reduce_on_plateau(options: dict[str, Any]) -> None:
    metrics = [3.0, 2.0, 2.0, 2.0, 2.5, 1.0, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2]

    def rates(framework: Any, schedulers: Any) -> list[float]:
        optimizer = framework.optim.SGD([framework.ones(1, requires_grad=True)], lr=0.1)
        scheduler = schedulers.ReduceLROnPlateau(optimizer, patience=1, **options)
        found = []
        for metric in metrics:
            scheduler.step(metric)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    np.testing.assert_allclose(rates(dg, lr_scheduler), rates(torch, torch.optim.lr_scheduler))


def test_a_schedule_needs_no_new_capture() -> None:
    p = dg.ones(3, requires_grad=True)
    optimizer = dg.optim.SGD([p], lr=1.0)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)

    @dg.static
    def step() -> None:
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()

    for _ in range(3):
        step()
        scheduler.step()
    assert p.tolist() == [1 - 1.75] * 3 and step.captures == 1


@pytest.mark.parametrize("order", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("most", [0.5, 100.0])
def test_clipping_by_norm(order: float, most: float) -> None:
    def clipped(framework: Any, clip: Any) -> list[Any]:
        params = [framework.tensor(v, requires_grad=True) for v in _start()]
        _loss(params, 1).backward()
        norm = clip(params, most, norm_type=order)
        return [float(norm), *(p.grad.numpy() for p in params)]

    expected = clipped(torch, torch.nn.utils.clip_grad_norm_)
    for got in (clipped(dg, nn.utils.clip_grad_norm_), clipped(dg, dg.static(nn.utils.clip_grad_norm_))):
        for a, b in zip(got, expected):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_clipping_by_value_and_vectors() -> None:
    params = [dg.tensor(v, requires_grad=True) for v in _start()]
    (params[0] * 3 - params[1].sum()).sum().backward()
    nn.utils.clip_grad_value_(params, 1.5)
    assert params[0].grad.tolist() == [[1.5] * 4] * 3 and params[1].grad.tolist() == [-1.5] * 5
    vector = nn.utils.parameters_to_vector(params)
    assert vector.shape == (18,)
    nn.utils.vector_to_parameters(dg.arange(18.0), params)
    assert params[0].tolist()[2] == [8, 9, 10, 11] and params[2].item() == 17
    with pytest.raises(dg.errors.ShapeError, match="the vector has 3 elements, the parameters 18"):
        nn.utils.vector_to_parameters(dg.ones(3), params)


def test_a_norm_that_is_not_finite() -> None:
    p = dg.ones(2, requires_grad=True)
    p.grad = dg.tensor([float("inf"), 1.0])
    with pytest.raises(dg.errors.Error, match=r"the norm \(order 2.0\) of 1 tensors is inf"):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert p.grad.tolist() == [float("inf"), 1.0]


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda o: lr_scheduler.StepLR(3, 1), "StepLR: expected an Optimizer, got int"),
        (lambda o: lr_scheduler.StepLR(o, 0), "StepLR: step_size must be a positive integer, got 0"),
        (lambda o: lr_scheduler.StepLR(o, 1, last_epoch=4), "group 0 has no 'initial_lr', which last_epoch = 4 needs"),
        (lambda o: lr_scheduler.LambdaLR(o, [len, len]), "LambdaLR: 2 functions for 1 parameter groups"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1), "OneCycleLR: give total_steps, or epochs and steps_per_epoch"),
        (lambda o: lr_scheduler.CyclicLR(dg.optim.Adagrad([leaf()]), 0.1, 1), "Adagrad has no momentum to cycle"),
        (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [1]), "1 schedulers need 0 milestones, got 1"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=2), "factor must be below 1, got 2"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o).step(), "step needs the metric"),
        (lambda o: dg.optim.LBFGS([leaf()]).step(), "LBFGS: step needs a closure"),
        (lambda o: dg.optim.RAdam([leaf()], betas=(0.9, 1.5)), r"RAdam: betas\[1\] must be at least 0 and below 1, got 1.5"),
        (lambda o: nn.utils.clip_grad_norm_([1], 1.0), "clip_grad_norm_: parameter 0 must be a Tensor, got int"),
    ],
)  # fmt: skip
def test_mistakes(attempt: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(dg.Error, match=message):
        attempt(dg.optim.SGD([leaf()], lr=0.1))
