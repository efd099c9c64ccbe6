"""What `for` goes over: ranges and tensors, also with a length that only each run knows; `enumerate` and `zip` of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.builder import current
from duograph.ir.dim import Dim, maximum, minimum
from duograph.ops.tracing import value_of, wrap

from .growing import Rows, grows, item, joined, settled

if TYPE_CHECKING:
    from .regions import Region

_MISSING = object()


class RangeOf:
    """`range` with bounds that are tensors or numbers of the run."""

    def __init__(self, *bounds: Any) -> None:
        self.bounds = bounds

    def __iter__(self) -> Iterator[int]:
        return iter(range(*(int(b) for b in self.bounds)))

    def __len__(self) -> int:
        return len(range(*(int(b) for b in self.bounds)))

    def backward(self) -> RangeOf:
        """The same numbers in the other order."""
        if len(self.bounds) < 3:
            start, stop = (bound.to(core.int64) if isinstance(bound, core.Tensor) else bound for bound in (0, *self.bounds)[-2:])
            return RangeOf(stop - 1, start - 1, -1)
        numbers = _Range(self.bounds, self)
        start, _, step = (numbers.number(bound) for bound in self.bounds)
        return RangeOf(start + (numbers.count() - 1) * step, start - step, -step)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice) and (index.start, index.stop, index.step) == (None, None, -1):
            return self.backward()
        return range(*(int(b) for b in self.bounds))[index]


class Enumerated:
    """`enumerate` of something a loop may go over."""

    def __init__(self, items: Any, start: Any = 0) -> None:
        self.inner = items
        self.start = start

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return enumerate(self.inner, self.start)


class Zipped:
    """`zip` of things a loop may go over."""

    def __init__(self, *items: Any) -> None:
        self.inner = items

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return zip(*self.inner)


def range_of(*bounds: Any) -> Any:
    """What `range(...)` is in a capture."""
    return RangeOf(*bounds) if any(_is_open(b) for b in bounds) else range(*bounds)


def reversed_of(items: Any) -> Any:
    """What `reversed(...)` is in a capture."""
    if isinstance(items, RangeOf):
        return items.backward()
    builder: Any = current()
    return item(builder, items, slice(None, None, -1)) if grows(items) else reversed(items)


def enumerate_of(items: Any, start: Any = 0) -> Any:
    """What `enumerate(...)` is in a capture."""
    return Enumerated(items, start) if as_sequence(items) is not None else enumerate(settled(items), start)


def zip_of(*items: Any, **options: Any) -> Any:
    """What `zip(...)` is in a capture."""
    if not options and items and all(as_sequence(x) is not None for x in items):
        return Zipped(*items)
    return zip(*map(settled, items), **options)


def _is_open(bound: Any) -> bool:
    """Whether only each run knows the number, and the capture need not be for one value of it."""
    if isinstance(bound, core.Tensor):
        return True
    return type(bound) is not int and size_expression(bound) is not None


def size_expression(number: Any) -> Any:
    """The size that a number is, as an int or `Dim`; None if it is no size."""
    if type(number) is int or isinstance(number, Dim):
        return number
    return getattr(number, "expr", None)


class Sequence_:
    """Items by number.

    turns   the number of items if Python knows it, else None
    length  the same as a size expression; None where only a tensor knows
    """

    turns: int | None = None
    length: Any = None

    def count(self) -> Any:
        """The number of items as a traced 0-d int64 tensor."""
        return wrap(value_of(self.length))

    def within(self, turn: Any) -> Any:
        """Whether there is an item of this number."""
        return turn < self.count()

    def item(self, region: Region | None, turn: Any) -> Any:
        raise NotImplementedError

    def items(self) -> Any:
        """For a Python loop."""
        raise NotImplementedError


class _Range(Sequence_):
    def __init__(self, bounds: Sequence[Any], source: Any) -> None:
        self.source = source
        start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1) if len(bounds) == 2 else bounds
        self.start, self.stop, self.step = start, stop, step
        if isinstance(source, range):
            self.turns = self.length = len(source)
            return
        first, last, by = (size_expression(x) for x in (start, stop, step))
        if first is not None and last is not None and by in (1, -1):
            self.length = maximum((last - first) * by, 0)

    def count(self) -> Any:
        if self.length is not None:
            return super().count()
        start, stop, step = (self.number(x) for x in (self.start, self.stop, self.step))
        return ((stop - start + step - (step > 0) * 2 + 1) // step).clamp(min=0)

    @staticmethod
    def number(x: Any) -> Any:
        return x.to(core.int64).reshape(()) if isinstance(x, core.Tensor) else wrap(value_of(x))

    def item(self, region: Region | None, turn: Any) -> Any:
        start, step = (x if isinstance(x, core.Tensor) else size_expression(x) for x in (self.start, self.step))
        item = turn if type(step) is int and step == 1 else turn * self.number(step)
        return item if type(start) is int and start == 0 else item + self.number(start)

    def items(self) -> Any:
        return self.source


class _Rows(Sequence_):
    """The rows of a tensor."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        rows = tensor.size(0)
        self.length = getattr(rows, "expr", rows)
        self.turns = self.length if type(self.length) is int else None

    def item(self, region: Region | None, turn: Any) -> Any:
        return self.tensor[turn]

    def items(self) -> Any:
        return self.tensor


