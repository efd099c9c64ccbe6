"""Winograd's convolution F(4×4, 3×3): 36 multiplications for the 16 results of a tile of x where 144 are usual.

``Y = A'[(G g G') * (B' d B)]A`` for tiles d of 6 × 6 elements that overlap by two (Lavin and Gray 2015, "Fast Algorithms for
Convolutional Neural Networks"). Summed over channels the products of one of the 36 points are a product of matrices: tiles
by kernels. A chunk is a block of lines, which are rows of tiles of an image, by a group of kernels. The block's tiles are
transformed into scratch, a vector of tiles at once; 32 kernels at a time the products are made by the tiles of `direct_tile`,
transformed back, a vector of kernels at once, and finished by the epilogue. Kernels are transformed before, by ``kernels``.

Tiles that reach over the edge read the last row or column again: it counts for none of the results that there are.
"""

from __future__ import annotations

from duograph.codegen.contraction.course import LINE
from duograph.codegen.contraction.direct import call_through, leave_if
from duograph.codegen.contraction.direct_tile import BESIDE, STEP_BYTES, TILE, add_direct_tiles
from duograph.codegen.contraction.driver import ABI, stop_flag
from duograph.codegen.contraction.epilogue import PARAMETERS as EPILOGUE
from duograph.codegen.contraction.pack import transpose
from duograph.codegen.contraction.shape import TileFunction, TileShape, next_heights
from duograph.codegen.llvm import Module, Value, float_literal, vector_type

PART = "winograd"
RUN, KERNELS, PREPARE = "run", "kernels", "prepare"
OUT, SIDE = 4, 6  # results and elements of x of a tile, each way
POINTS = SIDE * SIDE
# The words of a launch, strides in elements. "across", "down": tiles of an image; "lines": of all images, "block" of them in
# a chunk, with "group" panels of kernels: all, or one of several "groups"; "pitch": bytes from channel to channel of
# transformed tiles; "plane": from point to point, "sums_plane" of products; "sums", "steps", "table", "square": where they
# lie in scratch.
HEADER = (
    *("kernels", "channels", "rows", "columns", "x_start", "x_image", "x_channel", "x_row", "c_image", "c_kernel"),
    *("across", "down", "lines", "block", "group", "groups", "pitch", "plane", "sums_plane", "sums", "steps", "table"),
    *("square", "epilogue"),
)
# The words of ``kernels`` and ``prepare``.
KERNELS_HEADER = ("kernels", "channels", "w_start", "w_kernel", "w_channel", "w_row", "w_column")
TABLE_ROWS = 2 * SIDE  # of offsets, for the tiles of a vector: of rows, and in rows
SQUARE_BYTES = OUT * OUT * 4  # for each kernel of a vector
_HEIGHTS = "winograd_heights"
_INPUT = (("ptr", "x"), ("ptr", "table"), ("ptr", "out"), ("i64", "plane"))
_OUTPUT = (
    *(("ptr", "sums"), ("i64", "plane"), ("ptr", "c"), ("i64", "c_kernel"), ("i64", "c_row")),
    *(("i64", "rows"), ("i64", "columns"), ("i64", "kernels"), ("ptr", "square")),
)


def add_winograd(module: Module, shape: TileShape) -> None:
    """The part: transforms, tiles, and the three launch functions."""
    add_direct_tiles(module, shape, (BESIDE,))
    heights = next_heights(shape, shape.all_heights)
    module.table(_HEIGHTS, "i64", [str(rows) for rows in heights], align=8)
    _add_kernels(module, shape)
    _add_prepare(module)
    _add_input(module, shape)
    _add_output(module, shape)
    _add_run(module, shape, len(heights) - 1)


# ---- transforms ----


