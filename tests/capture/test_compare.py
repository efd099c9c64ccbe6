"""`dg.compare` finds the first operator whose results differ between the modes, and leaves everything as it was."""

from __future__ import annotations

import random

import pytest

import duograph as dg
from duograph import nn
from duograph.ops.definition import REGISTRY

HERE = __file__


def line_of(function, text):
    import inspect

    lines, start = inspect.getsourcelines(function)
    return start + next(i for i, line in enumerate(lines) if text in line)


def test_agreement_says_how_far_apart():
    def f(x, w):
        return (x @ w).softmax(1), x + 1

    report = dg.compare(f, dg.rand(4, 5), dg.rand(5, 3))
    assert report.ok and report.first is None and report.largest < 1e-5
    assert {found.operator for found in report.operators} == {"matmul", "softmax", "add"}
    assert str(report).startswith("f: dynamic and static agree: 3 operators, 2 results, ")
    assert dg.compare(dg.static(f, strict=True), dg.rand(4, 5), dg.rand(5, 3), tolerance=0).ok


def test_a_wrong_kernel_is_found_with_its_line(monkeypatch):
    def f(x):
        y = x * 2
        y = y.tanh()
        return (y + 1).exp()

    x = dg.rand(2, 3)
    f(x)  # dynamic mode has compiled its tanh
    monkeypatch.setattr(REGISTRY["tanh"], "primitive", "sin")
    report = dg.compare(f, x)
    assert not report.ok
    assert report.first.operator == "tanh" and report.first.location.line == line_of(f, "y.tanh()")
    assert report.first.location.file == HERE
    lines = str(report).splitlines()
    assert lines[0] == "f: dynamic and static differ"
    assert lines[1].startswith("  first in tanh, float32[2, 3], at ") and lines[1].endswith("y = y.tanh()")
    assert "largest difference" in lines[2] and "dynamic" in lines[2] and "static" in lines[2]
    assert lines[3].startswith("  result: largest difference")


def test_a_wrong_gradient_is_found(monkeypatch):
    w = dg.rand(3).requires_grad_()

    def step(x):
        loss = (x * w).sigmoid().sum()
        loss.backward()
        return loss

    x = dg.rand(3)
    step(x)
    w.grad = None
    monkeypatch.setattr(REGISTRY["sigmoid"], "gradient", lambda g, out, x: g * out)
    report = dg.compare(step, x)
    assert report.first.operator == "sigmoid backward" and report.first.location.line == line_of(step, "loss.backward()")
    assert [name for name, gap in report.results if not gap.ok] == ["w.grad"]
    assert w.grad is None


def test_the_gradient_of_a_static_call_is_compared(monkeypatch):
    def f(x):
        return (x * 3).sigmoid()

    x = dg.rand(3).requires_grad_()
    f(x).sum().backward()
    assert dg.compare(f, x).ok
    monkeypatch.setattr(REGISTRY["sigmoid"], "gradient", lambda g, out, x: g * out)
    report = dg.compare(f, x)
    assert not report.ok and report.first is None
    assert [name for name, gap in report.results if not gap.ok] == ["gradient of x"]


def test_everything_is_as_before():
    dg.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = dg.optim.Adam(model.parameters(), lr=0.1)
    log = []
    buffer = dg.zeros(2)

    def step(x):
        loss = model(x).pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        buffer.add_(1)
        log.append(loss)
        return loss.detach() * random.random()

    x = dg.rand(5, 4)
    for _ in range(2):
        before = {k: v.tolist() for k, v in model.state_dict().items()}
        grads = [p.grad for p in model.parameters()]
        values = [None if g is None else g.tolist() for g in grads]
        count, generator, python = len(log), dg.get_rng_state(), random.getstate()
        report = dg.compare(step, x)
        assert report.ok, str(report)
        assert {k: v.tolist() for k, v in model.state_dict().items()} == before
        assert all(p.grad is g for p, g in zip(model.parameters(), grads))
        assert [None if g is None else g.tolist() for g in grads] == values
        assert len(log) == count and buffer.tolist() == [count, count]
        assert dg.get_rng_state() == generator and random.getstate() == python
        step(x)
    names = [name for name, _ in report.results]
    assert "0.weight after the call" in names and "0.weight.grad" in names


def test_control_flow_is_compared_by_what_comes_out(monkeypatch):
    def f(x):
        y = x + 1
        while y.sum() < 10:
            y = y.tanh() + y
        return y.exp()

    x = dg.rand(3)
    f(x)
    report = dg.compare(f, x)
    assert report.ok and [found.operator for found in report.operators] == ["add", "exp"]
    monkeypatch.setattr(REGISTRY["tanh"], "primitive", "exp")
    report = dg.compare(f, x)
    assert not report.ok
    assert report.first.operator == "exp" or "branches and loops" in str(report)


def test_numbers_shapes_nan_and_structures():
    def f(x, n):
        return {"a": [x / 0, n * 2], "b": (x.sum(), None, "text")}

    report = dg.compare(f, dg.zeros(2), 3)
    assert report.ok
    assert [name for name, _ in report.results] == [
        "result['a'][0]", "result['a'][1]", "result['b'][0]", "result['b'][1]", "result['b'][2]",
    ]  # fmt: skip


def test_tolerance(monkeypatch):
    def f(x):
        return x.tanh()

    x = dg.full((2,), 0.001)
    f(x)
    monkeypatch.setattr(REGISTRY["tanh"], "primitive", "sin")
    assert dg.compare(f, x, tolerance=1e-2).ok
    assert not dg.compare(f, x, tolerance=0).ok


def test_what_the_function_raises_and_what_cannot_be_captured():
    def refused(x):
        return x.numpy()

    def wrong(x):
        return x + dg.ones(3)

    with pytest.raises(dg.errors.CaptureError):
        dg.compare(refused, dg.ones(2))
    with pytest.raises(dg.errors.ShapeError):
        dg.compare(wrong, dg.ones(2))
    assert dg.compare(lambda x: x + 1, dg.ones(2)).ok
