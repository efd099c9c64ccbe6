"""Lists, dicts and sets of the captured function that code in a branch or loop may change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .journal import CONTAINERS, refill


def same_items(a: Any, b: Any) -> bool:
    """Whether two containers hold the same objects in the same order."""
    if len(a) != len(b):
        return False
    if isinstance(a, set):
        return {id(x) for x in a} == {id(x) for x in b}
    if isinstance(a, dict):
        return list(a) == list(b) and all(x is y for x, y in zip(a.values(), b.values()))
    return all(x is y for x, y in zip(a, b))


class Containers:
    """Those that were there before a branch or loop, and what they held."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.known = list({id(x): x for x in values if type(x) in CONTAINERS}.values())
        self.saved = [x.copy() for x in self.known]

    def take_back(self) -> list[Any]:
        """All as before; gives what they held."""
        held = [x.copy() for x in self.known]
        self.give(list(enumerate(self.saved)))
        return held

    def give(self, contents: Sequence[tuple[int, Any]]) -> None:
        """Other contents for some of them, by number."""
        for i, items in contents:
            refill(self.known[i], items)

    def changed(self, *contents: Sequence[Any]) -> list[int]:
        """The numbers of those that hold something else than before in some of the contents."""
        return [i for i, old in enumerate(self.saved) if not all(same_items(held[i], old) for held in contents)]
