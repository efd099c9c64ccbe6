"""The inner loops: a few taps at once over the rows of a band. How many there are is known; where they lie is a table."""

from __future__ import annotations

from collections.abc import Callable

from duograph.codegen.contraction.shape import TileFunction, TileShape
from duograph.codegen.llvm import Module, Value

MOST = 9  # taps at once: with their weights, or their sums, they fit into 16 registers
# Strides in bytes. ``add``: unless 0, adds to what the result holds. ``ahead``, ``ahead_row``: where the rows of x lie that
# come after this plane, ``next``: how far behind what is written (or given) its next plane is; both are prefetched.
_READ = (
    *(("ptr", "source"), ("i64", "source_row"), ("ptr", "offsets"), ("i64", "rows"), ("i64", "width")),
    *(("ptr", "ahead"), ("i64", "ahead_row"), ("i64", "next")),
)
SUMS = (*_READ, ("ptr", "weights"), ("ptr", "out"), ("i64", "out_row"), ("i64", "add"))
TAPS = (*_READ, ("ptr", "given"), ("i64", "given_row"), ("ptr", "sums"))


def add_taps(module: Module, shape: TileShape) -> None:
    """Tables ``sums`` and ``taps`` of functions by the number of taps."""
    for name, emit in (("sums", _sums), ("taps", _taps)):
        for count in range(MOST + 1):
            emit(module, shape, f"{name}_{count}", count)
        module.table(f"{name}_of", "ptr", [f"@{name}_{count}" for count in range(MOST + 1)], align=8)


def _function(module: Module, shape: TileShape, name: str, parameters: tuple[tuple[str, str], ...]) -> TileFunction:
    f = TileFunction(module, name, parameters, linkage="internal")
    f.shape = shape
    return f


def _places(f: TileFunction, count: int) -> list[str]:
    """Where the first row begins for each tap."""
    return [f.gep("%source", f.load("i64", f.gep("%offsets", 8 * i))) for i in range(count)]


def _sums(module: Module, shape: TileShape, name: str, count: int) -> None:
    """Each result is one chain of multiply-adds over the taps.

    What is only written is not read, not even under an empty mask: the load would wait for the stores of the row before.
    """
    f = _function(module, shape, name, SUMS)
    taps = _places(f, count)
    weights = [f.broadcast(f.gep("%weights", i * shape.size)) for i in range(count)]
    whole = f.and_("%width", -shape.lanes)
    rest = f.low_mask(shape.lanes, f.sub("%width", whole))
    adding, plain, done = f.label("add"), f.label("plain"), f.label("done")
    f.cond_br(f.icmp("ne", "%add", 0), adding, plain)
    for label in (adding, plain):
        f.place(label)
        with f.loop(0, "%rows") as row:
            here = [f.gep(tap, f.mul(row, "%source_row")) for tap in taps]
            out, ahead = f.gep("%out", f.mul(row, "%out_row")), f.gep("%ahead", f.mul(row, "%ahead_row"))
            following = f.gep(out, "%next")

            def make(
                column: Value,
                mask: str | None,
                here: list[str] = here,
                out: str = out,
                label: str = label,
                ahead: str = ahead,
                following: str = following,
            ) -> None:
                at = f.mul(column, shape.size)
                f.prefetch(f.gep(ahead, at), locality=2)
                f.prefetch(f.gep(following, at), write=True)
                total = f.load_vector(f.gep(out, at), mask) if label == adding else "zeroinitializer"
                for weight, place in zip(weights, here):
                    total = f.multiply_add(weight, f.load_vector(f.gep(place, at)), total)
                f.store_vector(total, f.gep(out, at), mask)

            with f.loop(0, whole, shape.lanes) as column:
                make(column, None)
            with f.when(f.icmp("ne", whole, "%width")):
                make(whole, rest)
        f.br(done)
    f.place(done)
    module.add(f)


def _taps(module: Module, shape: TileShape, name: str, count: int) -> None:
    """Each tap has a sum for each lane, to which every row adds."""
    f = _function(module, shape, name, TAPS)
    taps = _places(f, count)
    whole = f.and_("%width", -shape.lanes)
    rest = f.low_mask(shape.lanes, f.sub("%width", whole))
    places = [f.gep("%sums", i * shape.vector_bytes) for i in range(count)]
    start: list[tuple[str, Value]] = [(shape.vector, f.load_vector(place)) for place in places]

    def over_row(row: str, sums: list[str]) -> list[str]:
        here = [f.gep(tap, f.mul(row, "%source_row")) for tap in taps]
        given, ahead = f.gep("%given", f.mul(row, "%given_row")), f.gep("%ahead", f.mul(row, "%ahead_row"))
        following = f.gep(given, "%next")

        def step(mask: str | None) -> Callable[[str, list[str]], list[str]]:
            def more(column: str, sums: list[str]) -> list[str]:
                at = f.mul(column, shape.size)
                f.prefetch(f.gep(ahead, at), locality=2)
                f.prefetch(f.gep(following, at), locality=2)
                factor = f.load_vector(f.gep(given, at), mask)
                read = [f.load_vector(f.gep(place, at), mask) for place in here]
                return [f.multiply_add(value, factor, total) for value, total in zip(read, sums)]

            return more

        types = [shape.vector] * count
        sums = f.carried_loop(0, whole, shape.lanes, list(zip(types, sums)), step(None))
        return f.carried_loop(whole, "%width", shape.lanes, list(zip(types, sums)), step(rest))

    for value, place in zip(f.carried_loop(0, "%rows", 1, start, over_row), places):
        f.store_vector(value, place)
    module.add(f)
