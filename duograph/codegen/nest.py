"""Loop nests around bodies: the chunk range cut into outer indices, and vector loops with their tails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duograph.codegen.body import Body, Scope
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import SUM_LANES
from duograph.codegen.llvm import Value
from duograph.codegen.vector import Vec

LANES = SUM_LANES
Carried = Sequence[Vec]


def for_chunks(frame: Frame, extents: Sequence[Value], emit: Callable[[list[Value]], None]) -> None:
    """``emit(indices)`` for each chunk of [begin, end), numbered in row-major order of ``extents``."""
    f = frame.function
    if not extents:
        with f.loop("%begin", "%end"):
            emit([])
        return
    if len(extents) == 1:
        with f.loop("%begin", "%end") as chunk:
            emit([chunk])
        return
    start: Value = "%begin"
    slots: list[str] = []
    for position in reversed(range(len(extents))):
        extent = f.umax(extents[position], 1)  # an empty space has no chunks, but must not trap here
        last = position == 0
        slots.insert(0, f.variable("i64", start if last else f.urem(start, extent)))
        start = start if last else f.udiv(start, extent)
    with f.loop("%begin", "%end"):
        emit([f.load("i64", slot) for slot in slots])
        _advance(frame, slots, extents)


def _advance(frame: Frame, slots: Sequence[str], extents: Sequence[Value]) -> None:
    """Step a row-major odometer."""
    f = frame.function
    done = f.label("advanced")
    for position in reversed(range(len(extents))):
        following = f.add(f.load("i64", slots[position]), 1)
        if position == 0:
            f.store("i64", following, slots[position])
            f.br(done)
            break
        carry, stay = f.label("carry"), f.label("stay")
        f.cond_br(f.icmp("uge", following, extents[position]), carry, stay)
        f.place(stay)
        f.store("i64", following, slots[position])
        f.br(done)
        f.place(carry)
        f.store("i64", 0, slots[position])
    f.place(done)


def indices_at(body: Body, dims: Sequence[int], position: Value) -> list[str]:
    """Slots that hold the indices along ``dims`` of a position in row-major order."""
    f = body.frame.function
    slots: list[str] = []
    for d in reversed(dims):
        extent = f.umax(body.extent(d), 1)
        slots.insert(0, f.alloca("i64"))
        f.store("i64", f.urem(position, extent), slots[0])
        position = f.udiv(position, extent)
    return slots


def step_indices(body: Body, dims: Sequence[int], slots: Sequence[str]) -> None:
    """To the next position, after the last to the first; without a branch."""
    f = body.frame.function
    carry: Value = 1
    for slot, d in reversed(list(zip(slots, dims))):
        following = f.add(f.load("i64", slot), carry)
        wrapped = f.icmp("uge", following, body.extent(d))
        f.store("i64", f.select(wrapped, 0, following), slot)
        carry = f.op(f"zext i1 {wrapped} to i64")


def vector_loop(
    body: Body,
    row: Scope,
    dim: int,
    low: Value,
    high: Value,
    *,
    unroll: int,
    masked: bool,
    step: Callable[[Sequence[Scope], Carried], Carried],
    carried: Carried = (),
    scalar_tail: Callable[[Scope, Value], None] | None = None,
) -> list[Vec]:
    """Run ``step`` along ``dim`` over [low, high) in vectors of 16 lanes; returns the carried vectors.

    ``step(scopes, carried)`` emits the body in the scopes of consecutive vectors and returns the carried values after
    them. The tail is masked if ``masked``; otherwise ``scalar_tail(scope, position)`` (or step without carried
    values) runs element by element, position counting from the first tail element.
    """
    f, frame = body.frame.function, body.frame
    v = frame.vectors(LANES)

    def types(values: Carried) -> list[tuple[str, Value]]:
        return [(value.type, value.ref) for value in values]

    def named(names: Sequence[Value], values: Carried) -> list[Vec]:
        return [Vec(str(name), value.element, value.lanes) for name, value in zip(names, values)]

    width = LANES * unroll
    span = f.sub(high, low)
    full = f.add(low, f.and_(span, -width))

    def main(i: str, names: list[str]) -> list[Value]:
        scopes = [row.inner(v, dim, i, None, LANES * u) for u in range(unroll)]
        return [value.ref for value in step(scopes, named(names, carried))]

    values = named(f.carried_loop(low, full, width, types(carried), main), carried)
    if masked:

        def tail(i: str, names: list[str]) -> list[Value]:
            left = f.umin(f.sub(high, i), LANES)
            mask = Vec(f.low_mask(LANES, left), "i1", LANES)
            return [value.ref for value in step([row.inner(v, dim, i, mask)], named(names, values))]

        return named(f.carried_loop(full, high, LANES, types(values), tail), values)
    one = frame.vectors(1)
    with f.loop(full, high) as i:
        scope = row.inner(one, dim, i, None)
        if scalar_tail is not None:
            scalar_tail(scope, f.sub(i, full))
        else:
            step([scope], ())
    return values
