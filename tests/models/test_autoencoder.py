"""The convolutional autoencoder against PyTorch, and its errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch_networks as twins
from agreement import against_torch

import duograph as dg
from duograph import models
from duograph.errors import ArgumentError, DomainError, ShapeError


def reconstructed(functional, outputs, target):
    return functional.mse_loss(outputs, target)


def test_trains_as_in_torch():
    random = np.random.default_rng(0)
    pictures = [random.uniform(size=(4, 2, 16, 16)).astype("float32") for _ in range(10)]
    against_torch(
        lambda: models.ConvAutoencoder(2, 16, (4, 6), 5),
        lambda: twins.ConvAutoencoder(2, 4, 6, 4, 5),
        [(x, x) for x in pictures],
        reconstructed,
        lambda library, parameters: library.optim.Adam(parameters, lr=1e-3),
    )


def test_codes_and_images():
    model = models.ConvAutoencoder(image_size=8, channels=(4, 8, 16), code_size=3)
    x = dg.rand(5, 1, 8, 8)
    assert model.encode(x).shape == (5, 3)
    assert dg.equal(model.decode(model.encode(x)), model(x))
    assert bool(((model(x) > 0) & (model(x) < 1)).all())


def test_errors():
    with pytest.raises(DomainError, match="image_size=12 cannot be halved 3 times"):
        models.ConvAutoencoder(image_size=12, channels=(4, 4, 4))
    with pytest.raises(ArgumentError, match="at least one halving"):
        models.ConvAutoencoder(channels=())
    with pytest.raises(ShapeError, match=r"expected images \[n, 1, 32, 32\], got \[2, 1, 28, 28\]"):
        models.ConvAutoencoder()(dg.rand(2, 1, 28, 28))
