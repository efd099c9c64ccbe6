"""Modules of activations and losses against PyTorch's of the same name: signatures, results, gradients, training mode."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg
from duograph import nn

RANDOM = np.random.default_rng(3)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape) * 2


def shares(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.1, 0.9, shape)


def signs(*shape: int) -> np.ndarray:
    return np.where(RANDOM.uniform(size=shape) > 0.5, 1.0, -1.0)


X, PAIR = numbers(4, 6), (numbers(4, 6), numbers(4, 6))
CLASSES = RANDOM.integers(0, 6, 4)
LABELS = np.array([[1, 3, -1, 0, 0, 0], [0, 1, 2, 3, 4, 5], [-1, 2, 2, 2, 2, 2], [5, -1, 0, 0, 0, 0]])

CASES: list[tuple[str, dict[str, Any], tuple[np.ndarray, ...]]] = [
    ("Hardtanh", {"min_val": -0.5, "max_val": 2.0}, (X,)),
    ("ReLU6", {}, (X * 4,)),
    ("Hardsigmoid", {}, (X,)),
    ("Hardswish", {}, (X,)),
    ("Hardshrink", {"lambd": 0.3}, (X,)),
    ("Softshrink", {"lambd": 0.3}, (X,)),
    ("Tanhshrink", {}, (X,)),
    ("Softsign", {}, (X,)),
    ("Mish", {}, (X,)),
    ("SELU", {}, (X,)),
    ("CELU", {"alpha": 0.7}, (X,)),
    ("Threshold", {"threshold": 0.1, "value": 20.0}, (X,)),
    ("LogSigmoid", {}, (X,)),
    ("GLU", {"dim": 1}, (X,)),
    ("Softmin", {"dim": 1}, (X,)),
    ("Softmax2d", {}, (numbers(2, 3, 4, 5),)),
    ("PReLU", {"num_parameters": 6}, (X,)),
    ("CosineSimilarity", {"dim": 0}, PAIR),
    ("PairwiseDistance", {"p": 1.0, "keepdim": True}, PAIR),
    ("LocalResponseNorm", {"size": 2, "alpha": 0.1}, (numbers(2, 4, 3),)),
    ("ConstantPad1d", {"padding": (1, 2), "value": 3.0}, (X,)),
    ("ConstantPad2d", {"padding": 1, "value": -1.0}, (X,)),
    ("ConstantPad3d", {"padding": (1, 0, 0, 2, 1, 1), "value": 0.5}, (numbers(2, 3, 4),)),
    ("ZeroPad1d", {"padding": 2}, (X,)),
    ("ZeroPad2d", {"padding": (1, 0, 2, -1)}, (numbers(2, 3, 4),)),
    ("ZeroPad3d", {"padding": 1}, (numbers(2, 3, 4),)),
    ("ReflectionPad1d", {"padding": (3, 1)}, (X,)),
    ("ReflectionPad2d", {"padding": 2}, (numbers(2, 3, 4),)),
    ("ReflectionPad3d", {"padding": 1}, (numbers(2, 3, 4, 3),)),
    ("ReplicationPad1d", {"padding": (3, 1)}, (X,)),
    ("ReplicationPad2d", {"padding": 2}, (numbers(2, 3, 4),)),
    ("ReplicationPad3d", {"padding": 1}, (numbers(2, 3, 4, 3),)),
    ("CircularPad1d", {"padding": (3, 1)}, (X,)),
    ("CircularPad2d", {"padding": 2}, (numbers(2, 3, 4),)),
    ("CircularPad3d", {"padding": 1}, (numbers(2, 3, 4, 3),)),
    ("Unflatten", {"dim": 1, "unflattened_size": (2, 3)}, (X,)),
    ("PixelShuffle", {"upscale_factor": 2}, (numbers(4, 2, 3),)),
    ("PixelUnshuffle", {"downscale_factor": 2}, (numbers(4, 2, 4),)),
    ("ChannelShuffle", {"groups": 2}, (numbers(1, 4, 2, 3),)),
    ("GroupNorm", {"num_groups": 2, "num_channels": 6}, (numbers(3, 6, 2),)),
    ("RMSNorm", {"normalized_shape": 6}, (X,)),
    ("SmoothL1Loss", {"beta": 0.5}, PAIR),
    ("HuberLoss", {"delta": 0.5, "reduction": "sum"}, PAIR),
    ("BCELoss", {"reduction": "none"}, (shares(4, 6), shares(4, 6))),
    ("KLDivLoss", {"reduction": "batchmean"}, (-shares(4, 6), shares(4, 6))),
    ("PoissonNLLLoss", {"full": True}, (X, shares(4, 6) * 4)),
    ("GaussianNLLLoss", {"full": True}, (*PAIR, shares(4, 6))),
    ("SoftMarginLoss", {}, (X, signs(4, 6))),
    ("HingeEmbeddingLoss", {"margin": 0.5}, (X, signs(4, 6))),
    ("MarginRankingLoss", {"margin": 0.5}, (numbers(5), numbers(5), signs(5))),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (*PAIR, signs(4))),
    ("MultiMarginLoss", {"p": 2, "margin": 0.7}, (X, CLASSES)),
    ("MultiLabelMarginLoss", {}, (X, LABELS)),
    ("MultiLabelSoftMarginLoss", {"reduction": "none"}, (X, shares(4, 6))),
    ("TripletMarginLoss", {"swap": True, "p": 1.0}, (*PAIR, numbers(4, 6))),
    ("TripletMarginWithDistanceLoss", {"margin": 0.3}, (*PAIR, numbers(4, 6))),
]


@pytest.mark.parametrize("name, settings, arrays", CASES, ids=[c[0] for c in CASES])
def test_as_in_torch(name: str, settings: dict[str, Any], arrays: tuple[np.ndarray, ...]) -> None:
    ours, theirs = getattr(nn, name)(**settings).to(dg.float64), getattr(torch.nn, name)(**settings).double()
    given, expected = [dg.tensor(a) for a in arrays], [torch.from_numpy(a.copy()) for a in arrays]
    given[0].requires_grad_()
    expected[0].requires_grad_()
    result, wanted = ours(*given), theirs(*expected)
    np.testing.assert_allclose(result.detach().numpy(), wanted.detach().numpy(), rtol=1e-12, atol=1e-12)
    result.sum().backward()
    wanted.sum().backward()
    np.testing.assert_allclose(given[0].grad.numpy(), expected[0].grad.numpy(), rtol=1e-6, atol=1e-12)
    static = dg.static(ours, strict=True)
    np.testing.assert_array_equal(static(*given).detach().numpy(), result.detach().numpy())


@pytest.mark.parametrize("name", sorted({c[0] for c in CASES}))
def test_takes_what_torch_takes(name: str) -> None:
    """The constructor has PyTorch's parameters with its defaults, but for those that it calls deprecated."""
    ours, theirs = (inspect.signature(getattr(module, name).__init__).parameters for module in (nn, torch.nn))
    for parameter in theirs.values():
        if parameter.name in ("self", "size_average", "reduce", "min_value", "max_value", "args", "kwargs", "_random_samples"):
            continue
        assert parameter.name in ours, parameter.name
        assert ours[parameter.name].default == parameter.default or parameter.name == "dim", parameter.name


