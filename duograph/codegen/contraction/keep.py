"""B in panels, made before: what a program keeps with a parameter, so that products need not pack it again.

A panel is as `pack` makes it, of all k. Each element of a product is the same chain as without.
"""

from __future__ import annotations

from typing import NamedTuple

from duograph.codegen.contraction.driver import ABI
from duograph.codegen.contraction.pack import PACK_B
from duograph.codegen.contraction.parts import library_name
from duograph.codegen.contraction.shape import TileFunction, TileShape, panel_bytes
from duograph.codegen.kernel import Extent, Keep, Launch
from duograph.codegen.llvm import Module
from duograph.ir.dim import ceildiv, maximum, minimum

KEEP = "keep"
MOST_IN_PLACE = 28  # so many rows, or fewer, read B where it lies, or nearly as fast


class Kept(NamedTuple):
    """What a launch finds kept: the position in args that says so, behind it others that go with it, bytes of a panel, and the
    launches in front that make it where it is not kept."""

    keep: Keep | None = None
    args: tuple[int, ...] = ()
    panel: Extent = 0
    before: tuple[Launch, ...] = ()


def keep_of(dtype: str, shape: TileShape, operand: int, m: Extent, n: Extent, k: Extent, b_k: Extent, b_n: Extent) -> Keep:
    """The panels of B, where enough rows share them. The sizes: k, n, strides in elements, bytes of a panel."""
    keep = all_panels(dtype, shape, operand, n, k, b_k, b_n)
    return keep._replace(chunks=keep.chunks * has_many(m))


def has_many(rows: Extent) -> Extent:
    """1 where so many rows share panels that these pay, else 0."""
    return minimum(maximum(rows - MOST_IN_PLACE, 0), 1)


def all_panels(dtype: str, shape: TileShape, operand: int, n: Extent, k: Extent, b_k: Extent, b_n: Extent) -> Keep:
    """All panels of an operand."""
    panel, panels = panel_bytes(shape, k), ceildiv(n, shape.width)
    return Keep(operand, f"{library_name(dtype)}:{KEEP}", (k, n, b_k, b_n, panel), panels, panels * panel)


def add_keep(module: Module, shape: TileShape) -> None:
    """The function that makes panels; its chunks are panels."""
    f = TileFunction(module, KEEP, ABI)
    f.shape = shape
    k, n, b_k, b_n, panel = (f.load("i64", f.gep("%sizes", 8 * i)) for i in range(5))
    source, target = (f.load("ptr", f.gep("%args", 8 * i)) for i in range(2))
    k_step, n_step = f.mul(b_k, shape.size), f.mul(b_n, shape.size)
    first = f.mul("%begin", shape.width)
    columns = f.umin(f.sub(n, first), f.mul(f.sub("%end", "%begin"), shape.width))
    values = [f.gep(source, f.mul(first, n_step)), k_step, n_step, f.gep(target, f.mul("%begin", panel)), panel, k, columns]
    arguments = [(type, value) for (type, _), value in zip(PACK_B, values)]
    by_rows, other, by_columns, any_strides, done = (f.label(hint) for hint in ("rows", "other", "columns", "any", "done"))
    f.cond_br(f.icmp("eq", b_n, 1), by_rows, other)
    f.place(other)
    f.cond_br(f.icmp("eq", b_k, 1), by_columns, any_strides)
    for label, name in ((by_rows, "pack_rows"), (by_columns, "pack_columns"), (any_strides, "pack_any")):
        f.place(label)
        f.call(name, arguments)
        f.br(done)
    f.place(done)
    module.add(f)
