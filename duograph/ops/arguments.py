"""Arguments of the wrong kind: a message that names function, parameter and value.

Nothing is checked while a call goes well. When a body fails with an error of Python's own, the arguments are compared
with the annotations of its signature, and the first that does not fit is what the user hears of.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import ArgumentError, Error

if TYPE_CHECKING:
    import inspect

P = ParamSpec("P")
R = TypeVar("R")

OPERATORS: dict[str, str] = {}  # all names, which errors begin with, and which one of its names an operator has first
# What `autocast` makes of the tensors of an operator or function, by the core's numbers: the lower dtype, float32, the
# widest among them, nothing (and nothing of those of the operators that a function calls).
AUTOCAST = {"": 0, "lower": 1, "float32": 2, "promote": 3, "as given": 4}
FAULTS = (TypeError, AttributeError, OverflowError, ValueError, KeyError, IndexError)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) or (hasattr(type(value), "__float__") and hasattr(type(value), "__add__"))


def _is_integer(value: Any) -> bool:
    return hasattr(type(value), "__index__") and not getattr(value, "ndim", 0)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, core.Tensor)


def _sequence_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (list, tuple)) and all(map(accepts, value))


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Tensor": (_is_tensor, "a Tensor"),
    "Operand": (lambda value: _is_tensor(value) or _is_number(value), "a Tensor or a number"),
    "Number": (lambda value: _is_tensor(value) or _is_number(value), "a number"),
    "float": (_is_number, "a number"),
    "int": (_is_integer, "an integer"),
    "Size": (_is_integer, "an integer"),
    "Shape": (_is_integer, "integers"),
    "Axis": (_is_integer, "an integer"),
    "bool": (lambda value: isinstance(value, (bool, int)) or type(value).__name__ == "bool_", "a bool"),
    "str": (lambda value: isinstance(value, str), "a string"),
    "DType": (lambda value: isinstance(value, core.DType), "a dtype"),
    "core.DType": (lambda value: isinstance(value, core.DType), "a dtype"),
    "Sequence[Tensor]": (_sequence_of(_is_tensor), "a list or tuple of Tensors"),
    "Sequence[int]": (_sequence_of(_is_integer), "a list or tuple of integers"),
    "Sizes": (_sequence_of(_is_integer), "integers"),
    "Integers": (_sequence_of(_is_integer), "integers"),
    "None": (lambda value: value is None, "None"),
}
_ALTERNATIVES = {"Dims": "int | Sequence[int] | None"}


# What PyTorch calls the first two operands of most functions, NumPy's names included, and what it takes for other parameters.
TORCH_OPERANDS = (("input", "A", "a", "x", "x1"), ("other", "B", "x2"))
_ROW_MAJOR = ("strided", "contiguous_format", "preserve_format")
NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def names_of(text: str) -> dict[str, str]:
    """ "theirs=ours" pairs as a dict."""
    return dict(pair.split("=") for pair in text.split())


def renamed(
    keywords: Mapping[str, Any], names: Mapping[str, str], operands: Sequence[str], parameters: Container[str]
) -> dict[str, Any] | None:
    """Keywords that PyTorch calls otherwise under the names they have here; None if there are none.

    Args:
        names: PyTorch's names of parameters; operands: the operands' names here, in order; parameters: all names here.
    """
    usual = {theirs: ours for ours, both in zip(operands, TORCH_OPERANDS) for theirs in both}
    usual.update((theirs, ours) for theirs, ours in NUMPY_NAMES.items() if ours in parameters)
    known = {**usual, **names}
    theirs = {n: known[n] for n in keywords if n in known and n not in parameters and known[n] not in keywords}
    return {theirs.get(name, name): value for name, value in keywords.items()} if theirs else None


def without_layout(name: str, keywords: Mapping[str, Any], parameters: Container[str]) -> dict[str, Any] | None:
    """Keywords without what asks for the one layout there is, in functions that take a device; None if there are none such."""
    found = {"layout", "pin_memory", "memory_format"}.intersection(keywords).difference(cast("Iterable[str]", parameters))
    if not found or "device" not in parameters:
        return None
    for keyword in found:
        given = keywords[keyword]
        if given is not None and not isinstance(given, bool) and repr(given).partition(".")[2] not in _ROW_MAJOR:
            raise ArgumentError(f"{name}: new tensors are strided and row-major, {keyword} cannot be {given!r}")
    return {keyword: value for keyword, value in keywords.items() if keyword not in found}


def refuse_deprecated(name: str, keywords: Container[str], parameters: Container[str]) -> None:
    """Refuse what PyTorch replaced by `reduction` long ago."""
    if "reduction" in parameters and ("size_average" in keywords or "reduce" in keywords):
        raise ArgumentError(
            f"{name}: size_average and reduce are not taken, reduction says the same",
            hint="reduction='mean' (the default), 'sum' for size_average=False, 'none' for reduce=False",
        )


def checked(function: Callable[P, R], name: str | None = None, names: str = "", autocast: str = "") -> Callable[P, R]:
    """The function, with arguments of the wrong kind reported by name.

    Args:
        name: what the user calls it; names: parameters that PyTorch calls otherwise, "theirs=ours";
            autocast: a key of AUTOCAST.
    """

    called = name or function.__name__

    def explain(function: Callable[..., Any], error: Exception, args: Any, kwargs: Any) -> Any:
        from .calls import taken_by

        later = taken_by(args, kwargs)
        if later is not None:
            return later(made, args, kwargs)
        if kwargs and isinstance(error, TypeError):
            refuse_deprecated(called, kwargs, function.__code__.co_varnames)
            call = _with_our_names(function, names, args, kwargs)
            if call is not None:
                return made(*call[0], **call[1])
            plain = without_layout(called, kwargs, getattr(function, "__code__", explain.__code__).co_varnames)
            if plain is not None:
                return made(*args, **plain)
        if "out" in kwargs and isinstance(error, TypeError) and not _takes_out(function):
            from .calls import function_into

            return function_into(made, called, kwargs.pop("out"), args, kwargs)
        if isinstance(error, Error) and (error.location is None or error.location == user_location()):
            rename(error, called)  # unless it is that of a function of the user's, which this one calls
        inside = isinstance(error, ArgumentError) and not error.message.startswith(f"{called}:")
        if not isinstance(error, FAULTS) or (isinstance(error, Error) and not inside):
            return error
        return mistake(function, args, kwargs, name) or error

    made = cast("Callable[P, R]", core.Function(function, explain, AUTOCAST[autocast]))
    return made


def under_autocast(policy: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: `checked`, with what autocast makes of the tensors (a key of AUTOCAST)."""
    return lambda function: checked(function, autocast=policy)


