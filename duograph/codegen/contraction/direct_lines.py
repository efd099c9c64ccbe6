"""Tiles of direct convolutions with few kernels, or few multiply-adds: vectors are pixels, a kernel's element is for all lanes.

In panels most lanes would have no kernel, and turning a tile costs as much as some forty multiply-adds of each sum. Pixels that
lie side by side, or every second one, need neither: a row of them is read as it lies, and written so, without being turned.
Each sum is what `direct_tile` makes.
"""

from __future__ import annotations

from typing import NamedTuple

from duograph.codegen.contraction.direct_tile import STEP_BYTES
from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

FEW = 5  # kernels
TOGETHER = (4, 8)  # of more, so many in a tile, by step: every second pixel takes a shuffle, which more kernels share
LONGEST = 64  # multiply-adds of a sum, for more kernels than a few
LONGEST_HALVED = 160  # the same of every second pixel of rows that are copied, see `direct_halves`
MOST = 8  # vectors in a tile
WIDEST_STEP = 2  # from pixel to pixel, in elements
SHORTEST = 32  # pixels of a row, for more kernels than a few
# ``a``: the first pixel's window; ``steps``: i32, bytes from each k to the next; ``b``: a panel of kernels; ``block``: the most k
# in one chain; ``c``: of the first pixel and kernel, ``c_kernel`` bytes from kernel to kernel; ``ahead``: bytes to the windows
# that are prefetched.
TILE = (
    ("ptr", "a"),
    ("ptr", "steps"),
    ("ptr", "b"),
    ("i64", "k"),
    ("i64", "block"),
    ("ptr", "c"),
    ("i64", "c_kernel"),
    ("i64", "pixels"),
    ("i64", "ahead"),
)
_TABLE, _WIDTHS = "line_tiles", "line_vectors"
_KERNELS = max(FEW, *TOGETHER)
_UNROLLED = 4


def add_line_tiles(module: Module, shape: TileShape) -> None:
    """Tables of tiles by step, kernels, vectors and whether the last one is not full; and of the most vectors by kernels."""
    names: list[str] = []
    for step in range(1, WIDEST_STEP + 1):
        names += ["null"] * (2 * (MOST + 1))
        for kernels in range(1, _KERNELS + 1):
            for vectors in range(MOST + 1):
                for partial in (False, True):
                    is_made = 0 < vectors <= _most_vectors(shape, kernels) and kernels <= (FEW, TOGETHER[1])[step - 1]
                    names.append(_Tile(module, shape, kernels, vectors, partial, step).emit() if is_made else "null")
    module.table(_TABLE, "ptr", names, align=8)
    widths = [str(_most_vectors(shape, kernels)) for kernels in range(1, _KERNELS + 1)]
    module.table(_WIDTHS, "i64", ["0", *widths], align=8)


