"""Packers: B into zero-padded column panels, A into a layout free of cache-set conflicts.

A packed panel holds ``k`` rows of one tile width each. Lanes past the last column hold anything: they are computed and
never stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# Strides in bytes: source step along k and along columns, bytes from one panel to the next.
PACK_B = (
    ("ptr", "source"),
    ("i64", "k_step"),
    ("i64", "n_step"),
    ("ptr", "panels"),
    ("i64", "panel_step"),
    ("i64", "k"),
    ("i64", "columns"),
)
# ``step``: from row to row of A for `copy_rows`, from k to k for `copy_columns`.
COPY_A = (
    ("ptr", "source"),
    ("i64", "step"),
    ("ptr", "target"),
    ("i64", "pitch"),
    ("i64", "rows"),
    ("i64", "k"),
)


_AHEAD = 512  # bytes
_COLUMNS_AHEAD = 16  # columns of A: far apart, in no hardware prefetcher's reach


def add_packers(module: Module, shape: TileShape) -> None:
    for function in (_pack_rows, _pack_columns, _pack_any, _copy_rows, _copy_columns):
        module.add(function(module, shape))


def _function(module: Module, shape: TileShape, name: str, parameters: Sequence[tuple[str, str]]) -> TileFunction:
    f = TileFunction(module, name, parameters, linkage="internal")
    f.shape = shape
    return f


def _pack_rows(module: Module, shape: TileShape) -> TileFunction:
    """Columns are contiguous: rows of B are cut into panels.

    Four source rows at a time go to all panels before the next rows are read: a few long streams, which the hardware
    prefetcher follows even where the row stride is a power of two.
    """
    f = _function(module, shape, "pack_rows", PACK_B)
    unrolled = f.and_("%k", -4)
    whole = f.and_("%columns", -shape.width)
    rest = f.sub("%columns", whole)
    masks = [f.low_mask(shape.lanes, _lanes_after(f, rest, j)) for j in range(shape.vectors)]
    row_bytes = shape.vectors * shape.vector_bytes

    def copy(k: str, count: int) -> None:
        rows = [f.gep("%source", f.mul(k, "%k_step"))]
        while len(rows) < count:
            rows.append(f.gep(rows[-1], "%k_step"))
        target = f.variable("ptr", f.gep("%panels", f.mul(k, row_bytes)))

        def move(column: Value, use: Sequence[str | None]) -> None:
            panel = f.load("ptr", target)
            offset = f.mul(column, shape.size)
            for u, row in enumerate(rows):
                place = f.gep(row, offset)
                for j in range(shape.vectors):
                    value = f.load_vector(f.gep(place, j * shape.vector_bytes), use[j])
                    f.store_vector(value, f.gep(panel, u * row_bytes + j * shape.vector_bytes))
            f.store("ptr", f.gep(panel, "%panel_step"), target)

        with f.loop(0, whole, shape.width) as column:
            move(column, [None] * shape.vectors)
        with f.when(f.icmp("ne", rest, 0)):
            move(whole, masks)

    with f.loop(0, unrolled, 4) as k:
        copy(k, 4)
    with f.loop(unrolled, "%k") as k:
        copy(k, 1)
    return f


def _lanes_after(f: TileFunction, columns: Value, j: int) -> Value:
    """Lanes of vector j that ``columns`` columns use."""
    lanes = f.shape.lanes
    return f.umin(f.sub(f.umax(columns, j * lanes), j * lanes), lanes)


def _pack_columns(module: Module, shape: TileShape) -> TileFunction:
    """k is contiguous: square blocks are transposed in registers. Writes up to a block past row k of the last panel."""
    f = _function(module, shape, "pack_columns", PACK_B)
    lanes, row_bytes = shape.lanes, shape.vectors * shape.vector_bytes
    offsets = f.alloca("i64", 64, lanes)
    last = f.sub("%columns", 1)
    short = f.icmp("ule", f.mul("%k", shape.size), 2 * _AHEAD)
    ahead = f.select(short, f.mul("%n_step", lanes), _AHEAD)
    with f.loop(0, "%columns", lanes) as column:
        # Columns past the end repeat the last one.
        for i in range(lanes):
            f.store("i64", f.mul(f.umin(f.add(column, i), last), "%n_step"), f.gep(offsets, 8 * i))
        panel = f.gep("%panels", f.mul(f.udiv(column, shape.width), "%panel_step"))
        target = f.gep(panel, f.mul(f.and_(column, shape.width - 1), shape.size))
        with f.loop(0, "%k", lanes) as k:
            mask = f.low_mask(lanes, f.umin(f.sub("%k", k), lanes))
            source = f.gep("%source", f.mul(k, shape.size))
            block = []
            for i in range(lanes):
                place = f.gep(source, f.load("i64", f.gep(offsets, 8 * i)))
                f.prefetch(f.gep(place, ahead), locality=2)
                block.append(f.load_vector(place, mask))
            out = f.gep(target, f.mul(k, row_bytes))
            for i, value in enumerate(transpose(f, block, f.icmp("uge", k, "%k"))):
                f.store_vector(value, f.gep(out, i * row_bytes))
    return f


def transpose(f: TileFunction, rows: Sequence[str], never: str) -> list[str]:
    """``lanes`` vectors to their transpose: unpacks inside 128-bit quarters, then shuffles of whole quarters.

    ``never``: an i1 that does not hold, see `Function.cut`.
    """
    shape = f.shape
    lanes, inside = shape.lanes, 16 // shape.size
    quarters = lanes // inside
    values = list(rows)
    step = 1
    while step < inside:  # interleave groups of `step` elements of vectors `step` apart
        low, high = _unpack_indices(lanes, inside, step)
        following = list(values)
        for base in range(0, lanes, inside):
            for i in range(inside):
                if i & step:
                    continue
                a, b = values[base + i], values[base + i + step]
                following[base + i] = f.shuffle(shape.vector, a, b, low)
                following[base + i + step] = f.shuffle(shape.vector, a, b, high)
        values, step = following, 2 * step
    f.cut(never)
    order = _unpack_order(inside)
    # columns[c][g]: quarter q of it holds column q * inside + c of rows g * inside...
    columns = [[values[g * inside + order.index(c)] for g in range(quarters)] for c in range(inside)]
    result = [""] * lanes
    for c in range(inside):
        for q, value in enumerate(_transpose_quarters(f, columns[c], inside)):
            result[q * inside + c] = value
    return result


def _unpack_indices(lanes: int, inside: int, step: int) -> tuple[list[int], list[int]]:
    """Low: groups of ``step`` elements from the lower half of each quarter of a and b alternately; high: the upper half."""
    low: list[int] = []
    high: list[int] = []
    for quarter in range(0, lanes, inside):
        for half, out in ((0, low), (inside // 2, high)):
            for group in range(0, inside // 2, step):
                for source in (0, lanes):
                    out += [source + quarter + half + group + e for e in range(step)]
    return low, high


def _unpack_order(inside: int) -> list[int]:
    """Which column of a quarter each of the unpacked vectors holds."""
    return {1: [0], 2: [0, 1], 4: [0, 2, 1, 3]}[inside]


def _transpose_quarters(f: TileFunction, values: Sequence[str], inside: int) -> list[str]:
    """A square of 128-bit quarters to its transpose."""
    quarters = len(values)
    if quarters == 1:
        return list(values)

    def pick(a: str, b: str, parity: int) -> str:
        chosen = [q for q in range(quarters) if q % 2 == parity]
        indices = [source + q * inside + e for source in (0, quarters * inside) for q in chosen for e in range(inside)]
        return f.shuffle(f.shape.vector, a, b, indices)

    if quarters == 2:
        return [pick(values[0], values[1], 0), pick(values[0], values[1], 1)]
    a, c = (pick(values[i], values[i + 1], 0) for i in (0, 2))
    b, d = (pick(values[i], values[i + 1], 1) for i in (0, 2))
    return [pick(a, c, 0), pick(b, d, 0), pick(a, c, 1), pick(b, d, 1)]


def _pack_any(module: Module, shape: TileShape) -> TileFunction:
    """Any strides, element by element."""
    f = _function(module, shape, "pack_any", PACK_B)
    row_bytes = shape.vectors * shape.vector_bytes
    with f.loop(0, "%columns") as column:
        source = f.gep("%source", f.mul(column, "%n_step"))
        panel = f.gep("%panels", f.mul(f.udiv(column, shape.width), "%panel_step"))
        target = f.gep(panel, f.mul(f.and_(column, shape.width - 1), shape.size))
        with f.loop(0, "%k") as k:
            value = f.load(shape.element, f.gep(source, f.mul(k, "%k_step")), shape.size)
            f.store(shape.element, value, f.gep(target, f.mul(k, row_bytes)), shape.size)
    return f


def _copy_rows(module: Module, shape: TileShape) -> TileFunction:
    """Rows of A (k contiguous) to rows ``pitch`` apart."""
    f = _function(module, shape, "copy_rows", COPY_A)
    wide = 4 * shape.lanes
    blocks = f.and_("%k", -wide)
    with f.loop(0, "%rows") as row:
        source, target = f.gep("%source", f.mul(row, "%step")), f.gep("%target", f.mul(row, "%pitch"))
        with f.loop(0, blocks, wide) as k:
            offset = f.mul(k, shape.size)
            places = [f.gep(f.gep(source, offset), j * shape.vector_bytes) for j in range(4)]
            values = [f.load_vector(place) for place in places]
            for j, value in enumerate(values):
                f.store_vector(value, f.gep(f.gep(target, offset), j * shape.vector_bytes))
        with f.loop(blocks, "%k", shape.lanes) as k:
            mask = f.low_mask(shape.lanes, f.umin(f.sub("%k", k), shape.lanes))
            offset = f.mul(k, shape.size)
            f.store_vector(f.load_vector(f.gep(source, offset), mask), f.gep(target, offset))
    return f


def _copy_columns(module: Module, shape: TileShape) -> TileFunction:
    """Columns of A (rows contiguous) to columns ``pitch`` apart. Writes whole vectors, past the last row."""
    f = _function(module, shape, "copy_columns", COPY_A)
    whole = f.and_("%rows", -shape.lanes)
    mask = f.low_mask(shape.lanes, f.sub("%rows", whole))
    with f.loop(0, "%k") as k:
        source, target = f.gep("%source", f.mul(k, "%step")), f.gep("%target", f.mul(k, "%pitch"))
        with f.loop(0, whole, shape.lanes) as row:
            offset = f.mul(row, shape.size)
            f.prefetch(f.gep(f.gep(source, offset), f.mul("%step", _COLUMNS_AHEAD)), locality=2)
            f.store_vector(f.load_vector(f.gep(source, offset)), f.gep(target, offset))
        offset = f.mul(whole, shape.size)
        with f.when(f.icmp("ne", whole, "%rows")):
            f.store_vector(f.load_vector(f.gep(source, offset), mask), f.gep(target, offset))
    return f
