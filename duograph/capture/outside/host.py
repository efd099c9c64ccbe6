"""Numbers that come from Python anew at each run of a static function: its random generators and its clocks.

The call is made in program order: before the program starts as long as nothing else calls into Python before it, else as
a step of the program. What it gives is a value of the program, so it may steer loops and branches.
"""

from __future__ import annotations

import random
import time
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import current
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from ..values.numbers import is_live

if TYPE_CHECKING:
    from .recorder import Recorder

_FLOATS = frozenset(
    [
        "random",
        "uniform",
        "triangular",
        "gauss",
        "normalvariate",
        "lognormvariate",
        "expovariate",
        "betavariate",
        "gammavariate",
        "vonmisesvariate",
        "paretovariate",
        "weibullvariate",
    ]
)
_INTEGERS = frozenset(["randint", "randrange", "getrandbits"])
_NUMPY_FLOATS = frozenset(
    ["rand", "random", "random_sample", "uniform", "normal", "standard_normal", "exponential", "beta", "gamma"]
)
_NUMPY_INTEGERS = frozenset(["randint", "integers", "binomial", "poisson", "geometric"])
_SIZES_FIRST = frozenset({"rand", "random", "random_sample", "standard_normal"})
_CLOCKS: dict[Any, type] = {time.time: float, time.perf_counter: float, time.monotonic: float, time.process_time: float}
_CLOCKS |= {time.time_ns: int, time.perf_counter_ns: int, time.monotonic_ns: int, time.process_time_ns: int}


def host_number(recorder: Recorder, function: Any) -> Callable[..., Any] | None:
    """What to call instead of a function that gives a new number at each call; None if it is none."""
    if recorder.single_path:
        return None
    kind = _kind(function)
    if kind is None:
        return None

    def draw(*args: Any, **kwargs: Any) -> Any:
        return _input(recorder, function, kind, args, kwargs)

    return draw


def _kind(function: Any) -> type | None:
    if isinstance(function, types.BuiltinFunctionType) and isinstance(function.__self__, types.ModuleType):
        return _CLOCKS.get(function)
    holder, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if isinstance(holder, random.Random):
        return float if name in _FLOATS else int if name in _INTEGERS else None
    if type(holder).__module__.startswith("numpy.random"):
        return float if name in _NUMPY_FLOATS else int if name in _NUMPY_INTEGERS else None
    return None


def _input(recorder: Recorder, function: Any, kind: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = f"{getattr(function, '__module__', None) or 'random'}.{function.__name__}".replace("None.", "random.")
    builder: Any = current()
    shaped = "size" in kwargs or (args and function.__name__ in _SIZES_FIRST and not isinstance(function.__self__, random.Random))
    for value in (*args, *kwargs.values()):
        if shaped or isinstance(value, core.Tensor) or type(value) in (tuple, list):
            raise CaptureError(
                f"static: {name}() with tensors or a size as arguments gives something new at each call",
                hint="use duograph.rand, randn or randint, or call it outside and pass the result as an argument",
                location=user_location(),
            )
    plain_args = [x.pin() if is_live(x) else x for x in args]
    plain_kwargs = {k: x.pin() if is_live(x) else x for k, x in kwargs.items()}
    call = _Call(function, kind, plain_args, plain_kwargs)
    dtype = core.float64 if kind is float else core.int64
    if builder.regions or recorder.hosts.rows:
        return recorder.hosts.call(call.as_tensor, (), [TensorType(dtype, (), weak=True)])[0]
    postfix = (("read", recorder.read("host", call, len(recorder.reads)), kind is float),)
    value = builder.input(TensorType(dtype, (), weak=True), kind="number")
    builder.number_inputs[postfix] = value
    return wrap(value)


class _Call:
    """One call that each run makes."""

    def __init__(self, function: Any, kind: type, args: list[Any], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.kind = kind
        self.args = args
        self.kwargs = kwargs

    def as_tensor(self) -> tuple[Any]:
        """What a call gives, as a step of a program hands it over."""
        from duograph.tensors.creation import tensor

        return (tensor(self(), dtype=core.float64 if self.kind is float else core.int64),)

    def __call__(self) -> Any:
        value = self.function(*self.args, **self.kwargs)
        if getattr(value, "ndim", 0):
            raise CaptureError(
                f"static: {self.function.__name__}() gave an array where a static function expects one number",
                hint="use duograph.rand, randn or randint, or call it outside and pass the result as an argument",
                location=None,
            )
        return self.kind(value)
