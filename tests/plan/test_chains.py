"""Products and sums over windows that run band by band: the same bits, less memory, and only where nobody else looks."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import Error
from duograph.runtime import assemble

F = dg.nn.functional


class Case(NamedTuple):
    """An inverted residual block."""

    images: int = 1
    channels: int = 8
    inner: int = 48
    out: int = 12
    size: tuple[int, int] = (96, 96)
    taps: int = 3
    stride: int = 1
    padding: int | tuple[int, int] = 1
    dilation: int = 1
    made: int = 1  # results of a channel
    read: int = 1  # channels that are summed
    dtype: str = "float32"
    kept: int = 2  # how many results stay in scratch


CASES = [
    Case(),
    Case(images=3),
    Case(images=2, size=(67, 91)),
    Case(size=(113, 57), stride=2),
    Case(images=2, size=(150, 64), stride=2, padding=0),
    Case(taps=5, padding=2, size=(64, 130)),
    Case(taps=5, padding=2, stride=2, images=2, size=(131, 97)),
    Case(dilation=3, padding=3, size=(80, 120)),
    Case(padding=(3, 0), size=(90, 111)),
    Case(stride=3, size=(200, 99)),
    Case(made=2, size=(100, 100)),
    Case(read=3, size=(100, 100), kept=0),  # of several channels: a product
    Case(dtype="float64", size=(60, 75)),
    Case(taps=1, padding=0, stride=2, size=(120, 120)),
    Case(inner=47, out=1, channels=1, size=(100, 100), kept=1),  # one row is another product
]


class Block:
    def __init__(self, case: Case) -> None:
        self.case = case
        random = np.random.default_rng(5)
        dtype = getattr(dg, case.dtype)

        def made(*shape: int) -> Any:
            return dg.tensor(random.standard_normal(shape), dtype=dtype)

        groups, self.wide = case.inner // case.read, case.inner // case.read * case.made
        self.groups = groups
        self.x = made(case.images, case.channels, *case.size)
        self.expand, self.first = made(case.inner, case.channels, 1, 1), made(case.inner)
        self.middle, self.second = made(self.wide, case.read, case.taps, case.taps), made(self.wide)
        self.project, self.third = made(case.out, self.wide, 1, 1), made(case.out)

    def widen(self, x: Any) -> Any:
        return F.relu6(F.conv2d(x, self.expand, self.first))

    def sums(self, x: Any) -> Any:
        case = self.case
        return F.silu(F.conv2d(x, self.middle, self.second, case.stride, case.padding, case.dilation, self.groups))

    def narrow(self, x: Any) -> Any:
        return F.conv2d(x, self.project, self.third)

    def __call__(self, x: Any) -> Any:
        return self.narrow(self.sums(self.widen(x)))


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes a static function whose kernels run one after the other."""

    def make(function: Any) -> Any:
        static = dg.static(function)

        def call(*args: Any) -> Any:
            with monkeypatch.context() as patched:
                patched.setenv("DUOGRAPH_CACHE", "off")  # or a program would be found that was made otherwise
                patched.setattr(assemble, "with_chains", lambda plan: (plan, []))
                return static(*args)

        return call

    return make


def in_scratch(static: Any, *args: Any) -> int:
    """How many kernels write to scratch."""
    places = [place.memory for kernel in static.explain(*args).static.kernel_list for place in kernel.writes]
    return places.count("scratch")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bits(case: Case, threads: int, apart: Any) -> None:
    block = Block(case)
    before = dg.get_num_threads()
    dg.set_num_threads(threads)
    try:
        together, other = dg.static(block), apart(block)
        wanted = other(block.x).numpy()
        for _ in range(3):
            np.testing.assert_array_equal(together(block.x).numpy(), wanted)
    finally:
        dg.set_num_threads(before)
    np.testing.assert_allclose(wanted, block(block.x).numpy(), rtol=1e-3, atol=1e-3)
    assert in_scratch(together, block.x) == case.kept


@pytest.mark.parametrize("part", ["sums and narrow", "widen and sums"])
def test_two_kernels(part: str, apart: Any) -> None:
    block = Block(Case(images=2, channels=48))

    def function(x: Any) -> Any:
        return block.narrow(block.sums(x)) if part == "sums and narrow" else block.sums(block.widen(x))

    static = dg.static(function)
    np.testing.assert_array_equal(static(block.x).numpy(), apart(function)(block.x).numpy())
    assert in_scratch(static, block.x) == 1


