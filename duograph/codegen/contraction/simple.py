"""Integer contractions: rows of A times vectors of columns of B, without blocking; sums wrap."""

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
    f = TileFunction(module, "rectangle", _PARAMETERS, linkage="internal")
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
