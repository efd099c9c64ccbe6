"""Which function to call in a capture: user code is converted on the way, the library's own is left alone."""

from __future__ import annotations

import functools
import math
import operator
import random
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import is_internal, user_location
from duograph.errors import CaptureError
from duograph.ir.builder import current
from duograph.ops.definition import REGISTRY

from ..control.control import ControlFlow
from ..control.growing import joining, length_of, stacking, whole_arguments
from ..control.sequences import enumerate_of, range_of, reversed_of, zip_of
from ..outside.callbacks import HostCallback
from ..outside.host import host_number
from ..outside.host_calls import speaks_for_itself
from ..outside.journal import CONTAINERS
from ..outside.library_numbers import on_numbers
from ..outside.modules import is_module
from ..outside.outer import is_used_up, outer_call, refuse_iterator
from ..values.asked import number_of, rounding, whole_number_of
from ..values.numbers import MATHEMATICAL, is_live, mathematical, power, rounded, stood_for
from ..values.texts import OF_TEXTS, joined
from ..values.whole_numbers import of_whole_numbers
from .calling import calls_back, constructor, converting_arguments
from .finding import SourceMissing
from .instructions import step_by_step
from .inventions import invention, refuse_generator, refuse_invention
from .reducing import replacement
from .scopes import HELPER
from .source import Converted, convert
from .steps import MADE
from .user_files import is_user_file
from .wrappers import of_attributes, of_method, remembering, wrapped_by_library

if TYPE_CHECKING:
    from ..outside.recorder import Recorder

_MUTATORS = frozenset((
    "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update", "setdefault", "popitem", "add",
    "discard", "appendleft", "extendleft", "rotate", "popleft", "subtract", "move_to_end", "difference_update",
    "intersection_update", "symmetric_difference_update", "__setitem__", "__delitem__", "__iadd__", "__imul__", "__ior__",
))  # fmt: skip
_OF_NUMBERS = MATHEMATICAL | {"floor", "ceil", "trunc", "pow", "gcd", "isqrt"}
_LOOPED: dict[type, Callable[..., Any]] = {range: range_of, enumerate: enumerate_of, zip: zip_of, reversed: reversed_of}
_LIBRARIES = ("duograph", "builtins", "itertools", "functools", "collections", "numpy")
_SEE_GROWING = (len, sum, list, enumerate, zip, reversed, isinstance, id, type, print)
_TAKE_FUNCTIONS = (map, filter, functools.reduce, functools.partial)


class Sites(ControlFlow):
    """What converted code calls: the `_dg_` of one converted function object. Outside a capture all is plain Python."""

    __slots__ = ("sites",)

    def __init__(self, sites: list[tuple[str, Any, str]]) -> None:
        self.sites = sites

    slice = slice

    def read(self, number: int, value: Any) -> Any:
        recorder = state.recorder
        return value if recorder is None else recorder.site(self, number, value, False)

    def read_base(self, number: int, value: Any) -> Any:
        recorder = state.recorder
        return value if recorder is None else recorder.site(self, number, value, True)

    def attr(self, holder: Any, name: str) -> Any:
        recorder = state.recorder
        return getattr(holder, name) if recorder is None else recorder.attribute(holder, name)

    def attr_base(self, holder: Any, name: str) -> Any:
        recorder = state.recorder
        return getattr(holder, name) if recorder is None else recorder.attribute(holder, name, True)

    def item(self, holder: Any, key: Any) -> Any:
        recorder = state.recorder
        return holder[key] if recorder is None else recorder.item(holder, key)

    def item_base(self, holder: Any, key: Any) -> Any:
        recorder = state.recorder
        return holder[key] if recorder is None else recorder.item(holder, key, True)

    def callee(self, function: Any) -> Any:
        recorder = state.recorder
        return function if recorder is None else callee(recorder, function)

    def set_attr(self, value: Any, holder: Any, name: str) -> None:
        recorder = state.recorder
        if recorder is None:
            setattr(holder, name, value)
        else:
            recorder.set_attribute(value, holder, name)

    def set_item(self, value: Any, holder: Any, key: Any) -> None:
        recorder = state.recorder
        if recorder is None:
            holder[key] = value
        else:
            recorder.set_item(value, holder, key)

    def walked(self, items: Any, name: str) -> Any:
        """A container of this name that a loop goes over."""
        recorder = state.recorder
        if recorder is not None and isinstance(items, CONTAINERS) and id(items) in recorder.external:
            recorder.contents(items, deep=False)
        elif recorder is not None and id(items) in recorder.external:
            if is_used_up(items):
                raise refuse_iterator(name)
            recorder.look(items)
        return items

    def outside(self, holder: Any) -> Any:
        """Something that was there before the capture."""
        if state.recorder is not None:
            state.recorder.enter(holder)
        return holder

    def unseen(self, name: str) -> None:
        """Before code runs that exists as text only."""
        if state.recorder is not None:
            raise CaptureError(
                f"static: {name}() runs code that is not seen: what it reads would be frozen",
                hint="write it as a function",
                location=user_location(),
            )

    def del_attr(self, holder: Any, name: str) -> None:
        recorder = state.recorder
        if recorder is None:
            delattr(holder, name)
        else:
            recorder.delete_attribute(holder, name)

    def del_item(self, holder: Any, key: Any) -> None:
        recorder = state.recorder
        if recorder is None:
            del holder[key]
        else:
            recorder.delete_item(holder, key)

    def aug_attr(self, holder: Any, name: str, how: str, value: Any) -> None:
        self.set_attr(self.update(self.attr(holder, name), how, value), holder, name)

    def aug_item(self, holder: Any, key: Any, how: str, value: Any) -> None:
        self.set_item(self.update(self.item(holder, key), how, value), holder, key)

    def aug(self, number: int, old: Any, how: str, value: Any) -> Any:
        return self.store(number, self.update(self.read(number, old), how, value))

    def store(self, number: int, value: Any) -> Any:
        recorder = state.recorder
        return value if recorder is None else recorder.store_site(self, number, value)


