"""Direct convolutions: a tile is some pixels of a row by some kernels, so windows are not copied, only kernels are.

A chunk is a strip of pixels of an image by a group of kernels, strips numbered fastest. A worker packs the kernels of a group
when it comes to one, into panels in scratch that stay in the second level cache, or finds them kept; meanwhile tiles prefetch
those of the next group. All of k is summed in one tile, so C is written once, and the epilogue runs on each strip. Each
element is the chain that it is in `block`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from duograph.codegen.contraction.course import BACK, LINE, SLOTS, Courses
from duograph.codegen.contraction.direct_halves import Halves
from duograph.codegen.contraction.direct_lines import FEW, LONGEST, LONGEST_HALVED, SHORTEST, TOGETHER, add_line_tiles, line_of
from duograph.codegen.contraction.direct_lines import TILE as LINE_TILE
from duograph.codegen.contraction.direct_rows import LEFT, RIGHT, add_row_tiles
from duograph.codegen.contraction.direct_rows import TABLE as ROWS_TABLE
from duograph.codegen.contraction.direct_rows import TILE as ROWS_TILE
from duograph.codegen.contraction.direct_tile import (
    STEP_BYTES,
    TABLE,
    TILE,
    TURN,
    add_direct_tiles,
    sums_bytes,
    table_name,
)
from duograph.codegen.contraction.driver import ABI, panels_at, stop_flag
from duograph.codegen.contraction.epilogue import PARAMETERS as EPILOGUE
from duograph.codegen.contraction.keep import KEEP
from duograph.codegen.contraction.pack import PACK_B, add_packers
from duograph.codegen.contraction.shape import BLOCK_UNIT, TileFunction, TileShape, next_heights
from duograph.codegen.contraction.spread import WalkedDims
from duograph.codegen.kernel import STATUS_BEGUN, Extent
from duograph.codegen.llvm import Module, Value
from duograph.ir.dim import ceildiv

PART, NARROW_PART = "direct", "direct_narrow"
# The words of a launch; then (extent, stride in elements) of each dim of k in x, of the pixels of an image, and of k in a
# kernel, outer to inner. "panel": bytes of a panel; "group": panels in a group; "strip": pixels in one; "kept": which of args
# is null or all panels, kept with the kernels, 0 for none. "course": bytes of a course; "triples": whether rows of taps are
# three side by side, and which way; "tap_rows" of them in a plane; "image_rows" of pixels. Tap row t of pixel row p, counted from
# the last one if "rows_back", lies on zeros if p * "row_step" + t * "row_hole" is below "row_low" or not below "row_high".
# "spared": which ends of a row of pixels do.
HEADER = (
    *("images", "kernels", "k", "pixels", "w_kernel", "x_image", "c_image", "c_kernel"),
    *("panel", "group", "strip", "course", "triples", "tap_rows", "image_rows", "row_step", "row_hole", "row_low"),
    *("row_high", "rows_back", "spared", "epilogue", "kept", "k_dims", "pixel_dims", "w_dims"),
)
KEEP_HEADER = ("kernels", "k", "w_kernel", "panel", "w_dims")  # then k in a kernel, as above
DIM = 16
_HEIGHTS = "direct_heights"
_STEPS, _SOME_STEPS = 16, "<16 x i32>"


def narrow(shape: TileShape) -> TileShape:
    """The tile for few kernels: one vector of them."""
    return replace(shape, vectors=1)


def behind_panels(shape: TileShape) -> int:
    """Scratch behind all panels: the squares of a kernel's last piece begin anywhere."""
    return shape.lanes * shape.vectors * shape.vector_bytes


def before_panels(shape: TileShape, k: Extent) -> Extent:
    """Scratch for sums, the panels at hand and steps."""
    return sums_bytes(shape) + LINE + ceildiv(k * STEP_BYTES, LINE) * LINE


def add_narrow_direct(module: Module, shape: TileShape) -> None:
    """The part for few kernels."""
    add_line_tiles(module, narrow(shape))
    add_direct(module, narrow(shape))


def add_direct(module: Module, shape: TileShape) -> None:
    """The part: its launch function."""
    add_packers(module, shape)
    add_direct_tiles(module, shape)
    add_row_tiles(module, shape)
    heights = next_heights(shape, shape.all_heights)
    module.table(_HEIGHTS, "i64", [str(rows) for rows in heights], align=8)
    _add_run(module, shape, len(heights) - 1)
    _add_keep(module, shape)


