"""`host_callback`: a Python function that a static program calls while it runs, in order, on real values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import user_location
from duograph.errors import ArgumentError, CaptureError, DTypeError
from duograph.ir.builder import current
from duograph.ir.types import TensorType
from duograph.tensors.creation import tensor as make_tensor

from ..control.merge import type_of
from ..control.regions import Region
from ..values.tree import tensors_of

if TYPE_CHECKING:
    from .recorder import Recorder

_NUMBERS: dict[Any, Any] = {bool: core.bool, int: core.int64, float: core.float64}


class HostCallback:
    """A function under `host_callback`."""

    def __init__(self, function: Callable[..., Any], like: Any, examples: bool = False) -> None:
        self.function = function
        self.like = like
        self.examples = examples  # it looks at its arguments only, and takes many at once, along dimensions in front
        self.signature = inspect.signature(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.recorder is None:
            if state.again and self.like is None:
                return None
            if core.tracing() and getattr(current(), "only_types", False):
                return self.typical(args, kwargs)
            if self.examples and core.tracing():
                getattr(current(), "hosts", None)  # a mapped function that is not captured yet says that it has to be
            return self.function(*args, **kwargs)
        return self.captured(state.recorder, args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def typical(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Tensors of the results' types, where nothing but these is asked."""
        bound = self.signature.bind(*args, **kwargs).arguments

        def one(like: Any) -> Any:
            if like in _NUMBERS:
                return make_tensor(0, dtype=_NUMBERS[like])
            return bound[like] if isinstance(like, str) else like if isinstance(like, core.Tensor) else like(*args, **kwargs)

        return tuple(map(one, self.like)) if isinstance(self.like, tuple) else None if self.like is None else one(self.like)

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", "the callback")

    def captured(self, recorder: Recorder, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call as a step of the program that is captured."""
        bound = self.signature.bind(*args, **kwargs).arguments
        several = isinstance(self.like, tuple)
        types = (
            []
            if self.like is None
            else [self._type(recorder, x, bound, args, kwargs) for x in (self.like if several else (self.like,))]
        )
        if core.is_grad_enabled() and any(t.dtype.is_floating_point for t in types):
            moving = [t for t in tensors_of([list(args), kwargs]) if t.requires_grad]
            if moving:
                raise CaptureError(
                    f"host_callback: {self.name} gives floating-point results for tensors that take part in differentiation, "
                    "and nobody knows its gradient",
                    hint="call it in forward of a dg.autograd.Function, whose backward says it, or give it x.detach()",
                    location=user_location(),
                )
        run = _Run(self.function, self.name, types, list(kwargs), several)
        kind = "light" if self.examples else "full"
        made = recorder.hosts.call(run, [*args, *kwargs.values()], types, kind=kind, examples=self.examples)
        return None if self.like is None else tuple(made) if several else made[0]

    def _type(
        self, recorder: Recorder, like: Any, bound: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> TensorType:
        """What a result is like."""
        if like in _NUMBERS:
            return TensorType(_NUMBERS[like], (), weak=True)
        if isinstance(like, str):
            if not isinstance(bound.get(like), core.Tensor):
                raise ArgumentError(
                    f"host_callback: {self.name} gives something like its argument {like}, which is no tensor in this call",
                    hint="like= names an argument that is a tensor, or is a function of the arguments",
                )
            found = type_of(bound[like])
            assert found is not None
            return TensorType(found.dtype, found.shape)
        if isinstance(like, core.Tensor):
            return TensorType(like.dtype, tuple(like.shape))
        builder: Any = current()
        enabled = core.set_grad_enabled(False)
        try:
            with Region(builder).open():
                found = type_of(recorder.callee(like)(*args, **kwargs))
        finally:
            core.set_grad_enabled(enabled)
        if found is None:
            raise ArgumentError(f"host_callback: like= of {self.name} gives no tensor and no number")
        return found


class _Run:
    """One call at a run: the function on that run's values, and its results as the program was told."""

    def __init__(
        self, function: Callable[..., Any], name: str, types: Sequence[TensorType], keywords: list[str], several: bool
    ) -> None:
        self.function = function
        self.name = name
        self.types = types
        self.keywords = keywords
        self.several = several

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        count = len(args) - len(self.keywords)
        tensors = [x for x in args if isinstance(x, core.Tensor)]
        if len(tensors) < len(args):
            tensors = tensors_of(list(args))
        versions = [t._version for t in tensors]
        given = self.function(*args[:count], **dict(zip(self.keywords, args[count:])))
        if [t._version for t in tensors] != versions:
            raise CaptureError(
                f"host_callback: {self.name} writes into one of its arguments, which are copies in a static function",
                hint="give the new tensor back as its result",
            )
        results = given if self.several else (given,) if self.types else () if given is None else None
        if results is None:
            raise ArgumentError(
                f"host_callback: {self.name} gives {type(given).__name__}, and is declared to give nothing",
                hint='say what it is like: @dg.host_callback(like="x") for an argument x, or like=float',
            )
        if not isinstance(results, (tuple, list)) or len(results) != len(self.types):
            raise ArgumentError(f"host_callback: {self.name} is declared to give {len(self.types)} results, and gives {given!r}")
        return tuple(map(self._result, results, self.types))

    def _result(self, value: Any, type: TensorType) -> Any:
        if isinstance(value, core.Tensor) and not type.weak:
            if value.dtype is not type.dtype:
                raise DTypeError(
                    f"host_callback: {self.name} gives {value.dtype.name}, and is declared to give {type.dtype.name}",
                    hint=f"convert it: result.to(dg.{type.dtype.name})",
                )
            return value.detach().contiguous()
        if isinstance(value, core.Tensor):
            value = value.item()
        dtype: Any = type.dtype
        return make_tensor(value, dtype=dtype)


def host_callback(function: Any = None, /, *, like: Any = None) -> Any:
    """Let static functions call a Python function while they run: each time, in program order, on real values.

    Outside of static functions it is the function itself. Inside, also in branches and loops, it gets the run's own
    tensors and numbers; attributes, `.grad` and in-place writes are as the program has left them by then. What it raises is
    raised by the static function, at the user's line; what comes later in the program has not happened then.

    Args:
        function: any callable. Its tensors are copies without history: it may keep them, and must not write into them,
            nor into tensors that the static function uses.
        like: what it gives, known before it runs: None (nothing); the name of an argument whose dtype and shape the result
            has; `float`, `int` or `bool` for a number; a tensor; a function of the same arguments whose result has that dtype
            and shape; or a tuple of these.

    Shapes:   the results have the shapes that `like` says
    Dtypes:   a tensor has the dtype that `like` says; arrays and numbers are converted
    Gradient: none: call it in `forward` of a `dg.autograd.Function` and say the gradient in `backward`
    Errors:   CaptureError, with the line, where its floating-point results would need a gradient, and where it writes into
              its arguments or the function's state; DTypeError, ShapeError or ArgumentError for results unlike `like`

    >>> import duograph as dg
    >>> seen = []
    >>> @dg.host_callback
    ... def note(x):
    ...     seen.append(x.item())
    >>> @dg.static
    ... def double_until(x, limit):
    ...     while x < limit:
    ...         x = x * 2
    ...         note(x)
    ...     return x
    >>> double_until(dg.tensor(3.0), dg.tensor(20.0))
    tensor(24.)
    >>> seen
    [6.0, 12.0, 24.0]
    """
    if function is None:
        return functools.partial(host_callback, like=like)
    if not callable(function):
        raise ArgumentError(f"host_callback: expected a function, got {type(function).__name__}")
    return HostCallback(function, like)
