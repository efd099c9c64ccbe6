"""What programs of duograph say and raise: `PrintN` and `RaiseN` of the domain `duograph`, for N tensors.

The attribute `text` is a template as `str.format` takes it, whose fields are `{0}`, `{0:.2f}` (the number in a tensor) or `{0!s}`
(a tensor as it is printed). `end` of a print is what follows it. Of a raise the text begins with the name of an exception.
"""

from __future__ import annotations

import builtins
import functools
import re
import string
from typing import Any

import duograph as dg
from duograph import errors
from duograph._recorded import current

from ..errors import ModelError
from .definition import Tensor, operator

_MOST = 64  # tensors of one text
_SPEC = re.compile(r"[<>=^]?[-+ ]?#?0?\d{0,3}[,_]?(\.\d{1,3})?[a-zA-Z%]?")
_STOPS = (StopIteration, StopAsyncIteration)  # which mean something else inside of generators


def say(*values: Tensor, text: str, end: str = "\n") -> Any:
    """Prints the text at each run."""
    from duograph.capture.values.texts import formatted

    made = formatted(_harmless(text, len(values)), *values)
    recorder = current()
    if recorder is None:
        print(made, end=end)
    else:
        recorder.hosts.call(print if end == "\n" else functools.partial(print, end=end), [made])
    return dg.tensor(False)


def fail(*values: Tensor, text: str) -> Any:
    """Raises the error that the text names."""
    from duograph.capture.outside.host_calls import Diverged
    from duograph.capture.values.texts import formatted

    name, _, message = text.partition(": ")
    kind = _kind(name)
    if kind is RuntimeError:
        message = text if name != "RuntimeError" else message
    error = kind(formatted(_harmless(message, len(values)), *values))
    recorder = current()
    if recorder is None:
        raise error
    recorder.hosts.raises(error)
    raise Diverged


def _kind(name: str) -> type[Exception]:
    """The exception of this name: Python's or duograph's; RuntimeError for any other."""
    found = getattr(builtins, name, None) or getattr(errors, name, None)
    if not isinstance(found, type) or not issubclass(found, Exception) or issubclass(found, (*_STOPS, UnicodeError)):
        return RuntimeError
    return found


def _harmless(text: str, count: int) -> str:
    """The template, if its fields are whole tensors in a format that is not too wide."""
    try:
        for _, name, spec, conversion in string.Formatter().parse(text):
            if name is None:
                continue
            known = name.isdecimal() and name.isascii() and int(name) < count
            if not known or conversion not in (None, "s", "r") or not _SPEC.fullmatch(spec or ""):
                raise ModelError(f"the text {text[:200]!r} has a field that is no tensor in a known format")
    except ValueError as error:
        raise ModelError(f"the text {text[:200]!r} is no template: {error}") from None
    return text


for _number in range(_MOST + 1):
    operator(f"Print{_number}", domain="duograph")(say)
    operator(f"Raise{_number}", domain="duograph")(fail)
