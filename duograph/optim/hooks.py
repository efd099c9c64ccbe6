"""Functions that run before and after an optimiser's step, and around its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core as core
from .._recorded import callee, iterate
from ..errors import ArgumentError

KINDS = ("step_before", "step_after", "state_before", "state_after", "load_before", "load_after")


class OptimizerHook:
    """What registering a hook returns: `remove()` takes the hook away again; also a context manager."""

    def __init__(self, table: list[OptimizerHook], function: Callable[..., Any], prepend: bool) -> None:
        if not callable(function):
            raise ArgumentError(f"a hook must be a function, got {type(function).__name__}")
        self.function = function
        self._table = table
        table.insert(0 if prepend else len(table), self)
        core.bump_epoch()

    def remove(self) -> None:
        """Takes the hook away; once more does nothing."""
        if self in self._table:
            self._table.remove(self)
            core.bump_epoch()

    def __enter__(self) -> OptimizerHook:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class Hooked:
    """The part of an optimiser that keeps and calls hooks."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[OptimizerHook]] = {kind: [] for kind in KINDS}

    def _register(self, kind: str, hook: Callable[..., Any], prepend: bool = False) -> OptimizerHook:
        return OptimizerHook(self._hooks[kind], hook, prepend)

    def _call(self, kind: str, *args: Any) -> None:
        """Calls the hooks of a kind, whatever they give."""
        for hook in tuple(iterate(self._hooks[kind])):
            callee(hook.function)(self, *args)

    def _replaced(self, kind: str, state_dict: Any) -> Any:
        """A state that each hook of a kind may replace."""
        for hook in tuple(self._hooks[kind]):
            given = hook.function(self, state_dict)
            state_dict = state_dict if given is None else given
        return state_dict

    def _before_step(self, closure: Any) -> Any:
        """The closure, or what a hook puts in its place."""
        for hook in tuple(iterate(self._hooks["step_before"])):
            given = callee(hook.function)(self, self._step_arguments(closure), {})
            if given is None:
                continue
            if not isinstance(given, tuple) or len(given) != 2:
                raise ArgumentError(
                    f"{type(self).__name__}: a hook before step must return None or (args, kwargs), got {given!r}"
                )
            closure = next((value for value in (*given[0], *given[1].values()) if value is not self), None)
        return closure

    def _after_step(self, closure: Any) -> None:
        self._call("step_after", self._step_arguments(closure), {})

    def _step_arguments(self, closure: Any) -> tuple[Any, ...]:
        return (self,) if closure is None else (self, closure)

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> OptimizerHook:
        """Calls `hook(optimizer, args, kwargs)` before each `step`; (args, kwargs) that it returns take their place.

        As in PyTorch, args begins with the optimizer; a closure comes after it.
        """
        return self._register("step_before", hook)

    def register_step_post_hook(self, hook: Callable[..., None]) -> OptimizerHook:
        """Calls `hook(optimizer, args, kwargs)` after each `step`."""
        return self._register("step_after", hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., None], prepend: bool = False) -> OptimizerHook:
        """Calls `hook(optimizer)` before `state_dict`."""
        return self._register("state_before", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> OptimizerHook:
        """Calls `hook(optimizer, state_dict)` after `state_dict`; a dict that it returns takes the result's place."""
        return self._register("state_after", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> OptimizerHook:
        """Calls `hook(optimizer, state_dict)` before `load_state_dict`; a dict that it returns is loaded instead."""
        return self._register("load_before", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None], prepend: bool = False) -> OptimizerHook:
        """Calls `hook(optimizer)` after `load_state_dict`."""
        return self._register("load_after", hook, prepend)