def test_in_place_activations() -> None:
    for name in ("Hardtanh", "ReLU6", "Hardsigmoid", "Hardswish", "Mish", "SELU", "CELU", "RReLU"):
        layer = getattr(nn, name)(inplace=True).eval()
        x = dg.tensor([-1.0, 2.0, 9.0])
        expected = getattr(nn, name)().eval()(x).tolist()
        assert layer(x) is x and x.tolist() == expected, name


def test_bilinear() -> None:
    ours, theirs = nn.Bilinear(3, 4, 2).double(), torch.nn.Bilinear(3, 4, 2).double()
    ours.load_state_dict({name: dg.tensor(value.detach().numpy()) for name, value in theirs.state_dict().items()})
    a, b = numbers(5, 3), numbers(5, 4)
    result = ours(dg.tensor(a), dg.tensor(b)).detach().numpy()
    np.testing.assert_allclose(result, theirs(torch.tensor(a), torch.tensor(b)).detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("name, shape, shared", [
    ("Dropout1d", (40, 30, 3), 2), ("Dropout1d", (300, 3), 1), ("Dropout2d", (40, 30, 2, 2), 2), ("Dropout2d", (40, 30, 3), 2),
    ("Dropout3d", (300, 2, 2, 2), 1), ("Dropout3d", (40, 30, 2, 2, 1), 2), ("AlphaDropout", (900, 2), 2),
    ("FeatureAlphaDropout", (40, 30, 4), 2),
])  # fmt: skip
def test_dropped_channels(name: str, shape: tuple[int, ...], shared: int) -> None:
    """Whole channels have one fate, at the rate asked for; the gradient is that of what was kept."""
    dg.manual_seed(2)
    layer = getattr(nn, name)(0.3)
    x = dg.ones(shape).requires_grad_()
    y = layer(x)
    y.sum().backward()
    low = y.detach().flatten(shared).numpy() if shared < len(shape) else y.detach().numpy()[..., None]
    assert (low == low[..., :1]).all()
    values = np.unique(low)
    assert len(values) == 2 and 0.25 < (low == values[0]).mean() < 0.35
    slope = 1 / 0.7 if "Alpha" not in name else ((1 - 0.3) * (1 + 0.3 * 1.7580993408473766**2)) ** -0.5
    assert values[0] == (0 if "Alpha" not in name else pytest.approx(slope * (-1.7580993 + 1.7580993 * 0.3), rel=1e-5))
    expected = np.where(y.detach().numpy() == values[0], 0, slope)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6)
    assert layer.eval()(x) is x and getattr(nn, name)(1.0)(x).abs().max().item() == 0
    with pytest.raises(ValueError, match=f"{name}: p must be a probability"):
        getattr(nn, name)(1.5)


