"""Comprehensions and sums as loops, whose number of turns a size says."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ..outside.recorder import Recorder
from .control import Variables
from .loops import for_loop
from .sequences import as_sequence

_SUM = ("the sum",)


def gather(recorder: Recorder, items: Any, make: Callable[[Any], Any]) -> list[Any] | None:
    """`[make(item) for item in items]` where only a size says how many there are; None elsewhere."""
    sequence = as_sequence(items)
    if sequence is None or sequence.turns is not None:
        return None
    found: list[Any] = []
    variables = Variables(lambda: (), lambda values: None, (), (), lambda: (found,))
    for_loop(recorder, items, lambda item: found.append(make(item)), None, variables)
    return found


def total(recorder: Recorder, rows: Any, start: Any) -> Any:
    """`sum(rows, start)` of at least one row."""
    state = [start + rows[0]]
    variables = Variables(lambda: (state[0],), lambda values: operator.setitem(state, 0, values[0]), _SUM, _SUM, lambda: ())
    for_loop(recorder, rows[1:], lambda row: operator.setitem(state, 0, state[0] + row), None, variables)
    return state[0]
