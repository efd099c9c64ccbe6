"""The loops around the tiles for one rectangle of C: blocks of columns, blocks of k, tiles of rows, panels of columns."""

from __future__ import annotations

from dataclasses import dataclass

from duograph.codegen.contraction import gemv, pack, tile
from duograph.codegen.contraction.ahead import ComingB, walk_a
from duograph.codegen.contraction.shape import BLOCK_UNIT, TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# Strides in bytes. ``finish`` is null or the frame that `driver` makes; ``stop`` is the interrupt flag. ``next_a``,
# ``next_b``: what will be multiplied after this, as far as is known: it is only prefetched.
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
    ("ptr", "scratch"),
    ("ptr", "finish"),
    ("ptr", "stop"),
    ("ptr", "next_a"),
    ("ptr", "next_b"),
)
# A block of B: it stays in the second or third level cache while rows of A pass by.
_BLOCK_BYTES = 2 << 20
_NARROWEST, _WIDEST = 128, 1024
# Up to so many tiles of rows read B where it lies.
_IN_PLACE_TILES = 19
# Copying rows of A pays from so many panels on.
_PANELS_PER_COPY = 2
_PANEL_GAP = 128  # bytes between panels, so that no two share cache sets


def scratch_bytes(shape: TileShape) -> int:
    """What `block` needs at most, for any sizes."""
    row_bytes = shape.vectors * shape.vector_bytes
    widest = _WIDEST // shape.width
    b_block = _BLOCK_BYTES + widest * (_PANEL_GAP + BLOCK_UNIT * row_bytes)
    return _a_bytes(shape) + b_block


def _a_bytes(shape: TileShape) -> int:
    rows = shape.rows * (shape.longest_block * shape.size + 64)
    strip = gemv.LONGEST_STRIP * shape.size
    return (max(rows, strip) + 127) & -64


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


