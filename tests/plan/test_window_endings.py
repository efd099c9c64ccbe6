"""What follows sums over windows runs in their kernel, and changes no bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg

F = dg.nn.functional

# (images, channels, size, taps, stride, kernels of a channel, dtype)
CASES = [
    (2, 6, (17, 18), 3, 1, 1, "float32"),
    (1, 8, (33, 31), 3, 2, 2, "float32"),
    (3, 5, (20, 7), 5, 1, 1, "float64"),
    (2, 4, (19, 40), 5, 2, 3, "float32"),
    (1, 3, (9, 9), 7, 1, 1, "float32"),
    (2, 3, (1, 1), 3, 1, 1, "float32"),
    (2, 3, (70, 90), 3, 1, 1, "float32"),
]


def _given(case: Any) -> tuple[Any, Any, Any]:
    images, channels, size, taps, _, made, dtype = case
    random = np.random.default_rng(3)
    shapes = (images, channels, *size), (channels * made, 1, taps, taps), (channels * made,)
    x, w, b = (dg.tensor(random.standard_normal(shape), dtype=getattr(dg, dtype)) for shape in shapes)
    return x, w, b


def _kernels(function: Callable[..., Any], *args: Any) -> list[str]:
    return [kernel.expression for kernel in function.explain(*args).static.kernel_list]  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bias_and_activation(case: Any) -> None:
    x, w, b = _given(case)

    def run(x: Any) -> Any:
        return F.conv2d(x, w, b, case[4], case[3] // 2, groups=case[1]).clamp(0, 6)

    static = dg.static(run)
    assert np.array_equal(static(x).numpy(), run(x).numpy())
    assert [k for k in _kernels(static, x) if "window" in k] == _kernels(static, x)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_another_tensor_of_any_layout(case: Any) -> None:
    x, w, _ = _given(case)
    shape = F.conv2d(x, w, None, case[4], case[3] // 2, groups=case[1]).shape
    values = np.random.default_rng(4).standard_normal(shape)
    plain = dg.tensor(values, dtype=x.dtype)
    turned = dg.tensor(np.ascontiguousarray(values.transpose(0, 1, 3, 2)), dtype=x.dtype)

    def run(x: Any, plain: Any, turned: Any) -> Any:
        return dg.tanh(F.conv2d(x, w, None, case[4], case[3] // 2, groups=case[1]) + plain) * turned.transpose(2, 3)

    static = dg.static(run)
    assert np.array_equal(static(x, plain, turned).numpy(), run(x, plain, turned).numpy())
    assert any("tanh(window_sums" in k for k in _kernels(static, x, plain, turned))


def test_open_sizes() -> None:
    _, w, b = _given(CASES[0])
    run = dg.static(lambda x: dg.relu(F.conv2d(x, w, b, 1, 1, groups=6)), sizes={"x": (2, 6, dg.Dim("h"), dg.Dim("w"))})
    for size in (5, 17, 40):
        x = dg.randn(2, 6, size, size + 1)
        assert np.array_equal(run(x).numpy(), dg.relu(F.conv2d(x, w, b, 1, 1, groups=6)).numpy())


def test_a_result_that_is_read_twice_or_reduced_is_right() -> None:
    x, w, b = _given(CASES[0])

    def run(x: Any) -> Any:
        made = F.conv2d(x, w, b, 1, 1, groups=6)
        return dg.relu(made), made.mean((2, 3)), (made * made).sum(), made.transpose(1, 2) + 1.0

    for one, other in zip(dg.static(run)(x), run(x), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-5)


def test_what_may_report_an_error_is_a_launch_of_its_own() -> None:
    x, w, _ = _given(CASES[0])
    divisor = dg.tensor(np.zeros((2, 6, 17, 18), np.int32))

    def run(x: Any, divisor: Any) -> Any:
        made = F.conv2d(x, w, None, 1, 1, groups=6)
        return made * (divisor // divisor).to(dg.float32)

    with pytest.raises(ZeroDivisionError):
        dg.static(run)(x, divisor)
    ones = dg.ones_like(divisor)
    assert np.array_equal(dg.static(run)(x, ones).numpy(), run(x, ones).numpy())


def test_sums_written_over_what_they_read() -> None:
    x, w, b = _given(CASES[0])
    kept = dg.zeros(2, 6, 17, 18)

    def run(x: Any) -> Any:
        kept.add_(dg.relu(F.conv2d(x, w, b, 1, 1, groups=6)))
        return kept.sum()

    expected = dg.relu(F.conv2d(x, w, b, 1, 1, groups=6))
    static = dg.static(run)
    static(x)
    static(x)
    np.testing.assert_allclose(kept.numpy(), 2 * expected.numpy(), rtol=1e-6)
