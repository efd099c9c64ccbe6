"""Operands whose rows or columns are walked by several strides: the windows of a convolution, permuted tensors.

Nothing is copied to memory for them. Blocks of B are packed through tables of byte offsets, one for each k and one for
each column; a tile of A is copied to scratch before it is multiplied. How an operand is walked never changes what is
added in which order.

A launch describes the walks in words of its sizes: how many dims the k of A has (0: one stride, as usual), the k of B
(0: A alone is walked) and the columns of B; then (extent, stride in elements) of each, outer to inner.
"""

from __future__ import annotations

from collections.abc import Callable

from duograph.codegen.contraction.pack import transpose
from duograph.codegen.contraction.parts import TABLE
from duograph.codegen.contraction.shape import BLOCK_UNIT, TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# ``walks``: the words above. ``tables``: scratch of `table_bytes`.
PACK_B = (
    ("ptr", "source"),
    ("ptr", "walks"),
    ("ptr", "panels"),
    ("i64", "panel_step"),
    ("i64", "k0"),
    ("i64", "k"),
    ("i64", "column0"),
    ("i64", "columns"),
    ("ptr", "tables"),
)
COPY_A = (
    ("ptr", "source"),
    ("ptr", "walks"),
    ("i64", "step"),
    ("ptr", "target"),
    ("i64", "pitch"),
    ("i64", "rows"),
    ("i64", "k0"),
    ("i64", "k"),
)
_OFFSETS = (("ptr", "dims"), ("i64", "count"), ("i64", "start"), ("i64", "length"), ("ptr", "out"))
_RUNS_AHEAD = 4  # of A
_COUNTS, _DIM = 24, 16  # bytes of the counts in front and of a dim


def table_bytes(shape: TileShape, columns: int) -> int:
    """Scratch for the tables of one block."""
    return 8 * (shape.longest_block + BLOCK_UNIT + columns + shape.lanes)


def add_spread(module: Module, shape: TileShape) -> None:
    """The part: its table has the packer of B and the copier of A."""
    for function in (_offsets, _pack_runs, _pack_second, _pack_turned, _pack_scattered, _pack, _copy):
        module.add(function(module, shape))
    module.table(TABLE, "ptr", ["@spread_pack", "@spread_copy"], align=8, exported=True)


def _function(module: Module, shape: TileShape, name: str, parameters: tuple[tuple[str, str], ...]) -> TileFunction:
    f = TileFunction(module, name, parameters, linkage="internal")
    f.shape = shape
    return f


class WalkedDims:
    """The dims of one axis: a run is as far as its last dim goes."""

    def __init__(self, f: TileFunction, dims: str, count: Value) -> None:
        self.f, self.dims, self.count = f, dims, count
        self.last = f.gep(dims, f.mul(f.sub(count, 1), _DIM))
        self.extent: Value = f.load("i64", self.last)
        self.step: Value = f.mul(f.load("i64", f.gep(self.last, 8)), f.shape.size)

    def runs(self, start: Value, length: Value, body: Callable[[str, str, Value], None]) -> None:
        """``body(byte offset, first position from start on, positions)`` for each piece of a run in the range."""
        f = self.f
        with f.pieces(0, length) as (at, slot):
            place = f.add(start, at)
            number = f.udiv(place, self.extent)
            within = f.sub(place, f.mul(number, self.extent))
            offset = f.add(self.outer(number), f.mul(within, self.step))
            count = f.umin(f.sub(self.extent, within), f.sub(length, at))
            body(str(offset), at, count)
            f.store("i64", f.add(at, count), slot)

    def outer(self, number: Value) -> str:
        """The byte offset of run ``number``."""
        f = self.f
        left, total = f.variable("i64", number), f.variable("i64", 0)
        with f.loop(1, self.count) as i:
            dim = f.gep(self.dims, f.mul(f.sub(f.sub(self.count, 1), i), _DIM))
            extent, rest = f.load("i64", dim), f.load("i64", left)
            quotient = f.udiv(rest, extent)
            f.store("i64", quotient, left)
            index = f.sub(rest, f.mul(quotient, extent))
            f.store("i64", f.add(f.load("i64", total), f.mul(index, f.load("i64", f.gep(dim, 8)))), total)
        return str(f.mul(f.load("i64", total), f.shape.size))


