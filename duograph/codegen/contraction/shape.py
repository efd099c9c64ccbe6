"""The register tile of each dtype and instruction level, and the blocking that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

from duograph.codegen.llvm import Function, Value, mangle, vector_type
from duograph.codegen.target import Target

# A sum over k is one multiply-add chain inside a block of k, and the blocks are added in order. The block length is
# part of the numeric contract: it depends on k and the dtype and on nothing else.
LONGEST_BLOCK_BYTES = 2048
BLOCK_UNIT = 16


@dataclass(frozen=True)
class TileShape:
    """A tile of ``rows`` × ``vectors`` vector accumulators of ``lanes`` elements.

    rows * vectors + vectors + 1 registers are live in the loop; that must not exceed what the machine has.
    ``masks``: partial vectors are loaded and stored by instructions, so B may be read in place at the right edge.
    """

    element: str
    size: int
    lanes: int
    vectors: int
    rows: int
    fma: bool
    masks: bool

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
        return LONGEST_BLOCK_BYTES // self.size

    @property
    def vector_bytes(self) -> int:
        return self.lanes * self.size


def tile_shape(dtype: str, target: Target) -> TileShape:
    """The tile for float32 or float64."""
    element, size = {"float32": ("float", 4), "float64": ("double", 8)}[dtype]
    lanes = target.vector_bytes // size
    rows = {64: 14, 32: 6, 16: 4}[target.vector_bytes]
    return TileShape(element, size, lanes, 2, rows, target.fma, target.masks)


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
        """a * b + c: fused where the machine can, two roundings where it cannot."""
        type = self.shape.vector
        if self.shape.fma:
            return self.intrinsic(f"llvm.fma.{mangle(type)}", type, [(type, a), (type, b), (type, c)])
        return self.op(f"fadd {type} {self.op(f'fmul {type} {a}, {b}')}, {c}")

    def lanes_of(self, columns: Value) -> Value:
        """How many lanes the last vector of ``columns`` >= 1 columns uses."""
        return self.add(self.and_(self.sub(columns, 1), self.shape.lanes - 1), 1)
