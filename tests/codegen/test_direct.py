"""Direct convolutions: the bits of the other ways, whatever the sizes, and which contractions are made so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.codegen.contraction import direct_lower
from duograph.codegen.contraction.library import build_library
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
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The answers of `pays`; nothing comes from the object cache, which would not ask."""
    answers: list[bool] = []
    pays = direct_lower.pays

    def noted(kernel: Any) -> bool:
        answers.append(pays(kernel))
        return answers[-1]

    monkeypatch.setattr(direct_lower, "pays", noted)
    monkeypatch.setattr("duograph.runtime.cache.folder", lambda: None)
    return answers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_are_those_of_dynamic_mode(case: Any, dtype: str, asked: list[bool]) -> None:
    given, run = operands(case, dtype), network(case)
    with dg.no_grad():
        made = dg.static(run, strict=True)(*given)
        assert asked == [True, True]
        for one, other in zip(made, run(*given)):
            assert np.array_equal(one.numpy(), other.numpy())


def test_bits_on_two_threads_and_in_a_batch_of_any_size(asked: list[bool]) -> None:
    case = (5, 20, (30, 30), 64, (3, 3), 1, 1, 1)
    (x, w, b), run = operands(case, "float32"), network(case)
    static = dg.static(run, strict=True)
    threads = dg.get_num_threads()
    with dg.no_grad():
        try:
            for count in (1, 2):
                dg.set_num_threads(count)
                for batch in (2, 5, 1):
                    wanted = run(x[:batch], w, b)
                    assert all(np.array_equal(one.numpy(), other.numpy()) for one, other in zip(static(x[:batch], w, b), wanted))
        finally:
            dg.set_num_threads(threads)
    assert all(asked[-2:])


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ((1, 16, (6, 6), 64, (3, 3), 1, 1, 1), "rows of few pixels"),
        ((1, 16, (8, 8), 128, (3, 3), 1, 1, 1), "few pixels for each kernel"),
        ((1, 16, (16, 16), 40, (1, 1), 1, 0, 1), "no windows"),
        ((1, 16, (16, 16), 12, (3, 3), 1, 1, 1), "few kernels"),
    ],
)
def test_others_are_products_of_matrices(case: Any, reason: str, asked: list[bool]) -> None:
    given, run = operands(case, "float32"), network(case)
    with dg.no_grad():
        dg.static(run, strict=True)(*given)
    assert not any(asked), reason


@pytest.mark.parametrize("isa", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiles_for_levels(isa: str, dtype: str) -> None:
    assert build_library(f"contraction-{dtype}-direct", get_target(isa))
