"""Reductions across a contiguous dim: blocks of columns, one vector lane per column, passes over the reduce dims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from duograph.codegen.analysis import Facts, address_of, item_bytes, plain_access, total_cost
from duograph.codegen.body import Body, Scope
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import SUM_CHUNK, Address, Launch
from duograph.codegen.llvm import Module, Value
from duograph.codegen.nest import LANES, for_chunks, indices_at, step_indices
from duograph.codegen.partials import CHUNK, CHUNKS, Block, Partials, group_reductions
from duograph.codegen.row_schedule import ELEMENT_BYTES
from duograph.codegen.stages import Stage, plan_stages
from duograph.codegen.target import Target
from duograph.codegen.vector import Vec
from duograph.ir.dim import ceildiv, product

VECTORS = 4  # vectors in a block
WIDTH = VECTORS * LANES
_ROWS_AHEAD = 16


def emit_column(module: Module, target: Target, symbol: str, facts: Facts, dim: int) -> list[Launch]:
    frame = Frame(module, target, symbol, tuple(range(len(facts.operands))))
    columns = Columns(frame, facts, dim)
    outer = [d for d in facts.parallel_dims if d != dim]
    blocks = ceildiv(facts.extents[dim], WIDTH)
    extents = [*(columns.body.extent(d) for d in outer), frame.fixed("blocks", blocks)]
    for_chunks(frame, extents, lambda indices: columns.emit(dict(zip(outer, indices)), indices[-1]))
    chunks = product([*(facts.extents[d] for d in outer), blocks])
    points = product([facts.extents[d] for d in (*facts.parallel_dims, *facts.reduce_dims)])
    weight = max(item_bytes(facts), total_cost(facts, dim) // 4)
    return [frame.finish(chunks, points * weight)]


def _in_memory(stage: Stage) -> Stage:
    return replace(stage, reductions=[replace(r, apart=False) for r in stage.reductions])


class Columns:
    """Emits all passes over one block of columns."""

    def __init__(self, frame: Frame, facts: Facts, dim: int) -> None:
        self.frame = frame
        self.facts = facts
        self.dim = dim
        self.body = Body(frame, facts)
        self.stages = [_in_memory(stage) for stage in plan_stages(facts, dim)]
        self.masked = frame.target.masks and plain_access(facts, dim)
        length = product([facts.extents[d] for d in facts.reduce_dims])
        self.length = frame.fixed("length", length)
        self.kept = {
            number: frame.reserve_scratch(length * WIDTH, ELEMENT_BYTES[self._element(number)])
            for stage in self.stages
            for number in stage.saved
        }
        self.partials = {
            id(stage): [Partials(frame, like, WIDTH, ELEMENT_BYTES) for like in group_reductions(stage.reductions)]
            for stage in self.stages
        }

    def _element(self, number: int) -> str:
        return DTYPES[self.facts.body[number].dtype].element

    def emit(self, index: dict[int, Value], block: Value) -> None:
        f = self.frame.function
        low = f.mul(block, WIDTH)
        high = f.umin(f.add(low, WIDTH), self.body.extent(self.dim))
        whole, part, done = f.label("whole"), f.label("part"), f.label("done")
        f.cond_br(f.icmp("eq", f.sub(high, low), WIDTH), whole, part)
        f.place(whole)
        if self.frame.target.vector_bytes == 64:
            self._block(index, low, LANES, VECTORS, None)
        else:  # side by side they would not fit the registers
            with f.loop(low, high, LANES) as column:
                self._block(index, column, LANES, 1, None)
        f.br(done)
        f.place(part)
        if self.masked:
            with f.loop(low, high, LANES) as column:
                left = f.umin(f.sub(high, column), LANES)
                self._block(index, column, LANES, 1, Vec(f.low_mask(LANES, left), "i1", LANES))
        else:
            with f.loop(low, high) as column:
                self._block(index, column, 1, 1, None)
        f.br(done)
        f.place(done)

    def _block(self, index: dict[int, Value], column: Value, lanes: int, vectors: int, mask: Vec | None) -> None:
        """All passes over ``vectors`` vectors of columns from ``column`` on."""
        row = Scope(self.frame.vectors(1), index)
        v = self.frame.vectors(lanes)
        columns = [row.inner(v, self.dim, column, mask, lanes * i) for i in range(vectors)]
        for stage in self.stages:
            plain = [i for i in stage.uniform if self.dim not in self.facts.deps[i] and self.facts.body[i].op != "store"]
            self.body.emit(plain, [row])
            self.body.emit([i for i in stage.uniform if i not in plain], columns)
            if stage.reductions:
                self._reduce(stage, row, columns)
            elif not stage.empty:
                self._rows(stage, row, columns, [], 0, self.length)

    # ---- reductions ----

    def _reduce(self, stage: Stage, row: Scope, columns: Sequence[Scope]) -> None:
        f, v = self.frame.function, columns[0].v
        blocks = [partials.block(v, len(columns)) for partials in self.partials[id(stage)]]
        for block in blocks:
            block.fill(CHUNKS)
        done = f.label("reduced")
        with f.loop(0, self.length, SUM_CHUNK) as k0:
            k1 = f.umin(f.add(k0, SUM_CHUNK), self.length)
            for block in blocks:
                block.fill(CHUNK)
            self._rows(stage, row, columns, blocks, k0, k1)
            for block in blocks:
                block.fold(CHUNK)
            more = f.label("chunks")
            f.cond_br(f.icmp("ule", self.length, SUM_CHUNK), done, more)
            f.place(more)
            lane = f.and_(f.lshr(k0, SUM_CHUNK.bit_length() - 1), LANES - 1)
            for block in blocks:
                block.keep(lane)
        for block in blocks:
            block.fold(CHUNKS)
        f.br(done)
        f.place(done)
        for block in blocks:
            for reduction in block.partials.reductions:
                for j, scope in enumerate(columns):
                    value = scope.values[reduction.number] = block.result(reduction, j)
                    if self.dim not in self.facts.deps[reduction.number]:
                        row.values[reduction.number] = row.v.splat(value.element, v.extract(value))

    # ---- one pass over [k0, k1) of the rows ----

    def _rows(self, stage: Stage, row: Scope, columns: Sequence[Scope], blocks: Sequence[Block], k0: Value, k1: Value) -> None:
        f, dims = self.frame.function, self.facts.reduce_dims
        if len(dims) == 1:
            with f.loop(k0, k1) as k:
                self._one_row(stage, row, columns, blocks, {dims[0]: k}, k)
            return
        slots = indices_at(self.body, dims, k0)
        with f.loop(k0, k1) as k:
            self._one_row(stage, row, columns, blocks, {d: f.load("i64", slot) for d, slot in zip(dims, slots)}, k)
            step_indices(self.body, dims, slots)

    def _one_row(
        self,
        stage: Stage,
        row: Scope,
        columns: Sequence[Scope],
        blocks: Sequence[Block],
        reduced: dict[int, Value],
        k: Value,
    ) -> None:
        f = self.frame.function
        line = Scope(row.v, {**row.index, **reduced}, outer=row)
        along = [i for i in stage.varying if self.dim not in self.facts.deps[i] and self.facts.body[i].op != "store"]
        across = [i for i in stage.varying if i not in along]
        for number in across:
            address = address_of(self.facts.body[number])
            if address is not None:
                self.body.prepare(address, line, self.dim)
        self.body.emit([i for i in along if not line.has(i)], [line])
        scopes = []
        for scope in columns:
            inner = Scope(scope.v, {**scope.index, **reduced}, self.dim, scope.mask, scope, scope.shift)
            inner.pointers = line.pointers
            inner.values = dict(line.values)
            scopes.append(inner)
        for j, scope in enumerate(scopes):
            self._prefetch(across, scope)
            self._restore(stage, scope, k, j)
        self.body.emit(across, scopes)
        for j, scope in enumerate(scopes):
            self._save(stage, scope, k, j)
        lane, lanes = f.and_(k, LANES - 1), columns[0].v.lanes
        for block in blocks:
            rooms = block.row(CHUNK, lane)
            for reduction in block.partials.reductions:
                for j, scope in enumerate(scopes):
                    item = block.item(reduction, j)
                    acc, value = block.load(rooms, item), scope.value(reduction.source)
                    following = reduction.step(scope.v, acc, value, lambda: row.v.narrowed(lanes).splat("i64", k), None)
                    block.store(rooms, item, following)

    def _prefetch(self, numbers: Sequence[int], scope: Scope) -> None:
        """Rows to come of what is loaded and stored: a page apart, no hardware prefetcher finds them."""
        for instr in (self.facts.body[number] for number in numbers):
            if isinstance(instr.attr, Address) and instr.op in ("load", "store"):
                self.body.prefetch(instr.attr, scope, self.facts.reduce_dims[-1], _ROWS_AHEAD, instr.op == "store")

    # ---- values kept between passes ----

    def _kept_pointer(self, number: int, k: Value, j: int, lanes: int) -> tuple[str, int]:
        f, size = self.frame.function, ELEMENT_BYTES[self._element(number)]
        return f.gep(f.gep(self.kept[number], f.mul(k, WIDTH), size), j * lanes * size), size

    def _save(self, stage: Stage, scope: Scope, k: Value, j: int) -> None:
        for number in stage.saved:
            value = scope.value(number)
            if value.element == "i1":
                value = scope.v.convert("zext", value, "i8")
            pointer, size = self._kept_pointer(number, k, j, scope.v.lanes)
            self.frame.function.store(value.type, value.ref, pointer, size)

    def _restore(self, stage: Stage, scope: Scope, k: Value, j: int) -> None:
        for number in stage.restored:
            element, v = self._element(number), scope.v
            stored = "i8" if element == "i1" else element
            pointer, size = self._kept_pointer(number, k, j, v.lanes)
            raw = Vec(self.frame.function.load(f"<{v.lanes} x {stored}>", pointer, size), stored, v.lanes)
            scope.values[number] = v.icmp("ne", raw, v.like(raw, 0)) if element == "i1" else raw
