"""Small questions to what is outside of a static function, which its captures ask or remember."""

from __future__ import annotations

from typing import Any


class TupleHistory:
    """Which tuples of numbers outside of a static function have changed from one capture to another."""

    _LIMIT = 256

    def __init__(self) -> None:
        self.seen: dict[tuple[int, Any], list[Any]] = {}  # place → [holder, value, whether it changed]

    def change(self, holder: Any, key: Any, value: tuple[Any, ...]) -> bool:
        """Whether what is there changes: the capture is not for one value of it."""
        if not value or not all(type(x) in (int, float) for x in value):
            return False
        place = (id(holder), key)
        row = self.seen.get(place)
        if row is None:
            if len(self.seen) < self._LIMIT:
                self.seen[place] = [holder, value, False]
            return False
        row[2] |= row[1] != value
        return bool(row[2])


class OfClass:
    """Whether an attribute of an object is still that of its class: it has none by itself."""

    def __init__(self, holder: Any, name: str) -> None:
        self.holder, self.name = holder, name

    def __call__(self) -> bool:
        return self.name not in self.holder.__dict__


class Lacks:
    """Whether an object still has no attribute of a name."""

    def __init__(self, holder: Any, name: str) -> None:
        self.holder, self.name = holder, name

    def __call__(self) -> bool:
        return not hasattr(self.holder, self.name)
