"""A check of a compiled operator failed: the same rules, run on the real sizes, say what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph import _core as core
from duograph.errors import InternalError, ShapeError
from duograph.ir.builder import Builder, current
from duograph.ir.types import TensorType

from .definition import TENSOR, TENSOR_LIST, VIEW, Definition
from .tracing import describe, in_place_value, trace, update_values, wrap


def raise_error(op: Any, args: Sequence[Any], message_code: int) -> None:
    """Hook of the core: a check of a compiled program failed. The rules, run on the real sizes, say what is wrong."""
    definition: Definition = op.definition
    with Builder(definition.name):
        symbolic = [_sizes_only(kind, value) for (_, kind, _), value in zip(definition.params, args)]
        if definition.base is not None:
            in_place_value(definition, symbolic)
        elif definition.writes:
            update_values(definition, symbolic)
        else:
            trace(definition, symbolic)
    operands = [describe(p[0], x) for p, x in zip(definition.params, args) if isinstance(x, core.Tensor)]
    if definition.kind == VIEW and not args[0].is_contiguous():
        raise ShapeError(
            f"{definition.name}: no view of a tensor with strides {tuple(args[0].stride())} has that shape",
            operands,
            hint="use reshape, which copies where it must",
        )
    raise InternalError(f"{definition.name}: check {message_code} failed, but its shape rule accepts the arguments", operands)


def _sizes_only(kind: int, value: Any) -> Any:
    """A traced stand-in of an argument, with its real sizes."""
    if kind == TENSOR_LIST:
        return [_sizes_only(TENSOR, x) for x in value]
    if isinstance(value, core.Tensor):
        return wrap(current().input(TensorType(value.dtype, tuple(value.shape))))
    return value
