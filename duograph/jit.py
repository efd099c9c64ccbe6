"""The switch under the names that users of PyTorch know: `jit.trace` and `jit.script`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _core as core
from .capture.static import Handler, dynamic_mode, make_static, static
from .errors import ArgumentError


def trace(target: Callable[..., Any], example: Any, *, strict: bool = False) -> Any:
    """The single-path form of `static`: captured at once, with example arguments, one way through the function.

    Nothing is frozen for all that: arguments of other sizes, numbers or structure, and what the function read from
    outside if it has changed, are captured anew, as by `static`. Bounds of slices and indices may be tensors.

    Args:
        target: a function, method or Module.
        example: one argument, or a tuple of arguments.
        strict: the dynamic graph's very bits.

    Errors:   CaptureError, with the line, where a tensor's value decides what Python does (`if`, `while`, `and`, `assert`, a
              loop over `range(tensor)`) and where Python's random numbers or clocks are asked for: `static` captures these;
              ArgumentError if the target is no function or Module

    >>> import duograph as dg
    >>> double = dg.jit.trace(lambda x: x * 2, dg.ones(2))
    >>> double(dg.tensor([1.0, 2.0, 3.0]))
    tensor([2., 4., 6.])
    """
    if isinstance(target, core.StaticFunction):
        target = target.__wrapped__
    if not callable(target) or isinstance(target, type):
        raise ArgumentError(f"trace: expected a function or a Module, got {target!r}", hint="for a class, give an instance")
    handler = Handler(target, strict)
    handler.single_path = True
    function = make_static(target, handler)
    args = example if isinstance(example, tuple) else (example,)
    handler.miss(args, {})
    return function


script = compile = static

__all__ = ["compile", "dynamic_mode", "script", "static", "trace"]
