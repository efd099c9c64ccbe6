"""The loops around the tiles for one rectangle of C: blocks of columns, blocks of k, tiles of rows, panels of columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from duograph.codegen.contraction import gemv, joined, pack, spread, tile
from duograph.codegen.contraction.ahead import ComingB, NextBlock, walk_a
from duograph.codegen.contraction.parts import PARTS, TABLE
from duograph.codegen.contraction.shape import BLOCK_UNIT, IN_PLACE_TILES, TileFunction, TileShape, next_heights
from duograph.codegen.llvm import Module, Value

# Strides in bytes. ``add``: 1 adds the first block of k to what C holds, too. ``finish`` is null or the frame that `driver`
# makes; ``stop`` is the interrupt flag. ``next_a``, ``next_b``: what will be multiplied after this, as far as is known: it
# is only prefetched. Then the tables of the parts (see `parts`), null for those that are not there; the walks over A and B
# (see `spread`) or null, and which column of the matrix is the first. ``image``: 0, or so many columns of C lie side by side,
# the next ones ``c_image`` further on (see `joined`).
# ``kept``: B in panels of ``panel`` bytes (see `keep`), or null.
PARAMETERS = (
    ("ptr", "a"),
    ("ptr", "b"),
    ("ptr", "c"),
    ("i64", "m"),
    ("i64", "n"),
    ("i64", "k"),
    ("i64", "a_row"),
    ("i64", "a_k"),
    ("i64", "b_k"),
    ("i64", "b_n"),
    ("i64", "c_row"),
    ("i64", "add"),
    ("ptr", "scratch"),
    ("ptr", "finish"),
    ("ptr", "stop"),
    ("ptr", "next_a"),
    ("ptr", "next_b"),
    *(("ptr", part) for part in PARTS),
    ("ptr", "walks"),
    ("i64", "column"),
    ("i64", "image"),
    ("i64", "c_image"),
    ("ptr", "kept"),
    ("i64", "panel"),
    ("i64", "far"),
)
# A block of B: it stays in the second level cache while rows of A pass by.
_BLOCK_BYTES = 1 << 19
_NARROWEST, _WIDEST = 128, 2048
# Copying A pays from so many panels on.
_PANELS_PER_COPY = 2
# Where A lies by columns, so many tiles are copied at once: whole cache lines of each column.
_TILES_PER_COPY = 8
# The height of the next tile by the rows left, without and with the tiles of all heights.
_STACKED, _BALANCED = "stacked", "balanced"
_NO_WALKS = "no_walks"
# Rows of B so far apart are read once and packed, but for a single tile: each tile of rows would wait for them again.
_PAGE = 4096
# A B of more bytes leaves the second level cache between tiles of rows: more of these than so many, and it is packed.
_SMALL_B, _TILES_OF_LARGE_B = 1 << 20, 2
_PANEL_GAP = 128  # bytes between panels, so that no two share cache sets


def scratch_bytes(shape: TileShape) -> int:
    """What `block` needs at most, for any sizes."""
    return _before_tile(shape) + joined.tile_bytes(shape)


def _before_tile(shape: TileShape) -> int:
    return (_before_tables(shape) + spread.table_bytes(shape, _WIDEST) + 63) & -64


def _before_tables(shape: TileShape) -> int:
    row_bytes = shape.vectors * shape.vector_bytes
    return _a_bytes(shape) + _BLOCK_BYTES + _WIDEST // shape.width * (_PANEL_GAP + BLOCK_UNIT * row_bytes)


def _a_bytes(shape: TileShape) -> int:
    rows = shape.rows * (shape.longest_block * shape.size + 64)
    columns = _copied_rows(shape) * shape.size * shape.longest_block
    strip = gemv.LONGEST_STRIP * shape.size
    return (max(rows, columns, strip) + 127) & -64


def _copied_rows(shape: TileShape) -> int:
    """How many rows of A are copied at once where they lie by columns; whole vectors of them."""
    return _TILES_PER_COPY * shape.rows


@dataclass
class _Block:
    """Values of one block of columns and of k."""

    k0: str
    kc: Value
    j0: str
    columns: Value
    panels: Value
    b: str  # slots: first panel, bytes from panel to panel and from k to k
    b_panel: str
    b_k: str
    add: Value
    last: str  # of k
    final: str  # of k and of columns
    a_walks: str  # whether A and B are walked by several strides
    b_walks: str
    longest: Value  # chain of multiply-adds
    far: str  # whether B comes from memory


def add_block(module: Module, shape: TileShape) -> None:
    """``block``: C[m × n] (+)= A·B for k >= 1, then the epilogue on each piece while it is in cache."""
    for name, heights in ((_STACKED, shape.heights), (_BALANCED, shape.all_heights)):
        module.table(name, "i64", [str(rows) for rows in next_heights(shape, heights)], align=8)
    joined.add_scatter(module, shape)
    f = TileFunction(module, "block", PARAMETERS, linkage="internal")
    f.shape = shape
    blocks = f.ceildiv("%k", shape.longest_block)
    longest = f.and_(f.add(f.ceildiv("%k", blocks), BLOCK_UNIT - 1), -BLOCK_UNIT)
    by_rows = f.icmp("eq", "%b_n", shape.size)
    in_place = _in_place(f, by_rows)
    by_columns = f.icmp("eq", "%b_k", shape.size)
    row = f.op(f"and i1 {f.op(f'or i1 {by_rows}, {by_columns}')}, {f.icmp('eq', '%m', 1)}")
    row = f.op(f"and i1 {row}, {f.op('icmp ne ptr %rows, null')}")
    module.table(_NO_WALKS, "i64", ["0", "0", "0"], align=8)
    walks = f.select(f.op("icmp ne ptr %walks, null"), "%walks", f"@{_NO_WALKS}", "ptr")
    a_walks, b_walks = (f.icmp("ne", f.load("i64", f.gep(str(walks), 8 * i)), 0) for i in range(2))
    widest = f.and_(f.umax(f.umin(f.udiv(_BLOCK_BYTES // shape.size, longest), _WIDEST), _NARROWEST), -shape.width)
    widest = f.select(row, gemv.LONGEST_STRIP, widest)
    columns_of_row = f.op(f"and i1 {row}, {f.op(f'xor i1 {by_rows}, true')}")
    far, few = gemv.is_far(f), f.icmp("ule", "%b_k", gemv.PAIRED_BYTES)
    stream = f.op(f"and i1 {f.op(f'and i1 {far}, {few}')}, {gemv.is_stream(f, '%n')}")
    paired = f.op(f"and i1 {f.op(f'and i1 {row}, {by_rows}')}, {stream}")
    chains = f.select(columns_of_row, gemv.CHAINS_AT_ONCE, f.select(paired, 2, 1))
    depth = f.mul(longest, chains)
    slots = [f.alloca("ptr"), f.alloca("i64"), f.alloca("i64")]
    with f.loop(0, "%n", widest) as j0:
        columns = f.umin(f.sub("%n", j0), widest)
        panels = f.ceildiv(columns, shape.width)
        with f.loop(0, "%k", depth) as k0:
            kc = f.umin(f.sub("%k", k0), depth)
            add = f.select(f.icmp("ne", k0, 0), 1, "%add")
            last = f.icmp("uge", f.add(k0, kc), "%k")
            final = f.op(f"and i1 {last}, {f.icmp('uge', f.add(j0, columns), '%n')}")
            block = _Block(
                k0, kc, j0, columns, panels, slots[0], slots[1], slots[2], add, last, final, a_walks, b_walks, longest, far
            )
            following = _next_block(f, block, depth, widest)
            leave_if_stopped(f)
            one, many, done = f.label("row"), f.label("rows"), f.label("next")
            f.cond_br(row, one, many)
            f.place(one)
            _one_row(f, block, by_rows)
            f.br(done)
            f.place(many)
            _prepare_b(f, block, in_place, by_rows, by_columns)
            _rows(f, block, following)
            f.br(done)
            f.place(done)
    module.add(f)


def leave_if_stopped(f: TileFunction) -> None:
    """Return from the function if the flag that ``%stop`` points to is up."""
    leave, stay = f.label("leave"), f.label("stay")
    f.cond_br(f.icmp("ne", f.op("load volatile i32, ptr %stop"), 0, "i32"), leave, stay)
    f.place(leave)
    f.ret()
    f.place(stay)


def _in_place(f: TileFunction, by_rows: str) -> str:
    """Whether the tiles read B where it lies."""
    shape = f.shape
    small = f.icmp("ule", f.mul(f.mul("%k", "%n"), shape.size), _SMALL_B)
    most = f.select(small, IN_PLACE_TILES * shape.rows, _TILES_OF_LARGE_B * shape.rows)
    most = f.select(f.icmp("ult", "%b_k", _PAGE), most, shape.rows)
    few = f.op(f"and i1 {by_rows}, {f.icmp('ule', '%m', most)}")
    few = f.op(f"and i1 {few}, {f.icmp('eq', '%image', 0)}")
    if shape.masks:
        return few
    whole = f.icmp("eq", f.and_("%n", shape.lanes - 1), 0)
    return f.op(f"and i1 {few}, {whole}")


def _next_block(f: TileFunction, block: _Block, depth: Value, widest: Value) -> NextBlock:
    """The block that the loops come to after this one; none where B is walked by several strides."""
    size = f.shape.size
    j = f.select(block.last, f.add(block.j0, block.columns), block.j0)
    k0 = f.select(block.last, 0, f.add(block.k0, block.kc))
    k, columns = f.umin(f.sub("%k", k0), depth), f.umin(f.sub("%n", j), widest)
    place = f.gep("%b", f.add(f.mul(j, "%b_n"), f.mul(k0, "%b_k")))
    by_rows = f.icmp("eq", "%b_n", size)
    rows, step = f.select(by_rows, k, columns), f.select(by_rows, "%b_k", "%b_n")
    length = f.select(block.b_walks, 0, f.mul(f.select(by_rows, columns, k), size))
    kept, row_bytes = is_kept(f), f.shape.vectors * f.shape.vector_bytes
    panel = f.gep("%kept", f.add(f.mul(f.udiv(j, f.shape.width), "%panel"), f.mul(k0, row_bytes)))
    return NextBlock(
        f.select(kept, panel, place, "ptr"),
        f.select(kept, f.ceildiv(columns, f.shape.width), rows),
        f.select(kept, "%panel", step),
        f.select(kept, f.mul(k, row_bytes), length),
    )


def is_kept(f: TileFunction) -> str:
    """Whether B came in panels."""
    return f.op("icmp ne ptr %kept, null")


def _place_of_b(f: TileFunction, block: _Block) -> str:
    return f.gep("%b", f.add(f.mul(block.j0, "%b_n"), f.mul(block.k0, "%b_k")))


def _one_row(f: TileFunction, block: _Block, by_rows: str) -> None:
    a = f.gep("%a", f.mul(block.k0, "%a_k"))
    c = f.gep("%c", f.mul(block.j0, f.shape.size))
    b = _place_of_b(f, block)
    values = [a, "%a_k", b, "%b_k", block.kc, c, block.columns, block.add, "%scratch"]
    values += [f.op(f"zext i1 {block.far} to i64"), block.longest]
    rows, columns, done = f.label("rows"), f.label("columns"), f.label("done")
    f.cond_br(by_rows, rows, columns)
    f.place(rows)
    call_pointer(f, f.load("ptr", "%rows"), zip(gemv.PARAMETERS, values))
    f.br(done)
    f.place(columns)
    values[3] = "%b_n"
    values[8:] = [gemv.columns_ahead(f), block.longest]
    call_pointer(f, f.load("ptr", f.gep("%rows", 8)), zip(gemv.COLUMNS_PARAMETERS, values))
    f.br(done)
    f.place(done)
    _finish(f, block, 0, 1)


def _prepare_b(f: TileFunction, block: _Block, in_place: str, by_rows: str, by_columns: str) -> None:
    shape = f.shape
    source = _place_of_b(f, block)
    row_bytes = shape.vectors * shape.vector_bytes
    packed = f.gep("%scratch", _a_bytes(shape))
    step = f.add(f.mul(block.kc, row_bytes), _PANEL_GAP)
    kept, own = f.label("kept"), f.label("own")
    direct, packing, done = f.label("direct"), f.label("pack"), f.label("packed")
    f.cond_br(is_kept(f), kept, own)
    f.place(kept)
    panel = f.mul(f.udiv(block.j0, shape.width), "%panel")
    f.store("ptr", f.gep("%kept", f.add(panel, f.mul(block.k0, row_bytes))), block.b)
    f.store("i64", "%panel", block.b_panel)
    f.store("i64", row_bytes, block.b_k)
    f.br(done)
    f.place(own)
    f.cond_br(in_place, direct, packing)
    f.place(direct)
    f.store("ptr", source, block.b)
    f.store("i64", row_bytes, block.b_panel)
    f.store("i64", "%b_k", block.b_k)
    f.br(done)

    f.place(packing)
    f.store("ptr", packed, block.b)
    f.store("i64", step, block.b_panel)
    f.store("i64", row_bytes, block.b_k)
    walked, regular = f.label("walked"), f.label("regular")
    f.cond_br(block.b_walks, walked, regular)
    f.place(walked)
    tables = f.gep("%scratch", _before_tables(shape))
    walks = ["%b", "%walks", packed, step, block.k0, block.kc, f.add("%column", block.j0), block.columns, tables]
    call_pointer(f, f.load("ptr", "%spread"), zip(spread.PACK_B, walks))
    f.br(done)
    f.place(regular)
    values = [source, "%b_k", "%b_n", packed, step, block.kc, block.columns]
    arguments = [(type, value) for (type, _), value in zip(pack.PACK_B, values)]
    rows, other, columns, any_strides = (f.label(hint) for hint in ("rows", "other", "columns", "any"))
    f.cond_br(by_rows, rows, other)
    f.place(other)
    f.cond_br(by_columns, columns, any_strides)
    for label, name in ((rows, "pack_rows"), (columns, "pack_columns"), (any_strides, "pack_any")):
        f.place(label)
        f.call(name, arguments)
        f.br(done)
    f.place(done)


def _rows(f: TileFunction, block: _Block, next_block: NextBlock) -> None:
    """All tiles of rows; each goes through all panels of the block of B."""
    shape = f.shape
    last_panel = f.sub(block.panels, 1)
    lanes = f.lanes_of(block.columns)
    copies = _CopiesOfA(f, block)
    first, panel_step, b_k = f.load("ptr", block.b), f.load("i64", block.b_panel), f.load("i64", block.b_k)
    coming = ComingB(f, block.kc, f.mul(f.ceildiv("%m", shape.rows), last_panel), block.final, next_block)
    slot = f.variable("i64", 0)
    again, done = f.label("tile"), f.label("done")
    f.br(again)
    f.place(again)
    leave_if_stopped(f)
    row = f.load("i64", slot)
    rows = _next_height(f, f.sub("%m", row))
    reached = f.add(row, rows)
    whole, edge = _tiles_of(f, rows, block.columns)
    a = f.gep("%a", f.add(f.mul(row, "%a_row"), f.mul(block.k0, "%a_k")))
    place, a_row, a_k = copies.prepare(a, row, rows)
    c_rows = f.gep("%c", f.mul(row, "%c_row"))
    c = f.gep(c_rows, f.mul(block.j0, shape.size))
    following = f.gep(a, f.mul(f.select(copies.columns, _copied_rows(shape), rows), "%a_row"))
    over = f.op(f"and i1 {f.icmp('eq', reached, '%m')}, {block.final}")
    over_a = walk_a(f, f.select(over, "%next_a", following, "ptr"), rows)

    with f.loop(0, block.panels) as panel:
        ends = f.icmp("eq", panel, last_panel)
        b = f.gep(first, f.mul(panel, panel_step))
        found = joined.Place(f, c_rows, c, block.j0, f.mul(panel, shape.width), block.columns, _before_tile(shape))
        adds = f.select(found.apart, 0, block.add)
        values = [place, a_row, a_k, b, b_k, block.kc, found.at, found.row, f.select(ends, lanes, shape.lanes), adds]
        values += coming.walk(f, rows, over_a, f.icmp("eq", panel, 0), found.at)
        call_pointer(f, str(f.select(ends, edge, whole, "ptr")), zip(tile.PARAMETERS, values))
        found.store(rows, block.add)
    _finish(f, block, row, rows)
    f.store("i64", reached, slot)
    f.cond_br(f.icmp("ult", reached, "%m"), again, done)
    f.place(done)


def _next_height(f: TileFunction, left: Value) -> str:
    """How many rows of ``left`` the next tile takes."""
    shape = f.shape
    stacked, balanced = (len(next_heights(shape, heights)) - 1 for heights in (shape.heights, shape.all_heights))
    few = f.op("icmp eq ptr %heights, null")
    table = f.select(few, f"@{_STACKED}", f"@{_BALANCED}", "ptr")
    return f.load("i64", f.gep(str(table), f.umin(left, f.select(few, stacked, balanced)), 8))


def _tiles_of(f: TileFunction, rows: Value, columns: Value) -> tuple[str, str]:
    """The tiles of this height for whole panels and for the last one of ``columns`` columns."""
    shape = f.shape
    always = sum(1 << rows for rows in shape.heights)
    ours = f.icmp("ne", f.and_(f.lshr(always, rows), 1), 0)
    wide = f.select(ours, f"@{TABLE}", "%heights", "ptr")
    narrow = f.select(ours, "%narrow", "%heights", "ptr")
    vectors = f.udiv(f.and_(f.sub(columns, 1), shape.width - 1), shape.lanes)
    edge = f.select(f.icmp("eq", vectors, shape.vectors - 1), wide, narrow, "ptr")
    at = f.mul(rows, 8 * shape.vectors)
    whole = f.load("ptr", f.gep(f.gep(str(wide), at), 8 * (shape.vectors - 1)))
    return whole, f.load("ptr", f.gep(f.gep(str(edge), at), vectors, 8))


def call_pointer(f: TileFunction, function: str, arguments: Iterable[tuple[tuple[str, str], Value]]) -> None:
    """Call a function by its address; ``arguments`` are ((type, name), value)."""
    f.emit(f"call void {function}(" + ", ".join(f"{type} {value}" for (type, _), value in arguments) + ")")


class _CopiesOfA:
    """Copies of A: a tile of rows, or the columns of several tiles, whose own lines share cache sets; rows walked along k."""

    def __init__(self, f: TileFunction, block: _Block) -> None:
        self.f, self.block, self.kc = f, block, block.kc
        self.rows = self._pay(block, "%a_row", "%a_k")
        self.columns = self._pay(block, "%a_k", "%a_row")
        self.first, self.end = f.variable("i64", 0), f.variable("i64", 0)  # the rows whose columns are copied
        self.place, self.a_row, self.a_k = f.alloca("ptr"), f.alloca("i64"), f.alloca("i64")

    def _pay(self, block: _Block, step: str, unit: str) -> str:
        f = self.f
        worth = f.icmp("uge", block.panels, _PANELS_PER_COPY)
        conflict = f.icmp("eq", f.and_(step, 4095), 0)
        worth = f.op(f"and i1 {worth}, {f.op(f'xor i1 {block.a_walks}, true')}")
        return f.op(f"and i1 {f.op(f'and i1 {worth}, {conflict}')}, {f.icmp('eq', unit, f.shape.size)}")

    def prepare(self, a: str, row: Value, rows: Value) -> tuple[str, str, str]:
        """Where the tile of ``rows`` rows from ``row`` on, at ``a``, is read, and its strides."""
        f, size = self.f, self.f.shape.size
        self._set(a, "%a_row", "%a_k")
        with f.when(self.rows):
            pitch = f.add(f.mul(self.kc, size), 64)
            self._copy("copy_rows", a, "%a_row", pitch, rows)
            self._set("%scratch", pitch, "%a_k")
        with f.when(self.block.a_walks):
            pitch = f.add(f.mul(self.kc, size), 64)
            values = [a, "%walks", "%a_row", "%scratch", pitch, rows, self.block.k0, self.kc]
            call_pointer(f, f.load("ptr", f.gep("%spread", 8)), zip(spread.COPY_A, values))
            self._set("%scratch", pitch, size)
        with f.when(self.columns):
            most = _copied_rows(f.shape)
            pitch = most * size
            with f.when(f.icmp("ugt", f.add(row, rows), f.load("i64", self.end))):
                count = f.umin(f.sub("%m", row), most)
                self._copy("copy_columns", a, "%a_k", pitch, count)
                f.store("i64", row, self.first)
                f.store("i64", f.add(row, count), self.end)
            offset = f.mul(f.sub(row, f.load("i64", self.first)), size)
            self._set(f.gep("%scratch", offset), size, pitch)
        return f.load("ptr", self.place), f.load("i64", self.a_row), f.load("i64", self.a_k)

    def _copy(self, name: str, a: str, step: Value, pitch: Value, rows: Value) -> None:
        values = [a, step, "%scratch", pitch, rows, self.kc]
        self.f.call(name, [(type, value) for (type, _), value in zip(pack.COPY_A, values)])

    def _set(self, place: str, a_row: Value, a_k: Value) -> None:
        for type, value, slot in (("ptr", place, self.place), ("i64", a_row, self.a_row), ("i64", a_k, self.a_k)):
            self.f.store(type, value, slot)


def _finish(f: TileFunction, block: _Block, row: Value, rows: Value) -> None:
    """After the last block of k: the epilogue on rows × columns of this block."""
    wanted = f.op(f"and i1 {block.last}, {f.op('icmp ne ptr %finish, null')}")
    with f.when(wanted):
        with f.when(f.icmp("eq", "%image", 0)):
            f.call("finish", [("ptr", "%finish"), ("i64", row), ("i64", rows), ("i64", block.j0), ("i64", block.columns)])
        with f.when(f.icmp("ne", "%image", 0)):
            joined.finish(f, row, rows, block.j0, block.columns)