# ---- converted functions ------------------------------------------------------------------------------------------

_converted: dict[tuple[types.CodeType, frozenset[str] | None], Converted | None] = {}
_own_codes: dict[int, types.CodeType] = {}  # by id: the code of a function that needs no change is equal to its conversion


_methods: dict[int, tuple[types.CodeType, frozenset[str]]] = {}  # of classes that a capture makes, by id; what is outside


def is_own(code: types.CodeType) -> bool:
    """Whether it is converted code: a function of it was made by a capture."""
    return id(code) in _own_codes


def is_inside(code: types.CodeType) -> bool:
    """Whether a function of it was made by a capture, be it a method that is not converted yet."""
    return id(code) in _own_codes or id(code) in _methods


def converted_code(function: types.FunctionType) -> Converted | None:
    """The conversion of a function's code; None if it has no source."""
    code = function.__code__
    outside = _methods.get(id(code), (code, None))[1]
    key = (code, outside)
    if key in _converted:
        return _converted[key]
    try:
        made: Converted | None = convert(function, outside)
    except SourceMissing:
        made = None
    if made is not None:
        _own_codes.update((id(code), code) for code in made.codes)
        _methods.update((id(code), (code, made.outside)) for code in made.methods)
    _converted[key] = made
    return made


def convert_function(function: types.FunctionType) -> types.FunctionType:
    """The function to run during a capture: converted, by its instructions if it has no source, itself if it is a library's."""
    code = function.__code__
    if id(code) in _own_codes or not is_user_file(code.co_filename):
        return function
    made = converted_code(function)
    if made is None:
        followed: types.FunctionType = step_by_step(function) if _is_users(function) else function
        return followed
    cells = dict(zip(code.co_freevars, function.__closure__ or ()))
    sites: list[tuple[str, Any, str]] = [
        ("cell", cells[name], name) if kind == "free" and name in cells else ("item", function.__globals__, name)
        for kind, name in made.sites
    ]
    cells[HELPER] = types.CellType(Sites(sites))
    closure = tuple(cells[name] for name in made.code.co_freevars)
    result = types.FunctionType(made.code, function.__globals__, function.__name__, function.__defaults__, closure)
    result.__kwdefaults__ = function.__kwdefaults__
    result.__dict__.update(function.__dict__)
    result.__module__ = function.__module__
    return result


def _is_users(function: types.FunctionType) -> bool:
    """Whether a function without source was made in the user's code: libraries make some, too."""
    file = function.__globals__.get("__file__")
    return not is_internal(function.__code__.co_filename) and (not isinstance(file, str) or is_user_file(file))


def callee(recorder: Recorder, function: Any) -> Any:
    """What to call instead of `function` during a capture."""
    made = on_numbers(recorder, function, _callee(recorder, function))
    return made if recorder.single_path or _sees_growing(function) else whole_arguments(function, made)


def _sees_growing(function: Any) -> bool:
    """Whether it is user code, or a builtin that knows what a growing list is."""
    kind = type(function)
    if kind is types.FunctionType:
        return is_user_file(function.__code__.co_filename) or getattr(function, "stacks_rows", False)
    if kind is types.MethodType:
        return _sees_growing(function.__func__)
    if isinstance(function, type):
        return function in _SEE_GROWING or function.__module__.partition(".")[0] not in _LIBRARIES
    if kind is types.BuiltinFunctionType:
        holder = function.__self__
        if type(holder) is list:
            return function.__name__ in ("append", "clear", "copy")
        return isinstance(holder, core.Tensor) or function in _SEE_GROWING
    return kind is HostCallback or (kind is core.Op and function in (REGISTRY["stack"].exported, REGISTRY["cat"].exported))


