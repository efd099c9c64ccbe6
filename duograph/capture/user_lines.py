"""The user's lines that operators of a capture come from."""

from __future__ import annotations

import contextlib
import linecache
import sys
from types import CodeType

from duograph._stack import FOLLOWED, is_internal
from duograph.ir.location import Location

_internal_codes: dict[CodeType, bool] = {}
_locations: dict[tuple[CodeType, int], Location] = {}


def _is_internal(file: str) -> bool:
    return file.startswith("<frozen") or file == contextlib.__file__ or (is_internal(file) and not file.startswith(FOLLOWED))


def user_location() -> Location | None:
    """The user's line that is running."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        internal = _internal_codes.get(code)
        if internal is None:
            internal = _internal_codes[code] = _is_internal(code.co_filename)
        if not internal:
            key = (code, frame.f_lineno)
            found = _locations.get(key)
            if found is None:
                text = linecache.getline(code.co_filename, frame.f_lineno).strip()
                found = _locations[key] = Location(code.co_filename, frame.f_lineno, code.co_qualname, text)
            return found
        frame = frame.f_back  # type: ignore[assignment]
    return None
