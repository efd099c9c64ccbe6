"""One row times a matrix: memory bound. The chain per element is that of the tiles, whichever way B lies."""

from __future__ import annotations

from duograph.codegen.contraction.pack import transpose
from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# Element k of A is ``a + k * a_k``; ``sums`` is scratch for ``columns`` elements, rounded up to whole vectors, for each chain
# of ``longest`` elements of k: there are two where ``k`` is more, for which the columns have to be few (`PAIRED_BYTES`).
PARAMETERS = (
    ("ptr", "a"),
    ("i64", "a_k"),
    ("ptr", "b"),
    ("i64", "b_k"),
    ("i64", "k"),
    ("ptr", "c"),
    ("i64", "columns"),
    ("i64", "add"),
    ("ptr", "sums"),
    ("i64", "far"),
    ("i64", "longest"),
)
# For `row_columns`; element (k, n) of B is at ``b + k * size + n * b_n``. ``ahead``: if so many columns as a vector has are no
# more bytes than these, the next ones are prefetched.
COLUMNS_PARAMETERS = (*PARAMETERS[:3], ("i64", "b_n"), *PARAMETERS[4:8], ("i64", "ahead"), PARAMETERS[10])
FAR, FEW_STREAMS = 1, 2  # bits of a block's ``far``
LONGEST_STRIP = 4096  # columns: the sums stay in L1
CHAINS_AT_ONCE = 8  # of `row_columns`: pages of each column one after another, while the row stays in L1
# Rows side by side, vectors of columns, and how many rows ahead is prefetched. Several rows of less than a page are one stream
# for the hardware, which it only follows row by row: whole rows, one behind the other, better without being told (on a Zen 4,
# 0.8 instead of 0.7 of what comes from memory at most).
_SIDE_BY_SIDE, _ONE_BY_ONE, _STREAM = (8, 2, 8), (1, 4, 16), (1, 16, 0)
_PAGE = 4096
_GAP = 256  # bytes between rows that are still one stream
# Two chains side by side are two streams, 0.92 to 1.0, while the sums of both leave room in L1.
PAIRED_BYTES = 6144
_PAIRED_VECTORS = 4
# Of a B that the second level cache holds, sums of so many vectors of columns stay in registers for all of k: 1.2 to 1.6
# times as fast from there as whole rows, but as slow as 10 GB/s from memory, of which rows have 16 to 28 (on a Zen 4).
_IN_CACHE_BYTES = 3 << 19
_STRIPS = (16, 4, 1)
# So many streams at once keep memory busy where the hardware follows them, which takes it more bytes than these in all:
# few where caches hold the columns, more where there are too many of them.
_BUSY_STREAMS = 8
_SHORT_BYTES, _SHORT_FROM_MEMORY, _ANY_BYTES = 16 << 10, 64 << 10, 1 << 62
_CACHED_BYTES = 6 << 20
_LINE = 64


