"""Finding the user's own line: the innermost frame outside this package, and its source text."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

PACKAGE_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Written as users write: a capture follows these as it does their code.
FOLLOWED = (
    f"{PACKAGE_FOLDER}models{os.sep}",
    f"{PACKAGE_FOLDER}amp{os.sep}grad_scaler.py",
    f"{PACKAGE_FOLDER}graph{os.sep}followed.py",
    f"{PACKAGE_FOLDER}onnx{os.sep}followed.py",
)
_FOLLOWED_MODULES = ("duograph.models.", "duograph.amp.grad_scaler", "duograph.graph.followed", "duograph.onnx.followed")


def is_followed(module: str) -> bool:
    """Whether what a module defines is written as users write."""
    return module.startswith(_FOLLOWED_MODULES)


class Location(NamedTuple):
    """One line of the user's program."""

    file: str
    line: int
    function: str

    @property
    def text(self) -> str:
        """The source text of the line, stripped; empty if the source is not there."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        if self.function and self.function != "<module>":
            where += f" in {self.function}"
        return f"{where}:    {self.text}" if self.text else where


def is_internal(file: str) -> bool:
    """Whether a file belongs to this package (or is code that the package generated)."""
    return file.startswith((PACKAGE_FOLDER, "<duograph"))


def user_frame(frame: FrameType | None = None) -> FrameType | None:
    """The innermost frame at or above `frame` (default: the caller's) whose code lies outside the package."""
    current = frame if frame is not None else sys._getframe(1)
    while current is not None:
        file = current.f_code.co_filename
        if not is_internal(file) and not file.startswith("<frozen"):
            return current
        current = current.f_back  # type: ignore[assignment]
    return None


def user_location(frame: FrameType | None = None) -> Location | None:
    """Where the user's code called into the package; None when no frame of theirs is on the stack."""
    found = user_frame(frame if frame is not None else sys._getframe(1))
    return None if found is None else frame_location(found)


def frame_location(frame: FrameType) -> Location:
    """The location of a frame's current line."""
    return Location(frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname)


def code_location(code: CodeType, line: int) -> Location:
    """The location that a tape mark stands for: a code object and a line in it."""
    return Location(code.co_filename, line, code.co_qualname)


_CALLING = "def call(function, args, kwargs): return function(*args, **kwargs)"
_callers: dict[tuple[str, int, str], Callable[..., Any]] = {}


def caller_at(file: str, line: int, function: str) -> Callable[..., Any]:
    """Calls a function in a frame that is a line of the user's: errors and captured programs name it."""
    made = _callers.get((file, line, function))
    if made is None:
        module = compile(_CALLING, file, "exec")
        code = next(c for c in module.co_consts if isinstance(c, CodeType))
        named = code.replace(co_firstlineno=line, co_name=function, co_qualname=function)
        made = _callers[file, line, function] = FunctionType(named, {"__builtins__": __builtins__})
    return made
