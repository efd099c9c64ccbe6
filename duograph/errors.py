"""The errors a user can meet. Each is an `Error` and the built-in a Python programmer expects.

A message reads: operator and broken rule with names and values; a line per operand; the user's own line; at most one hint.
"""

from __future__ import annotations

from _thread import _local
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ._stack import Location, user_location


class Error(Exception):
    """Base of every error that duograph raises on purpose.

    Args:
        message: the first line: the operator, the rule, the names and values.
        operands: further lines, one per operand (`"a: float32[8, 64]"`).
        hint: what to do about it.
        location: the user's line; found on the stack when left out, omitted when None.
    """

    message: str
    operands: tuple[str, ...]
    hint: str | None
    location: Location | None

    def __init__(
        self,
        message: str = "",
        operands: Iterable[str] = (),
        hint: str | None = None,
        location: Location | bool | None = True,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operands = tuple(operands)
        self.hint = hint
        if isinstance(location, bool):
            location = user_location() if location else None
        self.location = location

    def __str__(self) -> str:
        lines = [self.message]
        lines += [f"  {operand}" for operand in self.operands]
        if self.location is not None:
            lines.append(f"  at {self.location}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.operands, self.hint, self.location))


def _rebuild(cls: type[Error], message: str, operands: Sequence[str], hint: str | None, location: Location | None) -> Error:
    return cls(message, operands, hint, location if location is not None else False)


class ShapeError(Error, ValueError, RuntimeError):
    """Sizes that do not fit together."""


class DTypeError(Error, TypeError, RuntimeError):
    """An operator that is not defined for this dtype, or dtypes that do not match."""


class ArgumentError(Error, TypeError):
    """A call with a missing, unknown or wrongly typed argument."""


class DomainError(Error, ValueError, RuntimeError):
    """An argument of the right type with a value that has no meaning."""


class BoundsError(Error, IndexError):
    """An index outside its dimension."""


class DimensionError(Error, IndexError):
    """A dimension number outside the tensor's rank."""


class GradError(Error, RuntimeError):
    """Differentiation asked of something that cannot give it."""


class Refusals(_local):
    """What the capture under way in this thread has refused: also an error that the program itself catches ends it."""

    found: list[Error] | None = None

    def note(self, error: Error) -> None:
        """The capture cannot go on after this error."""
        if self.found is not None:
            self.found.append(error)

    @contextmanager
    def dealt_with(self) -> Iterator[None]:
        """What is refused inside is dealt with where it is caught."""
        count = 0 if self.found is None else len(self.found)
        try:
            yield
        finally:
            if self.found is not None:
                del self.found[count:]


refusals = Refusals()


class CaptureError(Error, RuntimeError):
    """A program that cannot be turned into a static graph as it stands."""

    def __init__(
        self,
        message: str = "",
        operands: Iterable[str] = (),
        hint: str | None = None,
        location: Location | bool | None = True,
    ) -> None:
        super().__init__(message, operands, hint, location)
        refusals.note(self)


class CaptureWarning(UserWarning):
    """A static function that captures again and again because of one thing."""


class OutOfMemoryError(Error, MemoryError):
    """More memory asked for than can be had."""


class DeviceError(Error, RuntimeError):
    """A device that is not there, or tensors on different devices."""


class GraphError(Error, ValueError, RuntimeError):
    """A define-and-run graph that is built or run in a way that has no meaning."""


class UninitializedError(GraphError):
    """A run reads a variable that has no value yet."""


class FileError(Error, ValueError):
    """A file that cannot be read: damaged, truncated, or of another kind."""


class DivisionError(Error, ZeroDivisionError):
    """An integer division by zero."""


class NumberError(Error, OverflowError):
    """A Python number that does not fit the dtype it is to become, or a power of numbers beyond the largest float."""


class InternalError(Error, RuntimeError):
    """A fault of duograph's own. Please report it."""

    def __init__(
        self,
        message: str = "",
        operands: Iterable[str] = (),
        hint: str | None = "this is a fault of duograph, not of your program: please report it with the lines above",
        location: Location | bool | None = True,
    ) -> None:
        super().__init__(message, operands, hint, location)
