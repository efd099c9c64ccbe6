"""Gradients of convolutions to their kernels: the bits of products, whatever the sizes, and which are made otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.codegen.contraction import direct_lower, taps_lower

# images, channels, size of an image, kernels, taps, stride, padding, dilation
CASES = (
    (2, 16, (31, 27), 32, (3, 3), 1, 1, 1),
    (3, 9, (23, 40), 61, (3, 3), 1, 1, 1),
    (2, 3, (64, 71), 64, (7, 7), 2, 3, 1),  # rows of tiles are taps
    (1, 7, (52, 44), 29, (2, 2), 1, 1, 2),
    (2, 5, (3000,), 57, (9,), 3, 0, 1),
    (2, 8, (12, 15, 13), 32, (2, 3, 3), 1, 1, 1),
    (2, 40, (81, 58), 128, (1, 1), 2, 0, 1),
    (5, 29, (40, 42), 160, (3, 3), 1, 1, 1),  # not all of k is packed at a time
    (2, 9, (41, 55), 60, (3, 3), 2, 1, 1),  # rows of tiles are taps of some channels, pixels two apart
    (2, 7, (30, 46), 64, (5, 5), 1, 0, 1),
    (1, 17, (64, 60), 32, (2, 3), 1, 1, (2, 1)),
)


def operands(case: Any, dtype: Any) -> tuple[Any, Any]:
    images, channels, size, kernels, taps, *_ = case
    rng = np.random.default_rng(0)
    shapes = (images, channels, *size), (kernels, channels, *taps)
    x, w = (dg.from_numpy(rng.standard_normal(shape).astype(dtype)) for shape in shapes)
    return x, w.requires_grad_()


def gradient(case: Any) -> Any:
    *_, stride, padding, dilation = case
    convolve = getattr(dg.nn.functional, f"conv{len(case[2])}d")

    def run(x: Any, w: Any) -> Any:
        made = convolve(x, w, None, stride, padding, dilation)
        return dg.autograd.grad(made, w, (made.detach() * 0.7).sin())[0]

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool | None]]:
    """The answers of `is_taps`; nothing comes from the object cache, which would not ask."""
    answers: list[bool | None] = []
    is_taps = taps_lower.is_taps

    def noted(kernel: Any) -> bool | None:
        answers.append(is_taps(kernel))
        return answers[-1]

    monkeypatch.setattr(taps_lower, "is_taps", noted)
    monkeypatch.setattr("duograph.runtime.cache.folder", lambda: None)
    threads = dg.get_num_threads()
    yield answers
    dg.set_num_threads(threads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_are_those_of_products(case: Any, dtype: str, asked: list[bool | None], monkeypatch: pytest.MonkeyPatch) -> None:
    run, given = gradient(case), operands(case, dtype)
    dg.set_num_threads(1)
    static = dg.static(run, strict=True)
    made = static(*given).numpy()
    assert True in asked
    assert np.array_equal(made, run(*given).numpy())  # dynamic mode asks the sizes of each call
    dg.set_num_threads(2)
    assert np.array_equal(made, static(*given).numpy())
    with monkeypatch.context() as patch:
        for module, name in ((direct_lower, "is_direct"), (direct_lower, "is_narrow"), (taps_lower, "is_taps")):
            patch.setattr(module, name, lambda kernel: False)
        assert np.array_equal(made, dg.static(run, strict=True)(*given).numpy())


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ((1, 16, (20, 20), 32, (3, 3), 1, 1, 1), "few pixels"),
        ((2, 16, (41, 41), 256, (3, 3), 1, 1, 1), "many kernels, rows of odd length"),
        ((2, 2, (40, 40), 32, (3, 3), 1, 1, 1), "neither channels nor taps for a tile"),
        ((2, 16, (40, 40), 12, (3, 3), 1, 1, 1), "few kernels"),
        ((2, 0, (40, 40), 32, (3, 3), 1, 1, 1), "no channels"),
        ((0, 16, (40, 40), 32, (3, 3), 1, 1, 1), "no images"),
    ],
)
def test_others_are_products_of_matrices(case: Any, reason: str, asked: list[bool | None]) -> None:
    run, given = gradient(case), operands(case, "float32")
    made = dg.static(run, strict=True)(*given)
    assert not any(asked), reason
    assert np.array_equal(made.numpy(), run(*given).numpy())
