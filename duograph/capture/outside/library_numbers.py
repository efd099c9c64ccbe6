"""Functions of `math` and `statistics` on numbers that only the run knows (`loss.item()`): each run calls them anew.

So values and errors are Python's own. What a function gives (a float, an int, a bool, or several) must be known before.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.types import TensorType

from ..values.asked import stands_for_number
from ..values.late import is_late
from ..values.numbers import stood_for

if TYPE_CHECKING:
    from .recorder import Recorder


def _functions(module: Any, names: str, *kinds: type) -> dict[Any, tuple[type, ...]]:
    return {getattr(module, name): kinds for name in names.split() if hasattr(module, name)}


_DTYPES: dict[type, Any] = {float: core.float64, int: core.int64, bool: core.bool}
_ALIKE = "harmonic_mean mean median median_high median_low mode pvariance variance"  # whole numbers may give either
_FLOATS = "correlation covariance fmean geometric_mean median_grouped pstdev stdev"
_GIVES: dict[Any, tuple[type, ...]] = {
    **_functions(
        math,
        "acos acosh asin asinh atan atan2 atanh cbrt copysign cos cosh degrees dist erf erfc exp exp2 expm1 fabs fmod fsum gamma "
        "hypot ldexp lgamma log log10 log1p log2 nextafter pow radians remainder sin sinh sqrt tan tanh ulp",
        float,
    ),
    **_functions(math, "comb factorial gcd isqrt lcm perm", int),
    **_functions(math, "isclose isfinite isinf isnan", bool),
    **_functions(math, "modf", float, float),
    **_functions(math, "frexp", float, int),
}
_TAKE_FLOATS: set[Any] = set()


def _gives(function: Any) -> tuple[type, ...] | None:
    """What one of these functions gives; None for another."""
    if not _TAKE_FLOATS and "statistics" in sys.modules:
        statistics = sys.modules["statistics"]
        _GIVES.update(_functions(statistics, f"{_ALIKE} {_FLOATS}", float))
        _TAKE_FLOATS.update(_functions(statistics, _ALIKE))
    return _GIVES.get(function)


def on_numbers(recorder: Recorder, function: Any, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """What to call instead of a function of these; `otherwise` for other functions, and where all numbers are known."""
    kind = type(function)
    if (kind is not BuiltinFunctionType and kind is not FunctionType) or _gives(function) is None or recorder.single_path:
        return otherwise

    def call(*args: Any, **kwargs: Any) -> Any:
        given = [_listed(arg) for arg in args]
        numbers = list(_numbers([*given, *kwargs.values()]))
        if not any(isinstance(number, core.Tensor) or is_late(number) for number in numbers):
            return otherwise(*given, **kwargs)
        if function in _TAKE_FLOATS:
            _check_floats(function, numbers)
        return _each_run(recorder, function, given, kwargs)

    return call


def takes_numbers(function: Any) -> bool:
    """Whether it is a function that each run may have to call anew."""
    return type(function) in (BuiltinFunctionType, FunctionType) and _gives(function) is not None


def _listed(arg: Any) -> Any:
    """An argument; a list of what an iterator gives."""
    return list(arg) if isinstance(arg, Iterable) and hasattr(arg, "__next__") else arg


def _numbers(args: Iterable[Any]) -> Iterable[Any]:
    for arg in args:
        if type(arg) in (list, tuple):
            yield from _numbers(arg)
        else:
            yield arg


def _each_run(recorder: Recorder, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    kinds = _GIVES[function]
    names, count = list(kwargs), len(args)

    def run(*given: Any) -> tuple[Any, ...]:
        from duograph.tensors.creation import tensor

        made = function(*given[:count], **dict(zip(names, given[count:])))
        results = made if len(kinds) > 1 else (made,)
        return tuple(tensor(result, dtype=_DTYPES[kind]) for result, kind in zip(results, kinds))

    types = [TensorType(_DTYPES[kind], (), weak=True) for kind in kinds]
    given = recorder.hosts.call(run, [*args, *kwargs.values()], types)
    return tuple(given) if len(kinds) > 1 else given[0]


def _check_floats(function: Any, numbers: list[Any]) -> None:
    """Of whole numbers the function gives a float or a whole number, as their values have it."""
    if all(type(stood_for(number)) in (float, str) for number in numbers if not isinstance(number, core.Tensor) or
           stands_for_number(number)):  # fmt: skip
        return
    raise CaptureError(
        f"static: statistics.{function.__name__} of whole numbers gives a float or a whole number, and only the run knows which",
        hint="convert each number: float(n)",
        location=user_location(),
    )
