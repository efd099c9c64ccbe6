"""Libraries: the object code of all tiles, packers and loops of one dtype, compiled once and shared by every program."""

from __future__ import annotations

from duograph.codegen.contraction.driver import RUN, add_driver
from duograph.codegen.contraction.gemv import add_row, add_row_columns
from duograph.codegen.contraction.pack import add_packers
from duograph.codegen.contraction.shape import tile_shape
from duograph.codegen.contraction.simple import add_simple_driver, integer_shape
from duograph.codegen.contraction.tile import add_tile
from duograph.codegen.llvm import Module
from duograph.codegen.target import Target

_PREFIX = "contraction-"
TILED = ("float32", "float64")
INTEGERS = {f"int{bits}": bits for bits in (8, 16, 32, 64)}


def library_name(dtype: str) -> str:
    return _PREFIX + dtype


def library_dtype(accumulator: str) -> str:
    """The dtype whose library computes with ``accumulator``; ValueError if none does."""
    dtype = accumulator.removeprefix("u")
    if dtype not in TILED and dtype not in INTEGERS:
        raise ValueError(f"there are no contractions that accumulate in {accumulator}")
    return dtype


def symbol_of(dtype: str) -> str:
    """The launch symbol of the contraction of ``dtype``, as ``library:function``."""
    return f"{library_name(dtype)}:{RUN}"


def library_text(name: str, target: Target) -> str:
    """The IR of a library; ValueError for an unknown name."""
    dtype = name.removeprefix(_PREFIX)
    module = Module()
    if dtype in TILED:
        shape = tile_shape(dtype, target)
        for rows in range(1, shape.rows + 1):
            for vectors in range(1, shape.vectors + 1):
                add_tile(module, shape, rows, vectors)
        add_packers(module, shape)
        add_row(module, shape)
        add_row_columns(module, shape)
        add_driver(module, shape)
        return module.text()
    if dtype in INTEGERS:
        add_simple_driver(module, integer_shape(INTEGERS[dtype]))
        return module.text()
    raise ValueError(f"there is no library {name!r}")


def build_library(name: str, target: Target) -> bytes:
    """The object code of a library."""
    return target.emit_object(library_text(name, target))
