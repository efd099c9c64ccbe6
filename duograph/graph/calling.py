"""Any function of duograph, or Module, on graph tensors: the call becomes one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from duograph import _recorded

from .definition import Definition

_definitions: dict[Any, Definition] = {}


def call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], name: str | None = None) -> Any:
    """Add an operation that calls a function of duograph tensors when the graph runs; gives its outputs.

    Args:
        args, kwargs: with graph tensors anywhere in nested lists, tuples and dicts.
    """
    from .definition import Packing

    definition = _definitions.get(function)
    if definition is None:
        title = getattr(function, "__name__", None) or getattr(function, "name", None) or type(function).__name__

        def apply(args: Any, kwargs: Any) -> Any:
            return _recorded.callee(function)(*args, **kwargs)

        definition = Definition(str(title).strip("<>"), apply)
        _definitions[function] = definition
    return Packing(definition, {"args": list(args), "kwargs": kwargs}).graph_operation(name)