def _callee(recorder: Recorder, function: Any) -> Any:
    kind = type(function)
    drawn = host_number(recorder, function)
    if drawn is not None:
        return drawn
    said = outer_call(recorder, function)
    if said is not None:
        return said
    if kind is types.FunctionType:
        if getattr(function, "stacks_rows", False):
            return stacking(cast(Any, current()), function)
        if not is_user_file(function.__code__.co_filename):
            wrapper = wrapped_by_library(recorder, function)
            if wrapper is not None:
                return wrapper
            refuse_invention(function)
            return converting_arguments(recorder, function) if calls_back(function) else function
        _note_defaults(recorder, function)
        return convert_function(function)
    if kind is types.MethodType:
        if _changes(recorder, function):
            return _mutator(recorder, function.__self__, function)
        refuse_generator(function)
        inner = _callee(recorder, function.__func__)
        holder = function.__self__
        if is_module(holder):
            recorder.enter(holder)
        return function if inner is function.__func__ else types.MethodType(inner, holder)
    if kind is core.Op:
        builder: Any = current()
        return joining(builder, function) or function
    if kind is core.Function:
        return function
    if kind is core.StaticFunction:
        return callee(recorder, function.__wrapped__)
    if isinstance(function, type):
        return _class(recorder, function)
    if kind in (types.BuiltinFunctionType, types.MethodWrapperType, types.MethodDescriptorType, types.WrapperDescriptorType):
        return _builtin(recorder, function)
    if kind is functools._lru_cache_wrapper:
        return remembering(recorder, function)
    if kind is functools.partial:
        return functools.partial(callee(recorder, function.func), *function.args, **function.keywords)
    if kind is operator.attrgetter:
        return of_attributes(recorder, function)
    if kind is operator.methodcaller:
        return of_method(recorder, function)
    if is_module(function):
        recorder.enter(function)
    if kind is HostCallback:
        return function
    call = getattr(kind, "__call__", None)  # noqa: B004
    if isinstance(call, types.FunctionType) and is_user_file(call.__code__.co_filename):
        recorder.watch_class(kind)
        return types.MethodType(convert_function(call), function)
    refuse_generator(function)
    return function


def _note_defaults(recorder: Recorder, function: types.FunctionType) -> None:
    """The code of a function, and the values of its default arguments, are from outside."""
    if is_inside(function.__code__) or function in MADE:
        return
    recorder.guard("is", recorder.read("attr", function, "__code__"), function.__code__)
    for name, values in (("__defaults__", function.__defaults__), ("__kwdefaults__", function.__kwdefaults__)):
        if values:
            recorder.guard("is", recorder.read("attr", function, name), values)
            for value in values.values() if isinstance(values, dict) else values:
                recorder.foreign(value)


def _class(recorder: Recorder, cls: type) -> Any:
    if cls in _TAKE_FUNCTIONS:
        return converting_arguments(recorder, cls)
    if cls is str:
        return lambda *args: joined(((args[0], "s", ""),)) if len(args) == 1 else str(*args)
    if cls in _LOOPED:
        return _LOOPED[cls]
    if cls is float or cls is int:
        return _to_number(cls)
    if cls is type:
        return lambda *args: type(stood_for(args[0])) if len(args) == 1 else type(*args)
    recorder.meet(cls)
    if cls is random.Random or cls.__module__.startswith("numpy.random"):
        raise invention(cls.__name__)
    return constructor(cls, convert_function) or (converting_arguments(recorder, cls) if calls_back(cls) else cls)


def _to_number(cls: type) -> Any:
    """float(x) of a live number and int(x) of a live int stay live; of a tensor they are numbers that the run knows."""

    def convert(*args: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], core.Tensor):
            of_float = cls is int and args[0].dtype.is_floating_point
            asked = whole_number_of(args[0], "trunc") if of_float else number_of(args[0], cls)
            return cls(args[0]) if asked is None else asked
        if len(args) != 1 or not is_live(args[0]):
            return cls(*args)
        number = args[0]
        if cls is float and type(number.value) is int and abs(number.value) < 2**53:
            return number * 1.0
        if cls is int and number.ratio is not None:
            return rounded("trunc", number)
        return number if type(number.value) is cls else cls(number)

    return convert


def _mathematical(function: Any) -> Any:
    """A function of `math`: of a number that changes it gives one."""
    name = function.__name__

    def call(*args: Any) -> Any:
        if name == "pow" and len(args) == 2 and (is_live(args[0]) or is_live(args[1])):
            return power(*args)
        if name in ("gcd", "isqrt") and any(map(is_live, args)):
            found = of_whole_numbers(name, *args)
            return function(*args) if found is None else found
        if len(args) == 1 and is_live(args[0]):
            return mathematical(name, args[0]) if name in MATHEMATICAL else rounded(name, args[0])
        return rounding(function, name)(*args) if name in ("floor", "ceil", "trunc", "round") else function(*args)

    return call


