"""The argument `memory_budget` of `static`."""

from __future__ import annotations

import re
from typing import Any

from duograph.errors import ArgumentError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_TEXT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*|%)\s*")
_HINT = 'a number of bytes, or a text like "256MB", "1.5GB", "512MiB" or "30%" (of what the program needs without a budget)'


def read_budget(given: Any) -> int | float | None:
    """Bytes as an int; a share of what the program needs without a budget as a float; None for no budget."""
    if given is None:
        return None
    if isinstance(given, int) and not isinstance(given, bool):
        if given <= 0:
            raise ArgumentError(f"static: memory_budget must be more than 0 bytes, got {given}", hint=_HINT)
        return given
    if not isinstance(given, str):
        raise ArgumentError(f"static: memory_budget: expected bytes, got {given!r} ({type(given).__name__})", hint=_HINT)
    found = _TEXT.fullmatch(given)
    if found is None or (found[2] != "%" and found[2].lower() not in _UNITS):
        raise ArgumentError(f"static: memory_budget: {given!r} is no amount of memory", hint=_HINT)
    number = float(found[1])
    if found[2] == "%":
        if not 0 < number <= 100:
            raise ArgumentError(f"static: memory_budget: {given!r} is no share of the program's memory", hint=_HINT)
        return number / 100
    size = int(number * _UNITS[found[2].lower()])
    if size <= 0:
        raise ArgumentError(f"static: memory_budget: {given!r} is less than one byte", hint=_HINT)
    return size
