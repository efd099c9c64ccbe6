"""The switch under the names that users of PyTorch know: `jit.trace` and `jit.script`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .capture.static import Handler, dynamic_mode, make_static, static


def trace(target: Callable[..., Any], example: Any, *, strict: bool = False) -> Any:
    """The single-path form of `static`: captured at once, for the example's shapes.

    Args:
        target: a function or Module.
        example: one argument, or a tuple of arguments.

    Errors:   CaptureError, with the line, where a tensor's value decides what Python does
    """
    handler = Handler(target, strict)
    handler.single_path = True
    function = make_static(target, handler)
    args = example if isinstance(example, tuple) else (example,)
    handler.miss(args, {})
    return function


script = compile = static

__all__ = ["compile", "dynamic_mode", "script", "static", "trace"]
