"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core as core
from .._recorded import recorded
from ..errors import ArgumentError, ValueError_
from ..ops.optimizer_steps import adam_update_
from .optimizer import Group, Optimizer, check_not_negative

Tensor = core.Tensor


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): steps along the mean of the gradients over the root of the mean of their squares.

    Args:
        lr: the learning rate.
        betas: how fast the two means forget.
        eps: is added to the root.
        weight_decay: adds weight_decay · p to the gradient (AdamW: shrinks p by lr · weight_decay instead).
        amsgrad: divides by the largest mean of squares so far (Reddi et al. 2018).
        maximize: ascends instead.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def check_group(self, group: Group) -> None:
        owner = type(self).__name__
        check_not_negative(owner, lr=group["lr"], eps=group["eps"], weight_decay=group["weight_decay"])
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ArgumentError(f"{owner}: betas must be two numbers, got {betas!r}")
        for number, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError_(f"{owner}: betas[{number}] must be at least 0 and below 1, got {beta}")

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        amsgrad = recorded(group, "amsgrad")
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
        means, squares, steps, largest = [], [], [], []
        states = self.state
        for parameter in params:
            state = states.get(parameter)
            if state is None or len(state) <= len(names):
                state = self.state_of(parameter, names, counter=True)
            means.append(state["exp_avg"])
            squares.append(state["exp_avg_sq"])
            steps.append(state["step"])
            if amsgrad:
                largest.append(state["max_exp_avg_sq"])
        beta1, beta2 = recorded(group, "betas")
        weight_decay = recorded(group, "weight_decay")
        adam_update_(
            params,
            grads,
            means,
            squares,
            steps,
            recorded(group, "lr"),
            beta1,
            beta2,
            recorded(group, "eps"),
            None if weight_decay == 0 else weight_decay,
            self.decoupled,
            recorded(group, "maximize"),
            largest,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): p shrinks by lr · weight_decay at each step."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
