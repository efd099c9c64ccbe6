"""Loading a state dict into a module: all problems are collected before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import _core as core
from ..autograd import no_grad
from ..errors import ArgumentError, Error
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
    slots = _slots(module)
    missing = [name for name in slots if name not in state]
    unexpected = [name for name in state if name not in slots]
    problems: list[str] = []
    if strict:
        if missing:
            problems.append("missing: " + ", ".join(repr(name) for name in missing))
        if unexpected:
            problems.append("unexpected: " + ", ".join(repr(name) for name in unexpected))
    for name, (_, _, current) in slots.items():
        value = state.get(name)
        if name not in state:
            continue
        if not isinstance(value, core.Tensor):
            problems.append(f"not a tensor: {name!r} is a {type(value).__name__}")
        elif tuple(value.shape) != tuple(current.shape):
            problems.append(f"size mismatch: {name!r} is {list(current.shape)} in the module, {list(value.shape)} in the state")
    if problems:
        raise StateError(
            f"{title}: the state does not fit this {type(module).__name__}", operands=problems, hint=_hint(missing, unexpected)
        )
    with no_grad():
        for name, (owner, local, current) in slots.items():
            if name not in state:
                continue
            if assign:
                _assign(owner, local, current, state[name])
            else:
                current.copy_(state[name])
    return LoadResult(missing, unexpected)


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
