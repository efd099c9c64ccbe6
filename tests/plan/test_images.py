"""Convolutions that run image by image: the same bits, less memory, and only where images are kept apart."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import Error
from duograph.passes.memory import images
from duograph.runtime import assemble

F = dg.nn.functional
Network = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks run image by image, too."""
    monkeypatch.setenv("DUOGRAPH_CACHE", "off")
    monkeypatch.setattr(images, "_LARGE", 0)
    monkeypatch.setattr(images, "_WORK", 0)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[Network], Network]:
    """What makes a static function whose kernels go over all images."""

    def make(function: Network) -> Network:
        static = dg.static(function)

        def call(*args: Any) -> Any:
            with monkeypatch.context() as patched:
                patched.setattr(assemble, "by_images", lambda plan, apart: plan)
                return static(*args)

        return call

    return make


def random(*shape: int) -> Any:
    return dg.tensor(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


def times(static: Any, *args: Any) -> list[int]:
    """How often each kernel that runs more than once does."""
    return [kernel.times for kernel in static.explain(*args).static.kernel_list if kernel.times != 1]


W8, W16, DEPTHWISE, POINTS = random(8, 3, 3, 3), random(16, 8, 3, 3), random(8, 1, 3, 3), random(8, 8, 1, 1)
BIAS, MEAN, VARIANCE = random(8), random(8), random(8) ** 2 + 0.5
NARROW = random(2, 3, 3, 3), random(5, 2, 3, 3)
BACK, JOINED, TURNED = random(3, 8, 3, 3), random(4, 24, 3, 3), random(4, 3, 3, 3)


def residual(x: Any) -> Any:
    x = F.relu(F.batch_norm(F.conv2d(x, W8, padding=1), MEAN, VARIANCE, BIAS, BIAS))
    return x + F.conv2d(F.relu(F.conv2d(x, W16, padding=1)), W16.transpose(0, 1), padding=1)


NETWORKS: dict[str, tuple[Network, int]] = {
    "residual": (residual, 3),
    "pooled": (lambda x: F.conv2d(F.max_pool2d(F.conv2d(x, W8), 3, 2, 1), W16, padding=1), 3),
    "depthwise": (lambda x: F.conv2d(F.conv2d(F.conv2d(x, W8, padding=1), DEPTHWISE, padding=1, groups=8), POINTS), 3),
    "joined": (lambda x: F.conv2d(dg.cat([F.conv2d(x, W8)[:, :4], F.conv2d(x, -W8)[:, 4:]], 1), W16), 4),
    "each image's mean": (lambda x: (y := F.conv2d(x, W8)) - F.conv2d(y, POINTS).mean((2, 3), keepdim=True), 3),
    "scaled by image": (lambda x: F.conv2d(F.conv2d(x, W8) * x[:, :1, :1, :1], W16), 2),
    "few kernels": (lambda x: F.conv2d(F.conv2d(x, NARROW[0], padding=1), NARROW[1], padding=1), 2),
    "stride": (lambda x: F.conv2d(F.conv2d(x, W8, stride=2, padding=1), W16, stride=2, padding=1), 2),
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_same_bits(name: str, threads: int, autocast: bool, at_once: Any) -> None:
    network, kernels = NETWORKS[name]

    def function(x: Any) -> Any:
        with dg.no_grad(), dg.autocast(enabled=autocast):
            return network(x).float()

    before = dg.get_num_threads()
    dg.set_num_threads(threads)
    try:
        x = random(5, 3, 21, 24)
        static, strict = dg.static(function), dg.static(strict=True)(function)
        wanted = at_once(function)(x).numpy()
        for _ in range(3):
            np.testing.assert_array_equal(static(x).numpy(), wanted)
        np.testing.assert_array_equal(strict(x).numpy(), function(x).numpy())
    finally:
        dg.set_num_threads(before)
    found = times(static, x)
    assert set(found) == {5} and len(found) >= kernels


def test_memory_for_one_image() -> None:
    x = random(6, 3, 20, 20)
    kernels = dg.static(residual).explain(x).static.kernel_list
    places = [place for kernel in kernels for place in kernel.writes if place.memory == "arena"]
    widest = 16 * 20 * 20 * 4  # of one image
    assert max(place.bytes for place in places) == widest
    assert max(place.offset + place.bytes for place in places) < 3 * widest


@pytest.mark.parametrize("images_at_once", [1, 2, 3, 6])
def test_some_images_at_a_time(images_at_once: int, monkeypatch: pytest.MonkeyPatch, at_once: Any) -> None:
    x = random(6, 3, 20, 20)
    kernels = [kernel for kernel in dg.static(residual).explain(x).static.kernel_list if kernel.times == 6]
    work = sum(kernel.bytes + kernel.flops / images._OPERATIONS for kernel in kernels) / len(kernels)
    monkeypatch.setattr(images, "_WORK", work * (images_at_once - 0.5))
    static = dg.static(residual)
    np.testing.assert_array_equal(static(x).numpy(), at_once(residual)(x).numpy())
    assert set(times(static, x)) == ({6 // images_at_once} if images_at_once < 6 else set())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (y := F.conv2d(x, W8)) - F.conv2d(y, POINTS).mean(0, keepdim=True),
        lambda x: F.conv2d(F.conv2d(x, W8).flip(0), W16),
        lambda x: F.conv2d(F.conv2d(x, W8)[[2, 0, 1]], W16),
        lambda x: F.conv2d(dg.cat([F.conv2d(x, W8), F.conv2d(x, W8) * 2]), W16),
        lambda x: F.conv2d(F.conv2d(x, W8)[1:], W16),
        lambda x: F.conv2d(F.conv2d(x, W8).reshape(1, -1, 19, 22), JOINED),
        lambda x: F.conv2d(F.conv2d(x, W8).transpose(0, 1), TURNED),
        lambda x: F.conv2d(x, W8) + F.conv2d(x[:1], W8),
        lambda x: F.conv2d(F.conv2d(x, W8) * F.conv2d(x, W8).sum(), W16),
    ],
)
def test_images_that_meet(function: Network, at_once: Any) -> None:
    x = random(3, 3, 21, 24)
    static = dg.static(function)
    np.testing.assert_array_equal(static(x).numpy(), at_once(function)(x).numpy())


def test_what_somebody_else_reads_is_there(at_once: Any) -> None:
    def function(x: Any) -> Any:
        y = F.conv2d(x, W8, padding=1)
        z = F.conv2d(y, W16, padding=1)
        return z, y, y.sum(0)

    x = random(4, 3, 15, 17)
    static = dg.static(function)
    for found, wanted in zip(static(x), at_once(function)(x)):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    assert times(static, x)


def test_few_pixels_read_no_zeros_that_are_not_there(at_once: Any) -> None:
    """Products of few pixels read what lies beside an image."""

    def function(x: Any) -> Any:
        return F.conv2d(F.conv2d(x, W8, stride=2, padding=1), W16, padding=1)

    x = random(4, 3, 7, 12)
    np.testing.assert_array_equal(dg.static(function)(x).numpy(), at_once(function)(x).numpy())


def test_gradients(at_once: Any) -> None:
    x = random(4, 3, 16, 16).requires_grad_()
    dg.static(residual)(x).square().mean().backward()
    found, x.grad = x.grad.numpy(), None
    residual(x).square().mean().backward()
    np.testing.assert_allclose(found, x.grad.numpy(), rtol=1e-3, atol=1e-3)


def test_in_a_loop(at_once: Any) -> None:
    """The next turn begins with the first image again."""

    def function(x: Any, count: Any) -> Any:
        while count > 0:
            x = F.conv2d(F.relu(F.conv2d(x, W8, padding=1)), BACK, padding=1) * 0.01
            count = count - 1
        return x

    x, count = random(4, 3, 16, 16), dg.tensor(3)
    np.testing.assert_array_equal(dg.static(function)(x, count).numpy(), at_once(function)(x, count).numpy())


def test_written_to_what_is_read(at_once: Any) -> None:
    """The result goes to the very tensor that the first kernel reads."""

    def function(x: Any) -> Any:
        x.copy_(F.conv2d(F.relu(F.conv2d(x, W8, padding=1)), BACK, padding=1))

    first, second = random(4, 3, 16, 16), random(4, 3, 16, 16)
    dg.static(function)(first)
    at_once(function)(second)
    np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_sizes_that_change(at_once: Any) -> None:
    static = dg.static(residual)
    for shape in ((4, 3, 16, 16), (2, 3, 16, 16), (1, 3, 9, 16), (5, 3, 40, 16)):
        x = random(*shape)
        np.testing.assert_allclose(static(x).numpy(), residual(x).numpy(), rtol=1e-3, atol=1e-3)


def test_large_networks_do_so_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    wide = random(32, 3, 3, 3), random(32, 32, 3, 3)
    static = dg.static(lambda x: F.conv2d(F.relu(F.conv2d(F.relu(F.conv2d(x, wide[0])), wide[1])), wide[1]))
    large, small = random(4, 3, 256, 256), random(4, 3, 64, 64)
    static(large), static(small)
    assert set(times(static, large)) == {4} and not times(static, small)


def test_times_of_kernels() -> None:
    x = random(4, 3, 16, 16)
    static = dg.static(residual)
    static(x)
    kernels = static.explain(x, time=True).static.kernel_list
    assert all((kernel.microseconds or 0) > 0 for kernel in kernels)


def test_an_interrupt_comes_through() -> None:
    code = """
import duograph as dg
F = dg.nn.functional
a, b = dg.randn(32, 8, 3, 3), dg.randn(8, 32, 3, 3)
static = dg.static(lambda x: F.conv2d(F.relu(F.conv2d(x, a, padding=1)), b, padding=1))
x = dg.randn(16, 8, 256, 256)
static(x)
assert any(kernel.times == 16 for kernel in static.explain(x).static.kernel_list)
print("begins", flush=True)
try:
    for _ in range(1000):
        static(x)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "interrupted\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda step: step[:3],
        lambda step: [step[0], "kernels", *step[2:]],
        lambda step: [*step[:2], 1_000_000, step[3]],
        lambda step: [*step[:3], [[10_000, 0]]],
        lambda step: [*step[:3], [[0, 0]]],  # no view
        lambda step: [*step[:3], [[step[3][0][0], -1]]],
        lambda step: [*step[:3], [[step[3][0][0]]]],
        lambda step: [*step[:3], "moving"],
    ],
)
def test_specs_that_are_wrong(change: Any) -> None:
    x = random(4, 3, 16, 16)
    static = dg.static(residual)
    static(x)
    built = static.handler.capture((x,), {})[1][0]
    steps = built.spec["steps"]
    place = next(i for i, step in enumerate(steps) if step[0] == "images")
    broken = dict(built.spec, steps=[change(step) if i == place else step for i, step in enumerate(steps)])
    with pytest.raises(Error, match="program"):
        core.Program(broken, built.code)
