"""The launch symbols: ``sums`` makes sums over windows, ``taps`` the kernel whose product with results they are.

A chunk of ``sums`` is one group of channels of one image, a chunk of ``taps`` one group of all images. How rows are cut
into bands never changes what is added in which order: a result of ``sums`` is one chain over the channels that it reads
and their taps; one of ``taps`` is a chain in each of a vector's lanes over images and rows, and these are halved at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from duograph.codegen.contraction.driver import ABI
from duograph.codegen.contraction.epilogue import PARAMETERS as EPILOGUE
from duograph.codegen.contraction.shape import TileFunction, TileShape, tile_shape
from duograph.codegen.llvm import Module, Value
from duograph.codegen.target import Target
from duograph.codegen.windows import rows, squares, taps
from duograph.codegen.windows.launch import G_ROWS, HEADER, LINE, PREFIX, X_ROWS

_LEAST_AHEAD = 4096  # bytes: what is nearer comes by itself
LIBRARIES = {f"{PREFIX}{dtype}": dtype for dtype in ("float32", "float64")}


def add_windows(module: Module, dtype: str, target: Target) -> None:
    """All functions of the library of a dtype."""
    shape = tile_shape(dtype, target)
    shape = replace(shape, lanes=LINE // shape.size, vectors=1)  # as wide on all machines: how sums are made depends on it
    rows.add_fill(module, shape)
    taps.add_taps(module, shape)
    squares.add_squares(module, shape)
    _add_sums(module, shape)
    _add_taps(module, shape)


class _Driver(TileFunction):
    """A launch function: the words by name, what both kinds do."""

    def __init__(self, module: Module, shape: TileShape, name: str) -> None:
        super().__init__(module, name, ABI)
        self.shape = shape
        self.words = {word: self.load("i64", self.gep("%sizes", 8 * i)) for i, word in enumerate(HEADER)}
        self.x, self.other, self.out = (self.load("ptr", self.gep("%args", 8 * i)) for i in range(3))
        self.band = self.gep("%scratch", self.words["rows_at"])
        self.row_bytes = self.mul(self.mul(self.words["x_pitch"], self.words["x_stride"]), shape.size)
        self.count = self.mul(self.mul(self.words["taps0"], self.words["taps1"]), self.words["taps2"])
        self.row = self.mul(self.words["count2"], shape.size)  # bytes of a row of results
        self.plane = self.mul(self.words["plane"], shape.size)

    def offset(self, *pairs: tuple[Value, str]) -> Value:
        """Bytes: each index times the stride of that name."""
        total: Value = 0
        for index, name in pairs:
            total = self.add(total, self.mul(index, self.words[name]))
        return self.mul(total, self.shape.size)

    @contextmanager
    def over_taps(self) -> Iterator[tuple[str, str, str, Value]]:
        """Tap by tap: its indices and its number."""
        w = self.words
        with self.loop(0, w["taps0"]) as i, self.loop(0, w["taps1"]) as j, self.loop(0, w["taps2"]) as k:
            yield i, j, k, self.add(self.mul(self.add(self.mul(i, w["taps1"]), j), w["taps2"]), k)

    def fill_offsets(self) -> None:
        """Where each tap begins in the band, in bytes, at the start of scratch."""
        w = self.words
        with self.over_taps() as (i, j, k, tap):
            row = self.add(self.mul(self.mul(i, w["hole0"]), w["x_slab"]), self.mul(j, w["hole1"]))
            place = self.mul(k, w["hole2"])
            number = self.udiv(place, w["x_stride"])
            phase = self.sub(place, self.mul(number, w["x_stride"]))
            within = self.mul(self.add(self.mul(phase, w["x_pitch"]), number), self.shape.size)
            self.store("i64", self.add(self.mul(row, self.row_bytes), within), self.gep("%scratch", tap, 8))

    @contextmanager
    def bands(self) -> Iterator[tuple[str, Value, str, Value]]:
        """First result and how many, over the first two dimensions, of each band."""
        w = self.words
        with self.loop(0, w["count0"], w["band0"]) as i, self.loop(w["first1"], w["end1"], w["band1"]) as j:
            yield i, self.umin(w["band0"], self.sub(w["count0"], i)), j, self.umin(w["band1"], self.sub(w["end1"], j))

    def fill_band(self, source: str, first: str, many: Value, second: str, several: Value) -> None:
        """The rows of x that a band of results reads."""
        w = self.words
        starts, counts = [], []
        for d, (place, count) in enumerate(((first, many), (second, several))):
            starts.append(self.sub(self.mul(place, w[f"stride{d}"]), w[f"low{d}"]))
            span = self.add(self.mul(self.sub(w[f"taps{d}"], 1), w[f"hole{d}"]), 1)
            counts.append(self.add(self.mul(self.sub(count, 1), w[f"stride{d}"]), span))
        self.fill_rows(X_ROWS, source, self.band, starts, [self.smax(count, 0) for count in counts])

    def fill_rows(self, words: int, source: str, target: str, starts: list[Value], counts: list[Value]) -> None:
        values = [self.gep("%sizes", 8 * words), source, target, *starts, *counts]
        self.call("fill", [(type, value) for (type, _), value in zip(rows.FILL, values)])

    def ahead(self, source: str, stride: str, i: Value, j: Value) -> list[Value]:
        """Where the x lies that is read after the plane at `source`, from a result on, and from row to row of results there."""
        w = self.words
        distance = self.umax(self.mul(w[stride], self.shape.size), _LEAST_AHEAD)
        rows = [self.mul(self.mul(n, w[f"stride{d}"]), w[f"x_step{d}"]) for d, n in enumerate((i, j))]
        first = self.gep(self.gep(source, distance), self.mul(self.add(*rows), self.shape.size))
        return [first, self.offset((w["stride1"], "x_step1"))]

    def slab(self, number: Value) -> str:
        """The band's rows for result `number` along the first dimension."""
        lines = self.mul(self.mul(number, self.words["stride0"]), self.words["x_slab"])
        return self.gep(self.band, self.mul(lines, self.row_bytes))

    @contextmanager
    def tap_groups(self, table: str) -> Iterator[tuple[str, str]]:
        """Number of the first tap of each group and its function; one empty group where there are no taps."""
        with self.loop(0, self.umax(self.count, 1), taps.MOST) as tap:
            count = self.umin(self.sub(self.count, tap), taps.MOST)
            yield tap, self.load("ptr", self.gep(f"@{table}", self.select(self.icmp("eq", self.count, 0), 0, count), 8))

    def run(self, function: str, parameters: tuple[tuple[str, str], ...], values: list[Value]) -> None:
        text = ", ".join(f"{type} {value}" for (type, _), value in zip(parameters, values))
        self.emit(f"call void {function}({text})")