def add_row(module: Module, shape: TileShape) -> None:
    """``row``: C[columns] (+)= sum over k, columns of B contiguous: some rows of B stream side by side, or strips of columns."""
    f = TileFunction(module, "row", PARAMETERS, linkage="internal")
    f.shape = shape
    whole = f.and_("%columns", -shape.lanes)
    tail = f.low_mask(shape.lanes, f.sub("%columns", whole))
    ragged = f.icmp("ne", whole, "%columns")
    strips, streams, done = f.label("strips"), f.label("streams"), f.label("done")
    f.cond_br(f.icmp("eq", "%far", 0), strips, streams)
    f.place(strips)
    _add_strips(f, whole, ragged, tail)
    f.br(done)
    f.place(streams)
    row_bytes = f.mul(f.and_(f.add("%columns", shape.lanes - 1), -shape.lanes), shape.size)
    chains, both = ["%sums", f.gep("%sums", row_bytes)], f.icmp("ugt", "%k", "%longest")
    with f.loop(0, row_bytes, shape.vector_bytes) as offset:
        f.store_vector("zeroinitializer", f.gep(chains[0], offset))
    pairs = f.select(both, f.sub("%k", "%longest"), 0)
    with f.when(both):
        with f.loop(0, row_bytes, shape.vector_bytes) as offset:
            f.store_vector("zeroinitializer", f.gep(chains[1], offset))
        with f.loop(0, pairs) as k:
            _accumulate_two(f, k, chains, whole, ragged, tail)
    first = f.umin("%k", "%longest")
    short = f.icmp("ult", "%b_k", _PAGE)
    rows_behind = is_stream(f, "%columns")
    is_streamed = f.op(f"or i1 {both}, {f.op(f'and i1 {short}, {rows_behind}')}")
    streamed = f.select(is_streamed, first, 0)
    aside = f.select(f.op(f"or i1 {is_streamed}, {short}"), streamed, f.and_("%k", -_SIDE_BY_SIDE[0]))
    for low, high, way in ((pairs, streamed, _STREAM), (streamed, aside, _SIDE_BY_SIDE), (aside, first, _ONE_BY_ONE)):
        with f.loop(low, high, way[0]) as k:
            _accumulate(f, k, way, whole, ragged, tail)
    _finish(f, chains[0], "%add", whole, ragged, tail)
    with f.when(both):
        _finish(f, chains[1], 1, whole, ragged, tail)
    f.br(done)
    f.place(done)
    module.add(f)


def is_stream(f: TileFunction, columns: str) -> str:
    """Whether rows of B lie behind one another."""
    return f.icmp("ult", f.sub("%b_k", f.mul(columns, f.shape.size)), _GAP)


def is_far(f: TileFunction) -> str:
    """Whether B comes from memory: it is said to, or is one stream that the second level cache cannot hold."""
    large = f.icmp("ugt", f.mul(f.mul("%k", "%n"), f.shape.size), _IN_CACHE_BYTES)
    stream = f.op(f"and i1 {large}, {is_stream(f, '%n')}")
    return f.op(f"or i1 {stream}, {_has(f, FAR)}")


def columns_ahead(f: TileFunction) -> Value:
    """Up to how many bytes of columns the next ones are prefetched: all where the hardware would not follow them."""
    large = f.icmp("ugt", f.mul(f.mul("%k", "%n"), f.shape.size), _CACHED_BYTES)
    in_memory = f.op(f"or i1 {large}, {_has(f, FAR)}")
    return f.select(_has(f, FEW_STREAMS), _ANY_BYTES, f.select(in_memory, _SHORT_FROM_MEMORY, _SHORT_BYTES))


def _has(f: TileFunction, bit: int) -> str:
    return f.icmp("ne", f.and_("%far", bit), 0)


def _add_strips(f: TileFunction, whole: Value, ragged: str, tail: str) -> None:
    """All of k for some vectors of columns, then for those that come next."""
    shape = f.shape
    reads = f.low_mask(shape.lanes, f.mul("%add", shape.lanes))

    def strip(column: Value, vectors: int, mask: str | None) -> None:
        offset = f.mul(column, shape.size)

        def step(_: str, values: list[str]) -> list[str]:
            a, b, *sums = values
            scale = f.broadcast(a)
            made = [
                f.multiply_add(scale, f.load_vector(f.gep(b, v * shape.vector_bytes), mask), value)
                for v, value in enumerate(sums)
            ]
            return [f.gep(a, "%a_k"), f.gep(b, "%b_k"), *made]

        start: list[tuple[str, Value]] = [("ptr", "%a"), ("ptr", f.gep("%b", offset))]
        sums = f.carried_loop(0, "%k", 1, [*start, *[(shape.vector, "zeroinitializer")] * vectors], step)[2:]
        readable = reads if mask is None else f.op(f"and <{shape.lanes} x i1> {reads}, {mask}")
        for v, value in enumerate(sums):
            place = f.gep(f.gep("%c", offset), v * shape.vector_bytes)
            f.store_vector(_onto(f, f.load_vector(place, readable), value), place, mask)

    start: Value = 0
    for vectors in _STRIPS:
        end = f.and_(whole, -vectors * shape.lanes)
        with f.loop(start, end, vectors * shape.lanes) as column:
            strip(column, vectors, None)
        start = end
    with f.when(ragged):
        strip(whole, 1, tail)


