"""Kernels without reductions: vectors along the most contiguous dim, everything else an outer loop."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.analysis import Facts, address_of, best_vector_dim, item_bytes, plain_access, total_cost
from duograph.codegen.body import Body, Scope
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import Extent, Launch
from duograph.codegen.llvm import Module, Value
from duograph.codegen.nest import Carried, for_chunks, vector_loop
from duograph.codegen.target import Target
from duograph.ir.dim import ceildiv, product

BLOCK = 8192  # elements of the vector dim in one chunk


def emit_map(module: Module, target: Target, symbol: str, facts: Facts) -> list[Launch]:
    frame = Frame(module, target, symbol, tuple(range(len(facts.operands))))
    body = Body(frame, facts)
    dim = best_vector_dim(facts, facts.parallel_dims)
    points: Extent = product([facts.extents[d] for d in facts.parallel_dims])
    if dim is None:
        with frame.function.loop("%begin", "%end"):
            body.emit(range(len(facts.body)), [Scope(frame.vectors(1), {})])
        return [frame.finish(1, item_bytes(facts))]
    outer = [d for d in facts.parallel_dims if d != dim]
    blocks = ceildiv(facts.extents[dim], BLOCK)
    if outer:
        _emit_rows(body, outer, dim, blocks)
    else:
        _emit_flat(body, dim)
    chunks = product([*(facts.extents[d] for d in outer), blocks])
    weight = max(item_bytes(facts), total_cost(facts, dim) // 4)
    return [frame.finish(chunks, points * weight)]


def _emit_flat(body: Body, dim: int) -> None:
    """One dim: the whole chunk range is one contiguous run."""
    f = body.frame.function
    low = f.mul("%begin", BLOCK)
    high = f.umin(f.mul("%end", BLOCK), body.extent(dim))
    row = Scope(body.frame.vectors(1), {})
    emit_run(body, row, dim, low, high)


def _emit_rows(body: Body, outer: Sequence[int], dim: int, blocks: Extent) -> None:
    f = body.frame.function
    extents = [*(body.extent(d) for d in outer), body.frame.fixed("blocks", blocks)]

    def chunk(indices: list[Value]) -> None:
        row = Scope(body.frame.vectors(1), dict(zip(outer, indices)))
        low = f.mul(indices[-1], BLOCK)
        high = f.umin(f.add(low, BLOCK), body.extent(dim))
        emit_run(body, row, dim, low, high)

    for_chunks(body.frame, extents, chunk)


def emit_run(body: Body, row: Scope, dim: int, low: Value, high: Value) -> None:
    """The body along ``dim`` over [low, high)."""
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

    masked = body.frame.target.masks and plain_access(facts, dim)
    weight = total_cost(facts, dim)
    unroll = 4 if weight <= 8 else 2 if weight <= 24 else 1
    vector_loop(body, row, dim, low, high, unroll=unroll, masked=masked, step=step)
