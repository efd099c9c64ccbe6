"""What is in boxes that a gradient reads, as one tensor: what one program leaves for another, as boxes end with a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.ir.builder import Region
from duograph.ir.dim import Expr
from duograph.ir.graph import Node, Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import value_of, wrap

from .handed_boxes import COUNTER, Kept

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


class Packed(NamedTuple):
    """The contents of a stack of boxes one after the other, and where each begins."""

    flat: Value
    begins: Value
    boxes: Value  # the numbers that they had
    kept: Kept


def pack(builder: CaptureBuilder, boxes: Value, kept: Kept) -> Packed:
    """Further nodes of the program that has the boxes."""
    counts: Any = 1
    for dim, size in enumerate(kept.type.shape):
        counts = counts * wrap(kept.sizes[dim] if dim in kept.sizes else value_of(size))
    begins, total = builder.read(counts.cumsum(0) - counts), builder.read(counts.sum())
    elements = builder.size_of(total, "elements")
    empty = builder.constant(0, kept.type.dtype, (elements,))
    with _turn(builder, boxes, [empty.type]) as turn:
        shape = turn.shape(kept)
        value = builder.unbox(turn.row(boxes), kept.type.dtype, shape)
        begin = builder.size_of(turn.row(begins), "begin")
        flat = _reshaped(builder, value, (TensorType(value.dtype, shape).size,))
        attrs = {"starts": (begin,), "steps": (1,)}
        turn.outputs += builder.emit("slice_update", [turn.inputs[1], flat], attrs, [empty.type])
    return Packed(turn.loop([empty])[1], begins, boxes, kept)


def unpack(builder: CaptureBuilder, packed: Packed) -> Value:
    """The stack of boxes again, in another program."""
    kept = packed.kept
    with _turn(builder, packed.boxes, []) as turn:
        shape = turn.shape(kept)
        begin = builder.size_of(turn.row(packed.begins), "begin")
        whole = TensorType(kept.type.dtype, shape)
        part = TensorType(whole.dtype, (whole.size,))
        flat = builder.emit("slice", [packed.flat], {"starts": (begin,), "steps": (1,)}, [part])[0]
        turn.outputs.append(builder.box(_reshaped(builder, flat, shape), keep=True))
    return turn.loop([], packed.boxes.shape[0])[1]


def _reshaped(builder: CaptureBuilder, value: Value, shape: tuple[Expr, ...]) -> Value:
    return value if value.shape == shape else builder.emit("reshape", [value], {}, [TensorType(value.dtype, shape)])[0]


class _Turn:
    """The body of a loop over the rows of stacks, while it is written."""

    def __init__(self, builder: CaptureBuilder, body: Region, turns: Expr) -> None:
        self.builder = builder
        self.body = body
        self.inputs = body.inputs
        self.turns = turns
        one = builder.constant(1, core.int64)
        self.outputs = [builder.emit("add", [body.inputs[0], one], {}, [COUNTER])[0]]

    def row(self, stack: Value) -> Value:
        return self.builder.emit("row", [stack, self.inputs[0]], {}, [TensorType(stack.dtype, stack.shape[1:])])[0]

    def shape(self, kept: Kept) -> tuple[Expr, ...]:
        """The shape of what is in this turn's box."""
        return kept.shape(lambda stack: self.builder.size_of(self.row(stack), "length"))

    def loop(self, initial: Sequence[Value], trips: Expr | None = None) -> list[Value]:
        builder = self.builder
        turns = value_of(self.turns)
        with builder.region([value.type for value in self.inputs]) as test:
            test.outputs = builder.emit("lt", [test.inputs[0], turns], {}, [TensorType(core.bool)])
        stacked = len(self.outputs) - 1 - len(initial)
        return builder.while_loop(test, self.body, [builder.constant(0, core.int64), *initial], stacked, trips)


@contextmanager
def _turn(builder: CaptureBuilder, stack: Value, carried: Sequence[TensorType]) -> Iterator[_Turn]:
    with builder.region([COUNTER, *carried]) as body:
        turn = _Turn(builder, body, stack.shape[0])
        yield turn
        body.outputs = turn.outputs


def unpacked(builder: CaptureBuilder, read: Iterable[Value]) -> tuple[list[Node], dict[Value, Value]]:
    """For a program that reads these values: what it does first for boxes among them, which are packed here, and its own."""
    kept = {value: builder.boxes_kept[value] for value in read if value in builder.boxes_kept}
    packed = [pack(builder, value, found) for value, found in kept.items() if value.shape]
    single = {value: _content(builder, value, found) for value, found in kept.items() if not value.shape}
    mark = len(builder.body())
    values = {each.boxes: unpack(builder, each) for each in packed}
    values |= {box: builder.box(content, keep=True) for box, content in single.items()}
    return builder.taken_from(mark), values


def _content(builder: CaptureBuilder, box: Value, kept: Kept) -> Value:
    """What is in one box."""
    return builder.unbox(box, kept.type.dtype, kept.shape(lambda count: builder.size_of(count, "length")))
