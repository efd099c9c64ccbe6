"""What a capture puts on the tape: functions that refer to the capture, whose tensors refer to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from duograph import _core as core


class Tape:
    """The functions that a capture recorded; the garbage collector does not find circles through nodes that several share."""

    def __init__(self) -> None:
        self._held: list[_Held] = []

    def record(
        self, outputs: Sequence[Any], inputs: Sequence[Any], name: str, backward: Callable[..., Any], **options: bool
    ) -> Any:
        """The outputs with their place on the tape; see `core.record_python`."""
        held = _Held(backward)
        self._held.append(held)
        return core.record_python(outputs, inputs, name, held, **options)

    def let_go(self) -> None:
        """The capture is over."""
        for held in self._held:
            del held.function
        self._held.clear()


class _Held:
    """A function until the capture is over."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *given: Sequence[Any]) -> Any:
        return self.function(*given)

    @property
    def push(self) -> Any:
        """The way of its own of what the function belongs to, from tangents to tangents."""
        return getattr(getattr(self.function, "__self__", None), "push", None)