def _with_our_names(
    function: Callable[..., Any], names: str, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]] | None:
    """The arguments of a call by PyTorch's names as this function takes them; None if there are none such.

    `size=` and the name of `*rest` give what may also be written out.
    """
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & 0x08:  # it takes any keyword
        return None
    count = code.co_argcount + code.co_kwonlyargcount
    parameters = code.co_varnames[:count]
    ours = renamed(kwargs, names_of(names), parameters[:2], parameters)
    if ours is not None:
        return args, ours
    rest = {code.co_varnames[count], "size"}.difference(parameters).intersection(kwargs) if code.co_flags & 0x04 else ()
    if len(rest) != 1:
        return None
    others = dict(kwargs)
    written_out = others.pop(*rest)
    first = [others.pop(name) for name in parameters[len(args) : code.co_argcount] if name in others]
    return (*args, *first, *(written_out if isinstance(written_out, (tuple, list)) else (written_out,))), others


def _takes_out(function: Callable[..., Any]) -> bool:
    import inspect

    return "out" in inspect.signature(function).parameters


def rename(error: Error, called: str) -> None:
    """An error of an operator that the user called by another name, or by way of another: message and hint bear that name."""
    operator, colon, rest = error.message.partition(":")
    if not colon or OPERATORS.get(operator, called) == called:
        return
    error.message = f"{called}:{rest}"
    error.hint = error.hint and error.hint.replace(f"{operator}(", f"{called}(", 1)


def mistake(
    function: Callable[..., Any],
    args: Iterable[Any],
    kwargs: Mapping[str, Any],
    name: str | None = None,
    parameters: Container[str] | None = None,
) -> Error | None:
    """An error for the first argument that is missing, unknown or not what its annotation says; None if there is none.

    Args:
        function: one with annotations written as strings.
        args, kwargs: those of the call.
        name: what the user calls the function, if not by its name.
        parameters: the names of those to look at; None: all.
    """
    import inspect

    owner = name or function.__name__
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return ArgumentError(f"{owner}: {error}")
    for parameter, annotation, value in _arguments(function, bound):
        if parameters is not None and parameter not in parameters:
            continue
        kinds = [_KINDS.get(kind) for kind in _ALTERNATIVES.get(annotation, annotation).split(" | ")]
        known = [kind for kind in kinds if kind is not None]
        if len(known) == len(kinds) and not any(accepts(value) for accepts, _ in known):
            words = " or ".join(words for _, words in known)
            return ArgumentError(f"{owner}: {parameter} must be {words}, not {_described(value)}")
    return None


def _arguments(function: Callable[..., Any], bound: inspect.BoundArguments) -> Iterator[tuple[str, str, Any]]:
    """(parameter, annotation, value) of a call, each element of `*args` by itself."""
    for name, value in bound.arguments.items():
        annotation = function.__annotations__.get(name)
        if not isinstance(annotation, str):
            continue
        if bound.signature.parameters[name].kind.name == "VAR_POSITIONAL":
            single = len(value) == 1 and isinstance(value[0], (list, tuple))
            yield from ((name, annotation, item) for item in (value[0] if single else value))
        else:
            yield name, annotation, value


def _described(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, core.Tensor):
        return f"a Tensor of shape {tuple(value.shape)}"
    if isinstance(value, (str, bytes, numbers.Number, list, tuple, dict)):
        text = repr(value)
        return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
    return type(value).__name__
