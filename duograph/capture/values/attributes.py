"""Attributes that an object of the user's has by itself, in its `__dict__` or in `__slots__`."""

from __future__ import annotations

import types
from typing import Any

from ..outside.journal import own_dict


def slots_of(value: Any) -> list[str]:
    """The names of the slots that an object has, set or not; none for objects that C code made."""
    cls = type(value)
    if "__slots__" not in {name for base in cls.__mro__[:-1] for name in base.__dict__}:
        return []
    members = {name: found for base in reversed(cls.__mro__) for name, found in base.__dict__.items()}
    return [name for name, found in members.items() if isinstance(found, types.MemberDescriptorType)]


def slot(value: Any, name: str) -> Any:
    """What a slot holds, past any `__getattribute__`; AttributeError if nothing."""
    return object.__getattribute__(value, name)


def own_attributes(value: Any) -> dict[str, Any]:
    """All attributes that are set on the object itself."""
    found = dict(own_dict(value) or {})
    for name in slots_of(value):
        try:
            found[name] = slot(value, name)
        except AttributeError:
            pass
    return found
