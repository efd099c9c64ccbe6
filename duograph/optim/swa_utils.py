"""Averages of a model's parameters over its training, and the schedule that goes with them (Izmailov et al. 2018)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import _core as core
from .._recorded import current
from ..autograd import no_grad
from ..errors import ArgumentError, DomainError
from ..nn.module import Module
from ..ops.elementwise.choice import where
from ..ops.training.rarer_steps import average_update_
from .optimizer import Optimizer
from .schedules import LRScheduler, one_each

Tensor = core.Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Tensor]
Averages = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def _checked(decay: float) -> float:
    if not 0.0 <= decay <= 1.0:
        raise DomainError(f"decay must be between 0 and 1, got {decay}")
    return decay


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """An `avg_fn` for `AveragedModel`: decay * average + (1 - decay) * new."""
    _checked(decay)

    def average(averaged: Tensor, value: Tensor, count: Any) -> Tensor:
        found: Tensor = averaged * decay + value * (1 - decay)
        return found

    return average


def get_swa_avg_fn() -> Average:
    """An `avg_fn` for `AveragedModel`: the mean of all models so far."""

    def average(averaged: Tensor, value: Tensor, count: Any) -> Tensor:
        found: Tensor = averaged + (value - averaged) / (count + 1)
        return found

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """The same as `get_ema_avg_fn` for all parameters at once, in one program."""
    weight = 1 - _checked(decay)

    def average(averaged: Sequence[Tensor], values: Sequence[Tensor], count: Any) -> None:
        average_update_(list(averaged), list(values), count, weight)

    return average


def get_swa_multi_avg_fn() -> Averages:
    """The same as `get_swa_avg_fn` for all parameters at once, in one program."""

    def average(averaged: Sequence[Tensor], values: Sequence[Tensor], count: Any) -> None:
        average_update_(list(averaged), list(values), count)

    return average


class AveragedModel(Module):
    """A copy of a model whose parameters are an average of those that the model had at each `update_parameters`.

    Without a function the average is the mean of all; the first update copies. The copy's buffers are those of the model
    at the last update, or averaged too.

    Args:
        model: what is copied, as `module`.
        device: where the copy is kept.
        avg_fn: gives an average anew from (average, new value, number of models so far); see `get_ema_avg_fn`.
        multi_avg_fn: writes averages in place from (averages, new values, number): `get_ema_multi_avg_fn`.
        use_buffers: averages the buffers as well.

    >>> model = dg.nn.Linear(2, 1)
    >>> average = dg.optim.swa_utils.AveragedModel(model, multi_avg_fn=dg.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    >>> average.update_parameters(model)
    >>> bool((average.module.weight == model.weight).all()), average.n_averaged
    (True, tensor(1))
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel: takes avg_fn or multi_avg_fn, not both")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", core.tensor_from_data(0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the average of the models gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the model's parameters, as they are now, into the averages.

        Errors: ArgumentError for a model of another structure than the one that was copied.
        """
        with no_grad():
            averaged, values = (self._averaged(m) for m in (self.module, model))
            if [x.shape for x in averaged] != [x.shape for x in values]:
                raise ArgumentError("AveragedModel: the model's parameters differ from those of the one that was copied")
            if current() is not None:  # a static function decides in each run
                moved = [x.clone() for x in averaged]
                self._move(moved, values)
                for old, new, then in zip(averaged, values, moved):
                    old.copy_(where(self.n_averaged == 0, new, then))
            elif self.n_averaged == 0:
                for old, new in zip(averaged, values):
                    old.copy_(new)
            else:
                self._move(averaged, values)
            if not self.use_buffers:
                for old, new in zip(self.module.buffers(), model.buffers()):
                    old.copy_(new)
            self.n_averaged += 1

    def _move(self, averaged: list[Tensor], values: list[Tensor]) -> None:
        """Writes the averages after an update that is not the first."""
        if self.avg_fn is not None:
            for old, new in zip(averaged, values):
                old.copy_(self.avg_fn(old, new, self.n_averaged))
        elif averaged:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averaged, values, self.n_averaged)

    def _averaged(self, model: Module) -> list[Tensor]:
        found = [*model.parameters(), *(model.buffers() if self.use_buffers else ())]
        return [x.detach() for x in found]


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the running statistics of a model's normalisations anew, as means over a loader's batches.

    What has `reset_running_stats` and `momentum` counts as one. After averages of parameters the statistics of the models
    they come from do not fit.

    Args:
        loader: gives inputs, or lists and tuples that begin with one.
        model: it is called on each, in training mode.
        device: where inputs are sent before.
    """
    kept = {m: m.momentum for m in model.modules() if hasattr(m, "reset_running_stats") and hasattr(m, "momentum")}
    if not kept:
        return
    training = model.training
    model.train()
    try:
        for module in kept:
            module.reset_running_stats()
            module.momentum = None
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(x if device is None else x.to(device))
    finally:
        for module, momentum in kept.items():
            module.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """Learning rates that go to a constant within some steps, and stay there while models are averaged.

    Args:
        swa_lr: where to: one for all groups, or one for each.
        anneal_epochs: within how many steps; 0: at once, with the first.
        anneal_strategy: "cos" (half a cosine) or "linear".

    >>> optimizer = dg.optim.SGD([dg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = dg.optim.swa_utils.SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> optimizer.step(); schedule.step(); schedule.get_last_lr()
    [0.75]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise DomainError(f"SWALR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise DomainError(f"SWALR: anneal_epochs must be a whole number of at least 0, got {anneal_epochs}")
        targets = one_each("SWALR", swa_lr, len(optimizer.param_groups), "learning rates")
        for group, target in zip(optimizer.param_groups, targets):
            group["swa_lr"] = target
        self.anneal_epochs, self.anneal_strategy, self.begun = anneal_epochs, anneal_strategy, last_epoch + 1
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the way is done after so many steps."""
        done = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * done)) / 2 if self.anneal_strategy == "cos" else done

    def get_lr(self) -> list[float]:
        step = self.last_epoch - self.begun
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        found = []
        for group, rate in zip(self.optimizer.param_groups, self.current()):
            target = float(group["swa_lr"])
            start = target if before == 1 else (rate - before * target) / (1 - before)
            found.append(target * now + start * (1 - now))
        return found
