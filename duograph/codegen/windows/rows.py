"""Copies of rows to scratch: zeros around them, the elements of one remainder of the stride side by side."""

from __future__ import annotations

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
# ``width``: of the source, 0 for a row of zeros; ``step``, ``pitch``: in elements.
_ROW = (
    *(("ptr", "source"), ("ptr", "target"), ("i64", "width"), ("i64", "low")),
    *(("i64", "stride"), ("i64", "pitch"), ("i64", "step")),
)
_KINDS = ("plain_row", "halved_row", "any_row")


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
    row_bytes = f.mul(f.mul(pitch, stride), shape.size)
    with f.loop(0, "%count0") as i, f.loop(0, "%count1") as j:
        place0, place1 = f.add("%first0", i), f.add("%first1", j)
        inside = f.op(f"and i1 {f.icmp('ult', place0, size0)}, {f.icmp('ult', place1, size1)}")
        source = f.gep("%source", f.mul(f.add(f.mul(place0, step0), f.mul(place1, step1)), shape.size))
        target = f.gep("%target", f.mul(f.add(f.mul(i, slab), j), row_bytes))
        values = [source, target, f.select(inside, size2, 0), low, stride, pitch, step2]
        f.emit(f"call void {copy}(" + ", ".join(f"{type} {value}" for (type, _), value in zip(_ROW, values)) + ")")
    module.add(f)


class _Row(TileFunction):
    """A function that copies one row."""

    def __init__(self, module: Module, shape: TileShape, name: str) -> None:
        super().__init__(module, name, _ROW, linkage="internal")
        self.shape = shape
        self.places = vector_type(shape.lanes, "i32")
        self.width = self.splat(shape.lanes, "i32", self.op("trunc i64 %width to i32"))

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

    def read(self, place: Value) -> str:
        return self.load_vector(self.gep("%source", self.mul(place, self.shape.size)), self.inside(self.lanes_from(place)))


def _plain(module: Module, shape: TileShape) -> None:
    f = _Row(module, shape, "plain_row")
    with f.loop(0, "%pitch", shape.lanes) as i:
        f.store_vector(f.read(f.sub(i, "%low")), f.gep("%target", f.mul(i, shape.size)))
    module.add(f)


def _halved(module: Module, shape: TileShape) -> None:
    """Every second element, from the first on and from the second on."""
    f = _Row(module, shape, "halved_row")
    with f.loop(0, 2) as phase:
        target = f.gep("%target", f.mul(f.mul(phase, "%pitch"), shape.size))
        with f.loop(0, "%pitch", shape.lanes) as i:
            place = f.sub(f.add(f.shl(i, 1), phase), "%low")
            halves = [f.read(place), f.read(f.add(place, shape.lanes))]
            made = f.shuffle(shape.vector, halves[0], halves[1], range(0, 2 * shape.lanes, 2))
            f.store_vector(made, f.gep(target, f.mul(i, shape.size)))
    module.add(f)


def _any(module: Module, shape: TileShape) -> None:
    """Any stride and any step from element to element."""
    f = _Row(module, shape, "any_row")
    offsets, pointers, masks = (vector_type(shape.lanes, element) for element in ("i64", "ptr", "i1"))
    name = f"llvm.masked.gather.{mangle(shape.vector)}.{mangle(pointers)}"
    module.declare(name, shape.vector, [pointers, "i32", masks, shape.vector])
    step = f.splat(shape.lanes, "i64", f.mul("%step", shape.size))
    with f.loop(0, "%stride") as phase:
        target = f.gep("%target", f.mul(f.mul(phase, "%pitch"), shape.size))
        with f.loop(0, "%pitch", shape.lanes) as i:
            places = f.lanes_from(f.sub(f.add(f.mul(i, "%stride"), phase), "%low"), "%stride")
            wide = f.op(f"sext {f.places} {places} to {offsets}")
            pointer = f.op(f"getelementptr i8, ptr %source, {offsets} {f.op(f'mul {offsets} {wide}, {step}')}")
            arguments = f"{pointers} {pointer}, i32 {shape.size}, {masks} {f.inside(places)}, {shape.vector} zeroinitializer"
            made = f.op(f"call {shape.vector} @{name}({arguments})")
            f.store_vector(made, f.gep(target, f.mul(i, shape.size)))
    module.add(f)


assert LANES % 16 == 0, "rows in scratch are whole vectors"
