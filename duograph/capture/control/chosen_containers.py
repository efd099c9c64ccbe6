"""Lists, dicts and objects of which a tensor's value chooses one: afterwards the capture has another one in their place.

As long as nobody changes one of them there is no difference. Where one is changed that the program can also reach
otherwise (`m = l`, then `l = [y]` on one side, then `l.append(z)`), dynamic mode would show the change there, too. So
that is refused, when the capture ends and it is known what was changed.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Collection
from typing import Any, NamedTuple

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import FOLLOWED, Location, is_internal, user_location
from duograph.errors import CaptureError

from ..conversion.scopes import HELPER
from ..outside.classes import is_user_class
from ..values.attributes import own_attributes
from ..values.numbers import is_live
from .control import Variables

_DEPTH = 4  # so far containers in containers are looked through
_KINDS = (list, deque, dict)


class _Chosen(NamedTuple):
    line: Location | None
    made: Any
    sources: list[Any]
    held: list[list[Any]]  # what these hold when they are chosen: the new one first


class ChosenContainers:
    """Those of one capture."""

    def __init__(self) -> None:
        self.chosen: list[_Chosen] = []

    def note(self, made: Any, sources: Collection[Any], variables: Variables) -> None:
        """A container stands for one of others; `variables`: those of the statement that gives it."""
        found = [source for source in sources if source is not made and _can_change(source)]
        found = [source for source in found if _is_reached(source, variables)]
        if found:
            held = [_parts(value) for value in (made, *found)]
            self.chosen.append(_Chosen(user_location(), made, found, held))

    def check(self) -> None:
        """At the end of the capture."""
        for each in self.chosen:
            for value, held in zip((each.made, *each.sources), each.held):
                now = _parts(value)
                if len(now) != len(held) or any(a is not b for a, b in zip(now, held)):
                    kind = type(value).__name__
                    raise CaptureError(
                        f"static: a tensor's value decides here which {kind} a variable is; one of them, which the program "
                        "reaches in another way, too, is changed afterwards",
                        hint="give the variable a copy, as by list(...), dict(...) or copy.copy(...)",
                        location=each.line,
                    )


def _is_reached(source: Any, variables: Variables) -> bool:
    """Whether the program can reach a container by something else than these variables, which get new values."""
    recorder: Any = state.recorder
    if id(source) in recorder.external:
        return True
    replaced = {*variables.names, *_assigned()}
    alive = set(variables.live) if all(map(str.isidentifier, variables.names)) else None
    function = ""  # that of the statement
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not is_internal(code.co_filename) or code.co_filename.startswith(FOLLOWED):
            own = code.co_qualname.partition(f".<locals>.{HELPER}")[0]
            function = function or own
            for name, value in frame.f_locals.items():
                dead = name in replaced or (own == function and alive is not None and name not in alive)
                if not dead and _reaches(value, source, _DEPTH):
                    return True
        elif code.co_name == "run" and code.co_filename.endswith("session.py"):
            return False
        frame = frame.f_back
    return False


def _assigned() -> list[str]:
    """The variables that the user's line that runs gives a value: `l` in `l = a if c else b`."""
    line = user_location()
    found = None if line is None else re.match(r"\s*([\w\s,]+?)\s*=(?!=)", line.text)
    return [] if found is None else re.split(r"[\s,]+", found[1])


def _can_change(value: Any) -> bool:
    return isinstance(value, _KINDS) or is_user_class(type(value))


def _parts(value: Any) -> list[Any]:
    """What a container or object holds, in order."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, (list, tuple, deque)):
        return list(value)
    return [part for pair in sorted(own_attributes(value).items(), key=lambda pair: pair[0]) for part in pair]


def _reaches(value: Any, sought: Any, depth: int) -> bool:
    if value is sought:
        return True
    if depth == 0 or isinstance(value, (core.Tensor, type)) or is_live(value):
        return False
    if isinstance(value, (tuple, *_KINDS)) or is_user_class(type(value)):
        return any(_reaches(part, sought, depth - 1) for part in _parts(value))
    return False