def _add_sums(module: Module, shape: TileShape) -> None:
    f = _Driver(module, shape, "sums")
    w = f.words
    copy = f.gep("%scratch", w["weights_at"])  # of a kernel whose taps do not lie side by side
    apart = f.op(f"xor i1 {_lie_beside(f)}, true")
    f.fill_offsets()
    lines = _Lines(f)
    ending = _Ending(f)
    with f.loop("%begin", "%end") as chunk:
        image = f.udiv(chunk, w["groups"])
        group = f.sub(chunk, f.mul(image, w["groups"]))
        x = f.gep(f.x, f.offset((image, "x_image"), (group, "x_group")))
        kernels = f.gep(f.other, f.offset((group, "w_group")))
        results = f.gep(f.out, f.mul(f.mul(chunk, w["made"]), f.plane))
        with f.bands() as band:
            with f.loop(0, w["read"]) as read:
                f.fill_band(f.gep(x, f.offset((read, "x_channel"))), *band)
                with f.loop(0, w["made"]) as made:
                    kernel = f.gep(kernels, f.offset((made, "w_made"), (read, "w_read")))
                    with f.when(apart), f.over_taps() as (a, b, c, tap):
                        value = f.load(shape.element, f.gep(kernel, f.offset((a, "w_tap0"), (b, "w_tap1"), (c, "w_tap2"))))
                        f.store(shape.element, value, f.gep(copy, tap, shape.size))
                    weights = str(f.select(apart, copy, kernel, "ptr"))
                    lines.emit(x, weights, f.gep(results, f.mul(made, f.plane)), band, read)
            ending.emit(image, group, band)
    module.add(f)


def _lie_beside(f: _Driver) -> str:
    """Whether a kernel's taps follow each other."""
    w = f.words
    step: Value = 1
    found = "true"
    for d in reversed(range(3)):
        there = f.op(f"or i1 {f.icmp('eq', w[f'w_tap{d}'], step)}, {f.icmp('eq', w[f'taps{d}'], 1)}")
        found, step = f.op(f"and i1 {found}, {there}"), f.mul(step, w[f"taps{d}"])
    return found


class _Lines:
    """The results of a band from one channel, with `squares` where these serve, else some taps at a time."""

    def __init__(self, f: _Driver) -> None:
        self.f, w = f, f.words
        self.row_step = f.mul(w["stride1"], f.row_bytes)
        self.following = f.umax(f.plane, _LEAST_AHEAD)
        side = f.sub(w["taps2"], squares.SIDES[0])
        stride = f.sub(w["stride1"], squares.STRIDES[0])
        found = f.icmp("eq", w["taps0"], 1)
        for fact in (
            f.icmp("eq", w["taps1"], w["taps2"]),
            f.icmp("eq", w["hole1"], 1),
            f.icmp("eq", f.and_(side, 1), 0),
            f.icmp("ult", side, 2 * len(squares.SIDES)),
            f.icmp("ult", stride, len(squares.STRIDES)),
        ):
            found = f.op(f"and i1 {found}, {fact}")
        self.by_squares, self.by_taps = found, f.op(f"xor i1 {found}, true")
        number = f.add(f.mul(f.lshr(side, 1), len(squares.STRIDES)), stride)
        self.square = f.load("ptr", f.gep(f"@{squares.TABLE}", f.select(found, number, 0), 8))

    def emit(self, x: str, weights: str, plane: str, band: tuple[str, Value, str, Value], read: str) -> None:
        f = self.f
        i, many, j, several = band
        w, size = f.words, f.shape.size
        with f.loop(0, many) as line:
            at = f.gep(plane, f.mul(f.add(f.mul(f.add(i, line), w["count1"]), j), f.row))
            with f.when(self.by_squares):
                ahead = [f.ahead(x, "x_group", f.add(i, line), j)[0], f.mul(w["x_step1"], size)]
                here: list[Value] = [f.slab(line), f.row_bytes, "%scratch", several, w["count2"], *ahead]
                f.run(self.square, squares.SQUARES, [*here, weights, at, f.row, read])
            ahead = [*f.ahead(x, "x_group", f.add(i, line), j), self.following]
            with f.when(self.by_taps), f.tap_groups("sums_of") as (tap, function):
                here = [f.slab(line), self.row_step, f.gep("%scratch", tap, 8), several, w["count2"], *ahead]
                f.run(function, taps.SUMS, [*here, f.gep(weights, tap, size), at, f.row, f.or_(tap, read)])