class _Items(Sequence_):
    """What loops appended to a list, where that is not one tensor."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.length = rows.length()
        self.turns = self.length if type(self.length) is int else None

    def item(self, region: Region | None, turn: Any) -> Any:
        return self.rows.item(turn)

    def items(self) -> Any:
        return [self.rows.item(i) for i in range(self.turns or 0)]


class _Enumeration(Sequence_):
    def __init__(self, inner: Sequence_, start: Any, source: Any) -> None:
        self.inner, self.start, self.source = inner, start, source
        self.turns, self.length = inner.turns, inner.length

    def count(self) -> Any:
        return self.inner.count()

    def item(self, region: Region | None, turn: Any) -> Any:
        number = turn if type(self.start) is int and self.start == 0 else turn + self.start
        return number, self.inner.item(region, turn)

    def items(self) -> Any:
        return enumerate(self.inner.items(), self.start)


class _Zip(Sequence_):
    def __init__(self, inner: Sequence[Sequence_]) -> None:
        self.inner = inner
        known = [x.turns for x in inner]
        if all(n is not None for n in known):
            self.turns = self.length = min(n for n in known if n is not None)
        elif all(x.length is not None for x in inner):
            self.length = inner[0].length
            for other in inner[1:]:
                self.length = minimum(self.length, other.length)

    def count(self) -> Any:
        if self.length is not None:
            return super().count()
        counts = [x.count() for x in self.inner]
        least = counts[0]
        for other in counts[1:]:
            least = least.minimum(other)
        return least

    def item(self, region: Region | None, turn: Any) -> Any:
        return tuple(x.item(region, turn) for x in self.inner)

    def items(self) -> Any:
        return zip(*(x.items() for x in self.inner))


class Later(Sequence_):
    """All but the first of items whose number is a size."""

    def __init__(self, inner: Sequence_) -> None:
        self.inner = inner
        self.length = maximum(inner.length - 1, 0)

    def item(self, region: Region | None, turn: Any) -> Any:
        return self.inner.item(region, turn + 1)


def as_sequence(items: Any) -> Sequence_ | None:
    """The items as a loop over turns, if they are a range or a tensor or made of them."""
    if isinstance(items, Sequence_):
        return items
    if isinstance(items, range):
        return _Range((items.start, items.stop, items.step), items)
    if isinstance(items, RangeOf):
        return _Range(items.bounds, items)
    if isinstance(items, core.Tensor):
        return _Rows(items) if items.ndim else None
    if grows(items):
        builder: Any = current()
        rows = joined(builder, items)
        return _Rows(rows.stacks[0]) if isinstance(rows.like, core.Tensor) else _Items(rows)
    if isinstance(items, Enumerated):
        inner = as_sequence(items.inner)
        return None if inner is None else _Enumeration(inner, items.start, items)
    if isinstance(items, Zipped):
        parts = [as_sequence(x) for x in items.inner]
        return None if any(p is None for p in parts) else _Zip([p for p in parts if p is not None])
    return None
