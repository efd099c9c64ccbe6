"""Forward mode by dual tensors, under `torch.autograd.forward_ad`'s names: tensors that carry a tangent.

What is computed from them inside of the level is recorded; a result's tangent is computed along the record when it is asked for.
`duograph.func.jvp` does the same for a function.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from .. import _core as core
from .._forks import import_late
from ..errors import ArgumentError, GradError

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

Tensor = core.Tensor


class UnpackedDualTensor(NamedTuple):
    """A tensor without its tangent, and the tangent: None for one that no dual tensor had a part in."""

    primal: Any
    tangent: Any


class _Level(threading.local):
    """The dual tensors of this thread's open level."""

    pairs: list[tuple[Any, Any]] | None = None
    recording: bool = False


_level = _Level()


def enter_dual_level() -> int:
    """Opens a level and gives its number, 0. Errors: GradError if one is open."""
    if _level.pairs is not None:
        raise GradError("forward_ad: a dual level is open already", hint="nest duograph.func.jvp instead")
    _level.pairs = []
    _level.recording = core.set_grad_enabled(True)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Closes the level: its dual tensors are plain ones. Errors: GradError if none is open."""
    if _level.pairs is None:
        raise GradError("forward_ad: there is no open dual level to exit")
    _level.pairs = None
    core.set_grad_enabled(_level.recording)


class dual_level:
    """A level for dual tensors, in which operators are recorded: `with dual_level():`.

    >>> import duograph as dg
    >>> import duograph.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(dg.tensor([1.0, 2.0]), dg.tensor([1.0, 10.0]))
    ...     print(fwAD.unpack_dual(x * x).tangent)
    tensor([ 2., 40.])
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """The tensor with a tangent. Errors: GradError outside of a level; ArgumentError unless both are floats of one shape."""
    if _level.pairs is None:
        raise GradError("make_dual: there is no open dual level", hint="with duograph.autograd.forward_ad.dual_level():")
    for name, x in (("tensor", tensor), ("tangent", tangent)):
        if not isinstance(x, Tensor) or not x.dtype.is_floating_point:
            raise ArgumentError(f"make_dual: {name} must be a Tensor of floats, not {_described(x)}")
    if tuple(tensor.shape) != tuple(tangent.shape) or tensor.dtype is not tangent.dtype:
        raise ArgumentError(
            f"make_dual: the tangent must be {core.describe(tensor)}, as the tensor is, not {_described(tangent)}"
        )
    made: Tensor = import_late("duograph.func.transforms").variable(tensor)
    _level.pairs.append((made, tangent))
    return made


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """A tensor as (primal, tangent)."""
    if not isinstance(tensor, Tensor):
        raise ArgumentError(f"unpack_dual: expected a Tensor, got {_described(tensor)}")
    if not _level.pairs or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    variables, tangents = zip(*_level.pairs)
    transforms = import_late("duograph.func.transforms")
    outside = transforms.matters_outside([tensor], variables) or any(t.requires_grad for t in tangents)
    (found,) = import_late("duograph.func.rows").tangents_of([tensor], variables, tangents, outside)
    return UnpackedDualTensor(tensor if outside else tensor.detach(), found)


def _described(x: Any) -> str:
    return core.describe(x) if isinstance(x, Tensor) else type(x).__name__
