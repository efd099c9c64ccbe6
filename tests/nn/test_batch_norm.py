"""Norms over the batch and of each example, with running statistics, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import twins

import duograph as dg
from duograph import nn

RNG = np.random.default_rng(5)

CASES: list[tuple[str, dict[str, Any], list[tuple[int, ...]]]] = [
    ("BatchNorm1d", {}, [(4, 3), (7, 3)]),
    ("BatchNorm1d", {"momentum": None, "eps": 1e-3}, [(4, 3, 5), (2, 3, 1), (1, 3, 2)]),
    ("BatchNorm1d", {"track_running_stats": False, "affine": False}, [(4, 3, 5), (2, 3)]),
    ("BatchNorm2d", {"bias": False, "momentum": 0.7}, [(4, 3, 2, 3), (1, 3, 1, 2)]),
    ("BatchNorm3d", {"affine": False}, [(2, 3, 2, 1, 3)]),
    ("InstanceNorm1d", {}, [(4, 3, 5), (3, 4)]),
    ("InstanceNorm1d", {"affine": True, "track_running_stats": True}, [(4, 3, 5), (3, 4), (1, 3, 2)]),
    ("InstanceNorm2d", {"track_running_stats": True, "momentum": 0.4}, [(2, 3, 2, 3), (3, 1, 2)]),
    ("InstanceNorm3d", {"affine": True, "bias": False}, [(2, 3, 2, 1, 3), (3, 2, 2, 2)]),
]


@pytest.mark.parametrize("name, settings, shapes", CASES)
def test_as_in_torch(name: str, settings: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    """In training the running statistics move with each batch; `eval()` stands on them."""
    ours, theirs = twins.pair(name, 3, **settings)
    assert ours.extra_repr() == theirs.extra_repr()
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        for i, shape in enumerate(shapes):
            twins.compare(ours, theirs, [RNG.standard_normal(shape)], second=i == 0 and training, static=i == 0)
            twins.load(ours, theirs)


def test_momentum_and_sizes_may_change_in_static_functions() -> None:
    ours, theirs = twins.pair("BatchNorm2d", 3, momentum=None)
    static = dg.static(ours)
    for n in (2, 3, 5, 1):
        x = RNG.standard_normal((n, 3, n + 1, 4))
        np.testing.assert_allclose(static(dg.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), atol=1e-9)
    twins.close(twins.state_of(ours), twins.state_of(theirs))
    assert len(static.signatures()) <= 3


@pytest.mark.parametrize("settings", [{"size": 1}, {"size": 3, "alpha": 0.4}, {"size": 4, "alpha": 0.4, "k": 2.0}, {"size": 7}])
def test_cross_map_norm(settings: dict[str, Any]) -> None:
    """Values only: PyTorch's gradient is not that of its values."""
    x = RNG.standard_normal((2, 5, 2, 2))
    ours, theirs = nn.CrossMapLRN2d(**settings), torch.nn.CrossMapLRN2d(**settings)
    np.testing.assert_allclose(ours(dg.tensor(x)).numpy(), theirs(torch.tensor(x)).numpy(), rtol=1e-12)
    assert repr(ours) == repr(theirs)


def test_statistics_of_an_empty_batch_stay() -> None:
    layer = nn.BatchNorm1d(3)
    assert layer(dg.zeros(0, 3)).shape == (0, 3) and layer(dg.zeros(2, 3, 0)).shape == (2, 3, 0)
    assert layer.running_mean.tolist() == [0, 0, 0] and layer.running_var.tolist() == [1, 1, 1]
    assert layer.num_batches_tracked.item() == 2


