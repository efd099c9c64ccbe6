"""Learning rates that go up and down: warm restarts, cycles, one cycle; and one that follows a metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError, DomainError
from .optimizer import Optimizer
from .schedules import LRScheduler, check_positive_integer, each_run, one_each


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines from the initial learning rate to eta_min, each begun anew (Loshchilov and Hutter 2017).

    Args:
        T_0: steps of the first; each later one is T_mult times as long as the one before.
        eta_min: the learning rate at its end.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        check_positive_integer("CosineAnnealingWarmRestarts", T_0=T_0, T_mult=T_mult)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.T_i: float = T_0
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    @each_run
    def step(self, epoch: float | None = None) -> None:
        """Goes on to the next learning rates, or to those of a step that need not be whole."""
        at = self.last_epoch + 1 if epoch is None else epoch
        if at < 0:
            raise DomainError(f"CosineAnnealingWarmRestarts: epoch must be at least 0, got {epoch}")
        if self.T_mult == 1:
            begun: float = at // self.T_0 * self.T_0
            self.T_i = self.T_0
        else:  # T_0 · (1 + m + … + m^(n-1)) steps are before restart n
            n = int(math.log(at / self.T_0 * (self.T_mult - 1) + 1, self.T_mult) + 1e-12)
            begun = self.T_0 * (self.T_mult**n - 1) // (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**n
        self.T_cur = at - begun
        self.last_epoch = math.floor(at)
        self.set(self.get_lr())

    def get_lr(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


class _Cycle(LRScheduler):
    """A schedule that moves momentum (or the first of betas) against the learning rate, if it is to."""

    cycle_momentum: bool

    def check_momentum(self, owner: str, optimizer: Optimizer) -> None:
        if self.cycle_momentum and not all("momentum" in g or "betas" in g for g in optimizer.param_groups):
            raise DomainError(f"{owner}: {type(optimizer).__name__} has no momentum to cycle", hint="pass cycle_momentum=False")

    def set_momentum(self, values: Sequence[float]) -> None:
        for group, value in zip(self.optimizer.param_groups, values):
            if "betas" in group:
                group["betas"] = (value, *group["betas"][1:])
            else:
                group["momentum"] = value


class CyclicLR(_Cycle):
    """The learning rate rises from base_lr to max_lr and falls again, over and over (Smith 2017).

    Args:
        base_lr, max_lr: the bounds, or lists with one for each group.
        step_size_up, step_size_down: steps of the rise and of the fall (as many, if left out).
        mode: "triangular"; "triangular2" halves the height each cycle; "exp_range" shrinks it by gamma each step.
        scale_fn, scale_mode: a function of the "cycle" or of "iterations" that scales the height instead.
        cycle_momentum: momentum moves between max_momentum and base_momentum, against the learning rate.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise DomainError(f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        if scale_mode not in ("cycle", "iterations"):
            raise DomainError(f"CyclicLR: scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
        count = len(optimizer.param_groups)
        self.max_lrs = one_each("CyclicLR", max_lr, count, "max_lr")
        bases = one_each("CyclicLR", base_lr, count, "base_lr")
        self.up = float(step_size_up)
        self.total = self.up + float(step_size_up if step_size_down is None else step_size_down)
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.cycle_momentum = cycle_momentum
        self.check_momentum("CyclicLR", optimizer)
        self.base_momentums = one_each("CyclicLR", base_momentum, count, "base_momentum")
        self.max_momentums = one_each("CyclicLR", max_momentum, count, "max_momentum")
        if last_epoch == -1:
            for group, base in zip(optimizer.param_groups, bases):
                group["lr"] = group["initial_lr"] = base
        super().__init__(optimizer, last_epoch)
        self.base_lrs = bases

    def _scale(self, cycle: float) -> float:
        if self.scale_fn is not None:
            return float(self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch))
        if self.mode == "triangular2":
            return float(1 / 2.0 ** (cycle - 1))
        return float(self.gamma**self.last_epoch) if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total)
        x = 1.0 + self.last_epoch / self.total - cycle
        rise = self.up / self.total
        height = (x / rise if x <= rise else (x - 1) / (rise - 1)) * self._scale(cycle)
        if self.cycle_momentum:
            pairs = zip(self.base_momentums, self.max_momentums)
            self.set_momentum([most - (most - least) * height for least, most in pairs])
        return [base + (most - base) * height for base, most in zip(self.base_lrs, self.max_lrs)]


