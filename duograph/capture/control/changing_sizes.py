"""Variables of a loop whose sizes change from turn to turn: `ids = cat([ids, following])`, `x = x[1:]`.

The loop carries such a variable in a *box*, memory of the run that has the size it needs, and beside it the numbers that
are its sizes. A turn begins with these as late sizes, and takes the variable out of its box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph.ir.builder import current
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import value_of, wrap

from .control import UNBOUND
from .handed_boxes import COUNTER
from .loop_node import Boxed, Loop
from .merge import adopt, type_of

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


class Carried(NamedTuple):
    """A variable's leaf that changes from turn to turn."""

    path: str
    type: TensorType  # at the start of a turn
    initial: Any  # a tensor or number from before the loop, or UNBOUND
    changing: frozenset[int] = frozenset()  # dimensions whose sizes change

    def like(self, type: TensorType) -> TensorType:
        """The variable's type with this one's sizes where they change."""
        if not self.changing or type.rank != self.type.rank:
            return self.type
        return TensorType(self.type.dtype, self._sizes(type.shape), self.type.weak)

    def _sizes(self, others: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(others[d] if d in self.changing else size for d, size in enumerate(self.type.shape))

    def fit(self, value: Any) -> Any:
        """A leaf as what this variable may hold."""
        if not self.changing:
            return adopt(value, self.type)
        found = None if value is UNBOUND else type_of(value)
        sizes = (0,) * self.type.rank if found is None else found.shape
        return adopt(value, TensorType(self.type.dtype, self._sizes(sizes)))

    def further(self, type: TensorType) -> Carried | None:
        """The variable with the dimensions in which the other type differs; None if it differs otherwise, too."""
        builder: Any = current()
        if type.weak or self.type.weak or type.dtype is not self.type.dtype or type.rank != self.type.rank:
            return None
        sizes = enumerate(zip(self.like(type).shape, type.shape))
        new = {d for d, (old, now) in sizes if old != now and not builder.same_shape((old,), (now,))}
        return self._replace(changing=self.changing | new) if new else None


class ChangingSizes:
    """The variables of one loop, as a region has them."""

    def __init__(self, builder: CaptureBuilder, loop: Loop, carried: dict[str, Carried]) -> None:
        """The variables' types are in this region's sizes from now on."""
        self.builder = builder
        self.loop = loop
        self.carried = carried
        self.given: list[Value] = []  # what the loop carries
        self.counts: dict[tuple[str, int], Value] = {}
        self.values: dict[str, Value] = {}  # of the variables in the region
        for path, c in carried.items():
            if c.changing:
                self._enter(path, c)
            else:
                self.values[path] = loop.region.input(c.type, path)
                self.given.append(self.values[path])

    def _enter(self, path: str, c: Carried) -> None:
        region = self.loop.region
        sizes = list(c.type.shape)
        mark = len(region.nodes)
        for dim in sorted(c.changing):
            count = self.counts[path, dim] = region.input(COUNTER, "length")
            with region.open():
                sizes[dim] = self.builder.size_of(count, "length")
        type_ = TensorType(c.type.dtype, tuple(sizes))
        self.carried[path] = c._replace(type=type_)
        box, self.values[path] = self.loop.boxed(type_, path)
        self.given.append(box)
        self.loop.entering += region.nodes[mark:]

    def carry(self, initial: Sequence[Any], outs: Sequence[Any]) -> None:
        """The sizes are carried, too; `initial` and `outs` are the variables', in order."""
        loop, builder = self.loop, self.builder
        paths = {path: i for i, path in enumerate(self.carried)}
        for (path, dim), count in self.counts.items():
            number = paths[path]
            box = loop.boxes.setdefault(number, Boxed(self.carried[path].type, {}))
            box.sizes[dim] = len(loop.inputs)
            first = wrap(value_of(builder.read(initial[number]).shape[dim]))
            with loop.region.open(at_end=True):
                last = wrap(value_of(builder.read(outs[number]).shape[dim]))
            loop.carry([count], [None], [first], [last])
