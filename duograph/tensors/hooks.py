"""Functions that see a tensor's gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core as core
from .._recorded import callee

_register = core.Tensor.register_hook


class TensorHook:
    """What `Tensor.register_hook` returns: `remove()` takes the hook away again; also a context manager."""

    def __init__(self, tensor: core.Tensor, function: Callable[[core.Tensor], Any]) -> None:
        self._tensor: core.Tensor | None = tensor
        self._call = _Call(function)
        _register(tensor, self._call)

    def remove(self) -> None:
        """Takes the hook away; once more does nothing."""
        if self._tensor is not None:
            self._tensor._remove_hook(self._call)
            self._tensor = None

    def __enter__(self) -> TensorHook:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class _Call:
    """The function as the tape holds it: the same one registered twice is two hooks."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[core.Tensor], Any]) -> None:
        self.function = function

    def __call__(self, grad: core.Tensor) -> Any:
        return callee(self.function)(grad)


def register_hook(self: core.Tensor, hook: Callable[[core.Tensor], Any]) -> TensorHook:
    """Calls `hook` with the tensor's gradient each time one is computed; a tensor it returns takes the gradient's place.

    Returns: a handle whose `remove()` takes the hook away
    Errors:  GradError if the tensor does not require grad; ArgumentError if the hook is no function

    >>> import duograph as dg
    >>> x = dg.tensor(2.0, requires_grad=True)
    >>> handle = x.register_hook(lambda g: g * 10)
    >>> (x * 3).backward()
    >>> x.grad
    tensor(30.)
    >>> handle.remove()
    """
    if not callable(hook):
        _register(self, hook)  # says what is wrong
    return TensorHook(self, hook)