def _accumulate(f: TileFunction, k: str, way: tuple[int, int, int], whole: Value, ragged: str, tail: str) -> None:
    shape, (count, most, ahead) = f.shape, way
    scales, places = [], []
    a, b = f.gep("%a", f.mul(k, "%a_k")), f.gep("%b", f.mul(k, "%b_k"))
    for _ in range(count):
        scales.append(f.broadcast(a))
        places.append(b)
        a, b = f.gep(a, "%a_k"), f.gep(b, "%b_k")

    def move(column: Value, vectors: int, mask: str | None) -> None:
        offset = f.mul(column, shape.size)
        held = f.gep("%sums", offset)
        sums = [f.load_vector(f.gep(held, v * shape.vector_bytes)) for v in range(vectors)]
        for scale, place in zip(scales, places):
            _chain(f, sums, scale, f.gep(place, offset), ahead, mask)
        for v, value in enumerate(sums):
            f.store_vector(value, f.gep(held, v * shape.vector_bytes))

    wide = most * shape.lanes
    blocks = f.and_(whole, -wide)
    with f.loop(0, blocks, wide) as column:
        move(column, most, None)
    with f.loop(blocks, whole, shape.lanes) as column:
        move(column, 1, None)
    with f.when(ragged):
        move(whole, 1, tail)


def _accumulate_two(f: TileFunction, k: str, chains: list[str], whole: Value, ragged: str, tail: str) -> None:
    """The elements k of two chains, to the sums of each."""
    shape = f.shape
    elements = [k, f.add(k, "%longest")]
    scales = [f.broadcast(f.gep("%a", f.mul(element, "%a_k"))) for element in elements]
    places = [f.gep("%b", f.mul(element, "%b_k")) for element in elements]

    def move(column: Value, vectors: int, mask: str | None) -> None:
        offset = f.mul(column, shape.size)
        for sums, scale, place in zip(chains, scales, places):
            for v in range(vectors):
                at = f.add(offset, v * shape.vector_bytes)
                held = f.gep(sums, at)
                f.store_vector(f.multiply_add(scale, f.load_vector(f.gep(place, at), mask), f.load_vector(held)), held)

    wide = _PAIRED_VECTORS * shape.lanes
    blocks = f.and_(whole, -wide)
    with f.loop(0, blocks, wide) as column:
        move(column, _PAIRED_VECTORS, None)
    with f.loop(blocks, whole, shape.lanes) as column:
        move(column, 1, None)
    with f.when(ragged):
        move(whole, 1, tail)


def _chain(f: TileFunction, sums: list[str], scale: str, place: str, ahead: int, mask: str | None) -> None:
    for v in range(len(sums)):
        here = f.gep(place, v * f.shape.vector_bytes)
        if mask is None and ahead:  # the same place in the rows that come next: a page apart, no hardware prefetcher finds it
            f.prefetch(f.gep(here, f.mul("%b_k", ahead)), locality=2)
        sums[v] = f.multiply_add(scale, f.load_vector(here, mask), sums[v])


def _finish(f: TileFunction, sums: str, add: Value, whole: Value, ragged: str, tail: str) -> None:
    """C = sums, or C + sums."""
    shape = f.shape
    reads = f.low_mask(shape.lanes, f.mul(add, shape.lanes))

    def move(column: Value, mask: str | None) -> None:
        offset = f.mul(column, shape.size)
        place = f.gep("%c", offset)
        readable = reads if mask is None else f.op(f"and <{shape.lanes} x i1> {reads}, {mask}")
        held = f.load_vector(place, readable)
        total = _onto(f, held, f.load_vector(f.gep(sums, offset)))
        f.store_vector(total, place, mask)

    with f.loop(0, whole, shape.lanes) as column:
        move(column, None)
    with f.when(ragged):
        move(whole, tail)


def _onto(f: TileFunction, held: str, total: str) -> str:
    """What C holds (zeros if it is not read) plus a sum, in which -0 is +0."""
    vector = f.shape.vector
    return f.op(f"fadd {vector} {held}, {f.op(f'fadd {vector} zeroinitializer, {total}')}")


