"""Runs cut where comparisons of positions flip: in between they are one bool for all lanes, and no mask is computed.

Padding, triangles, diagonals and concatenations are kernels that ask of each element where it lies. Along a run the answer
changes at a few places, which are known before: from one to the next the body runs with the answers of its first element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duograph.codegen.analysis import Facts, address_of, total_cost
from duograph.codegen.body import Body, Scope
from duograph.codegen.kernel import Address
from duograph.codegen.llvm import Value
from duograph.codegen.nest import LANES, Carried, vector_loop
from duograph.codegen.vector import Vec

_LIMIT = 40  # the body's cost from which on masks hardly count
_SHORT = 64  # shorter runs are not cut
_SMALL = 1 << 40  # constants below it add to positions without wrapping around
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

Step = Callable[[Sequence[Scope], Carried], Carried]


def comparisons(facts: Facts, dim: int) -> list[int]:
    """The comparisons of a position along ``dim`` with something that does not vary along it."""
    found = []
    for number, instr in enumerate(facts.body):
        if instr.op in _COMPARISONS and dim in facts.deps[number] and facts.operand_dtype(number) == "int64":
            a, b = (_coefficient(facts, i, dim) for i in instr.inputs)
            if a is not None and b is not None and not (a and b):
                found.append(number)
    return found


def has_flips(facts: Facts, dim: int) -> bool:
    """Whether a run along ``dim`` is worth cutting."""
    masks = any(address is not None and _along(address, dim) for address in map(address_of, facts.body))
    return total_cost(facts, dim) <= _LIMIT and (masks or bool(comparisons(facts, dim)))


def emit_pieces(body: Body, row: Scope, dim: int, low: Value, high: Value, *, unroll: int, masked: bool, step: Step) -> None:
    """``step`` along ``dim`` over [low, high): whole vectors between two flips together, one by one where a flip is near."""
    f = body.frame.function
    numbers = comparisons(body.facts, dim)
    if masked:
        with f.when(f.icmp("ult", f.sub(high, low), _SHORT)):
            _emit_short(body, row, dim, low, high, numbers, step)
        low = f.select(f.icmp("ult", f.sub(high, low), _SHORT), high, low)
    padded = {id(address): address for address in map(address_of, body.facts.body) if address and _along(address, dim)}
    if masked and not numbers and len(padded) == 1:
        (address,) = padded.values()
        _emit_padded(body, row, dim, low, high, address, step)
        return
    flips = [place for number in numbers for place in _flips(body, row, dim, number)] + _mask_flips(body, dim)
    with f.pieces(low, high) as (start, slot):
        end: Value = high
        for place in flips:
            end = f.umin(end, f.select(f.icmp("sgt", place, start), place, high))
        whole = f.add(start, f.and_(f.sub(end, start), -LANES))
        piece = _settled(body, row, dim, start, numbers, LANES if masked else 1)
        vector_loop(body, piece, dim, start, whole, unroll=unroll, masked=masked, step=step)  # nothing is left over
        after = f.umin(f.add(whole, LANES), high)
        vector_loop(body, row, dim, whole, after, unroll=1, masked=masked, step=step)
        f.store("i64", after, slot)


def _emit_padded(body: Body, row: Scope, dim: int, low: Value, high: Value, address: Address, step: Step) -> None:
    """A run of which one stretch is inside: its whole vectors without masks, or as zeros where the row is outside; then the
    vectors at both ends."""
    f, v = body.frame.function, body.frame.vectors(LANES)
    first, end = low, high
    for d, *bounds in address.mask:
        if d == dim:
            begins, ends = (body.frame.fixed((id(address), d, side), x) for side, x in zip(("low", "high"), bounds))
            first, end = f.smax(first, begins), f.smin(end, ends)
    begin = f.umin(f.add(low, f.and_(f.add(f.sub(first, low), LANES - 1), -LANES)), high)
    behind = f.add(begin, f.and_(f.smax(f.sub(end, begin), 0), -LANES))

    def middle(valid: Vec | None) -> None:
        piece = Scope(row.v, row.index, outer=row, valid={id(address): valid})
        vector_loop(body, piece, dim, begin, behind, unroll=1, masked=True, step=step)

    holds = _holds_beside(body, row, dim, address)
    if holds == -1:
        middle(None)
    else:
        inside, outside, done = f.label("inside"), f.label("outside"), f.label("ends")
        f.cond_br(f.icmp("ne", holds, 0), inside, outside)
        for label, valid in ((inside, None), (outside, v.const("i1", False))):
            f.place(label)
            middle(valid)
            f.br(done)
        f.place(done)
    with f.pieces(f.select(f.icmp("eq", begin, low), behind, low), high) as (at, slot):
        exist = Vec(f.low_mask(LANES, f.umin(f.sub(high, at), LANES)), "i1", LANES)
        step([row.inner(v, dim, at, exist)], ())
        following = f.add(at, LANES)
        f.store("i64", f.select(f.icmp("eq", following, begin), behind, following), slot)


def _along(address: Address, dim: int) -> bool:
    return any(d == dim for d, _, _ in address.mask)


def _emit_short(body: Body, row: Scope, dim: int, low: Value, high: Value, numbers: Sequence[int], step: Step) -> None:
    """A run of fewer than 64: the masks of its vectors, and what comparisons give there, are parts of one word each."""
    f, v = body.frame.function, body.frame.vectors(LANES)
    exist = f.sub(f.shl(1, f.sub(high, low)), 1)
    inside = {}
    for address in map(address_of, body.facts.body):
        if address is not None and _along(address, dim):
            inside[id(address)] = _bits_inside(body, row, dim, low, address)
    true = {number: _bits_true(body, row, dim, low, number) for number in numbers}

    def vector(word: Value, i: Value) -> Vec:
        part = f.op(f"trunc i64 {f.lshr(word, i)} to i{LANES}")
        return Vec(f.op(f"bitcast i{LANES} {part} to <{LANES} x i1>"), "i1", LANES)

    with f.loop(0, f.sub(high, low), LANES) as i:
        scope = row.inner(v, dim, f.add(low, i), vector(exist, i))
        scope.valid = {place: vector(bits, i) for place, bits in inside.items()}
        scope.values = {number: vector(bits, i) for number, bits in true.items()}
        step([scope], ())


def _bits_inside(body: Body, row: Scope, dim: int, low: Value, address: Address) -> Value:
    """A bit for each position from ``low`` on: whether the address's mask has it."""
    f, bits = body.frame.function, None
    for d, first, end in address.mask:
        if d == dim:
            bounds = [body.frame.fixed((id(address), d, side), x) for side, x in (("low", first), ("high", end))]
            places = [f.smin(f.smax(f.sub(bound, low), 0), _SHORT - 1) for bound in bounds]
            bits = f.sub(f.shl(1, f.umax(*places)), f.shl(1, places[0]))
    assert bits is not None
    return f.and_(bits, _holds_beside(body, row, dim, address))


