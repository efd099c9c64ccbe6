"""Courses: which rows of taps the windows of a row of pixels go through, and how far it is from each to the next.

Windows at the border of an image lie on zeros partly. Where kernels have rows of three taps side by side, whole rows of them
that lie on zeros are left out; the sums are the same. A course is made once for each range of rows and used by every tile
(see `direct_rows`). A block of k may end within a row of taps: such a piece goes tap by tap.
"""

from __future__ import annotations

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.kernel import Extent
from duograph.codegen.llvm import Module, Value
from duograph.ir.dim import ceildiv

# A course: its key (which rows), padded to LINE; for each block of k twice (taps one by one, then rows of taps); then moves
# (of x, of panels: i32 bytes), one before each of these pieces, one behind the last.
LINE, STRETCH, MOVE = 64, 16, 8
ROW = 3  # taps
FORTH, BACK = 1, 2  # which way the taps of a row go
SLOTS = 4  # courses at a time: all rows, without the first ones, without the last ones, without both
# ``steps``: i32, bytes of x from each k to the next, ``tap``: from tap to tap of a row; ``rows``: rows of taps in a plane, of
# which those from ``low`` to ``high`` - 1 are gone through.
MAKE = (
    ("ptr", "out"),
    ("ptr", "steps"),
    ("i64", "k"),
    ("i64", "block"),
    ("i64", "tap"),
    ("i64", "rows"),
    ("i64", "low"),
    ("i64", "high"),
)


def course_bytes(longest_block: int, k: Extent) -> Extent:
    """Of one course, whole lines."""
    blocks = ceildiv(k, longest_block)
    moves = ceildiv(k, ROW) + 3 * blocks + 2
    return ceildiv(blocks * (2 * STRETCH) + moves * MOVE, LINE) * LINE + LINE


def moves_of(f: TileFunction, course: str, blocks: Value) -> str:
    return f.gep(course, f.add(f.mul(blocks, 2 * STRETCH), LINE))


class Courses:
    """The courses of a launch, made when they are asked for. ``words``: see `direct.HEADER`."""

    def __init__(self, f: TileFunction, words: dict[str, str], at: str, steps: str, block: Value) -> None:
        self.f, self.words, self.at, self.steps, self.block = f, words, at, steps, block

    def begin(self) -> None:
        """None is made yet."""
        with self.f.loop(0, SLOTS) as slot:
            self.f.store("i64", -1, self._slot(slot))

    def rows_of(self, number: Value) -> str:
        """Which rows of taps pixel row ``number`` goes through: the first one, and 2**32 times the last one and 1."""
        f, w = self.f, self.words
        row = f.mul(f.urem(number, w["image_rows"]), w["row_step"])

        def taps(bound: str) -> Value:
            distance = f.smax(f.sub(w[bound], row), 0)
            return f.umin(f.ceildiv(distance, w["row_hole"]), w["tap_rows"])

        low = taps("row_low")
        high = f.umax(taps("row_high"), low)
        back = f.icmp("ne", w["rows_back"], 0)
        first = f.select(back, f.sub(w["tap_rows"], high), low)
        end = f.select(back, f.sub(w["tap_rows"], low), high)
        return str(f.add(first, f.shl(end, 32)))

    def find(self, rows: str, wanted: str) -> str:
        """The course through these rows; anything unless it is ``wanted``."""
        f, w = self.f, self.words
        low, high = f.and_(rows, (1 << 32) - 1), f.lshr(rows, 32)
        late, early = f.icmp("ne", low, 0), f.icmp("ult", high, w["tap_rows"])
        slot = self._slot(f.add(f.select(late, 1, 0), f.select(early, 2, 0)))
        missing = f.op(f"and i1 {wanted}, {f.icmp('ne', rows, f.load('i64', slot))}")
        with f.when(missing):
            f.store("i64", rows, slot)
            tap = f.select(f.icmp("eq", w["triples"], BACK), -f.shape.size, f.shape.size)
            values: list[Value] = [slot, self.steps, w["k"], self.block, tap, w["tap_rows"], low, high]
            f.call("make_course", [(type, value) for (type, _), value in zip(MAKE, values)])
        return slot

    def _slot(self, number: Value) -> str:
        return self.f.gep(self.at, self.f.mul(number, self.words["course"]))


def add_make_course(module: Module, shape: TileShape) -> None:
    """``make_course``, which writes all but the key."""
    _Maker(module, shape).emit()


