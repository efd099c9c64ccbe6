"""The tile of a gradient to kernels whose rows are taps side by side: some channels, all taps of a row, by a panel of kernels.

A round is some k whose pixels are a fixed step apart, so that what is read lies at fixed distances from one pointer for each
channel, and only from round to round a table says how far they move. Each sum is what `tile` makes.
"""

from __future__ import annotations

from typing import NamedTuple

from duograph.codegen.contraction.direct_tile import STEP_BYTES, add_pixel, add_up
from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

TAPS = (3, 5, 7)  # in a row
ROUNDS, STEPS = (4, 2), (1, 2)  # k in a round, elements from one to the next
_AHEAD = 2048  # bytes of the panel, which lies in L2
LINE_TABLES = "line_tiles"
# ``a``: the first channel's first tap, ``again``: the same, see `add_pixel`; ``line`` bytes from channel to channel; ``steps``:
# i32, bytes from round to round; ``b``: a panel of kernels; ``start``: the first k, if not 0 with what ``sums`` holds, ``k``: the
# last one is before; ``block``: the most k in one chain; ``sums``: rows of a tile's width, the taps of one channel after another.
TILE = (
    ("ptr", "a"),
    ("ptr", "again"),
    ("i64", "line"),
    ("ptr", "steps"),
    ("ptr", "b"),
    ("i64", "start"),
    ("i64", "k"),
    ("i64", "block"),
    ("ptr", "sums"),
)


class Kind(NamedTuple):
    """So many taps in a row; rounds of so many k, ``step`` elements apart."""

    taps: int
    length: int
    step: int

    @property
    def table(self) -> str:
        """The table of its tiles by their channels."""
        return f"{LINE_TABLES}_{self.taps}_{self.length}_{self.step}"


KINDS = tuple(Kind(taps, length, step) for taps in TAPS for length in ROUNDS for step in STEPS)


def most_lines(shape: TileShape, taps: int) -> int:
    """The channels of a whole tile; more taps than a tile has rows are none."""
    return shape.rows // taps


def add_line_tiles(module: Module, shape: TileShape) -> None:
    """A table of tiles by their channels for each kind of rounds, and `LINE_TABLES`, a table of those."""
    for kind in KINDS:
        names = [f"@{kind.table}_of_{lines}" for lines in range(1, most_lines(shape, kind.taps) + 1)]
        for lines, name in enumerate(names, 1):
            _add_tile(module, shape, kind, lines, name[1:])
        module.table(kind.table, "ptr", ["null", *names], align=8)
    module.table(LINE_TABLES, "ptr", [f"@{kind.table}" for kind in KINDS], align=8)


def _add_tile(module: Module, shape: TileShape, kind: Kind, lines: int, name: str) -> None:
    f = TileFunction(module, name, TILE, linkage="internal")
    f.shape = shape
    vectors, pixels = shape.vectors, lines * kind.taps
    channels = _channels(f, lines)
    pointers = ["%steps", "%b", *channels]
    zeros: list[Value] = ["zeroinitializer"] * (pixels * vectors)
    types = [*["ptr"] * len(pointers), *[shape.vector] * len(zeros)]

    def round(values: list[str]) -> list[str]:
        steps, b, *seen = values[: len(pointers)]
        sums = values[len(pointers) :]
        for u in range(kind.length):
            # Besides, it keeps an element that is read for several k from occupying a register all the while.
            f.prefetch(f.gep(b, u * vectors * shape.vector_bytes + _AHEAD))
            columns = [f.load_vector(f.gep(b, (u * vectors + j) * shape.vector_bytes)) for j in range(vectors)]
            added = []
            for i in range(pixels):
                line, tap = divmod(i, kind.taps)
                places = [f.gep(p, (tap + u * kind.step) * shape.size) for p in seen[line::lines]]
                added += add_pixel(f, i, places, columns, sums[i * vectors : (i + 1) * vectors])
            sums = added
        on = f.op(f"sext i32 {f.load('i32', steps)} to i64")
        b = f.gep(b, kind.length * vectors * shape.vector_bytes)
        return [f.gep(steps, STEP_BYTES), b, *(f.gep(pointer, on) for pointer in seen), *sums]

    places = [f.gep("%sums", i * shape.vector_bytes) for i in range(len(zeros))]

    def block(k0: str, values: list[str]) -> list[str]:
        count = f.umin(f.sub("%k", k0), "%block")
        start: list[tuple[str, Value]] = list(zip(types, [*values, *zeros]))
        made = f.carried_loop(0, count, kind.length, start, lambda _, values: round(values))
        add_up(f, k0, places, made[len(pointers) :])
        return made[: len(pointers)]

    f.carried_loop("%start", "%k", "%block", [("ptr", pointer) for pointer in pointers], block)
    module.add(f)


def _channels(f: TileFunction, lines: int) -> list[str]:
    """The pointers to channels, and where it pays once more by ``again``."""
    made = []
    for start in ["%a", "%again"] if f.shape.broadcasts and f.shape.vectors > 1 else ["%a"]:
        made.append(start)
        for _ in range(1, lines):
            made.append(f.gep(made[-1], "%line"))
    return made
