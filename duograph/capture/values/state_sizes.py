"""Which sizes of tensors that a static function reads from outside become symbols: those of a cache that grows, say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from duograph.ir import dim as dims

Symbol = tuple[str, float, float]


class _Place:
    """What the tensors that were found at one place had for sizes and strides."""

    def __init__(self, values: tuple[int, ...]) -> None:
        self.first = values
        self.varied = [False] * len(values)
        self.group = [0] * len(values)  # numbers of one group were equal whenever a capture was made
        self.call = 0  # the last one in which it was seen


class StateHistory:
    """Which sizes of tensors from outside have changed from one capture to another."""

    _LIMIT = 256

    def __init__(self) -> None:
        self.places: dict[Any, _Place] = {}
        self.call = 0
        self.groups: dict[tuple[int, int], int] = {}  # those of this call: group before, value → group
        self.made = 0
        self.names: dict[int, str] = {}  # of the groups
        self.taken: set[str] = set()
        self.pinned: set[Any] = set()  # places of numbers that captures were for one value of

    def begin(self, taken: Iterable[str]) -> None:
        """A call is captured, with these names for sizes of arguments."""
        self.call += 1
        self.groups.clear()
        self.names.clear()
        if len(self.pinned) > self._LIMIT:
            self.pinned.clear()
        self.taken = set(taken)

    def symbols(self, place: Any, name: str, tensor: Any) -> dict[int, Symbol]:
        """What of a tensor found there is to be a symbol: by dimension, those of strides behind those of sizes."""
        rank = tensor.ndim
        values = (*tensor.shape, *(() if tensor.is_contiguous() else tensor.stride()))
        seen = self._observe((*place, rank, len(values)), values)
        wanted = [i for i, value in enumerate(values) if seen.varied[i] or (i < rank and value == 0)]
        low = -dims.INFINITY
        return {
            i: (self._name(seen.group[i], name, i), 0, dims.INFINITY) if i < rank
            else (f"{self._name(seen.group[i], name, i)}_step", low, dims.INFINITY)
            for i in wanted
        }  # fmt: skip

    def number(self, place: Any, name: str, value: int) -> Symbol | None:
        """The symbol that a whole number found there is to be, which other captures were for one value of."""
        if place not in self.pinned:
            return None
        seen = self._observe((*place, "number"), (value,))
        return (self._name(seen.group[0], name, "number"), 0, dims.INFINITY) if seen.varied[0] else None

    def _observe(self, key: Any, values: tuple[int, ...]) -> _Place:
        seen = self.places.pop(key, None) or _Place(values)
        self.places[key] = seen
        while len(self.places) > self._LIMIT:
            del self.places[next(iter(self.places))]
        if seen.call != self.call:
            seen.call = self.call
            for i, value in enumerate(values):
                seen.varied[i] |= value != seen.first[i]
                seen.group[i] = self._group(seen.group[i], value)
        return seen

    def _group(self, before: int, value: int) -> int:
        found = self.groups.get((before, value))
        if found is None:
            self.made += 1
            found = self.groups[before, value] = self.made
        return found

    def _name(self, group: int, name: str, dimension: int | str) -> str:
        if group not in self.names:
            made = "".join(c if c.isalnum() else "_" for c in f"{name or 'state'}_{dimension}")
            while made in self.taken or f"{made}_step" in self.taken:
                made += "_"
            self.taken |= {made, f"{made}_step"}
            self.names[group] = made
        return self.names[group]


class StateSizes:
    """The tensors from outside that one capture sees with symbols for sizes.

    Args:
        excluded: names of symbols that must be numbers in this capture.
    """

    def __init__(self, history: StateHistory, excluded: frozenset[str] = frozenset()) -> None:
        self.history = history
        self.excluded = excluded
        self.used = False  # some size became a symbol

    def without(self, names: set[str]) -> StateSizes:
        """The same with some symbols as numbers."""
        return StateSizes(self.history, self.excluded | names)