class _Ending:
    """What follows the sums of a band, by a function of the program, if there is anything."""

    def __init__(self, f: _Driver) -> None:
        self.f = f
        self.wanted = f.icmp("ne", f.words["epilogue"], 0)
        self.function = f.load("ptr", f.gep("%args", f.words["epilogue"], 8))
        self.indices = f.alloca("i64", 8, 4)  # of the image, the group, the result of the group, its first dimension

    def emit(self, image: Value, group: Value, band: tuple[str, Value, str, Value]) -> None:
        f = self.f
        i, many, j, several = band
        with f.when(self.wanted), f.loop(0, f.words["made"]) as made, f.loop(0, many) as line:
            for number, index in enumerate((image, group, made, f.add(i, line))):
                f.store("i64", index, f.gep(self.indices, 8 * number))
            flat, width = f.icmp("ne", f.words["flat"], 0), f.words["count2"]
            rows = [f.select(flat, 0, j), f.select(flat, 1, several)]
            columns = [f.select(flat, f.mul(j, width), 0), f.select(flat, f.mul(several, width), width)]
            f.run(self.function, EPILOGUE, ["%args", "%sizes", self.indices, *rows, *columns])


def _add_taps(module: Module, shape: TileShape) -> None:
    f = _Driver(module, shape, "taps")
    w = f.words
    sums, copy = f.gep("%scratch", w["sums_at"]), f.gep("%scratch", w["given_at"])
    row_step = f.mul(w["stride1"], f.row_bytes)
    all_sums = f.mul(w["made"], f.count)
    following = f.umax(f.mul(w["g_image"], shape.size), _LEAST_AHEAD)
    in_place = f.icmp("eq", w["g_step2"], 1)
    g_row = f.select(in_place, f.mul(w["g_step1"], shape.size), f.mul(w["g_pitch"], shape.size))
    g_slab = f.select(in_place, f.mul(w["g_step0"], shape.size), f.mul(f.mul(w["g_pitch"], w["g_slab"]), shape.size))
    f.fill_offsets()
    with f.loop("%begin", "%end") as group:
        with f.loop(0, all_sums) as number:
            f.store_vector("zeroinitializer", f.gep(sums, number, LINE))
        with f.loop(0, w["images"]) as image, f.bands() as (i, many, j, several):
            x = f.gep(f.x, f.offset((image, "x_image"), (group, "x_group")))
            f.fill_band(x, i, many, j, several)
            with f.loop(0, w["made"]) as made:
                start = f.gep(f.other, f.offset((image, "g_image"), (group, "g_group"), (made, "g_made")))
                with f.when(f.op(f"xor i1 {in_place}, true")):
                    f.fill_rows(G_ROWS, start, copy, [i, j], [many, several])
                here = f.gep(start, f.offset((i, "g_step0"), (j, "g_step1")))
                given = f.select(in_place, here, copy, "ptr")
                with f.loop(0, many) as line, f.tap_groups("taps_of") as (tap, function):
                    values = [f.slab(line), row_step, f.gep("%scratch", tap, 8), several, w["count2"]]
                    values += [*f.ahead(x, "x_image", f.add(i, line), j), following]
                    total = f.gep(sums, f.add(f.mul(made, f.count), tap), LINE)
                    f.run(function, taps.TAPS, [*values, f.gep(str(given), f.mul(line, g_slab)), g_row, total])
        results = f.gep(f.out, f.mul(f.mul(group, all_sums), shape.size))
        with f.loop(0, all_sums) as number:
            total = _halved(f, f.load_vector(f.gep(sums, number, LINE)))
            f.store(shape.element, total, f.gep(results, number, shape.size), shape.size)
    module.add(f)


def _halved(f: TileFunction, value: str) -> str:
    """The sum of a vector's lanes: the upper half is added to the lower one until one is left."""
    shape, lanes = f.shape, f.shape.lanes
    while lanes > 1:
        lanes //= 2
        upper = f.shuffle(shape.vector, value, "poison", [lanes + i % lanes for i in range(shape.lanes)])
        value = f.op(f"fadd {shape.vector} {value}, {upper}")
    return f.op(f"extractelement {shape.vector} {value}, i32 0")
