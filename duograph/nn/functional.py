"""The operators of networks as functions, under the names and argument orders that PyTorch users know.

Those whose blocks say `functional=True` are here; the activations among them take `inplace`, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _core as core
from ..ops.arguments import checked
from ..ops.definition import REGISTRY, Definition
from ..ops.elementwise.activations import log_softmax_of, softmax_of

if TYPE_CHECKING:
    from ..ops import *

Tensor = core.Tensor


def __getattr__(name: str) -> Any:
    definition = REGISTRY.get(name)
    if definition is None or not definition.functional:
        definition = _operators().get(name)
    if definition is None:
        raise AttributeError(f"module 'duograph.nn.functional' has no attribute {name!r}")
    found = globals()[name] = _function(definition)
    return found


def __dir__() -> list[str]:
    return sorted({"softmax", "log_softmax", "rrelu_", *_operators()})


def _operators() -> dict[str, Definition]:
    """The operators that belong here by name and alias."""
    return {name: row for row in REGISTRY.values() if row.functional for name in (row.name, *row.aliases)}


def _function(definition: Definition) -> Any:
    """The operator, with an argument `inplace` if it has an in-place form."""
    plain = definition.exported
    if definition.base is not None or not definition.inplace:
        return plain
    written = REGISTRY[definition.inplace].exported
    count = len(definition.params)

    def call(*args: Any, inplace: bool = False, **keywords: Any) -> Any:
        if len(args) > count:
            *args, inplace = args  # type: ignore[assignment]
        return (written if inplace else plain)(*args, **keywords)

    call.__name__ = call.__qualname__ = definition.name
    call.__doc__ = definition.function.__doc__
    return call


@checked  # type: ignore[no-redef]
def softmax(input: Tensor, dim: int | None = None, dtype: core.DType | None = None) -> Tensor:
    """exp(input) scaled to sum to 1 along `dim`; left out, it is dimension 0 of 0, 1 or 3 dimensions and else 1.

    >>> import duograph as dg
    >>> softmax(dg.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return softmax_of(input, _softmax_dim(input, dim), dtype)


@checked  # type: ignore[no-redef]
def log_softmax(input: Tensor, dim: int | None = None, dtype: core.DType | None = None) -> Tensor:
    """The logarithm of `softmax`, computed without overflow.

    >>> import duograph as dg
    >>> log_softmax(dg.tensor([0.0, 0.0]), dim=0)
    tensor([-0.6931, -0.6931])
    """
    return log_softmax_of(input, _softmax_dim(input, dim), dtype)


def _softmax_dim(input: Tensor, dim: int | None) -> int:
    if dim is not None:
        return dim
    return 0 if input.dim() in (0, 1, 3) else 1


@checked
def rrelu_(input: Tensor, lower: float = 0.125, upper: float = 0.3333333333333333, training: bool = False) -> Tensor:
    """`rrelu` written into `input`, which it returns.

    >>> import duograph as dg
    >>> rrelu_(dg.tensor([-4.0, 2.0]), 0.25, 0.25)
    tensor([-1.,  2.])
    """
    written: Tensor = REGISTRY["rrelu"].exported(input, lower, upper, training, True)
    return written
