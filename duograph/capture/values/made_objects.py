"""Objects that a captured function makes and hands out with tensors inside: each run makes them anew, or they are refused."""

from __future__ import annotations

import functools
import types
from collections import OrderedDict, deque
from collections.abc import Coroutine, Iterator
from typing import Any

from duograph import _core as core
from duograph._recorded import current as recorder_of_capture
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.dim import Dim

from ..control.growing import Rows
from ..outside.journal import is_outside_function, own_dict
from ..outside.modules import is_module
from .attributes import own_attributes, slots_of
from .numbers import is_live

_NOTHING_INSIDE = (bool, int, float, complex, str, bytes, type(None), type, types.ModuleType, types.BuiltinFunctionType)
FILLED = (set, frozenset, deque, OrderedDict)


def is_made(value: Any) -> bool:
    """Whether the function has made this object, and it holds what only a run has."""
    return not isinstance(value, _NOTHING_INSIDE) and _holds(value, set())


def _holds(value: Any, seen: set[int]) -> bool:
    if isinstance(value, _NOTHING_INSIDE) or id(value) in seen:
        return False
    if isinstance(value, core.Tensor):
        return value._traced is not None
    if is_live(value) or isinstance(value, (Dim, Rows)):
        return True
    seen.add(id(value))
    return any(_holds(part, seen) for part in _parts(value))


def _parts(value: Any) -> list[Any]:
    recorder = recorder_of_capture()
    if is_module(value) or (recorder is not None and id(value) in recorder.external):
        return []
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__self__]
    if isinstance(value, types.FunctionType):
        return [] if is_outside_function(value) else _closed_over(value)
    return list(own_attributes(value).values())


def _closed_over(function: types.FunctionType) -> list[Any]:
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    return [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def attributes(value: Any) -> list[str] | None:
    """The attributes of which a run can make the object anew; None if they do not say all about it."""
    cls = type(value)
    plain = cls.__module__ != "builtins" and not isinstance(value, (dict, list, tuple, set, frozenset, str, bytes, int, float))
    bare = own_dict(value) is None and not slots_of(value)
    if bare or not plain or isinstance(value, (types.FunctionType, functools.partial)):
        return None if cls is not types.SimpleNamespace else list(vars(value))
    return list(own_attributes(value))


def refuse_iterators(value: Any) -> None:
    """An iterator that the function has made would be the same one, used up, at the next run."""
    if type(value).__module__.startswith("duograph.capture."):  # stands for a range of tensors, and the like
        raise refuse(value)
    if isinstance(value, (Iterator, Coroutine)) and type(value).__module__ in ("builtins", "itertools"):
        if isinstance(value, Coroutine):
            value.close()
        raise CaptureError(
            f"static: a {type(value).__name__} leaves the function: it would be used up after the first run",
            hint="make what it computes a static function, and call that from it"
            if isinstance(value, Coroutine)
            else "return list(…) of it",
            location=user_location(),
        )


def refuse(value: Any) -> CaptureError:
    """The error about an object that holds a tensor where it cannot be replaced."""
    own = type(value).__module__.startswith("duograph.capture.")
    kind = "range or iterator" if own else type(value).__name__
    return CaptureError(
        f"static: a {kind} that leaves the function holds a tensor or number, which each run makes anew",
        hint="hand it out in a tuple, list, dict or dataclass, or as an attribute of an object of your own",
        location=user_location(),
    )
