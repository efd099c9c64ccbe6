"""How code that is not source-converted (the library's own) tells a capture what it reads and whom it calls.

Outside a capture every function here does the plain thing at the cost of one test.
"""

from __future__ import annotations

from _thread import _local
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core

if TYPE_CHECKING:
    from duograph.capture.outside.recorder import Recorder
    from duograph.capture.reports.compare import Watch


class _State(_local):
    recorder: Recorder | None = None
    watch: Watch | None = None  # what sees the results of operators, for `compare`
    again: bool = False  # a call is recorded anew: what only has effects has had them


state = _state = _State()


def current() -> Recorder | None:
    """The capture that runs in this thread."""
    return _state.recorder


def recorded(container: Any, key: Any) -> Any:
    """`container[key]`, read anew at each run of a static function: a number stays a number that may change."""
    recorder = _state.recorder
    if recorder is None:
        return container[key]
    return recorder.library_item(container, key)


def set_attribute(holder: Any, name: str, value: Any) -> None:
    """Sets an attribute, as each run of a static function does from then on."""
    recorder = _state.recorder
    if recorder is None:
        setattr(holder, name, value)
    else:
        recorder.set_attribute(value, holder, name)


def callee(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function to call instead of `function`: in a capture, its converted form."""
    recorder = _state.recorder
    if recorder is None:
        return function
    found: Callable[..., Any] = recorder.callee(function)
    return found


class pause:
    """Inside, operators really run also during a capture: for state that must exist before the first run."""

    __slots__ = ("_old", "_recorder")

    def __enter__(self) -> None:
        self._recorder = _state.recorder
        self._old = core.set_tracing(False)
        _state.recorder = None

    def __exit__(self, *exc: object) -> None:
        core.set_tracing(self._old)
        _state.recorder = self._recorder


def iterate(container: Any) -> Iterator[Any]:
    """Iterates over a list the user may change; a capture holds while it has the same items."""
    recorder = _state.recorder
    if recorder is not None:
        recorder.library_contents(container)
    return iter(container)


def happens(function: Callable[..., Any], args: Sequence[Any], changed: Iterable[tuple[Any, Any]]) -> bool:
    """Whether this is a capture: then each run calls the function, here in program order.

    Args:
        changed: what it changes, as (container, key): the rest of the capture must not read that, as it is read before a run.
    """
    recorder = _state.recorder
    if recorder is None:
        return False
    recorder.library_call(function, args, changed)
    return True