class _Panels:
    """The panels of the group at hand, packed or kept, and how far those of the next one are prefetched.

    Which these are is noted in scratch, in the line ``notes``, from call to call.
    """

    def __init__(self, f: TileFunction, words: dict[str, str], source: str, walk: WalkedDims, notes: str, scratch: str) -> None:
        self.f, self.w, self.source, self.k, self.scratch = f, words, source, walk, scratch
        self.row = f.mul(words["w_kernel"], f.shape.size)
        self.group, self.at, self.coming, self.end = (f.gep(notes, 8 * i) for i in range(4))
        none = f.icmp("eq", words["kept"], 0)
        given = panels_at(f, words["kept"])
        self.kept = str(f.select(none, "null", given, "ptr"))

    def begin(self) -> None:
        """No group is at hand."""
        self.f.store("i64", -1, self.group)
        for place in (self.at, self.coming, self.end):
            self.f.store("ptr", self.scratch, place)

    def enter(self, group: Value) -> str:
        """The panels of a group, which are packed unless they are there."""
        f, w, width = self.f, self.w, self.f.shape.width
        with f.when(f.icmp("ne", group, f.load("i64", self.group))):
            f.store("i64", group, self.group)
            size = f.mul(w["group"], width)
            first = f.mul(group, size)
            count = f.umin(f.sub(w["kernels"], first), size)
            kept, own, done = f.label("kept"), f.label("own"), f.label("entered")
            f.cond_br(f.op(f"icmp ne ptr {self.kept}, null"), kept, own)
            f.place(kept)
            self._find(group)
            f.br(done)
            f.place(own)
            self._pack(first, count, size)
            f.br(done)
            f.place(done)
        return f.load("ptr", self.at)

    def _find(self, group: Value) -> None:
        f, w = self.f, self.w
        panels, first = f.ceildiv(w["kernels"], f.shape.width), f.mul(group, w["group"])
        following = f.umin(f.add(first, w["group"]), panels)
        last = f.umin(f.add(following, w["group"]), panels)
        for variable, panel in ((self.at, first), (self.coming, following), (self.end, last)):
            f.store("ptr", f.gep(self.kept, f.mul(panel, w["panel"])), variable)

    def _pack(self, first: Value, count: Value, size: Value) -> None:
        f, w, width = self.f, self.w, self.f.shape.width
        with f.loop(0, count, width) as kernel:
            target = f.gep(self.scratch, f.mul(f.udiv(kernel, width), w["panel"]))
            columns = f.umin(f.sub(count, kernel), width)
            self._pack_panel(f.gep(self.source, f.mul(f.add(first, kernel), self.row)), target, columns)
        following = f.add(first, count)
        many = f.umin(f.add(following, size), w["kernels"])
        last = f.select(f.icmp("eq", w["w_dims"], 1), many, following)
        f.store("ptr", f.gep(self.source, f.mul(following, self.row)), self.coming)
        f.store("ptr", f.gep(self.source, f.mul(last, self.row)), self.end)

    def _pack_panel(self, source: str, target: str, columns: Value) -> None:
        _pack_panel(self.f, self.k, self.w["k"], [self.row, target, self.w["panel"], columns], source)

    def walk(self, idle: str) -> list[Value]:
        """What a tile prefetches, a line with each k; it stays where it is when all is done."""
        f = self.f
        coming = f.load("ptr", self.coming)
        busy = f.icmp("ult", coming, f.load("ptr", self.end), "ptr")
        step = f.select(busy, LINE, 0)
        f.store("ptr", f.gep(coming, f.mul(step, self.w["k"])), self.coming)
        return [f.select(busy, coming, idle, "ptr"), step]


def _pack_panel(f: TileFunction, walk: WalkedDims, k: Value, panel: Sequence[Value], source: str) -> None:
    """One panel, piece by piece of what lies side by side in a kernel, or at one distance. ``panel``: bytes from kernel to
    kernel, the place, its bytes, how many kernels."""
    row, target, size, columns = panel
    row_bytes = f.shape.vectors * f.shape.vector_bytes

    def piece(offset: str, at: str, count: Value) -> None:
        place, out = f.gep(source, offset), f.gep(str(target), f.mul(at, row_bytes))
        values: list[Value] = [place, walk.step, row, out, size, count, columns]
        arguments = [(type, value) for (type, _), value in zip(PACK_B, values)]
        beside, apart, done = f.label("beside"), f.label("apart"), f.label("packed")
        f.cond_br(f.icmp("eq", walk.step, f.shape.size), beside, apart)
        for label, name in ((beside, "pack_columns"), (apart, "pack_any")):
            f.place(label)
            f.call(name, arguments)
            f.br(done)
        f.place(done)

    walk.runs(0, k, piece)


