"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core as core
from .._recorded import recorded
from ..errors import DomainError
from ..ops.training.optimizer_steps import sgd_update_
from .optimizer import Group, Optimizer, check_hints, check_not_negative, decay_of

Tensor = core.Tensor


class SGD(Optimizer):
    """p ← p − lr · v, with v ← momentum · v + (1 − dampening) · (gradient + weight_decay · p), at first v = the gradient.

    Args:
        lr: the learning rate.
        momentum: 0 keeps no v and uses the gradient itself.
        nesterov: looks ahead: uses gradient + momentum · v (Sutskever et al. 2013).
        maximize: ascends instead.
        hints: `foreach`, `fused`, `capturable`: taken and without effect; `differentiable` must be False.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("SGD", hints)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check_group(self, group: Group) -> None:
        check_not_negative("SGD", lr=group["lr"], momentum=group["momentum"], weight_decay=group["weight_decay"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise DomainError(
                f"SGD: nesterov needs a momentum above 0 and no dampening, "
                f"got momentum = {group['momentum']}, dampening = {group['dampening']}"
            )

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        lr = recorded(group, "lr")
        momentum = recorded(group, "momentum")
        dampening = recorded(group, "dampening")
        weight_decay = decay_of(group)
        nesterov, maximize = recorded(group, "nesterov"), recorded(group, "maximize")
        if momentum == 0:
            sgd_update_(params, grads, [], lr, momentum, dampening, weight_decay, nesterov, maximize, False)
            return
        if dampening == 0:  # from zeros, momentum · 0 + gradient is the gradient: no first step to tell apart
            velocities = [self.state_of(p, ("momentum_buffer",))["momentum_buffer"] for p in params]
            sgd_update_(params, grads, velocities, lr, momentum, dampening, weight_decay, nesterov, maximize, False)
            return
        begun: dict[bool, list[int]] = {False: [], True: []}
        for i, parameter in enumerate(params):
            state = self.state.setdefault(parameter, {})
            state.setdefault("begun", "momentum_buffer" in state)
            begun[bool(recorded(state, "begun"))].append(i)
            self.state_of(parameter, ("momentum_buffer",))
        for first, chosen in ((True, begun[False]), (False, begun[True])):
            if chosen:
                velocities = [self.state[params[i]]["momentum_buffer"] for i in chosen]
                some, their_grads = [params[i] for i in chosen], [grads[i] for i in chosen]
                sgd_update_(some, their_grads, velocities, lr, momentum, dampening, weight_decay, nesterov, maximize, first)
        for i in begun[False]:
            self.state[params[i]]["begun"] = True
