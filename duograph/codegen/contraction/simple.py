"""Integer contractions: rows of A times vectors of columns of B; sums wrap.

For many rows panels of B are packed, so that it does not matter how B lies; a few rows read B in place. One or two
columns (or rows) are multiplied by vectors along k where the other operand lies so: most lanes of a panel would be empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duograph.codegen.contraction.driver import (
    ABI,
    RUN,
    add_finish,
    finish_rectangle,
    make_frame,
    over_rectangles,
    place_frame,
    read_problem,
)
from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value, mangle, vector_type
from duograph.codegen.target import Target

_LANES = 16
_ROWS, _ROWS_OF_HALVES = 4, 2  # of a tile
_DEPTH = 256  # of a panel: 32 KiB at most
_PIECE = 16384  # bytes of a column that are copied at a time: half of L1
_REGISTERS = 8  # of sums of one row
_LOW = (1 << 32) - 1


@dataclass(frozen=True)
class IntegerShape(TileShape):
    """``halves``: nothing multiplies 64-bit lanes, so what is summed are products of their 32-bit halves.

    Two sums stand for one: of low times low, 64 bits wide, and of low times high and high times low, of which only the
    low 32 bits count.
    ``wide``: columns of one row whose sums registers hold, at least the lanes of a tile.
    """

    halves: bool = False
    wide: int = 0


def integer_shape(bits: int, target: Target) -> IntegerShape:
    halves = bits == 64 and target.has("avx2") and not target.has("avx512dq")
    lanes, rows = (2 * target.vector_bytes // 8, _ROWS_OF_HALVES) if halves else (_LANES, _ROWS)
    wide = (_REGISTERS // 2 if halves else _REGISTERS) * target.vector_bytes * 8 // bits
    return IntegerShape(f"i{bits}", bits // 8, lanes, 1, rows, False, False, halves=halves, wide=max(wide, lanes))


def add_simple_driver(module: Module, shape: IntegerShape) -> None:
    """``run``: the kernel ABI for integers of one size."""
    _add_rectangle(module, shape)
    add_finish(module, shape)
    f = TileFunction(module, RUN, ABI)
    f.shape = shape
    problem = read_problem(f)
    frame = make_frame(f, problem)

    def rectangle(a: str, b: str, c: str, m0: Value, rows: Value, n0: Value, columns: Value) -> None:
        p = problem
        a = f.gep(a, f.mul(m0, p.a_m))
        b = f.gep(b, f.mul(n0, p.b_n))
        c = f.gep(c, f.add(f.mul(m0, p.c_m), f.mul(n0, shape.size)))
        values = [a, b, c, rows, columns, p.k, p.a_m, p.a_k, p.b_k, p.b_n, p.c_m]
        f.call("rectangle", [(type, value) for (type, _), value in zip(_PARAMETERS, values)])
        place_frame(f, frame, m0, n0)
        finish_rectangle(f, problem, frame, rows, columns)

    over_rectangles(f, problem, frame, rectangle)
    module.add(f)


_PARAMETERS = (
    *(("ptr", name) for name in ("a", "b", "c")),
    *(("i64", name) for name in ("m", "n", "k", "a_m", "a_k", "b_k", "b_n", "c_m")),
)


def _add_rectangle(module: Module, shape: IntegerShape) -> None:
    _add_few_rows(module, shape)
    _add_many_rows(module, shape)
    _add_few_columns(module, shape)
    f = TileFunction(module, "rectangle", _PARAMETERS, linkage="internal")
    values = [(type, f"%{name}") for type, name in _PARAMETERS]
    columns, rows = (_along_k(f, shape, extent, stride) for extent, stride in (("%n", "%a_k"), ("%m", "%b_k")))
    with f.when(columns):
        f.call("few_columns", values)
    others = f.op(f"xor i1 {columns}, true")
    with f.when(f.op(f"and i1 {others}, {rows}")), f.loop(0, "%m") as row:  # the other way around: columns of B times a row
        a, c = f.gep("%a", f.mul(row, "%a_m")), f.gep("%c", f.mul(row, "%c_m"))
        turned: list[Value] = ["%b", a, c, "%n", 1, "%k", "%b_n", "%b_k", "%a_k", 0, shape.size]
        f.call("few_columns", [(type, value) for (type, _), value in zip(_PARAMETERS, turned)])
    with f.when(f.op(f"and i1 {others}, {f.op(f'xor i1 {rows}, true')}")):
        many = f.icmp("uge", "%m", shape.rows)
        with f.when(many):
            f.call("many_rows", values)
        with f.when(f.op(f"xor i1 {many}, true")):
            f.call("few_rows", values)
    module.add(f)


def _along_k(f: TileFunction, shape: IntegerShape, extent: str, stride: str) -> str:
    """Whether there are so few columns (or rows) that vectors go along k, and the other operand's elements lie so."""
    few = f.icmp("ule", extent, max(shape.lanes // 8, 1))
    for needed in (f.icmp("eq", stride, shape.size), f.icmp("uge", "%k", shape.lanes)):
        few = f.op(f"and i1 {few}, {needed}")
    return few


def _add_few_rows(module: Module, shape: IntegerShape) -> None:
    """B is read where it lies: by vectors of columns where these are neighbours, else by elements."""
    f = TileFunction(module, "few_rows", _PARAMETERS, linkage="internal")
    f.shape = shape
    contiguous = f.icmp("eq", "%b_n", shape.size)
    wide, whole = (f.select(contiguous, f.and_("%n", -lanes), 0) for lanes in (shape.wide, shape.lanes))
    with f.loop(0, "%m") as row:
        a, c = f.gep("%a", f.mul(row, "%a_m")), f.gep("%c", f.mul(row, "%c_m"))
        with f.loop(0, wide, shape.wide) as column:  # as much as there is of a row of B at once: the next one is elsewhere
            _sum(f, shape, a, column, c, shape.wide)
        with f.loop(wide, whole, shape.lanes) as column:
            _sum(f, shape, a, column, c, shape.lanes)
        with f.loop(whole, "%n") as column:
            _sum(f, shape, a, column, c, 1)
    module.add(f)


def _add_many_rows(module: Module, shape: IntegerShape) -> None:
    """Panels of B, a vector wide and some rows deep, are copied to where they are read one after another, for all rows of A."""
    f = TileFunction(module, "many_rows", _PARAMETERS, linkage="internal")
    f.shape = shape
    panel = f.alloca(shape.vector, 64, _DEPTH)
    rest = f.alloca(shape.vector, 64)
    grouped = f.sub("%m", f.op(f"urem i64 %m, {shape.rows}"))
    with f.loop(0, "%n", shape.lanes) as column:
        width = f.umin(f.sub("%n", column), shape.lanes)
        b, c = f.gep("%b", f.mul(column, "%b_n")), f.gep("%c", column, shape.size)
        with f.loop(0, "%m") as row, f.loop(0, width) as place:
            f.store(shape.element, 0, f.gep(f.gep(c, f.mul(row, "%c_m")), place, shape.size), shape.size)
        with f.loop(0, "%k", _DEPTH) as first:
            depth = f.umin(f.sub("%k", first), _DEPTH)
            _pack(f, f.gep(b, f.mul(first, "%b_k")), panel, depth, width)
            a = f.gep("%a", f.mul(first, "%a_k"))
            with f.loop(0, grouped, shape.rows) as row:
                _tile(f, shape, a, (panel, c, rest), row, depth, width, shape.rows)
            with f.loop(grouped, "%m") as row:
                _tile(f, shape, a, (panel, c, rest), row, depth, width, 1)
    module.add(f)


def _add_few_columns(module: Module, shape: IntegerShape) -> None:
    """Columns of B, copied to neighbouring places unless they have them, times rows of A whose elements are neighbours."""
    f = TileFunction(module, "few_columns", _PARAMETERS, linkage="internal")
    f.shape = shape
    element, size, longest = shape.element, shape.size, _PIECE // shape.size
    copied = f.alloca(shape.vector, 64, _PIECE // shape.vector_bytes)
    grouped = f.sub("%m", f.op(f"urem i64 %m, {shape.rows}"))
    dense = f.icmp("eq", "%b_k", size)
    with f.loop(0, "%n") as column:
        b, c = f.gep("%b", f.mul(column, "%b_n")), f.gep("%c", column, size)
        with f.loop(0, "%m") as row:
            f.store(element, 0, f.gep(c, f.mul(row, "%c_m")), size)
        with f.loop(0, "%k", longest) as first:
            depth = f.umin(f.sub("%k", first), longest)
            there = f.gep(b, f.mul(first, "%b_k"))
            with f.when(f.op(f"xor i1 {dense}, true")), f.loop(0, depth) as k:
                one = f.load(element, f.gep(there, f.mul(k, "%b_k")), size)
                f.store(element, one, f.gep(copied, k, size), size)
            factors = f.select(dense, there, copied, "ptr")
            a = f.gep("%a", f.mul(first, "%a_k"))
            with f.loop(0, grouped, shape.rows) as row:
                _dots(f, shape, (a, str(factors), c), row, depth, shape.rows)
            with f.loop(grouped, "%m") as row:
                _dots(f, shape, (a, str(factors), c), row, depth, 1)
    module.add(f)


def _dots(f: TileFunction, shape: IntegerShape, places: tuple[str, str, str], row: str, depth: Value, rows: int) -> None:
    """Add the products along a piece of k to some rows of one column; ``places``: A, the piece of B, C."""
    a, factors, c = places
    element, type, size = shape.element, shape.vector, shape.size
    starts = [f.gep(a, f.mul(f.add(row, i), "%a_m")) for i in range(rows)]
    sums = _Sums(f, shape, shape.lanes)

    def step(k: str, values: list[str]) -> list[str]:
        there, found = sums.factor(f.load(type, f.gep(factors, k, size), size)), []
        for i, start in enumerate(starts):
            held = values[i * sums.count : (i + 1) * sums.count]
            found += sums.more(held, f.load(type, f.gep(start, k, size), size), there)
        return found

    def single(k: str, values: list[str]) -> list[str]:
        there = f.load(element, f.gep(factors, k, size), size)
        ones = [f.load(element, f.gep(start, k, size), size) for start in starts]
        return [f.op(f"add {element} {held}, {f.op(f'mul {element} {one}, {there}')}") for held, one in zip(values, ones)]

    whole = f.and_(depth, -shape.lanes)
    ends = f.carried_loop(0, whole, shape.lanes, sums.zeros * rows, step)
    vectors = [sums.total(ends[i * sums.count : (i + 1) * sums.count]) for i in range(rows)]
    added = [(element, f.intrinsic(f"llvm.vector.reduce.add.{mangle(type)}", element, [(type, v)])) for v in vectors]
    for i, total in enumerate(f.carried_loop(whole, depth, 1, added, single)):
        place = f.gep(c, f.mul(f.add(row, i), "%c_m"))
        f.store(element, f.op(f"add {element} {f.load(element, place, size)}, {total}"), place, size)


def _pack(f: TileFunction, b: str, panel: str, depth: Value, width: Value) -> None:
    """Copy a panel; columns beyond B are zeros."""
    shape = f.shape
    whole = f.op(f"and i1 {f.icmp('eq', width, shape.lanes)}, {f.icmp('eq', '%b_n', shape.size)}")
    with f.loop(0, depth) as k:
        here, there = f.gep(panel, f.mul(k, shape.vector_bytes)), f.gep(b, f.mul(k, "%b_k"))
        with f.when(whole):
            f.store(shape.vector, f.load(shape.vector, there, shape.size), here, shape.size)
        with f.when(f.op(f"xor i1 {whole}, true")):
            f.store(shape.vector, "zeroinitializer", here, shape.size)
            with f.loop(0, width) as j:
                one = f.load(shape.element, f.gep(there, f.mul(j, "%b_n")), shape.size)
                f.store(shape.element, one, f.gep(here, j, shape.size), shape.size)


def _tile(
    f: TileFunction,
    shape: IntegerShape,
    a: str,
    places: tuple[str, str, str],
    row: str,
    depth: Value,
    width: Value,
    rows: int,
) -> None:
    """Add the products with a panel to some rows of the result; ``places``: the panel, C, room for a vector."""
    panel, c, rest = places
    type, size = shape.vector, shape.size
    starts = [f.gep(a, f.mul(f.add(row, i), "%a_m")) for i in range(rows)]
    sums = _Sums(f, shape, shape.lanes)

    def step(k: str, values: list[str]) -> list[str]:
        there = sums.factor(f.load(type, f.gep(panel, f.mul(k, shape.vector_bytes)), size))
        offset, found = f.mul(k, "%a_k"), []
        for i, start in enumerate(starts):
            one = f.load(shape.element, f.gep(start, offset), size)
            found += sums.more(values[i * sums.count : (i + 1) * sums.count], sums.spread(one), there)
        return found

    ends = f.carried_loop(0, depth, 1, sums.zeros * rows, step)
    whole = f.icmp("eq", width, shape.lanes)
    for i in range(rows):
        total = sums.total(ends[i * sums.count : (i + 1) * sums.count])
        target = f.gep(c, f.mul(f.add(row, i), "%c_m"))
        with f.when(whole):
            held = f.load(type, target, size)
            f.store(type, f.op(f"add {type} {held}, {total}"), target, size)
        with f.when(f.icmp("ne", width, shape.lanes)):
            f.store(type, total, rest, size)
            with f.loop(0, width) as j:
                place = f.gep(target, j, size)
                more = f.load(shape.element, f.gep(rest, j, size), size)
                held = f.load(shape.element, place, size)
                f.store(shape.element, f.op(f"add {shape.element} {held}, {more}"), place, size)


def _sum(f: TileFunction, shape: IntegerShape, a: str, column: str, c: str, lanes: int) -> None:
    """Elements ``column`` to ``column + lanes`` of one row."""
    sums = _Sums(f, shape, lanes)
    b = f.gep("%b", f.mul(column, "%b_n"))

    def step(_: str, values: list[str]) -> list[str]:
        *held, here, there = values
        one = sums.spread(f.load(shape.element, here, shape.size))
        found = sums.more(held, one, sums.factor(f.load(sums.type, there, shape.size)))
        return [*found, f.gep(here, "%a_k"), f.gep(there, "%b_k")]

    ends = f.carried_loop(0, "%k", 1, [*sums.zeros, ("ptr", a), ("ptr", b)], step)
    f.store(sums.type, sums.total(ends[: sums.count]), f.gep(c, column, shape.size), shape.size)


class _Sums:
    """Sums of products of two vectors (or scalars) while they grow: one value, or two of halves."""

    def __init__(self, f: TileFunction, shape: IntegerShape, lanes: int) -> None:
        self.f = f
        self.element, self.lanes = shape.element, lanes
        self.type = vector_type(lanes, shape.element) if lanes > 1 else shape.element
        self.narrow = vector_type(2 * lanes, "i32") if shape.halves and lanes > 1 else ""
        self.zeros: list[tuple[str, Value]] = [(self.type, "zeroinitializer" if lanes > 1 else 0)]
        if self.narrow:
            self.zeros.append((self.narrow, "zeroinitializer"))

    @property
    def count(self) -> int:
        return len(self.zeros)

    def factor(self, b: str) -> tuple[str, ...]:
        """What a vector is multiplied as: itself, or its low halves and the halves exchanged."""
        if not self.narrow:
            return (b,)
        f, type = self.f, self.type
        exchanged = f.shuffle(
            self.narrow, f.op(f"bitcast {type} {b} to {self.narrow}"), "poison", [i ^ 1 for i in range(2 * self.lanes)]
        )
        return f.op(f"and {type} {b}, splat (i64 {_LOW})"), exchanged

    def spread(self, one: str) -> str:
        """A scalar in all lanes."""
        return self.f.splat(self.lanes, self.element, one) if self.lanes > 1 else one

    def more(self, held: Sequence[str], a: str, factor: tuple[str, ...]) -> list[str]:
        """The sums with the products of ``a`` and what `factor` made added."""
        f, type = self.f, self.type
        if not self.narrow:
            return [f.op(f"add {type} {held[0]}, {f.op(f'mul {type} {a}, {factor[0]}')}")]
        low, exchanged = factor
        whole = f.op(f"mul {type} {f.op(f'and {type} {a}, splat (i64 {_LOW})')}, {low}")
        across = f.op(f"mul {self.narrow} {f.op(f'bitcast {type} {a} to {self.narrow}')}, {exchanged}")
        return [f.op(f"add {type} {held[0]}, {whole}"), f.op(f"add {self.narrow} {held[1]}, {across}")]

    def total(self, held: Sequence[str]) -> str:
        """The sum itself."""
        if not self.narrow:
            return held[0]
        f, type = self.f, self.type
        across = f.op(f"bitcast {self.narrow} {held[1]} to {type}")
        upper = f.op(f"shl {type} {across}, splat (i64 32)")
        lower = f.op(f"and {type} {across}, splat (i64 {~_LOW})")
        return f.op(f"add {type} {held[0]}, {f.op(f'add {type} {upper}, {lower}')}")