def _builtin(recorder: Recorder, function: Any) -> Any:
    reducing = replacement(recorder, function)
    if reducing is not None:
        return reducing
    if function in _TAKE_FUNCTIONS:
        return converting_arguments(recorder, function)
    if function is format or function is repr:
        return lambda value, spec="": joined(((value, "r" if function is repr else "", spec),))
    if function is len:
        return length_of
    if function is isinstance:
        return lambda value, kinds: isinstance(stood_for(value), kinds)
    if function is round or (getattr(function, "__self__", None) is math and function.__name__ in _OF_NUMBERS):
        return _mathematical(function)
    if function is vars:
        return lambda *args: recorder.attribute(args[0], "__dict__") if len(args) == 1 else vars(*args)
    if function is next:
        return functools.partial(_next, recorder)
    if function is print:
        return functools.partial(_print, recorder)
    if function in (getattr, setattr, hasattr):
        return _attribute_builtin(recorder, function)
    holder = getattr(function, "__self__", None)
    if isinstance(holder, core.Tensor) and function.__name__ == "backward":
        return functools.partial(_backward, recorder, holder)
    if type(holder) is str and function.__name__ in OF_TEXTS:
        return functools.partial(OF_TEXTS[function.__name__], holder)
    if holder is not None and not isinstance(holder, types.ModuleType):
        if id(holder) in recorder.external and isinstance(holder, CONTAINERS):
            if function.__name__ in _MUTATORS:
                return _mutator(recorder, holder, function)
            if function.__name__ == "get" and isinstance(holder, dict):
                return functools.partial(_get, recorder, holder)
            recorder.contents(holder)
        elif id(holder) in recorder.external:
            recorder.look(holder)
        refuse_generator(function)
        if isinstance(holder, type) and holder.__module__ == "datetime" and function.__name__ in ("now", "today", "utcnow"):
            raise invention(f"{holder.__name__}.{function.__name__}")
        return function
    refuse_invention(function)
    return converting_arguments(recorder, function) if function is iter or calls_back(function) else function


def _changes(recorder: Recorder, method: types.MethodType) -> bool:
    """Whether it is a method in Python that changes a library's container from outside, such as a Counter."""
    holder, function = method.__self__, method.__func__
    if id(holder) not in recorder.external or not isinstance(holder, CONTAINERS) or method.__name__ not in _MUTATORS:
        return False
    return isinstance(function, types.FunctionType) and not is_user_file(function.__code__.co_filename)


def _next(recorder: Recorder, items: Any, *default: Any) -> Any:
    if id(items) in recorder.external and is_used_up(items):
        raise refuse_iterator("")
    return next(items, *default)


def _get(recorder: Recorder, holder: dict[Any, Any], key: Any, default: Any = None) -> Any:
    """`holder.get(key, default)`."""
    if key in holder:
        return recorder.item(holder, key)
    recorder.contents(holder)
    return default


def _attribute_builtin(recorder: Recorder, function: Any) -> Any:
    if function is setattr:
        return lambda holder, name, value: recorder.set_attribute(value, holder, name)
    if function is hasattr:

        def has(holder: Any, name: str) -> bool:
            try:
                recorder.attribute(holder, name)
            except AttributeError:
                return False
            return True

        return has

    def get(holder: Any, name: str, *default: Any) -> Any:
        try:
            return recorder.attribute(holder, name)
        except AttributeError:
            if default:
                return default[0]
            raise

    return get


def _mutator(recorder: Recorder, holder: Any, function: Callable[..., Any]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        recorder.journal_container(holder)
        result = function(*args, **kwargs)
        if result is not None and function.__name__ not in ("setdefault",):
            raise CaptureError(
                f"static: {type(holder).__name__}.{function.__name__} takes out of a container from outside the function",
                hint="take the item before the call and pass it as an argument",
            )
        recorder.call_after(function, args, kwargs)
        return result

    return call


def _print(recorder: Recorder, *args: Any, **kwargs: Any) -> None:
    """Printed at each run, with that run's values."""
    printing = functools.partial(print, **kwargs) if kwargs else print
    recorder.hosts.call(printing, args, kind="light" if all(map(speaks_for_itself, args)) else "full")


def _backward(
    recorder: Recorder,
    tensor: Any,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """`tensor.backward(...)`."""
    chosen = (inputs,) if isinstance(inputs, core.Tensor) else None if inputs is None else tuple(inputs)
    recorder.backward((tensor,), (gradient,), retain_graph, create_graph, chosen)
