"""Libraries: the object code of all tiles, packers and loops of one dtype, compiled once and shared by every program."""

from __future__ import annotations

from duograph.codegen.contraction.direct import NARROW_PART, PART, add_direct, add_narrow_direct, narrow
from duograph.codegen.contraction.driver import RUN, add_driver
from duograph.codegen.contraction.gemv import add_row, add_row_columns
from duograph.codegen.contraction.keep import add_keep
from duograph.codegen.contraction.pack import add_packers
from duograph.codegen.contraction.pairs import add_pair_panels
from duograph.codegen.contraction.parts import PARTS, PREFIX, TABLE, TILED, library_name
from duograph.codegen.contraction.shape import BYTES_OF_PAIRS, PAIRS, TileShape, tile_shape
from duograph.codegen.contraction.simple import add_simple_driver, integer_shape
from duograph.codegen.contraction.spread import add_spread
from duograph.codegen.contraction.tables import add_tiles
from duograph.codegen.contraction.taps import add_direct_and_taps
from duograph.codegen.contraction.winograd import PART as WINOGRAD_PART
from duograph.codegen.contraction.winograd import add_winograd
from duograph.codegen.llvm import Module
from duograph.codegen.target import Target
from duograph.codegen.windows.driver import LIBRARIES as WINDOWS
from duograph.codegen.windows.driver import add_windows

INTEGERS = {f"int{bits}": bits for bits in (8, 16, 32, 64)}


def library_dtype(accumulator: str) -> str:
    """The dtype whose library computes with ``accumulator``; ValueError if none does."""
    dtype = accumulator.removeprefix("u")
    if dtype not in TILED and dtype not in INTEGERS:
        raise ValueError(f"there are no contractions that accumulate in {accumulator}")
    return dtype


def library_names(level: Target) -> list[str]:
    """Of all libraries and all parts of them that machines of a level may run."""
    parts = ("", *PARTS, PART, NARROW_PART)
    parted = [library_name(dtype, part) for dtype in TILED if dtype != PAIRS for part in parts]
    if level.vector_bytes == BYTES_OF_PAIRS:
        parted += [library_name(PAIRS, part) for part in parts if part != "rows"]
    parted.append(library_name("float32", WINOGRAD_PART))
    return parted + [library_name(dtype) for dtype in INTEGERS] + list(WINDOWS)


def symbol_of(dtype: str) -> str:
    """The launch symbol of the contraction of ``dtype``, as ``library:function``."""
    return f"{library_name(dtype)}:{RUN}"


def library_text(name: str, target: Target) -> str:
    """The IR of a library or of a part of one; ValueError for an unknown name."""
    if name in WINDOWS:
        module = Module()
        add_windows(module, WINDOWS[name], target)
        return module.text()
    dtype, _, part = name.removeprefix(PREFIX).partition("-")
    module = Module()
    if dtype in INTEGERS and not part:
        add_simple_driver(module, integer_shape(INTEGERS[dtype], target))
        return module.text()
    if dtype not in TILED or part not in _TILED_PARTS:
        raise ValueError(f"there is no library {name!r}")
    _TILED_PARTS[part](module, tile_shape(dtype, target))
    return module.text()


def _add_main(module: Module, shape: TileShape) -> None:
    add_tiles(module, shape, shape.heights, (shape.vectors,))
    add_packers(module, shape)
    add_driver(module, shape)
    add_keep(module, shape)
    if shape.pairs:
        add_pair_panels(module, shape)


def _add_narrow(module: Module, shape: TileShape) -> None:
    add_tiles(module, shape, shape.heights, range(1, shape.vectors))


def _add_heights(module: Module, shape: TileShape) -> None:
    others = [rows for rows in shape.all_heights if rows not in shape.heights]
    add_tiles(module, shape, others, range(1, shape.vectors + 1))


def _add_direct(module: Module, shape: TileShape) -> None:
    if shape.pairs:  # gradients are no products of pairs
        add_direct(module, shape)
    else:
        add_direct_and_taps(module, shape)


def _add_few(module: Module, shape: TileShape) -> None:
    add_narrow_direct(module, shape)
    if shape.pairs:
        add_pair_panels(module, narrow(shape))


def _add_rows(module: Module, shape: TileShape) -> None:
    add_row(module, shape)
    add_row_columns(module, shape)
    module.table(TABLE, "ptr", ["@row", "@row_columns"], align=8, exported=True)


_TILED_PARTS = {
    "": _add_main,
    "narrow": _add_narrow,
    "heights": _add_heights,
    "rows": _add_rows,
    "spread": add_spread,
    PART: _add_direct,
    NARROW_PART: _add_few,
    WINOGRAD_PART: add_winograd,
}


def build_library(name: str, target: Target) -> bytes:
    """The object code of a library for the level of ``target``: the same wherever it is compiled."""
    level = target.with_dots if name.startswith(library_name(PAIRS)) else target.level
    return level.emit_object(library_text(name, target.level))
