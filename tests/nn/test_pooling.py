"""Pooling against PyTorch: odd windows, ties and NaN, indices, gradients of both orders, changing sizes, mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg
from duograph import nn

F, TF = nn.functional, torch.nn.functional
RANDOM = np.random.default_rng(7)


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal(shape)


PLANE, LINE, BLOCK = numbers(2, 3, 9, 8), numbers(3, 11), numbers(1, 2, 5, 6, 4)
TIED = np.round(numbers(2, 2, 7, 8))
LOWEST = np.full((1, 1, 5, 5), -np.inf)

POOLS: list[tuple[str, np.ndarray[Any, Any], dict[str, Any]]] = [
    ("max_pool1d", LINE, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool1d", LINE[:, None], {"kernel_size": 2, "dilation": 4}),
    ("max_pool2d", PLANE, {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", PLANE, {"kernel_size": (2, 5), "stride": (3, 1), "padding": (1, 2), "dilation": (3, 1), "ceil_mode": True}),
    ("max_pool2d", PLANE, {"kernel_size": (7, 6), "stride": 1, "padding": 3}),
    ("max_pool2d", PLANE[0], {"kernel_size": 2, "stride": 5}),
    ("max_pool2d", PLANE[:, :, :1, :1], {"kernel_size": 1}),
    ("max_pool2d", TIED, {"kernel_size": 3, "stride": 1, "padding": 1}),
    ("max_pool2d", TIED, {"kernel_size": (7, 8), "stride": 1}),
    ("max_pool2d", LOWEST, {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool3d", BLOCK, {"kernel_size": (2, 3, 2), "stride": 2, "padding": (1, 0, 1)}),
    ("avg_pool1d", LINE, {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True}),
    ("avg_pool2d", PLANE, {"kernel_size": 2}),
    ("avg_pool2d", PLANE, {"kernel_size": 3, "stride": 1, "padding": 1}),
    ("avg_pool2d", PLANE, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ("avg_pool2d", PLANE, {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "divisor_override": 7}),
    ("avg_pool2d", PLANE, {"kernel_size": (9, 8)}),
    ("avg_pool3d", BLOCK, {"kernel_size": (2, 3, 2), "stride": (2, 2, 1), "padding": 1, "ceil_mode": True}),
    ("lp_pool1d", LINE, {"norm_type": 3.0, "kernel_size": 2}),
    ("lp_pool2d", PLANE, {"norm_type": 2.0, "kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ("lp_pool3d", BLOCK, {"norm_type": 2.0, "kernel_size": 2}),
    ("adaptive_avg_pool1d", LINE, {"output_size": 4}),
    ("adaptive_avg_pool2d", PLANE, {"output_size": (4, None)}),
    ("adaptive_avg_pool2d", PLANE, {"output_size": 1}),
    ("adaptive_avg_pool2d", PLANE, {"output_size": (3, 4)}),
    ("adaptive_avg_pool2d", PLANE, {"output_size": (13, 5)}),
    ("adaptive_avg_pool3d", BLOCK, {"output_size": (2, 5, 3)}),
    ("adaptive_max_pool1d", LINE, {"output_size": 4}),
    ("adaptive_max_pool2d", PLANE, {"output_size": (4, 5)}),
    ("adaptive_max_pool2d", TIED, {"output_size": 1}),
    ("adaptive_max_pool3d", BLOCK, {"output_size": (2, 3, 3)}),
]  # fmt: skip


@pytest.mark.parametrize("name, array, settings", POOLS, ids=[f"{name}-{i}" for i, (name, _, _) in enumerate(POOLS)])
def test_as_in_torch(name: str, array: np.ndarray[Any, Any], settings: dict[str, Any]) -> None:
    pool, theirs = getattr(F, name), getattr(TF, name)
    with_places = {"return_indices": True} if "max" in name else {}
    x, wanted = dg.tensor(array).requires_grad_(), torch.tensor(array, requires_grad=True)
    y, expected = pool(x, **settings), theirs(wanted, **settings)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(pool(x.detach(), **settings).numpy(), y.detach().numpy())
    if with_places:
        for ours, other in zip(pool(x, **settings, **with_places), theirs(wanted, **settings, **with_places)):
            np.testing.assert_array_equal(ours.detach().numpy(), other.detach().numpy())
    weights = numbers(*expected.shape)
    (g,) = dg.autograd.grad((y**2 * dg.tensor(weights)).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad((expected**2 * torch.tensor(weights)).sum(), wanted, create_graph=True)
    if np.isfinite(array).all():
        np.testing.assert_allclose(g.detach().numpy(), h.detach().numpy(), rtol=1e-9, atol=1e-12)
        (g,), (h,) = dg.autograd.grad((g**2).sum(), x), torch.autograd.grad((h**2).sum(), wanted)
        np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-8, atol=1e-10)


def test_nan_wins_and_the_last_one_is_named() -> None:
    array = numbers(1, 2, 6, 6)
    array[0, 0, 1, 1] = array[0, 0, 2, 2] = array[0, 1, 5, 5] = np.nan
    x = torch.tensor(array)
    for ours, theirs in zip(F.max_pool2d(dg.tensor(array), 3, 2, 1, 1, False, True), TF.max_pool2d(x, 3, 2, 1, 1, False, True)):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for name, size in (("max_pool2d", 6), ("adaptive_max_pool2d", 4), ("avg_pool2d", 3), ("adaptive_avg_pool2d", 4)):
        np.testing.assert_allclose(getattr(F, name)(dg.tensor(array), size).numpy(), getattr(TF, name)(x, size).numpy())


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float16", "bfloat16"])
def test_dtypes(dtype: str) -> None:
    array = RANDOM.integers(0, 100, (2, 1, 6, 7))
    x, wanted = dg.tensor(array).to(getattr(dg, dtype)), torch.tensor(array).to(getattr(torch, dtype))
    for settings in ((3, 2, 1), (2, 2, 0, 1, True)):
        assert F.max_pool2d(x, *settings).tolist() == TF.max_pool2d(wanted, *settings).tolist()
    if dtype != "uint8":
        assert F.avg_pool2d(x, 3, 2, 1).tolist() == TF.avg_pool2d(wanted, 3, 2, 1).tolist()


def test_empty_batches_and_unpooling() -> None:
    empty = dg.zeros(0, 3, 6, 6).requires_grad_()
    for y in (
        F.max_pool2d(empty, 2),
        F.avg_pool2d(empty, 3, 2, 1),
        F.adaptive_avg_pool2d(empty, 4),
        F.adaptive_max_pool2d(empty, 2),
    ):
        assert y.shape[:2] == (0, 3)
        y.sum().backward()
        assert empty.grad.shape == empty.shape
    values, places = F.max_pool2d(dg.tensor(PLANE), 2, 2, return_indices=True)
    theirs, there = TF.max_pool2d(torch.tensor(PLANE), 2, 2, return_indices=True)
    for size in (None, (9, 8), (2, 3, 9, 9)):
        ours = F.max_unpool2d(values, places, 2, output_size=size)
        np.testing.assert_array_equal(ours.numpy(), TF.max_unpool2d(theirs, there, 2, output_size=size).numpy())


STATIC: list[tuple[str, dict[str, Any]]] = [
    ("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", {"kernel_size": 2, "ceil_mode": True}),
    ("avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ("adaptive_avg_pool2d", {"output_size": (3, 2)}),
    ("adaptive_max_pool2d", {"output_size": 2}),
]


@pytest.mark.filterwarnings("ignore:static")
@pytest.mark.parametrize("name, settings", STATIC)
def test_static_at_several_sizes(name: str, settings: dict[str, Any]) -> None:
    def both(x: Any) -> Any:
        x = x.detach().requires_grad_()
        y = getattr(F, name)(x, **settings)
        return y.detach(), dg.autograd.grad((y * y).sum(), x)[0]

    static = dg.static(both, strict=True)
    for shape in ((2, 2, 8, 7), (1, 2, 9, 10), (3, 1, 12, 8), (2, 2, 5, 6)):
        x = dg.tensor(numbers(*shape))
        for ours, expected in zip(static(x), both(x)):
            np.testing.assert_array_equal(ours.numpy(), expected.numpy())


def test_whole_planes_of_any_size() -> None:
    """The kernel as large as the plane: one capture serves them all."""
    static = dg.static(lambda x: F.avg_pool2d(x, x.shape[2:]), strict=True)
    for shape in ((2, 3, 7, 7), (2, 3, 9, 5), (1, 3, 40, 33), (2, 3, 8, 8)):
        x = numbers(*shape)
        np.testing.assert_allclose(static(dg.tensor(x)).numpy()[..., 0, 0], x.mean((2, 3)), rtol=1e-12)


def test_kernels_of_a_pool() -> None:
    x = dg.rand(2, 4, 16, 16)
    for pool, kernels in (
        (lambda x: F.max_pool2d(x, 3, 2, 1), 2),  # rows, then what does not lie side by side
        (lambda x: F.max_pool2d(x, 3, 2), 1),
        (lambda x: F.max_pool2d(x, 3, 1, 1), 1),
        (lambda x: F.max_pool2d(x, 2), 1),
        (lambda x: F.avg_pool2d(x, 3, 1, 1), 1),
        (lambda x: F.adaptive_avg_pool2d(x, 1), 1),
    ):
        report = dg.static(pool).explain(x)
        assert report.static.kernels == kernels, report


def test_modules() -> None:
    for ours, theirs in (
        (nn.MaxPool2d(3, 2, padding=1, return_indices=True), torch.nn.MaxPool2d(3, 2, padding=1, return_indices=True)),
        (nn.MaxPool1d(2), torch.nn.MaxPool1d(2)),
        (nn.MaxPool3d((1, 2, 2)), torch.nn.MaxPool3d((1, 2, 2))),
        (nn.AvgPool1d(3, 2), torch.nn.AvgPool1d(3, 2)),
        (nn.AvgPool2d(3, divisor_override=2), torch.nn.AvgPool2d(3, divisor_override=2)),
        (nn.AvgPool3d(2, ceil_mode=True), torch.nn.AvgPool3d(2, ceil_mode=True)),
        (nn.LPPool1d(2, 3), torch.nn.LPPool1d(2, 3)),
        (nn.LPPool2d(2, 3), torch.nn.LPPool2d(2, 3)),
        (nn.LPPool3d(3, 2), torch.nn.LPPool3d(3, 2)),
        (nn.AdaptiveAvgPool2d((None, 2)), torch.nn.AdaptiveAvgPool2d((None, 2))),
        (nn.AdaptiveMaxPool2d(3, return_indices=True), torch.nn.AdaptiveMaxPool2d(3, return_indices=True)),
    ):
        x = {"1": LINE, "2": PLANE, "3": BLOCK}[type(ours).__name__[-2]]
        found, expected = ours(dg.tensor(x)), theirs(torch.tensor(x))
        pairs = zip(found, expected) if isinstance(found, tuple) else [(found, expected)]
        for a, b in pairs:
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11)
        assert ours.extra_repr() == theirs.extra_repr()
    values, places = nn.MaxPool1d(2, return_indices=True)(dg.tensor(LINE))
    np.testing.assert_array_equal(nn.MaxUnpool1d(2)(values, places, (11,)).numpy().max(1), LINE[:, :10].max(1))
    assert repr(nn.MaxUnpool2d(2, padding=1)) == repr(torch.nn.MaxUnpool2d(2, padding=1))


def test_mistakes() -> None:
    x = dg.zeros(1, 2, 4, 4)
    for call, error, message in (
        (lambda: F.max_pool2d(x, 6), ValueError, "max_pool2d: a window of 6 in a dimension of size 4 with padding 0"),
        (lambda: F.max_pool2d(x, 2, padding=2), ValueError, r"max_pool2d: padding must be between 0 and half of the window"),
        (lambda: F.max_pool2d(x, 2, 0), ValueError, r"max_pool2d: stride must be above 0, got \(0, 0\)"),
        (lambda: F.avg_pool2d(x, (2, 2, 2)), TypeError, r"avg_pool2d: kernel_size must be one number or 2, got \(2, 2, 2\)"),
        (lambda: F.avg_pool1d(x, 2), IndexError, "avg_pool1d: x must have 2 or 3 dimensions, got 4"),
        (lambda: F.avg_pool2d(x, 2, divisor_override=0), ValueError, "avg_pool2d: divisor_override must not be 0"),
        (lambda: F.adaptive_avg_pool2d(x, (2, -1)), ValueError, r"adaptive_avg_pool2d: output_size must not be negative"),
        (lambda: F.adaptive_avg_pool2d(dg.zeros(1, 2, 0, 4), 2), ValueError, "adaptive_avg_pool2d: pools a dimension of size 0"),
        (lambda: F.max_unpool2d(x, x.long(), 2, output_size=(4, 4)), ValueError, "max_unpool2d: output_size.0. must be between"),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("ratio", [False, True])
def test_fractional_max_pool(dims, ratio):
    shape, share = (2, 3, 9, 8, 7)[: 2 + dims], torch.rand(2, 3, dims, generator=torch.Generator().manual_seed(1))
    data = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    made = []
    for lib in (dg, torch):
        x = lib.tensor(data.tolist(), requires_grad=True)
        size = {"output_ratio": (0.5, 0.4, 0.3)[:dims]} if ratio else {"output_size": (4, 3, 2)[:dims]}
        pool = getattr(lib.nn.functional, f"fractional_max_pool{dims}d")
        both = pool(x, 2, **size, return_indices=True, _random_samples=lib.tensor(share.tolist()))
        (both[0] * lib.arange(1.0, both[0].numel() + 1).reshape(both[0].shape)).sum().backward()
        layer = getattr(lib.nn, f"FractionalMaxPool{dims}d")(2, **size, _random_samples=lib.tensor(share[:1].tolist()))
        single = layer(x[0].detach())
        made.append([both[0].tolist(), both[1].tolist(), x.grad.tolist(), single.tolist()])
    for ours, theirs in zip(*made):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))
    plain = dg.nn.functional.fractional_max_pool2d(dg.tensor(data[:, :, :, :, 0].tolist() if dims == 3 else data.tolist()), 2, 3)
    assert plain.shape == (2, 3, 3, 3)


def test_what_fractional_max_pool_refuses():
    pool = dg.nn.functional.fractional_max_pool2d
    with pytest.raises(dg.errors.DomainError, match="give either output_size or output_ratio"):
        pool(dg.ones(1, 1, 5, 5), 2)
    with pytest.raises(dg.errors.DomainError, match="4 windows of 3 do not fit into a dimension of 5"):
        pool(dg.ones(1, 1, 5, 5), 3, 4)


@pytest.mark.parametrize("name", ["max_pool1d", "max_pool2d", "max_pool3d"])
def test_pools_that_give_indices(name):
    dims = int(name[-2])
    x = dg.rand((2, 3, 7, 6, 5)[: 2 + dims])
    for ours, arguments in ((name, (2,)), (f"adaptive_{name}", ((3,) * dims,))):
        found = getattr(dg.nn.functional, f"{ours}_with_indices")(x, *arguments)
        expected = getattr(dg.nn.functional, ours)(x, *arguments, return_indices=True)
        assert [a.tolist() for a in found] == [a.tolist() for a in expected]
