"""One row times a matrix whose columns are contiguous: memory bound, so rows of B stream side by side."""

from __future__ import annotations

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# Row k of A is ``a + k * a_k``; ``sums`` is scratch for ``columns`` elements, rounded up to whole vectors.
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
)
LONGEST_STRIP = 4096  # columns: the sums stay in L1
_ROWS = 8
_VECTORS = 4
_AHEAD = 512


def add_row(module: Module, shape: TileShape) -> None:
    """``row``: C[columns] (+)= sum over k, the same chain per element as the tiles."""
    f = TileFunction(module, "row", PARAMETERS, linkage="internal")
    f.shape = shape
    whole = f.and_("%columns", -shape.lanes)
    tail = f.low_mask(shape.lanes, f.sub("%columns", whole))
    ragged = f.icmp("ne", whole, "%columns")
    with f.loop(0, "%columns", shape.lanes) as column:
        f.store_vector("zeroinitializer", f.gep("%sums", f.mul(column, shape.size)))
    rows = f.and_("%k", -_ROWS)
    for low, high, count in ((0, rows, _ROWS), (rows, "%k", 1)):
        with f.loop(low, high, count) as k:
            _accumulate(f, k, count, whole, ragged, tail)
    _finish(f, whole, ragged, tail)
    module.add(f)


def _accumulate(f: TileFunction, k: str, count: int, whole: Value, ragged: str, tail: str) -> None:
    shape = f.shape
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
            _chain(f, sums, scale, f.gep(place, offset), mask)
        for v, value in enumerate(sums):
            f.store_vector(value, f.gep(held, v * shape.vector_bytes))

    wide = _VECTORS * shape.lanes
    blocks = f.and_(whole, -wide)
    with f.loop(0, blocks, wide) as column:
        move(column, _VECTORS, None)
    with f.loop(blocks, whole, shape.lanes) as column:
        move(column, 1, None)
    with f.when(ragged):
        move(whole, 1, tail)


def _chain(f: TileFunction, sums: list[str], scale: str, place: str, mask: str | None) -> None:
    for v in range(len(sums)):
        here = f.gep(place, v * f.shape.vector_bytes)
        if mask is None:
            f.prefetch(f.gep(here, _AHEAD))
        sums[v] = f.multiply_add(scale, f.load_vector(here, mask), sums[v])


def _finish(f: TileFunction, whole: Value, ragged: str, tail: str) -> None:
    """C = sums, or C + sums."""
    shape = f.shape
    reads = f.low_mask(shape.lanes, f.mul("%add", shape.lanes))

    def move(column: Value, mask: str | None) -> None:
        offset = f.mul(column, shape.size)
        place = f.gep("%c", offset)
        readable = reads if mask is None else f.op(f"and <{shape.lanes} x i1> {reads}, {mask}")
        held = f.load_vector(place, readable)
        total = f.op(f"fadd {shape.vector} {held}, {f.load_vector(f.gep('%sums', offset))}")
        f.store_vector(total, place, mask)

    with f.loop(0, whole, shape.lanes) as column:
        move(column, None)
    with f.when(ragged):
        move(whole, tail)