def _walks(f: TileFunction) -> tuple[str, str, str, str, str, str]:
    """Dims and how many: of the k of A, of the k of B, of the columns of B."""
    a, b, n = (f.load("i64", f.gep("%walks", 8 * i)) for i in range(3))
    of_a = f.gep("%walks", _COUNTS)
    of_b = f.gep(of_a, f.mul(a, _DIM))
    return of_a, a, of_b, b, f.gep(of_b, f.mul(b, _DIM)), n


def _offsets(module: Module, shape: TileShape) -> TileFunction:
    """The byte offsets of a range of positions."""
    f = _function(module, shape, "spread_offsets", _OFFSETS)
    walk = WalkedDims(f, "%dims", "%count")

    def fill(offset: str, at: str, count: Value) -> None:
        out = f.gep("%out", at, 8)
        with f.loop(0, count) as i:
            f.store("i64", f.add(offset, f.mul(i, walk.step)), f.gep(out, i, 8))

    walk.runs("%start", "%length", fill)
    return f


def _tables(f: TileFunction) -> tuple[str, str]:
    """Where the offsets of k and of the columns are kept."""
    return "%tables", f.gep("%tables", 8 * (f.shape.longest_block + BLOCK_UNIT))


def _fill_table(f: TileFunction, dims: str, count: str, start: Value, length: Value, out: str) -> None:
    values = [dims, count, start, length, out]
    f.call("spread_offsets", [(type, value) for (type, _), value in zip(_OFFSETS, values)])


def _pack(module: Module, shape: TileShape) -> TileFunction:
    """A block of B to panels, by the longer of what lies side by side: a run of columns or of k."""
    f = _function(module, shape, "spread_pack", PACK_B)
    _, _, k_dims, k_count, n_dims, n_count = _walks(f)
    k, n = WalkedDims(f, k_dims, k_count), WalkedDims(f, n_dims, n_count)
    by_k, by_n = f.icmp("eq", k.step, shape.size), f.icmp("eq", n.step, shape.size)
    longer = f.op(f"or i1 {f.icmp('uge', n.extent, k.extent)}, {f.op(f'xor i1 {by_k}, true')}")
    columns = f.op(f"and i1 {by_n}, {longer}")
    by_second = f.op(f"and i1 {f.icmp('eq', n.step, 2 * shape.size)}, {longer}")
    hints = ("runs", "others", "second", "rest", "turned", "scattered", "done")
    runs, others, second, rest, turned, scattered, done = (f.label(hint) for hint in hints)
    f.cond_br(columns, runs, others)
    f.place(others)
    f.cond_br(by_second, second, rest)
    f.place(rest)
    f.cond_br(by_k, turned, scattered)
    names = ("spread_runs", "spread_second", "spread_turned", "spread_scattered")
    for label, name in zip((runs, second, turned, scattered), names):
        f.place(label)
        f.call(name, [(type, f"%{parameter}") for type, parameter in PACK_B])
        f.br(done)
    f.place(done)
    return f


def _pack_runs(module: Module, shape: TileShape) -> TileFunction:
    """Neighbouring columns lie side by side: pieces of a panel's width, each through all k."""
    return _pack_pieces(module, shape, "spread_runs", 1)


def _pack_second(module: Module, shape: TileShape) -> TileFunction:
    """The same where they are every second element."""
    return _pack_pieces(module, shape, "spread_second", 2)


