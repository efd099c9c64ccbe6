"""Which part of a network a captured operation belongs to: paths of Modules, for files."""

from __future__ import annotations

from _thread import _local
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from duograph.ir.builder import scoped

if TYPE_CHECKING:
    from .module import Module


class _State(_local):
    stack: list[tuple[Module, str]] | None = None  # the Modules that are being called, with their paths; None: nobody asks


STATE = _State()


@contextmanager
def module_scopes() -> Iterator[None]:
    """Captures inside give each node the path of the Module that made it as its scope; the outermost has the empty path."""
    outer, STATE.stack = STATE.stack, []
    try:
        yield
    finally:
        STATE.stack = outer


def called(module: Module, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A Module's forward; in its scope, if somebody asks."""
    stack = STATE.stack
    if stack is None:
        return function(*args, **kwargs)
    path = _path(module, *stack[-1]) if stack else ""
    stack.append((module, path))
    try:
        with scoped(path):
            return function(*args, **kwargs)
    finally:
        stack.pop()


def _path(module: Module, outer: Module, path: str) -> str:
    """The path of a Module that another calls; one that is no part of it has its class's name."""
    name = next((name for name, part in outer.named_modules() if part is module), type(module).__name__)
    return f"{path}.{name}" if path and name else path or name
