"""MobileNetV2 against PyTorch's, its names, and images of any size."""

from __future__ import annotations

import pytest
import torch_networks as twins
from agreement import against_torch, images

import duograph as dg
from duograph import models
from duograph.errors import ArgumentError, DomainError

SETTING = [(1, 32, 1, 1), (2, 64, 2, 2)]
BLOCKS = [(8, 8, 1, 1), (8, 16, 2, 2), (16, 16, 1, 2)]  # the same by a quarter


def test_trains_as_in_torch():
    against_torch(
        lambda: models.MobileNetV2(5, 0.25, SETTING, dropout=0.0),
        lambda: twins.MobileNetV2(8, BLOCKS, 1280, 5),
        images(10, 8, 16, 5),
    )


def test_one_static_function_for_images_of_any_size():
    dg.manual_seed(0)
    model = models.MobileNetV2(5, 0.25, SETTING).eval()
    static = dg.static(model)
    with dg.no_grad():
        for size in (28, 100, 37):
            x = dg.rand(2, 3, size, size)
            assert dg.allclose(static(x), model(x), rtol=1e-4, atol=1e-5)
    assert static.captures <= 3


def test_names_are_torchvisions():
    names = list(models.mobilenet_v2().state_dict())
    assert len(names) == 314
    assert names[0] == "features.0.0.weight"
    assert "features.1.conv.0.0.weight" in names
    assert "features.2.conv.1.1.running_var" in names
    assert names[-4:-2] == ["features.18.1.running_var", "features.18.1.num_batches_tracked"]
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"]


def test_errors():
    with pytest.raises(ArgumentError, match=r"a stage is expansion, channels, count and stride, got \(1, 2\)"):
        models.MobileNetV2(inverted_residual_setting=[(1, 2)])
    with pytest.raises(DomainError, match="InvertedResidual: stride must be 1 or 2, got 3"):
        models.InvertedResidual(8, 8, 3, 2)
