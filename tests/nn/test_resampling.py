"""Planes of another size and planes seen from other points, against PyTorch: values, gradients of both orders, both modes."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg
from duograph import nn

F, TF = nn.functional, torch.nn.functional
RANDOM = np.random.default_rng(5)


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal(shape)


PLANE, LINE, BLOCK = numbers(2, 3, 6, 5), numbers(2, 1, 7), numbers(1, 2, 3, 4, 5)

CASES: list[tuple[np.ndarray[Any, Any], dict[str, Any]]] = [
    (PLANE, {"size": (12, 10)}),
    (PLANE, {"size": (7, 3)}),
    (PLANE, {"scale_factor": 2.5}),
    (PLANE, {"scale_factor": (0.7, 1.9), "mode": "nearest-exact"}),
    (LINE, {"size": 13, "mode": "nearest-exact"}),
    (LINE, {"scale_factor": 1.7, "mode": "linear"}),
    (LINE, {"scale_factor": 1.7, "mode": "linear", "recompute_scale_factor": True}),
    (LINE, {"size": 1, "mode": "linear", "align_corners": True}),
    (PLANE, {"scale_factor": 2, "mode": "bilinear"}),
    (PLANE, {"size": (3, 11), "mode": "bilinear", "align_corners": True}),
    (PLANE, {"size": (3, 2), "mode": "bilinear", "antialias": True}),
    (PLANE, {"scale_factor": (0.5, 1.3), "mode": "bilinear", "antialias": True}),
    (PLANE[:, :, :1, :1], {"size": (3, 2), "mode": "bilinear"}),
    (PLANE, {"scale_factor": (1.7, 2.0), "mode": "bicubic"}),
    (PLANE, {"size": (4, 9), "mode": "bicubic", "align_corners": True}),
    (PLANE, {"size": (3, 2), "mode": "bicubic", "antialias": True}),
    (BLOCK, {"scale_factor": 1.5, "mode": "trilinear"}),
    (BLOCK, {"size": (5, 2, 7), "mode": "trilinear", "align_corners": True}),
    (PLANE, {"size": (4, 7), "mode": "area"}),
    (BLOCK, {"scale_factor": 0.5, "mode": "area"}),
]


@pytest.mark.parametrize("array, settings", CASES, ids=[f"{c.get('mode', 'nearest')}-{i}" for i, (_, c) in enumerate(CASES)])
def test_as_in_torch(array: np.ndarray[Any, Any], settings: dict[str, Any]) -> None:
    x, wanted = dg.tensor(array).requires_grad_(), torch.tensor(array, requires_grad=True)
    y, expected = F.interpolate(x, **settings), TF.interpolate(wanted, **settings)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    (g,) = dg.autograd.grad((y**2).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad((expected**2).sum(), wanted, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), h.detach().numpy(), rtol=1e-9, atol=1e-11)
    (g,), (h,) = dg.autograd.grad((g**2).sum(), x), torch.autograd.grad((h**2).sum(), wanted)
    np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-8, atol=1e-10)
    if not settings.get("antialias"):
        half = F.interpolate(dg.tensor(array).float(), **settings).numpy()
        np.testing.assert_allclose(half, TF.interpolate(torch.tensor(array).float(), **settings).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 5, 14, 56, 100])
def test_nearest_takes_the_same_elements(length: int) -> None:
    """Places are computed in float32, as in PyTorch: which element is nearest may hang on the last bit."""
    x = np.arange(length, dtype=np.float32)[None, None]
    for mode, size in product(("nearest", "nearest-exact"), (1, 3, 7, 28, 49, 128)):
        ours = F.interpolate(dg.tensor(x), size, mode=mode).numpy()
        np.testing.assert_array_equal(ours, TF.interpolate(torch.tensor(x), size, mode=mode).numpy())


@pytest.mark.filterwarnings("ignore:static")
@pytest.mark.parametrize("settings", [
    {"scale_factor": 2}, {"scale_factor": 2.0, "mode": "bilinear"}, {"size": (5, 9), "mode": "bicubic"},
    {"size": (3, 4), "mode": "bilinear", "antialias": True}, {"size": (4, 3), "mode": "area"},
])  # fmt: skip
def test_static_at_several_sizes(settings: dict[str, Any]) -> None:
    def both(x: Any) -> Any:
        x = x.detach().requires_grad_()
        y = F.interpolate(x, **settings)
        return y.detach(), dg.autograd.grad((y * y).sum(), x)[0]

    static = dg.static(both, strict=True)
    for shape in ((2, 2, 8, 7), (1, 2, 9, 10), (3, 1, 12, 8)):
        x = dg.tensor(numbers(*shape))
        for ours, expected in zip(static(x), both(x)):
            np.testing.assert_array_equal(ours.numpy(), expected.numpy())


def test_modules() -> None:
    x = torch.tensor(PLANE)
    for name, settings in (
        ("Upsample", {"scale_factor": 2}),
        ("Upsample", {"size": (4, 3), "mode": "bilinear", "align_corners": True}),
        ("UpsamplingNearest2d", {"scale_factor": 3}),
        ("UpsamplingBilinear2d", {"size": 9}),
    ):
        ours, theirs = getattr(nn, name)(**settings), getattr(torch.nn, name)(**settings)
        np.testing.assert_allclose(ours(dg.tensor(PLANE)).numpy(), theirs(x).numpy(), rtol=1e-10)
        assert repr(ours) == repr(theirs)


GRID = RANDOM.uniform(-1.6, 1.6, (2, 4, 3, 2))
GRIDS = [
    (PLANE, GRID, mode, padding, align)
    for mode, padding, align in product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True))
]
GRIDS += [
    (BLOCK, RANDOM.uniform(-1.6, 1.6, (1, 2, 3, 2, 3)), mode, padding, align)
    for mode, padding, align in (("bilinear", "zeros", False), ("bilinear", "reflection", True), ("nearest", "border", False))
]


@pytest.mark.parametrize("array, points, mode, padding, align", GRIDS, ids=[f"{m}-{p}-{a}-{x.ndim}" for x, _, m, p, a in GRIDS])
def test_grid_sample(array: Any, points: Any, mode: str, padding: str, align: bool) -> None:
    x, wanted = dg.tensor(array).requires_grad_(), torch.tensor(array, requires_grad=True)
    grid, there = dg.tensor(points).requires_grad_(), torch.tensor(points, requires_grad=True)
    y, expected = F.grid_sample(x, grid, mode, padding, align), TF.grid_sample(wanted, there, mode, padding, align)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-11)
    (y**2).sum().backward()
    (expected**2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), wanted.grad.numpy(), rtol=1e-8, atol=1e-10)
    if mode != "nearest":
        np.testing.assert_allclose(grid.grad.numpy(), there.grad.numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.filterwarnings("ignore:static")
def test_affine_grid_and_sample_in_both_modes() -> None:
    def seen(x: Any, theta: Any) -> Any:
        theta = theta.detach().requires_grad_()
        y = F.grid_sample(x, F.affine_grid(theta, x.shape, False), padding_mode="border", align_corners=False)
        return y.detach(), dg.autograd.grad((y * y).sum(), theta)[0]

    static = dg.static(seen, strict=True)
    for shape in ((2, 3, 6, 5), (1, 3, 9, 7)):
        x, theta = numbers(*shape), numbers(shape[0], 2, 3)
        found, expected = static(dg.tensor(x), dg.tensor(theta)), seen(dg.tensor(x), dg.tensor(theta))
        for ours, other in zip(found, expected):
            np.testing.assert_array_equal(ours.numpy(), other.numpy())
        given = torch.tensor(theta, requires_grad=True)
        wanted = TF.grid_sample(torch.tensor(x), TF.affine_grid(given, shape, False), padding_mode="border", align_corners=False)
        np.testing.assert_allclose(found[0].numpy(), wanted.detach().numpy(), rtol=1e-9, atol=1e-11)
        (wanted**2).sum().backward()
        np.testing.assert_allclose(found[1].numpy(), given.grad.numpy(), rtol=1e-7, atol=1e-9)


def test_mistakes() -> None:
    x = dg.zeros(1, 2, 4, 4)
    for call, error, message in (
        (lambda: F.interpolate(x), TypeError, "either size or scale_factor"),
        (lambda: F.interpolate(x, 3, 2.0), TypeError, "either size or scale_factor"),
        (lambda: F.interpolate(x, 3, mode="cubic"), TypeError, "mode must be one of nearest, "),
        (lambda: F.interpolate(x, 3, mode="linear"), TypeError, "linear is for 3 dimensions, got 4"),
        (lambda: F.interpolate(x, (3, 3, 3)), TypeError, r"size must be one number or 2, got \(3, 3, 3\)"),
        (lambda: F.interpolate(x, 3, align_corners=True), TypeError, "align_corners is for linear, .* not for nearest"),
        (lambda: F.interpolate(x, 3, antialias=True), TypeError, "antialias is for bilinear and bicubic, not for nearest"),
        (lambda: F.interpolate(x, 0), ValueError, "the size must be above 0"),
        (lambda: F.interpolate(x, scale_factor=-1.0), ValueError, "scale_factor must be above 0"),
        (lambda: F.interpolate(x.long(), 3, mode="bilinear"), TypeError, "needs a floating-point dtype"),
        (lambda: F.grid_sample(x, dg.zeros(1, 2, 2, 3)), ValueError, "grid's last dimension must have size 2, got 3"),
        (lambda: F.grid_sample(x, dg.zeros(2, 2, 2, 2)), ValueError, "x has a batch of 1, grid of 2"),
        (lambda: F.grid_sample(x, dg.zeros(1, 2, 2, 2), "cubic"), TypeError, "mode must be bilinear, nearest"),
        (lambda: F.affine_grid(dg.zeros(1, 2, 2), (1, 1, 3, 3)), ValueError, r"theta must have shape \[N, 2, 3\]"),
    ):
        with pytest.raises(error, match=message):
            call()
