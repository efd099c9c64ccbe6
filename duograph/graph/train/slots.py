"""What an optimizer keeps for a variable: variables of the same shape, named behind it."""

from __future__ import annotations

from typing import Any

import duograph as dg

from ..definition import Operand, operation
from ..elements import Tensor
from ..variables import Variable, make_variable


@operation("Fill", differentiable=False)
def _filled(size: Any, value: Any, dtype: Any, name: str | None = None) -> Any:
    return dg.full(size, value, dtype=dtype)


@operation("FillLike", differentiable=False)
def _filled_like(tensor: Operand, value: Any, name: str | None = None) -> Any:
    return dg.full_like(tensor, value)


def initial_of(primary: Tensor, value: Any) -> Any:
    """A function that gives a number in the shape and dtype of a tensor, or a tensor as it is."""
    sizes = primary.type.sizes
    if isinstance(value, Tensor):
        return value
    if sizes is None or None in sizes:
        source = primary.initialized_value() if isinstance(primary, Variable) else primary
        return lambda: _filled_like(source, float(value))
    return lambda: _filled(list(sizes), float(value), primary.dtype)


def make_slot(primary: Tensor, value: Any, name: str, scalar: bool = False) -> Variable:
    """The variable "primary/name", with a tensor or a number as its initial value; `scalar`: not in the shape of `primary`."""
    graph = primary.graph
    initial = value if scalar else initial_of(primary, value)
    with graph.as_default(), graph.name_scope(None), graph.control_dependencies(None):
        return make_variable(initial, False, name=f"{primary.node.name}/{name}", dtype=primary.dtype)
