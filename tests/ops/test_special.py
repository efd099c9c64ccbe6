"""Special functions: their distance from exact values, what PyTorch lacks, their namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import duograph as dg


def normal_tail(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def quantile(p: Any) -> Any:
    """By Newton's method from our own."""
    y = mpmath.mpf(dg.special.ndtri(dg.tensor([float(p)], dtype=dg.float64)).item())
    for _ in range(5):
        y -= (normal_tail(y) - p) / mpmath.npdf(y)
    return y


def scaled(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: f(x) * mpmath.exp(-abs(x))


# Name: the exact function, the range, units in the last place in float64.
BOUNDS: dict[str, tuple[Callable[[Any], Any], float, float, float]] = {
    "i0": (lambda x: mpmath.besseli(0, x), -713, 713, 4),
    "i1": (lambda x: mpmath.besseli(1, x), -713, 713, 4),
    "i0e": (scaled(lambda x: mpmath.besseli(0, x)), -900, 900, 4),
    "i1e": (scaled(lambda x: mpmath.besseli(1, x)), -900, 900, 4),
    "erfcx": (lambda x: mpmath.exp(x * x) * mpmath.erfc(x), -26, 90, 5),
    "ndtr": (normal_tail, -37, 8, 5),
    "log_ndtr": (lambda x: mpmath.log(normal_tail(x)), -200, 7, 8),
    "ndtri": (quantile, 0, 0.5, 8),
    "modified_bessel_k0": (lambda x: mpmath.besselk(0, x), 0.0, 700, 8),
    "modified_bessel_k1": (lambda x: mpmath.besselk(1, x), 0.0, 700, 8),
    "scaled_modified_bessel_k0": (lambda x: mpmath.besselk(0, x) * mpmath.exp(x), 0.0, 2000, 8),
    "scaled_modified_bessel_k1": (lambda x: mpmath.besselk(1, x) * mpmath.exp(x), 0.0, 2000, 8),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_exactness(name: str) -> None:
    """In float64 within the bound that the docstring says; in float32 rounded once."""
    exact, low, high, bound = BOUNDS[name]
    rng = np.random.default_rng(3)
    small = np.exp(rng.uniform(-60, 0, 30))
    x = np.concatenate([rng.uniform(low, high, 90), rng.uniform(max(low, -12), min(high, 12), 60), small * min(high, 1)])
    x = np.concatenate([x, -small]) if low < 0 else x
    f = getattr(dg.special, name)
    with mpmath.workdps(40):
        for dtype, units, digits in (("float64", bound, 53), ("float32", 0.51, 24)):
            given = x.astype(dtype)
            for v, got in zip(given.tolist(), f(dg.tensor(given)).tolist()):
                want = exact(mpmath.mpf(v))
                if digits == 24 and not 2.0**-126 < abs(want) < 2.0**127:
                    continue
                unit = mpmath.mpf(2) ** (int(mpmath.floor(mpmath.log(abs(want), 2))) + 1 - digits)
                assert abs(got - want) <= units * unit, (name, dtype, v, got, want)


WAVES: dict[str, Callable[[Any], Any]] = {
    "bessel_j0": lambda x: mpmath.besselj(0, x),
    "bessel_j1": lambda x: mpmath.besselj(1, x),
    "bessel_y0": lambda x: mpmath.bessely(0, x),
    "bessel_y1": lambda x: mpmath.bessely(1, x),
    "spherical_bessel_j0": lambda x: mpmath.sin(x) / x,
}


@pytest.mark.parametrize("name", WAVES)
def test_waves(name: str) -> None:
    """Relatively where they are above 1, else absolutely; beyond 8 in parts of the height of the waves."""
    rng = np.random.default_rng(4)
    parts = [np.exp(rng.uniform(-60, 0, 40)), rng.uniform(0.5, 9, 80), rng.uniform(8, 60, 60), np.exp(rng.uniform(4, 40, 60))]
    x = np.concatenate([*parts, [8.0, np.nextafter(8, 9)]])
    x = x if "_y" in name else np.concatenate([x, -x])
    f = getattr(dg.special, name)
    single = f(dg.tensor(x.astype("float32"))).tolist()
    with mpmath.workdps(60):
        for v, got, rounded in zip(x.tolist(), f(dg.tensor(x)).tolist(), single):
            want = WAVES[name](mpmath.mpf(v))
            height = mpmath.sqrt(2 / (mpmath.pi * abs(v))) if abs(v) > 8 else max(1, abs(want))
            assert abs(got - want) <= (1e-15 if abs(v) > 8 else 2e-15) * height, (name, v, got, want)
            want = WAVES[name](mpmath.mpf(float(np.float32(v))))
            assert abs(rounded - want) <= 6e-8 * abs(want) + 2e-15 * height or abs(want) < 1e-37 or abs(want) > 3e38, (name, v)


def test_ends_of_waves() -> None:
    ends = dg.tensor([0.0, -1.0, float("nan")], dtype=dg.float64)
    assert dg.special.bessel_j0(ends).tolist()[0] == 1 and dg.special.bessel_j1(ends).tolist()[0] == 0
    for name in ("bessel_y0", "bessel_y1"):
        np.testing.assert_array_equal(getattr(dg.special, name)(ends).numpy(), [-np.inf, np.nan, np.nan])
    assert dg.special.spherical_bessel_j0(dg.tensor([0.0, float("inf")])).tolist() == [1, 0]


@pytest.mark.parametrize("name", WAVES)
def test_slopes_of_waves(name: str) -> None:
    """The first derivative against the exact one, the second against differences of the first."""
    values = [1e-3, 0.3, 0.7, 3.0, 7.9, 8.1, 30.0]
    x = dg.tensor(values, dtype=dg.float64, requires_grad=True)
    (slope,) = dg.autograd.grad(getattr(dg.special, name)(x).sum(), [x], create_graph=True)
    (second,) = dg.autograd.grad(slope.sum(), [x])
    with mpmath.workdps(40):
        for order, found in ((1, slope), (2, second)):
            exact = [float(mpmath.diff(WAVES[name], mpmath.mpf(v), order)) for v in values]
            np.testing.assert_allclose(found.detach().numpy(), exact, rtol=3e-12, atol=3e-12)
    if "_y" not in name:
        zero = dg.zeros(1, dtype=dg.float64, requires_grad=True)
        (slope,) = dg.autograd.grad(getattr(dg.special, name)(zero).sum(), [zero])
        assert slope.item() == (0.5 if name == "bessel_j1" else 0)


def test_infinities() -> None:
    ends = dg.tensor([float("-inf"), float("inf")])
    assert dg.special.i0(ends).tolist() == [float("inf")] * 2 and dg.special.i1(ends).tolist() == ends.tolist()
    assert dg.special.i0e(ends).tolist() == [0, 0] and dg.special.erfcx(ends).tolist() == [float("inf"), 0]
    assert dg.special.ndtr(ends).tolist() == [0, 1] and dg.special.log_ndtr(ends).tolist() == [float("-inf"), 0]
    assert dg.special.ndtri(dg.tensor([0.0, 1.0])).tolist() == ends.tolist()


def test_namespace() -> None:
    """torch.special's names; operators of a namespace are in no other."""
    assert dg.special.expit is dg.sigmoid and dg.special.psi is dg.digamma and dg.special.i0 is dg.i0
    assert "ndtri" in dir(dg.special) and not hasattr(dg, "ndtri") and not hasattr(dg.Tensor, "ndtri")
    with pytest.raises(AttributeError, match=r"module 'duograph\.special' has no attribute 'nothing'"):
        dg.special.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["igamma", "igammac"])
def test_incomplete_gamma(name: str) -> None:
    """Small and large a, x far from it and near; ends; the gradient to x alone."""
    rng = np.random.default_rng(6)
    a = np.concatenate([rng.uniform(0.01, 3, 40), rng.uniform(0.1, 40, 60), np.exp(rng.uniform(3, 8, 60))])
    x = a * np.concatenate([rng.uniform(0.01, 4, 90), np.abs(1 + rng.standard_normal(70) * 0.2)])
    found = getattr(dg, name)(dg.tensor(a), dg.tensor(x)).tolist()
    with mpmath.workdps(60):
        for p, q, got in zip(a.tolist(), x.tolist(), found):
            upper = mpmath.gammainc(mpmath.mpf(p), mpmath.mpf(q), mpmath.inf, regularized=True)
            want = upper if name == "igammac" else 1 - upper
            bound = 1e-12 * want if 1e-300 < want < 0.5 else 1e-12
            assert abs(got - want) <= bound, (p, q, got, want)
    inf, nan = float("inf"), float("nan")
    ends = [
        (0, 0, nan),
        (0, 2, 1),
        (2, 0, 0),
        (2, inf, 1),
        (inf, 2, 0),
        (inf, inf, nan),
        (-1, 2, nan),
        (2, -1, nan),
        (nan, 1, nan),
    ]
    made = getattr(dg, name)(dg.tensor([e[0] for e in ends]), dg.tensor([e[1] for e in ends])).tolist()
    np.testing.assert_array_equal(made, [e[2] if name == "igamma" else 1 - e[2] for e in ends])
    with pytest.raises(dg.errors.GradError, match=f"{name}: the gradient to a is not known"):
        getattr(dg, name)(dg.tensor([1.0], requires_grad=True), dg.tensor([1.0]))
    target = dg.tensor([1.0, 2.0])
    assert getattr(target, name + "_")(dg.tensor([1.0, 1.0])) is target and 0 < target[1].item() < 1


POLYNOMIALS = [name for name in dir(dg.special) if "_polynomial_" in name]


def test_degrees_of_orthogonal_polynomials() -> None:
    """A tensor of degrees, high ones, numbers in the place of x; gradients; static functions."""
    assert len(POLYNOMIALS) == 12
    x = np.linspace(-0.9, 0.9, 7)
    degrees = np.array([[0], [3], [1], [30], [-2]])
    for name in POLYNOMIALS:
        ours, theirs = getattr(dg.special, name), getattr(torch.special, name)
        found = ours(dg.tensor(x), dg.tensor(degrees)).numpy()
        np.testing.assert_allclose(found, theirs(torch.tensor(x), torch.tensor(degrees)).numpy(), rtol=1e-9, atol=1e-12)
        assert ours(0.5, dg.tensor([2])).item() == pytest.approx(theirs(0.5, torch.tensor([2])).item())
        assert np.isnan(ours(dg.tensor([float("nan")]), 3).item())
    wave = dg.special.chebyshev_polynomial_t
    slope = dg.tensor(x, requires_grad=True)
    assert dg.autograd.gradgradcheck(lambda v: wave(v, 12), slope)
    static = dg.static(lambda v: wave(v, 12), strict=True)
    assert static(dg.tensor(x)).tolist() == wave(dg.tensor(x), 12).tolist()
    with pytest.raises(dg.errors.ArgumentError, match=r"(?s)in a static function the degree is a number.*give n as an int"):
        dg.static(wave)(dg.tensor(x), dg.tensor([2]))
