"""Optimizer: the base of every optimiser, groups of parameters with their own hyper-parameters, and state per parameter.

`step` reads every hyper-parameter anew through `recorded`, so that a static step sees a changed learning rate, and hands
all parameters of a group to one operator call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import _core as core
from .._recorded import callee, iterate, pause, recorded
from ..autograd import enable_grad
from ..errors import ArgumentError, DomainError, Error
from .hooks import Hooked

Tensor = core.Tensor
Group = dict[str, Any]


class OptimizerError(Error, ValueError, RuntimeError):
    """Parameters or state that an optimiser cannot take."""


class Optimizer(Hooked):
    """Base class: holds `param_groups` (a list of dicts: "params" and hyper-parameters) and `state` (a dict per parameter).

    Args:
        params: tensors, or (name, tensor) pairs, or dicts that hold "params" and their own hyper-parameters.
        defaults: hyper-parameters of groups that do not set them.
    """

    scalars: tuple[str, ...] = ("step",)  # names of state that is one float32 number for each parameter

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        super().__init__()
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[Group] = []
        if isinstance(params, Tensor):
            raise ArgumentError(
                f"{type(self).__name__}: params must be a list or another iterable of tensors, got one Tensor",
                hint="write [parameter], or model.parameters()",
            )
        given = list(params)
        if not given:
            raise OptimizerError(
                f"{type(self).__name__}: there are no parameters to update",
                hint="an iterator such as model.parameters() can be used up only once",
            )
        groups = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            if not isinstance(group, Mapping):
                raise ArgumentError(f"{type(self).__name__}: params mixes dicts with a {type(group).__name__}")
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Adds parameters with hyper-parameters of their own."""
        owner = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise ArgumentError(f"{owner}.add_param_group: expected a dict with a key 'params', got {group!r}")
        new = dict(group)
        params = new["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, (set, frozenset)):
            raise ArgumentError(f"{owner}: the parameters of a group must have an order, got a set", hint="use a list")
        members, names = [], []
        for member in params:
            if isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str):
                names.append(member[0])
                member = member[1]
            members.append(member)
        seen = {id(held) for other in self.param_groups for held in other["params"]}
        for number, parameter in enumerate(members):
            if not isinstance(parameter, Tensor):
                raise ArgumentError(f"{owner}: parameter {number} must be a Tensor, got {type(parameter).__name__}")
            if not parameter.is_leaf:
                raise OptimizerError(
                    f"{owner}: parameter {number} ({parameter.dtype.name}{list(parameter.shape)}) is computed, not a leaf",
                    hint="optimise the tensors it is computed from, or x.detach().requires_grad_()",
                )
            if id(parameter) in seen:
                raise OptimizerError(f"{owner}: parameter {number} ({list(parameter.shape)}) is already among the parameters")
            seen.add(id(parameter))
        unknown = [name for name in new if name not in self.defaults and name not in ("params", "param_names", "initial_lr")]
        if unknown:
            raise ArgumentError(f"{owner}: unknown hyper-parameter {unknown[0]!r}; there are {', '.join(self.defaults)}")
        new["params"] = members
        if names:
            new["param_names"] = names
        for name, value in self.defaults.items():
            new.setdefault(name, value)
        self.check_group(new)
        self.param_groups.append(new)
        core.bump_epoch()

    def check_group(self, group: Group) -> None:
        """Raises for hyper-parameters without meaning. Subclasses override it."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the parameters' gradients, or fills them with zeros."""
        for group in iterate(self.param_groups):
            if set_to_none:
                for parameter in iterate(group["params"]):
                    parameter.grad = None
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.detach()
                    parameter.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates all parameters once from their gradients; those without one are left alone.

        Args:
            closure: computes the loss anew (with `backward`) before the update; its result is returned.
        """
        closure = self._before_step(closure)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = callee(closure)()
        recording = core.set_grad_enabled(False)
        try:
            for group in iterate(self.param_groups):
                params = [parameter for parameter in iterate(group["params"]) if parameter.grad is not None]
                if params:
                    self.update(group, params, [parameter.grad for parameter in params])
        finally:
            core.set_grad_enabled(recording)
        self._after_step(closure)
        return loss

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        """Updates the given parameters of one group. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define update()")

    def state_of(self, parameter: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
        """A parameter's state; on its first step each name's initial value: zeros of its shape, or one number."""
        state = self.state.get(parameter)
        if state is None:
            state = self.state[parameter] = {}
        if all(name in state for name in names):
            return state
        with pause():
            for name in names:
                if name not in state:
                    state[name] = self.initial_state(name, parameter)
        return state

    def initial_state(self, name: str, parameter: Tensor) -> Tensor:
        """What a parameter's state is before its first step. Subclasses override it for what does not start at 0."""
        if name in self.scalars:
            return core.zeros((), core.float32)
        return core.zeros(tuple(parameter.shape), parameter.dtype)

    def group_of(self, parameter: Tensor) -> Group:
        """The group that a parameter is in."""
        return next(group for group in self.param_groups if any(held is parameter for held in group["params"]))

    def columns(self, params: list[Tensor], names: tuple[str, ...]) -> list[list[Tensor]]:
        """The states of parameters, one list for each name."""
        states = self.state
        found: list[list[Tensor]] = [[] for _ in names]
        for parameter in params:
            state = states.get(parameter)
            if state is None or len(state) < len(names):
                state = self.state_of(parameter, names)
            for column, name in zip(found, names):
                column.append(state[name])
        return found

    # State ---------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State and groups as plain dicts, parameters by number: what `save` stores."""
        self._call("state_before")
        numbers: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers.setdefault(parameter, len(numbers)) for parameter in group["params"]]
            groups.append(packed)
        state = {numbers[parameter]: dict(values) for parameter, values in self.state.items() if parameter in numbers}
        made: dict[str, Any] = self._replaced("state_after", {"state": state, "param_groups": groups})
        return made

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over hyper-parameters and state that `state_dict` gave; tensors are copied, in the parameter's dtype.

        Errors: OptimizerError if groups, their sizes or the shapes of states do not fit.
        """
        owner = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping) or "state" not in state_dict or "param_groups" not in state_dict:
            raise ArgumentError(f"{owner}: expected a dict with 'state' and 'param_groups'", hint="pass optimizer.state_dict()")
        state_dict = self._replaced("load_before", state_dict)
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise OptimizerError(f"{owner}: the state has {len(groups)} parameter groups, the optimiser {len(self.param_groups)}")
        parameters: dict[Any, Tensor] = {}
        for number, (saved, group) in enumerate(zip(groups, self.param_groups)):
            if len(saved["params"]) != len(group["params"]):
                raise OptimizerError(
                    f"{owner}: group {number} has {len(saved['params'])} parameters in the state, "
                    f"{len(group['params'])} in the optimiser"
                )
            parameters.update(zip(saved["params"], group["params"]))
        loaded: dict[Tensor, dict[str, Any]] = {}
        for key, values in state_dict["state"].items():
            parameter = parameters.get(key, parameters.get(_as_number(key)))
            if parameter is None:
                raise OptimizerError(f"{owner}: the state holds values of parameter {key!r}, which is in no group")
            loaded[parameter] = {name: self.load_value(name, key, value, parameter) for name, value in values.items()}
        for saved, group in zip(groups, self.param_groups):
            group.update({name: value for name, value in saved.items() if name != "params"})
        self.state = loaded
        core.bump_epoch()
        self._call("load_after")

    def load_value(self, name: str, key: Any, value: Any, parameter: Tensor) -> Any:
        """One value of the state of a parameter as the optimiser keeps it. Subclasses override it for other shapes."""
        return _load_value(f"{type(self).__name__}.load_state_dict", name, key, value, parameter, name in self.scalars)

    def __repr__(self) -> str:
        lines = []
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name not in ("params", "param_names")]
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"


def _as_number(key: object) -> object:
    return int(key) if isinstance(key, str) and key.isdecimal() else key


def _load_value(owner: str, name: str, key: object, value: Any, parameter: Tensor, scalar: bool) -> Any:
    if not isinstance(value, Tensor):
        return value
    if scalar:
        return value.detach().to(core.float32).clone().reshape(())
    if tuple(value.shape) != tuple(parameter.shape):
        raise OptimizerError(
            f"{owner}: {name!r} of parameter {key!r} is {list(value.shape)}, the parameter is {list(parameter.shape)}",
            hint="the optimiser must be made of the same parameters, in the same order",
        )
    dtype = parameter.dtype if value.dtype.is_floating_point else value.dtype
    return value.detach().to(dtype).clone()


def decay_of(group: Group) -> Any:
    """The group's weight decay, None where there is none."""
    weight_decay = recorded(group, "weight_decay")
    return None if weight_decay == 0 else weight_decay