def add_block(module: Module, shape: TileShape) -> None:
    """``block``: C[m × n] = A·B for k >= 1, then the epilogue on each piece while it is in cache."""
    names = [f"@{tile.tile_name(rows, vectors)}" for rows in range(1, shape.rows + 1) for vectors in range(1, shape.vectors + 1)]
    module.table("tiles", "ptr", names, align=8)
    f = TileFunction(module, "block", PARAMETERS, linkage="internal")
    f.shape = shape
    blocks = f.ceildiv("%k", shape.longest_block)
    longest = f.and_(f.add(f.ceildiv("%k", blocks), BLOCK_UNIT - 1), -BLOCK_UNIT)
    by_rows = f.icmp("eq", "%b_n", shape.size)
    in_place = _in_place(f, by_rows)
    by_columns = f.icmp("eq", "%b_k", shape.size)
    row = f.op(f"and i1 {f.op(f'or i1 {by_rows}, {by_columns}')}, {f.icmp('eq', '%m', 1)}")
    widest = f.and_(f.umax(f.umin(f.udiv(_BLOCK_BYTES // shape.size, longest), _WIDEST), _NARROWEST), -shape.width)
    widest = f.select(row, gemv.LONGEST_STRIP, widest)
    slots = [f.alloca("ptr"), f.alloca("i64"), f.alloca("i64")]
    with f.loop(0, "%n", widest) as j0:
        columns = f.umin(f.sub("%n", j0), widest)
        panels = f.ceildiv(columns, shape.width)
        with f.loop(0, "%k", longest) as k0:
            kc = f.umin(f.sub("%k", k0), longest)
            add = f.select(f.icmp("ne", k0, 0), 1, 0)
            last = f.icmp("uge", f.add(k0, kc), "%k")
            final = f.op(f"and i1 {last}, {f.icmp('uge', f.add(j0, columns), '%n')}")
            block = _Block(k0, kc, j0, columns, panels, slots[0], slots[1], slots[2], add, last, final)
            leave_if_stopped(f)
            one, many, done = f.label("row"), f.label("rows"), f.label("next")
            f.cond_br(row, one, many)
            f.place(one)
            _one_row(f, block, by_rows)
            f.br(done)
            f.place(many)
            _prepare_b(f, block, in_place, by_rows, by_columns)
            _rows(f, block)
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
    few = f.op(f"and i1 {by_rows}, {f.icmp('ule', '%m', _IN_PLACE_TILES * shape.rows)}")
    if shape.masks:
        return few
    whole = f.icmp("eq", f.and_("%n", shape.lanes - 1), 0)
    return f.op(f"and i1 {few}, {whole}")


def _place_of_b(f: TileFunction, block: _Block) -> str:
    return f.gep("%b", f.add(f.mul(block.j0, "%b_n"), f.mul(block.k0, "%b_k")))


def _one_row(f: TileFunction, block: _Block, by_rows: str) -> None:
    a = f.gep("%a", f.mul(block.k0, "%a_k"))
    c = f.gep("%c", f.mul(block.j0, f.shape.size))
    b = _place_of_b(f, block)
    values = [a, "%a_k", b, "%b_k", block.kc, c, block.columns, block.add, "%scratch"]
    rows, columns, done = f.label("rows"), f.label("columns"), f.label("done")
    f.cond_br(by_rows, rows, columns)
    f.place(rows)
    f.call("row", [(type, value) for (type, _), value in zip(gemv.PARAMETERS, values)])
    f.br(done)
    f.place(columns)
    values[3] = "%b_n"
    f.call("row_columns", [(type, value) for (type, _), value in zip(gemv.COLUMNS_PARAMETERS, values)])
    f.br(done)
    f.place(done)
    _finish(f, block, 0, 1)


def _prepare_b(f: TileFunction, block: _Block, in_place: str, by_rows: str, by_columns: str) -> None:
    shape = f.shape
    source = _place_of_b(f, block)
    row_bytes = shape.vectors * shape.vector_bytes
    packed = f.gep("%scratch", _a_bytes(shape))
    step = f.add(f.mul(block.kc, row_bytes), _PANEL_GAP)
    direct, packing, done = f.label("direct"), f.label("pack"), f.label("packed")
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


def _rows(f: TileFunction, block: _Block) -> None:
    """All tiles of rows; each goes through all panels of the block of B."""
    shape = f.shape
    tiles = f.ceildiv("%m", shape.rows)
    base, extra = f.udiv("%m", tiles), f.urem("%m", tiles)
    last_panel = f.sub(block.panels, 1)
    lanes = f.lanes_of(block.columns)
    vectors = f.udiv(f.and_(f.sub(block.columns, 1), shape.width - 1), shape.lanes)
    copied = [f.alloca("ptr"), f.alloca("i64")]
    copies = _copies_a(f, block)
    first, panel_step, b_k = f.load("ptr", block.b), f.load("i64", block.b_panel), f.load("i64", block.b_k)
    coming = ComingB(f, block.kc, f.mul(tiles, last_panel), block.final)
    with f.loop(0, tiles) as t:
        leave_if_stopped(f)
        rows = f.add(base, f.select(f.icmp("ult", t, extra), 1, 0))
        row = f.add(f.mul(t, base), f.umin(t, extra))
        a = f.gep("%a", f.add(f.mul(row, "%a_row"), f.mul(block.k0, "%a_k")))
        _prepare_a(f, block, copied, a, rows, copies)
        place, a_row = f.load("ptr", copied[0]), f.load("i64", copied[1])
        c = f.gep("%c", f.add(f.mul(row, "%c_row"), f.mul(block.j0, shape.size)))
        entry = f.gep("@tiles", f.mul(f.sub(rows, 1), 8 * shape.vectors))
        whole, edge = f.load("ptr", f.gep(entry, 8 * (shape.vectors - 1))), f.load("ptr", f.gep(entry, vectors, 8))

        following = f.gep(a, f.mul(rows, "%a_row"))
        over = f.op(f"and i1 {f.icmp('eq', f.add(t, 1), tiles)}, {block.final}")
        over_a = walk_a(f, f.select(over, "%next_a", following, "ptr"), rows)

        def call(function: str, panel: Value, lanes: Value) -> None:
            b = f.gep(first, f.mul(panel, panel_step))
            at = f.gep(c, f.mul(panel, shape.vectors * shape.vector_bytes))
            values = [place, a_row, "%a_k", b, b_k, block.kc, at, "%c_row", lanes, block.add]
            values += coming.walk(f, rows, over_a, f.icmp("eq", panel, 0), at)
            arguments = ", ".join(f"{type} {value}" for (type, _), value in zip(tile.PARAMETERS, values))
            f.emit(f"call void {function}({arguments})")

        with f.loop(0, last_panel) as panel:
            call(whole, panel, shape.lanes)
        call(edge, last_panel, lanes)
        _finish(f, block, row, rows)


def _copies_a(f: TileFunction, block: _Block) -> str:
    """Whether tiles of A are copied: rows that share cache sets are."""
    worth = f.icmp("uge", block.panels, _PANELS_PER_COPY)
    conflict = f.icmp("eq", f.and_("%a_row", 4095), 0)
    return f.op(f"and i1 {f.op(f'and i1 {worth}, {conflict}')}, {f.icmp('eq', '%a_k', f.shape.size)}")


def _prepare_a(f: TileFunction, block: _Block, slots: list[str], a: str, rows: Value, copies: str) -> None:
    f.store("ptr", a, slots[0])
    f.store("i64", "%a_row", slots[1])
    with f.when(copies):
        pitch = f.add(f.mul(block.kc, f.shape.size), 64)
        values = [a, "%a_row", "%scratch", pitch, rows, block.kc]
        f.call("copy_rows", [(type, value) for (type, _), value in zip(pack.COPY_A, values)])
        f.store("ptr", "%scratch", slots[0])
        f.store("i64", pitch, slots[1])


def _finish(f: TileFunction, block: _Block, row: Value, rows: Value) -> None:
    """After the last block of k: the epilogue on rows × columns of this block."""
    wanted = f.op(f"and i1 {block.last}, {f.op('icmp ne ptr %finish, null')}")
    with f.when(wanted):
        f.call("finish", [("ptr", "%finish"), ("i64", row), ("i64", rows), ("i64", block.j0), ("i64", block.columns)])
