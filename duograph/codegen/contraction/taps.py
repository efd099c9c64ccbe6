"""Gradients of convolutions to their kernels: few kernels and columns, a sum over all pixels of all images.

As a product of matrices, every tap of every window would be copied into panels. Here what is packed is the other operand, the
gradient, once for all taps; windows are read where they lie, by the tiles of `direct`: a row of a tile is a channel (or a tap
of a row), its columns are kernels. Of k as much is packed at a time as the second level cache holds; between such pieces sums
wait in scratch. A chunk is a tile's rows at one place in the other dims of the columns. Each element is the chain that it is in
`block`.

Where three, five or seven taps lie side by side and rows of pixels have an even length, rows of a tile are the taps of some
channels: see `taps_tile`. That is two thirds of the instructions.
"""

from __future__ import annotations

from collections.abc import Iterator

from duograph.codegen.contraction.course import LINE
from duograph.codegen.contraction.direct import DIM, add_direct, call_through, fill_steps, leave_if
from duograph.codegen.contraction.direct_tile import STEP_BYTES, TABLE, TILE, sums_bytes, table_name
from duograph.codegen.contraction.driver import ABI, stop_flag
from duograph.codegen.contraction.pack import PACK_B
from duograph.codegen.contraction.shape import BLOCK_UNIT, TileFunction, TileShape
from duograph.codegen.contraction.spread import WalkedDims
from duograph.codegen.contraction.taps_tile import LINE_TABLES, ROUNDS, TAPS, add_line_tiles
from duograph.codegen.contraction.taps_tile import TILE as LINE_TILE
from duograph.codegen.llvm import Module, Value

FUNCTION = "taps"
# The words of a launch; then (extent, stride in elements) of each dim of k in x, of k in the gradient, and of the columns
# that are not rows of tiles, outer to inner. "row_x", "row_c": from row to row; "other_c": from one place in the other
# columns to the next; "panel": bytes of a panel; "long": the most k that are packed at a time; "waiting": bytes for the sums that
# wait between such pieces, 0 if there is one. "high": the most rows of a tile. "taps": those side by side, if tiles are made of
# them, else 0; if so, a row is a channel, and its taps are no other columns.
HEADER = (
    *("kernels", "k", "w_kernel", "rows", "row_x", "row_c", "others", "other_c", "c_kernel"),
    *("panel", "long", "waiting", "taps", "high", "k_dims", "w_dims", "other_dims"),
)
# ``c``: of the first row and kernel; bytes from row to row and from kernel to kernel.
_WRITE = (("ptr", "sums"), ("ptr", "c"), ("i64", "c_row"), ("i64", "c_kernel"), ("i64", "rows"), ("i64", "kernels"))


def add_direct_and_taps(module: Module, shape: TileShape) -> None:
    """The part of direct convolutions, and of gradients to their kernels."""
    add_direct(module, shape)
    add_line_tiles(module, shape)
    _add_write(module, shape)
    _add_run(module, shape)


def _add_write(module: Module, shape: TileShape) -> None:
    """A tile's sums to C."""
    f = TileFunction(module, "taps_write", _WRITE, linkage="internal")
    f.shape = shape
    row_bytes = shape.vectors * shape.vector_bytes

    def move(source: str, target: str) -> None:
        f.store(shape.element, f.load(shape.element, source, shape.size), target, shape.size)

    whole, part, done = f.label("whole"), f.label("part"), f.label("done")
    f.cond_br(f.icmp("eq", "%kernels", shape.width), whole, part)
    f.place(whole)
    with f.loop(0, "%rows") as row:
        place, at = f.gep("%sums", f.mul(row, row_bytes)), f.gep("%c", f.mul(row, "%c_row"))
        for kernel in range(shape.width):
            move(f.gep(place, kernel * shape.size), at)
            at = f.gep(at, "%c_kernel")
    f.br(done)
    f.place(part)
    with f.loop(0, "%rows") as row, f.loop(0, "%kernels") as column:
        place = f.gep(f.gep("%sums", f.mul(row, row_bytes)), column, shape.size)
        move(place, f.gep(f.gep("%c", f.mul(row, "%c_row")), f.mul(column, "%c_kernel")))
    f.br(done)
    f.place(done)
    module.add(f)


