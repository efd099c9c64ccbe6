"""Operators of duograph in a file, as the calls that they were."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duograph as dg
from duograph import _core as core
from duograph.nn import functional

from ..recalled import Input
from ..structure import Node
from .layout import Group, Layout, literal
from .values import Value

if TYPE_CHECKING:
    from .bodies import Scope

_SPACES = (("dg", dg), ("F", functional))


def expression(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    """The call; None for a node that is none, or of an operator that has no public name."""
    call = node.recalled
    if call is None:
        return None
    name = _public(call.definition)
    if name is None:
        return None
    parameters = inspect.signature(call.definition.function).parameters
    items: list[Layout] = []
    plain = True  # so far all arguments stand in their places
    for key, parameter in parameters.items():
        if key not in call.arguments or _is_default(call.arguments[key], parameter.default):
            plain = False
            continue
        made = _written(scope, call.arguments[key], inputs)
        if made is None:
            return None
        if plain and parameter.kind is not parameter.KEYWORD_ONLY:
            items.append(made)
        elif isinstance(made, Group):
            items.append(Group(f"{key}={made.start}", made.items, made.end, made.literal))
        else:
            items.append(f"{key}={made}")
    return Group(f"{name}(", items)


def _is_default(value: Any, default: Any) -> bool:
    return not isinstance(value, Input) and type(value) is type(default) and value == default


def _public(definition: Any) -> str | None:
    """What users call an operator."""
    for prefix, space in _SPACES:
        found = getattr(space, definition.name, None)
        if isinstance(found, core.Op) and found.definition is definition:
            return f"{prefix}.{definition.name}"
    return None


def _written(scope: Scope, value: Any, inputs: Sequence[Value | None]) -> Layout | None:
    """An argument; None for what has no text."""
    if isinstance(value, Input):
        found = inputs[value.number]
        return None if found is None else scope.tensor(found)
    if isinstance(value, core.DType):
        return f"dg.{value.name}"
    if isinstance(value, tuple):
        parts = [_written(scope, x, inputs) for x in value]
        return None if None in parts else Group("(", [x for x in parts if x is not None], literal=True)
    return literal(value)
