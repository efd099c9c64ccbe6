"""Parameters: tensors that a Module owns and an optimiser updates."""

from __future__ import annotations

from .. import _core as core
from ..errors import ArgumentError, DTypeError


class Parameter(core.Tensor):
    """A tensor that becomes part of `Module.parameters()` when it is set as an attribute of a Module.

    Args:
        data: the initial value, whose memory the parameter shares. Left out: an empty tensor.
        requires_grad: whether gradients are recorded.

    >>> import duograph as dg
    >>> dg.nn.Parameter(dg.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: core.Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = core.empty((0,), core.get_default_dtype())
        if not isinstance(data, core.Tensor):
            raise ArgumentError(
                f"Parameter: data must be a Tensor, not {type(data).__name__}", hint="write Parameter(duograph.tensor(data))"
            )
        if requires_grad and not data.dtype.is_floating_point:
            raise DTypeError(
                f"Parameter: only floating-point tensors can require a gradient, data is {data.dtype.name}",
                hint="pass requires_grad=False, or convert with .float()",
            )
        parameter: Parameter = core.as_subclass(data.detach(), cls)
        parameter.requires_grad = requires_grad
        return parameter


class Buffer(core.Tensor):
    """A tensor that becomes part of `Module.buffers()` when it is set as an attribute of a Module: state, not trained.

    Args:
        data: the initial value, whose memory the buffer shares. Left out: an empty tensor.
        persistent: whether it is in `state_dict`.

    >>> import duograph as dg
    >>> layer = dg.nn.Module()
    >>> layer.mean = dg.nn.Buffer(dg.zeros(2))
    >>> [name for name, _ in layer.named_buffers()]
    ['mean']
    """

    persistent: bool

    def __new__(cls, data: core.Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = core.empty((0,), core.get_default_dtype())
        if not isinstance(data, core.Tensor):
            raise ArgumentError(f"Buffer: data must be a Tensor, not {type(data).__name__}")
        buffer: Buffer = core.as_subclass(data.detach(), cls)
        buffer.persistent = persistent
        return buffer
