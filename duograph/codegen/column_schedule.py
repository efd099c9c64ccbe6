"""Reductions across a contiguous dim: blocks of columns, one vector lane per column, passes over the reduce dims."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.analysis import Facts, address_of, item_bytes, plain_access, total_cost
from duograph.codegen.body import Body, Scope
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import SUM_CHUNK, Launch
from duograph.codegen.llvm import Module, Value
from duograph.codegen.nest import LANES, for_chunks
from duograph.codegen.reduction import Accumulator, Reduction
from duograph.codegen.row_schedule import ELEMENT_BYTES
from duograph.codegen.stages import Stage, plan_stages
from duograph.codegen.target import Target
from duograph.codegen.vector import Vec, Vectors
from duograph.ir.dim import ceildiv, product

VECTORS = 4  # vectors in a block
WIDTH = VECTORS * LANES


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


class Columns:
    """Emits all passes over one block of columns."""

    def __init__(self, frame: Frame, facts: Facts, dim: int) -> None:
        self.frame = frame
        self.facts = facts
        self.dim = dim
        self.body = Body(frame, facts)
        self.stages = plan_stages(facts, dim)
        self.masked = frame.target.masks and plain_access(facts, dim)
        length = product([facts.extents[d] for d in facts.reduce_dims])
        self.length = frame.fixed("length", length)
        self.kept = {
            number: frame.reserve_scratch(length * WIDTH, ELEMENT_BYTES[self._element(number)])
            for stage in self.stages
            for number in stage.saved
        }
        # per reduction and part of its accumulator: 16 partials of this chunk, and 16 over chunk results
        self.partials: dict[tuple[int, int], tuple[str, str]] = {}
        for stage in self.stages:
            for reduction in stage.reductions:
                for part, element in enumerate(reduction.elements):
                    room = [frame.reserve_scratch(LANES * WIDTH, ELEMENT_BYTES[element]) for _ in range(2)]
                    self.partials[reduction.number, part] = (room[0], room[1])

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
                self._rows(stage, row, columns, 0, self.length)

    # ---- reductions ----

    def _each(self, columns: Sequence[Scope], stage: Stage) -> list[tuple[Reduction, int, Scope]]:
        return [(reduction, j, scope) for reduction in stage.reductions for j, scope in enumerate(columns)]

    def _reduce(self, stage: Stage, row: Scope, columns: Sequence[Scope]) -> None:
        f, v = self.frame.function, columns[0].v
        each = self._each(columns, stage)
        for reduction, j, _ in each:
            self._fill(reduction, 1, j, v)
        results = {(r.number, j): [f.alloca(f"<{v.lanes} x {e}>", 64) for e in r.elements] for r, j, _ in each}
        done = f.label("reduced")
        with f.loop(0, self.length, SUM_CHUNK) as k0:
            k1 = f.umin(f.add(k0, SUM_CHUNK), self.length)
            for reduction, j, _ in each:
                self._fill(reduction, 0, j, v)
            self._rows(stage, row, columns, k0, k1)
            folded = {(r.number, j): self._tree(r, 0, j, scope) for r, j, scope in each}
            for key, acc in folded.items():
                for value, slot in zip(acc, results[key]):
                    f.store(value.type, value.ref, slot)
            more = f.label("chunks")
            f.cond_br(f.icmp("ule", self.length, SUM_CHUNK), done, more)
            f.place(more)
            lane = f.and_(f.lshr(k0, SUM_CHUNK.bit_length() - 1), LANES - 1)
            for reduction, j, scope in each:
                before = self._load(reduction, 1, lane, j, scope)
                self._store(reduction, 1, lane, j, scope, reduction.combine(v, before, folded[reduction.number, j]))
        for reduction, j, scope in each:
            for value, slot in zip(self._tree(reduction, 1, j, scope), results[reduction.number, j]):
                f.store(value.type, value.ref, slot)
        f.br(done)
        f.place(done)
        for reduction, j, scope in each:
            slots = results[reduction.number, j]
            acc = [Vec(f.load(f"<{v.lanes} x {e}>", slot), e, v.lanes) for e, slot in zip(reduction.elements, slots)]
            value = reduction.result(v, acc)
            scope.values[reduction.number] = value
            if self.dim not in self.facts.deps[reduction.number]:
                row.values[reduction.number] = row.v.splat(value.element, v.extract(value))

    def _slot(self, reduction: Reduction, part: int, level: int, lane: Value, j: int, lanes: int) -> tuple[str, int]:
        f, size = self.frame.function, ELEMENT_BYTES[reduction.elements[part]]
        base = self.partials[reduction.number, part][level]
        return f.gep(f.gep(base, f.mul(lane, WIDTH), size), j * lanes * size), size

    def _load(self, reduction: Reduction, level: int, lane: Value, j: int, scope: Scope) -> Accumulator:
        lanes = scope.v.lanes
        parts = []
        for part, element in enumerate(reduction.elements):
            pointer, size = self._slot(reduction, part, level, lane, j, lanes)
            parts.append(Vec(self.frame.function.load(f"<{lanes} x {element}>", pointer, size), element, lanes))
        return parts

    def _store(self, reduction: Reduction, level: int, lane: Value, j: int, scope: Scope, acc: Accumulator) -> None:
        for part, value in enumerate(acc):
            pointer, size = self._slot(reduction, part, level, lane, j, scope.v.lanes)
            self.frame.function.store(value.type, value.ref, pointer, size)

    def _fill(self, reduction: Reduction, level: int, j: int, v: Vectors) -> None:
        """All 16 partials to the identity; that of positions is the lane's own number."""
        f = self.frame.function
        with f.loop(0, LANES) as lane:
            acc = reduction.identity(v)
            if reduction.positional:
                acc[1] = v.splat("i64", lane)
            for part, value in enumerate(acc):
                pointer, size = self._slot(reduction, part, level, lane, j, v.lanes)
                f.store(value.type, value.ref, pointer, size)

    def _tree(self, reduction: Reduction, level: int, j: int, scope: Scope) -> Accumulator:
        """16 partials of each column to one, halving as in a row."""
        accs = [self._load(reduction, level, lane, j, scope) for lane in range(LANES)]
        while len(accs) > 1:
            half = len(accs) // 2
            accs = [reduction.combine(scope.v, accs[i], accs[i + half]) for i in range(half)]
        return accs[0]

    # ---- one pass over [k0, k1) of the rows ----

    def _rows(self, stage: Stage, row: Scope, columns: Sequence[Scope], k0: Value, k1: Value) -> None:
        f, dims = self.frame.function, self.facts.reduce_dims
        if len(dims) == 1:
            with f.loop(k0, k1) as k:
                self._one_row(stage, row, columns, {dims[0]: k}, k)
            return
        slots: list[str] = []
        rest = k0
        for d in reversed(dims):
            extent = f.umax(self.body.extent(d), 1)
            slots.insert(0, f.alloca("i64"))
            f.store("i64", f.urem(rest, extent), slots[0])
            rest = f.udiv(rest, extent)
        with f.loop(k0, k1) as k:
            self._one_row(stage, row, columns, {d: f.load("i64", slot) for d, slot in zip(dims, slots)}, k)
            carry: Value = 1
            for slot, d in reversed(list(zip(slots, dims))):
                following = f.add(f.load("i64", slot), carry)
                wrapped = f.icmp("uge", following, self.body.extent(d))
                f.store("i64", f.select(wrapped, 0, following), slot)
                carry = f.op(f"zext i1 {wrapped} to i64")

    def _one_row(self, stage: Stage, row: Scope, columns: Sequence[Scope], reduced: dict[int, Value], k: Value) -> None:
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
            self._restore(stage, scope, k, j)
        self.body.emit(across, scopes)
        for j, scope in enumerate(scopes):
            self._save(stage, scope, k, j)
        lane, lanes = f.and_(k, LANES - 1), columns[0].v.lanes
        for reduction in stage.reductions:
            for j, scope in enumerate(scopes):
                acc = self._load(reduction, 0, lane, j, scope)
                item = scope.value(reduction.source)
                following = reduction.step(scope.v, acc, item, lambda: row.v.narrowed(lanes).splat("i64", k), None)
                self._store(reduction, 0, lane, j, scope, following)

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
