"""Averages of models against torch, in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, DomainError

AVERAGES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "mean": lambda u: {},
    "mean by one": lambda u: {"avg_fn": u.get_swa_avg_fn()},
    "mean of all": lambda u: {"multi_avg_fn": u.get_swa_multi_avg_fn(), "use_buffers": True},
    "ema": lambda u: {"avg_fn": u.get_ema_avg_fn(0.7)},
    "ema of all": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.7)},
    "ema that follows": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.2), "use_buffers": True},
    "own": lambda u: {"avg_fn": lambda average, value, count: average * 0.5 + value * count},
}


def model_of(framework: Any) -> Any:
    class Model(framework.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.scale = framework.nn.Parameter(framework.ones(3))
            self.shift = framework.nn.Parameter(framework.zeros(2, 2))
            self.register_buffer("seen", framework.zeros(2))

        def forward(self, x: Any) -> Any:
            return x * self.scale

    return Model()


def averaged(framework: Any, options: Any, switch: Any = lambda f: f) -> list[Any]:
    model = model_of(framework)
    average = framework.optim.swa_utils.AveragedModel(model, **options(framework.optim.swa_utils))
    update = switch(lambda: average.update_parameters(model))
    found = []
    for step in range(1, 5):
        with framework.no_grad():
            model.scale.add_(1.0 / step)
            model.shift.sub_(step)
            model.seen.fill_(step)
        update()
        found += [x.detach().numpy().copy() for x in average.state_dict().values()]
    assert list(average.state_dict()) == ["n_averaged", "module.scale", "module.shift", "module.seen"]
    np.testing.assert_allclose(average(framework.ones(3)).detach().numpy(), average.module.scale.detach().numpy())
    assert not np.allclose(model.scale.detach().numpy(), average.module.scale.detach().numpy())
    return found


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("switch", [lambda f: f, dg.static], ids=["dynamic", "static"])
def test_averages(name: str, switch: Any) -> None:
    for found, expected in zip(averaged(dg, AVERAGES[name], switch), averaged(torch, AVERAGES[name]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_the_statistics_of_normalisations_are_means_over_the_batches() -> None:
    class Norm(dg.nn.Module):
        running_mean: dg.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.momentum: float | None = 0.1
            self.count = 0
            self.register_buffer("running_mean", dg.full((2,), 7.0))

        def reset_running_stats(self) -> None:
            self.running_mean.zero_()
            self.count = 0

        def forward(self, x: dg.Tensor) -> dg.Tensor:
            if self.training:
                self.count += 1
                weight = 1 / self.count if self.momentum is None else self.momentum
                self.running_mean.lerp_(x.mean(0), weight)
            return x - self.running_mean

    model = dg.nn.Sequential(Norm()).eval()
    batches = [(dg.tensor([[1.0, 2.0]]), "label"), (dg.tensor([[3.0, 6.0]]), "label")]
    dg.optim.swa_utils.update_bn(batches, model)
    assert model[0].running_mean.tolist() == [2, 4] and model[0].momentum == 0.1 and not model[0].training
    plain = dg.nn.Linear(2, 2)
    dg.optim.swa_utils.update_bn(iter(()), plain)


def test_mistakes() -> None:
    utils = dg.optim.swa_utils
    with pytest.raises(DomainError, match=r"decay must be between 0 and 1, got 1\.5"):
        utils.get_ema_multi_avg_fn(1.5)
    with pytest.raises(ArgumentError, match="takes avg_fn or multi_avg_fn, not both"):
        utils.AveragedModel(dg.nn.Linear(1, 1), avg_fn=utils.get_swa_avg_fn(), multi_avg_fn=utils.get_swa_multi_avg_fn())
    with pytest.raises(ArgumentError, match="differ from those of the one that was copied"):
        utils.AveragedModel(dg.nn.Linear(1, 1)).update_parameters(dg.nn.Linear(2, 1))
    optimizer = dg.optim.SGD([dg.ones(1, requires_grad=True)], lr=0.1)
    for wrong, text in (({"anneal_strategy": "step"}, "'cos' or 'linear', got 'step'"), ({"anneal_epochs": -1}, "got -1")):
        with pytest.raises(DomainError, match=text):
            utils.SWALR(optimizer, 0.01, **wrong)
