"""Matrices that have one A, multiplied together: their columns are one, and those of C lie in pieces, one for each matrix.

A tile whose columns are of two matrices is computed in scratch and stored piece by piece.
"""

from __future__ import annotations

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# ``column``: of the matrix that ``c`` is the C of; ``image``, ``c_image``: see `block`.
SCATTER = (
    ("ptr", "tile"),
    ("ptr", "c"),
    ("i64", "c_row"),
    ("i64", "column"),
    ("i64", "columns"),
    ("i64", "image"),
    ("i64", "c_image"),
    ("i64", "rows"),
    ("i64", "add"),
)


def tile_bytes(shape: TileShape) -> int:
    """Scratch for one tile."""
    return shape.rows * shape.vectors * shape.vector_bytes


class Place:
    """Where a tile is written: in C, or in scratch if its columns lie in two pieces there.

    ``at``, ``row``: the tile's first element and bytes from row to row; ``apart``: whether that is scratch.
    """

    def __init__(self, f: TileFunction, rows: str, c: str, j0: Value, within: Value, columns: Value, scratch: int) -> None:
        shape = f.shape
        self.f, self.rows = f, rows
        self.columns = f.umin(f.sub(columns, within), shape.width)
        column = f.add(j0, within)
        is_joined = f.icmp("ne", "%image", 0)
        image = f.udiv(column, f.select(is_joined, "%image", 1))
        self.column = f.sub(column, f.mul(image, "%image"))
        self.c = f.gep(rows, f.mul(image, "%c_image"))
        direct = f.select(is_joined, f.gep(self.c, f.mul(self.column, shape.size)), f.gep(c, f.mul(within, shape.size)), "ptr")
        beyond = f.icmp("ugt", f.add(self.column, self.columns), "%image")
        self.apart = f.op(f"and i1 {is_joined}, {beyond}")
        self.tile = f.gep("%scratch", scratch)
        self.at = str(f.select(self.apart, self.tile, direct, "ptr"))
        self.row = f.select(self.apart, shape.vectors * shape.vector_bytes, "%c_row")

    def store(self, rows: Value, add: Value) -> None:
        """What was computed in scratch to C."""
        with self.f.when(self.apart):
            values = [self.tile, self.c, "%c_row", self.column, self.columns, "%image", "%c_image", rows, add]
            self.f.call("scatter", [(type, value) for (type, _), value in zip(SCATTER, values)])


def add_scatter(module: Module, shape: TileShape) -> None:
    """``scatter``: a tile in scratch to the pieces of C that it belongs to, or added to them."""
    f = TileFunction(module, "scatter", SCATTER, linkage="internal")
    f.shape = shape
    slot, column_slot, c_slot = f.variable("i64", 0), f.variable("i64", "%column"), f.variable("ptr", "%c")
    head, inside, done = f.label("pieces"), f.label("piece"), f.label("end")
    f.br(head)
    f.place(head)
    moved = f.load("i64", slot)
    f.cond_br(f.icmp("ult", moved, "%columns"), inside, done)
    f.place(inside)
    column, c = f.load("i64", column_slot), f.load("ptr", c_slot)
    count = f.umin(f.sub("%image", column), f.sub("%columns", moved))
    source, target = f.gep("%tile", f.mul(moved, shape.size)), f.gep(c, f.mul(column, shape.size))
    with f.loop(0, count, shape.lanes) as first:
        left = f.umin(f.sub(count, first), shape.lanes)
        mask = f.low_mask(shape.lanes, left)
        held = f.low_mask(shape.lanes, f.select(f.icmp("eq", "%add", 0), 0, left))
        with f.loop(0, "%rows") as row:
            here = f.gep(f.gep(target, f.mul(first, shape.size)), f.mul(row, "%c_row"))
            there = f.gep(f.gep(source, f.mul(first, shape.size)), f.mul(row, shape.vectors * shape.vector_bytes))
            value = f.load_vector(there, mask)
            total = f.op(f"fadd {shape.vector} {f.load_vector(here, held)}, {value}")
            f.store_vector(str(f.select(f.icmp("eq", "%add", 0), value, total, shape.vector)), here, mask)
    f.store("i64", f.add(moved, count), slot)
    f.store("i64", 0, column_slot)
    f.store("ptr", f.gep(c, "%c_image"), c_slot)
    f.br(head)
    f.place(done)
    module.add(f)


def finish(f: TileFunction, row: Value, rows: Value, j0: Value, columns: Value) -> None:
    """The epilogue on rows × columns, matrix by matrix. The frame's last batch index says which one it is."""
    from duograph.codegen.contraction.driver import FIRST_IMAGE, LAST_INDEX

    end = f.add(j0, columns)
    index = f.load("ptr", f.gep("%finish", LAST_INDEX))
    base = f.load("i64", f.gep("%finish", FIRST_IMAGE))
    with f.loop(f.udiv(j0, "%image"), f.ceildiv(end, "%image")) as image:
        first = f.mul(image, "%image")
        start, stop = f.umax(first, j0), f.umin(f.add(first, "%image"), end)
        f.store("i64", f.add(base, image), index)
        values = [("i64", row), ("i64", rows), ("i64", f.sub(start, first)), ("i64", f.sub(stop, start))]
        f.call("finish", [("ptr", "%finish"), *values])