def test_sixteen_bits_beside_full_weights() -> None:
    x = RNG.standard_normal((4, 3)).astype(np.float32)
    layer, other = nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    found, expected = layer(dg.tensor(x).bfloat16()), other(torch.tensor(x).bfloat16())
    assert found.dtype is dg.bfloat16 and layer.running_var.dtype is dg.float32
    np.testing.assert_allclose(found.float().detach().numpy(), expected.float().detach().numpy(), atol=0.02)
    np.testing.assert_allclose(layer.running_var.numpy(), other.running_var.numpy(), rtol=1e-4)


def test_large_offsets_cost_no_digits() -> None:
    x = (RNG.standard_normal((50, 2, 300)) + 3e3).astype(np.float32)
    expected = (x - x.astype(np.float64).mean((0, 2), keepdims=True)) / x.astype(np.float64).std((0, 2), keepdims=True)
    np.testing.assert_allclose(nn.BatchNorm1d(2)(dg.tensor(x)).detach().numpy(), expected, atol=1e-3)


def test_few_kernels() -> None:
    layer = nn.BatchNorm2d(8)
    x = dg.randn(4, 8, 6, 6, requires_grad=True)

    def step(x: Any) -> Any:
        layer(x).square().sum().backward()
        return x.grad

    text = str(dg.static(step).explain(x))
    assert int(text.split("kernels")[1].split()[1]) <= 12, text


def test_mistakes() -> None:
    function = nn.functional
    with pytest.raises(ValueError, match=r"batch_norm: training needs more than one element of each channel, got shape \(1, 3\)"):
        nn.BatchNorm1d(3)(dg.zeros(1, 3))
    with pytest.raises(ValueError, match=r"instance_norm: needs more than one element of each channel, got shape \(4, 3, 1\)"):
        nn.InstanceNorm1d(3)(dg.zeros(4, 3, 1))
    with pytest.raises(IndexError, match=r"BatchNorm1d: x must have 2 or 3 dimensions, got 4"):
        nn.BatchNorm1d(3)(dg.zeros(2, 3, 2, 2))
    with pytest.raises(IndexError, match=r"BatchNorm2d: x must have 4 dimensions, got 3"):
        nn.BatchNorm2d(3)(dg.zeros(3, 2, 2))
    with pytest.raises(ValueError, match=r"BatchNorm1d: x has 4 channels \(dimension 1 of \(2, 4\)\), num_features is 3"):
        nn.BatchNorm1d(3)(dg.zeros(2, 4))
    with pytest.raises(ValueError, match=r"InstanceNorm2d: x has 2 channels \(dimension 0 of \(2, 4, 4\)\), num_features is 3"):
        nn.InstanceNorm2d(3, affine=True)(dg.zeros(2, 4, 4))
    with pytest.raises(ValueError, match=r"batch_norm: running_mean and running_var must be given unless training=True"):
        function.batch_norm(dg.zeros(2, 3), None, None)
    with pytest.raises(ValueError, match=r"batch_norm: running_mean and running_var must both be given, or neither"):
        function.batch_norm(dg.zeros(2, 3), dg.zeros(3), None, training=True)
    with pytest.raises(ValueError, match=r"batch_norm: running_mean has 4 elements for 3 channels"):
        function.batch_norm(dg.zeros(2, 3), dg.zeros(4), dg.zeros(4))
    with pytest.raises(ValueError, match=r"batch_norm: running_var has shape \(4,\) for 3 channels"):
        function.batch_norm(dg.zeros(2, 3), dg.zeros(3), dg.zeros(4), training=True)
    with pytest.raises(ValueError, match=r"batch_norm: weight must have one dimension, got shape \(3, 1\)"):
        function.batch_norm(dg.zeros(2, 3), None, None, dg.ones(3, 1), training=True)
    with pytest.raises(TypeError, match=r"batch_norm: needs a floating-point dtype, got int64"):
        function.batch_norm(dg.zeros(2, 3, dtype=dg.int64), None, None, training=True)
    with pytest.raises(ValueError, match="BatchNorm3d: num_features must be an int of at least 0, got -1"):
        nn.BatchNorm3d(-1)