def add_row_columns(module: Module, shape: TileShape) -> None:
    """``row_columns``: C[columns] (+)= sum over k, k contiguous in B: square blocks are transposed in registers."""
    f = TileFunction(module, "row_columns", COLUMNS_PARAMETERS, linkage="internal")
    f.shape = shape
    lanes = shape.lanes
    reads = f.low_mask(lanes, f.mul("%add", lanes))
    offsets, gathered = f.alloca("i64", 64, lanes), f.alloca(shape.vector, 64)
    last = f.sub("%columns", 1)
    bytes_of_block, length = lanes * lanes * shape.size, f.mul(f.and_("%k", -lanes), shape.size)
    lost = f.icmp("ule", f.mul(length, lanes), "%ahead") if lanes >= _BUSY_STREAMS else "true"
    # Columns behind one another are prefetched as one run, whose lines need not be whole blocks in each.
    beside = f.icmp("ult", f.sub("%b_n", length), _GAP)
    run_step = f.select(beside, f.mul("%b_n", lanes), "%b_n")
    run = f.select(beside, run_step, length)
    with f.loop(0, "%columns", lanes) as column:
        for i in range(lanes):  # columns past the end repeat the last one
            f.store("i64", f.mul(f.umin(f.add(column, i), last), "%b_n"), f.gep(offsets, 8 * i))
        following = f.gep("%b", f.mul(f.add(column, lanes), "%b_n"))
        mask = f.low_mask(lanes, f.umin(f.sub("%columns", column), lanes))
        place = f.gep("%c", f.mul(column, shape.size))
        held = f.load_vector(place, f.op(f"and <{lanes} x i1> {reads}, {mask}"))

        def block(k: str, values: list[str]) -> list[Value]:
            total, a, coming, at = values
            place = f.gep("%b", f.mul(k, shape.size))
            with f.when(lost):  # what comes next, column by column: one stream
                for line in range(0, bytes_of_block, _LINE):
                    f.prefetch(f.gep(f.gep(coming, at), line), locality=2)
            reached = f.add(at, bytes_of_block)
            over = f.icmp("uge", reached, run)
            goes_on = f.select(over, f.gep(coming, run_step), coming, "ptr")
            rows = [f.load_vector(f.gep(place, f.load("i64", f.gep(offsets, 8 * i)))) for i in range(lanes)]
            for value in transpose(f, rows, f.icmp("uge", k, "%k")):
                total = f.multiply_add(f.broadcast(a), value, total)
                a = f.gep(a, "%a_k")
            return [total, a, goes_on, f.select(over, 0, reached)]

        def single(k: str, values: list[str]) -> list[str]:
            place = f.gep("%b", f.mul(k, shape.size))
            with f.loop(0, lanes) as i:
                value = f.load(shape.element, f.gep(place, f.load("i64", f.gep(offsets, i, 8))), shape.size)
                f.store(shape.element, value, f.gep(gathered, i, shape.size), shape.size)
            scale = f.broadcast(values[1])
            return [f.multiply_add(scale, f.load(shape.vector, gathered, 64), values[0]), f.gep(values[1], "%a_k")]

        def chain(first: str, values: list[str]) -> list[str]:
            held, coming, at = values
            end = f.add(first, f.umin(f.sub("%k", first), "%longest"))
            blocks = f.add(first, f.and_(f.sub(end, first), -lanes))
            a = f.gep("%a", f.mul(first, "%a_k"))
            carried: list[tuple[str, Value]] = [(shape.vector, "zeroinitializer"), ("ptr", a), ("ptr", coming), ("i64", at)]
            total, a, coming, at = f.carried_loop(first, blocks, lanes, carried, block)
            total, _ = f.carried_loop(blocks, end, 1, [(shape.vector, total), ("ptr", a)], single)
            return [_onto(f, held, total), coming, at]

        start: list[tuple[str, Value]] = [(shape.vector, held), ("ptr", following), ("i64", 0)]
        f.store_vector(f.carried_loop(0, "%k", "%longest", start, chain)[0], place, mask)
    module.add(f)