def _add_keep(module: Module, shape: TileShape) -> None:
    """The function that makes all panels of kernels that are walked, to be kept; its chunks are panels, in order."""
    f = TileFunction(module, KEEP, ABI)
    f.shape = shape
    w = {name: f.load("i64", f.gep("%sizes", 8 * i)) for i, name in enumerate(KEEP_HEADER)}
    walk = WalkedDims(f, f.gep("%sizes", 8 * len(KEEP_HEADER)), w["w_dims"])
    source, target = (f.load("ptr", f.gep("%args", 8 * i)) for i in range(2))
    row = f.mul(w["w_kernel"], shape.size)
    with f.loop("%begin", "%end") as panel:
        kernel = f.mul(panel, shape.width)
        columns = f.umin(f.sub(w["kernels"], kernel), shape.width)
        place = [row, f.gep(target, f.mul(panel, w["panel"])), w["panel"], columns]
        _pack_panel(f, walk, w["k"], place, f.gep(source, f.mul(kernel, row)))
    module.add(f)


def _add_run(module: Module, shape: TileShape, most: int) -> None:
    f = TileFunction(module, "run", ABI)
    f.shape = shape
    w = {name: f.load("i64", f.gep("%sizes", 8 * i)) for i, name in enumerate(HEADER)}
    x, kernels, c = (f.load("ptr", f.gep("%args", 8 * i)) for i in range(3))
    stop = stop_flag(f)
    of_k = f.gep("%sizes", 8 * len(HEADER))
    of_pixels = f.gep(of_k, f.mul(w["k_dims"], DIM))
    pixels = WalkedDims(f, of_pixels, w["pixel_dims"])
    of_kernel = WalkedDims(f, f.gep(of_pixels, f.mul(w["pixel_dims"], DIM)), w["w_dims"])
    sums, notes = "%scratch", f.gep("%scratch", sums_bytes(shape))
    steps = f.gep(notes, LINE)
    lines = f.ceildiv(f.mul(w["k"], STEP_BYTES), LINE)
    at_courses = f.gep(steps, f.mul(lines, LINE))
    packed = _Panels(f, w, kernels, of_kernel, notes, f.gep(at_courses, f.mul(w["course"], SLOTS)))
    blocks = f.ceildiv(w["k"], shape.longest_block)
    block = f.and_(f.add(f.ceildiv(w["k"], blocks), BLOCK_UNIT - 1), -BLOCK_UNIT)
    courses = Courses(f, w, at_courses, steps, block)
    begun = f.gep("%status", 8 * STATUS_BEGUN)
    of_lines = _Lines(f, w, pixels, WalkedDims(f, of_k, w["k_dims"]), packed) if shape.vectors == 1 else None
    with f.when(f.icmp("eq", f.load("i64", begun), 0)):
        f.store("i64", 1, begun)
        _fill_all_steps(f, of_k, w["k_dims"], w["k"], steps)
        if of_lines:
            of_lines.begin(steps)
        packed.begin()
        courses.begin()
    panels = f.ceildiv(w["kernels"], shape.width)
    strips = f.ceildiv(w["pixels"], w["strip"])
    each = f.mul(w["images"], strips)
    c_kernel = f.mul(w["c_kernel"], shape.size)
    indices = f.alloca("i64")
    function = f.load("ptr", f.gep("%args", w["epilogue"], 8))

    with f.loop("%begin", "%end") as chunk:
        leave_if(f, stop)
        group = f.udiv(chunk, each)
        panels_at = packed.enter(group)
        rest = f.sub(chunk, f.mul(group, each))
        image = f.udiv(rest, strips)
        low = f.mul(f.sub(rest, f.mul(image, strips)), w["strip"])
        high = f.umin(f.add(low, w["strip"]), w["pixels"])
        first = f.mul(group, w["group"])
        end = f.umin(f.add(first, w["group"]), panels)
        from_x = f.gep(x, f.mul(f.mul(image, w["x_image"]), shape.size))
        to_c = f.gep(c, f.mul(f.mul(image, w["c_image"]), shape.size))
        rest_of_strip: Value = low
        if of_lines:
            rest_of_strip = f.select(of_lines.wanted, high, low)
            with f.when(of_lines.wanted):
                kernel = f.mul(first, shape.width)
                count = f.sub(f.umin(f.mul(end, shape.width), w["kernels"]), kernel)
                of_lines.emit((low, high), (from_x, steps, panels_at, to_c, kernel, count), block)
        with f.pieces(rest_of_strip, high) as (pixel, slot):
            choice = _choose(f, shape, pixels, pixel, high, most, courses)
            a = f.gep(from_x, choice.offset)
            ahead = f.sub(_one_strip_on(f, w, pixels, pixel, low), choice.offset)
            with f.loop(first, end) as panel:
                b = f.gep(panels_at, f.mul(f.sub(panel, first), w["panel"]))
                coming = [*packed.walk(b), f.select(f.icmp("eq", panel, first), ahead, 0)]
                by_rows, by_k, made = f.label("rows"), f.label("k"), f.label("made")
                f.cond_br(choice.by_rows, by_rows, by_k)
                f.place(by_rows)
                call_through(f, choice.tile, ROWS_TILE, [a, a, choice.a_row, choice.course, blocks, b, sums, *coming])
                f.br(made)
                f.place(by_k)
                call_through(f, choice.tile, TILE, [a, a, choice.a_row, steps, b, 0, w["k"], block, sums, *coming])
                f.br(made)
                f.place(made)
                kernel = f.mul(panel, shape.width)
                place = f.gep(f.gep(to_c, f.mul(kernel, c_kernel)), pixel, shape.size)
                count = f.umin(f.sub(w["kernels"], kernel), shape.width)
                call_through(f, "@turn", TURN, [sums, place, c_kernel, choice.pixels, count])
            f.store("i64", f.add(pixel, choice.pixels), slot)
        with f.when(f.icmp("ne", w["epilogue"], 0)):
            f.store("i64", image, indices)
            kernel = f.mul(first, shape.width)
            count = f.sub(f.umin(f.mul(end, shape.width), w["kernels"]), kernel)
            call_through(f, function, EPILOGUE, ["%args", "%sizes", indices, kernel, count, low, f.sub(high, low)])
    module.add(f)


