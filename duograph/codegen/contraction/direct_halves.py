"""Rows of x with their even elements side by side and their odd ones behind them: what every second pixel reads, as lines.

A tile of `direct_lines` would take two loads and a shuffle for each vector of such pixels, once for each few kernels. The rows
that a piece of a row of pixels reads are a few: copied to scratch, each is loaded as it lies.
"""

from __future__ import annotations

from duograph.codegen.contraction.direct_lines import MOST as MOST_VECTORS
from duograph.codegen.contraction.direct_tile import STEP_BYTES
from duograph.codegen.contraction.shape import TileFunction
from duograph.codegen.contraction.spread import WalkedDims
from duograph.codegen.kernel import Extent
from duograph.codegen.llvm import Value
from duograph.ir.dim import ceildiv, floordiv, minimum

_LANES = 16  # of a row's half, a multiple
_LINE = 64


def halves_bytes(size: int, k: Extent, taps: Extent, width: Extent) -> Extent:
    """Scratch for rows of ``taps`` taps and the pixels of a tile, of a row of ``width``, and for the offsets of rows."""
    rows = floordiv(k, taps)
    pitch = ceildiv(minimum(width, _LANES * MOST_VECTORS) + floordiv(taps, 2) + 1, _LANES) * _LANES
    return _table_bytes(rows) + rows * 2 * pitch * size


def _table_bytes(rows: Extent) -> Extent:
    """A vector more than the offsets, which is written past them."""
    return ceildiv(rows * STEP_BYTES, _LINE) * _LINE + _LINE


class Halves:
    """Where the rows lie: ``offsets`` of each in x, and the ``band`` in scratch, even and odd elements of one after the other."""

    def __init__(self, f: TileFunction, walk: WalkedDims, k: Value, width: Value, scratch: str) -> None:
        self.f, self.walk, self.offsets = f, walk, scratch
        self.taps = f.umax(walk.extent, 1)
        self.rows = f.udiv(k, self.taps)
        longest = f.add(f.add(f.umin(width, _LANES * MOST_VECTORS), f.lshr(self.taps, 1)), _LANES)
        self.half = f.mul(f.and_(longest, -_LANES), f.shape.size)  # bytes
        table = f.add(f.and_(f.add(f.mul(self.rows, STEP_BYTES), _LINE - 1), -_LINE), _LINE)
        self.band = f.gep(scratch, table)

    def fill_steps(self, out: str) -> None:
        """The bytes to each k in the band."""
        f = self.f
        with f.loop(0, self.rows) as row, f.loop(0, self.taps) as tap:
            half = f.add(f.shl(row, 1), f.and_(tap, 1))
            place = f.add(f.mul(half, self.half), f.mul(f.lshr(tap, 1), f.shape.size))
            f.store("i32", f.op(f"trunc i64 {place} to i32"), f.gep(out, f.add(f.mul(row, self.taps), tap), STEP_BYTES))

    def copy(self, source: str, pixels: Value) -> None:
        """What so many pixels read, the first one's window at ``source``."""
        f, shape = self.f, self.f.shape
        lanes = shape.lanes
        count = f.add(f.shl(f.sub(pixels, 1), 1), self.taps)
        whole = f.and_(count, -2 * lanes)
        rest = f.sub(count, whole)
        masks = [f.low_mask(lanes, part) for part in (f.umin(rest, lanes), f.sub(f.umax(rest, lanes), lanes))]
        with f.loop(0, self.rows) as row:
            offset = f.op(f"sext i32 {f.load('i32', f.gep(self.offsets, row, STEP_BYTES))} to i64")
            line, target = f.gep(source, offset), f.gep(self.band, f.mul(row, f.shl(self.half, 1)))

            def move(at: Value, masks: list[str] | list[None], line: str = line, target: str = target) -> None:
                place, out = f.gep(line, at, shape.size), f.gep(target, f.mul(f.lshr(at, 1), shape.size))
                first, second = (f.load_vector(f.gep(place, i * shape.vector_bytes), mask) for i, mask in enumerate(masks))
                for parity, to in enumerate((out, f.gep(out, self.half))):
                    f.store_vector(f.shuffle(shape.vector, first, second, range(parity, 2 * lanes, 2)), to)

            with f.loop(0, whole, 2 * lanes) as at:
                move(at, [None, None])
            with f.when(f.icmp("ne", rest, 0)):
                move(whole, masks)
