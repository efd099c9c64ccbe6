"""What a tile prefetches while it multiplies: the rows of A of the next tile, or a piece of the B that comes next.

A walk is what `tile` calls ``next``, ``next_step`` and ``next_back``: one cache line for each k, row by row, then the
next line of each row. One line at a time: a burst of them would hold up the loads of the product. The first tile in a
row of tiles walks over A, the others over B. A wrong guess costs nothing but the prefetch.
"""

from __future__ import annotations

from typing import NamedTuple

from duograph.codegen.contraction.shape import TileFunction
from duograph.codegen.llvm import Value

Walk = tuple[Value, Value, Value]

_LINE = 64
# A following B of so many bytes is worth it: less comes by itself, more would not stay in L2.
_LEAST, _MOST = 4 << 10, 256 << 10


def walk_a(f: TileFunction, a: Value, rows: Value) -> Walk:
    """Over the tile that begins at ``a``; along k where A lies by columns, nowhere for other strides."""
    size = f.shape.size
    by_rows = f.icmp("eq", "%a_k", size)
    by_columns = f.icmp("eq", "%a_row", size)
    end = f.gep(str(a), f.mul(f.sub(rows, 1), size))  # a column begins in a line that the tile before reads
    along = f.select(by_columns, "%a_k", 0)
    back = f.sub(_LINE, f.mul(f.sub(rows, 1), "%a_row"))
    return f.select(by_columns, end, a, "ptr"), f.select(by_rows, "%a_row", along), f.select(by_rows, back, along)


class NextBlock(NamedTuple):
    """The block of B after the one at hand: so many rows ``step`` bytes apart, each of so many bytes; or none."""

    place: Value
    rows: Value
    step: Value
    length: Value


def _either(f: TileFunction, condition: str, one: Walk, other: Walk) -> Walk:
    return (
        f.select(condition, one[0], other[0], "ptr"),
        f.select(condition, one[1], other[1]),
        f.select(condition, one[2], other[2]),
    )


class ComingB:
    """Hands out the B that comes next piece by piece: as many rows as a tile has, as many lines of each as its k allow.

    That is the next block of this matrix, a line now and then, or at the end the next matrix's B.
    """

    def __init__(self, f: TileFunction, k: Value, tiles: Value, final: str, block: NextBlock) -> None:
        size = f.shape.size
        by_rows = f.icmp("eq", "%b_n", size)
        rows = f.select(by_rows, "%k", "%n")
        length = f.mul(f.select(by_rows, "%n", "%k"), size)
        useful = f.icmp("ult", f.sub(f.mul(rows, length), _LEAST), _MOST - _LEAST + 1)
        known = f.op(f"and i1 {useful}, {f.op('icmp ne ptr %next_b, %b')}")
        self.start = f.select(final, "%next_b", block.place, "ptr")
        self.rows = f.select(final, rows, block.rows)
        self.step = f.select(final, f.select(by_rows, "%b_k", "%b_n"), block.step)
        self.length = f.select(final, f.select(known, length, 0), block.length)
        self.lines = f.mul(f.umax(f.udiv(k, f.shape.rows), 1), _LINE)
        pieces = f.mul(f.ceildiv(self.rows, f.shape.rows), f.ceildiv(self.length, self.lines))
        # Of another matrix, the last tiles do it: what comes early would be gone from L2 again. Of this one, all by turns.
        turns = f.umax(f.udiv(tiles, f.umax(pieces, 1)), 1)
        self.turns = f.select(final, 0, f.sub(turns, 1))
        self.wait = f.variable("i64", f.select(final, f.sub(tiles, f.umin(tiles, pieces)), 0))
        self.row, self.place = f.variable("i64", 0), f.variable("i64", 0)

    def walk(self, f: TileFunction, rows: Value, otherwise: Walk, busy: str, idle: str) -> Walk:
        """``otherwise`` for a ``busy`` tile, else over the next piece; stays at ``idle`` where there is none."""
        wait, row, place = f.load("i64", self.wait), f.load("i64", self.row), f.load("i64", self.place)
        waits = f.icmp("ne", wait, 0)
        left = f.select(waits, f.sub(wait, 1), self.turns)
        f.store("i64", f.select(busy, wait, left), self.wait)
        idles = f.op(f"or i1 {waits}, {f.icmp('uge', place, self.length)}")
        idles = f.op(f"or i1 {idles}, {busy}")
        following = f.select(idles, row, f.add(row, rows))
        ends = f.icmp("uge", following, self.rows)
        f.store("i64", f.select(ends, 0, following), self.row)
        f.store("i64", f.add(place, f.select(ends, self.lines, 0)), self.place)
        first = f.gep(f.gep(str(self.start), f.mul(row, self.step)), place)
        back = f.sub(_LINE, f.mul(f.sub(rows, 1), self.step))
        piece = _either(f, idles, (idle, 0, 0), (first, self.step, back))
        return _either(f, busy, otherwise, piece)
