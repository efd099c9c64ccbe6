"""The library's launch symbol: decodes the sizes, cuts a range of chunks into rectangles of C and runs the blocks.

A chunk is a rectangle of ``rows_per_chunk`` × ``columns_per_chunk`` elements of one matrix of the batch, numbered with
the rows fastest. Neither the chunks nor the rectangles change a result bit, so any range is merged as far as it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from duograph.codegen.contraction import block
from duograph.codegen.contraction.parts import PARTS
from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

RUN = "run"
ABI = (("ptr", "args"), ("ptr", "sizes"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch"), ("ptr", "status"))
# The words of ``sizes``, strides in elements; then (extent, stride of A, of B, of C) for each batch dim.
# "add": 1 adds the product to what C holds, 0 overwrites it.
# "epilogue": position in args of the epilogue function, 0 if there is none. See `epilogue` for its signature.
# "parts": which parts there are, and where in args their tables. See `parts`.
# "spread": position in sizes of the walks over A and B, 0 if there are none. See `spread`.
# "joined": position of walks by which the last batch dim, along which A stands still, is one with the columns; or 0.
HEADER = (
    *("m", "n", "k", "a_m", "a_k", "b_k", "b_n", "c_m"),
    *("rows_per_chunk", "columns_per_chunk", "epilogue", "parts", "add", "batch_dims", "spread", "joined"),
    *("kept", "panel", "far"),
)
# "kept": position in args of panels of B made before, or of null; 0 if there are none; of pairs, those behind are taken
# for null. "panel": bytes of one. See `keep`.
# "far": `FAR` where B comes from memory in each run, as more than caches hold is read in between, and `FEW_STREAMS` where the
# hardware's prefetchers lose sight of many streams at once.
BATCH_WORDS = 4
MOST_BATCH_DIMS = 16
# Matrices of so few columns are multiplied together where they have one A: it is read once, and panels are whole.
_MOST_JOINED = 1024


@dataclass
class Problem:
    """The decoded header of one launch; strides in bytes."""

    m: Value
    n: Value
    k: Value
    a_m: Value
    a_k: Value
    b_k: Value
    b_n: Value
    c_m: Value
    rows_per_chunk: Value
    columns_per_chunk: Value
    epilogue: Value
    parts: Value
    add: Value
    batch_dims: Value
    spread: Value
    joined: Value
    kept: Value
    panel: Value
    far: Value
    swapped: str = "false"


def stop_flag(f: TileFunction) -> str:
    """The pointer to the interrupt flag of a launch that takes its share in one call."""
    return f.load("ptr", f.gep("%status", 24))


def read_problem(f: TileFunction) -> Problem:
    values: dict[str, Value] = {}
    for i, name in enumerate(HEADER):
        word = f.load("i64", f.gep("%sizes", 8 * i))
        values[name] = f.mul(word, f.shape.size) if name[1:2] == "_" else word
    return Problem(**values)  # type: ignore[arg-type]


def add_driver(module: Module, shape: TileShape) -> None:
    """``run``: the kernel ABI over `block`."""
    block.add_block(module, shape)
    _add_clear(module, shape)
    add_finish(module, shape)
    f = TileFunction(module, RUN, ABI)
    f.shape = shape
    problem = _swap_column(f, read_problem(f))
    frame, stop = make_frame(f, problem), stop_flag(f)
    tables = _tables(f, problem)
    empty = f.icmp("eq", problem.k, 0)
    steps = _batch_steps(f, problem)
    spread = f.icmp("ne", problem.spread, 0)
    walks = f.select(spread, f.gep("%sizes", problem.spread, 8), "null", "ptr")

    given = f.op(f"and i1 {f.icmp('ne', problem.kept, 0)}, {f.op(f'xor i1 {problem.swapped}, true')}")
    panels = str(f.select(given, panels_at(f, problem.kept), "null", "ptr"))

    def product_of(a: str, b: str, c: str, rows: Value, columns: Value, more: list[Value]) -> None:
        finish = f.select(f.icmp("eq", problem.epilogue, 0), "null", frame, "ptr")
        p = problem
        values: list[Value] = [a, b, c, rows, columns, p.k, p.a_m, p.a_k, p.b_k, p.b_n, p.c_m, p.add]
        values += ["%scratch", str(finish), stop, *more]
        f.call("block", [(type, value) for (type, _), value in zip(block.PARAMETERS, values)])

    def rectangle(a: str, b: str, c: str, m0: Value, rows: Value, n0: Value, columns: Value) -> None:
        place_frame(f, frame, m0, n0)
        a = f.gep(a, f.mul(m0, problem.a_m))
        b = f.gep(b, f.mul(n0, problem.b_n))
        c = f.gep(c, f.add(f.mul(m0, problem.c_m), f.mul(n0, shape.size)))
        zero, product, done = f.label("zero"), f.label("product"), f.label("done")
        f.cond_br(empty, zero, product)
        f.place(zero)
        f.call("clear", [("ptr", c), ("i64", problem.c_m), ("i64", rows), ("i64", columns)])
        finish_rectangle(f, problem, frame, rows, columns)
        f.br(done)
        f.place(product)
        following = f.select(spread, b, f.gep(b, steps[1]), "ptr")
        more = [f.gep(a, steps[0]), following, *tables, walks, n0, 0, 0]
        first = f.gep(panels, f.mul(f.udiv(n0, shape.width), problem.panel))
        kept = f.select(f.icmp("eq", panels, "null", "ptr"), "null", first, "ptr")
        product_of(a, b, c, rows, columns, [*more, kept, problem.panel, problem.far])
        f.br(done)
        f.place(done)

    def join(a: str, b: str, c: str, images: Value, c_image: Value) -> None:
        place_frame(f, frame, 0, 0)
        together = f.gep("%sizes", problem.joined, 8)
        more = [a, b, *tables, together, 0, problem.n, c_image, "null", 0, problem.far]
        product_of(a, b, c, problem.m, f.mul(images, problem.n), more)

    over_rectangles(f, problem, frame, rectangle, join)
    module.add(f)


def panels_at(f: TileFunction, kept: Value) -> str:
    """The panels that are kept, or null; of pairs those that were made for this launch, which come behind."""
    panels = f.load("ptr", f.gep("%args", kept, 8))
    if not f.shape.pairs:
        return panels
    made = f.load("ptr", f.gep("%args", f.add(kept, 1), 8))
    return str(f.select(f.icmp("eq", panels, "null", "ptr"), made, panels, "ptr"))


def _tables(f: TileFunction, problem: Problem) -> list[Value]:
    """The tables of the parts, null for those that the launch does without."""
    place = f.lshr(problem.parts, len(PARTS))
    tables: list[Value] = []
    for i in range(len(PARTS)):
        bit = f.and_(f.lshr(problem.parts, i), 1)
        has = f.icmp("ne", bit, 0)
        table = f.load("ptr", f.gep("%args", f.select(has, place, 0), 8))
        tables.append(f.select(has, table, "null", "ptr"))
        place = f.add(place, bit)
    return tables


# The frame of an epilogue: function, args, sizes, pointer to batch indices, first row, first column, swapped, pointer to
# the last batch index and what it is for the first column; indices.
LAST_INDEX, FIRST_IMAGE = 56, 64
_FRAME_BATCH = 72


def make_frame(f: TileFunction, problem: Problem) -> str:
    frame = f.alloca("i64", 64, _FRAME_BATCH // 8 + MOST_BATCH_DIMS)
    function = f.load("ptr", f.gep("%args", problem.epilogue, 8))
    for i, value in enumerate((function, "%args", "%sizes", f.gep(frame, _FRAME_BATCH))):
        f.store("ptr", value, f.gep(frame, 8 * i))
    f.store("i64", f.op(f"zext i1 {problem.swapped} to i64"), f.gep(frame, 48))
    f.store("ptr", f.gep(frame, f.add(f.mul(problem.batch_dims, 8), _FRAME_BATCH - 8)), f.gep(frame, LAST_INDEX))
    return frame


def place_frame(f: TileFunction, frame: str, m0: Value, n0: Value) -> None:
    """The rectangle that begins at (m0, n0) is next."""
    f.store("i64", m0, f.gep(frame, 32))
    f.store("i64", n0, f.gep(frame, 40))


def finish_rectangle(f: TileFunction, problem: Problem, frame: str, rows: Value, columns: Value) -> None:
    """The epilogue, if there is one, on a whole rectangle."""
    with f.when(f.icmp("ne", problem.epilogue, 0)):
        f.call("finish", [("ptr", frame), ("i64", 0), ("i64", rows), ("i64", 0), ("i64", columns)])


def _swap_column(f: TileFunction, p: Problem) -> Problem:
    """A single contiguous column of C is computed as the row C' = B'·A', if single rows are anything special."""
    if f.shape.pairs:  # there are no rows for them
        return p
    contiguous = f.op(f"and i1 {f.icmp('eq', p.n, 1)}, {f.icmp('eq', p.c_m, f.shape.size)}")
    contiguous = f.op(f"and i1 {contiguous}, {f.icmp('eq', p.spread, 0)}")
    swapped = f.op(f"and i1 {contiguous}, {f.icmp('ne', p.m, 1)}")

    def either(a: Value, b: Value) -> Value:
        return f.select(swapped, a, b)

    return Problem(
        m=either(p.n, p.m),
        n=either(p.m, p.n),
        k=p.k,
        a_m=either(p.b_n, p.a_m),
        a_k=either(p.b_k, p.a_k),
        b_k=either(p.a_k, p.b_k),
        b_n=either(p.a_m, p.b_n),
        c_m=p.c_m,
        rows_per_chunk=either(p.columns_per_chunk, p.rows_per_chunk),
        columns_per_chunk=either(p.rows_per_chunk, p.columns_per_chunk),
        epilogue=p.epilogue,
        parts=p.parts,
        add=p.add,
        batch_dims=p.batch_dims,
        spread=p.spread,
        joined=p.joined,
        kept=p.kept,
        panel=p.panel,
        far=p.far,
        swapped=swapped,
    )


