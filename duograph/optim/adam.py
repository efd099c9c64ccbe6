"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core as core
from .._recorded import recorded
from ..ops.training.optimizer_steps import adam_update_
from .optimizer import Group, Optimizer, check_betas, check_hints, check_not_negative, decay_of

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
        hints: `foreach`, `fused`, `capturable`: taken and without effect; `differentiable` must be False.
        decoupled_weight_decay: shrinks p by lr · weight_decay, as AdamW does.
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
        decoupled_weight_decay: bool = False,
        **hints: Any,
    ) -> None:
        check_hints(type(self).__name__, hints)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": self.decoupled or decoupled_weight_decay,
            },
        )

    def check_group(self, group: Group) -> None:
        owner = type(self).__name__
        check_not_negative(owner, lr=group["lr"], eps=group["eps"], weight_decay=group["weight_decay"])
        check_betas(owner, group["betas"])

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        amsgrad = recorded(group, "amsgrad")
        names = ("exp_avg", "exp_avg_sq", "step", *(("max_exp_avg_sq",) if amsgrad else ()))
        means, squares, steps, *largest = self.columns(params, names)
        beta1, beta2 = recorded(group, "betas")
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
            decay_of(group),
            recorded(group, "decoupled_weight_decay"),
            recorded(group, "maximize"),
            largest[0] if largest else [],
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
        **hints: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, **hints)