class _Vectors:
    """Arithmetic on vectors."""

    def __init__(self, f: TileFunction) -> None:
        self.f, self.type = f, f.shape.vector

    def add(self, a: str, b: str) -> str:
        return self.f.op(f"fadd {self.type} {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.f.op(f"fsub {self.type} {a}, {b}")

    def times(self, factor: float, a: str) -> str:
        return self.f.op(f"fmul {self.type} {self._constant(factor)}, {a}")

    def plus(self, a: str, factor: float, b: str) -> str:
        """a + factor · b"""
        return self.f.multiply_add(self._constant(factor), b, a)

    def _constant(self, value: float) -> str:
        return "<" + ", ".join([f"float {float_literal(value)}"] * self.f.shape.lanes) + ">"

    def x(self, d: list[str]) -> list[str]:
        """B' d"""
        a, b = self.plus(d[4], -4, d[2]), self.plus(d[3], -4, d[1])
        c, e = self.sub(d[4], d[2]), self.sub(d[3], d[1])
        first = self.plus(self.plus(d[4], -5, d[2]), 4, d[0])
        last = self.plus(self.plus(d[5], -5, d[3]), 4, d[1])
        return [first, self.add(a, b), self.sub(a, b), self.plus(c, 2, e), self.plus(c, -2, e), last]

    def w(self, g: list[str]) -> list[str]:
        """G g"""
        outer, middle = self.times(-1 / 6, self.add(g[0], g[2])), self.times(1 / 6, g[1])
        far, half = self.plus(self.times(1 / 6, g[2]), 1 / 24, g[0]), self.times(1 / 12, g[1])
        near = [self.sub(outer, middle), self.add(outer, middle)]
        return [self.times(1 / 4, g[0]), *near, self.add(far, half), self.sub(far, half), g[2]]

    def y(self, m: list[str]) -> list[str]:
        """A' m"""
        s, d = self.add(m[1], m[2]), self.sub(m[1], m[2])
        t, e = self.add(m[3], m[4]), self.sub(m[3], m[4])
        first = self.add(self.add(m[0], s), t)
        return [first, self.plus(d, 2, e), self.plus(s, 4, t), self.add(self.plus(d, 8, e), m[5])]


def _turned(lines: list[list[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*lines)]


def _gather(f: TileFunction, base: str, offsets: str) -> str:
    """Elements ``offsets`` (a vector of i64) bytes from an address."""
    lanes = f.shape.lanes
    places = f.op(f"getelementptr i8, ptr {base}, <{lanes} x i64> {offsets}")
    return f.masked_gather(f.shape.vector, places, str(f.low_mask(lanes, lanes)), f.shape.size)


def _add_kernels(module: Module, shape: TileShape) -> None:
    """``kernels``: args are the kernels and their transform: panels of a tile's width, in these the points, in these the
    channels. A chunk is a channel of a panel."""
    f = TileFunction(module, KERNELS, ABI)
    f.shape = shape
    v, lanes, row_bytes = _Vectors(f), shape.lanes, shape.vectors * shape.vector_bytes
    w = {name: f.load("i64", f.gep("%sizes", 8 * i)) for i, name in enumerate(KERNELS_HEADER)}
    source, target = (f.load("ptr", f.gep("%args", 8 * i)) for i in range(2))
    point = f.mul(w["channels"], row_bytes)
    integers = f"<{lanes} x i64>"
    numbers = "<" + ", ".join(f"i64 {i}" for i in range(lanes)) + ">"
    last = f.splat(lanes, "i64", f.sub(w["kernels"], 1))
    step = f.splat(lanes, "i64", f.mul(w["w_kernel"], shape.size))
    with f.loop("%begin", "%end") as chunk:
        panel = f.udiv(chunk, w["channels"])
        channel = f.sub(chunk, f.mul(panel, w["channels"]))
        at = f.gep(source, f.mul(f.add(f.mul(channel, w["w_channel"]), w["w_start"]), shape.size))
        out = f.gep(f.gep(target, f.mul(panel, f.mul(point, POINTS))), f.mul(channel, row_bytes))
        for j in range(shape.vectors):
            first = f.splat(lanes, "i64", f.add(f.mul(panel, shape.width), j * lanes))
            kernel = f.op(f"add {integers} {first}, {numbers}")
            kernel = f.intrinsic(f"llvm.umin.v{lanes}i64", integers, [(integers, kernel), (integers, last)])
            offsets = f.op(f"mul {integers} {kernel}, {step}")
            taps = []
            for i in range(3):
                row = f.gep(at, f.mul(f.mul(w["w_row"], i), shape.size))
                places = [f.gep(row, f.mul(f.mul(w["w_column"], k), shape.size)) for k in range(3)]
                taps.append([_gather(f, place, offsets) for place in places])
            columns = [v.w(column) for column in _turned(taps)]
            place = f.gep(out, j * shape.vector_bytes)
            for line in _turned(columns):
                for value in v.w(line):
                    f.store_vector(value, place)
                    place = f.gep(place, point)
    module.add(f)


def _add_prepare(module: Module) -> None:
    """``prepare``: args are the kernels, memory, and what ``kernels`` has made before, or null. Behind the first line of the
    memory is what it makes now; in front the address of one of the two."""
    f = TileFunction(module, PREPARE, ABI)
    source, memory, kept = (f.load("ptr", f.gep("%args", 8 * i)) for i in range(3))
    missing = f.icmp("eq", kept, "null", "ptr")
    made = f.gep(memory, LINE)
    f.store("ptr", f.select(missing, made, kept, "ptr"), memory)
    given = f.alloca("ptr", 8, 2)
    f.store("ptr", source, given)
    f.store("ptr", made, f.gep(given, 8))
    with f.when(missing):
        values: list[Value] = [given, "%sizes", "%begin", "%end", "%scratch", "%status"]
        f.call(KERNELS, [(type, value) for (type, _), value in zip(ABI, values)])
    module.add(f)


def _add_input(module: Module, shape: TileShape) -> None:
    """One channel of a vector of tiles: each point to its plane."""
    f = TileFunction(module, "winograd_input", _INPUT, linkage="internal")
    f.shape = shape
    v, lanes = _Vectors(f), shape.lanes
    integers = f"<{lanes} x i32>"
    rows, within = ([f.load(integers, f.gep("%table", 4 * lanes * (at + i)), 4) for i in range(SIDE)] for at in (0, SIDE))
    columns = []
    for column in within:
        offsets = [f.op(f"add {integers} {row}, {column}") for row in rows]
        wide = [f.op(f"sext {integers} {offset} to <{lanes} x i64>") for offset in offsets]
        columns.append(v.x([_gather(f, "%x", offset) for offset in wide]))
    place = "%out"
    for line in _turned(columns):
        for value in v.x(line):
            f.store_vector(value, place)
            place = f.gep(place, "%plane")
    module.add(f)


def _add_output(module: Module, shape: TileShape) -> None:
    """The products of one tile and a panel of kernels to C."""
    f = TileFunction(module, "winograd_output", _OUTPUT, linkage="internal")
    f.shape = shape
    v, lanes = _Vectors(f), shape.lanes
    never = f.icmp("eq", "%rows", 0)
    some = vector_type(OUT, "float")
    whole = f.op(f"and i1 {f.icmp('eq', '%rows', OUT)}, {f.icmp('eq', '%columns', OUT)}")
    mask = f.low_mask(OUT, "%columns")
    for j in range(shape.vectors):
        columns = []
        for column in range(SIDE):
            at = f.gep("%sums", j * shape.vector_bytes)
            points = [f.load_vector(f.gep(at, f.mul("%plane", i * SIDE + column))) for i in range(SIDE)]
            columns.append(v.y(points))
        results = [value for line in _turned(columns) for value in v.y(line)]
        for first in range(0, len(results), lanes):
            for i, line in enumerate(transpose(f, results[first : first + lanes], never)):
                f.store_vector(line, f.gep("%square", i * SQUARE_BYTES + first * shape.size))
        count = f.umin(f.smax(f.sub("%kernels", j * lanes), 0), lanes)
        with f.loop(0, count) as kernel:
            line = f.gep("%square", f.mul(kernel, SQUARE_BYTES))
            place = f.gep("%c", f.mul(f.add(kernel, j * lanes), "%c_kernel"))
            inside, edge, done = f.label("inside"), f.label("edge"), f.label("done")
            f.cond_br(whole, inside, edge)
            f.place(inside)
            for row in range(OUT):
                f.store(some, f.load(some, f.gep(line, row * OUT * shape.size), 4), f.gep(place, f.mul("%c_row", row)), 4)
            f.br(done)
            f.place(edge)
            with f.loop(0, "%rows") as number:
                value = f.load(some, f.gep(line, f.mul(number, OUT * shape.size)), 4)
                f.masked_store(some, value, f.gep(place, f.mul("%c_row", number)), mask, 4)
            f.br(done)
            f.place(done)
    module.add(f)


# ---- the launch ----


def _add_run(module: Module, shape: TileShape, most: int) -> None:
    f = TileFunction(module, RUN, ABI)
    f.shape = shape
    w = {name: f.load("i64", f.gep("%sizes", 8 * i)) for i, name in enumerate(HEADER)}
    x, made, c = (f.load("ptr", f.gep("%args", 8 * i)) for i in range(3))
    transformed, stop = f.load("ptr", made), stop_flag(f)
    table, steps = f.gep("%scratch", w["table"]), f.gep("%scratch", w["steps"])
    with f.loop(0, w["channels"]) as k:
        f.store("i32", f.op(f"trunc i64 {w['pitch']} to i32"), f.gep(steps, k, STEP_BYTES))
    panels = f.ceildiv(w["kernels"], shape.width)
    there = f.variable("i64", -1)  # the block whose transformed tiles are in scratch
    with f.loop("%begin", "%end") as chunk:
        leave_if(f, stop)
        block = f.udiv(chunk, w["groups"])
        first = f.mul(block, w["block"])
        lines = f.umin(w["block"], f.sub(w["lines"], first))
        tiles = f.mul(lines, w["across"])
        with f.when(f.icmp("ne", block, f.load("i64", there))):
            f.store("i64", block, there)
            _transform(f, w, x, table, first, tiles)
        low = f.mul(f.sub(chunk, f.mul(block, w["groups"])), w["group"])
        with f.loop(low, f.umin(f.add(low, w["group"]), panels)) as panel:
            _multiply(f, w, transformed, steps, panel, tiles, most)
            _finish(f, w, c, panel, first, lines)
    module.add(f)


def _transform(f: TileFunction, w: dict[str, str], x: str, table: str, first: Value, tiles: Value) -> None:
    """All tiles of a block."""
    shape = f.shape
    image = f.udiv(first, w["down"])
    _fill_table(f, w, table, first, tiles, image)
    from_x = f.gep(x, f.mul(f.add(f.mul(image, w["x_image"]), w["x_start"]), shape.size))
    with f.loop(0, w["channels"]) as channel:
        plane = f.gep(from_x, f.mul(f.mul(channel, w["x_channel"]), shape.size))
        out = f.gep("%scratch", f.mul(channel, w["pitch"]))
        with f.loop(0, tiles, shape.lanes) as tile:
            offsets = f.gep(table, f.mul(tile, TABLE_ROWS * STEP_BYTES))
            values: list[Value] = [plane, offsets, f.gep(out, tile, shape.size), w["plane"]]
            call_through(f, "@winograd_input", _INPUT, values)


def _fill_table(f: TileFunction, w: dict[str, str], table: str, first: Value, tiles: Value, image: Value) -> None:
    """Where each tile's rows and columns lie, in bytes from the block's first image."""
    shape = f.shape
    bottom, right = f.add(w["rows"], 1), f.add(w["columns"], 1)
    with f.loop(0, f.mul(f.ceildiv(tiles, shape.lanes), shape.lanes)) as number:
        tile = f.umin(number, f.sub(tiles, 1))
        down = f.udiv(tile, w["across"])
        across = f.sub(tile, f.mul(down, w["across"]))
        line = f.add(first, down)
        of = f.udiv(line, w["down"])
        top = f.mul(f.sub(line, f.mul(of, w["down"])), OUT)
        start = f.mul(f.sub(of, image), w["x_image"])
        group = f.udiv(number, shape.lanes)
        lane = f.sub(number, f.mul(group, shape.lanes))
        place = f.gep(table, f.add(f.mul(group, TABLE_ROWS * shape.lanes), lane), STEP_BYTES)
        for i in range(SIDE):
            row = f.add(start, f.mul(f.umin(f.add(top, i), bottom), w["x_row"]))
            column = f.umin(f.add(f.mul(across, OUT), i), right)
            for at, offset in ((i, row), (SIDE + i, column)):
                value = f.op(f"trunc i64 {f.mul(offset, shape.size)} to i32")
                f.store("i32", value, f.gep(place, at * shape.lanes * STEP_BYTES))


def _multiply(f: TileFunction, w: dict[str, str], transformed: str, steps: str, panel: Value, tiles: Value, most: int) -> None:
    """Point by point the products of all tiles of the block by a panel of kernels."""
    shape = f.shape
    row_bytes = shape.vectors * shape.vector_bytes
    size, sums = f.mul(w["channels"], row_bytes), f.gep("%scratch", w["sums"])
    with f.loop(0, POINTS) as point:
        a = f.gep("%scratch", f.mul(point, w["plane"]))
        b = f.gep(transformed, f.mul(f.add(f.mul(panel, POINTS), point), size))
        out = f.gep(sums, f.mul(point, w["sums_plane"]))
        with f.pieces(0, tiles) as (tile, slot):
            rows = f.load("i64", f.gep(f"@{_HEIGHTS}", f.umin(f.sub(tiles, tile), most), 8))
            function = f.load("ptr", f.gep(f"@{BESIDE.table}", rows, 8))
            # the next point's: all first halves of rows, then all second ones
            ahead = f.gep(b, f.add(size, f.select(f.icmp("eq", tile, 0), 0, row_bytes // 2)))
            chain = f.umin(w["channels"], shape.longest_block)
            first = f.gep(a, tile, shape.size)
            values: list[Value] = [first, first, 0, steps, b, 0, w["channels"], chain]
            values += [f.gep(out, f.mul(tile, row_bytes)), ahead, row_bytes, 0]
            call_through(f, function, TILE, values)
            f.store("i64", f.add(tile, rows), slot)


def _finish(f: TileFunction, w: dict[str, str], c: str, panel: Value, first: Value, lines: Value) -> None:
    """Line by line what the products make, and the epilogue."""
    shape = f.shape
    row_bytes, size = shape.vectors * shape.vector_bytes, shape.size
    kernel = f.mul(panel, shape.width)
    count = f.umin(f.sub(w["kernels"], kernel), shape.width)
    c_kernel, c_row = f.mul(w["c_kernel"], size), f.mul(w["columns"], size)
    sums, square = f.gep("%scratch", w["sums"]), f.gep("%scratch", w["square"])
    indices = f.alloca("i64")
    function = f.load("ptr", f.gep("%args", w["epilogue"], 8))
    with f.loop(0, lines) as line:
        number = f.add(first, line)
        image = f.udiv(number, w["down"])
        top = f.mul(f.sub(number, f.mul(image, w["down"])), OUT)
        rows = f.umin(f.sub(w["rows"], top), OUT)
        low = f.mul(top, w["columns"])
        to_c = f.gep(f.gep(c, f.mul(f.mul(image, w["c_image"]), size)), f.add(f.mul(kernel, c_kernel), f.mul(low, size)))
        from_sums = f.gep(sums, f.mul(f.mul(line, w["across"]), row_bytes))
        with f.loop(0, w["across"]) as tile:
            column = f.mul(tile, OUT)
            place = f.gep(to_c, f.mul(column, size))
            values: list[Value] = [f.gep(from_sums, f.mul(tile, row_bytes)), w["sums_plane"], place, c_kernel, c_row]
            values += [rows, f.umin(f.sub(w["columns"], column), OUT), count, square]
            call_through(f, "@winograd_output", _OUTPUT, values)
        with f.when(f.icmp("ne", w["epilogue"], 0)):
            f.store("i64", image, indices)
            numbers = [kernel, count, low, f.mul(rows, w["columns"])]
            call_through(f, function, EPILOGUE, ["%args", "%sizes", indices, *numbers])
