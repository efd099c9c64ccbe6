"""Optimisers met less often: Rprop, ASGD, Adafactor, Muon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core as core
from .._recorded import recorded
from ..errors import ArgumentError, DomainError
from ..ops.training.rarer_steps import adafactor_update_, asgd_update_, muon_update_, rprop_update_
from .optimizer import Group, Optimizer, check_hints, check_not_negative, check_pairs, decay_of

Tensor = core.Tensor


class Rprop(Optimizer):
    """Rprop (Riedmiller and Braun 1993): each element steps by a size of its own that grows while its gradient keeps its sign.

    Args:
        lr: the size of the first step.
        etas: what shrinks a step after a change of sign, and what lets it grow.
        step_sizes: the least and the greatest step.
        maximize: ascends instead.
        hints: `foreach`, `capturable`: taken and without effect; `differentiable` must be False.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = Rprop([p], lr=0.5)
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.5000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("Rprop", hints)
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize})

    def check_group(self, group: Group) -> None:
        check_not_negative("Rprop", lr=group["lr"])
        check_pairs("Rprop", etas=group["etas"], step_sizes=group["step_sizes"])
        shrink, grow = group["etas"]
        if not 0 < shrink < 1 < grow:
            raise DomainError(f"Rprop: etas must be below 1 and above 1, got {shrink} and {grow}")

    def initial_state(self, name: str, parameter: Tensor) -> Tensor:
        made = super().initial_state(name, parameter)
        return made.fill_(self.group_of(parameter)["lr"]) if name == "step_size" else made

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        states = self.columns(params, ("prev", "step_size"))
        numbers = (*recorded(group, "etas"), *recorded(group, "step_sizes"))
        rprop_update_(params, grads, *states, *numbers, recorded(group, "maximize"))