class _Run:
    """The launch function."""

    def __init__(self, module: Module, shape: TileShape) -> None:
        f = self.f = TileFunction(module, FUNCTION, ABI)
        f.shape = shape
        w = self.w = {name: f.load("i64", f.gep("%sizes", 8 * i)) for i, name in enumerate(HEADER)}
        self.x, self.g, self.c = (f.load("ptr", f.gep("%args", 8 * i)) for i in range(3))
        of_k = f.gep("%sizes", 8 * len(HEADER))
        of_g = f.gep(of_k, f.mul(w["k_dims"], DIM))
        of_others = f.gep(of_g, f.mul(w["w_dims"], DIM))
        self.k, self.k_of_g = WalkedDims(f, of_k, w["k_dims"]), WalkedDims(f, of_g, w["w_dims"])
        self.others = WalkedDims(f, of_others, w["other_dims"])
        self.steps = f.gep("%scratch", sums_bytes(shape))
        self.waiting = f.gep(self.steps, f.mul(f.ceildiv(f.mul(w["long"], STEP_BYTES), LINE), LINE))
        self.panels = f.gep(self.waiting, w["waiting"])
        self.in_pieces = f.icmp("ne", w["waiting"], 0)
        self.row_bytes = shape.vectors * shape.vector_bytes
        self.tile_bytes = shape.rows * self.row_bytes
        self.row_x, self.row_c, self.c_kernel = (f.mul(w[name], shape.size) for name in ("row_x", "row_c", "c_kernel"))
        self.w_kernel = f.mul(w["w_kernel"], shape.size)
        blocks = f.ceildiv(w["k"], shape.longest_block)
        self.block = f.and_(f.add(f.ceildiv(w["k"], blocks), BLOCK_UNIT - 1), -BLOCK_UNIT)
        self.tiles = f.ceildiv(w["rows"], w["high"])
        self.by_lines = f.icmp("ne", w["taps"], 0)
        round = f.select(f.icmp("eq", f.and_(self.k.extent, ROUNDS[0] - 1), 0), *ROUNDS)
        self.round = f.select(self.by_lines, round, 1)
        self.k_step = self.k.step
        self.k.extent, self.k.step = f.udiv(self.k.extent, self.round), f.mul(self.k.step, self.round)

    def emit(self) -> TileFunction:
        f, w = self.f, self.w
        stop = stop_flag(f)
        with f.loop(0, w["k"], w["long"]) as start:
            count = f.umin(f.sub(w["k"], start), w["long"])
            rounds = f.udiv(start, self.round)
            fill_steps(f, self.k, rounds, f.udiv(count, self.round), self.steps)
            with f.loop(0, w["kernels"], f.shape.width) as kernel:
                self._pack(kernel, start, count)
            first = f.gep(self.x, self._offset(self.k, rounds))
            with f.loop("%begin", "%end") as chunk:
                leave_if(f, stop)
                tile = f.udiv(chunk, w["others"])
                other = f.sub(chunk, f.mul(tile, w["others"]))
                low, high = (f.udiv(f.mul(number, w["rows"]), self.tiles) for number in (tile, f.add(tile, 1)))
                a = f.gep(f.gep(first, self._offset(self.others, other)), f.mul(low, self.row_x))
                c = f.gep(f.gep(self.c, f.mul(other, w["other_c"]), f.shape.size), f.mul(low, self.row_c))
                numbers: list[Value] = [start, f.add(start, count), self.block]
                self.is_last = f.icmp("eq", numbers[1], w["k"])
                panels = f.ceildiv(w["kernels"], f.shape.width)
                own = f.mul(f.mul(f.sub(chunk, "%begin"), panels), self.tile_bytes)
                sums = str(f.select(self.in_pieces, f.gep(self.waiting, own), "%scratch", "ptr"))
                by_lines, by_rows, done = f.label("lines"), f.label("rows"), f.label("done")
                f.cond_br(self.by_lines, by_lines, by_rows)
                for label, emit in ((by_lines, self._tiles_of_lines), (by_rows, self._tiles)):
                    f.place(label)
                    emit(a, c, f.sub(high, low), numbers, sums)
                    f.br(done)
                f.place(done)
        return f

    def _offset(self, walk: WalkedDims, position: Value) -> str:
        f = self.f
        number: Value = f.udiv(position, walk.extent)
        return str(f.add(walk.outer(number), f.mul(f.sub(position, f.mul(number, walk.extent)), walk.step)))

    def _panel(self, kernel: Value) -> str:
        return self.f.gep(self.panels, self.f.mul(self.f.udiv(kernel, self.f.shape.width), self.w["panel"]))

    def _columns(self, kernel: Value) -> Value:
        return self.f.umin(self.f.sub(self.w["kernels"], kernel), self.f.shape.width)

    def _pack(self, kernel: Value, start: Value, count: Value) -> None:
        f = self.f
        source, target = f.gep(self.g, f.mul(kernel, self.w_kernel)), self._panel(kernel)
        columns = self._columns(kernel)

        def piece(offset: str, at: str, length: Value) -> None:
            out = f.gep(target, f.mul(at, self.row_bytes))
            values: list[Value] = [f.gep(source, offset), 0, self.w_kernel, out, self.w["panel"], length, columns]
            f.call("pack_columns", [(type, value) for (type, _), value in zip(PACK_B, values)])

        self.k_of_g.runs(start, count, piece)

    def _tiles(self, a: str, c: str, rows: Value, numbers: list[Value], sums: str) -> None:
        """A tile for each panel."""
        f = self.f
        beside, second = f.icmp("eq", self.row_x, f.shape.size), f.icmp("eq", self.row_x, 2 * f.shape.size)
        one, two = (f"@{table_name(TABLE, step, 1)}" for step in (1, 2))
        table = f.select(beside, one, f.select(second, two, f"@{TABLE}", "ptr"), "ptr")
        tile = f.load("ptr", f.gep(str(table), rows, 8))
        for kernel, panel, own, place in self._each_panel(c, sums):
            call_through(f, tile, TILE, [a, a, self.row_x, self.steps, panel, *numbers, own, panel, 0, 0])
            with f.when(self.is_last):
                f.call("taps_write", self._written(own, place, self.row_c, rows, kernel))

    def _tiles_of_lines(self, a: str, c: str, lines: Value, numbers: list[Value], sums: str) -> None:
        """The same of taps side by side."""
        f, taps = self.f, self.w["taps"]
        far = f.icmp("ne", self.k_step, f.shape.size)
        few = f.icmp("ne", self.round, ROUNDS[0])
        kind = f.lshr(f.sub(taps, TAPS[0]), 1)
        for answer in (few, far):
            kind = f.add(f.shl(kind, 1), f.op(f"zext i1 {answer} to i64"))
        tile = f.load("ptr", f.gep(f.load("ptr", f.gep(f"@{LINE_TABLES}", kind, 8)), lines, 8))
        for kernel, panel, own, place in self._each_panel(c, sums):
            call_through(f, tile, LINE_TILE, [a, a, self.row_x, self.steps, panel, *numbers, own])
            with f.when(self.is_last), f.loop(0, lines) as line:
                of_line = f.gep(own, f.mul(line, f.mul(taps, self.row_bytes)))
                f.call("taps_write", self._written(of_line, f.gep(place, f.mul(line, self.row_c)), f.shape.size, taps, kernel))

    def _each_panel(self, c: str, sums: str) -> Iterator[tuple[Value, str, str, str]]:
        """(first kernel, panel, sums of its tile, place in C): what is emitted for one runs for each."""
        f = self.f
        with f.loop(0, self.w["kernels"], f.shape.width) as kernel:
            number = f.udiv(kernel, f.shape.width)
            own = f.gep(sums, f.select(self.in_pieces, f.mul(number, self.tile_bytes), 0))
            yield kernel, self._panel(kernel), own, f.gep(c, f.mul(kernel, self.c_kernel))

    def _written(self, sums: str, place: str, c_row: Value, rows: Value, kernel: Value) -> list[tuple[str, Value]]:
        values: list[Value] = [sums, place, c_row, self.c_kernel, rows, self._columns(kernel)]
        return [(type, value) for (type, _), value in zip(_WRITE, values)]


def _add_run(module: Module, shape: TileShape) -> None:
    module.add(_Run(module, shape).emit())
