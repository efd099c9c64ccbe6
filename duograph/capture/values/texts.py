"""Text with tensors in it: made when a run has their values, so it can be printed, not looked at."""

from __future__ import annotations

import operator
import re
import string
from collections.abc import Callable, Iterable
from typing import Any

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import user_location
from duograph.errors import CaptureError

from .late import is_late
from .numbers import is_live

_FIELD = re.compile(r"%(?:\((?P<name>[^)]*)\))?(?P<form>[#0\- +]*(?:\*|\d+)?(?:\.(?:\*|\d+)?)?)[hlL]?(?P<kind>[a-zA-Z%])")
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"": lambda x: x, "s": str, "r": repr, "a": ascii}


class LaterText:
    """Text of a captured function; `parts` are strings and (value, conversion, format) triples."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts

    def __add__(self, other: Any) -> Any:
        return LaterText((*self.parts, *_parts(other))) if isinstance(other, (str, LaterText)) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return LaterText((other, *self.parts)) if isinstance(other, str) else NotImplemented

    def _look(self, *_: Any) -> Any:
        raise CaptureError(
            "static: text with a tensor's values in it exists only when the static function runs",
            hint="print it, or return the tensor and make the text outside",
            location=user_location(),
        )

    __getattr__ = __getitem__ = __len__ = __iter__ = __contains__ = __eq__ = __hash__ = _look

    def values(self) -> list[Any]:
        """What the text is made of, for the run to give."""
        return [part[0] for part in self.parts if not isinstance(part, str)]

    def writer(self) -> TextWriter:
        """A function from those values, as they are in a run, to the text."""
        return TextWriter([part if isinstance(part, str) else part[1:] for part in self.parts])


class TextWriter:
    """A function from values to a text; `frame` is strings and (conversion, format) pairs."""

    __slots__ = ("frame",)

    def __init__(self, frame: list[Any]) -> None:
        self.frame = frame

    def __call__(self, *values: Any) -> str:
        given = iter(values)
        return "".join(part if isinstance(part, str) else _formatted(next(given), *part) for part in self.frame)


def _parts(text: Any) -> tuple[Any, ...]:
    return (text,) if isinstance(text, str) else text.parts


def _formatted(value: Any, conversion: str, spec: str) -> str:
    if conversion == "%":
        return spec % (value,)
    return format(_CONVERSIONS[conversion](value), spec)


def _of_runs(value: Any, numbers: bool) -> bool:
    """Whether only a run knows what a value in a text is."""
    if isinstance(value, (core.Tensor, LaterText)) or is_late(value):
        return True
    if isinstance(value, (list, tuple, dict)):
        return any(_of_runs(item, numbers) for item in (value.values() if isinstance(value, dict) else value))
    return numbers and is_live(value)


def joined(parts: tuple[Any, ...], numbers: bool = False) -> Any:
    """The text of an f-string's parts; each run fills in tensors and, if asked, numbers that change."""
    later = state.recorder is not None and any(
        isinstance(part, LaterText) or (type(part) is tuple and _of_runs(part[0], numbers)) for part in parts
    )
    if not later:
        return "".join(part if type(part) is str else _formatted(*part) for part in parts)
    flat: list[Any] = []
    for part in parts:
        if type(part) is tuple and isinstance(part[0], LaterText) and part[1:] in (("", ""), ("s", ""), ("%", "%s")):
            flat += part[0].parts
        elif type(part) is tuple and not (is_live(part[0]) or _of_runs(part[0], numbers)):
            flat.append(_formatted(*part))
        else:
            flat.append(part)
    return LaterText(tuple(flat))


def formatted(text: str, *args: Any, **kwargs: Any) -> Any:
    """`text.format(...)`; with tensors in it, a text that each run fills in."""
    if state.recorder is None or not any(_of_runs(value, False) for value in (*args, *kwargs.values())):
        return text.format(*args, **kwargs)
    parts: list[Any] = []
    following = iter(args)
    for before, name, spec, conversion in string.Formatter().parse(text):
        parts.append(before)
        if name is None:
            continue
        known = name == "" or name.isdigit() or name in kwargs
        if not known or "{" in (spec or ""):
            raise CaptureError(
                f"static: the field {{{name}}} of a text with a tensor's values in it is not a whole argument",
                hint="write an f-string",
                location=user_location(),
            )
        value = next(following) if not name else args[int(name)] if name.isdigit() else kwargs[name]
        parts.append((value, conversion or "", spec or ""))
    return joined(tuple(parts))


def join(separator: str, items: Iterable[Any]) -> Any:
    """`separator.join(items)`; each run fills in what tensors there are in them."""
    texts = list(items)
    if not any(isinstance(text, LaterText) for text in texts):
        return separator.join(texts)
    return joined(tuple(part if isinstance(part, str) else (part, "", "") for text in texts for part in (separator, text))[1:])


def modulo(text: Any, values: Any, numbers: bool = False) -> Any:
    """`text % values`: a remainder, or a text that each run fills in if there are tensors in it."""
    if state.recorder is None or not isinstance(text, (str, LaterText)):
        return operator.mod(text, values)
    given = list(values.values()) if type(values) is dict else list(values) if type(values) is tuple else [values]
    if not isinstance(text, LaterText) and not any(_of_runs(value, numbers) for value in given):
        return text % values
    if isinstance(text, LaterText):
        raise CaptureError(
            "static: a text with a tensor's values in it is filled in further by %",
            hint="write one f-string",
            location=user_location(),
        )
    parts: list[Any] = []
    following, at = iter(given), 0
    for field in _FIELD.finditer(text):
        parts.append(text[at : field.start()])
        at = field.end()
        name, form, kind = field["name"], field["form"], field["kind"]
        if kind == "%":
            parts.append("%")
            continue
        while "*" in form:
            form = form.replace("*", str(int(next(following))), 1)
        try:
            value = values[name] if name is not None else next(following)
        except StopIteration:
            raise TypeError("not enough arguments for format string") from None
        parts.append((value, "%", f"%{form}{kind}"))
    if type(values) is not dict and next(following, None) is not None:
        raise TypeError("not all arguments converted during string formatting")
    return joined((*parts, text[at:]), numbers)


OF_TEXTS: dict[str, Callable[..., Any]] = {"format": formatted, "join": join}  # methods of str
