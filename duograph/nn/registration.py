"""The methods by which a Module gets hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .hooks import HookHandle


class Hooked:
    """What can have hooks: the part of `Module` that registers them."""

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> HookHandle:
        """Calls `hook(module, args, output)` after each forward; a result that is not None replaces the output.

        Args:
            prepend: in front of the hooks already there.
            with_kwargs: the hook gets the keyword arguments too: `hook(module, args, kwargs, output)`.
            always_call: also when forward fails, with None as output.
        """
        return HookHandle.add(self, "forward", hook, prepend, with_kwargs, always_call)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Calls `hook(module, args)` before each forward; a result that is not None replaces the arguments.

        Args:
            prepend: in front of the hooks already there.
            with_kwargs: the hook is `hook(module, args, kwargs)`, and its result `(args, kwargs)` or None.
        """
        return HookHandle.add(self, "before", hook, prepend, with_kwargs)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Calls `hook(module, grad_input, grad_output)` in backward, when the gradients of the inputs are there.

        Both are tuples, `grad_input` with one entry per positional argument (None where there is no gradient). A result that
        is not None replaces `grad_input`.
        """
        return HookHandle.add(self, "backward", hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Calls `hook(module, grad_output)` in backward, before the module's own; a result replaces the gradients."""
        return HookHandle.add(self, "backward_before", hook, prepend)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Calls `hook(module, prefix, keep_vars)` before `state_dict` takes this module's members."""
        return HookHandle.add(self, "state_before", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Calls `hook(module, state_dict, prefix, local_metadata)` with the module's members in the dict, which it may change."""
        return HookHandle.add(self, "state_after", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Calls a hook before loading.

        It is `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`.
        `state_dict` is a copy that the hook may change, for names of older versions, say; what it adds to the lists counts.
        """
        return HookHandle.add(self, "load_before", hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Calls `hook(module, incompatible_keys)` after loading; with strict=True, names it takes off the lists are no error."""
        return HookHandle.add(self, "load_after", hook)
