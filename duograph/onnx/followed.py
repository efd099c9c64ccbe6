"""Loops and branches of a model, written as users write them: a capture follows this code and makes nodes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duograph as dg


def branch(condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """What one side gives."""
    if condition:
        results = then()
    else:
        results = otherwise()
    return results


def loop(test: Callable[[Any], Any], turn: Callable[[Any], Any], values: Any) -> Any:
    """The values after all turns."""
    while test(values):
        values = turn(values)
    return values


def loop_with_rows(test: Callable[[Any], Any], turn: Callable[[Any], Any], values: Any, rows: Any) -> Any:
    """The values after all turns; each turn appends a row to every list of `rows`."""
    while test(values):
        values, written = turn(values)
        for row, value in zip(rows, written):
            row.append(value)
    return values


def stacked(items: list[Any], dtype: Any, shape: Sequence[int]) -> Any:
    """The rows of a list as one tensor; where there are none, no rows of this dtype and shape."""
    return dg.stack(items) if items else dg.zeros(0, *shape, dtype=dtype)


stacked.stacks_rows = True  # type: ignore[attr-defined]