class _Lines:
    """Strips of pixels as vectors of pixels, where that is `wanted` as `direct_lower` has it.

    Every second pixel of rows whose taps lie side by side is read from `Halves`, like pixels that lie side by side.
    """

    def __init__(self, f: TileFunction, w: dict[str, str], pixels: WalkedDims, k: WalkedDims, packed: _Panels) -> None:
        self.f, self.w, self.pixels = f, w, pixels
        size = f.shape.size
        beside, second = (f.icmp("eq", pixels.step, n * size) for n in (1, 2))
        few = f.op(f"and i1 {beside}, {f.icmp('ule', w['kernels'], FEW)}")
        taps_beside = f.op(f"and i1 {f.icmp('ne', w['k_dims'], 0)}, {f.icmp('eq', k.step, size)}")
        self.halved = f.op(f"and i1 {second}, {taps_beside}")
        longest = f.select(self.halved, LONGEST_HALVED, LONGEST)
        short = f.op(f"and i1 {f.icmp('ule', w['k'], longest)}, {f.icmp('uge', pixels.extent, SHORTEST)}")
        self.wanted = f.op(f"or i1 {few}, {f.op(f'and i1 {short}, ' + f.op(f'or i1 {beside}, {second}'))}")
        self.halved = f.op(f"and i1 {self.halved}, {self.wanted}")
        self.second = f.select(self.halved, 0, f.select(beside, 0, 1))
        few = f.op(f"and i1 {f.icmp('ule', w['kernels'], FEW)}, {f.icmp('eq', self.second, 0)}")
        self.together = f.select(few, w["kernels"], f.select(f.icmp("eq", self.second, 0), *TOGETHER))
        behind = f.gep(packed.scratch, f.add(f.mul(w["group"], w["panel"]), behind_panels(f.shape)))
        self.halves = Halves(f, k, w["k"], pixels.extent, behind)

    def begin(self, steps: str) -> None:
        """Once in a run of a worker: ``steps`` are from each k to the next one in x."""
        with self.f.when(self.halved):
            rows_of = self.f.sub(self.w["k_dims"], 1)
            fill_offsets(self.f, self.halves.walk.dims, rows_of, self.halves.offsets)
            self.halves.fill_steps(steps)
            _to_steps(self.f, self.w["k"], steps)

    def emit(self, strip: tuple[Value, Value], places: tuple[Any, ...], block: Value) -> None:
        """A strip by all kernels of a group, a few at a time: row by row, vectors of pixels."""
        f, w, pixels = self.f, self.w, self.pixels
        (low, high), (from_x, steps, panels, to_c, first, count) = strip, places
        c_kernel = f.mul(w["c_kernel"], f.shape.size)
        with f.pieces(low, high) as (pixel, slot):
            number = f.udiv(pixel, pixels.extent)
            within = f.sub(pixel, f.mul(number, pixels.extent))
            left = f.umin(f.sub(pixels.extent, within), f.sub(high, pixel))
            offset = f.add(pixels.outer(number), f.mul(within, pixels.step))
            ahead = f.sub(_one_strip_on(f, w, pixels, pixel, low), offset)
            c = f.gep(to_c, pixel, f.shape.size)
            widest = line_of(f, self.together, left, self.second).pixels
            place = f.gep(from_x, offset)
            with f.when(self.halved):
                self.halves.copy(place, widest)
            source = f.select(self.halved, self.halves.band, place, "ptr")
            with f.loop(0, count, self.together) as kernel:
                line = line_of(f, f.umin(self.together, f.sub(count, kernel)), widest, self.second)
                panel = f.gep(panels, f.mul(f.udiv(kernel, f.shape.width), w["panel"]))
                b = f.gep(panel, f.mul(f.urem(kernel, f.shape.width), f.shape.size))
                out = f.gep(c, f.mul(f.add(first, kernel), c_kernel))
                reads_on = f.op(f"xor i1 {self.halved}, true")
                coming = f.select(f.op(f"and i1 {f.icmp('eq', kernel, 0)}, {reads_on}"), ahead, 0)
                values: list[Value] = [source, steps, b, w["k"], block, out, c_kernel, line.pixels, coming]
                call_through(f, line.tile, LINE_TILE, values)
            f.store("i64", f.add(pixel, widest), slot)


