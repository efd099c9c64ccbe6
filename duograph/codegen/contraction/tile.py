"""The micro-kernel: ``C[rows × vectors] (+)= sum over k of A[i, k] * B[k, :]`` with every stride a run-time number.

A is broadcast from memory, so A by rows, A by columns and a copied A are the same code. LLVM's loop strength reduction
must be off (see `target`): it would turn the row addresses into one serial chain of additions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

# Strides are in bytes. ``lanes``: used lanes of the last vector; ``add``: 1 adds to what C holds, 0 overwrites it.
# ``next``: what to prefetch to L2, a cache line for each k: as many lines as there are rows ``next_step`` apart, then
# ``next_back`` on from the last, and so on.
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
    ("ptr", "next"),
    ("i64", "next_step"),
    ("i64", "next_back"),
)
# Row addresses are one pointer for three rows, reached by an index of 0, 1 or 2 row strides.
_GROUP = 3
# Rows of B are prefetched to L2 so many k ahead: in place they may be a page apart, which no hardware prefetcher follows.
_AHEAD = 48
_UNROLLED = 2  # k at once where A lies by rows or by columns and B in panels


class _Layout(NamedTuple):
    """How a loop over several k at once reads A: by so many pointers, which it moves on by ``step``.

    ``factors``: from the pointers and the number of the k to an element of each row, in all lanes.
    """

    pointers: int
    step: Value
    factors: Callable[[list[str], int], list[str]]


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
    """The k loop; returns the sums row by row.

    A load under a mask costs an arithmetic slot on some machines, so whole tiles have a loop without any. The most usual ones,
    over rows or columns of A and a panel of B, have few instructions besides: a core that is shared decodes half as many.
    """
    shape = f.shape
    bases = ["%a"]
    while len(bases) * _GROUP < rows:
        bases.append(f.gep(bases[-1], f.mul("%a_row", _GROUP)))
    two_rows = f.shl("%a_row", 1)
    turn_back = f.sub("%next_back", "%next_step")
    pointers = [*bases, "%b"]

    def step(_: str, values: list[str], mask: str | None) -> list[str]:
        c, following, *rest = values
        groups, b, sums = rest[: len(bases)], rest[len(bases)], rest[len(pointers) :]
        ahead = f.gep(b, f.mul("%b_k", _AHEAD))
        for j in range(0, vectors * shape.vector_bytes, 64):
            # the line of the last byte: of a row that begins inside a line, the panel before fetched the first one
            f.prefetch(f.gep(ahead, j + 63), locality=2)
            if vectors > 1:  # narrow tiles have few multiply-adds to hide it behind
                f.prefetch(f.gep(c, j + 63), write=True)
        if vectors > 1:
            f.prefetch(following, locality=2)
        masks = [*[None] * (vectors - 1), mask]
        columns = [f.load_vector(f.gep(b, j * shape.vector_bytes), masks[j]) for j in range(vectors)]
        added = []
        for i in range(rows):
            scale: Value = (0, "%a_row", two_rows)[i % _GROUP]
            a = f.broadcast(f.gep(groups[i // _GROUP], scale))
            added += [f.multiply_add(a, columns[j], sums[i * vectors + j]) for j in range(vectors)]
        moved = [*(f.gep(p, "%a_k") for p in groups), f.gep(b, "%b_k")]
        return [f.gep(c, "%c_row"), f.gep(following, "%next_step"), *moved, *added]

    def unrolled_step(values: list[str], lies: _Layout) -> list[str]:
        """The same for some k; B comes by itself, and one line of each row of C is prefetched."""
        c, following, *rest = values
        groups, b, sums = rest[: lies.pointers], rest[lies.pointers], rest[lies.pointers + 1 :]
        for u in range(_UNROLLED):
            f.prefetch(f.gep(c, f.mul("%c_row", u)), write=True)
            f.prefetch(f.gep(following, f.mul("%next_step", u)), locality=2)
        for u in range(_UNROLLED):
            columns = [f.load_vector(f.gep(b, (u * vectors + j) * shape.vector_bytes)) for j in range(vectors)]
            added = []
            for i, a in enumerate(lies.factors(groups, u)):
                added += [f.multiply_add(a, columns[j], sums[i * vectors + j]) for j in range(vectors)]
            sums = added
        moved = [*(f.gep(p, lies.step) for p in groups), f.gep(b, _UNROLLED * vectors * shape.vector_bytes)]
        return [f.gep(c, f.mul("%c_row", _UNROLLED)), f.gep(following, f.mul("%next_step", _UNROLLED)), *moved, *sums]

    def of_rows(groups: list[str], u: int) -> list[str]:
        scales: list[Value] = [0, "%a_row", two_rows]
        return [f.broadcast(f.gep(f.gep(groups[i // _GROUP], scales[i % _GROUP]), u * shape.size)) for i in range(rows)]

    def of_columns(groups: list[str], u: int) -> list[str]:
        column = f.gep(groups[0], f.mul("%a_k", u))
        return [f.broadcast(f.gep(column, i * shape.size)) for i in range(rows)]

    types = [*["ptr"] * (1 + len(pointers)), *[shape.vector] * (rows * vectors)]

    def loop(first: Value, end: Value, start: Sequence[Value], mask: str | None) -> list[str]:
        def walk(k0: str, values: list[str]) -> list[str]:
            """As many k as there are rows: once through the rows of C, and one line of each row that comes next."""
            carried: list[tuple[str, Value]] = [("ptr", "%c"), *zip(types, values)]
            most = f.umin(f.sub(end, k0), rows)
            _, following, *rest = f.carried_loop(0, most, 1, carried, lambda i, values: step(i, values, mask))
            return [f.gep(following, turn_back), *rest]

        return [str(value) for value in f.carried_loop(first, end, rows, list(zip(types, start)), walk)]

    def unrolled(end: Value, start: Sequence[Value], lies: _Layout) -> list[Value]:
        """From k 0 on; each round prefetches a line of each row of C, by turns the first and the last."""
        kinds = [*["ptr"] * (2 + lies.pointers), *[shape.vector] * (rows * vectors)]
        span = -(-rows // _UNROLLED) * _UNROLLED
        beyond = f.sub("%next_back", f.mul("%next_step", 1 + span - rows))

        def walk(k0: str, values: list[str]) -> list[str]:
            line, other, *rest = values
            most = f.umin(f.sub(end, k0), span)
            carried: list[tuple[str, Value]] = [("ptr", line), *zip(kinds, rest)]
            _, following, *rest = f.carried_loop(0, most, _UNROLLED, carried, lambda _, values: unrolled_step(values, lies))
            return [other, line, f.gep(following, beyond), *rest]

        last = f.gep("%c", vectors * shape.vector_bytes - 1)
        lines: list[tuple[str, Value]] = [("ptr", "%c"), ("ptr", last)]
        following, *groups = start[: 1 + len(bases)]
        carried = [following, *groups[: lies.pointers], *start[1 + len(bases) :]]
        following, *moved = f.carried_loop(0, end, span, [*lines, *zip(kinds, carried)], walk)[2:]
        others = [f.gep(str(group), f.mul(end, "%a_k")) for group in groups[lies.pointers :]]
        return [following, *moved[: lies.pointers], *others, *moved[lies.pointers :]]

    values: Sequence[Value] = ["%next", *pointers, *["zeroinitializer"] * (rows * vectors)]
    unmasked: Value = 0
    done: Value = 0
    if not shape.masks:
        mask, unmasked = "", "%k"
    elif vectors == shape.vectors:
        unmasked = f.select(f.icmp("eq", "%lanes", shape.lanes), "%k", 0)
    if vectors == shape.vectors:
        panel = f.icmp("eq", "%b_k", vectors * shape.vector_bytes)
        by_rows, by_columns = f.icmp("eq", "%a_k", shape.size), f.icmp("eq", "%a_row", shape.size)
        by_columns = f.op(f"and i1 {by_columns}, {f.op(f'xor i1 {by_rows}, true')}")
        ends = [f.and_(f.select(f.op(f"and i1 {panel}, {lies}"), unmasked, 0), -_UNROLLED) for lies in (by_rows, by_columns)]
        layouts = _Layout(len(bases), _UNROLLED * shape.size, of_rows), _Layout(1, f.mul("%a_k", _UNROLLED), of_columns)
        for end, lies in zip(ends, layouts):
            values = unrolled(end, values, lies)
        done = f.add(*ends)
    if unmasked != 0:
        values = loop(done, unmasked, values, None)
    if mask:
        values = loop(unmasked, "%k", values, mask)
    return [str(value) for value in values[1 + len(pointers) :]]


def _store(f: TileFunction, rows: int, vectors: int, mask: str, sums: list[str]) -> None:
    """Store or add; C is not read where it is only written."""
    shape = f.shape
    c_rows = ["%c"]
    for _ in range(1, rows):
        c_rows.append(f.gep(c_rows[-1], "%c_row"))
    places = [(f.gep(c_rows[i], j * shape.vector_bytes), j == vectors - 1) for i in range(rows) for j in range(vectors)]
    sums = [f.op(f"fadd {shape.vector} zeroinitializer, {value}") for value in sums]  # -0 is +0, as after a store
    adding, plain, done = f.label("add"), f.label("plain"), f.label("done")
    f.cond_br(f.icmp("ne", "%add", 0), adding, plain)
    for label in (adding, plain):
        f.place(label)
        for (place, last), value in zip(places, sums):
            if label == adding:
                value = f.op(f"fadd {shape.vector} {f.load_vector(place, mask if last else None)}, {value}")
            f.store_vector(value, place, mask if last else None)
        f.br(done)
    f.place(done)
