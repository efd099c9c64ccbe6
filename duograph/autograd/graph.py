"""What happens to the values that gradients need, between forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import callee
from duograph.errors import ArgumentError, CaptureError, GradError

if TYPE_CHECKING:
    from duograph._core import Tensor


class saved_tensors_hooks:
    """Inside, what operators save for their gradients passes through `pack`; backward gets it back through `unpack`.

    Args:
        pack: from a tensor to any object, called when an operator saves the tensor (which shares memory with it).
        unpack: from that object to a tensor of the same shape and dtype, called each time a gradient reads it.

    The innermost pair counts. A packed value is not watched for in-place writes.

    Errors:   ArgumentError if one is no function; GradError in backward if `unpack` gives something else; CaptureError
              inside of a static function (around its call, what it saves as a whole is packed)

    >>> import duograph as dg
    >>> x = dg.tensor([1.0, 2.0], requires_grad=True)
    >>> with dg.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), dg.tensor):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]) -> None:
        for name, function in (("pack", pack), ("unpack", unpack)):
            if not callable(function):
                raise ArgumentError(f"saved_tensors_hooks: {name} must be a function, got {type(function).__name__}")
        self._hooks: Any = (pack, unpack)
        self._previous: list[Any] = []

    def __enter__(self) -> None:
        if core.tracing():
            raise CaptureError(
                "saved_tensors_hooks: a static function saves nothing while it is captured",
                hint="use it around the call; memory_budget= computes values again instead of keeping them",
            )
        before = core.saved_hooks()
        if isinstance(before, tuple) and isinstance(before[0], _Refusal):
            raise GradError(f"saved_tensors_hooks: {before[0].message}")
        self._previous.append(core.set_saved_hooks(self._hooks))

    def __exit__(self, *exc: object) -> None:
        core.set_saved_hooks(self._previous.pop())


class save_on_cpu(saved_tensors_hooks):
    """Saved values are kept in CPU memory and come back to their device for backward.

    Args:
        pin_memory: accepted for PyTorch's sake; there is no pinned memory.

    A value that is on the CPU already is kept as it is, without a copy.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: (t.device, t.to("cpu")), lambda kept: kept[1].to(kept[0]))


class _Refusal:
    """In the place of `pack`: keeps values as they are and says why nobody else may pack."""

    def __init__(self, message: str) -> None:
        self.message = message

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor


class disable_saved_tensors_hooks:
    """Inside, `saved_tensors_hooks` is a GradError with this message."""

    def __init__(self, error_message: str) -> None:
        self._hooks = (_Refusal(str(error_message)), lambda tensor: tensor)
        self._previous: list[Any] = []

    def __enter__(self) -> None:
        before = core.saved_hooks()
        if before is not None and not isinstance(before[0], _Refusal):
            raise GradError(f"disable_saved_tensors_hooks: {self._hooks[0].message}: hooks are in use here")
        self._previous.append(core.set_saved_hooks(self._hooks))

    def __exit__(self, *exc: object) -> None:
        core.set_saved_hooks(self._previous.pop())


class MultiGradHook:
    """What `register_multi_grad_hook` returns: `remove()` takes the hook away again; also a context manager."""

    def __init__(self, handles: tuple[Any, ...]) -> None:
        self._handles = handles

    def remove(self) -> None:
        """Takes the hook away; once more does nothing."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> MultiGradHook:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all") -> MultiGradHook:
    """Calls `fn` once in each backward pass with the gradients of several tensors.

    Args:
        tensors: those whose gradients are wanted.
        fn: with mode "all" called with the list of gradients when the pass has computed all it computes, None for tensors
            that it did not reach; with mode "any" called with the gradient that comes first. What it returns is not used.

    Nothing is called in a pass that reaches none of them.

    Errors:   ArgumentError for another mode or no function; GradError for a tensor that does not require grad

    >>> import duograph as dg
    >>> a, b = dg.ones(2, requires_grad=True), dg.ones(2, requires_grad=True)
    >>> handle = dg.autograd.graph.register_multi_grad_hook([a, b], lambda grads: print([g.tolist() for g in grads]))
    >>> (a * 2 + b * 3).sum().backward()
    [[2.0, 2.0], [3.0, 3.0]]
    >>> handle.remove()
    """
    if mode not in ("all", "any"):
        raise ArgumentError(f"register_multi_grad_hook: mode must be 'all' or 'any', got {mode!r}")
    if not callable(fn):
        raise ArgumentError(f"register_multi_grad_hook: fn must be a function, got {type(fn).__name__}")
    for number, tensor in enumerate(tensors):
        if not tensor.requires_grad:
            raise GradError(f"register_multi_grad_hook: tensor {number} does not require grad")
    passes: dict[int, list[Any]] = {}  # the gradients of those under way

    def seen(number: int, grad: Any) -> None:
        running = core.at_end_of_backward()
        if running not in passes:
            passes[running] = [None] * len(tensors)
            core.at_end_of_backward(lambda: ended(running))
            if mode == "any":
                callee(fn)(grad)
        passes[running][number] = grad

    def ended(running: int) -> None:
        grads = passes.pop(running)
        if mode == "all":
            callee(fn)(grads)

    return MultiGradHook(tuple(x.register_hook(partial(seen, number)) for number, x in enumerate(tensors)))