class _Choice(NamedTuple):
    """The tile for the next pixels: where the first one's window is, its ``a_row`` or ``line``, its course if it has one."""

    tile: str
    offset: Value
    a_row: Value
    pixels: Value
    by_rows: str
    course: str


def _choose(
    f: TileFunction, shape: TileShape, pixels: WalkedDims, pixel: Value, high: Value, most: int, courses: Courses
) -> _Choice:
    """A tile of one row of pixels, or of two short rows."""
    size = shape.size
    number = f.udiv(pixel, pixels.extent)
    within = f.sub(pixel, f.mul(number, pixels.extent))
    left = f.umin(f.sub(pixels.extent, within), f.sub(high, pixel))
    place = pixels.outer(number)
    beside, second = f.icmp("eq", pixels.step, size), f.icmp("eq", pixels.step, 2 * size)
    near = f.op(f"or i1 {beside}, {second}")
    back = f.icmp("eq", courses.words["triples"], BACK)
    by_rows = f.op(f"and i1 {f.select(back, beside, near, 'i1')}, {f.icmp('ne', courses.words['triples'], 0)}")
    rows = f.load("i64", f.gep(f"@{_HEIGHTS}", f.umin(left, most), 8))
    taps, taps_below = courses.rows_of(number), courses.rows_of(f.add(number, 1))
    twice = near
    for fact in (
        f.icmp("eq", within, 0),
        f.icmp("ule", pixels.extent, shape.rows // 2),
        f.icmp("uge", f.sub(high, pixel), f.shl(pixels.extent, 1)),
        f.op(f"or i1 {f.icmp('eq', taps, taps_below)}, {f.icmp('eq', courses.words['triples'], 0)}"),
    ):
        twice = f.op(f"and i1 {twice}, {fact}")

    def kind(table: str, step: int | str) -> Value:
        one, two = (f"@{table_name(table, step, lines)}" for lines in (1, 2))
        return f.select(twice, two, one, "ptr")

    forth = f.select(beside, kind(ROWS_TABLE, 1), kind(ROWS_TABLE, 2), "ptr")
    of_rows = f.select(back, kind(ROWS_TABLE, "back"), forth, "ptr")
    of_k = f.select(near, f.select(beside, kind(TABLE, 1), kind(TABLE, 2), "ptr"), f"@{TABLE}", "ptr")
    begins = f.select(f.icmp("eq", within, 0), f.and_(courses.words["spared"], LEFT), 0)
    ends = f.select(f.icmp("eq", f.add(within, rows), pixels.extent), f.and_(courses.words["spared"], RIGHT), 0)
    spared = f.select(twice, courses.words["spared"], f.or_(begins, ends))
    table = f.select(by_rows, f.load("ptr", f.gep(str(of_rows), spared, 8)), of_k, "ptr")
    tile = f.load("ptr", f.gep(str(table), f.select(twice, pixels.extent, rows), 8))
    a_row = f.select(twice, f.sub(pixels.outer(f.add(number, 1)), place), pixels.step)
    count = f.select(twice, f.shl(pixels.extent, 1), rows)
    return _Choice(tile, f.add(place, f.mul(within, pixels.step)), a_row, count, by_rows, courses.find(taps, by_rows))


def _one_strip_on(f: TileFunction, w: dict[str, str], pixels: WalkedDims, pixel: Value, low: Value) -> Value:
    """The byte offset of the window a strip behind ``pixel``; ``low``: the first pixel of its strip."""
    over = f.icmp("uge", f.add(low, w["strip"]), w["pixels"])
    place = f.select(over, f.sub(pixel, low), f.umin(f.add(pixel, w["strip"]), f.sub(w["pixels"], 1)))
    number = f.udiv(place, pixels.extent)
    within = f.sub(place, f.mul(number, pixels.extent))
    offset = f.add(pixels.outer(number), f.mul(within, pixels.step))
    return f.add(offset, f.select(over, f.mul(w["x_image"], f.shape.size), 0))


def call_through(f: TileFunction, function: str, parameters: tuple[tuple[str, str], ...], values: list[Value]) -> None:
    text = ", ".join(f"{type} {value}" for (type, _), value in zip(parameters, values))
    f.emit(f"call void {function}({text})")


def leave_if(f: TileFunction, stop: str) -> None:
    leave, stay = f.label("leave"), f.label("stay")
    f.cond_br(f.icmp("ne", f.op(f"load volatile i32, ptr {stop}"), 0, "i32"), leave, stay)
    f.place(leave)
    f.ret()
    f.place(stay)


def fill_steps(f: TileFunction, walk: WalkedDims, start: Value, k: Value, out: str) -> None:
    """The bytes from each of k positions to the next, 0 from the last one on. Writes up to a vector past the end."""

    def fill(offset: str, at: Value, count: Value) -> None:
        with f.loop(0, count) as i:
            value = f.op(f"trunc i64 {f.add(offset, f.mul(i, walk.step))} to i32")
            f.store("i32", value, f.gep(out, f.add(at, i), STEP_BYTES))

    walk.runs(start, k, fill)
    _to_steps(f, k, out)


def _fill_all_steps(f: TileFunction, dims: str, count: Value, k: Value, out: str) -> None:
    """The same for all of k."""
    fill_offsets(f, dims, count, out)
    _to_steps(f, k, out)


def fill_offsets(f: TileFunction, dims: str, count: Value, out: str) -> None:
    """The bytes to each position of some dims: from the last dim on, what is there once more for each other position along a
    dim. Writes up to a vector past the end."""
    filled = f.variable("i64", 1)
    f.store("i32", 0, out)
    with f.loop(0, count) as i:
        dim = f.gep(dims, f.mul(f.sub(f.sub(count, 1), i), DIM))
        extent, step = f.load("i64", dim), f.mul(f.load("i64", f.gep(dim, 8)), f.shape.size)
        before = f.load("i64", filled)
        with f.loop(1, extent) as j:
            far = f.splat(_STEPS, "i32", f.op(f"trunc i64 {f.mul(j, step)} to i32"))
            target = f.gep(out, f.mul(j, before), STEP_BYTES)
            with f.loop(0, before, _STEPS) as at:
                value = f.load(_SOME_STEPS, f.gep(out, at, STEP_BYTES), STEP_BYTES)
                f.store(_SOME_STEPS, f.op(f"add {_SOME_STEPS} {value}, {far}"), f.gep(target, at, STEP_BYTES), STEP_BYTES)
        f.store("i64", f.mul(before, extent), filled)


def _to_steps(f: TileFunction, k: Value, out: str) -> None:
    """Offsets to what is between them."""
    last = f.sub(k, 1)
    with f.loop(0, last, _STEPS) as i:
        here = f.gep(out, i, STEP_BYTES)
        following = f.load(_SOME_STEPS, f.gep(here, STEP_BYTES), STEP_BYTES)
        value = f.op(f"sub {_SOME_STEPS} {following}, {f.load(_SOME_STEPS, here, STEP_BYTES)}")
        f.store(_SOME_STEPS, value, here, STEP_BYTES)
    f.store("i32", 0, f.gep(out, last, STEP_BYTES))
