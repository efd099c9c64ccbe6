"""The register tile of each dtype and instruction level, and the blocking that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

from duograph.codegen.kernel import Extent
from duograph.codegen.llvm import Function, Value, mangle, vector_type
from duograph.codegen.target import Target
from duograph.ir.dim import ceildiv

# A sum over k is one multiply-add chain inside a block of k, and the blocks are added in order. The block length is
# part of the numeric contract: it depends on k and the dtype and on nothing else.
LONGEST_BLOCK_BYTES = 2048
BLOCK_UNIT = 16

# The name, among those of dtypes, of what multiplies pairs of bfloat16 and adds in float32.
PAIRS = "bfloat16"
BYTES_OF_PAIRS = 64  # of a vector of them
_DOTS, _PAIRS_OF_LANES = "llvm.x86.avx512bf16.dpbf16ps.512", "<32 x bfloat>"

# Up to so many tiles of rows read B where it lies.
IN_PLACE_TILES = 19
# The heights of the tiles that are always there; all of them where a tile has so few rows.
_HEIGHTS, _FEW = (1, 2, 3, 4, 6, 8), 6
# What a tile costs besides its rows, and the rows below which its chains of multiply-adds wait for each other.
_TILE_COST, _FEWEST_BUSY = 0.5, 2.5


@dataclass(frozen=True)
class TileShape:
    """A tile of ``rows`` × ``vectors`` vector accumulators of ``lanes`` elements.

    rows * vectors + vectors + 1 registers are live in the loop; that must not exceed what the machine has.
    ``masks``: partial vectors are loaded and stored by instructions, so B may be read in place at the right edge.
    ``pairs``: elements of A and B are pairs of bfloat16, side by side along k, of which a multiply-add adds both products;
    those of C are float32.
    """

    element: str
    size: int
    lanes: int
    vectors: int
    rows: int
    fma: bool
    masks: bool
    pairs: bool = False

    @property
    def all_heights(self) -> tuple[int, ...]:
        return tuple(range(1, self.rows + 1))

    @property
    def heights(self) -> tuple[int, ...]:
        """The rows of the tiles that are always there; other numbers of rows can be stacked from them."""
        return tuple(rows for rows in self.all_heights if self.rows <= _FEW or rows in _HEIGHTS or rows == self.rows)

    @property
    def vector(self) -> str:
        return vector_type(self.lanes, self.element)

    @property
    def width(self) -> int:
        """Columns of a whole tile."""
        return self.lanes * self.vectors

    @property
    def longest_block(self) -> int:
        """The most k in one multiply-add chain."""
        return most_in_a_chain(self.size)

    @property
    def vector_bytes(self) -> int:
        return self.lanes * self.size

    @property
    def broadcasts(self) -> bool:
        """Whether an instruction may read one element for all lanes: AVX-512."""
        return self.vector_bytes == 64


def most_in_a_chain(size: int) -> int:
    """The greatest k that is one block, by the size of an element in bytes."""
    return LONGEST_BLOCK_BYTES // size


def next_heights(shape: TileShape, heights: tuple[int, ...]) -> list[int]:
    """The height of the next tile by the number of rows that are left (none if 0 are).

    The last position stands for all greater numbers, too, and is the whole tile: what it leaves can be stacked well.
    """
    if heights == shape.all_heights:  # two of nearly one height
        return [left if left <= shape.rows else (left + 1) // 2 for left in range(2 * shape.rows + 1)]
    best = [(0.0, 0)]
    for left in range(1, shape.rows + 3):
        choices = [(max(h, _FEWEST_BUSY) + _TILE_COST + best[left - h][0], -h) for h in heights if h <= left]
        best.append(min(choices))
    return [-height for _, height in best] + [shape.rows]


def count_tiles(shape: TileShape, heights: tuple[int, ...], rows: int) -> int:
    """How many tiles of these heights are stacked for ``rows`` rows."""
    following, count = next_heights(shape, heights), 0
    while rows:
        rows -= following[min(rows, len(following) - 1)]
        count += 1
    return count


def panel_bytes(shape: TileShape, k: Extent) -> Extent:
    """Bytes of a panel with all of k: whole squares of it are written."""
    return ceildiv(k, shape.lanes) * (shape.lanes * shape.vectors * shape.vector_bytes)


def tile_shape(dtype: str, target: Target) -> TileShape:
    """The tile for float32 or float64, or for pairs of bfloat16."""
    element, size = {"float64": ("double", 8)}.get(dtype, ("float", 4))
    lanes = target.vector_bytes // size
    rows = {64: 14, 32: 6, 16: 4}[target.vector_bytes]
    return TileShape(element, size, lanes, 2, rows, target.fma, target.masks, dtype == PAIRS)


class TileFunction(Function):
    """A function with the vector accesses of one tile shape; masks are ``<lanes x i1>`` names or None."""

    shape: TileShape

    def load_vector(self, pointer: str, mask: str | None = None) -> str:
        shape = self.shape
        if mask is None:
            return self.load(shape.vector, pointer, align=shape.size)
        return self.masked_load(shape.vector, pointer, mask, shape.size)

    def store_vector(self, value: str, pointer: str, mask: str | None = None) -> None:
        shape = self.shape
        if mask is None:
            self.store(shape.vector, value, pointer, align=shape.size)
        else:
            self.masked_store(shape.vector, value, pointer, mask, shape.size)

    def broadcast(self, pointer: str) -> str:
        shape = self.shape
        return self.splat(shape.lanes, shape.element, self.load(shape.element, pointer, align=shape.size))

    def multiply_add(self, a: str, b: str, c: str) -> str:
        """a * b + c: fused where the machine can, two roundings where it cannot; of pairs both products are added."""
        type = self.shape.vector
        if self.shape.pairs:
            # a, the last one, may be read from memory
            pairs = [self.op(f"bitcast {type} {x} to {_PAIRS_OF_LANES}") for x in (b, a)]
            return self.intrinsic(_DOTS, type, [(type, c), *((_PAIRS_OF_LANES, x) for x in pairs)])
        if self.shape.fma:
            return self.intrinsic(f"llvm.fma.{mangle(type)}", type, [(type, a), (type, b), (type, c)])
        return self.op(f"fadd {type} {self.op(f'fmul {type} {a}, {b}')}, {c}")

    def lanes_of(self, columns: Value) -> Value:
        """How many lanes the last vector of ``columns`` >= 1 columns uses."""
        return self.add(self.and_(self.sub(columns, 1), self.shape.lanes - 1), 1)
