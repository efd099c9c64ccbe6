"""Special methods of the user's classes (`__add__`, `__getitem__`, `__enter__`, `__len__`, …) while a graph is captured.

Python finds them on the class, not through a name in the source, so a rewritten call cannot reach them. While a capture
runs, the classes it meets have converted ones, which are plain Python wherever no capture runs.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from ..outside.classes import is_user_class
from ..values.numbers import plain_pinned
from ..values.texts import LaterText

# Not operators on objects: what makes, ends or describes them, and attribute access, which captures see by themselves.
_LEFT_ALONE = frozenset(
    (
        "__new__", "__init__", "__del__", "__init_subclass__", "__class_getitem__", "__set_name__", "__prepare__",
        "__getattribute__", "__setattr__", "__delattr__", "__post_init__", "__call__", "__hash__", "__repr__", "__dir__",
        "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__", "__sizeof__",
        "__instancecheck__", "__subclasscheck__", "__subclasshook__",
    )
)  # fmt: skip

# Their callers ask for a plain number or a plain text.
_EXACT = frozenset((
    "__hash__", "__int__", "__float__", "__complex__", "__index__", "__sizeof__", "__length_hint__", "__repr__", "__str__",
    "__format__", "__fspath__",
))  # fmt: skip


def exact(name: str, function: Any) -> Any:
    """The special method so that it gives what its callers take."""
    if name not in _EXACT:
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return value._look() if isinstance(value, LaterText) else plain_pinned(value)

    return call


class SpecialMethods:
    """The special methods that one capture has converted."""

    def __init__(self, convert: Callable[[types.FunctionType], types.FunctionType]) -> None:
        self._convert = convert
        self._known: set[type] = set()
        self._own: list[tuple[type, str, Any]] = []

    def meet(self, cls: type) -> None:
        """Objects of this class are about to be used."""
        if cls in self._known:
            return
        for ancestor in cls.__mro__:
            if ancestor in self._known:
                continue
            self._known.add(ancestor)
            if ancestor is object or not is_user_class(ancestor):
                continue
            for name, found in list(ancestor.__dict__.items()):
                if name[:2] == "__" == name[-2:] and name not in _LEFT_ALONE and isinstance(found, types.FunctionType):
                    converted = self._convert(found)
                    if converted is not found:
                        converted = exact(name, converted)
                        self._own.append((ancestor, name, found))
                        type.__setattr__(ancestor, name, converted)

    def original(self, cls: type, name: str, found: Any) -> Any:
        """What the class has when no capture runs."""
        return next((own for owner, key, own in self._own if owner is cls and key == name), found)

    def restore(self) -> None:
        """The classes are as before."""
        for cls, name, found in self._own:
            type.__setattr__(cls, name, found)
        self._own.clear()
        self._known.clear()
