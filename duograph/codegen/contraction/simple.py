"""Integer contractions: rows of A times vectors of columns of B; sums wrap.

For many rows panels of B are packed, so that it does not matter how B lies; a few rows read B in place.
"""

from __future__ import annotations

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
from duograph.codegen.llvm import Module, Value

_LANES = 16
_ROWS = 4  # of a tile
_DEPTH = 256  # of a panel: 32 KiB at most


def integer_shape(bits: int) -> TileShape:
    return TileShape(f"i{bits}", bits // 8, _LANES, 1, 1, False, False)


def add_simple_driver(module: Module, shape: TileShape) -> None:
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


def _add_rectangle(module: Module, shape: TileShape) -> None:
    _add_few_rows(module, shape)
    _add_many_rows(module, shape)
    f = TileFunction(module, "rectangle", _PARAMETERS, linkage="internal")
    values = [(type, f"%{name}") for type, name in _PARAMETERS]
    many = f.icmp("uge", "%m", _ROWS)
    with f.when(many):
        f.call("many_rows", values)
    with f.when(f.op(f"xor i1 {many}, true")):
        f.call("few_rows", values)
    module.add(f)


def _add_few_rows(module: Module, shape: TileShape) -> None:
    """B is read where it lies: by vectors of columns where these are neighbours, else by elements."""
    f = TileFunction(module, "few_rows", _PARAMETERS, linkage="internal")
    f.shape = shape
    contiguous = f.icmp("eq", "%b_n", shape.size)
    whole = f.select(contiguous, f.and_("%n", -shape.lanes), 0)
    with f.loop(0, "%m") as row:
        a, c = f.gep("%a", f.mul(row, "%a_m")), f.gep("%c", f.mul(row, "%c_m"))
        with f.loop(0, whole, shape.lanes) as column:
            _sum(f, a, column, c, shape.lanes)
        with f.loop(whole, "%n") as column:
            _sum(f, a, column, c, 1)
    module.add(f)


def _add_many_rows(module: Module, shape: TileShape) -> None:
    """Panels of B, a vector wide and some rows deep, are copied to where they are read one after another, for all rows of A."""
    f = TileFunction(module, "many_rows", _PARAMETERS, linkage="internal")
    f.shape = shape
    panel = f.alloca(shape.vector, 64, _DEPTH)
    rest = f.alloca(shape.vector, 64)
    grouped = f.and_("%m", -_ROWS)
    with f.loop(0, "%n", shape.lanes) as column:
        width = f.umin(f.sub("%n", column), shape.lanes)
        b, c = f.gep("%b", f.mul(column, "%b_n")), f.gep("%c", column, shape.size)
        with f.loop(0, "%m") as row, f.loop(0, width) as place:
            f.store(shape.element, 0, f.gep(f.gep(c, f.mul(row, "%c_m")), place, shape.size), shape.size)
        with f.loop(0, "%k", _DEPTH) as first:
            depth = f.umin(f.sub("%k", first), _DEPTH)
            _pack(f, f.gep(b, f.mul(first, "%b_k")), panel, depth, width)
            a = f.gep("%a", f.mul(first, "%a_k"))
            with f.loop(0, grouped, _ROWS) as row:
                _tile(f, a, panel, c, rest, row, depth, width, _ROWS)
            with f.loop(grouped, "%m") as row:
                _tile(f, a, panel, c, rest, row, depth, width, 1)
    module.add(f)


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


def _tile(f: TileFunction, a: str, panel: str, c: str, rest: str, row: str, depth: Value, width: Value, rows: int) -> None:
    """Add the products with a panel to some rows of the result."""
    shape = f.shape
    type = shape.vector
    starts = [f.gep(a, f.mul(f.add(row, i), "%a_m")) for i in range(rows)]

    def step(k: str, values: list[str]) -> list[str]:
        there = f.load(type, f.gep(panel, f.mul(k, shape.vector_bytes)), shape.size)
        found, offset = [], f.mul(k, "%a_k")
        for held, start in zip(values, starts):
            scale = f.splat(shape.lanes, shape.element, f.load(shape.element, f.gep(start, offset), shape.size))
            found.append(f.op(f"add {type} {held}, {f.op(f'mul {type} {scale}, {there}')}"))
        return found

    totals = f.carried_loop(0, depth, 1, [(type, "zeroinitializer")] * rows, step)
    whole = f.icmp("eq", width, shape.lanes)
    for i, total in enumerate(totals):
        target = f.gep(c, f.mul(f.add(row, i), "%c_m"))
        with f.when(whole):
            held = f.load(type, target, shape.size)
            f.store(type, f.op(f"add {type} {held}, {total}"), target, shape.size)
        with f.when(f.icmp("ne", width, shape.lanes)):
            f.store(type, total, rest, shape.size)
            with f.loop(0, width) as j:
                place = f.gep(target, j, shape.size)
                more = f.load(shape.element, f.gep(rest, j, shape.size), shape.size)
                held = f.load(shape.element, place, shape.size)
                f.store(shape.element, f.op(f"add {shape.element} {held}, {more}"), place, shape.size)


def _sum(f: TileFunction, a: str, column: str, c: str, lanes: int) -> None:
    """Elements ``column`` to ``column + lanes`` of one row."""
    shape = f.shape
    type = shape.vector if lanes > 1 else shape.element
    b = f.gep("%b", f.mul(column, "%b_n"))

    def step(_: str, values: list[str]) -> list[str]:
        held, here, there = values
        one = f.load(shape.element, here, shape.size)
        scale = f.splat(lanes, shape.element, one) if lanes > 1 else one
        product = f.op(f"mul {type} {scale}, {f.load(type, there, shape.size)}")
        return [f.op(f"add {type} {held}, {product}"), f.gep(here, "%a_k"), f.gep(there, "%b_k")]

    total = f.carried_loop(0, "%k", 1, [(type, "zeroinitializer"), ("ptr", a), ("ptr", b)], step)[0]
    f.store(type, total, f.gep(c, column, shape.size), shape.size)