def _bits_true(body: Body, row: Scope, dim: int, low: Value, number: int) -> Value:
    """A bit for each position from ``low`` on: what a comparison gives there."""
    f = body.frame.function
    flips = _flips(body, row, dim, number)
    ends = [f.shl(1, f.smin(f.smax(f.sub(flip, low), 0), _SHORT - 1)) for flip in flips]
    bits: Value = 0
    for place, part in zip((low, *flips), (f.sub(ends[0], 1), f.sub(ends[1], ends[0]), f.sub(0, ends[1]))):
        here = Scope(row.v, {**row.index, dim: place}, outer=row)
        _emit_with_inputs(body, here, dim, number)
        holds = f.op(f"sext i1 {row.v.extract(here.values[number])} to i64")
        bits = f.or_(bits, f.and_(holds, part))
    return bits


def _holds_beside(body: Body, row: Scope, dim: int, address: Address) -> Value:
    """-1 where the address's mask has the positions along all other dims, else 0."""
    f = body.frame.function
    holds: Value = -1
    for d, first, end in address.mask:
        if d != dim:
            bounds = [body.frame.fixed((id(address), d, side), x) for side, x in (("low", first), ("high", end))]
            position = row.index.get(d, 0)
            one = f.op(f"and i1 {f.icmp('sge', position, bounds[0])}, {f.icmp('slt', position, bounds[1])}")
            holds = f.and_(holds, f.op(f"sext i1 {one} to i64"))
    return holds


