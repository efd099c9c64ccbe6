"""Gradient modes: whether operators are recorded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from duograph import _core as core
from duograph._recorded import callee

F = TypeVar("F", bound=Callable[..., Any])


def decorated(function: F, mode: Callable[[], AbstractContextManager[Any]]) -> F:
    """The function, run in a mode; of a generator function each stretch from one yield to the next."""
    import functools
    import inspect

    if inspect.isgeneratorfunction(function):
        return cast(F, _generator(function, mode))

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with mode():
            return callee(function)(*args, **kwargs)

    return cast(F, wrapper)


def _generator(function: Callable[..., Any], mode: Callable[[], AbstractContextManager[Any]]) -> Callable[..., Any]:
    import functools

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        inner = callee(function)(*args, **kwargs)
        try:
            with mode():
                result = next(inner)
            while True:
                try:
                    sent = yield result
                except GeneratorExit:
                    with mode():
                        inner.close()
                    raise
                except BaseException as error:
                    with mode():
                        result = inner.throw(error)
                else:
                    with mode():
                        result = inner.send(sent)
        except StopIteration as end:
            return end.value

    return wrapper


class _GradMode:
    """A context manager and decorator that sets whether operators are recorded."""

    enabled: bool

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(core.set_grad_enabled(self.enabled))

    def __exit__(self, *exc: object) -> None:
        core.set_grad_enabled(self._previous.pop())

    def __call__(self, function: F) -> F:
        enabled = self.enabled
        return decorated(function, lambda: set_grad_enabled(enabled))


class _BareGradMode(_GradMode):
    """One that decorates without parentheses, too."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        super().__init__()


class no_grad(_BareGradMode):
    """Nothing is recorded inside: `with no_grad():`, or as a decorator `@no_grad()` of functions and generator functions.

    >>> import duograph as dg
    >>> x = dg.tensor(1.0, requires_grad=True)
    >>> with dg.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    enabled = False


class inference_mode:
    """Nothing is recorded inside, `enable_grad` or not, and the tensors made there can never take part in recording.

    Args:
        mode: False switches an outer inference_mode off, and recording on.

    Errors:   GradError, outside, where the gradient would need the value of such a tensor, where it is written in place,
              or is to require grad: `x.clone()` is an ordinary tensor. A view of an ordinary tensor stays one.
              A captured function tells them apart where it is called, not within.

    >>> import duograph as dg
    >>> with dg.inference_mode():
    ...     y = dg.ones(2) * 3
    >>> y.is_inference(), (y + 1).is_inference()
    (True, False)
    """

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if not callable(mode):
            return made
        made.__init__()  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: bool = True) -> None:
        self.mode = bool(mode)
        self._previous: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._previous.append((core.set_inference_mode(self.mode), core.set_grad_enabled(not self.mode)))

    def __exit__(self, *exc: object) -> None:
        inference, grad = self._previous.pop()
        core.set_inference_mode(inference)
        core.set_grad_enabled(grad)

    def __call__(self, function: F) -> F:
        mode = self.mode
        return decorated(function, lambda: inference_mode(mode))


class enable_grad(_BareGradMode):
    """Operators are recorded inside, also within `no_grad`."""

    enabled = True


class set_grad_enabled(_GradMode):
    """Sets whether operators are recorded, at once; as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.enabled = bool(mode)
        self._before: bool | None = core.set_grad_enabled(self.enabled)

    def __enter__(self) -> None:
        before = core.set_grad_enabled(self.enabled) if self._before is None else self._before
        self._before = None
        self._previous.append(before)

    def __call__(self, function: F) -> F:
        if self._before is not None:  # used as a decorator: nothing is set outside of calls
            core.set_grad_enabled(self._before)
            self._before = None
        return super().__call__(function)


def is_inference_mode_enabled() -> bool:
    """Whether this thread is in inference mode."""
    return bool(core.is_inference_mode_enabled())


def is_grad_enabled() -> bool:
    """Whether operators are recorded in this thread."""
    return bool(core.is_grad_enabled())
