"""Kernels without reductions: vectors along the most contiguous dim, everything else an outer loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duograph.codegen.analysis import Facts, address_of, best_vector_dim, is_unit, item_bytes, plain_access, total_cost
from duograph.codegen.body import Body, Scope
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import Address, Extent, Launch
from duograph.codegen.llvm import Module, Value
from duograph.codegen.nest import LANES, Carried, for_chunks, vector_loop
from duograph.codegen.pieces import emit_pieces, has_flips
from duograph.codegen.target import Target
from duograph.codegen.transpose import emit_tiles, tile_count, transposed_loads
from duograph.ir.dim import ceildiv, maximum, product

MOST_BLOCK, LEAST_BLOCK = 8192, 1024  # elements of the vector dim in one chunk: the cheaper, the more
BLOCK_COST = 1 << 16  # about, in bytes touched
STREAM_ELEMENTS = 1 << 22  # from here on results do not stay in the caches anyway: write them past
STREAM_COST = 50
LIGHT_COST = 24  # up to here a kernel waits for memory, not for arithmetic

Step = Callable[[Sequence[Scope], Carried], Carried]


def emit_map(module: Module, target: Target, symbol: str, facts: Facts) -> list[Launch]:
    dim = best_vector_dim(facts, facts.parallel_dims)
    transposed = transposed_loads(facts, dim) if dim is not None else None
    light = total_cost(facts, dim) <= LIGHT_COST and transposed is None
    attributes = target.light_attributes if light else ""
    frame = Frame(module, target, symbol, tuple(range(len(facts.operands))), attributes=attributes)
    body = Body(frame, facts)
    points: Extent = product([facts.extents[d] for d in facts.parallel_dims])
    if dim is None:
        with frame.function.loop("%begin", "%end"):
            body.emit(range(len(facts.body)), [Scope(frame.vectors(1), {})])
        return [frame.finish(1, item_bytes(facts))]
    outer = [d for d in facts.parallel_dims if d != dim]
    if transposed is not None:
        other, loads = transposed
        emit_tiles(
            body, outer, dim, other, loads,
            run=lambda row, low, high: emit_run(body, row, dim, low, high),
            across=lambda row, low, high: emit_run(body, row, other, low, high, unroll=1),
        )  # fmt: skip
        chunks = tile_count(facts, outer, dim, other, loads)
    elif outer:
        chunks = _emit_rows(body, outer, dim)
    else:
        _emit_flat(body, dim)
        chunks = ceildiv(facts.extents[dim], _block(facts, dim))
    return [frame.finish(chunks, points * _weight(facts, dim))]


def _weight(facts: Facts, dim: int) -> int:
    """The cost of an element, in bytes touched."""
    return max(item_bytes(facts), total_cost(facts, dim) // 4)


def _block(facts: Facts, dim: int) -> int:
    """How many elements of the vector dim make a chunk."""
    block = MOST_BLOCK
    while block > LEAST_BLOCK and block * _weight(facts, dim) > BLOCK_COST:
        block //= 2
    return block


def _emit_flat(body: Body, dim: int) -> None:
    """One dim: the whole chunk range is one contiguous run."""
    f = body.frame.function
    block = _block(body.facts, dim)
    low = f.mul("%begin", block)
    high = f.umin(f.mul("%end", block), body.extent(dim))
    row = Scope(body.frame.vectors(1), {})
    emit_run(body, row, dim, low, high, stream=_streams(body.facts, dim))


def _streams(facts: Facts, dim: int) -> bool:
    """Whether stores past the cache may pay: few instructions, every store a run of whole cache lines."""
    stores = [instr for instr in facts.body if instr.op == "store"]
    whole = all(is_unit(s.attr.strides[dim]) and DTYPES[s.dtype].size >= 4 for s in stores if isinstance(s.attr, Address))
    return whole and total_cost(facts, dim) <= STREAM_COST


def _emit_rows(body: Body, outer: Sequence[int], dim: int) -> Extent:
    """Several dims: a chunk is a block of ``dim``, of as many rows next to each other as make up for a short one."""
    f, facts = body.frame.function, body.facts
    *far, near = outer
    block = _block(facts, dim)
    blocks, rows = ceildiv(facts.extents[dim], block), ceildiv(block, maximum(facts.extents[dim], 1))
    groups = ceildiv(facts.extents[near], rows)
    counts = [body.frame.fixed("groups", groups), body.frame.fixed("blocks", blocks)]

    def chunk(indices: list[Value]) -> None:
        first = f.mul(indices[-2], body.frame.fixed("rows", rows))
        last = f.umin(f.add(first, body.frame.fixed("rows", rows)), body.extent(near))
        low = f.mul(indices[-1], block)
        high = f.umin(f.add(low, block), body.extent(dim))
        with f.loop(first, last) as index:
            emit_run(body, Scope(body.frame.vectors(1), {**dict(zip(far, indices)), near: index}), dim, low, high)

    for_chunks(body.frame, [*(body.extent(d) for d in far), *counts], chunk)
    return product([*(facts.extents[d] for d in far), groups, blocks])


def emit_run(
    body: Body, row: Scope, dim: int, low: Value, high: Value, *, stream: bool = False, unroll: int | None = None
) -> None:
    """The body along ``dim`` over [low, high), so many vectors at once as are ``unroll`` or as many as pay.

    With ``stream``, large aligned results are written past the cache.
    """
    facts = body.facts
    uniform = [i for i in range(len(facts.body)) if dim not in facts.deps[i] and facts.body[i].op != "store"]
    varying = [i for i in range(len(facts.body)) if i not in set(uniform)]
    for number in varying:
        address = address_of(facts.body[number])
        if address is not None:
            body.prepare(address, row, dim)
    body.emit(uniform, [row])

    def step(scopes: Sequence[Scope], carried: Carried) -> Carried:
        body.emit(varying, scopes)
        return carried

    masked = body.frame.target.masks and plain_access(facts, dim, body.staged)
    weight = total_cost(facts, dim)
    unroll = unroll or (4 if weight <= 8 else 2 if weight <= 24 else 1)
    if stream:
        low = _emit_streamed(body, row, dim, low, high, step)
    loop = emit_pieces if has_flips(facts, dim) else vector_loop
    loop(body, row, dim, low, high, unroll=unroll, masked=masked, step=step)


def _emit_streamed(body: Body, row: Scope, dim: int, low: Value, high: Value, step: Step) -> Value:
    """The whole vectors of [low, high) if the results are large and lie on cache lines; returns where it stopped."""
    f, facts, v = body.frame.function, body.facts, body.frame.vectors(LANES)
    pointers = [row.pointers[id(instr.attr)] for instr in facts.body if instr.op == "store"]
    address: Value = 0
    for pointer in pointers:
        address = f.or_(address, f.op(f"ptrtoint ptr {pointer} to i64"))
    aligned = f.icmp("eq", f.and_(address, 63), 0)
    large = f.icmp("uge", body.extent(dim), STREAM_ELEMENTS)
    before, streaming, done = f.block, f.label("stream"), f.label("streamed")
    f.cond_br(f.op(f"and i1 {aligned}, {large}"), streaming, done)
    f.place(streaming)
    full = f.add(low, f.and_(f.sub(high, low), -LANES))
    with f.loop(low, full, LANES) as i:
        scope = row.inner(v, dim, i, None)
        scope.stream = True
        step([scope], ())
    f.module.declare("llvm.x86.sse.sfence", "void", [])
    f.emit("call void @llvm.x86.sse.sfence()")
    after = f.block
    f.br(done)
    f.place(done)
    return f.phi("i64", [(low, before), (full, after)])
