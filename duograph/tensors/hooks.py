"""Functions that see gradients: of tensors, of leaves when `.grad` is up to date, of the tape's nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core as core
from .._recorded import callee
from ..errors import ArgumentError, GradError

_register = core.Tensor.register_hook


class TensorHook:
    """What registering a hook returns: `remove()` takes the hook away again; also a context manager."""

    def __init__(self, owner: Any, call: Any) -> None:
        self._owner = owner
        self._call = call

    def remove(self) -> None:
        """Takes the hook away; once more does nothing."""
        if self._owner is not None:
            self._owner._remove_hook(self._call)
            self._owner = None

    def __enter__(self) -> TensorHook:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class _Call:
    """The function as the tape holds it: the same one registered twice is two hooks."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *given: Any) -> Any:
        return callee(self.function)(*given)


class _Accumulated(_Call):
    """One whose result would mean nothing."""

    __slots__ = ()

    def __call__(self, *given: Any) -> None:
        if super().__call__(*given) is not None:
            raise GradError("register_post_accumulate_grad_hook: the hook must return None", hint="write to .grad instead")


def register_hook(self: core.Tensor, hook: Callable[[core.Tensor], Any]) -> TensorHook:
    """Calls `hook` with the tensor's gradient each time one is computed; a tensor it returns takes the gradient's place.

    Several hooks run in the order in which they were registered, each with what the one before gave. The hooks of a leaf
    run as soon as its whole gradient is there. A hook sees the tensor as it is now: after an in-place write, the gradient
    of what was written is another's.

    Returns: a handle whose `remove()` takes the hook away
    Errors:  GradError if the tensor does not require grad, or, in backward, if the hook gives something of another kind;
             ArgumentError if the hook is no function

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
    call = _Call(hook)
    node = _register(self, call)
    return TensorHook(self if node is None else node, call)


def register_post_accumulate_grad_hook(self: core.Tensor, hook: Callable[[core.Tensor], None]) -> TensorHook:
    """Calls `hook` with this leaf each time a gradient has been added to its `.grad`, as soon as that is so.

    An optimizer's step there, followed by `p.grad = None`, never has all gradients in memory at once. `grad` calls no such
    hook, since it adds nothing to `.grad`.

    Returns: a handle whose `remove()` takes the hook away
    Errors:  GradError if the tensor is no leaf or does not require grad, or, in backward, if the hook returns something;
             ArgumentError if the hook is no function

    >>> import duograph as dg
    >>> p = dg.tensor([1.0, 2.0], requires_grad=True)
    >>> def step(p):
    ...     with dg.no_grad():
    ...         p -= 0.5 * p.grad
    ...     p.grad = None
    >>> handle = p.register_post_accumulate_grad_hook(step)
    >>> (p * 2).sum().backward()
    >>> p
    tensor([0., 1.], requires_grad=True)
    """
    name = "register_post_accumulate_grad_hook"
    if not callable(hook):
        raise ArgumentError(f"{name}: expected a function")
    if not self.requires_grad:
        raise GradError(f"{name}: this tensor does not require grad")
    if not self.is_leaf:
        raise GradError(f"{name}: only a leaf has a .grad that gradients are added to", hint="use register_hook")
    call = _Accumulated(hook)
    self._register_accumulated_hook(call)
    return TensorHook(self, call)


def _after(self: core.Node, hook: Callable[[tuple[Any, ...], tuple[Any, ...]], Any]) -> TensorHook:
    """Calls `hook(gradients of the inputs, gradients of the outputs)` after the node has run; a tuple replaces the former."""
    call = _Call(hook)
    self._add_hook_after(call)
    return TensorHook(self, call)


def _before(self: core.Node, hook: Callable[[tuple[Any, ...]], Any]) -> TensorHook:
    """Calls `hook(gradients of the outputs)` before the node runs; a tuple replaces them."""
    call = _Call(hook)
    self._add_hook_before(call)
    return TensorHook(self, call)


core.Node.register_hook = _after  # type: ignore[method-assign]
core.Node.register_prehook = _before  # type: ignore[method-assign]