def over_rectangles(
    f: TileFunction,
    p: Problem,
    frame: str,
    rectangle: Callable[[str, str, str, Value, Value, Value, Value], None],
    join: Callable[[str, str, str, Value, Value], None] | None = None,
) -> None:
    """Call ``rectangle(a, b, c, first row, rows, first column, columns)`` for each piece of chunks [begin, end).

    Or ``join(a, b, c, matrices, bytes from C to C)`` for several whole matrices along the last batch dim.
    """
    base = [str(f.load("ptr", f.gep("%args", 8 * i))) for i in range(3)]
    stop = stop_flag(f)
    first = f.select(p.swapped, base[1], base[0], "ptr")
    second = f.select(p.swapped, base[0], base[1], "ptr")
    down, across = f.ceildiv(p.m, p.rows_per_chunk), f.ceildiv(p.n, p.columns_per_chunk)
    each = f.mul(down, across)
    slot, taken = f.variable("i64", "%begin"), f.alloca("i64")
    head, body, next, done = f.label("chunks"), f.label("chunk"), f.label("next"), f.label("end")
    f.br(head)
    f.place(head)
    chunk = f.load("i64", slot)
    f.cond_br(f.icmp("ult", chunk, "%end"), body, done)
    f.place(body)
    matrix = f.udiv(chunk, each)
    within = f.sub(chunk, f.mul(matrix, each))
    offsets = _batch_offsets(f, p, matrix, f.gep(frame, _FRAME_BATCH))
    x, y = f.select(p.swapped, offsets[1], offsets[0]), f.select(p.swapped, offsets[0], offsets[1])
    a, b, c = f.gep(str(first), x), f.gep(str(second), y), f.gep(base[2], offsets[2])
    if join is not None:
        several, single = f.label("several"), f.label("single")
        images, c_image = _images(f, p, frame, f.udiv(f.sub("%end", chunk), each))
        wanted = f.op(f"and i1 {_is_joinable(f, p)}, {f.icmp('ugt', images, 1)}")
        f.cond_br(f.op(f"and i1 {wanted}, {f.icmp('eq', within, 0)}"), several, single)
        f.place(several)
        join(a, b, c, images, c_image)
        f.store("i64", f.mul(images, each), taken)
        f.br(next)
        f.place(single)
    column = f.udiv(within, down)
    row = f.sub(within, f.mul(column, down))
    here = f.umin(f.sub(each, within), f.sub("%end", chunk))  # chunks left in this matrix and range
    many = f.op(f"and i1 {f.icmp('eq', row, 0)}, {f.icmp('uge', here, down)}")
    columns = f.select(many, f.udiv(here, down), 1)
    rows = f.select(many, down, f.umin(f.sub(down, row), here))
    m0, n0 = f.mul(row, p.rows_per_chunk), f.mul(column, p.columns_per_chunk)
    m = f.umin(f.mul(rows, p.rows_per_chunk), f.sub(p.m, m0))
    n = f.umin(f.mul(columns, p.columns_per_chunk), f.sub(p.n, n0))
    rectangle(a, b, c, m0, m, n0, n)
    f.store("i64", f.mul(rows, columns), taken)
    f.br(next)
    f.place(next)
    following = f.add(chunk, f.load("i64", taken))
    stopped = f.icmp("ne", f.op(f"load volatile i32, ptr {stop}"), 0, "i32")
    f.store("i64", f.select(stopped, "%end", following), slot)
    f.br(head)
    f.place(done)


