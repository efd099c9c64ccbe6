"""A static program failed while it ran: the user's words for it."""

from __future__ import annotations

from typing import Any

from duograph.errors import BoundsError, DivisionError, InternalError, ShapeError

_INDEX, _DIVISION = 1, 2


def raise_failure(name: str, entry: Any, code: int, status: tuple[int, ...], node: int) -> None:
    """Raise what a failed check or kernel stands for."""
    kind, value, extent = status[0], status[1], status[2]
    if kind == _INDEX:
        raise BoundsError(f"{name}: index {value} is out of range for a dimension of size {extent}")
    if kind == _DIVISION:
        raise DivisionError(f"{name}: integer division or remainder by zero")
    if code > 0:
        raise ShapeError(f"{name}: sizes do not fit together (check {code})")
    raise InternalError(f"{name}: the program stopped with check {code}, status {status}, node {node}")
