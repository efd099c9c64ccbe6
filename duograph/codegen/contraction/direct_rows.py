"""The tile of a direct convolution whose kernels have rows of three taps side by side: a round is a row of taps.

Where it goes says a `course`. The first and the last of a row's windows may begin or end on a zero beside the image: tiles for
those leave that tap out. The sums are those of `direct_tile`.
"""

from __future__ import annotations

from typing import NamedTuple

from duograph.codegen.contraction.course import LINE, MOVE, ROW, STRETCH, add_make_course, moves_of
from duograph.codegen.contraction.direct_tile import add_pixel, add_up, pointers_of, table_name
from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# ``line``: bytes to the second row of pixels, where there are two; the others as for `direct_tile.TILE`.
TILE = (
    ("ptr", "a"),
    ("ptr", "again"),
    ("i64", "line"),
    ("ptr", "course"),
    ("i64", "blocks"),
    ("ptr", "b"),
    ("ptr", "sums"),
    ("ptr", "next"),
    ("i64", "next_step"),
    ("i64", "ahead"),
)
TABLE = "row_tiles"
LEFT, RIGHT = 1, 2  # the first window begins on a zero, the last one ends on one


class RowKind(NamedTuple):
    """Tiles whose pixels are ``step`` elements apart, on so many lines, what they may leave out, and how far taps are apart."""

    step: int
    lines: int
    sparing: tuple[int, ...]
    tap: int = 1

    @property
    def name(self) -> str:
        return table_name(TABLE, self.step if self.tap > 0 else "back", self.lines)


KINDS = (
    RowKind(1, 1, (0, LEFT, RIGHT, LEFT | RIGHT)),
    RowKind(1, 2, (0, LEFT | RIGHT)),
    RowKind(2, 1, (0, LEFT)),
    RowKind(2, 2, (0, LEFT)),
    RowKind(1, 1, (0, LEFT, RIGHT, LEFT | RIGHT), -1),
    RowKind(1, 2, (0, LEFT | RIGHT), -1),
)


def add_row_tiles(module: Module, shape: TileShape) -> None:
    """For each kind tables of tiles by their rows, one for each of the zeros there may be, and ``make_course``."""
    add_make_course(module, shape)
    for kind in KINDS:
        for wanted in range(4):
            allowed = [spared for spared in kind.sparing if spared & wanted == spared]
            names = [_name(kind, rows, max(allowed)) if rows * kind.lines <= shape.rows else "null" for rows in shape.all_heights]
            module.table(f"{kind.name}_{wanted}", "ptr", ["null", *names], align=8)
        module.table(kind.name, "ptr", [f"@{kind.name}_{wanted}" for wanted in range(4)], align=8)
        for rows in shape.all_heights:
            for spared in kind.sparing:
                if rows * kind.lines <= shape.rows:
                    _Tile(module, shape, kind, rows, spared).emit()


def _name(kind: RowKind, rows: int, spared: int) -> str:
    return f"@{kind.name}_of_{rows}_{spared}"