def test_mistakes_of_padding_and_groups() -> None:
    with pytest.raises(ValueError, match="GroupNorm: 5 channels do not fall into 2 groups"):
        nn.GroupNorm(2, 5)
    with pytest.raises(ValueError, match=r"group_norm: 5 channels do not fall into 2 groups"):
        nn.functional.group_norm(dg.zeros(1, 5), 2)
    with pytest.raises(TypeError, match="ReflectionPad2d: padding must be one number or 4"):
        nn.ReflectionPad2d((1, 2))
    with pytest.raises(IndexError, match="CircularPad1d: x must have 2 or 3 dimensions, got 1"):
        nn.CircularPad1d(1)(dg.zeros(3))
    with pytest.raises(IndexError, match="dropout3d: x must have 4 or 5 dimensions, got 2"):
        nn.Dropout3d()(dg.zeros(2, 3))


def test_random_slopes_and_choices() -> None:
    dg.manual_seed(1)
    x = -dg.ones(1000)
    y = nn.RReLU(0.2, 0.4)(x)
    assert -0.4 <= y.min().item() < y.max().item() <= -0.2
    assert nn.RReLU(0.2, 0.4).eval()(x).tolist() == pytest.approx([-0.3] * 1000)
    logits = dg.zeros(500, 4).requires_grad_()
    drawn = nn.functional.gumbel_softmax(logits, tau=0.5, hard=True)
    assert drawn.sum(-1).tolist() == pytest.approx([1.0] * 500) and 60 < drawn[:, 0].sum().item() < 190
    drawn[:, 0].sum().backward()
    assert logits.grad.abs().sum().item() > 0


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'batchmean'"):
        nn.HuberLoss(reduction="batchmean")
    with pytest.raises(ValueError, match="or 'batchmean', got 'other'"):
        nn.KLDivLoss(reduction="other")
    with pytest.raises(ValueError, match=r"glu: the size of dimension 0 must be even, got 3"):
        nn.GLU()(dg.zeros(3))
    with pytest.raises(ValueError, match=r"Softmax2d: x must have 3 or 4 dimensions, got 2"):
        nn.Softmax2d()(dg.zeros(3, 3))
