"""Loading a state dict into a module: all problems are collected before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import _core as core
from ..autograd import no_grad
from ..errors import ArgumentError, Error
from .hooks import registered
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module


class StateError(Error, RuntimeError, ValueError):
    """A state dict that does not fit the module or the optimiser it is loaded into."""


class LoadResult(NamedTuple):
    """What `load_state_dict` found: the names that the state lacks, and those that the module lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"LoadResult(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def load_into(module: Module, state: Mapping[str, Any], strict: bool, assign: bool) -> LoadResult:
    """See `Module.load_state_dict`."""
    title = f"{type(module).__name__}.load_state_dict"
    if not isinstance(state, Mapping):
        raise ArgumentError(
            f"{title}: expected a dict of names and tensors, got {type(state).__name__}", hint="pass model.state_dict()"
        )
    told: tuple[list[str], list[str], list[str]] = ([], [], [])
    state = _prepared(module, state, strict, told)
    slots, extras = _slots(module), _extras(module)
    missing = [*told[0], *(name for name in (*slots, *extras) if name not in state)]
    unexpected = [*told[1], *(name for name in state if name not in slots and name not in extras)]
    later = any(registered(owner, "load_after") for owner in module.modules())  # who may forgive what is missing
    problems = [] if later else _misfits(missing, unexpected, strict)
    problems += told[2]
    for name, (_, _, current) in slots.items():
        value = state.get(name)
        if name not in state:
            continue
        if not isinstance(value, core.Tensor):
            problems.append(f"not a tensor: {name!r} is a {type(value).__name__}")
        elif tuple(value.shape) != tuple(current.shape):
            problems.append(f"size mismatch: {name!r} is {list(current.shape)} in the module, {list(value.shape)} in the state")
    _check(module, problems, missing, unexpected)
    with no_grad():
        for name, (owner, local, current) in slots.items():
            if name not in state:
                continue
            if assign:
                _assign(owner, local, current, state[name])
            else:
                current.copy_(state[name])
    for name, owner in extras.items():
        if name in state:
            owner.set_extra_state(state[name])
    result = LoadResult(missing, unexpected)
    if later:
        _tell_loaded(module, result)
        _check(module, _misfits(missing, unexpected, strict), missing, unexpected)
    return result


def _tell_loaded(module: Module, result: LoadResult) -> None:
    for child in module.children():
        _tell_loaded(child, result)
    for hook in registered(module, "load_after"):
        if hook(module, result) is not None:
            raise ArgumentError(
                f"{type(module).__name__}: a hook after loading must return None", hint="change the lists of the names in place"
            )


def _misfits(missing: list[str], unexpected: list[str], strict: bool) -> list[str]:
    found = (("missing", missing), ("unexpected", unexpected)) if strict else ()
    return [f"{what}: " + ", ".join(repr(name) for name in names) for what, names in found if names]


def _check(module: Module, problems: list[str], missing: list[str], unexpected: list[str]) -> None:
    if problems:
        raise StateError(
            f"{type(module).__name__}.load_state_dict: the state does not fit this {type(module).__name__}",
            operands=problems,
            hint=_hint(missing, unexpected),
        )


def _prepared(
    module: Module, state: Mapping[str, Any], strict: bool, told: tuple[list[str], list[str], list[str]]
) -> Mapping[str, Any]:
    """The state as the hooks before loading leave it: a copy, if there are hooks. They may add to the lists in `told`."""
    hooks = [
        (owner, path, hook)
        for path, owner in module.named_modules(remove_duplicate=False)
        for hook in registered(owner, "load_before")
    ]
    copy = dict(state) if hooks else state
    for owner, path, hook in hooks:
        hook(owner, copy, f"{path}." if path else "", {}, strict, *told)
    return copy


def collect_state(module: Module, state: dict[str, Any], prefix: str, keep_vars: bool) -> dict[str, Any]:
    """See `Module.state_dict`."""
    for hook in registered(module, "state_before"):
        hook(module, prefix, keep_vars)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            state[prefix + name] = parameter if keep_vars else parameter.detach()
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._transient:
            state[prefix + name] = buffer if keep_vars else buffer.detach()
    if _overrides(module, "get_extra_state"):
        state[f"{prefix}_extra_state"] = module.get_extra_state()
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
    for hook in registered(module, "state_after"):
        hook(module, state, prefix, {})
    return state


def _slots(module: Module) -> dict[str, tuple[Module, str, core.Tensor]]:
    """Every name of the module's state dict, with the owner, its local name and the present tensor."""
    slots: dict[str, tuple[Module, str, core.Tensor]] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        start = f"{path}." if path else ""
        for local, parameter in owner._parameters.items():
            if parameter is not None:
                slots[start + local] = (owner, local, parameter)
        for local, buffer in owner._buffers.items():
            if buffer is not None and local not in owner._transient:
                slots[start + local] = (owner, local, buffer)
    return slots


def _overrides(module: Module, method: str) -> bool:
    return bool(getattr(type(module), method).__module__ != f"{__package__}.module")


def _extras(module: Module) -> dict[str, Module]:
    """The names of what modules keep beside tensors, with the modules that take it."""
    paths = ((path, owner) for path, owner in module.named_modules(remove_duplicate=False))
    return {f"{path}." * bool(path) + "_extra_state": owner for path, owner in paths if _overrides(owner, "set_extra_state")}


def _assign(owner: Module, local: str, current: core.Tensor, value: core.Tensor) -> None:
    if isinstance(current, Parameter) and not isinstance(value, Parameter):
        value = Parameter(value, current.requires_grad)
    setattr(owner, local, value)


def _hint(missing: list[str], unexpected: list[str]) -> str | None:
    for prefix in ("module.", "model.", "_orig_mod."):
        if unexpected and all(name.startswith(prefix) for name in unexpected):
            return f"all names start with {prefix!r}: strip it from each, name.removeprefix({prefix!r})"
    if missing or unexpected:
        return "strict=False loads what matches and returns the rest"
    return None
