"""Decorators of `autograd.Function`'s methods that say how they behave under autocast."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from duograph import _core as core

from .._recorded import callee
from ..ops.tracing import convert
from .autocast_mode import autocast, get_autocast_dtype, is_autocast_enabled


def custom_fwd(fwd: Any = None, *, device_type: str = "cpu", cast_inputs: core.DType | None = None) -> Any:
    """For `forward`: notes the autocast around, for `custom_bwd`.

    Args:
        cast_inputs: under autocast, floating-point tensors come converted to this dtype, and nothing else is converted.

    Source: torch.amp.custom_fwd

    >>> import duograph as dg
    >>> class Square(dg.autograd.Function):
    ...     @staticmethod
    ...     @dg.amp.custom_fwd(device_type="cpu", cast_inputs=dg.float32)
    ...     def forward(ctx, x):
    ...         return x * x
    ...
    ...     @staticmethod
    ...     @dg.amp.custom_bwd(device_type="cpu")
    ...     def backward(ctx, g):
    ...         return g
    >>> with dg.autocast("cpu"):
    ...     Square.apply(dg.ones(1, dtype=dg.bfloat16)).dtype
    duograph.float32
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        enabled = is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return callee(fwd)(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            given = [_converted(x, cast_inputs) for x in args]
            return callee(fwd)(ctx, *given, **{name: _converted(x, cast_inputs) for name, x in kwargs.items()})

    return forward


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str = "cpu") -> Any:
    """For `backward`: runs it under the autocast that was around `forward`.

    Source: torch.amp.custom_bwd
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *grads: Any) -> Any:
        with autocast(device_type, dtype=ctx._dtype, enabled=ctx._fwd_used_autocast):
            return callee(bwd)(ctx, *grads)

    return backward


def _converted(value: Any, dtype: core.DType) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_converted(x, dtype) for x in value)
    floating = isinstance(value, core.Tensor) and value.dtype.kind == "f" and value.dtype is not core.float64
    return convert(value, dtype) if floating else value
