"""What a captured function reaches in the world outside: iterators, files, logs and the environment."""

from __future__ import annotations

import io
import os
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from duograph._stack import user_location
from duograph.errors import CaptureError

from ..values.numbers import plain_pinned
from .classes import is_user_class
from .journal import named

if TYPE_CHECKING:
    from .recorder import Recorder

_WRITING = frozenset(("write", "writelines", "flush"))
_SAID_ANEW: tuple[Any, ...] = (warnings.warn, time.sleep)


# Modules whose functions, classes and methods reach the system: all but those named.
_SYSTEM: dict[str, frozenset[str]] = {
    "posix": frozenset(("fspath", "strerror", "cpu_count", "getpid", "urandom")),
    "genericpath": frozenset(("commonprefix", "samestat")),
} | dict.fromkeys(
    (
        "subprocess", "_posixsubprocess", "socket", "_socket", "ssl", "select", "selectors", "urllib", "http", "glob", "tempfile",
        "shutil", "fileinput", "sqlite3", "mmap",
    ),
    frozenset(),
)  # fmt: skip
# The same, one by one.
_REACHING: dict[str, frozenset[str]] = {
    "os": frozenset(("walk", "fwalk", "makedirs", "removedirs", "renames", "popen", "fdopen")),
    "posixpath": frozenset(("realpath", "ismount", "islink", "lexists", "expanduser", "abspath")),
    "pathlib": frozenset(
        (
            "exists", "is_file", "is_dir", "is_symlink", "stat", "lstat", "read_text", "read_bytes", "write_text", "write_bytes",
            "open", "iterdir", "glob", "rglob", "walk", "mkdir", "rmdir", "unlink", "rename", "replace", "touch", "samefile",
            "owner", "group", "resolve", "absolute", "cwd", "home", "chmod", "symlink_to", "hardlink_to",
        )
    ),
    "numpy": frozenset(("load", "loadtxt", "genfromtxt", "fromfile", "save", "savez", "savez_compressed", "savetxt", "memmap")),
    "duograph": frozenset(("save", "load")),
}  # fmt: skip


_SETTINGS = frozenset(
    (
        "manual_seed", "manual_seed_all", "seed", "initial_seed", "set_rng_state", "get_rng_state", "set_num_threads",
        "set_default_dtype", "set_flush_denormal", "memory_stats", "empty_cache",
        "set_autocast_enabled", "set_autocast_dtype", "set_autocast_cache_enabled",
    )
)  # fmt: skip


def refuse_iterator(name: str) -> CaptureError:
    return CaptureError(
        f"static: {name or 'this'} is an iterator from outside the function: it gives something new at each call, "
        "which a static graph would freeze",
        hint="take the next item outside and pass it as an argument, or go over a list",
        location=user_location(),
    )


def is_used_up(value: Any) -> bool:
    """Whether going over it uses it up, out of a capture's sight."""
    return isinstance(value, Iterator) and not isinstance(value, io.IOBase) and not _own(value)


def _own(value: Any) -> bool:
    """An iterator of the user's class, whose `__next__` is converted."""
    step = getattr(type(value), "__next__", None)
    return isinstance(step, types.FunctionType) and is_user_class(type(value))


def outer_call(recorder: Recorder, function: Any) -> Callable[..., Any] | None:
    """What to call instead of a function that writes to, or reads from, the world outside; None if it does not."""
    if function is open:
        raise CaptureError(
            "static: open() reaches a file, which a static function would do at its capture only",
            hint="read the file outside and pass what it holds as an argument; write it outside from the result",
            location=user_location(),
        )
    holder = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    if isinstance(holder, io.IOBase):
        if name in _WRITING:
            return _again(recorder, function)
        if name.startswith(("read", "__next__", "seek", "truncate")):
            raise CaptureError(
                f"static: {name}() of a file gives something new at each call, which a static graph would freeze",
                hint="call it outside and pass the result as an argument",
                location=user_location(),
            )
    if name in _SETTINGS and str(getattr(function, "__module__", None)).startswith("duograph."):
        raise CaptureError(
            f"static: {name}() changes or reads what holds for the whole process, which a static function would do at its "
            "capture only",
            hint="call it before the static function",
            location=user_location(),
        )
    if _reaches_system(function, holder, name):
        raise CaptureError(
            f"static: {name}() reaches files or the system, which a static function would do at its capture only",
            hint="call it outside and pass what it gives as an argument, or put it into a @duograph.host_callback function",
            location=user_location(),
        )
    log = getattr(function, "__module__", None) == "logging" and isinstance(function, (types.FunctionType, types.MethodType))
    log = log and (holder is None or isinstance(holder, sys.modules["logging"].Logger)) and not name.startswith(("get", "is"))
    if log or any(function is known for known in _SAID_ANEW):
        return _again(recorder, function)
    if function is os.getenv or (holder is os.environ and name == "get"):
        return lambda key, default=None: variable(recorder, plain_pinned(key), default)
    return None


def _reaches_system(function: Any, holder: Any, name: str) -> bool:
    places = [getattr(function, "__module__", None)]
    if holder is not None and not isinstance(holder, types.ModuleType):
        places.append((holder if isinstance(holder, type) else type(holder)).__module__)
    for place in places:
        module = place.partition(".")[0] if isinstance(place, str) else ""
        if (module in _SYSTEM and name not in _SYSTEM[module]) or (module in _REACHING and name in _REACHING[module]):
            return module != "duograph" or holder is None
    return False


def _again(recorder: Recorder, function: Callable[..., Any]) -> Callable[..., None]:
    """The call is made in each run, with that run's values."""
    from .host_calls import speaks_for_itself

    def call(*args: Any, **kwargs: Any) -> None:
        values = (*args, *kwargs.values())
        kind = "light" if all(map(speaks_for_itself, values)) else "full"
        recorder.hosts.call(named(function, len(args), tuple(kwargs)), values, kind=kind)

    return call


def variable(recorder: Recorder, key: str, default: Any) -> Any:
    """An environment variable: the capture holds while it is the same."""
    value = os.environ.get(key)
    recorder.guard("call", _Variable(key, value))
    return default if value is None else value


class _Variable:
    def __init__(self, key: str, value: str | None) -> None:
        self.key, self.value = key, value

    def __call__(self) -> bool:
        return os.environ.get(self.key) == self.value