def _pack_pieces(module: Module, shape: TileShape, name: str, apart: int) -> TileFunction:
    f = _function(module, shape, name, PACK_B)
    _, _, k_dims, k_count, n_dims, n_count = _walks(f)
    offsets, _ = _tables(f)
    _fill_table(f, k_dims, k_count, "%k0", "%k", offsets)
    row_bytes = shape.vectors * shape.vector_bytes

    def masks_of(count: Value) -> list[str]:
        """Of what is loaded for a vector of ``count`` columns: nothing beyond its last element."""
        span = f.sub(f.mul(count, apart), apart - 1)
        return [f.low_mask(shape.lanes, f.umin(f.smax(f.sub(span, i * shape.lanes), 0), shape.lanes)) for i in range(apart)]

    def move(source: str, target: str, counts: list[Value]) -> None:
        read = [masks_of(count) for count in counts]
        written = [f.low_mask(shape.lanes, count) for count in counts]
        with f.loop(0, "%k") as k:
            here = f.gep(source, f.load("i64", f.gep(offsets, k, 8)))
            there = f.gep(target, f.mul(k, row_bytes))
            for j, masks in enumerate(read):
                parts = [f.load_vector(f.gep(here, (j * apart + i) * shape.vector_bytes), mask) for i, mask in enumerate(masks)]
                if apart == 2:
                    parts = [f.shuffle(shape.vector, parts[0], parts[1], range(0, 2 * shape.lanes, 2))]
                f.store_vector(parts[0], f.gep(there, j * shape.vector_bytes), written[j])

    def piece(source: str, column: str, count: Value) -> None:
        """Up to a panel's width of columns, inside of one panel."""
        within = f.and_(column, shape.width - 1)
        target = f.gep(f.gep("%panels", f.mul(f.udiv(column, shape.width), "%panel_step")), f.mul(within, shape.size))
        one, two, done = f.label("one"), f.label("two"), f.label("done")
        f.cond_br(f.icmp("ule", count, shape.lanes), one, two)
        f.place(one)
        move(source, target, [count])
        f.br(done)
        f.place(two)
        move(source, target, [shape.lanes, f.sub(count, shape.lanes)])
        f.br(done)
        f.place(done)

    def run(offset: str, at: str, count: Value) -> None:
        source = f.gep("%source", offset)
        slot = f.variable("i64", 0)
        head, inside, done = f.label("pieces"), f.label("piece"), f.label("end")
        f.br(head)
        f.place(head)
        moved = f.load("i64", slot)
        f.cond_br(f.icmp("ult", moved, count), inside, done)
        f.place(inside)
        column = f.add(at, moved)
        room = f.sub(shape.width, f.and_(column, shape.width - 1))
        taken = f.umin(room, f.sub(count, moved))
        piece(f.gep(source, f.mul(moved, apart * shape.size)), str(column), taken)
        f.store("i64", f.add(moved, taken), slot)
        f.br(head)
        f.place(done)

    assert shape.vectors == 2, "a piece is one vector or two"
    WalkedDims(f, n_dims, n_count).runs("%column0", "%columns", run)
    return f


def _pack_turned(module: Module, shape: TileShape) -> TileFunction:
    """Neighbouring k lie side by side: squares are transposed in registers.

    Rows of a square past its run are written over by what comes next; the last ones end up to a square past row k.
    """
    f = _function(module, shape, "spread_turned", PACK_B)
    lanes, row_bytes = shape.lanes, shape.vectors * shape.vector_bytes
    _, _, k_dims, k_count, n_dims, n_count = _walks(f)
    _, offsets = _tables(f)
    _fill_table(f, n_dims, n_count, "%column0", "%columns", offsets)
    places, last = f.alloca("i64", 64, lanes), f.sub("%columns", 1)
    walk = WalkedDims(f, k_dims, k_count)
    with f.loop(0, "%columns", lanes) as column:
        for i in range(lanes):  # columns past the end repeat the last one
            f.store("i64", f.load("i64", f.gep(offsets, f.umin(f.add(column, i), last), 8)), f.gep(places, 8 * i))
        panel = f.gep("%panels", f.mul(f.udiv(column, shape.width), "%panel_step"))
        target = f.gep(panel, f.mul(f.and_(column, shape.width - 1), shape.size))

        def run(offset: str, at: str, count: Value, target: str = target) -> None:
            with f.loop(0, count, lanes) as k:
                mask = f.low_mask(lanes, f.umin(f.sub(count, k), lanes))
                source = f.gep(f.gep("%source", offset), f.mul(k, shape.size))
                square = [f.load_vector(f.gep(source, f.load("i64", f.gep(places, 8 * i))), mask) for i in range(lanes)]
                out = f.gep(target, f.mul(f.add(at, k), row_bytes))
                for i, value in enumerate(transpose(f, square, f.icmp("uge", k, count))):
                    f.store_vector(value, f.gep(out, i * row_bytes))

        walk.runs("%k0", "%k", run)
    return f