def _is_joinable(f: TileFunction, p: Problem) -> str:
    """Whether matrices along the last batch dim are multiplied together."""
    conditions = (("ne", p.joined, 0), ("ule", p.n, _MOST_JOINED), ("ne", p.m, 1), ("ne", p.k, 0))
    holds = f.op(f"xor i1 {p.swapped}, true")
    for relation, value, number in conditions:
        holds = f.op(f"and i1 {holds}, {f.icmp(relation, value, number)}")
    return holds


def _images(f: TileFunction, p: Problem, frame: str, most: Value) -> tuple[Value, Value]:
    """How many matrices there are from here on along the last batch dim, at most ``most``, and bytes from C to C."""
    count, step = f.variable("i64", 0), f.variable("i64", 0)
    with f.when(f.icmp("ne", p.batch_dims, 0)):
        words = f.gep("%sizes", f.add(f.mul(f.sub(p.batch_dims, 1), 8 * BATCH_WORDS), 8 * len(HEADER)))
        index = f.load("i64", f.load("ptr", f.gep(frame, LAST_INDEX)))
        f.store("i64", index, f.gep(frame, FIRST_IMAGE))
        f.store("i64", f.umin(f.sub(f.load("i64", words), index), most), count)
        f.store("i64", f.mul(f.load("i64", f.gep(words, 24)), f.shape.size), step)
    return f.load("i64", count), f.load("i64", step)


