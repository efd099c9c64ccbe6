"""Functions that Python's library wraps around the user's: caches and context managers made of generators."""

from __future__ import annotations

import contextlib
import copy
import functools
import operator
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state

from ..outside.journal import CONTAINERS, is_array, own_dict
from ..outside.modules import is_module
from ..values.numbers import plain_pinned

if TYPE_CHECKING:
    from ..outside.recorder import Recorder

_SINGLE_DISPATCH = functools.singledispatch(lambda value: value).__code__  # type: ignore[attr-defined]
_CONTEXT_MANAGER = contextlib.contextmanager(lambda: iter(())).__code__
_DECORATED = contextlib.ContextDecorator()(lambda: None).__code__


class _Methods:
    both = functools.singledispatchmethod(lambda self, value: value)


_DISPATCHED_METHOD = _Methods().both.__code__


def wrapped_by_library(recorder: Recorder, function: types.FunctionType) -> Callable[..., Any] | None:
    """The same wrapper around the converted function; None if it is none whose inside is known."""
    if function is copy.copy or function is copy.deepcopy:
        return copying(recorder, function)
    if function.__code__ is _CONTEXT_MANAGER:
        return contextlib.contextmanager(recorder.callee(function.__wrapped__))  # type: ignore[attr-defined]
    if function.__code__ is _DISPATCHED_METHOD:
        return _dispatched_method(recorder, function)
    if function.__code__ is _DECORATED:
        return _inside_manager(recorder, function)
    if function.__code__ is _SINGLE_DISPATCH and hasattr(function, "dispatch"):
        dispatch = function.dispatch
        return lambda *args, **kwargs: recorder.callee(dispatch(args[0].__class__))(*args, **kwargs)
    return None


def _held_by(function: types.FunctionType) -> dict[str, Any]:
    """What a wrapper's variables of outside hold."""
    return dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in function.__closure__ or ())))


def _dispatched_method(recorder: Recorder, function: types.FunctionType) -> Callable[..., Any]:
    """A method under `functools.singledispatchmethod`, bound."""
    held = _held_by(function)
    dispatch, holder, cls = held["self"].dispatcher.dispatch, held["obj"], held["cls"]
    return lambda *args, **kwargs: recorder.callee(dispatch(args[0].__class__).__get__(holder, cls))(*args, **kwargs)


def _inside_manager(recorder: Recorder, function: types.FunctionType) -> Callable[..., Any]:
    """A function under a context manager that is a decorator."""
    held = _held_by(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        recorder.enter(held["self"])
        with held["self"]._recreate_cm():
            return recorder.callee(held["func"])(*args, **kwargs)

    return call


def of_attributes(recorder: Recorder, getter: operator.attrgetter[Any]) -> Callable[[Any], Any]:
    """`operator.attrgetter(…)` as the captured function sees it."""

    def found(holder: Any, path: str) -> Any:
        for name in path.split("."):
            holder = recorder.attribute(holder, name)
        return holder

    def get(holder: Any) -> Any:
        reduced: Any = getter.__reduce__()
        paths = reduced[1]
        values = tuple(found(holder, path) for path in paths)
        return values[0] if len(values) == 1 else values

    return get


def of_method(recorder: Recorder, caller: operator.methodcaller) -> Callable[[Any], Any]:
    """`operator.methodcaller(…)` as the captured function sees it."""
    reduced: Any = caller.__reduce__()
    kind, given = reduced[:2]
    named = kind.keywords if isinstance(kind, functools.partial) else {}
    name, *args = (*kind.args, *given) if isinstance(kind, functools.partial) else given
    for value in (*args, *named.values()):
        recorder.foreign(value)
    return lambda holder: recorder.callee(recorder.attribute(holder, name))(*args, **named)


def copying(recorder: Recorder, function: Callable[..., Any]) -> Callable[..., Any]:
    """`copy.copy` or `copy.deepcopy`, which reads all that an object holds."""

    def call(value: Any, *args: Any, **kwargs: Any) -> Any:
        _look_into(recorder, value, function is copy.deepcopy)
        return function(value, *args, **kwargs)

    return call


def _look_into(recorder: Recorder, value: Any, deep: bool) -> None:
    """The captured function may look at all that an object holds; if `deep`, also at what that holds."""
    waiting, known = [value], set()
    while waiting:
        value = waiting.pop()
        if id(value) in known or is_module(value) or isinstance(value, (core.Tensor, type, types.FunctionType, types.ModuleType)):
            continue
        known.add(id(value))
        held = value if isinstance(value, (*CONTAINERS, tuple)) else own_dict(value)
        outside = id(value) in recorder.external
        if outside and is_array(value):
            recorder.array(value)
        if outside and isinstance(held, CONTAINERS):
            recorder.contents(held, deep=False)
        if deep and held is not None:
            waiting += held.values() if isinstance(held, dict) else held


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
