"""Learning rates that change from step to step: the base class and the schedules that follow the number of steps."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._recorded import happens, recorded
from ..errors import ArgumentError, DomainError
from .optimizer import Optimizer

Factor = Callable[[int], float]


def each_run(step: Callable[..., None]) -> Callable[..., None]:
    """A scheduler's `step` that a static function makes in each of its runs."""

    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        values = (*args, *kwargs.values())  # there is at most one
        if not happens(functools.partial(step, self), values, _changes(self)):
            step(self, *values)

    return wrapper


def _changes(scheduler: Any) -> Iterator[tuple[Any, Any]]:
    """The places that a step changes."""
    for group in scheduler.optimizer.param_groups:
        yield from ((group, key) for key in ("lr", "momentum", "betas") if key in group)
    for one in (scheduler, *getattr(scheduler, "_schedulers", ()), *getattr(scheduler, "schedulers", ())):
        yield from ((one.__dict__, key) for key, value in one.__dict__.items() if isinstance(value, (int, float)))
        yield from ((one.__dict__.get("_last_lr"), i) for i in range(len(one.__dict__.get("_last_lr", ()))))


class LRScheduler:
    """Base class: sets `lr` of an optimiser's groups at once, and anew at each `step`.

    Args:
        optimizer: whose groups; each group's `initial_lr` is kept in the group.
        last_epoch: how many steps were made before; -1: a fresh start. Then `initial_lr` must be in the groups.
    """

    continues = False  # whether the rate of a step comes from that of the step before: a resumed start leaves it as it is

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        owner = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"{owner}: expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise DomainError(
                    f"{owner}: group {number} has no 'initial_lr', which last_epoch = {last_epoch} needs",
                    hint="load the optimiser's state first, or start with last_epoch=-1",
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        if last_epoch >= 0 and self.continues:
            self.last_epoch += 1
            self.set(self.current())
        else:
            self.step()

    @each_run
    def step(self) -> None:
        """Goes on to the next learning rates. Call it after `optimizer.step()`."""
        self.last_epoch += 1
        self.set(self.get_lr())

    def set(self, rates: Iterable[float]) -> None:
        """Gives the groups their learning rates."""
        self._last_lr[:] = rates
        for group, rate in zip(self.optimizer.param_groups, self._last_lr):
            group["lr"] = rate

    def get_lr(self) -> list[float]:
        """The learning rates of step `last_epoch`, from those in the groups. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def get_last_lr(self) -> list[float]:
        """The learning rates that were set last, one for each group."""
        return [recorded(self._last_lr, number) for number in range(len(self._last_lr))]

    def current(self) -> list[float]:
        """The learning rates in the groups."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What `save` can store: everything but the optimiser and the caller's functions."""
        kept = {name: value for name, value in self.__dict__.items() if name != "optimizer" and not _has_functions(value)}
        return {name: list(value) if isinstance(value, list) else value for name, value in kept.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        rates = list(state_dict.get("_last_lr", self._last_lr))
        self.__dict__.update({name: value for name, value in state_dict.items() if name != "_last_lr"})
        self._last_lr[:] = rates


def _has_functions(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(callable(item) for item in value))


def one_each(owner: str, what: Any, groups: int, name: str) -> list[Any]:
    """One value for each group, from one for all or a list of them."""
    found = list(what) if isinstance(what, (list, tuple)) else [what] * groups
    if len(found) != groups:
        raise DomainError(f"{owner}: {len(found)} {name} for {groups} parameter groups")
    return found


def check_positive_integer(owner: str, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise DomainError(f"{owner}: {name} must be a positive integer, got {value!r}")


class LambdaLR(LRScheduler):
    """The initial learning rate times a function of the step.

    Args:
        lr_lambda: the function, or a list with one for each group.

    >>> import duograph as dg
    >>> optimizer = dg.optim.SGD([dg.ones(1, requires_grad=True)], lr=1.0)
    >>> scheduler = LambdaLR(optimizer, lambda step: 0.5**step)
    >>> scheduler.step(); scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        self.lr_lambdas = one_each(type(self).__name__, lr_lambda, len(optimizer.param_groups), "functions")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * factor(self.last_epoch) for base, factor in zip(self.base_lrs, self.lr_lambdas)]


class MultiplicativeLR(LambdaLR):
    """The learning rate times a function of the step, at each step."""

    continues = True

    def get_lr(self) -> list[float]:
        if self.last_epoch <= 0:
            return self.current()
        return [lr * factor(self.last_epoch) for lr, factor in zip(self.current(), self.lr_lambdas)]


class StepLR(LRScheduler):
    """The learning rate times gamma every step_size steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        check_positive_integer("StepLR", step_size=step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        changes = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if changes else lr for lr in self.current()]


class MultiStepLR(LRScheduler):
    """The learning rate times gamma at each of the given steps."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        factor = self.gamma ** Counter(self.milestones)[self.last_epoch]
        return [lr * factor for lr in self.current()]


class ConstantLR(LRScheduler):
    """The learning rate times factor for the first total_iters steps."""

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 < factor <= 1:
            raise DomainError(f"ConstantLR: factor must be above 0 and at most 1, got {factor}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        factor = self.factor if self.last_epoch == 0 else 1.0
        if self.last_epoch == self.total_iters:
            factor /= self.factor
        return [lr * factor for lr in self.current()]


class LinearLR(LRScheduler):
    """The learning rate times a factor that goes from start_factor to end_factor over total_iters steps."""

    continues = True

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise DomainError(f"LinearLR: start_factor must be above 0 and at most 1, got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise DomainError(f"LinearLR: end_factor must be between 0 and 1, got {end_factor}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * step / self.total_iters

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step == 0:
            return [lr * self.start_factor for lr in self.current()]
        if step > self.total_iters:
            return self.current()
        return [lr * self._factor(step) / self._factor(step - 1) for lr in self.current()]


class ExponentialLR(LRScheduler):
    """The learning rate times gamma at each step."""

    continues = True

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * (self.gamma if self.last_epoch else 1.0) for lr in self.current()]


class PolynomialLR(LRScheduler):
    """The learning rate times (1 − step / total_iters) to a power."""

    continues = True

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        check_positive_integer("PolynomialLR", total_iters=total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step, end = self.last_epoch, self.total_iters
        factor = ((end - step) / (end - step + 1)) ** self.power if 0 < step <= end else 1.0
        return [lr * factor for lr in self.current()]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial learning rate to eta_min over T_max steps, and back (Loshchilov and Hutter 2017).

    >>> import duograph as dg
    >>> optimizer = dg.optim.SGD([dg.ones(1, requires_grad=True)], lr=1.0)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=2)
    >>> scheduler.step(); round(scheduler.get_last_lr()[0], 6)
    0.5
    """

    continues = True

    def __init__(self, optimizer: Optimizer, T_max: float, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if not T_max > 0:
            raise DomainError(f"CosineAnnealingLR: T_max must be positive, got {T_max!r}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def _above(self, step: int) -> float:
        return 1 + math.cos(math.pi * step / self.T_max)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step == 0:
            return self.current()
        if (step - 1 - self.T_max) % (2 * self.T_max) == 0:  # leaving the bottom, where a ratio says nothing
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [lr + (base - self.eta_min) * rise for base, lr in zip(self.base_lrs, self.current())]
        ratio = self._above(step) / self._above(step - 1)
        return [ratio * (lr - self.eta_min) + self.eta_min for lr in self.current()]


class ChainedScheduler:
    """Several schedulers at each step, one after the other, on the same optimiser.

    Args:
        schedulers: of one optimiser.
        optimizer: that optimiser; left out: the schedulers'.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        _of_one_optimizer("ChainedScheduler", schedulers, optimizer)
        self.schedulers = list(schedulers)
        self.optimizer = schedulers[0].optimizer

    @each_run
    def step(self) -> None:
        for scheduler in self.schedulers:
            scheduler.step()

    def get_last_lr(self) -> list[float]:
        """The learning rates that were set last, one for each group."""
        return [recorded(group, "lr") for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The schedulers' states."""
        return {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"]):
            scheduler.load_state_dict(state)


class SequentialLR(LRScheduler):
    """One scheduler after the other: the next begins, from its own step 0, at each milestone.

    Args:
        schedulers: of one optimiser, in order.
        milestones: the steps at which the second, third, … begin.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        _of_one_optimizer("SequentialLR", schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise DomainError(
                f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} milestones, got {len(milestones)}"
            )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        for group in optimizer.param_groups:  # the schedulers made a first step each; only the first one's counts
            group["lr"] = group["initial_lr"]
        for scheduler in self.schedulers:
            scheduler.last_epoch -= 1
        self.optimizer, self.last_epoch = optimizer, last_epoch + 1
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.schedulers[0].step()
        self._last_lr = self.schedulers[0].get_last_lr()

    @each_run
    def step(self) -> None:
        self.last_epoch += 1
        number = sum(self.last_epoch >= milestone for milestone in self.milestones)
        scheduler = self.schedulers[number]
        if number and self.last_epoch == self.milestones[number - 1]:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"]
            scheduler.last_epoch = -1
        scheduler.step()
        self._last_lr[:] = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Its own state and the schedulers'."""
        states = [scheduler.state_dict() for scheduler in self.schedulers]
        return {**{k: v for k, v in super().state_dict().items() if k != "schedulers"}, "schedulers": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"]):
            scheduler.load_state_dict(state)
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "schedulers"})


def _of_one_optimizer(owner: str, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
    if not schedulers:
        raise DomainError(f"{owner}: there are no schedulers")
    expected = schedulers[0].optimizer if optimizer is None else optimizer
    for number, scheduler in enumerate(schedulers):
        if scheduler.optimizer is not expected:
            raise DomainError(f"{owner}: scheduler {number} is of another optimiser")