def _pack_scattered(module: Module, shape: TileShape) -> TileFunction:
    """Nothing lies side by side: element by element."""
    f = _function(module, shape, "spread_scattered", PACK_B)
    row_bytes = shape.vectors * shape.vector_bytes
    _, _, k_dims, k_count, n_dims, n_count = _walks(f)
    of_k, of_columns = _tables(f)
    _fill_table(f, k_dims, k_count, "%k0", "%k", of_k)
    _fill_table(f, n_dims, n_count, "%column0", "%columns", of_columns)
    with f.loop(0, "%columns") as column:
        source = f.gep("%source", f.load("i64", f.gep(of_columns, column, 8)))
        panel = f.gep("%panels", f.mul(f.udiv(column, shape.width), "%panel_step"))
        target = f.gep(panel, f.mul(f.and_(column, shape.width - 1), shape.size))
        with f.loop(0, "%k") as k:
            value = f.load(shape.element, f.gep(source, f.load("i64", f.gep(of_k, k, 8))), shape.size)
            f.store(shape.element, value, f.gep(target, f.mul(k, row_bytes)), shape.size)
    return f


def _copy(module: Module, shape: TileShape) -> TileFunction:
    """Rows of A, ``step`` apart, to rows ``pitch`` apart with their k side by side. Writes up to a vector past the last k."""
    f = _function(module, shape, "spread_copy", COPY_A)
    dims, count, *_ = _walks(f)
    walk = WalkedDims(f, dims, count)
    beside, backwards = f.icmp("eq", walk.step, shape.size), f.icmp("eq", walk.step, -shape.size)
    whole = (1 << shape.lanes) - 1
    # Runs are often pages apart, in no hardware prefetcher's reach.
    outer = f.select(f.icmp("ugt", count, 1), f.load("i64", f.gep(walk.last, f.select(f.icmp("ugt", count, 1), -8, 8))), 0)
    ahead = f.mul(outer, _RUNS_AHEAD * shape.size)

    def run(offset: str, at: str, length: Value) -> None:
        source, target = f.gep("%source", offset), f.gep("%target", f.mul(at, shape.size))
        hints = ("vectors", "others", "turned", "single", "done")
        vectors, others, turned, single, done = (f.label(hint) for hint in hints)
        f.cond_br(beside, vectors, others)
        f.place(others)
        f.cond_br(backwards, turned, single)
        f.place(turned)
        with f.loop(0, "%rows") as row:
            f.prefetch(f.gep(f.gep(source, f.mul(row, "%step")), ahead))
            here, there = f.gep(source, f.mul(row, "%step")), f.gep(target, f.mul(row, "%pitch"))
            with f.loop(0, length, shape.lanes) as k:
                missing = f.sub(shape.lanes, f.umin(f.sub(length, k), shape.lanes))
                bits = f.op(f"trunc i64 {f.and_(f.shl(-1, missing), whole)} to i{shape.lanes}")
                mask = f.op(f"bitcast i{shape.lanes} {bits} to <{shape.lanes} x i1>")
                first = f.gep(here, f.sub(f.mul(k, walk.step), (shape.lanes - 1) * shape.size))
                value = f.shuffle(shape.vector, f.load_vector(first, mask), "poison", range(shape.lanes)[::-1])
                f.store_vector(value, f.gep(there, f.mul(k, shape.size)))
        f.br(done)
        f.place(vectors)
        with f.loop(0, "%rows") as row:
            f.prefetch(f.gep(f.gep(source, f.mul(row, "%step")), ahead))
            here, there = f.gep(source, f.mul(row, "%step")), f.gep(target, f.mul(row, "%pitch"))
            with f.loop(0, length, shape.lanes) as k:
                mask = f.low_mask(shape.lanes, f.umin(f.sub(length, k), shape.lanes))
                place = f.mul(k, shape.size)
                f.store_vector(f.load_vector(f.gep(here, place), mask), f.gep(there, place))
        f.br(done)
        f.place(single)
        with f.loop(0, "%rows") as row:
            here, there = f.gep(source, f.mul(row, "%step")), f.gep(target, f.mul(row, "%pitch"))
            with f.loop(0, length) as k:
                value = f.load(shape.element, f.gep(here, f.mul(k, walk.step)), shape.size)
                f.store(shape.element, value, f.gep(there, k, shape.size), shape.size)
        f.br(done)
        f.place(done)

    walk.runs("%k0", "%k", run)
    return f
