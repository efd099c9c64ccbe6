"""Map kernels with operands that are contiguous along another dim than the result: those are staged through scratch.

A chunk is a tile of 16 rows of up to 1 KB of the result. Each transposed operand's tile is read along its own
contiguous dim, turned in registers (16 x 16 elements at a time, of 8 bytes 8 x 8), and kept in scratch as rows; the body
then runs row by row as if it had lain that way in memory. Where the result has fewer than 16 columns there is nothing to
turn: the body runs along the rows, and stores one element after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duograph.codegen.analysis import Facts, is_backward, is_unit, is_zero
from duograph.codegen.body import Body, Scope
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import Address, Extent
from duograph.codegen.llvm import Value
from duograph.codegen.nest import LANES, for_chunks
from duograph.codegen.vector import Vec, Vectors
from duograph.ir.dim import ceildiv, product

ROWS = LANES
ROW_BYTES = 1024  # of a tile: sixteen rows and what they are read from stay in L1

Run = Callable[[Scope, Value, Value], None]


def transposed_loads(facts: Facts, dim: int) -> tuple[int, list[Address]] | None:
    """The other dim along which most of the loads strided along ``dim`` are contiguous, and those loads."""
    best: tuple[int, list[Address]] | None = None
    for other in facts.parallel_dims:
        found = [
            instr.attr
            for instr in facts.body
            if instr.op == "load" and isinstance(instr.attr, Address) and not instr.attr.mask
            if other != dim and (is_unit(instr.attr.strides[other]) or is_backward(instr.attr.strides[other]))
            if not is_zero(instr.attr.strides[dim]) and not is_unit(instr.attr.strides[dim])
        ]
        if found and (best is None or len(found) > len(best[1])):
            best = other, found
    return best


def emit_tiles(body: Body, outer: Sequence[int], dim: int, other: int, loads: Sequence[Address], run: Run, across: Run) -> None:
    """All chunks: dims ``outer`` (without ``other``), blocks of ``other``, blocks of ``dim``.

    ``run``: the body along ``dim``; ``across``: along ``other``.
    """
    f, frame = body.frame.function, body.frame
    rest = [d for d in outer if d != other]
    sizes = [DTYPES[body.facts.operands[address.arg].dtype].size for address in loads]
    width = _columns(body.facts, loads)
    tiles = [frame.reserve_scratch(ROWS * width, size) for size in sizes]
    row_blocks, column_blocks = (f.ceildiv(body.extent(d), n) for d, n in ((other, ROWS), (dim, width)))

    narrow, wide = (f.icmp(relation, body.extent(dim), LANES) for relation in ("ult", "uge"))

    def chunk(indices: list[Value]) -> None:
        fixed = dict(zip(rest, indices))
        first, low = f.mul(indices[-2], ROWS), f.mul(indices[-1], width)
        rows = f.umin(f.sub(body.extent(other), first), ROWS)
        high = f.umin(f.add(low, width), body.extent(dim))
        with f.when(narrow), f.loop(low, high) as column:
            across(Scope(frame.vectors(1), {**fixed, dim: column}), first, f.add(first, rows))
        with f.when(wide):
            for address, size, tile in zip(loads, sizes, tiles):
                start = Scope(frame.vectors(1), {**fixed, other: first, dim: low})
                source = f.gep(frame.pointer(address.arg), body.offset(address, start), size)
                _Turn(body, address, dim, width, is_backward(address.strides[other])).fill(source, tile, rows, f.sub(high, low))
            with f.loop(0, rows) as k:
                for address, size, tile in zip(loads, sizes, tiles):
                    # such that the element of column i lies at i
                    body.staged[id(address)] = f.gep(tile, f.sub(f.mul(k, width), low), size)
                run(Scope(frame.vectors(1), {**fixed, other: f.add(first, k)}), low, high)

    for_chunks(frame, [*(body.extent(d) for d in rest), row_blocks, column_blocks], chunk)


def _columns(facts: Facts, loads: Sequence[Address]) -> int:
    """Columns of a tile."""
    return ROW_BYTES // max(4, *(DTYPES[facts.operands[address.arg].dtype].size for address in loads))


def tile_count(facts: Facts, outer: Sequence[int], dim: int, other: int, loads: Sequence[Address]) -> Extent:
    """The number of chunks."""
    blocks = [ceildiv(facts.extents[other], ROWS), ceildiv(facts.extents[dim], _columns(facts, loads))]
    return product([*(facts.extents[d] for d in outer if d != other), *blocks])


class _Turn:
    """Fills one tile: columns of the result are runs of ``rows`` elements in the source (`backward`: from their end on)."""

    def __init__(self, body: Body, address: Address, dim: int, width: int, backward: bool) -> None:
        self.f = body.frame.function
        info = DTYPES[body.facts.operands[address.arg].dtype]
        self.storage, self.size = info.storage, info.size
        self.lanes = LANES if info.size <= 4 else LANES // 2
        self.v: Vectors = body.frame.vectors(self.lanes)
        self.step = body.stride(address, dim)
        self.width = width
        self.backward = backward

    def fill(self, source: str, tile: str, rows: Value, columns: Value) -> None:
        f = self.f
        whole = f.select(f.icmp("eq", rows, ROWS), f.and_(columns, -self.lanes), 0)
        with f.loop(0, whole, self.lanes) as column:
            for first in range(0, ROWS, self.lanes):
                self._block(source, tile, column, first, f.icmp("uge", column, whole))
        with f.loop(whole, columns) as column, f.loop(0, rows) as row:
            item = f.load(self.storage, self._source(source, column, row), self.size)
            f.store(self.storage, item, self._target(tile, row, column), self.size)

    def _source(self, source: str, column: Value, row: Value) -> str:
        row = self.f.sub(0, row) if self.backward else row
        return self.f.gep(self.f.gep(source, self.f.mul(column, self.step), self.size), row, self.size)

    def _target(self, tile: str, row: Value, column: Value) -> str:
        return self.f.gep(self.f.gep(tile, self.f.mul(row, self.width), self.size), column, self.size)

    def _block(self, source: str, tile: str, column: str, first: int, never: str) -> None:
        """A square of as many elements as a vector has: rounds of two-input shuffles, each within or across 128-bit quarters.

        ``never``: an i1 that does not hold, see `Function.cut`.
        """
        f, v, lanes = self.f, self.v, self.lanes
        kind, last = f"<{lanes} x {self.storage}>", first + lanes - 1
        start = last if self.backward else first
        lines = [
            Vec(f.load(kind, self._source(source, f.add(column, i), start), self.size), self.storage, lanes) for i in range(lanes)
        ]
        for i in range(lanes):  # the next block but one: rows far apart are beyond what the hardware foresees
            f.prefetch(self._source(source, f.add(column, 2 * LANES + i), start))
        for distance, masks in _ROUNDS if lanes == LANES else _WIDE_ROUNDS:
            for i in range(lanes):
                if not i & distance:
                    a, b = lines[i], lines[i + distance]
                    lines[i], lines[i + distance] = (v.shuffle(a, b, mask) for mask in masks)
            if distance == 2:
                f.cut(never)
        for i, line in enumerate(lines):
            # interleaving leaves the rows of each four in the order 0, 2, 1, 3
            row = i & -4 | (i & 1) << 1 | i >> 1 & 1 if lanes == LANES else i
            f.store(line.type, line.ref, self._target(tile, last - row if self.backward else first + row, column), self.size)


def _interleave(width: int) -> tuple[list[int], list[int]]:
    """Groups of ``width`` elements of two vectors by turns, from the low and from the high half of each quarter."""
    halves: tuple[list[int], list[int]] = ([], [])
    for quarter in range(0, LANES, 4):
        for half, start in zip(halves, (quarter, quarter + 2)):
            if width == 1:
                half += [start, LANES + start, start + 1, LANES + start + 1]
            else:
                half += [start, start + 1, LANES + start, LANES + start + 1]
    return halves


def _exchange(width: int, lanes: int = LANES) -> tuple[list[int], list[int]]:
    """Groups of ``width`` elements of two vectors by turns: the even ones, and the odd ones."""
    even = [start + i for group in range(0, lanes, 2 * width) for start in (group, lanes + group) for i in range(width)]
    return even, [i + width for i in even]


# (distance of the lines that are combined, the two shuffles)
_ROUNDS = ((1, _interleave(1)), (2, _interleave(2)), (4, _exchange(4)), (8, _exchange(8)))
# The same for elements of 8 bytes, of which a quarter has two.
_WIDE_ROUNDS = tuple((distance, _exchange(distance, LANES // 2)) for distance in (1, 2, 4))
