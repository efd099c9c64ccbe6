"""Functions that give something new at each call: a static graph would freeze their first result, so they are refused."""

from __future__ import annotations

import random
from typing import Any

from duograph.errors import CaptureError

_INVENTING = {"random", "time", "secrets", "uuid", "_random"}  # modules whose functions give something new at each call
_HARMLESS = {"sleep", "seed"}


def refuse_invention(function: Any) -> None:
    """Functions of modules that draw numbers, tell the time or ask the user."""
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__name__", "?")
    if (module in _INVENTING or module.startswith("numpy.random")) and name not in _HARMLESS:
        raise invention(f"{module}.{name}")
    if module in ("posix", "os") and name == "urandom":
        raise invention("os.urandom")
    if module == "builtins" and name == "input" and function is input:
        raise invention("input")


def refuse_generator(function: Any) -> None:
    """Methods of random generators, of Python and of NumPy."""
    holder = getattr(function, "__self__", None)
    if isinstance(holder, random.Random) or type(holder).__module__.startswith("numpy.random"):
        name = getattr(function, "__name__", "?")
        if name not in _HARMLESS:
            raise invention(f"random.{name}")


def invention(name: str) -> CaptureError:
    """The error about a call of `name`."""
    return CaptureError(
        f"static: {name}() gives something new at each call, which a static graph would freeze at its first value",
        hint="call it outside and pass the result as an argument (a number, or a tensor)",
    )
