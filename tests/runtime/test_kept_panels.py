"""Panels of parameters that stay as they are from run to run: nobody sees them but by the clock and the memory."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg

RUNS = 5


def _layer() -> tuple[Any, Any, list[Callable[[], Any]]]:
    dg.manual_seed(0)
    layer, x = dg.nn.Linear(300, 400), dg.randn(64, 300)
    static = dg.static(layer)
    return layer, x, [lambda: layer(x), lambda: static(x)]


def _expected(layer: Any, x: Any) -> Any:
    """Of memory that no panels are made of."""
    return dg.nn.functional.linear(x, layer.weight.detach().clone(), layer.bias.detach().clone())


def _allocated() -> int:
    gc.collect()  # what earlier tests left
    return int(dg.memory_stats()["allocated"])


@pytest.mark.parametrize("mode", [0, 1], ids=["dynamic", "static"])
def test_panels_are_kept_once(mode: int) -> None:
    layer, _, calls = _layer()
    with dg.no_grad():
        for _ in range(2):
            calls[mode]()
        before = _allocated()
        for _ in range(RUNS):
            calls[mode]()
        once = _allocated() - before
        for _ in range(RUNS):
            calls[mode]()
        assert once >= layer.weight.nbytes
        assert once == _allocated() - before


@pytest.mark.parametrize("mode", [0, 1], ids=["dynamic", "static"])
def test_the_bits_stay(mode: int) -> None:
    layer, x, calls = _layer()
    with dg.no_grad():
        expected = _expected(layer, x)
        for _ in range(RUNS):
            assert calls[mode]().equal(expected)


def _add(layer: Any) -> None:
    layer.weight.add_(1.0)


def _add_to_a_view(layer: Any) -> None:
    layer.weight[3].mul_(2.0)


def _load(layer: Any) -> None:
    layer.load_state_dict({name: value * 3 for name, value in layer.state_dict().items()})


def _exchange(layer: Any) -> None:
    layer.weight.data = layer.weight.detach() * 5


def _step(layer: Any) -> None:
    with dg.enable_grad():
        optimizer = dg.optim.SGD(layer.parameters(), lr=0.5)
        layer(dg.ones(40, 300)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def _numpy(layer: Any) -> None:
    layer.weight.detach().numpy()[:] *= 0.5


def _dlpack(layer: Any) -> None:
    np.from_dlpack(layer.weight.detach())  # what it gives may be read only; the memory was out
    layer.weight.mul_(0.5)


@pytest.mark.parametrize("mode", [0, 1], ids=["dynamic", "static"])
@pytest.mark.parametrize("write", [_add, _add_to_a_view, _load, _exchange, _step, _numpy, _dlpack])
def test_what_is_written_is_noticed(write: Callable[[Any], None], mode: int) -> None:
    layer, x, calls = _layer()
    with dg.no_grad():
        for _ in range(RUNS):
            calls[mode]()
        before = calls[mode]()
        write(layer)
        expected = _expected(layer, x)
        assert not expected.equal(before)
        for _ in range(RUNS):
            assert calls[mode]().equal(expected)


@pytest.mark.parametrize("mode", [0, 1], ids=["dynamic", "static"])
def test_memory_that_numpy_holds_may_change_at_any_time(mode: int) -> None:
    layer, x, calls = _layer()
    with dg.no_grad():
        for _ in range(RUNS):
            calls[mode]()
        array = layer.weight.detach().numpy()
        for factor in range(RUNS):
            array[:] = factor
            assert calls[mode]().equal(_expected(layer, x))
        del array
        expected = _expected(layer, x)
        for _ in range(RUNS):
            assert calls[mode]().equal(expected)


def test_memory_of_others_is_never_kept() -> None:
    array = np.ones((400, 300), np.float32)
    layer, x, calls = _layer()
    with dg.no_grad():
        layer.weight.data = dg.from_numpy(array)
        for factor in range(RUNS):
            array[:] = factor
            assert all(call().equal(_expected(layer, x)) for call in calls)


def test_a_static_step_that_writes_the_weights() -> None:
    layer, x, _ = _layer()
    other = dg.nn.Linear(300, 400)
    other.load_state_dict(layer.state_dict())

    def training(layer: Any) -> Callable[[], Any]:
        def step() -> Any:
            loss = layer(x).square().mean()
            layer.zero_grad()
            loss.backward()
            with dg.no_grad():
                layer.weight.sub_(0.1 * layer.weight.grad)
            return loss.detach()

        return step

    dynamic, static = training(other), dg.static(training(layer), strict=True)
    for _ in range(2 * RUNS):
        assert static().equal(dynamic())


def _convolution() -> tuple[Any, Any]:
    dg.manual_seed(0)
    return dg.nn.Conv2d(70, 90, 3, padding=1), dg.randn(2, 70, 14, 14)


@pytest.mark.parametrize("mode", [0, 1], ids=["dynamic", "static"])
@pytest.mark.parametrize("write", [_add, _add_to_a_view, _load, _exchange, _numpy])
def test_of_convolutions(write: Callable[[Any], None], mode: int) -> None:
    layer, x = _convolution()
    call = (layer, dg.static(layer))[mode]

    def expected() -> Any:
        return dg.nn.functional.conv2d(x, layer.weight.detach().clone(), layer.bias, padding=1)

    with dg.no_grad():
        made = call(x)
        made = call(x)
        gc.collect()
        before = _allocated()
        for _ in range(RUNS):
            made = call(x)
        assert _allocated() - before >= layer.weight.nbytes
        assert made.equal(expected())
        write(layer)
        assert not made.equal(expected())
        for _ in range(RUNS):
            assert call(x).equal(expected())


def test_panels_go_with_their_parameter() -> None:
    layer, _, calls = _layer()
    with dg.no_grad():
        for _ in range(RUNS):
            calls[0]()
    before, size = _allocated(), layer.weight.nbytes
    del layer, calls
    gc.collect()
    assert before - _allocated() >= 2 * size


@pytest.mark.parametrize("mode", [0, 1], ids=["dynamic", "static"])
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_that_are_walked(stride: int, mode: int) -> None:
    dg.manual_seed(0)
    layer, x = dg.nn.ConvTranspose2d(40, 64, 4, stride, 1), dg.randn(2, 40, 12, 13)
    run = [layer, dg.static(layer)][mode]
    with dg.no_grad():

        def expected() -> Any:
            weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
            return dg.nn.functional.conv_transpose2d(x, weight, bias, stride, 1)

        before = _allocated()
        for _ in range(RUNS):
            assert run(x).equal(expected())
        assert _allocated() - before >= layer.weight.nbytes
        layer.weight[3].mul_(2.0)
        for _ in range(RUNS):
            assert run(x).equal(expected())


def test_weights_of_a_loaded_model() -> None:
    pytest.importorskip("onnx")
    layer, x = dg.nn.Linear(300, 400), dg.randn(64, 300)
    with tempfile.TemporaryDirectory() as folder:
        dg.onnx.export(layer, (x,), f"{folder}/layer.onnx")
        model = dg.onnx.load(f"{folder}/layer.onnx")
        weight = next(value for value in model.buffers() if value.ndim == 2)
        before = _allocated()
        for _ in range(RUNS):
            np.testing.assert_allclose(model(x).detach().numpy(), layer(x).detach().numpy(), rtol=1e-5, atol=1e-5)
        assert _allocated() - before >= weight.nbytes
        with dg.no_grad():
            weight.mul_(2.0)
            layer.weight.mul_(2.0)
        for _ in range(RUNS):
            np.testing.assert_allclose(model(x).detach().numpy(), layer(x).detach().numpy(), rtol=1e-5, atol=1e-5)