def check_hints(owner: str, hints: Mapping[str, Any]) -> None:
    """Raises unless these are the ways to compute that PyTorch's optimisers offer: here there is one, all of them at once."""
    for name, value in hints.items():
        if name not in ("foreach", "fused", "capturable", "differentiable"):
            raise ArgumentError(f"{owner}: has no argument named {name}")
        if name == "differentiable" and value:
            raise ArgumentError(f"{owner}: a step is not recorded for gradients", hint="leave out differentiable=True")


def check_pairs(owner: str, **values: Any) -> None:
    """Raises for a hyper-parameter that is no pair."""
    for name, value in values.items():
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ArgumentError(f"{owner}: {name} must be two numbers, got {value!r}")


def check_betas(owner: str, betas: Any) -> None:
    """Raises unless it is two numbers from 0 up to, but without, 1."""
    check_pairs(owner, betas=betas)
    for number, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise DomainError(f"{owner}: betas[{number}] must be at least 0 and below 1, got {beta}")


def check_not_negative(owner: str, **values: Any) -> None:
    """Raises for a hyper-parameter below 0 (or not a number)."""
    for name, value in values.items():
        if not isinstance(value, (int, float, Tensor)) or isinstance(value, bool):
            raise ArgumentError(f"{owner}: {name} must be a number, got {value!r}")
        if isinstance(value, (int, float)) and not value >= 0:
            raise DomainError(f"{owner}: {name} must be at least 0, got {value}")
