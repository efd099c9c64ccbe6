"""Optimisers that scale each element's step by the size of its past gradients: RMSprop, Adagrad, Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core as core
from .._recorded import recorded
from ..errors import DomainError
from ..ops.training.optimizer_steps import adadelta_update_, adagrad_update_, rmsprop_update_
from .optimizer import Group, Optimizer, check_hints, check_not_negative, decay_of

Tensor = core.Tensor


class RMSprop(Optimizer):
    """RMSprop: p ← p − lr · gradient / (root of the running mean of its squares + eps).

    Args:
        lr: the learning rate.
        alpha: how fast the mean forgets.
        eps: is added to the root.
        weight_decay: adds weight_decay · p to the gradient.
        momentum: of the steps; 0 keeps none.
        centered: subtracts the squared mean of the gradients from the mean of squares (Graves 2013).
        maximize: ascends instead.
        hints: `foreach`, `fused`, `capturable`: taken and without effect; `differentiable` must be False.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = RMSprop([p], lr=0.1, alpha=0.75, eps=0.0)
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.8000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("RMSprop", hints)
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, defaults | {"centered": centered, "maximize": maximize})

    def check_group(self, group: Group) -> None:
        check_not_negative("RMSprop", **{name: group[name] for name in ("lr", "alpha", "eps", "weight_decay", "momentum")})

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        momentum, centered = recorded(group, "momentum"), recorded(group, "centered")
        names = ["square_avg"]
        names += ["grad_avg"] if centered else []
        names += ["momentum_buffer"] if momentum > 0 else []
        found = dict(zip(names, self.columns(params, tuple(names))))
        rmsprop_update_(
            params,
            grads,
            found["square_avg"],
            found.get("grad_avg", []),
            found.get("momentum_buffer", []),
            recorded(group, "lr"),
            recorded(group, "alpha"),
            recorded(group, "eps"),
            momentum,
            decay_of(group),
            recorded(group, "maximize"),
        )


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011): p ← p − lr · gradient / (root of the sum of all its squares + eps).

    Args:
        lr: the learning rate; step t uses lr / (1 + (t − 1) · lr_decay).
        weight_decay: adds weight_decay · p to the gradient.
        initial_accumulator_value: where the sums start.
        eps: is added to the root.
        maximize: ascends instead.
        hints: `foreach`, `fused`, `capturable`: taken and without effect; `differentiable` must be False.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = Adagrad([p], lr=0.5, eps=0.0)
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.5000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("Adagrad", hints)
        defaults = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"initial_accumulator_value": initial_accumulator_value, "maximize": maximize})

    def check_group(self, group: Group) -> None:
        names = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
        check_not_negative("Adagrad", **{name: group[name] for name in names})

    def initial_state(self, name: str, parameter: Tensor) -> Tensor:
        made = super().initial_state(name, parameter)
        if name == "sum":
            made.fill_(self.group_of(parameter)["initial_accumulator_value"])
        return made

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        sums, steps = self.columns(params, ("sum", "step"))
        adagrad_update_(
            params,
            grads,
            sums,
            steps,
            recorded(group, "lr"),
            recorded(group, "lr_decay"),
            recorded(group, "eps"),
            decay_of(group),
            recorded(group, "maximize"),
        )


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012): the step's size follows the running size of past steps over that of past gradients.

    Args:
        lr: a factor of the step.
        rho: how fast the two means forget.
        eps: is added below both roots.
        weight_decay: adds weight_decay · p to the gradient.
        maximize: ascends instead.
        hints: `foreach`, `fused`, `capturable`: taken and without effect; `differentiable` must be False.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = Adadelta([p], rho=0.0, eps=3.0)
    >>> p.sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.1340])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("Adadelta", hints)
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def check_group(self, group: Group) -> None:
        check_not_negative("Adadelta", **{name: group[name] for name in ("lr", "rho", "eps", "weight_decay")})
        if group["rho"] > 1:
            raise DomainError(f"Adadelta: rho must be at most 1, got {group['rho']}")

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        squares, deltas = self.columns(params, ("square_avg", "acc_delta"))
        adadelta_update_(
            params,
            grads,
            squares,
            deltas,
            recorded(group, "lr"),
            recorded(group, "rho"),
            recorded(group, "eps"),
            decay_of(group),
            recorded(group, "maximize"),
        )