def _coefficient(facts: Facts, number: int, dim: int) -> int | None:
    """By how much a value grows along ``dim``: 0, 1 or -1; None if nothing is known, or if it might wrap around."""
    instr = facts.body[number]
    if dim not in facts.deps[number]:
        return 0
    if instr.op == "index":
        return 1
    if instr.op not in ("add", "sub") or not all(_small(facts, i) for i in instr.inputs):
        return None
    a, b = (_coefficient(facts, i, dim) for i in instr.inputs)
    if a is None or b is None or (a and b):
        return None
    return a + b if instr.op == "add" else a - b


def _small(facts: Facts, number: int) -> bool:
    """A sum of positions, sizes and small constants."""
    instr = facts.body[number]
    if instr.op in ("index", "size"):
        return True
    if instr.op == "const":
        return isinstance(instr.attr, int) and abs(instr.attr) < _SMALL
    return instr.op in ("add", "sub") and all(_small(facts, i) for i in instr.inputs)


def _flips(body: Body, row: Scope, dim: int, number: int) -> list[Value]:
    """The places along ``dim`` at which a comparison may begin to have another result."""
    f, instr = body.frame.function, body.facts.body[number]
    start = Scope(row.v, {**row.index, dim: 0}, outer=row)
    _emit_with_inputs(body, start, dim, number)
    a, b = (row.v.extract(start.value(i)) for i in instr.inputs)
    first, second = instr.inputs
    moving, fixed = (a, b) if dim in body.facts.deps[first] else (b, a)
    if _coefficient(body.facts, first, dim) == -1 or _coefficient(body.facts, second, dim) == -1:
        moving, fixed = fixed, moving
    place = f.intrinsic("llvm.ssub.sat.i64", "i64", [("i64", fixed), ("i64", moving)])
    return [place, f.intrinsic("llvm.sadd.sat.i64", "i64", [("i64", place), ("i64", 1)])]


def _mask_flips(body: Body, dim: int) -> list[Value]:
    found: list[Value] = []
    for instr in body.facts.body:
        address = address_of(instr)
        for d, low, high in address.mask if address else ():
            if d == dim:
                found += [body.frame.fixed((id(address), d, side), x) for side, x in (("low", low), ("high", high))]
    return found


def _settled(body: Body, row: Scope, dim: int, start: Value, numbers: Sequence[int], lanes: int) -> Scope:
    """The scope of a piece: comparisons have their results at its first element, ``lanes`` wide."""
    first = Scope(row.v, {**row.index, dim: start}, outer=row)
    for number in numbers:
        _emit_with_inputs(body, first, dim, number)
    v = body.frame.vectors(lanes)
    piece = Scope(row.v, row.index, outer=row)
    piece.values = {number: v.widen(first.values[number]) for number in numbers}
    for address in map(address_of, body.facts.body):
        if address is not None and _along(address, dim):
            inside = body.valid(address, first)
            assert inside is not None
            piece.valid[id(address)] = v.widen(inside)
    return piece


def _emit_with_inputs(body: Body, scope: Scope, dim: int, number: int) -> None:
    for i in body.facts.body[number].inputs:
        if dim in body.facts.deps[i]:
            _emit_with_inputs(body, scope, dim, i)
    body.emit([number], [scope])