def test_several_blocks_with_residuals(apart: Any) -> None:
    blocks = [Block(Case(channels=8, out=8, inner=48)) for _ in range(3)]

    def function(x: Any) -> Any:
        for block in blocks:
            x = x + block(x)
        return x

    x = blocks[0].x
    np.testing.assert_array_equal(dg.static(function)(x).numpy(), apart(function)(x).numpy())


@pytest.mark.parametrize("which", ["widen", "sums"])
def test_what_somebody_else_reads_is_there(which: str, apart: Any) -> None:
    block = Block(Case())

    def function(x: Any) -> Any:
        wide = block.widen(x)
        sums = block.sums(wide)
        return block.narrow(sums), (wide if which == "widen" else sums).mean((2, 3))

    static = dg.static(function)
    for found, wanted in zip(static(block.x), apart(function)(block.x)):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    assert in_scratch(static, block.x) == 1


def test_gradients(apart: Any) -> None:
    block = Block(Case())
    x = block.x.clone().requires_grad_()
    dg.static(block)(x).square().mean().backward()
    found, x.grad = x.grad.numpy(), None
    block(x).square().mean().backward()
    np.testing.assert_allclose(found, x.grad.numpy(), rtol=1e-3, atol=1e-3)


def test_a_batch_of_any_size() -> None:
    block = Block(Case())
    static = dg.static(lambda x: block(x), sizes={"x": (dg.Dim("n", min=1, max=64), None, None, None)})
    for images in (1, 3, 2, 5):
        x = dg.randn(images, *block.x.shape[1:])
        np.testing.assert_allclose(static(x).numpy(), block(x).numpy(), rtol=1e-3, atol=1e-3)
    assert len(static.signatures()) == 1 and in_scratch(static, x) == 2


def test_sizes_that_change() -> None:
    block = Block(Case())
    static = dg.static(block)
    for size in ((96, 96), (97, 96), (101, 90), (150, 120), (9, 9), (40, 200)):
        x = dg.randn(1, 8, *size)
        np.testing.assert_allclose(static(x).numpy(), block(x).numpy(), rtol=1e-3, atol=1e-3)


def test_written_to_what_is_read(apart: Any) -> None:
    """The result goes to the very tensor that the first kernel reads."""
    block = Block(Case(channels=8, out=8))

    def function(x: Any) -> Any:
        x.copy_(block(x))

    first, second = block.x.clone(), block.x.clone()
    dg.static(function)(first)
    apart(function)(second)
    np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_times_of_kernels() -> None:
    block = Block(Case(images=2))
    static = dg.static(block)
    static(block.x)
    kernels = static.explain(block.x, time=True).static.kernel_list
    assert len(kernels) == 3 and all((kernel.microseconds or 0) > 0 for kernel in kernels)


def test_an_interrupt_comes_through() -> None:
    code = """
import time
import duograph as dg
F = dg.nn.functional
a, w, b = dg.randn(96, 8, 1, 1), dg.randn(96, 1, 5, 5), dg.randn(8, 96, 1, 1)
static = dg.static(lambda x: F.conv2d(F.conv2d(F.conv2d(x, a), w, padding=2, groups=96), b))
static(dg.randn(1, 8, 512, 512))
x = dg.randn(64, 8, 512, 512)
print("begins", flush=True)
start = time.monotonic()
try:
    for _ in range(100):
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
        lambda chain: chain[:10],
        lambda chain: [4, *chain[1:]],
        lambda chain: [1, 0, *chain[2:]],
        lambda chain: [3, 5, *chain[2:]],
        lambda chain: [*chain[:2], 10_000, *chain[3:]],
        lambda chain: [*chain[:4], 1_000_000, *chain[5:]],
        lambda chain: [*chain[:4], -1, *chain[5:]],
        lambda chain: "chain",
    ],
)
def test_specs_that_are_wrong(change: Any) -> None:
    block = Block(Case())
    static = dg.static(block)
    static(block.x)
    built = static.handler.capture((block.x,), {})[1][0]
    entry = next(step for step in built.spec["steps"] if len(step) > 12)
    entry[12] = change(entry[12])
    with pytest.raises((Error, ValueError, TypeError, RuntimeError)):
        core.Program(built.spec, built.code)
