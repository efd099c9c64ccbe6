"""Classes whose objects a capture uses: which are the user's, and that methods, properties and the like stay what they were."""

from __future__ import annotations

import types
from typing import Any

from duograph._stack import is_followed

_HEAP_TYPE = 1 << 9  # made by a class statement
_LIBRARIES = ("duograph", "builtins", "typing", "enum", "numpy", "collections")


class ClassWatch:
    """Whether a class, with those it inherits from, has the code that a capture saw. Called where the class was changed."""

    def __init__(self, cls: type, original: Any) -> None:
        """`original`: gives what a class has for a name when no capture runs."""
        self.cls = cls
        self.mro = cls.__mro__
        self.code = {
            ancestor: {name: original(ancestor, name, found) for name, found in _code_of(ancestor).items()}
            for ancestor in self.mro[:-1]
        }

    def __call__(self) -> bool:
        return self.difference() is None

    def difference(self) -> str | None:
        """The first name with other code than before."""
        if self.cls.__mro__ != self.mro:
            return "__bases__"
        for ancestor, before in self.code.items():
            now = _code_of(ancestor)
            if now != before:
                return next(name for name in (*now, *before) if now.get(name) is not before.get(name))
        return None


def is_code(found: Any) -> bool:
    """Whether what a class has for a name is code."""
    return hasattr(type(found), "__get__")


def is_user_class(cls: type) -> bool:
    """Whether methods of the class may be the user's."""
    if cls.__module__ == "builtins":  # also that of a class which `exec` made in a namespace without a name
        return bool(cls.__flags__ & _HEAP_TYPE)
    return cls.__module__.partition(".")[0] not in _LIBRARIES or is_followed(cls.__module__)


def is_descriptor(found: Any) -> bool:
    """Whether what a class has for a name is an object of the user's, whose own methods say what an attribute is."""
    return isinstance(getattr(type(found), "__get__", None), types.FunctionType) and is_user_class(type(found))


def comes_first(found: Any) -> bool:
    """Whether what a class has for a name, such as a property, comes before an instance's own attribute of that name."""
    return hasattr(type(found), "__set__")


def _code_of(cls: type) -> dict[str, Any]:
    return {name: found for name, found in cls.__dict__.items() if is_code(found)}
