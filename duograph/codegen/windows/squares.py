"""Sums over windows of 3 × 3 or 5 × 5 taps, from top to bottom: each vector of x is read once, for all rows of results that it
is part of, whose sums are carried from row to row.

Each result is the chain over its taps, row by row, that it is in `taps`. Rounds of a loop keep that order for LLVM, too: of
several rows in one block it made one sum after the other, with weights and x from the stack.
"""

from __future__ import annotations

from dataclasses import replace

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value
from duograph.codegen.windows.launch import LINE
from duograph.ir.dim import ceildiv

SIDES, STRIDES = (3, 5), (1, 2)  # odd ones and all from the first to the last
TABLE = "squares"
# Strides in bytes. ``offsets``: where the taps of a row begin; ``source_row``: from row to row of x. The rest is as in `taps`.
SQUARES = (
    *(("ptr", "source"), ("i64", "source_row"), ("ptr", "offsets"), ("i64", "rows"), ("i64", "width")),
    *(("ptr", "ahead"), ("i64", "ahead_row"), ("ptr", "weights"), ("ptr", "out"), ("i64", "out_row"), ("i64", "add")),
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
        self.open = ceildiv(side - stride, stride)  # sums that are not whole between two rows of results
        f = self.f = TileFunction(module, name, SQUARES, linkage="internal")
        f.shape = shape
        self.offsets = [f.load("i64", f.gep("%offsets", 8 * k)) for k in range(side)]
        self.whole = f.and_("%width", -shape.lanes)

    def emit(self) -> None:
        f, shape = self.f, self.f.shape
        half = replace(shape, lanes=shape.lanes // 2)
        rest = f.sub("%width", self.whole)
        few, many = f.icmp("ult", f.sub(rest, 1), half.lanes), f.icmp("ugt", rest, half.lanes)
        adding, plain, done = f.label("add"), f.label("plain"), f.label("done")
        f.cond_br(f.icmp("ne", "%add", 0), adding, plain)
        for label in (adding, plain):
            f.place(label)
            weights = self._weights()
            with f.loop(0, self.whole, shape.lanes) as column:
                self._column(column, weights, None, label == adding)
            with f.when(many):
                self._column(self.whole, weights, f.low_mask(shape.lanes, rest), label == adding)
            with f.when(few):  # what is narrow costs half as much where a machine makes wide vectors of two
                f.shape = half
                self._column(self.whole, self._weights(), f.low_mask(half.lanes, rest), label == adding)
                f.shape = shape
            f.br(done)
        f.place(done)
        self.module.add(f)

    def _weights(self) -> list[str]:
        f = self.f
        return [f.broadcast(f.gep("%weights", i * f.shape.size)) for i in range(self.side**2)]

    def _column(self, column: Value, weights: list[str], mask: str | None, adds: bool) -> None:
        """A vector's columns of all rows, from top to bottom."""
        f, side, stride = self.f, self.side, self.stride
        at = f.mul(column, f.shape.size)
        out = f.gep("%out", at)
        last = f.sub("%rows", 1)

        def begun(row: Value) -> str:
            """The sum of a row; there may be none, where it is made for nothing."""
            return f.load_vector(f.gep(out, f.mul(f.umin(row, last), "%out_row")), mask) if adds else "zeroinitializer"

        def more(line: str, y: int, row: Value, sums: list[str]) -> list[str]:
            """With the line that is y behind the first one of the first sum, which is that of ``row``."""
            if y % stride == 0:
                sums = [*sums, begun(f.add(row, y // stride))]
            for k, offset in enumerate(self.offsets):
                value = f.load_vector(f.gep(line, offset))
                taps = [(y - number * stride) * side + k for number in range(len(sums))]
                sums = [f.multiply_add(weights[tap], value, total) for tap, total in zip(taps, sums)]
            return sums

        sums: list[str] = []
        line = f.gep("%source", at)
        for y in range(side - stride):
            sums = more(line, y, 0, sums)
            line = f.gep(line, "%source_row")

        def make(row: str, values: list[str]) -> list[str]:
            line, ahead, out, *sums = values
            for y in range(side - stride, side):
                sums = more(line, y, row, sums)
                line = f.gep(line, "%source_row")
                for x in range(stride):
                    f.prefetch(f.gep(ahead, x * LINE), locality=2)
                ahead = f.gep(ahead, "%ahead_row")
            f.store_vector(sums[0], out, mask)
            return [line, ahead, f.gep(out, "%out_row"), *sums[1:]]

        types = ["ptr"] * 3 + [f.shape.vector] * self.open
        ahead = f.gep("%ahead", f.mul(at, stride))
        f.carried_loop(0, "%rows", 1, list(zip(types, [line, ahead, out, *sums])), make)
