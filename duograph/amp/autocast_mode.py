"""Autocast: which operators compute in a lower dtype is said where each is defined, here is when."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from duograph import _core as core

from ..autograd.modes import decorated
from ..errors import ArgumentError, DTypeError

F = TypeVar("F", bound=Callable[..., Any])

_LOWER = (core.bfloat16, core.float16)
_ELSEWHERE = ("cuda", "mps", "xpu", "hpu", "mtia")  # PyTorch's devices, of which none is here


class autocast:
    """Inside, products of matrices and convolutions compute in a 16-bit dtype, losses and what needs range in float32.

    A context manager and a decorator. Tensors are converted as operators take them, float64 and integers never; operators
    that are in neither group take what they are given. Parameters stay as they are, and get their gradients in their own
    dtype. The operators that are converted for are those of PyTorch's lists for the CPU; each says so where it is
    defined. In-place forms, `out=`, and the gradients' own operators convert nothing.

    In a static function the conversions are part of the program: those of a parameter happen once in a run, however
    often it is used. A static function that is called under autocast is captured anew for it. The setting is the
    thread's own.

    Args:
        device_type: "cpu". With another of PyTorch's, of which none is here, nothing is converted, and a warning says so.
        dtype: bfloat16 or float16; None: `get_autocast_dtype`, which is bfloat16 unless it was set.
        enabled: False: nothing is converted, within an outer autocast, too.
        cache_enabled: keep what parameters are converted to until the outermost autocast ends, or somebody writes to
            them; None: as it is set.

    Errors:   DTypeError for another dtype, ArgumentError for another device

    Source: torch.autocast

    >>> import duograph as dg
    >>> x, w = dg.ones(2, 3), dg.ones(3, 2, requires_grad=True)
    >>> with dg.autocast("cpu", dtype=dg.bfloat16):
    ...     y = x @ w
    ...     loss = dg.nn.functional.mse_loss(y, dg.zeros(2, 2))
    >>> y.dtype, loss.dtype
    (duograph.bfloat16, duograph.float32)
    >>> loss.backward()
    >>> w.grad.dtype
    duograph.float32
    """

    def __init__(
        self, device_type: str = "cpu", dtype: core.DType | None = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        here = _is_here("autocast", device_type)
        if enabled and not here:
            warnings.warn(f"autocast: there is no {device_type} device: nothing is converted", UserWarning, stacklevel=2)
        self.device_type = device_type
        self.enabled = bool(enabled) and here
        self.dtype = core.autocast()[1] if dtype is None else dtype
        if self.enabled:
            _check_dtype("autocast", self.dtype)
        self.cache_enabled = core.autocast()[2] if cache_enabled is None else bool(cache_enabled)
        self._before: list[tuple[bool, core.DType, bool, int]] = []

    def __enter__(self) -> autocast:
        _, dtype, _, depth = core.autocast()
        dtype = self.dtype if self.enabled else dtype
        self._before.append(core.set_autocast((self.enabled, dtype, self.cache_enabled, depth + 1)))
        return self

    def __exit__(self, *exc: object) -> None:
        core.set_autocast(self._before.pop())

    def __call__(self, function: F) -> F:
        given = self.device_type, self.dtype, self.enabled, self.cache_enabled
        return decorated(function, lambda: autocast(*given))


def _is_here(name: str, device_type: Any) -> bool:
    if not isinstance(device_type, str):
        raise ArgumentError(f"{name}: device_type must be a string, not {type(device_type).__name__}")
    kind = device_type.partition(":")[0]
    if kind != "cpu" and kind not in _ELSEWHERE:
        raise ArgumentError(f"{name}: there is no device type {device_type!r}", hint='it is "cpu"')
    return kind == "cpu"


def _check_dtype(name: str, dtype: Any) -> None:
    if dtype not in _LOWER:
        given = dtype.name if isinstance(dtype, core.DType) else type(dtype).__name__
        raise DTypeError(f"{name}: the dtype must be bfloat16 or float16, got {given}", hint="enabled=False converts nothing")


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast on a device: on "cpu".

    >>> import duograph as dg
    >>> dg.amp.is_autocast_available("cpu")
    True
    """
    return _is_here("is_autocast_available", device_type)


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """Whether operators convert what they are given, in this thread.

    >>> import duograph as dg
    >>> with dg.autocast("cpu"):
    ...     dg.is_autocast_enabled("cpu")
    True
    """
    return _is_here("is_autocast_enabled", device_type) and core.autocast()[0]


def get_autocast_dtype(device_type: str = "cpu") -> core.DType:
    """The lower dtype, of the autocast around or of one without a dtype of its own.

    >>> import duograph as dg
    >>> dg.get_autocast_dtype("cpu")
    duograph.bfloat16
    """
    _is_here("get_autocast_dtype", device_type)
    return core.autocast()[1]


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switches conversions on or off in this thread, from now on. `with autocast(…)` ends by itself."""
    if _is_here("set_autocast_enabled", device_type):
        _, dtype, keeps, depth = core.autocast()
        core.set_autocast((bool(enabled), dtype, keeps, depth))


def set_autocast_dtype(device_type: str, dtype: core.DType) -> None:
    """Sets the lower dtype of this thread.

    Errors:   DTypeError unless it is bfloat16 or float16
    """
    _check_dtype("set_autocast_dtype", dtype)
    if _is_here("set_autocast_dtype", device_type):
        enabled, _, keeps, depth = core.autocast()
        core.set_autocast((enabled, dtype, keeps, depth))


def is_autocast_cache_enabled() -> bool:
    """Whether what parameters are converted to is kept until the outermost autocast ends."""
    return core.autocast()[2]


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Sets that for this thread."""
    now, dtype, _, depth = core.autocast()
    core.set_autocast((now, dtype, bool(enabled), depth))


def clear_autocast_cache() -> None:
    """Forgets what parameters were converted to."""
    state = core.autocast()
    core.set_autocast((*state[:3], 0))
    core.set_autocast(state)
