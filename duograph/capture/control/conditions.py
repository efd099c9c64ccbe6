"""Conditions that only each run knows: 0-d bool values, or plain bools where the capture knows."""

from __future__ import annotations

from typing import Any

from duograph import _core as core
from duograph.ir.builder import current
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import as_user, wrap


def either(a: Any, b: Any) -> Any:
    """`a or b` of conditions: values, or bools."""
    if isinstance(a, bool) or isinstance(b, bool):
        return True if a is True or b is True else b if a is False else a
    with as_user():
        return current().read(flag(a).logical_or(flag(b)))


def both(a: Any, b: Any) -> Any:
    """`a and b` of conditions."""
    if isinstance(a, bool) or isinstance(b, bool):
        return False if a is False or b is False else b if a is True else a
    with as_user():
        return current().read(flag(a).logical_and(flag(b)))


def opposite(a: Any) -> Any:
    """`not a` of a condition."""
    if isinstance(a, bool):
        return not a
    with as_user():
        return current().read(flag(a).logical_not())


def flag(condition: Value | bool | None) -> Any:
    """A condition as a plain 0-d bool tensor; None: it holds."""
    builder = current()
    if condition is None or isinstance(condition, bool):
        return wrap(builder.constant(condition is not False, core.bool))
    if condition.type.weak:
        condition = builder.emit("cast", [condition], {}, [TensorType(core.bool)])[0]
    return wrap(condition)


def choice(condition: Value, a: Any, b: Any) -> Any:
    """`a` where the condition holds, else `b`."""
    with as_user():
        return REGISTRY["where"].op(flag(condition), a, b)
