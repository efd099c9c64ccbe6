"""Direct convolutions: the bits of the other ways, whatever the sizes, and which contractions are made so."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.codegen.contraction import direct_lower, lower
from duograph.codegen.contraction.library import build_library, library_text
from duograph.codegen.target import get_target

# images, channels, size of an image, kernels, taps, stride, padding, dilation
CASES = (
    (1, 16, (15, 14), 32, (3, 3), 1, 1, 1),
    (2, 70, (9, 23), 61, (3, 3), 1, 1, 1),
    (3, 5, (33, 35), 64, (5, 3), 2, 2, 1),
    (1, 130, (12, 12), 57, (2, 2), 1, 1, 2),
    (2, 3, (200,), 57, (7,), 3, 0, 1),
    (1, 9, (6, 5, 13), 32, (2, 3, 3), 1, 1, 1),
    (1, 40, (21, 8), 59, (1, 1), (1, 2), (0, 3), 1),
    (2, 900, (16, 15), 90, (3, 3), 1, 1, 1),  # several groups of kernels
    (3, 16, (14, 14), 16, (3, 3), 1, 1, 1),  # panels of one vector
    (2, 50, (9, 15), 6, (3, 3), 1, 0, 1),
    (1, 70, (20, 40), 13, (3, 4), (1, 2), 1, 1),
    (1, 300, (7, 7), 90, (3, 3), 1, 1, 1),  # two rows in a tile
    (3, 11, (8, 6), 64, (3, 1), 1, (1, 0), 1),
    (2, 7, (3, 4, 5), 32, (2, 3, 3), 1, (1, 1, 1), 1),
    (2, 40, (15, 13), 64, (3, 3), 2, 1, 1),
    (1, 20, (14, 14), 64, (1, 1), 2, 0, 1),
    # rows of three taps, of which some lie on zeros
    (2, 40, (13, 9), 64, (5, 3), 1, (2, 1), 1),
    (1, 48, (20, 17), 64, (3, 3), (3, 1), (2, 0), (2, 1)),
    (2, 33, (28, 28), 60, (3, 3), 1, (4, 1), 1),  # rows of windows on nothing but zeros
    (1, 64, (29, 29), 32, (3, 3), 2, 1, 1),
    (2, 20, (16, 14), 64, (3, 3), 2, (0, 2), 1),
    (1, 70, (5, 40), 64, (2, 3), 1, (1, 3), (3, 1)),
    (2, 60, (50,), 64, (3,), 1, 1, 1),
    # vectors of pixels
    (2, 70, (9, 23), 5, (3, 3), 1, 1, 1),
    (1, 130, (8, 112), 3, (3, 3), 1, 1, 1),
    (3, 5, (20, 150), 4, (5, 3), (2, 1), (2, 0), (1, 2)),
    (1, 9, (6, 5, 13), 2, (2, 3, 3), 1, 1, 1),
    (2, 60, (200,), 2, (9,), 1, 0, 1),
    # and few multiply-adds for each of more kernels
    (2, 3, (40, 45), 32, (3, 3), 1, 1, 1),
    (1, 3, (65, 97), 37, (3, 3), 2, 1, 1),
    (3, 1, (20, 133), 7, (5, 5), (1, 2), 2, 1),
    (1, 2, (9, 64), 70, (3, 3), (2, 1), 1, (1, 2)),
    (2, 3, (9, 128), 6, (3, 3), 2, 1, 1),
    (1, 7, (300,), 9, (9,), 2, 3, 1),
    (1, 1, (8, 66), 130, (2, 2), 2, 0, 1),
    (2, 3, (20, 301), 20, (7, 7), 2, 3, 1),  # every second pixel, of rows that are copied
    (1, 2, (7, 6, 90), 11, (2, 3, 6), 2, 1, 1),
    (1, 3, (20, 140), 33, (3, 3), 2, 2, 2),  # and of rows that are not
)


def operands(case: Any, dtype: Any) -> tuple[Any, ...]:
    images, channels, size, kernels, taps, *_ = case
    rng = np.random.default_rng(0)
    shapes = (images, channels, *size), (kernels, channels, *taps), (kernels,)
    return tuple(dg.from_numpy(rng.standard_normal(shape).astype(dtype)) for shape in shapes)


def network(case: Any) -> Any:
    """A convolution, and what its kernel may end in: bias, a factor for each kernel, a second summand, an activation."""
    *_, stride, padding, dilation = case
    convolve = getattr(dg.nn.functional, f"conv{len(case[2])}d")

    def run(x: Any, w: Any, b: Any) -> Any:
        made = convolve(x, w, b, stride, padding, dilation)
        scaled = made * b.reshape(-1, *(1,) * len(case[2]))
        return dg.relu(scaled + dg.ones_like(made).cumsum(-1)), convolve(-x, w, None, stride, padding, dilation)

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool | None]:
    """The answers of `is_direct`; nothing comes from the object cache, which would not ask."""
    answers: list[bool | None] = []
    is_direct = direct_lower.is_direct

    def noted(kernel: Any) -> bool | None:
        answers.append(is_direct(kernel))
        return answers[-1]

    monkeypatch.setattr(direct_lower, "is_direct", noted)
    monkeypatch.setattr("duograph.runtime.cache.folder", lambda: None)
    return answers


def as_products(monkeypatch: pytest.MonkeyPatch, run: Any, *given: Any) -> Any:
    """What the function gives where no contraction is a direct convolution."""
    with monkeypatch.context() as patch:
        patch.setattr(direct_lower, "is_direct", lambda kernel: False)
        return dg.static(run, strict=True)(*given)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_are_those_of_products(case: Any, dtype: str, asked: list[bool | None], monkeypatch: pytest.MonkeyPatch) -> None:
    given, run = operands(case, dtype), network(case)
    with dg.no_grad():
        made = dg.static(run, strict=True)(*given)
        static = len(asked)
        assert static >= 2 and all(asked)
        for one, other, dynamic in zip(made, as_products(monkeypatch, run, *given), run(*given)):
            assert np.array_equal(one.numpy(), other.numpy()) and np.array_equal(one.numpy(), dynamic.numpy())
    assert all(answer is None for answer in asked[static:])  # dynamic mode asks the sizes of each call


# With strides a phase's taps of a kernel are every second or third.
BACK = (
    (1, 32, (15, 14), 16, (3, 3), 1, 1, 1),
    (2, 61, (9, 23), 70, (3, 3), 1, 1, 1),
    (3, 64, (33, 35), 5, (5, 3), 2, 2, 1),
    (2, 3, (44, 41), 20, (7, 7), 2, 3, 1),  # vectors of pixels
    (1, 57, (12, 12), 130, (2, 2), 1, 1, 2),
    (2, 32, (20, 17), 900, (3, 2), 1, 0, 1),
    (2, 60, (30, 34), 70, (4, 5), (2, 3), 1, 1),
    (2, 6, (14, 14), 16, (5, 5), 1, 0, 1),
    (2, 96, (7, 7), 20, (3, 3), 1, 1, 1),  # fewer than two pixels for each kernel
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", BACK, ids=str)
def test_gradients_to_images(case: Any, dtype: str, asked: list[bool | None], monkeypatch: pytest.MonkeyPatch) -> None:
    *_, stride, padding, dilation = case
    convolve = getattr(dg.nn.functional, f"conv{len(case[2])}d")
    x, w, _ = operands(case, dtype)
    g = dg.arange(convolve(x, w, None, stride, padding, dilation).numel(), dtype=x.dtype).sin()

    def gradient(x: Any, w: Any, g: Any) -> Any:
        made = convolve(x, w, None, stride, padding, dilation)
        return dg.autograd.grad(made, x, g.reshape(made.shape))[0]

    x.requires_grad_()
    made = dg.static(gradient, strict=True)(x, w, g)
    assert True in asked
    for other in (as_products(monkeypatch, gradient, x, w, g), gradient(x, w, g)):
        assert np.array_equal(made.numpy(), other.numpy())


def test_bits_on_two_threads_and_in_a_batch_of_any_size(asked: list[bool | None], monkeypatch: pytest.MonkeyPatch) -> None:
    case = (5, 20, (30, 30), 64, (3, 3), 1, 1, 1)
    (x, w, b), run = operands(case, "float32"), network(case)
    static = dg.static(run, strict=True)
    threads = dg.get_num_threads()
    with dg.no_grad():
        wanted = [each.numpy() for each in as_products(monkeypatch, run, x, w, b)]
        try:
            for count in (1, 2):
                dg.set_num_threads(count)
                for batch in (2, 5, 1):
                    for function in (static, run):
                        for one, other in zip(function(x[:batch], w, b), wanted):
                            assert np.array_equal(one.numpy(), other[:batch])
        finally:
            dg.set_num_threads(threads)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ((1, 16, (9, 4), 64, (3, 3), 1, 1, 1), "rows of few pixels"),
        ((1, 16, (5, 7), 64, (3, 3), 1, 1, 1), "few pixels"),
        ((1, 16, (16, 16), 40, (1, 1), 1, 0, 1), "no windows"),
        ((1, 16, (16, 32), 5, (3, 3), (1, 2), 1, 1), "few kernels of pixels apart"),
        ((1, 16, (16, 7), 5, (3, 3), 1, 1, 1), "few kernels of short rows"),
        ((1, 3, (16, 16), 12, (3, 3), 1, 1, 1), "few products of few kernels"),
        ((1, 16, (16, 45), 9, (3, 3), 1, 1, 1), "few kernels for long rows"),
        ((1, 0, (16, 16), 32, (3, 3), 1, 1, 1), "no channels"),
    ],
)
def test_others_are_products_of_matrices(case: Any, reason: str, asked: list[bool | None]) -> None:
    given, run = operands(case, "float32"), network(case)
    with dg.no_grad():
        made = dg.static(run, strict=True)(*given)
        assert all(np.array_equal(one.numpy(), other.numpy()) for one, other in zip(made, run(*given)))
    assert not any(asked), reason


@pytest.mark.parametrize("isa", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiles_for_levels(isa: str, dtype: str) -> None:
    for part in ("direct", "direct_narrow"):
        assert build_library(f"contraction-{dtype}-{part}", get_target(isa))


@pytest.mark.parametrize(("dtype", "lanes"), [("float32", 16), ("float64", 8)])
def test_multiply_adds_read_pixels(dtype: str, lanes: int) -> None:
    """Of AVX-512: some, by a pointer and a constant; through an index the read would be an operation of its own."""
    target = get_target("x86-64-v4")
    text = target.emit_assembly(library_text(f"contraction-{dtype}-direct", target))
    reads = re.findall(rf"vfmadd231p[sd]\s+[^\n]*\(([^)]*)\){{1to{lanes}}}", text)
    assert len(reads) > 1000
    assert not any("," in place for place in reads)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [5, 40])
def test_a_product_of_several_images_ends_in_one_launch(
    size: int, groups: int, asked: list[bool | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epilogue runs image by image, also where images are multiplied together: no second pass over the result."""
    launches: list[list[str]] = []
    run = lower.Lowering.run

    def noted(self: Any) -> Any:
        made = run(self)
        launches.append([launch.symbol for launch in made.launches])
        return made

    monkeypatch.setattr(lower.Lowering, "run", noted)
    rng = np.random.default_rng(0)
    shapes = (3, 8, size, size), (20, 8 // groups, 3, 3), (20,), (3, 20, size, size)
    x, w, b, other = (dg.from_numpy(rng.standard_normal(shape).astype("float32")) for shape in shapes)

    def network(x: Any, w: Any, b: Any, other: Any) -> Any:
        return dg.relu(dg.nn.functional.conv2d(x, w, b, padding=1, groups=groups) + other)

    with dg.no_grad():
        made = dg.static(network, strict=True)(x, w, b, other)
        if groups == 1:
            assert launches == [["contraction-float32:run"]]
        assert np.array_equal(made.numpy(), network(x, w, b, other).numpy())
