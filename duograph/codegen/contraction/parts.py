"""The parts of a tiled library that a launch may do without, each an object of its own, compiled when first needed.

Tiles are what costs time to compile. The library itself has those that any sizes can be stacked from, for whole vectors of
columns; the parts have what some sizes want besides. A launch names the parts it needs: all whose need its sizes do not
exclude. What is left out is told by sizes alone and never changes a result bit.
"""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.contraction.shape import IN_PLACE_TILES, PAIRS, TileShape, count_tiles, tile_shape
from duograph.codegen.kernel import Extent, Launch
from duograph.codegen.target import get_target
from duograph.ir.dim import bounds

PREFIX = "contraction-"
TILED = ("float32", "float64", PAIRS)
# In the order of a launch's functions: tiles of a last vector of columns alone; tiles of the other heights; single rows;
# operands walked by several strides.
PARTS = ("narrow", "heights", "rows", "spread")
# The constant of a part (and of the library, for its tiles): its functions. See `tables`, and `library` for single rows.
TABLE = "table"
# The words of a launch's sizes that are read here; `driver` has them all.
M_WORD, N_WORD, PARTS_WORD, SPREAD_WORD, JOINED_WORD = 0, 1, 11, 14, 15


def library_name(dtype: str, part: str = "") -> str:
    return f"{PREFIX}{dtype}-{part}" if part else PREFIX + dtype


def part_symbols(dtype: str) -> tuple[str, ...]:
    """The tables that a launch with all parts is given."""
    return tuple(f"{library_name(dtype, part)}:{TABLE}" for part in PARTS)


def needed_parts(shape: TileShape, m: Extent, n: Extent, spread: bool = False, joined: bool = False) -> tuple[bool, ...]:
    """Which of PARTS a product of m rows and n columns may profit from; ``spread``: an operand is walked by several strides."""
    narrow = not isinstance(n, int) or (n - 1) % shape.width < shape.lanes * (shape.vectors - 1)
    packed = bounds(m)[0] > IN_PLACE_TILES * shape.rows  # one more tile does not read a far B again
    stacked = isinstance(m, int) and count_tiles(shape, shape.heights, m) <= count_tiles(shape, shape.all_heights, m)
    heights = shape.heights != shape.all_heights and not packed and not stacked
    rows = not (_never_one(m) and _never_one(n)) and not shape.pairs
    return narrow or joined, heights or joined, rows and not spread, spread or joined


def _never_one(extent: Extent) -> bool:
    return extent != 1 if isinstance(extent, int) else bounds(extent)[0] > 1


def parts_word(first: int, wanted: Sequence[bool]) -> int:
    """How a launch says which parts it has: their tables follow one another in args from position ``first`` on."""
    return first << len(PARTS) | sum(1 << i for i, needed in enumerate(wanted) if needed)


def settle_parts(launch: Launch) -> Launch:
    """``launch``, whose sizes are the real ones, with the parts that these sizes exclude left out."""
    dtype = launch.symbol.rpartition(":")[0].removeprefix(PREFIX)
    symbols = part_symbols(dtype)
    if dtype not in TILED or launch.functions[-len(PARTS) :] != symbols:
        return launch
    sizes = launch.size_exprs
    spread, joined = (sizes[word] != 0 for word in (SPREAD_WORD, JOINED_WORD))
    wanted = needed_parts(tile_shape(dtype, get_target().level), sizes[M_WORD], sizes[N_WORD], spread, joined)
    return _with_parts(launch, launch.functions[: -len(PARTS)], symbols, wanted)


def cut_anywhere(launch: Launch) -> Launch:
    """The launch of a product whose columns may be cut between vectors, with the part that this takes."""
    symbols = part_symbols(launch.symbol.rpartition(":")[0].removeprefix(PREFIX))
    wanted = [symbol in launch.functions or part == "narrow" for part, symbol in zip(PARTS, symbols)]
    return _with_parts(launch, tuple(name for name in launch.functions if name not in symbols), symbols, wanted)


def _with_parts(launch: Launch, functions: tuple[str, ...], symbols: Sequence[str], wanted: Sequence[bool]) -> Launch:
    """The launch with its own functions, and the tables of the parts that are wanted behind them."""
    sizes = list(launch.size_exprs)
    sizes[PARTS_WORD] = parts_word(len(launch.args) + len(functions), wanted)
    functions += tuple(symbol for symbol, needed in zip(symbols, wanted) if needed)
    return launch._replace(size_exprs=tuple(sizes), functions=functions)
