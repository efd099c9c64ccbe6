"""The table of tiles by rows and vectors, of the library or of one of its parts."""

from __future__ import annotations

from collections.abc import Collection

from duograph.codegen.contraction.parts import TABLE
from duograph.codegen.contraction.shape import TileShape
from duograph.codegen.contraction.tile import add_tile, tile_name
from duograph.codegen.llvm import Module


def add_tiles(module: Module, shape: TileShape, heights: Collection[int], vectors: Collection[int]) -> None:
    """Tiles and the exported table of them: at [rows][vectors - 1] the tile, null where there is none."""
    names = ["null"] * ((shape.rows + 1) * shape.vectors)
    for rows in heights:
        for columns in vectors:
            add_tile(module, shape, rows, columns)
            names[rows * shape.vectors + columns - 1] = f"@{tile_name(rows, columns)}"
    module.table(TABLE, "ptr", names, align=8, exported=True)
