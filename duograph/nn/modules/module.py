"""Hooks of all modules at once: for debugging and profiling. They run before a module's own; also in static functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..hooks import GlobalHookHandle, RegistrationHookHandle
from ..module import Module

__all__ = [
    "Module",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> GlobalHookHandle:
    """Calls `hook(module, args)` before every module's forward; what it returns replaces the arguments."""
    return GlobalHookHandle("before", hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> GlobalHookHandle:
    """Calls `hook(module, args, output)` after every module's forward; what it returns replaces the output.

    Args:
        with_kwargs: whether it is called as hook(module, args, kwargs, output).
        always_call: whether it is also called when forward fails.

    >>> import duograph as dg
    >>> with register_module_forward_hook(lambda module, args, out: print(type(module).__name__)):
    ...     _ = dg.nn.Sequential(dg.nn.Linear(2, 3), dg.nn.ReLU())(dg.ones(2))
    Linear
    ReLU
    Sequential
    """
    return GlobalHookHandle("forward", hook, with_kwargs, always_call)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> GlobalHookHandle:
    """Calls `hook(module, grad_output)` in backward before every module's gradients; what it returns replaces them."""
    return GlobalHookHandle("backward_before", hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> GlobalHookHandle:
    """Calls `hook(module, grad_input, grad_output)` in backward; what it returns replaces the gradients of the inputs."""
    return GlobalHookHandle("backward", hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RegistrationHookHandle:
    """Calls `hook(module, name, parameter)` whenever any module gets a parameter; what it returns takes the parameter's place."""
    return RegistrationHookHandle("parameter", hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RegistrationHookHandle:
    """Calls `hook(module, name, buffer)` whenever any module gets a buffer; what it returns takes the buffer's place."""
    return RegistrationHookHandle("buffer", hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RegistrationHookHandle:
    """Calls `hook(module, name, module)` whenever any module gets a module; what it returns takes the module's place."""
    return RegistrationHookHandle("module", hook)
