"""Sums over windows of 3 × 3 or 5 × 5 taps: some rows of results at once, so that each vector of x is read for all of them.

Each result is the chain over its taps, row by row, that it is in `taps`.
"""

from __future__ import annotations

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

SIDES, STRIDES = (3, 5), (1, 2)  # odd ones and all from the first to the last
TABLE = "squares"
# Strides in bytes. ``offsets``: where the taps of a row begin; ``source_row``: from row to row of x. The rest is as in `taps`.
SQUARES = (
    *(("ptr", "source"), ("i64", "source_row"), ("ptr", "offsets"), ("i64", "rows"), ("i64", "width")),
    *(("ptr", "weights"), ("ptr", "out"), ("i64", "out_row"), ("i64", "add")),
)


def add_squares(module: Module, shape: TileShape) -> None:
    """The functions, and the table of them: by side, then stride from row to row, both counted from 0."""
    names = []
    for side in SIDES:
        for stride in STRIDES:
            names.append(f"square_{side}_{stride}")
            _Square(module, shape, names[-1], side, stride).emit()
    module.table(TABLE, "ptr", [f"@{name}" for name in names], align=8)


class _Square:
    def __init__(self, module: Module, shape: TileShape, name: str, side: int, stride: int) -> None:
        self.module, self.side, self.stride = module, side, stride
        f = self.f = TileFunction(module, name, SQUARES, linkage="internal")
        f.shape = shape
        self.together = 4 if shape.masks else 2  # sums, and as many weights as there are, stay in registers
        self.places = [f.gep("%source", f.load("i64", f.gep("%offsets", 8 * k))) for k in range(side)]
        self.weights = [f.broadcast(f.gep("%weights", i * shape.size)) for i in range(side * side)]
        self.whole = f.and_("%width", -shape.lanes)
        self.rest = f.low_mask(shape.lanes, f.sub("%width", self.whole))

    def emit(self) -> None:
        f = self.f
        adding, plain, done = f.label("add"), f.label("plain"), f.label("done")
        f.cond_br(f.icmp("ne", "%add", 0), adding, plain)
        for label in (adding, plain):
            f.place(label)
            low: Value = 0
            count = self.together
            while count:
                high = f.and_("%rows", -count)
                with f.loop(low, high, count) as row:
                    self._rows(row, count, label == adding)
                low, count = high, count // 2
            f.br(done)
        f.place(done)
        self.module.add(f)

    def _rows(self, row: str, count: int, adds: bool) -> None:
        f, shape = self.f, self.f.shape
        first = f.mul(row, f.mul("%source_row", self.stride))
        lines = [f.mul("%source_row", y) for y in range((count - 1) * self.stride + self.side)]
        out = [f.gep("%out", f.mul(f.add(row, r), "%out_row")) for r in range(count)]

        def make(column: Value, mask: str | None) -> None:
            at = f.mul(column, shape.size)
            sums = [f.load_vector(f.gep(place, at), mask) if adds else "zeroinitializer" for place in out]
            here = [f.gep(place, f.add(first, at)) for place in self.places]
            for y, line in enumerate(lines):
                for k, place in enumerate(here):
                    value = f.load_vector(f.gep(place, line))
                    for r in range(count):
                        tap_row = y - r * self.stride
                        if 0 <= tap_row < self.side:
                            sums[r] = f.multiply_add(self.weights[tap_row * self.side + k], value, sums[r])
            for value, place in zip(sums, out):
                f.store_vector(value, f.gep(place, at), mask)

        with f.loop(0, self.whole, shape.lanes) as column:
            make(column, None)
        with f.when(f.icmp("ne", self.whole, "%width")):
            make(self.whole, self.rest)
