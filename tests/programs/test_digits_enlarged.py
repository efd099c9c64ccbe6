"""A network trained on digits of one size classifies them in others: one static function, compiled once more, for all sizes."""

from __future__ import annotations

import pytest
from sklearn.datasets import load_digits

import duograph as dg
from duograph import nn


@pytest.fixture(scope="module")
def digits():
    """Pictures of 28×28 and what they are."""
    pictures, labels = load_digits(return_X_y=True)
    small = dg.tensor(pictures[:96] / 16).float().reshape(-1, 1, 8, 8)
    return enlarged(small, 28), dg.tensor(labels[:96])


def enlarged(pictures: dg.Tensor, size: int) -> dg.Tensor:
    return nn.functional.interpolate(pictures, size=size, mode="bilinear")


def network() -> nn.Module:
    dg.manual_seed(0)
    features = nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU()
    return nn.Sequential(nn.AdaptiveAvgPool2d(14), *features, nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(512, 10))


def test_from_28_to_100(digits):
    x, y = digits
    model = network()
    optimizer = dg.optim.Adam(model.parameters(), lr=3e-3)

    @dg.static
    def step(x, y):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(40):
        loss = step(x, y)
    assert loss.item() < 0.05 and step.captures == 1

    classify = dg.static(lambda x: model(x).argmax(1))
    with dg.no_grad():
        assert dg.equal(classify(x), y)
        for size in (100, 64, 37, 200, 28):
            found = classify(enlarged(x, size))
            assert (found == y).float().mean().item() > 0.95
            assert dg.equal(found, model(enlarged(x, size)).argmax(1))
    assert classify.compilations == classify.captures == 2


def test_one_function_trains_at_any_size(digits):
    """The step itself, with gradients through pools whose windows depend on the size."""
    x, y = digits
    model = network()
    optimizer = dg.optim.Adam(model.parameters(), lr=3e-3)

    @dg.static
    def step(x, y):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(enlarged(x, size), y).item() for size in (28, 100, 28, 37, 64, 28, 50, 28)]
    assert losses[-1] < losses[0] and step.captures == 2
