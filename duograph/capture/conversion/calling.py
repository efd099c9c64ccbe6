"""User code that Python's library calls: functions it is given, and what makes objects."""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..outside.library_numbers import takes_numbers
from .user_files import is_user_file

if TYPE_CHECKING:
    from ..outside.recorder import Recorder

Convert = Callable[[types.FunctionType], types.FunctionType]
_CALL_BACK = (
    "itertools", "functools", "heapq", "_heapq", "bisect", "_bisect", "contextlib", "statistics", "re", "_operator", "operator",
)  # fmt: skip


def constructor(cls: Any, convert: Convert) -> Callable[..., Any] | None:
    """What makes an object of a class with `__new__` or `__init__` of the user's; None for others."""
    if type(cls).__call__ is not type.__call__ or issubclass(cls, (core.Tensor, core.Function)):
        return None
    new, init = cls.__new__, cls.__init__
    made_by = _written(new, convert)
    filled_by = _converted(init, convert)
    if made_by is new and filled_by is init:
        return None

    def construct(*args: Any, **kwargs: Any) -> Any:
        made: Any = object.__new__(cls) if new is object.__new__ else made_by(cls, *args, **kwargs)
        if isinstance(made, cls):
            kind = type(made)
            fill = filled_by if kind is cls else _converted(kind.__init__, convert)
            fill(made, *args, **kwargs)
        return made

    return construct


def _converted(function: Any, convert: Convert) -> Any:
    return convert(function) if isinstance(function, types.FunctionType) else function


def _written(function: Any, convert: Convert) -> Any:
    """The converted function, if it is one from a file."""
    made = isinstance(function, types.FunctionType) and function.__code__.co_filename.startswith("<")
    return function if made else _converted(function, convert)


def calls_back(function: Any) -> bool:
    """Whether it is of a part of Python's library that calls the functions it is given."""
    return getattr(function, "__module__", None) in _CALL_BACK


def converting_arguments(recorder: Recorder, function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        args = tuple(_followed(recorder, a) for a in args)
        if function is map and args and isinstance(args[0], type):
            args = (recorder.callee(args[0]), *args[1:])
        return function(*args, **{k: _followed(recorder, v) for k, v in kwargs.items()})

    return call


def _followed(recorder: Recorder, value: Any) -> Any:
    """An argument that is a function of the user's, or an object that is called."""
    kind = type(value)
    calls = kind in (types.FunctionType, types.MethodType, functools.partial, operator.attrgetter, operator.methodcaller)
    call = getattr(kind, "__call__", None)  # noqa: B004
    users = isinstance(call, types.FunctionType) and is_user_file(call.__code__.co_filename)
    return recorder.callee(value) if calls or users or takes_numbers(value) else value