class OneCycleLR(_Cycle):
    """One rise to max_lr and one fall far below the start, over the whole training (Smith and Topin 2019).

    Args:
        max_lr: the highest learning rate, or a list with one for each group.
        total_steps: of the cycle; or epochs and steps_per_epoch, whose product it is.
        pct_start: the part of the steps that rise.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: momentum moves between max_momentum and base_momentum, against the learning rate.
        div_factor: max_lr over the first learning rate; final_div_factor: the first over the last.
        three_phase: falls back to the first learning rate as it rose, then to the last one.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        check_positive_integer("OneCycleLR", total_steps=total_steps)
        if not 0 <= pct_start <= 1:
            raise DomainError(f"OneCycleLR: pct_start must be between 0 and 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise DomainError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        peak = float(pct_start * total_steps) - 1
        # (last step, where the learning rate goes, where momentum goes)
        self.phases: list[tuple[float, str, str]] = [(peak, "max_lr", "base_momentum")]
        if three_phase:
            self.phases.append((2 * peak, "initial_lr", "max_momentum"))
        self.phases.append((total_steps - 1, "min_lr", "max_momentum"))
        self.check_momentum("OneCycleLR", optimizer)
        if last_epoch == -1:
            count = len(optimizer.param_groups)
            highest = one_each("OneCycleLR", max_lr, count, "max_lr")
            least = one_each("OneCycleLR", base_momentum, count, "base_momentum")
            most = one_each("OneCycleLR", max_momentum, count, "max_momentum")
            self.marks = [
                {
                    "initial_lr": high / div_factor,
                    "max_lr": high,
                    "min_lr": high / div_factor / final_div_factor,
                    "base_momentum": low,
                    "max_momentum": top,
                }
                for high, low, top in zip(highest, least, most)
            ]
            for group, marks in zip(optimizer.param_groups, self.marks):
                group["initial_lr"] = marks["initial_lr"]
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * part
        return end + (start - end) / 2 * (1 + math.cos(math.pi * part))

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps - 1:
            raise DomainError(f"OneCycleLR: step {step + 1} of a cycle of {self.total_steps} steps")
        rate_from, momentum_from, begin = "initial_lr", "max_momentum", 0.0
        for end, rate_to, momentum_to in self.phases:
            if step <= end or end == self.phases[-1][0]:
                break
            rate_from, momentum_from, begin = rate_to, momentum_to, end
        part = (step - begin) / (end - begin)
        if self.cycle_momentum:
            self.set_momentum([self._between(m[momentum_from], m[momentum_to], part) for m in self.marks])
        return [self._between(m[rate_from], m[rate_to], part) for m in self.marks]


class ReduceLROnPlateau(LRScheduler):
    """The learning rate times factor when a metric has not become better for more than `patience` steps.

    Args:
        mode: "min": lower is better, or "max".
        threshold, threshold_mode: by how much it must be better: of the best value ("rel") or as it is ("abs").
        cooldown: steps after a reduction during which none is counted.
        min_lr: where it ends, or a list with one for each group.
        eps: smaller changes are not made.

    >>> import duograph as dg
    >>> optimizer = dg.optim.SGD([dg.ones(1, requires_grad=True)], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, patience=0)
    >>> scheduler.step(3.0); scheduler.step(3.0); scheduler.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"ReduceLROnPlateau: expected an Optimizer, got {type(optimizer).__name__}")
        if factor >= 1:
            raise DomainError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise DomainError(
                f"ReduceLROnPlateau: mode {mode!r}, threshold_mode {threshold_mode!r}: 'min' or 'max', 'rel' or 'abs'"
            )
        self.optimizer = optimizer
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = one_each("ReduceLROnPlateau", min_lr, len(optimizer.param_groups), "min_lr")
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = self.current()

    @each_run
    def step(self, metrics: Any = None) -> None:
        """Looks at the metric of this step (a number or a tensor with one)."""
        if metrics is None:
            raise ArgumentError("ReduceLROnPlateau: step needs the metric", hint="scheduler.step(validation_loss)")
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            lowered = [max(lr * self.factor, least) for lr, least in zip(self.current(), self.min_lrs)]
            self.set([new if old - new > self.eps else old for old, new in zip(self.current(), lowered)])
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr[:] = self.current()

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * (value - self.best) > self.threshold
        if math.isinf(self.best):
            return sign * value > sign * self.best
        return sign * (value - self.best * (1 + sign * self.threshold)) > 0
