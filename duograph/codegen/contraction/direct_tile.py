"""The tile of a direct convolution: pixels by kernels, the windows read where they lie through a table of steps.

Each sum is what `tile` makes: a chain of multiply-adds over a block of k, the blocks added in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from duograph.codegen.contraction.pack import transpose
from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# ``a``: the first pixel's window, ``again``: the same, see `add_pixel`; ``a_row`` bytes from pixel to pixel; ``steps``: i32,
# bytes from each k to the next; ``b``: a panel of kernels; ``start``: the first k, if not 0 with what ``sums`` holds, ``k``: the
# last one is before; ``block``: the most k in one chain; ``sums``: rows of a tile's width; ``next``: what is prefetched to L2,
# ``next_step`` bytes on with each k; ``ahead``: bytes to the windows that are prefetched as well, 0 for none.
TILE = (
    ("ptr", "a"),
    ("ptr", "again"),
    ("i64", "a_row"),
    ("ptr", "steps"),
    ("ptr", "b"),
    ("i64", "start"),
    ("i64", "k"),
    ("i64", "block"),
    ("ptr", "sums"),
    ("ptr", "next"),
    ("i64", "next_step"),
    ("i64", "ahead"),
)
# ``c``: of the first pixel and kernel, ``c_kernel`` bytes from kernel to kernel.
TURN = (("ptr", "sums"), ("ptr", "c"), ("i64", "c_kernel"), ("i64", "rows"), ("i64", "kernels"))
STEP_BYTES = 4
_GROUP = 3  # rows reached from one pointer: by 0, 1 or 2 times the step
_UNROLLED = 2  # k in a round: the fewer instructions besides multiply-adds, the better for a core that is shared
# Pixels that each multiply-add reads by itself: two instructions instead of three for two vectors, but two loads. A core makes
# as many loads as multiply-adds, and there are four besides: of a panel, and prefetches.
_LOADS_BESIDES, _BROADCAST = 4, 3  # of so many pixels one is broadcast by an instruction of its own
TABLE = "direct_tiles"


class TileKind(NamedTuple):
    """Tiles whose pixels are ``step`` elements apart (None: ``a_row`` bytes), on so many lines, ``a_row`` bytes apart."""

    step: int | None
    lines: int = 1

    @property
    def table(self) -> str:
        """The table of its tiles by their rows."""
        return TABLE if self.step is None else table_name(TABLE, self.step, self.lines)


BESIDE = TileKind(1)
KINDS = (TileKind(None), BESIDE, TileKind(2), TileKind(1, 2), TileKind(2, 2))


def table_name(table: str, step: int | str, lines: int) -> str:
    """Of the tiles of ``table`` whose pixels are ``step`` apart, on so many lines."""
    return f"{table}_{step}_{lines}"


def sums_bytes(shape: TileShape) -> int:
    """Scratch for a tile's sums, whole squares of which are turned."""
    rows = -(-shape.rows // shape.lanes) * shape.lanes
    return rows * shape.vectors * shape.vector_bytes


def add_direct_tiles(module: Module, shape: TileShape, kinds: Sequence[TileKind] = KINDS) -> None:
    """Tables of tiles by their rows, one for each kind, and ``turn``."""
    heights = shape.all_heights
    for kind in kinds:
        names = ["null"]
        for rows in heights:
            pixels = rows * kind.lines
            names.append(f"@{kind.table}_of_{rows}" if pixels <= shape.rows else "null")
            if pixels <= shape.rows:
                _add_tile(module, shape, kind, rows)
        module.table(kind.table, "ptr", names, align=8)
    _add_turn(module, shape)


class _Windows:
    """Where the windows of a tile's pixels are: few pointers, which all move from k to k by one step."""

    def __init__(self, f: TileFunction, kind: TileKind, rows: int) -> None:
        self.f, self.kind, self.rows = f, kind, rows
        self.bases = ["%a"]
        if kind.step is not None:
            self.bases = pointers_of(f, kind.lines, "%a_row")
            return
        while len(self.bases) * _GROUP < rows:
            self.bases.append(f.gep(self.bases[-1], f.mul("%a_row", _GROUP)))
        self.scales: tuple[Value, ...] = (0, "%a_row", f.shl("%a_row", 1))

    def pixel(self, pointers: list[str], i: int) -> list[str]:
        if self.kind.step is None:
            return [self.f.gep(pointers[i // _GROUP], self.scales[i % _GROUP])]
        line, within = divmod(i, self.rows)
        return [self.f.gep(p, within * self.kind.step * self.f.shape.size) for p in pointers[line :: self.kind.lines]]


def pointers_of(f: TileFunction, lines: int, distance: str) -> list[str]:
    """To the first pixels of ``lines`` lines, and where it pays once more by ``again``."""
    starts = ["%a", "%again"] if f.shape.broadcasts and f.shape.vectors > 1 else ["%a"]
    return [place for start in starts for place in [start, *[f.gep(start, distance)] * (lines - 1)]]


def add_pixel(f: TileFunction, number: int, places: list[str], columns: list[str], sums: list[str]) -> list[str]:
    """The sums of one pixel after another k. ``places``: where it is, by one pointer or by two.

    An element that is read through two pointers, which nothing shows to be the same, has two uses of one load each: so each
    becomes part of a multiply-add.
    """
    first = f.broadcast(places[0])
    apart = len(places) > 1 and number >= _LOADS_BESIDES and number % _BROADCAST != 0
    factors = [first, *(f.broadcast(places[-1]) if apart else first for _ in columns[1:])]
    return [f.multiply_add(a, column, value) for a, column, value in zip(factors, columns, sums)]


def _add_tile(module: Module, shape: TileShape, kind: TileKind, rows: int) -> None:
    f = TileFunction(module, f"{kind.table}_of_{rows}", TILE, linkage="internal")
    f.shape = shape
    vectors, pixels = shape.vectors, rows * kind.lines
    windows = _Windows(f, kind, rows)
    unrolled = _UNROLLED if kind.step is not None else 1  # with many pointers sums would no longer fit the registers
    pointers = ["%steps", "%next", "%b", *windows.bases]
    types = [*["ptr"] * len(pointers), *[shape.vector] * (pixels * vectors)]

    def some_k(count: int, values: list[str]) -> list[str]:
        steps, following, b, *seen = values[: len(pointers)]
        sums = values[len(pointers) :]
        for u in range(count):
            f.prefetch(f.gep(following, f.mul("%next_step", u)), locality=2)
            f.prefetch(f.gep(seen[0], "%ahead"), locality=2)
            columns = [f.load_vector(f.gep(b, (u * vectors + j) * shape.vector_bytes)) for j in range(vectors)]
            added = []
            for i in range(pixels):
                # By one pointer only where it is reached by an index: such a load is an operation of its own again.
                added += add_pixel(f, i, windows.pixel(seen, i)[: 2 - u], columns, sums[i * vectors : (i + 1) * vectors])
            here = f.op(f"sext i32 {f.load('i32', f.gep(steps, u * STEP_BYTES))} to i64")
            sums, seen = added, [f.gep(pointer, here) for pointer in seen]
        moved = [f.gep(following, f.mul("%next_step", count)), f.gep(b, count * vectors * shape.vector_bytes)]
        return [f.gep(steps, count * STEP_BYTES), *moved, *seen, *sums]

    places = [f.gep("%sums", (i * vectors + j) * shape.vector_bytes) for i in range(pixels) for j in range(vectors)]

    def block(k0: str, values: list[str]) -> list[str]:
        count = f.umin(f.sub("%k", k0), "%block")
        whole = f.and_(count, -unrolled)
        start: list[tuple[str, Value]] = list(zip(types, [*values, *["zeroinitializer"] * (pixels * vectors)]))
        made = f.carried_loop(0, whole, unrolled, start, lambda _, values: some_k(unrolled, values))
        if unrolled > 1:
            made = f.carried_loop(whole, count, 1, list(zip(types, made)), lambda _, values: some_k(1, values))
        add_up(f, k0, places, made[len(pointers) :])
        return made[: len(pointers)]

    f.carried_loop("%start", "%k", "%block", [("ptr", pointer) for pointer in pointers], block)
    module.add(f)


def add_up(f: TileFunction, k0: str, places: list[str], sums: list[str]) -> None:
    """The sums of one block to what the blocks before made."""
    type = f.shape.vector
    sums = [f.op(f"fadd {type} zeroinitializer, {value}") for value in sums]  # -0 is +0, as in `tile`
    adding, plain, done = f.label("add"), f.label("plain"), f.label("done")
    f.cond_br(f.icmp("ne", k0, 0), adding, plain)
    for label in (adding, plain):
        f.place(label)
        for place, value in zip(places, sums):
            f.store_vector(f.op(f"fadd {type} {f.load_vector(place)}, {value}") if label == adding else value, place)
        f.br(done)
    f.place(done)


def _add_turn(module: Module, shape: TileShape) -> None:
    """``turn``: a tile's sums to C, where pixels lie side by side."""
    f = TileFunction(module, "turn", TURN, linkage="internal")
    f.shape = shape
    lanes, row_bytes = shape.lanes, shape.vectors * shape.vector_bytes
    never = f.icmp("eq", "%rows", 0)
    for first in range(0, shape.rows, lanes):
        mask = f.low_mask(lanes, f.umin(f.smax(f.sub("%rows", first), 0), lanes))
        for j in range(shape.vectors):
            square = f.gep("%sums", first * row_bytes + j * shape.vector_bytes)
            lines = [f.load_vector(f.gep(square, i * row_bytes)) for i in range(lanes)]
            place = f.gep(f.gep("%c", first * shape.size), f.mul("%c_kernel", j * lanes))
            for i, line in enumerate(transpose(f, lines, never)):
                made = f.icmp("ult", j * lanes + i, "%kernels")
                # What no kernel made is written over what was read.
                f.store_vector(line, str(f.select(made, place, square, "ptr")), mask)
                place = f.gep(place, "%c_kernel")
    module.add(f)