def _most_vectors(shape: TileShape, kernels: int) -> int:
    """So many that their sums are in registers, with the kernels' elements or the pixels, whatever is fewer."""
    free = _registers(shape) - 1
    return max(min(max((free - kernels) // kernels, free // (kernels + 1)), MOST), 1)


def _registers(shape: TileShape) -> int:
    return 32 if shape.broadcasts else 16


class Line(NamedTuple):
    """A tile of a row of pixels, and how many there are in it."""

    tile: str
    pixels: Value


def line_of(f: TileFunction, kernels: Value, left: Value, second: Value) -> Line:
    """The tile for the first of the ``left`` pixels of a row: of all tiles of the row about the same size. ``second``: 1 where
    they are every second element, else 0."""
    lanes = f.shape.lanes
    vectors = f.ceildiv(left, lanes)
    tiles = f.ceildiv(vectors, f.load("i64", f.gep(f"@{_WIDTHS}", kernels, 8)))
    width = f.ceildiv(vectors, tiles)
    pixels = f.umin(f.mul(width, lanes), left)
    partial = f.select(f.icmp("eq", f.and_(pixels, lanes - 1), 0), 0, 1)
    kind = f.add(f.mul(second, _KERNELS + 1), kernels)
    number = f.add(f.shl(f.add(f.mul(kind, MOST + 1), width), 1), partial)
    return Line(f.load("ptr", f.gep(f"@{_TABLE}", number, 8)), pixels)


class _Tile:
    def __init__(self, module: Module, shape: TileShape, kernels: int, vectors: int, partial: bool, step: int) -> None:
        self.module, self.kernels, self.vectors, self.step = module, kernels, vectors, step
        self.name = f"line_tile_{kernels}x{vectors}" + ("_partial" if partial else "") + ("_second" if step == 2 else "")
        f = self.f = TileFunction(module, self.name, TILE, linkage="internal")
        f.shape = shape
        last = f.low_mask(shape.lanes, f.sub("%pixels", (vectors - 1) * shape.lanes)) if partial else None
        self.masks = [*[None] * (vectors - 1), last]
        # Of every second element two vectors, in the last of which nothing is read behind the last pixel.
        ends: list[str | None] = [None, f.low_mask(shape.lanes, shape.lanes - 1)]
        if partial:
            reach = f.sub(f.shl(f.sub("%pixels", (vectors - 1) * shape.lanes), 1), 1)
            beyond = f.sub(f.umax(reach, shape.lanes), shape.lanes)
            ends = [f.low_mask(shape.lanes, part) for part in (f.umin(reach, shape.lanes), beyond)]
        interior: list[str | None] = [None, None]
        self.seconds = [*[interior] * (vectors - 1), ends]

    def emit(self) -> str:
        """The name of the tile."""
        f = self.f
        zeros = ["zeroinitializer"] * (self.kernels * self.vectors)
        types = ["ptr"] * 3 + [f.shape.vector] * len(zeros)

        def block(k0: str, pointers: list[str]) -> list[str]:
            count = f.umin(f.sub("%k", k0), "%block")
            whole = f.and_(count, -_UNROLLED)
            start: list[tuple[str, Value]] = list(zip(types, [*pointers, *zeros]))
            made = f.carried_loop(0, whole, _UNROLLED, start, lambda _, values: self._some_k(_UNROLLED, values))
            made = f.carried_loop(whole, count, 1, list(zip(types, made)), lambda _, values: self._some_k(1, values))
            self._store(k0, made[3:])
            return made[:3]

        f.carried_loop(0, "%k", "%block", [("ptr", pointer) for pointer in ("%steps", "%b", "%a")], block)
        self.module.add(f)
        return f"@{self.name}"

    def _some_k(self, count: int, values: list[str]) -> list[str]:
        f, shape = self.f, self.f.shape
        steps, b, a, *sums = values
        for u in range(count):
            f.prefetch(f.gep(a, "%ahead"), locality=2)
            sums = self._multiplied(a, f.gep(b, u * shape.vector_bytes), sums)
            a = f.gep(a, f.op(f"sext i32 {f.load('i32', f.gep(steps, u * STEP_BYTES))} to i64"))
        return [f.gep(steps, count * STEP_BYTES), f.gep(b, count * shape.vector_bytes), a, *sums]

    def _multiplied(self, a: str, b: str, sums: list[str]) -> list[str]:
        """With one k: the kernels' elements stay in registers or, where there are too few for them and all sums, the pixels."""
        sums, columns, rows = list(sums), range(self.vectors), range(self.kernels)

        def add(r: int, v: int, factor: str, pixels: str) -> None:
            at = r * self.vectors + v
            sums[at] = self.f.multiply_add(factor, pixels, sums[at])

        if (self.vectors + 1) * self.kernels < _registers(self.f.shape):
            factors = [self._factor(b, r) for r in rows]
            for v in columns:
                pixels = self._pixels(a, v)
                for r in rows:
                    add(r, v, factors[r], pixels)
        else:
            vectors = [self._pixels(a, v) for v in columns]
            for r in rows:
                factor = self._factor(b, r)
                for v in columns:
                    add(r, v, factor, vectors[v])
        return sums

    def _factor(self, b: str, r: int) -> str:
        """A kernel's element in all lanes."""
        return self.f.broadcast(self.f.gep(b, r * self.f.shape.size))

    def _pixels(self, a: str, v: int) -> str:
        """A vector of pixels."""
        f, shape = self.f, self.f.shape
        if self.step == 1:
            return f.load_vector(f.gep(a, v * shape.vector_bytes), self.masks[v])
        place = f.gep(a, 2 * v * shape.vector_bytes)
        low, high = (f.load_vector(f.gep(place, i * shape.vector_bytes), part) for i, part in enumerate(self.seconds[v]))
        return f.shuffle(shape.vector, low, high, [2 * i for i in range(shape.lanes)])

    def _store(self, k0: str, sums: list[str]) -> None:
        """The sums of one block to C, or to what the blocks before made."""
        f, type = self.f, self.f.shape.vector
        rows = ["%c"]
        while len(rows) < self.kernels:
            rows.append(f.gep(rows[-1], "%c_kernel"))
        places = [(f.gep(row, v * f.shape.vector_bytes), mask) for row in rows for v, mask in enumerate(self.masks)]
        sums = [f.op(f"fadd {type} zeroinitializer, {value}") for value in sums]  # -0 is +0, as in `tile`
        adding, plain, done = f.label("add"), f.label("plain"), f.label("done")
        f.cond_br(f.icmp("ne", k0, 0), adding, plain)
        for label in (adding, plain):
            f.place(label)
            for (place, mask), value in zip(places, sums):
                value = f.op(f"fadd {type} {f.load_vector(place, mask)}, {value}") if label == adding else value
                f.store_vector(value, place, mask)
            f.br(done)
        f.place(done)
