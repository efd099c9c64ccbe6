"""The code of classes that a capture has run: methods, properties and the like stay what they were."""

from __future__ import annotations

from typing import Any


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


def _code_of(cls: type) -> dict[str, Any]:
    return {name: found for name, found in cls.__dict__.items() if is_code(found)}
