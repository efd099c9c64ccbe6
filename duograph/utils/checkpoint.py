"""Recomputing instead of keeping: what a function's gradients need is computed again when backward comes to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from .. import _core as core
from .._recorded import callee
from ..autograd.graph import saved_tensors_hooks
from ..errors import ArgumentError, GradError


class _Stop(BaseException):
    """Everything that the gradients need has been computed again."""


class _Argument(NamedTuple):
    """A tensor argument until the function runs again: the tensor, or what the surrounding hooks made of it."""

    kept: Any
    unpack: Callable[[Any], Any] | None
    version: int
    requires_grad: bool


class _Region:
    """One call of a function: what it takes to run it again, and the values of the last time."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        preserve_rng: bool,
        early_stop: bool,
        context: AbstractContextManager[Any],
        compares: bool,
    ) -> None:
        self.function = function
        self.context = context
        self.compares = compares
        self.args = [_keep(a) for a in args]
        self.kwargs = {name: _keep(a) for name, a in kwargs.items()}
        self.rng_state = core.get_rng_state() if preserve_rng else None
        self.autocast = core.autocast()
        self.early_stop = early_stop
        self.saved: list[tuple[Any, tuple[int, ...]]] = []  # dtype and shape of each value that was saved
        self.values: dict[int, Any] = {}

    def pack(self, tensor: Any) -> int:
        """Forward saves a value: only its number is kept."""
        self.saved.append((tensor.dtype, tuple(tensor.shape)))
        return len(self.saved) - 1

    def unpack(self, number: int) -> Any:
        """Backward needs a value."""
        if number not in self.values:
            self.compute_again()
        return self.values.pop(number)

    def compute_again(self) -> None:
        """Runs the function and takes what it saves; the recorded graph is thrown away."""
        found: list[Any] = []

        def pack(tensor: Any) -> Any:
            number = len(found)
            if self.compares and number < len(self.saved):
                self._check(number, tensor)
            found.append(tensor)
            if self.early_stop and len(found) == len(self.saved):
                raise _Stop
            return tensor

        autocast = core.set_autocast(self.autocast)
        rng_state, grad, inference = core.get_rng_state(), core.set_grad_enabled(True), core.set_inference_mode(False)
        if self.rng_state is not None:
            core.set_rng_state(*self.rng_state)
        try:
            with self.context, saved_tensors_hooks(pack, lambda tensor: tensor):
                self.function(*map(_restore, self.args), **{name: _restore(a) for name, a in self.kwargs.items()})
        except _Stop:
            pass
        finally:
            core.set_autocast(autocast)
            core.set_inference_mode(inference)
            core.set_grad_enabled(grad)
            if self.rng_state is not None:
                core.set_rng_state(*rng_state)
        if len(found) != len(self.saved):
            raise GradError(
                f"checkpoint: {_name(self.function)} saved {len(self.saved)} values in forward, {len(found)} when it ran again",
                hint="it must do the same each time: make no difference by what changes between forward and backward",
            )
        self.values = dict(enumerate(found))

    def _check(self, number: int, tensor: Any) -> None:
        dtype, shape = self.saved[number]
        if (tensor.dtype, tuple(tensor.shape)) != (dtype, shape):
            raise GradError(
                f"checkpoint: value {number} that {_name(self.function)} saves was {dtype.name}{list(shape)} in forward and is "
                f"{tensor.dtype.name}{list(tensor.shape)} when it runs again",
                hint="it must do the same each time: make no difference by what changes between forward and backward",
            )


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__name__)


def _keep(value: Any) -> Any:
    if not isinstance(value, core.Tensor):
        return value
    hooks = core.saved_hooks()
    if hooks is None or not value.requires_grad or value.is_leaf:
        return _Argument(value, None, value._version, value.requires_grad)
    # In another checkpoint: that one computes this argument again.
    return _Argument(hooks[0](value.detach()), hooks[1], 0, True)


def _restore(value: Any) -> Any:
    if not isinstance(value, _Argument):
        return value
    if value.unpack is not None:
        return value.unpack(value.kept).detach().requires_grad_()
    if value.kept._version != value.version:
        raise GradError(
            "checkpoint: an argument was overwritten in place between forward and backward",
            hint="give it a copy: x.clone()",
        )
    return value.kept.detach().requires_grad_() if value.requires_grad else value.kept


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = False,
    preserve_rng_state: bool = True,
    context_fn: Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]] | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, of which nothing is kept for the gradients: backward runs it again.

    Args:
        use_reentrant: accepted for PyTorch's sake; there is one way, with which `grad`, nesting and parameters that are
            no arguments work.
        preserve_rng_state: random operators give the same numbers when it runs again.
        context_fn: gives two context managers, one to run the function in, one to run it again in.
        determinism_check: "default" compares dtypes and shapes of what the two runs save, "none" does not.
        debug: accepted for PyTorch's sake; errors say what differs without it.
        early_stop: the second run ends as soon as everything needed is there.

    Gradient: that of the function, at the cost of a second forward run; of every order
    Errors:   GradError in backward if the second run does something else than the first, or if an argument was written in
              place meanwhile; ArgumentError for another determinism_check

    In a static function it is the call alone: there the memory plan of the whole program decides what to compute again,
    `dg.static(f, memory_budget="1GB")`.

    >>> import duograph as dg
    >>> x = dg.tensor([1.0, 2.0], requires_grad=True)
    >>> dg.utils.checkpoint.checkpoint(lambda x: (x.exp() * x).sum(), x).backward()
    >>> x.grad
    tensor([ 5.4366, 22.1672])
    """
    if not callable(function):
        raise ArgumentError(f"checkpoint: expected a function, got {type(function).__name__}")
    if determinism_check not in ("default", "none"):
        raise ArgumentError(f"checkpoint: determinism_check must be 'default' or 'none', got {determinism_check!r}")
    first, again = (nullcontext(), nullcontext()) if context_fn is None else context_fn()
    if core.tracing() or not core.is_grad_enabled() or core.is_inference_mode_enabled():
        with first:
            return callee(function)(*args, **kwargs)
    region = _Region(function, args, kwargs, preserve_rng_state, early_stop, again, determinism_check == "default")
    with saved_tensors_hooks(region.pack, region.unpack), first:
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = False, preserve_rng_state: bool = True
) -> Any:
    """Runs functions (or a Sequential) one after the other, checkpointed in `segments` parts of equal length but the last."""
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not isinstance(segments, int) or segments < 1:
        raise ArgumentError(f"checkpoint_sequential: segments must be a positive number, got {segments!r}")

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def part(x: Any) -> Any:
            for step in steps[start:end]:
                x = callee(step)(x)
            return x

        return part

    segments = max(min(segments, len(steps)), 1)
    size = len(steps) // segments
    last = size * (segments - 1)
    for start in range(0, last, size or 1):
        input = checkpoint(run(start, start + size), input, preserve_rng_state=preserve_rng_state)
    return run(last, len(steps))(input)


__all__ = ["checkpoint", "checkpoint_sequential"]