class ASGD(Optimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992); the averages are in the state, under "ax".

    Args:
        lr: the learning rate; step t uses lr / (1 + lambd · lr · t) ** alpha.
        lambd: shrinks the parameters and slows the rate.
        alpha: how the rate falls.
        t0: the step from which on the average is one, and not the parameter itself.
        weight_decay: adds weight_decay · p to the gradient.
        maximize: ascends instead.
        hints: `foreach`, `capturable`: taken and without effect; `differentiable` must be False.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = ASGD([p], lr=0.25, lambd=0.0)
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.5000])
    """

    scalars = ("step", "eta", "mu")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("ASGD", hints)
        defaults = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def check_group(self, group: Group) -> None:
        check_not_negative("ASGD", lr=group["lr"], weight_decay=group["weight_decay"])

    def initial_state(self, name: str, parameter: Tensor) -> Tensor:
        made = super().initial_state(name, parameter)
        if name in ("eta", "mu"):
            made.fill_(self.group_of(parameter)["lr"] if name == "eta" else 1.0)
        return made

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        states = self.columns(params, ("ax", "eta", "mu", "step"))
        numbers = [recorded(group, name) for name in ("lr", "lambd", "alpha", "t0")]
        asgd_update_(params, grads, *states, *numbers, decay_of(group), recorded(group, "maximize"))


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern 2018): of a matrix's mean squares only the means of rows and columns are kept.

    Args:
        lr: the rate, relative to the root mean square of the parameter; step t uses at most 1 / sqrt(t).
        beta2_decay: step t keeps 1 - t ** beta2_decay of the mean squares.
        eps: added below the root (None: the dtype's precision), and the least size that a parameter counts with.
        d: the root mean square that an update may have.
        weight_decay: shrinks p by lr · weight_decay.
        maximize: ascends instead.
        hints: `foreach`: taken and without effect.

    >>> import duograph as dg
    >>> p = dg.tensor([1.0], requires_grad=True)
    >>> optimizer = Adafactor([p], lr=0.5)
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([0.5000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints("Adafactor", hints)
        defaults = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"maximize": maximize})

    def check_group(self, group: Group) -> None:
        check_not_negative("Adafactor", lr=group["lr"], weight_decay=group["weight_decay"])
        if group["beta2_decay"] > 0:
            raise DomainError(f"Adafactor: beta2_decay must be at most 0, got {group['beta2_decay']}")
        if group["d"] < 1:
            raise DomainError(f"Adafactor: d must be at least 1, got {group['d']}")
        check_pairs("Adafactor", eps=group["eps"])
        check_not_negative("Adafactor", **{f"eps[{i}]": x for i, x in enumerate(group["eps"]) if i or x is not None})

    def initial_state(self, name: str, parameter: Tensor) -> Tensor:
        if name in ("row_var", "col_var"):
            shape = list(parameter.shape)
            shape[-1 if name == "row_var" else -2] = 1
            return core.zeros(tuple(shape), parameter.dtype)
        return super().initial_state(name, parameter)

    def load_value(self, name: str, key: Any, value: Any, parameter: Tensor) -> Any:
        if name in ("row_var", "col_var"):
            return value.detach().to(parameter.dtype).clone()
        return super().load_value(name, key, value, parameter)

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        least, size = recorded(group, "eps")
        numbers = (recorded(group, "lr"), recorded(group, "beta2_decay"), size, recorded(group, "d"), least)
        for factored in (True, False):
            chosen = [i for i, p in enumerate(params) if (p.dim() > 1) is factored]
            if not chosen:
                continue
            some, theirs = [params[i] for i in chosen], [grads[i] for i in chosen]
            names = ("row_var", "col_var", "step") if factored else ("variance", "step")
            *kept, steps = self.columns(some, names)
            states = (*kept, []) if factored else ([], [], *kept)
            adafactor_update_(some, theirs, *states, steps, *numbers, decay_of(group), recorded(group, "maximize"))


class Muon(Optimizer):
    """Muon (Jordan et al. 2024), for matrices: the momentum, made nearly orthogonal by a few steps of Newton and Schulz.

    They are computed in the parameter's dtype (PyTorch's in bfloat16).

    Args:
        lr: the learning rate.
        weight_decay: shrinks p by lr · weight_decay.
        momentum: of the gradients' mean.
        nesterov: looks ahead.
        ns_coefficients, ns_steps: of the iteration.
        eps: the least norm that is divided by.
        adjust_lr_fn: what the shape [m, n] makes of the rate: "original" (None) sqrt(max(1, m / n)), "match_rms_adamw"
            0.2 · sqrt(max(m, n)).

    >>> import duograph as dg
    >>> p = dg.tensor([[1.0]], requires_grad=True)
    >>> optimizer = Muon([p], lr=0.5, weight_decay=0, ns_coefficients=(1.0, 0.0, 0.0))
    >>> (2 * p).sum().backward(); _ = optimizer.step(); p.detach()
    tensor([[0.5000]])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov}
        defaults |= {"ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn}
        super().__init__(params, defaults)

    def check_group(self, group: Group) -> None:
        check_not_negative("Muon", **{name: group[name] for name in ("lr", "weight_decay", "momentum", "eps")})
        if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise DomainError(f"Muon: adjust_lr_fn must be 'original' or 'match_rms_adamw', got {group['adjust_lr_fn']!r}")
        if len(group["ns_coefficients"]) != 3:
            raise ArgumentError(f"Muon: ns_coefficients must be three numbers, got {group['ns_coefficients']!r}")
        for number, parameter in enumerate(group["params"]):
            if parameter.dim() != 2:
                raise ArgumentError(
                    f"Muon: parameter {number} is {list(parameter.shape)}, not a matrix", hint="give others to AdamW"
                )

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        lr, momentum, eps = recorded(group, "lr"), recorded(group, "momentum"), recorded(group, "eps")
        coefficients = recorded(group, "ns_coefficients")
        (buffers,) = self.columns(params, ("momentum_buffer",))
        like_adamw = recorded(group, "adjust_lr_fn") == "match_rms_adamw"
        flags = (recorded(group, "nesterov"), recorded(group, "ns_steps"))
        for p, grad, buffer in zip(params, grads, buffers):
            m, n = p.shape
            factor = 0.2 * max(m, n) ** 0.5 if like_adamw else max(1.0, m / n) ** 0.5
            muon_update_(
                [p], [grad], [buffer], lr, factor, momentum, *coefficients, eps, decay_of(group), *flags, tall=bool(m > n)
            )
