"""Gradient scaling, step by step beside PyTorch's, in both modes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import duograph as dg
from duograph.amp.grad_scaler import ScalerError
from duograph.errors import ArgumentError, DTypeError

INF = float("inf")
FACTORS = (1.0, 2.0, INF, 1.0, 1.0, 1.0, 3.0, float("nan"), 1.0, INF, INF, 1.0, 1.0)


def trained(lib, switch=lambda f: f, make=None, clip=False):
    """Scales, counts and parameters after each of some steps, a few of which overflow."""
    w = lib.tensor([1.0, -2.0], requires_grad=True)
    v = lib.tensor([[0.5]], requires_grad=True)
    optimizer = (make or (lambda lib, p: lib.optim.SGD(p, lr=0.1, momentum=0.9)))(lib, [w, v])
    scaler = lib.amp.GradScaler(device="cpu", init_scale=64.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=3)

    def step(x):
        optimizer.zero_grad()
        loss = ((w * x) ** 2).sum() + (v * x[0]).sum()
        scaler.scale(loss).backward()
        if clip:
            scaler.unscale_(optimizer)
            lib.nn.utils.clip_grad_norm_([w, v], 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    run = switch(step)
    rows = []
    for factor in FACTORS:
        loss = run(lib.tensor([factor, 1.0]))
        rows.append([loss.item(), scaler.get_scale(), scaler.state_dict()["_growth_tracker"], *w.tolist(), *v[0].tolist()])
    return np.array(rows), run


@pytest.mark.parametrize("clip", [False, True])
def test_scales_and_parameters_are_those_of_torch(clip):
    found, expected = trained(dg, clip=clip)[0], trained(torch, clip=clip)[0]
    np.testing.assert_array_equal(found[:, 1:3], expected[:, 1:3])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("clip", [False, True])
def test_a_static_step_is_the_dynamic_one(clip):
    found, step = trained(dg, lambda f: dg.static(f, strict=True), clip=clip)
    np.testing.assert_array_equal(found, trained(dg, clip=clip)[0])
    assert step.captures <= 2


def test_adam_in_a_static_step():
    def make(lib, parameters):
        return lib.optim.Adam(parameters, lr=0.1)

    found, _ = trained(dg, dg.static, make)
    np.testing.assert_allclose(found, trained(torch, make=make)[0], rtol=1e-4)


def test_float16_gradients_that_would_vanish():
    def gradient(scale):
        w = dg.tensor([[1.0]], requires_grad=True)
        scaler = dg.GradScaler(init_scale=scale)
        with dg.autocast("cpu", dtype=dg.float16):
            loss = (dg.tensor([[1e-4]]) @ w).float().sum() * 1e-5
        scaler.scale(loss).backward()
        scaler.unscale_(dg.optim.SGD([w], lr=1.0))
        return w.grad.item()

    assert gradient(1.0) == 0.0
    assert gradient(2.0**16) == pytest.approx(1e-9, rel=1e-2)


def test_several_optimizers():
    a, b = dg.tensor([1.0], requires_grad=True), dg.tensor([1.0], requires_grad=True)
    first, second = dg.optim.SGD([a], lr=1.0), dg.optim.SGD([b], lr=1.0)
    scaler = dg.GradScaler(init_scale=8.0)
    scaler.scale(a.sum() + b.sum() * INF).backward()
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert a.item() == 0.0 and b.item() == 1.0 and scaler.get_scale() == 4.0


def test_state_as_in_torch():
    ours, theirs = dg.GradScaler(init_scale=8.0), torch.amp.GradScaler("cpu", init_scale=8.0)
    theirs.scale(torch.ones(1))
    assert ours.state_dict() == theirs.state_dict()
    other = dg.GradScaler()
    other.load_state_dict(theirs.state_dict())
    assert other.state_dict() == theirs.state_dict() and other.get_scale() == 8.0
    with pytest.raises(ScalerError, match="the state is empty"):
        other.load_state_dict({})
    assert dg.GradScaler(enabled=False).state_dict() == {}


def test_not_enabled():
    w = dg.tensor([1.0], requires_grad=True)
    optimizer, scaler = dg.optim.SGD([w], lr=1.0), dg.GradScaler(enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1.0 and not scaler.is_enabled()
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.item() == 0.0


def test_wrong_orders_and_arguments():
    w = dg.tensor([1.0], requires_grad=True)
    optimizer, scaler = dg.optim.SGD([w], lr=0.1), dg.GradScaler()
    with pytest.raises(ScalerError, match="no gradients were unscaled"):
        scaler.update()
    with pytest.raises(ScalerError, match="no parameter of the optimizer has a gradient"):
        scaler.step(optimizer)
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(ScalerError, match="second time"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(ScalerError, match="second time"):
        scaler.step(optimizer)
    with pytest.raises(ScalerError, match="after step"):
        scaler.unscale_(optimizer)
    scaler.update(new_scale=3.0)
    assert scaler.get_scale() == 3.0
    with pytest.raises(ArgumentError, match="closures"):
        scaler.step(optimizer, closure=lambda: 0)
    with pytest.raises(ArgumentError, match="growth_factor must be above 1"):
        dg.GradScaler(growth_factor=1.0)
    with pytest.raises(ArgumentError, match="expected a Tensor"):
        scaler.scale(1.0)
    half = dg.ones(2, dtype=dg.float16).requires_grad_()
    half.sum().backward()
    with pytest.raises(DTypeError, match="gradient is float16"):
        scaler.unscale_(dg.optim.SGD([half], lr=0.1))


def test_lists_of_losses():
    scaler = dg.GradScaler(init_scale=4.0)
    assert [x.tolist() for x in scaler.scale([dg.ones(1), (dg.ones(2),)][0:1])] == [[4.0]]
