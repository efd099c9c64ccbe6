"""Comprehensions and sums as loops, whose number of turns a size says."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from duograph import _core as core
from duograph.ir.builder import current
from duograph.ir.types import TensorType

from ..outside.recorder import Recorder
from .control import ControlFlow, Variables, held_by
from .growing import grows
from .loops import for_loop
from .merge import filler
from .sequences import as_sequence


def gather(recorder: Recorder, items: Any, make: Callable[[Any], Any]) -> list[Any] | None:
    """`[make(item) for item in items]` where only a size says how many there are; None elsewhere."""
    sequence = as_sequence(items)
    if sequence is None or sequence.turns is not None:
        return None
    found: list[Any] = []
    for_loop(recorder, items, lambda item: found.append(make(item)), None, _filling(found))
    return found


def sift(recorder: Recorder | None, items: Any, make: Callable[[Any], Any], keep: Callable[[Any], Any]) -> list[Any]:
    """`[make(item) for item in items if keep(item)]`, where tensors may decide which are kept."""
    found: list[Any] = []
    nothing = _filling(found)

    def turn(item: Any) -> None:
        ControlFlow.if_(keep(item), lambda: found.append(make(item)), lambda: None, nothing)

    if recorder is None or recorder.single_path or (isinstance(items, (list, tuple, dict)) and not grows(items)):
        for item in items:
            turn(item)
    else:
        for_loop(recorder, items, turn, None, nothing)
    return found


def _filling(found: list[Any]) -> Variables:
    """No variables: of a statement that fills a list and assigns nothing."""
    return Variables(lambda: (), lambda values: None, (), (), lambda: (found,))


def total(recorder: Recorder, rows: Any, start: Any) -> Any:
    """`sum(rows, start)` of as many rows as only the run knows."""
    builder: Any = current()
    begin, length = start, getattr(rows.size(0), "expr", rows.size(0))
    some = recorder.sizes.knows(length) and recorder.sizes.decide(0, "lt", length)
    if some:
        begin, rows = start + rows[0], rows[1:]
    elif rows.ndim > 1 or isinstance(start, core.Tensor):
        begin = start + filler(TensorType(rows.dtype, rows._traced.shape[1:]))
    held = [begin]
    variables = held_by(held, "the sum", lambda: ())
    for_loop(recorder, rows, lambda row: operator.setitem(held, 0, held[0] + row), None, variables)
    if begin is not start and not some:
        builder.kinds.note(held[0], "the sum", (start, held[0]))
    return held[0]
