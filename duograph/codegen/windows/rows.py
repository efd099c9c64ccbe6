"""Copies of rows to scratch: zeros around them, the elements of one remainder of the stride side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value, mangle, vector_type
from duograph.codegen.windows.launch import LANES

FILL = (
    ("ptr", "rows"),
    ("ptr", "source"),
    ("ptr", "target"),
    ("i64", "first0"),
    ("i64", "first1"),
    ("i64", "count0"),
    ("i64", "count1"),
)
# Some rows, ``next`` and ``pitch * stride * size`` bytes apart. ``width``: of the source, 0 for rows of zeros; ``step``,
# ``pitch``: in elements.
_ROWS = (
    *(("ptr", "source"), ("i64", "next"), ("ptr", "target"), ("i64", "count"), ("i64", "width"), ("i64", "low")),
    *(("i64", "stride"), ("i64", "pitch"), ("i64", "step")),
)
_KINDS = ("plain_rows", "halved_rows", "any_rows")


def add_fill(module: Module, shape: TileShape) -> None:
    """``fill``: rows of an operand to scratch. ``rows`` says how both lie (see `launch`); what lies outside is zero."""
    for emit in (_plain, _halved, _any):
        emit(module, shape)
    module.table("rows", "ptr", [f"@{name}" for name in _KINDS], align=8)
    f = TileFunction(module, "fill", FILL, linkage="internal")
    f.shape = shape
    words = [f.load("i64", f.gep("%rows", 8 * i)) for i in range(10)]
    size0, size1, size2, step0, step1, step2, slab, stride, low, pitch = words
    one = f.icmp("eq", step2, 1)
    halved = f.op(f"and i1 {one}, {f.icmp('eq', stride, 2)}")
    plain = f.op(f"and i1 {one}, {f.icmp('eq', stride, 1)}")
    kind = f.select(plain, 0, f.select(halved, 1, 2))
    copy = f.load("ptr", f.gep("@rows", kind, 8))
    row_bytes, row_step = f.mul(f.mul(pitch, stride), shape.size), f.mul(step1, shape.size)
    before = f.umin(f.smax(f.sub(0, "%first1"), 0), "%count1")
    end = f.umin(f.smax(f.sub(size1, "%first1"), before), "%count1")
    with f.loop(0, "%count0") as i:
        place0 = f.add("%first0", i)
        inside = f.icmp("ult", place0, size0)
        behind = f.select(inside, end, before)
        for low1, high1, width in ((0, before, 0), (before, behind, size2), (behind, "%count1", 0)):
            row = f.add("%first1", low1) if width is size2 else 0
            source = f.gep("%source", f.add(f.mul(f.mul(place0, step0), shape.size), f.mul(row, row_step)))
            target = f.gep("%target", f.mul(f.add(f.mul(i, slab), low1), row_bytes))
            values = [source, row_step, target, f.sub(high1, low1), width, low, stride, pitch, step2]
            f.emit(f"call void {copy}(" + ", ".join(f"{type} {value}" for (type, _), value in zip(_ROWS, values)) + ")")
    module.add(f)


class _Rows(TileFunction):
    """A function that copies some rows."""

    def __init__(self, module: Module, shape: TileShape, name: str) -> None:
        super().__init__(module, name, _ROWS, linkage="internal")
        self.shape = shape
        self.places = vector_type(shape.lanes, "i32")
        self.width = self.splat(shape.lanes, "i32", self.op("trunc i64 %width to i32"))

    @contextmanager
    def rows(self) -> Iterator[tuple[str, str]]:
        """Where each row is and where it goes."""
        row_bytes = self.mul(self.mul("%pitch", "%stride"), self.shape.size)
        with self.loop(0, "%count") as row:
            yield self.gep("%source", self.mul(row, "%next")), self.gep("%target", self.mul(row, row_bytes))

    def lanes_from(self, place: Value, step: Value = 1) -> str:
        """place, place + step, …"""
        first = self.splat(self.shape.lanes, "i32", self.op(f"trunc i64 {place} to i32"))
        count = "<" + ", ".join(f"i32 {i}" for i in range(self.shape.lanes)) + ">"
        if step != 1:
            scale = self.splat(self.shape.lanes, "i32", self.op(f"trunc i64 {step} to i32"))
            count = self.op(f"mul {self.places} {count}, {scale}")
        return self.op(f"add {self.places} {first}, {count}")

    def inside(self, places: str) -> str:
        """Which places are in the row; those in front of it are huge as unsigned numbers."""
        return self.op(f"icmp ult {self.places} {places}, {self.width}")

    def in_three(self, step: int, move: Callable[[str, str, str, list[str | None]], None]) -> None:
        """``move(source, target, i, masks)`` for each step of a row and the zeros around it, counted from the first of them;
        ``masks``: which of each vector's elements are in the row, None for all. They are made once for all rows."""
        lanes = self.shape.lanes
        size = self.mul("%pitch", step // lanes)
        begin = self.umin(self.and_(self.add("%low", step - 1), -step), size)
        within = self.and_(self.smax(self.sub(self.add("%width", "%low"), begin), 0), -step)
        end = self.add(begin, within)
        for low, high in ((0, begin), (end, size)):
            with self.loop(low, high, step) as i:
                place = self.sub(i, "%low")
                masks: list[str | None] = [self.inside(self.lanes_from(self.add(place, at))) for at in range(0, step, lanes)]
                with self.rows() as (source, target):
                    move(source, target, i, masks)
        with self.rows() as (source, target), self.loop(begin, end, step) as i:
            move(source, target, i, [None] * (step // lanes))

    def read(self, source: str, i: Value, number: int, mask: str | None) -> str:
        """Vector ``number`` of those from i on, counted from the first zero in front of the row."""
        place = self.add(self.sub(i, "%low"), number * self.shape.lanes)
        return self.load_vector(self.gep(source, self.mul(place, self.shape.size)), mask)


def _plain(module: Module, shape: TileShape) -> None:
    f = _Rows(module, shape, "plain_rows")

    def move(source: str, target: str, i: str, masks: list[str | None]) -> None:
        f.store_vector(f.read(source, i, 0, masks[0]), f.gep(target, f.mul(i, shape.size)))

    f.in_three(shape.lanes, move)
    module.add(f)


def _halved(module: Module, shape: TileShape) -> None:
    """Every second element, from the first on and from the second on."""
    f = _Rows(module, shape, "halved_rows")

    def move(source: str, target: str, i: str, masks: list[str | None]) -> None:
        halves = [f.read(source, i, number, mask) for number, mask in enumerate(masks)]
        for phase, out in enumerate((target, f.gep(target, "%pitch", shape.size))):
            made = f.shuffle(shape.vector, halves[0], halves[1], range(phase, 2 * shape.lanes, 2))
            f.store_vector(made, f.gep(out, f.mul(f.lshr(i, 1), shape.size)))

    f.in_three(2 * shape.lanes, move)
    module.add(f)


def _any(module: Module, shape: TileShape) -> None:
    """Any stride and any step from element to element."""
    f = _Rows(module, shape, "any_rows")
    offsets, pointers, masks = (vector_type(shape.lanes, element) for element in ("i64", "ptr", "i1"))
    name = f"llvm.masked.gather.{mangle(shape.vector)}.{mangle(pointers)}"
    module.declare(name, shape.vector, [pointers, "i32", masks, shape.vector])
    step = f.splat(shape.lanes, "i64", f.mul("%step", shape.size))
    with f.rows() as (source, target), f.loop(0, "%stride") as phase:
        out = f.gep(target, f.mul(f.mul(phase, "%pitch"), shape.size))
        with f.loop(0, "%pitch", shape.lanes) as i:
            places = f.lanes_from(f.sub(f.add(f.mul(i, "%stride"), phase), "%low"), "%stride")
            wide = f.op(f"sext {f.places} {places} to {offsets}")
            pointer = f.op(f"getelementptr i8, ptr {source}, {offsets} {f.op(f'mul {offsets} {wide}, {step}')}")
            arguments = f"{pointers} {pointer}, i32 {shape.size}, {masks} {f.inside(places)}, {shape.vector} zeroinitializer"
            made = f.op(f"call {shape.vector} @{name}({arguments})")
            f.store_vector(made, f.gep(out, f.mul(i, shape.size)))
    module.add(f)


assert LANES % 16 == 0, "rows in scratch are whole vectors"