def _batch_steps(f: TileFunction, p: Problem) -> tuple[Value, Value]:
    """Bytes from the A and B of one matrix to the next along the last batch dim; 0 without a batch."""
    slots = [f.variable("i64", 0) for _ in range(2)]
    with f.when(f.icmp("ne", p.batch_dims, 0)):
        words = f.gep("%sizes", f.add(f.mul(f.sub(p.batch_dims, 1), 8 * BATCH_WORDS), 8 * len(HEADER)))
        for j, slot in enumerate(slots):
            f.store("i64", f.mul(f.load("i64", f.gep(words, 8 * (j + 1))), f.shape.size), slot)
    a, b = (f.load("i64", slot) for slot in slots)
    return f.select(p.swapped, b, a), f.select(p.swapped, a, b)


def _batch_offsets(f: TileFunction, p: Problem, matrix: Value, indices: str) -> list[Value]:
    """Byte offsets of A, B and C of one matrix; its batch indices are left in ``indices``."""
    left = f.variable("i64", matrix)
    sums = [f.variable("i64", 0) for _ in range(3)]
    with f.loop(0, p.batch_dims) as i:
        dim = f.sub(f.sub(p.batch_dims, 1), i)
        words = f.gep("%sizes", f.add(f.mul(dim, 8 * BATCH_WORDS), 8 * len(HEADER)))
        extent, rest = f.load("i64", words), f.load("i64", left)
        quotient = f.udiv(rest, extent)
        index = f.sub(rest, f.mul(quotient, extent))
        f.store("i64", quotient, left)
        f.store("i64", index, f.gep(indices, dim, 8))
        for j, total in enumerate(sums):
            step = f.mul(index, f.load("i64", f.gep(words, 8 * (j + 1))))
            f.store("i64", f.add(f.load("i64", total), step), total)
    return [f.mul(f.load("i64", total), f.shape.size) for total in sums]


def _add_clear(module: Module, shape: TileShape) -> None:
    """``clear``: the product over an empty k."""
    f = TileFunction(module, "clear", (("ptr", "c"), ("i64", "c_row"), ("i64", "m"), ("i64", "n")), linkage="internal")
    f.shape = shape
    with f.loop(0, "%m") as row:
        place = f.gep("%c", f.mul(row, "%c_row"))
        with f.loop(0, "%n") as column:
            f.store(shape.element, "zeroinitializer", f.gep(place, column, shape.size), shape.size)
    module.add(f)


def add_finish(module: Module, shape: TileShape) -> None:
    """``finish``: calls the epilogue of the frame on a piece of its rectangle."""
    parameters = (("ptr", "frame"), ("i64", "row"), ("i64", "rows"), ("i64", "column"), ("i64", "columns"))
    f = TileFunction(module, "finish", parameters, linkage="internal")
    f.shape = shape
    function, args, sizes, indices = (f.load("ptr", f.gep("%frame", 8 * i)) for i in range(4))
    m, n, swapped = (f.load("i64", f.gep("%frame", 32 + 8 * i)) for i in range(3))
    flag = f.icmp("ne", swapped, 0)
    m, n = str(f.add(m, "%row")), str(f.add(n, "%column"))
    pairs: list[tuple[Value, Value]] = [(m, n), ("%rows", "%columns"), (n, m), ("%columns", "%rows")]
    row, rows, column, columns = (f.select(flag, b, a) for a, b in pairs)
    values = [("ptr", args), ("ptr", sizes), ("ptr", indices), ("i64", row), ("i64", rows), ("i64", column), ("i64", columns)]
    f.emit(f"call void {function}(" + ", ".join(f"{type} {value}" for type, value in values) + ")")
    module.add(f)
