"""`explain`: the figures, the user's lines, and that it changes nothing."""

import numpy as np

import duograph as dg
import duograph.nn as nn


def test_one_line_function():
    w, x, b = (dg.rand(1000) for _ in range(3))

    def line(w, x, b):
        return w * x + b

    static = dg.static(line)
    report = static.explain(w, x, b)
    assert (report.dynamic.variables, report.static.variables) == (5, 4)
    assert (report.dynamic.bytes, report.static.bytes) == (20_000, 16_000)
    assert (report.dynamic.kernels, report.static.kernels) == (2, 1)
    assert (report.dynamic.bytes_moved, report.static.bytes_moved) == (24_000, 16_000)
    assert report.dynamic.flops == report.static.flops == 2_000
    (kernel,) = report.static.kernel_list
    assert kernel.expression == "fma(w, x, b)" and kernel.text == "return w * x + b" and kernel.microseconds is None
    assert kernel.location == f"{__file__}:{kernel.line}"
    text = str(report)
    assert "fma(w, x, b)" in text and "test_report.py" in text and "variables" in text
    assert static.captures == 0
    strict = dg.static(line, strict=True).explain(w, x, b)
    assert strict.static.kernels == 1 and strict.static.variables == 4 and "fma" not in str(strict)
    (timed,) = static.explain(w, x, b, time=True).static.kernel_list
    assert timed.microseconds > 0


def test_a_training_step_is_explained_and_left_alone():
    dg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = dg.optim.Adam(model.parameters(), lr=0.1)
    calls = {"n": 0}

    def step(x, y):
        calls["n"] += 1
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    static = dg.static(step)
    x, y = dg.randn(5, 4), dg.randn(5, 2)
    static(x, y)

    def everything():
        tensors = [*model.parameters(), *(p.grad for p in model.parameters())]
        tensors += [t for p in model.parameters() for t in optimizer.state[p].values() if isinstance(t, dg.Tensor)]
        return [t.detach().numpy().copy() for t in tensors], dg._core.get_rng_state(), dict(calls)

    before = everything()
    gradients = [p.grad for p in model.parameters()]
    report = static.explain(x, y, time=True)
    after = everything()
    for a, b in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[1:] == after[1:] and all(p.grad is g for p, g in zip(model.parameters(), gradients))
    assert 0 < report.static.kernels < report.dynamic.kernels
    assert report.static.bytes_moved < report.dynamic.bytes_moved
    assert all(k.file == __file__ for k in report.static.kernel_list)
    lines = {k.text for k in report.static.kernel_list}
    assert {"loss.backward()", "optimizer.step()"} & lines and any("model(x)" in t for t in lines)
    assert any("0.weight" in k.expression for k in report.static.kernel_list)
    static(x, y)
    assert static.captures == 1


def test_a_loops_operations_count_in_each_turn():
    def run(x, w):
        h = x[0]
        for t in range(x.shape[0]):
            h = h @ w + x[t]
        return h

    x, w = dg.ones(20, 4, 8), dg.ones(8, 8)
    report = dg.static(run).explain(x, w)
    assert report.dynamic.flops == report.static.flops == 20 * (2 * 4 * 8 * 8 + 4 * 8)
    (product,) = [k for k in report.static.kernel_list if "@" in k.expression]
    assert product.times == 20 and "× 20" in str(report)
    assert "one turn is counted" not in str(report)


def test_a_small_loops_operations_count_in_each_turn():
    def run(x):
        for _ in range(50):
            x = x * 0.5 + 1.0
        return x

    report = dg.static(run, strict=True).explain(dg.ones(4))
    assert report.static.flops == report.dynamic.flops == 50 * 2 * 4


def test_of_a_loop_of_unknown_length_one_turn_is_counted():
    def run(x, w):
        while x.sum() < 1000:
            for _ in range(10):
                x = x @ w
        return x

    report = dg.static(run).explain(dg.ones(4, 8), dg.ones(8, 8))
    (product,) = [k for k in report.static.kernel_list if "@" in k.expression]
    assert product.times == 10 and product.per_turn
    assert report.static.flops == report.dynamic.flops == 10 * 2 * 4 * 8 * 8 + 32
    assert "of loops whose number of turns values decide, one turn is counted" in str(report) and "per turn" in str(report)