class _Maker:
    def __init__(self, module: Module, shape: TileShape) -> None:
        self.module = module
        f = self.f = TileFunction(module, "make_course", MAKE, linkage="internal")
        f.shape = shape
        self.width = shape.width * shape.size
        blocks = f.ceildiv("%k", "%block")
        self.move = f.variable("ptr", moves_of(f, "%out", blocks))
        self.x, self.b = f.variable("i64", 0), f.variable("i64", 0)  # where a tile is when it makes the next move
        # The row of taps at hand, its place in x, and its number within a plane.
        self.row, self.row_x, self.within = (f.variable("i64", 0) for _ in range(3))

    def emit(self) -> None:
        f = self.f
        stretch = f.variable("ptr", f.gep("%out", LINE))
        with f.loop(0, "%k", "%block") as start:
            end = f.umin(f.add(start, "%block"), "%k")
            first, last = f.ceildiv(start, ROW), f.udiv(end, ROW)
            here = f.load("ptr", stretch)
            begun = f.sub(f.mul(first, ROW), start)
            f.store("i64", self._taps(begun, f.sub(ROW, begun)), here)
            with f.when(f.icmp("ne", begun, 0)):
                self._next_row()
            f.store("i64", self._rows(first, last), f.gep(here, STRETCH // 2))
            f.store("i64", self._taps(f.sub(end, f.mul(last, ROW)), 0), f.gep(here, STRETCH))
            f.store("i64", 0, f.gep(here, STRETCH + STRETCH // 2))
            f.store("ptr", f.gep(here, 2 * STRETCH), stretch)
        self._go(f.load("i64", self.x), f.load("i64", self.b))
        self.module.add(f)

    def _taps(self, count: Value, first: Value) -> Value:
        """Taps of the row at hand from ``first`` on, one by one; 0 if the row is left out."""
        f = self.f
        inside = f.op(f"and i1 {self._is_inside(f.load('i64', self.within))}, {f.icmp('ne', count, 0)}")
        x, b = f.load("i64", self.x), f.load("i64", self.b)
        row = f.load("i64", self.row)
        at_x = f.select(inside, f.add(f.load("i64", self.row_x), f.mul(first, "%tap")), x)
        at_b = f.select(inside, f.mul(f.add(f.mul(row, ROW), first), self.width), b)
        self._go(at_x, at_b)
        made = f.select(inside, count, 0)
        f.store("i64", f.add(at_x, f.mul(made, "%tap")), self.x)
        f.store("i64", f.add(at_b, f.mul(made, self.width)), self.b)
        return made

    def _rows(self, first: Value, last: Value) -> Value:
        """Whole rows; each is written where the next move belongs, which is further on only if the row is inside."""
        f = self.f
        slots = (self.move, self.x, self.b, self.row_x, self.within)
        types = ("ptr", "i64", "i64", "i64", "i64")
        before = f.load("ptr", self.move)

        def row(number: str, values: list[str]) -> list[Value]:
            move, x, b, row_x, within = values
            row_b = f.mul(number, ROW * self.width)
            for i, distance in enumerate((f.sub(row_x, x), f.sub(row_b, b))):
                f.store("i32", f.op(f"trunc i64 {distance} to i32"), f.gep(move, i * MOVE // 2))
            inside = self._is_inside(within)
            following = f.add(within, 1)
            return [
                f.select(inside, f.gep(move, MOVE), move, "ptr"),
                f.select(inside, row_x, x),
                f.select(inside, row_b, b),
                self._beyond(number, row_x),
                f.select(f.icmp("eq", following, "%rows"), 0, following),
            ]

        start = [(type, f.load(type, slot)) for type, slot in zip(types, slots)]
        for type, slot, value in zip(types, slots, f.carried_loop(first, last, 1, start, row)):
            f.store(type, value, slot)
        f.store("i64", last, self.row)
        made = f.sub(*(f.op(f"ptrtoint ptr {move} to i64") for move in (f.load("ptr", self.move), before)))
        return f.lshr(made, 3)

    def _is_inside(self, within: str) -> str:
        f = self.f
        return f.op(f"and i1 {f.icmp('uge', within, '%low')}, {f.icmp('ult', within, '%high')}")

    def _go(self, x: Value, b: Value) -> None:
        """A move from where the tile is to there."""
        f = self.f
        move = f.load("ptr", self.move)
        for i, (target, place) in enumerate(((x, self.x), (b, self.b))):
            f.store("i32", f.op(f"trunc i64 {f.sub(target, f.load('i64', place))} to i32"), f.gep(move, i * MOVE // 2))
        f.store("ptr", f.gep(move, MOVE), self.move)

    def _next_row(self) -> None:
        f = self.f
        row, within = f.load("i64", self.row), f.add(f.load("i64", self.within), 1)
        f.store("i64", self._beyond(row, f.load("i64", self.row_x)), self.row_x)
        f.store("i64", f.add(row, 1), self.row)
        f.store("i64", f.select(f.icmp("eq", within, "%rows"), 0, within), self.within)

    def _beyond(self, row: Value, x: Value) -> Value:
        """Where the row behind one at ``x`` is."""
        f = self.f
        steps = f.gep("%steps", f.mul(row, ROW), 4)
        for i in range(ROW):
            x = f.add(x, f.op(f"sext i32 {f.load('i32', f.gep(steps, 4 * i))} to i64"))
        return x
