"""Variants of Adam: Adamax, NAdam, RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core as core
from .._recorded import recorded
from ..ops.training.optimizer_steps import adamax_update_, nadam_update_, radam_update_
from .optimizer import Group, Optimizer, check_betas, check_hints, check_not_negative, decay_of

Tensor = core.Tensor


class Adamax(Optimizer):
    """Adamax (Kingma and Ba 2015, section 7): Adam with the largest recent magnitude in place of the root mean square.

    Args:
        lr: the learning rate.
        betas: how fast the mean and the largest magnitude forget.
        eps: is added to the magnitude.
        weight_decay: adds weight_decay · p to the gradient.
        maximize: ascends instead.
        hints: `foreach`, `fused`, `capturable`: taken and without effect; `differentiable` must be False.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = Adamax([p], lr=0.5, eps=0.0)
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.5000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("Adamax", hints)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def check_group(self, group: Group) -> None:
        check_not_negative("Adamax", lr=group["lr"], eps=group["eps"], weight_decay=group["weight_decay"])
        check_betas("Adamax", group["betas"])

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        states = self.columns(params, ("exp_avg", "exp_inf", "step"))
        beta1, beta2 = recorded(group, "betas")
        numbers = (recorded(group, "lr"), beta1, beta2, recorded(group, "eps"))
        adamax_update_(params, grads, *states, *numbers, decay_of(group), recorded(group, "maximize"))


class NAdam(Optimizer):
    """NAdam (Dozat 2016): Adam that looks ahead as Nesterov's momentum does.

    Args:
        lr: the learning rate.
        betas: how fast the two means forget.
        eps: is added to the root.
        weight_decay: adds weight_decay · p to the gradient, or shrinks p by lr · weight_decay if decoupled.
        momentum_decay: how the momentum approaches betas[0] over the steps.
        decoupled_weight_decay: weight decay as in AdamW.
        maximize: ascends instead.
        hints: `foreach`, `fused`, `capturable`: taken and without effect; `differentiable` must be False.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = NAdam([p], lr=0.5, betas=(0.0, 0.0), eps=0.0)
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.5000])
    """

    scalars = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("NAdam", hints)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay}
        super().__init__(params, defaults | {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize})

    def check_group(self, group: Group) -> None:
        names = ("lr", "eps", "weight_decay", "momentum_decay")
        check_not_negative("NAdam", **{name: group[name] for name in names})
        check_betas("NAdam", group["betas"])

    def initial_state(self, name: str, parameter: Tensor) -> Tensor:
        made = super().initial_state(name, parameter)
        return made.fill_(1.0) if name == "mu_product" else made

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        states = self.columns(params, ("exp_avg", "exp_avg_sq", "mu_product", "step"))
        beta1, beta2 = recorded(group, "betas")
        numbers = (recorded(group, "lr"), beta1, beta2, recorded(group, "eps"), recorded(group, "momentum_decay"))
        flags = (recorded(group, "decoupled_weight_decay"), recorded(group, "maximize"))
        nadam_update_(params, grads, *states, *numbers, decay_of(group), *flags)


class RAdam(Optimizer):
    """RAdam (Liu et al. 2020): Adam whose steps adapt only when the mean of squares rests on enough gradients.

    Args:
        lr: the learning rate.
        betas: how fast the two means forget.
        eps: is added to the root.
        weight_decay: adds weight_decay · p to the gradient, or shrinks p by lr · weight_decay if decoupled.
        decoupled_weight_decay: weight decay as in AdamW.
        maximize: ascends instead.
        hints: `foreach`, `fused`, `capturable`: taken and without effect; `differentiable` must be False.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = RAdam([p], lr=0.25)
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.5000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("RAdam", hints)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize})

    def check_group(self, group: Group) -> None:
        check_not_negative("RAdam", lr=group["lr"], eps=group["eps"], weight_decay=group["weight_decay"])
        check_betas("RAdam", group["betas"])

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        states = self.columns(params, ("exp_avg", "exp_avg_sq", "step"))
        beta1, beta2 = recorded(group, "betas")
        numbers = (recorded(group, "lr"), beta1, beta2, recorded(group, "eps"))
        flags = (recorded(group, "decoupled_weight_decay"), recorded(group, "maximize"))
        radam_update_(params, grads, *states, *numbers, decay_of(group), *flags)
