"""What happens once in a branch or turn and is as large as only the run knows: a gradient finds it in a box.

Random numbers are not drawn again for a gradient, and calls into Python are not made again. What came of them, or of a
loop that has them in it, is handed on to the region in which the gradient runs: as it is if its sizes are known there,
else as the number of a box and the sizes as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Node, Value
from duograph.ir.substitution import symbols
from duograph.ir.types import TensorType

from .regions import filled

COUNTER = TensorType(core.int64, (), weak=True)
BOX = TensorType(core.int64, ())


class Kept(NamedTuple):
    """What is in a box, or in those of a stack: the type, and the numbers of the sizes that only a run knows, or their stacks."""

    type: TensorType
    sizes: dict[int, Value]

    def shape(self, size: Callable[[Value], Expr]) -> tuple[Expr, ...]:
        """The shape of what is in a box, with `size` of the numbers that only a run knows."""
        return tuple(size(self.sizes[dim]) if dim in self.sizes else known for dim, known in enumerate(self.type.shape))


class Handed(NamedTuple):
    """What a region is given of an earlier one's values and late sizes, and so does not compute.

    values  those given as they are
    boxes   those of late sizes → the numbers of their boxes
    sizes   late sizes → numbers
    """

    values: dict[Value, Value]
    boxes: dict[Value, Value]
    sizes: dict[Dim, Value]

    @classmethod
    def nothing(cls) -> Handed:
        return cls({}, {}, {})

    def copy(self) -> Handed:
        return Handed(dict(self.values), dict(self.boxes), dict(self.sizes))

    def knows(self, value: Value) -> bool:
        return value in self.values or value in self.boxes

    def taken(self, values: dict[Value, Value]) -> list[Node]:
        """The region's first nodes; `values` is extended by what they and the given values stand for."""
        values.update(self.values)
        nodes = []
        for size, number in self.sizes.items():
            number = values.get(number, number)
            nodes.append(Node("size_of", (number,), {"size": size}, (number.type,)))
        for value, box in self.boxes.items():
            nodes.append(Node("unbox", (values.get(box, box),), {}, (value.type,)))
            values[value] = nodes[-1].output
        return nodes


class Boxing:
    """Further nodes of a region, which put what it hands on into boxes."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.kept: dict[Value, Kept] = {}  # by the numbers of the boxes; sizes are numbers, too
        self._boxes: dict[Value, Value] = {}
        self._counts: dict[Expr, Value] = {}

    def box(self, value: Value, late: Iterable[Dim]) -> Value:
        """The number of a box with the value, whose sizes depend on these late ones."""
        if value not in self._boxes:
            box = self._boxes[value] = self._append("box", (value,), {"keep": True}, BOX)
            sizes = {dim: self.count(size) for dim, size in enumerate(value.shape) if inner_sizes((size,), late)}
            self.kept[box] = Kept(value.type, sizes)
        return self._boxes[value]

    def count(self, size: Expr) -> Value:
        """A size as a number."""
        if size not in self._counts:
            self._counts[size] = self._append("size", (), {"value": size}, COUNTER)
        return self._counts[size]

    def _append(self, op: str, inputs: tuple[Value, ...], attrs: dict[str, Any], type: TensorType) -> Value:
        self.nodes.append(Node(op, inputs, attrs, (type,)))
        return self.nodes[-1].output


def check_single(kept: Mapping[Value, Kept], value: Value) -> None:
    """Refuses stacks of boxes: what is in them would have to be handed on, too."""
    if value in kept and value.shape:
        raise CaptureError(
            "static: the gradient of random numbers or calls into Python in loops inside of loops, inside of a further branch "
            "or loop, where tensors' values decide the numbers of turns",
            hint="draw or call outside of the inner loop",
            location=user_location(),
        )


def inner_sizes(shape: Iterable[Expr], late: Iterable[Dim]) -> set[Dim]:
    """Which of these late sizes a shape speaks of."""
    return {symbol for size in shape if isinstance(size, Dim) for symbol in symbols(size)}.intersection(late)


def empty_box(kept: Kept, nodes: list[Node]) -> Value:
    """The number of a box with nothing in it: what a side of a branch gives for a box of the other."""
    nothing = filled(TensorType(kept.type.dtype, kept.shape(lambda _: 0)), 0, nodes)
    nodes.append(Node("box", (nothing,), {"keep": True}, (BOX,)))
    return nodes[-1].output