class _Tile:
    def __init__(self, module: Module, shape: TileShape, kind: RowKind, rows: int, spared: int) -> None:
        self.module, self.kind, self.rows, self.spared = module, kind, rows, spared
        f = self.f = TileFunction(module, _name(kind, rows, spared)[1:], TILE, linkage="internal")
        f.shape = shape
        self.vectors, self.pixels = shape.vectors, rows * kind.lines
        self.row_bytes = shape.vectors * shape.vector_bytes
        self.lines = pointers_of(f, kind.lines, "%line")
        self.fixed = 3 + len(self.lines)  # the pointers: moves, what is prefetched, the panel, x
        self.types = ["ptr"] * self.fixed + [shape.vector] * (self.pixels * self.vectors)

    def emit(self) -> None:
        f, zeros = self.f, ["zeroinitializer"] * (self.pixels * self.vectors)
        pointers = self._moved([moves_of(f, "%course", "%blocks"), "%next", "%b", *self.lines])
        places = [f.gep("%sums", i * f.shape.vector_bytes) for i in range(len(zeros))]

        def block(number: str, pointers: list[str]) -> list[str]:
            start: list[tuple[str, Value]] = list(zip(self.types, [*pointers, *zeros]))
            stretches = f.gep("%course", f.add(f.mul(number, 2 * STRETCH), LINE))
            made = f.carried_loop(0, 2 * STRETCH, STRETCH, start, lambda at, values: self._stretch(stretches, at, values))
            add_up(f, number, places, made[self.fixed :])
            return made[: self.fixed]

        f.carried_loop(0, "%blocks", 1, [("ptr", pointer) for pointer in pointers], block)
        self.module.add(f)

    def _stretch(self, stretches: str, at: str, values: list[str]) -> list[str]:
        f, stretch = self.f, self.f.gep(stretches, at)
        taps, rows = f.load("i64", stretch), f.load("i64", f.gep(stretch, STRETCH // 2))
        first = f.select(f.icmp("eq", at, 0), f.sub(ROW, taps), 0)  # of a row of taps that the last block began, or of another
        values = f.carried_loop(0, taps, 1, list(zip(self.types, values)), lambda i, values: self._tap(f.add(first, i), values))
        values = [*self._moved(values[: self.fixed]), *values[self.fixed :]]
        return f.carried_loop(0, rows, 1, list(zip(self.types, values)), lambda _, values: self._row(values))

    def _moved(self, pointers: list[str]) -> list[str]:
        f, (moves, following, b, *seen) = self.f, pointers
        x, panel = (f.op(f"sext i32 {f.load('i32', f.gep(moves, i * MOVE // 2))} to i64") for i in range(2))
        return [f.gep(moves, MOVE), following, f.gep(b, panel), *(f.gep(line, x) for line in seen)]

    def _tap(self, tap: Value, values: list[str]) -> list[str]:
        """One tap of all pixels; what it spares counts as zero."""
        f, (moves, following, b, *seen) = self.f, values[: self.fixed]
        columns = [f.load_vector(f.gep(b, j * f.shape.vector_bytes)) for j in range(self.vectors)]
        sums = []
        for i in range(self.pixels):
            line, within = divmod(i, self.rows)
            a = self._unless_spared(f.gep(seen[line], within * self.kind.step * f.shape.size), within, tap)
            own = values[self.fixed + i * self.vectors : self.fixed + (i + 1) * self.vectors]
            sums += [f.multiply_add(a, column, value) for column, value in zip(columns, own)]
        f.prefetch(following, locality=2)
        following, b = f.gep(following, "%next_step"), f.gep(b, self.row_bytes)
        return [moves, following, b, *(f.gep(line, self.kind.tap * f.shape.size) for line in seen), *sums]

    def _unless_spared(self, place: str, within: int, tap: Value) -> str:
        f, element = self.f, self.f.shape.element
        first, last = (0, ROW - 1) if self.kind.tap > 0 else (ROW - 1, 0)
        spares = [(LEFT, 0, first, f.shape.size), (RIGHT, self.rows - 1, last, -f.shape.size)]
        outside = [
            (f.icmp("eq", tap, at), inwards) for side, pixel, at, inwards in spares if self.spared & side and within == pixel
        ]
        for is_outside, inwards in outside:
            place = str(f.select(is_outside, f.gep(place, inwards), place, "ptr"))
        value = f.load(element, place, align=f.shape.size)
        for is_outside, _ in outside:
            value = str(f.select(is_outside, "0.0", value, element))
        return f.splat(f.shape.lanes, element, value)

    def _row(self, values: list[str]) -> list[str]:
        f, (moves, following, b, *seen) = self.f, values[: self.fixed]
        sums = values[self.fixed :]
        f.prefetch(f.gep(seen[0], "%ahead"), locality=2)
        for tap in range(ROW):
            f.prefetch(following, locality=2)
            following = f.gep(following, "%next_step")
            spared = self.spared & {0: LEFT, ROW - 1: RIGHT}.get(tap if self.kind.tap > 0 else ROW - 1 - tap, 0)
            sums = self._multiplied(b, seen, sums, tap, spared)
        return [*self._moved([moves, following, b, *seen]), *sums]

    def _multiplied(self, b: str, seen: list[str], sums: list[str], tap: int, spared: int) -> list[str]:
        """One tap of all pixels but those that it spares."""
        f = self.f
        without = {LEFT: 0, RIGHT: self.rows - 1}.get(spared)
        columns = [f.load_vector(f.gep(b, tap * self.row_bytes + j * f.shape.vector_bytes)) for j in range(self.vectors)]
        added = []
        for i in range(self.pixels):
            line, within = divmod(i, self.rows)
            own = sums[i * self.vectors : (i + 1) * self.vectors]
            if within != without:
                offset = (within * self.kind.step + tap * self.kind.tap) * f.shape.size
                own = add_pixel(f, i, [f.gep(p, offset) for p in seen[line :: self.kind.lines]], columns, own)
            added += own
        return added
