"""The micro-kernel: ``C[rows × vectors] (+)= sum over k of A[i, k] * B[k, :]`` with every stride a run-time number.

A is broadcast from memory, so A by rows, A by columns and a copied A are the same code. LLVM's loop strength reduction
must be off (see `target`): it would turn the row addresses into one serial chain of additions.
"""

from __future__ import annotations

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# Strides are in bytes. ``lanes``: used lanes of the last vector; ``add``: 1 adds to what C holds, 0 overwrites it.
PARAMETERS = (
    ("ptr", "a"),
    ("i64", "a_row"),
    ("i64", "a_k"),
    ("ptr", "b"),
    ("i64", "b_k"),
    ("i64", "k"),
    ("ptr", "c"),
    ("i64", "c_row"),
    ("i64", "lanes"),
    ("i64", "add"),
)
# Row addresses are one pointer for three rows, reached by an index of 0, 1 or 2 row strides.
_GROUP = 3
# C is prefetched for writing before the loop, and again this many k before its end: by then B has swept it out of L1.
_TAIL = 64
# Rows of B are prefetched to L2 so many k ahead: in place they may be a page apart, which no hardware prefetcher follows.
_AHEAD = 48


def tile_name(rows: int, vectors: int) -> str:
    return f"tile_{rows}x{vectors}"


def add_tile(module: Module, shape: TileShape, rows: int, vectors: int) -> None:
    """Emit the tile of ``rows`` × ``vectors`` vectors."""
    f = TileFunction(module, tile_name(rows, vectors), PARAMETERS, linkage="internal")
    f.shape = shape
    mask = f.low_mask(shape.lanes, "%lanes")
    sums = _multiply(f, rows, vectors, mask)
    _store(f, rows, vectors, mask, sums)
    module.add(f)


def _multiply(f: TileFunction, rows: int, vectors: int, mask: str) -> list[str]:
    """The k loop, run in two parts so that C can be prefetched before each; returns the sums row by row."""
    shape = f.shape
    bases = ["%a"]
    while len(bases) * _GROUP < rows:
        bases.append(f.gep(bases[-1], f.mul("%a_row", _GROUP)))
    two_rows = f.shl("%a_row", 1)
    first = f.select(f.icmp("ugt", "%k", 2 * _TAIL), f.sub("%k", _TAIL), "%k")
    carried = [("ptr", base) for base in bases] + [("ptr", "%b")] + [(shape.vector, "zeroinitializer")] * (rows * vectors)

    entry, part, after = f.block, f.label("part"), f.label("after")
    f.br(part)
    f.place(part)
    count, left = f.name_value(), f.name_value()
    names = [f.name_value() for _ in carried]
    lines = [f.reserve() for _ in range(len(carried) + 2)]
    _prefetch(f, rows, vectors)

    def step(_: str, values: list[str]) -> list[str]:
        pointers, b, sums = values[: len(bases)], values[len(bases)], values[len(bases) + 1 :]
        ahead = f.gep(b, f.mul("%b_k", _AHEAD))
        for j in range(0, vectors * shape.vector_bytes, 64):
            f.prefetch(f.gep(ahead, j), locality=2)
        columns = [f.load_vector(f.gep(b, j * shape.vector_bytes), _mask_of(f, j, vectors, mask)) for j in range(vectors)]
        following = []
        for i in range(rows):
            scale: Value = (0, "%a_row", two_rows)[i % _GROUP]
            a = f.broadcast(f.gep(pointers[i // _GROUP], scale))
            following += [f.multiply_add(a, columns[j], sums[i * vectors + j]) for j in range(vectors)]
        return [*(f.gep(p, "%a_k") for p in pointers), f.gep(b, "%b_k"), *following]

    final = [str(value) for value in f.hot_loop(0, count, 1, [(t, n) for (t, _), n in zip(carried, names)], step)]
    rest = f.sub(left, count)
    f.fill(lines[0], f"{count} = phi i64 [{first}, %{entry}], [{rest}, %{f.block}]")
    f.fill(lines[1], f"{left} = phi i64 [%k, %{entry}], [{rest}, %{f.block}]")
    for line, name, (type, initial), value in zip(lines[2:], names, carried, final):
        f.fill(line, f"{name} = phi {type} [{initial}, %{entry}], [{value}, %{f.block}]")
    f.cond_br(f.icmp("ne", rest, 0), part, after)
    f.place(after)
    return final[len(bases) + 1 :]


def _mask_of(f: TileFunction, j: int, vectors: int, mask: str) -> str | None:
    # Without mask registers B always comes zero padded.
    return mask if f.shape.masks and j == vectors - 1 else None


def _prefetch(f: TileFunction, rows: int, vectors: int) -> None:
    def row(_: str, values: list[str]) -> list[str]:
        for j in range(0, vectors * f.shape.vector_bytes, 64):
            f.prefetch(f.gep(values[0], j), write=True)
        return [f.gep(values[0], "%c_row")]

    f.hot_loop(0, rows, 1, [("ptr", "%c")], row)


def _store(f: TileFunction, rows: int, vectors: int, mask: str, sums: list[str]) -> None:
    """Store or add: with mask registers one path, whose loads are masked off when C is not to be read."""
    shape = f.shape
    c_rows = ["%c"]
    for _ in range(1, rows):
        c_rows.append(f.gep(c_rows[-1], "%c_row"))
    places = [(f.gep(c_rows[i], j * shape.vector_bytes), j == vectors - 1) for i in range(rows) for j in range(vectors)]
    if shape.masks:
        reads = f.low_mask(shape.lanes, f.mul("%add", shape.lanes))
        partly = f.op(f"and <{shape.lanes} x i1> {reads}, {mask}")
        for (place, last), value in zip(places, sums):
            held = f.load_vector(place, partly if last else reads)
            f.store_vector(f.op(f"fadd {shape.vector} {held}, {value}"), place, mask if last else None)
        return
    adding, plain, done = f.label("add"), f.label("plain"), f.label("done")
    f.cond_br(f.icmp("ne", "%add", 0), adding, plain)
    for label in (adding, plain):
        f.place(label)
        for (place, last), value in zip(places, sums):
            # the sum begins at +0, as where C is read under an empty mask
            held = f.load_vector(place, mask if last else None) if label == adding else "zeroinitializer"
            f.store_vector(f.op(f"fadd {shape.vector} {held}, {value}"), place, mask if last else None)
        f.br(done)
    f.place(done)
