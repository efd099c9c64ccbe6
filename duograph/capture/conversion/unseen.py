"""The user's functions that no converted code calls, but Python's library or the interpreter: followed as others are.

`dataclasses.replace` calls `__post_init__`, `class` calls `__init_subclass__`, a dict calls `__hash__`, the core calls hooks.
While a capture runs, the core asks here about each function that begins in its thread.
"""

from __future__ import annotations

import inspect
import os
import types
from typing import Any

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import PACKAGE_FOLDER, code_location
from duograph.errors import CaptureError

from .convert import callee, is_own
from .special import exact
from .user_files import is_user_file

# These call no functions of the user's; and what a module does when it is imported, it does once.
_CALL_NONE = ("<frozen importlib", *(f"{PACKAGE_FOLDER}{part}{os.sep}" for part in ("ops", "ir", "passes")))


def follow(function: types.FunctionType, resumed: bool) -> Any:
    """What the core is to do about a function that begins, or a generator that goes on: see `core.follow_calls`."""
    code = function.__code__
    if is_own(code) or not _is_users(function):
        return code.co_filename.startswith(_CALL_NONE) and not code.co_flags & inspect.CO_GENERATOR
    recorder = state.recorder
    if recorder is None or code.co_name == "__del__":
        return None
    if not code.co_flags & inspect.CO_OPTIMIZED:  # the body of a module or class
        return True
    if resumed:
        raise CaptureError(
            f"static: the generator {code.co_name} was begun before the call, and goes on in it: what it gives would be frozen",
            hint="begin it in the static function, or pass list(…) of it as an argument",
            location=code_location(code, code.co_firstlineno),
        )
    made = exact(code.co_name, callee(recorder, function))
    return None if made is function else made  # else the core would call it, and ask again


def _is_users(function: types.FunctionType) -> bool:
    """Whether a function is the user's. Python's library makes some from text, and this package calls with user's lines."""
    around = function.__globals__
    if not is_user_file(function.__code__.co_filename) or len(around) <= 1:
        return False
    if not function.__code__.co_filename.startswith("<"):
        return True
    file = around.get("__file__")
    return not str(around.get("__name__")).startswith("namedtuple_") and (not isinstance(file, str) or is_user_file(file))


class following:
    """Inside, the user's functions of this thread are followed, whoever calls them."""

    def __enter__(self) -> None:
        self._before = core.follow_calls(follow)

    def __exit__(self, *error: object) -> None:
        core.follow_calls(self._before)
