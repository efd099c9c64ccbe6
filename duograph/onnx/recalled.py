"""Operators of duograph that ONNX has none for: calls of functions of the domain `duograph`, as the calls that they were.

The metadata `duograph.call` of a node say which operator was called with what; any other reader follows the function's body.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from duograph import _core as core
from duograph.ops.definition import REGISTRY, Definition

KEY = "duograph.call"


def is_recalled(name: str) -> bool:
    """Whether an operator is one that users call, by parameters that have names."""
    found = REGISTRY.get(name)
    if found is None or not found.is_ours or not (found.public or found.functional):
        return False
    return not any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(found.function).parameters.values())


def written(name: str, call: Mapping[str, Any], place: Callable[[Any], Any]) -> str | None:
    """The metadata for a call. None for what they do not hold, such as sizes that stay open.

    Args:
        place: for a tensor among the arguments: the number of the node's input that it is, or a number; LookupError for others.
    """
    if not is_recalled(name):
        return None
    try:
        return json.dumps({"operator": name, "arguments": {key: _encoded(value, place) for key, value in call.items()}})
    except LookupError:
        return None


def _encoded(value: Any, place: Callable[[Any], Any]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, core.DType):
        return {"dtype": value.name}
    if type(value) in (tuple, list):
        return [_encoded(x, place) for x in value]
    return place(value)


class Recalled:
    """A call of an operator on a node's inputs."""

    def __init__(self, definition: Definition, arguments: Mapping[str, Any]) -> None:
        self.definition = definition
        self.arguments = arguments

    @staticmethod
    def of(text: str, inputs: int) -> Recalled | None:
        """What metadata say of a node with so many inputs; None where that is no call of an operator."""
        try:
            said = json.loads(text)
            name, arguments = said["operator"], said["arguments"]
            if not is_recalled(name) or not set(arguments) <= {key for key, _, _ in REGISTRY[name].params}:
                return None
            checked = {key: _checked(value, inputs) for key, value in arguments.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return Recalled(REGISTRY[name], checked)

    def __call__(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The outputs for the inputs."""
        made = self.definition.op(**{key: _filled(value, values) for key, value in self.arguments.items()})
        return made if isinstance(made, tuple) else (made,)


class Input:
    """The place of a node's input."""

    def __init__(self, number: int) -> None:
        self.number = number


def _checked(value: Any, inputs: int) -> Any:
    if isinstance(value, list):
        return tuple([_checked(x, inputs) for x in value])
    if not isinstance(value, dict):
        return value
    ((kind, what),) = value.items()
    if kind == "dtype":
        found = getattr(core, what)
        if not isinstance(found, core.DType):
            raise ValueError(what)
        return found
    if kind != "input" or type(what) is not int or not 0 <= what < inputs:
        raise ValueError(kind)
    return Input(what)


def _filled(value: Any, values: Sequence[Any]) -> Any:
    if isinstance(value, Input):
        return values[value.number]
    return tuple([_filled(x, values) for x in value]) if isinstance(value, tuple) else value
