"""Functions that Python's library wraps around the user's: caches and context managers made of generators."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state

from ..values.numbers import plain_pinned

if TYPE_CHECKING:
    from ..outside.recorder import Recorder

_SINGLE_DISPATCH = functools.singledispatch(lambda value: value).__code__  # type: ignore[attr-defined]
_CONTEXT_MANAGER = contextlib.contextmanager(lambda: iter(())).__code__


def wrapped_by_library(recorder: Recorder, function: types.FunctionType) -> Callable[..., Any] | None:
    """The same wrapper around the converted function; None if it is none whose inside is known."""
    if function.__code__ is _CONTEXT_MANAGER:
        return contextlib.contextmanager(recorder.callee(function.__wrapped__))  # type: ignore[attr-defined]
    if function.__code__ is _SINGLE_DISPATCH and hasattr(function, "dispatch"):
        dispatch = function.dispatch
        return lambda *args, **kwargs: recorder.callee(dispatch(args[0].__class__))(*args, **kwargs)
    return None


def remembering(recorder: Recorder, function: Any) -> Callable[..., Any]:
    """A function under `functools.lru_cache`.

    What it gives for Python values is worked out now and remembered as in dynamic mode: no part of the program. Of
    tensors it is worked out in each run: they are others each time, so dynamic mode remembers nothing either.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        if any(isinstance(value, core.Tensor) for value in given):
            return recorder.callee(function.__wrapped__)(*args, **kwargs)
        plain = [plain_pinned(value) for value in args]
        named = {key: plain_pinned(value) for key, value in kwargs.items()}
        value = outside(lambda: function(*plain, **named))
        recorder.foreign(value)
        return value

    return functools.wraps(function.__wrapped__)(call)


def outside(function: Callable[[], Any]) -> Any:
    """What the function gives in dynamic mode, whatever is captured around it."""
    from duograph.ir.builder import suspended

    recorder = state.recorder
    tracing, numbers, journal = core.set_tracing(False), core.set_user_sizes(False), core.set_grad_journal(None)
    state.recorder = None
    try:
        with suspended():
            return function()
    finally:
        state.recorder = recorder
        core.set_grad_journal(journal)
        core.set_user_sizes(numbers)
        core.set_tracing(tracing)
