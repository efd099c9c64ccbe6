"""Variables that are one kind of thing on some ways through a function, another on others: int or float, number or tensor.

Inside of the program they are one value. Where one leaves the function, the user is told: dynamic mode gives it back as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.ir.graph import Value

from ..reports.signatures import warn
from ..values.numbers import is_live
from .control import UNBOUND
from .merge import is_number, is_synthetic

_NUMBERS = {"b": "bool", "i": "int", "f": "float"}
_ORDER = ("bool", "int", "float", "tensor")


class Kinds:
    """The variables of one capture that are of several kinds."""

    def __init__(self) -> None:
        self.known: dict[Value, tuple[str, frozenset[str], Any]] = {}

    def note(self, tensor: Any, path: str, ways: Iterable[Any]) -> None:
        """A variable is what branches or turns left in it, one of `ways`."""
        found: set[str] = set()
        for value in ways:
            found |= self._of(value)
        if len(found) > 1 and tensor._traced is not None:
            self.known[tensor._traced] = (path, frozenset(found), user_location())

    def leaves(self, tensor: Any) -> None:
        """A tensor is given to Python; warns if dynamic mode gave another kind of thing on some ways."""
        row = None if tensor._traced is None else self.known.pop(tensor._traced, None)
        if row is None:
            return
        path, found, location = row
        kinds = [kind for kind in _ORDER if kind in found]
        name = "what it gives" if is_synthetic(path) else path
        others = ", ".join(_a(kind) for kind in kinds[:-1])
        last = _a(kinds[-1])
        start = "dg.tensor(…)" if kinds[-1] == "tensor" else f"{kinds[-1]}(…)"
        warn(
            f"static: {name} is {others} on some ways through the function and {last} on others, as a tensor's value decides: "
            f"it leaves the function as {last} on all\n  at {location}\n  hint: give it one kind on all ways: begin with {start}"
        )

    def _of(self, value: Any) -> set[str]:
        if value is UNBOUND or value is None:
            return set()
        if not isinstance(value, core.Tensor):
            return {type(value.value if is_live(value) else value).__name__} if is_number(value) else set()
        traced = value._traced
        if traced is None or not traced.type.weak:
            return set(self.known[traced][1]) if traced in self.known else {"tensor"}
        return set(self.known[traced][1]) if traced in self.known else {_NUMBERS[value.dtype.kind]}


def _a(kind: str) -> str:
    return f"{'an' if kind == 'int' else 'a'} {kind}"
