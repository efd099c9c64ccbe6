"""Reductions along a contiguous dim: one row per chunk, passes over it while it is in cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duograph.codegen.analysis import Facts, address_of, cost, item_bytes, plain_access, total_cost
from duograph.codegen.body import Body, Scope
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import SUM_CHUNK, Launch
from duograph.codegen.llvm import Module, Value
from duograph.codegen.nest import LANES, Carried, for_chunks, indices_at, step_indices, vector_loop
from duograph.codegen.reduction import Accumulator, Reduction, flatten, regroup
from duograph.codegen.stages import Stage, plan_stages
from duograph.codegen.target import Target
from duograph.codegen.vector import Vec
from duograph.ir.dim import product

ELEMENT_BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "float": 4, "double": 8}


def emit_row(module: Module, target: Target, symbol: str, facts: Facts) -> list[Launch]:
    frame = Frame(module, target, symbol, tuple(range(len(facts.operands))))
    rows = Rows(frame, facts)
    extents = [rows.body.extent(d) for d in facts.parallel_dims]
    for_chunks(frame, extents, lambda indices: rows.emit(dict(zip(facts.parallel_dims, indices))))
    chunks = product([facts.extents[d] for d in facts.parallel_dims])
    length = product([facts.extents[d] for d in facts.reduce_dims])
    weight = max(item_bytes(facts), total_cost(facts, facts.reduce_dims[-1]) // 4)
    return [frame.finish(chunks, chunks * length * weight)]


class Rows:
    """Emits all passes over one row (the reduce dims at one outer index)."""

    def __init__(self, frame: Frame, facts: Facts) -> None:
        self.frame = frame
        self.facts = facts
        self.body = Body(frame, facts)
        self.dim = facts.reduce_dims[-1]
        self.stages = plan_stages(facts, self.dim)
        self.masked = frame.target.masks and plain_access(facts, self.dim, rows=set(facts.reduce_dims))
        length = product([facts.extents[d] for d in facts.reduce_dims])
        self.flat = len(facts.reduce_dims) == 1
        self.length = self.body.extent(self.dim) if self.flat else frame.fixed("length", length)
        # whole rows of values kept between passes
        self.kept: dict[int, str] = {}
        for stage in self.stages:
            for number in stage.saved:
                self.kept[number] = frame.reserve_scratch(length, ELEMENT_BYTES[self._element(number)])
        # one chunk of each reduction's input, where the row is not one run
        self.buffers: dict[int, str] = {}
        if not self.flat:
            for stage in self.stages:
                for reduction in stage.reductions:
                    self.buffers[reduction.number] = frame.reserve_scratch(SUM_CHUNK, ELEMENT_BYTES[reduction.elements[0]])

    def _element(self, number: int) -> str:
        return DTYPES[self.facts.body[number].dtype].element

    def emit(self, index: dict[int, Value]) -> None:
        row = Scope(self.frame.vectors(1), index)
        for stage in self.stages:
            self.body.emit(stage.uniform, [row])
            if stage.reductions:
                self.reduce(stage, row)
            elif not stage.empty:
                self.visit(stage, row, 0, self.length, lambda k0: ())

    def reduce(self, stage: Stage, row: Scope) -> None:
        """One pass with reductions: chunk by chunk, then over the chunk results."""
        f, one, v = self.frame.function, self.frame.vectors(1), self.frame.vectors(LANES)
        flat = [(r, element, part) for r in stage.reductions for part, element in enumerate(r.elements)]
        results = [f.alloca(element) for _, element, _ in flat]
        seconds = [f.alloca(f"[{LANES} x {element}]", 64) for _, element, _ in flat]
        for (reduction, element, part), slot in zip(flat, seconds):
            f.store(f"<{LANES} x {element}>", reduction.identity(v)[part].ref, slot, 64)
        done = f.label("reduced")
        with f.loop(0, self.length, SUM_CHUNK) as k0:
            k1 = f.umin(f.add(k0, SUM_CHUNK), self.length)
            parts = self.fold_chunk(stage, row, k0, k1)
            for part_value, slot in zip(parts, results):
                f.store(part_value.type, part_value.ref, slot)
            more = f.label("chunks")
            f.cond_br(f.icmp("ule", self.length, SUM_CHUNK), done, more)
            f.place(more)
            lane = f.and_(f.lshr(k0, SUM_CHUNK.bit_length() - 1), LANES - 1)
            self._fold_second(stage.reductions, parts, seconds, lane)
        whole = [Vec(f.load(f"<{LANES} x {e}>", slot, 64), e, LANES) for (_, e, _), slot in zip(flat, seconds)]
        for reduction_result, slot in zip(self.trees(stage.reductions, whole), results):
            f.store(reduction_result.type, reduction_result.ref, slot)
        f.br(done)
        f.place(done)
        final = [Vec(f.load(f"<1 x {e}>", slot), e, 1) for (_, e, _), slot in zip(flat, results)]
        for reduction, acc in zip(stage.reductions, regroup(stage.reductions, final)):
            row.values[reduction.number] = reduction.result(one, acc)

    def _fold_second(self, reductions: Sequence[Reduction], parts: Sequence[Vec], seconds: Sequence[str], lane: Value) -> None:
        f, one = self.frame.function, self.frame.vectors(1)
        pointers = [f.gep(slot, lane, ELEMENT_BYTES[part.element]) for slot, part in zip(seconds, parts)]
        before = [Vec(f.load(part.type, pointer), part.element, 1) for part, pointer in zip(parts, pointers)]
        for reduction, a, b, at in zip(
            reductions, regroup(reductions, before), regroup(reductions, parts), regroup(reductions, pointers)
        ):
            for value, pointer in zip(reduction.combine(one, a, b), at):
                f.store(value.type, value.ref, pointer)

    def trees(self, reductions: Sequence[Reduction], parts: Sequence[Vec]) -> list[Vec]:
        v = self.frame.vectors(LANES)
        return flatten([r.horizontal(v, acc) for r, acc in zip(reductions, regroup(reductions, parts))])

    def fold_chunk(self, stage: Stage, row: Scope, k0: Value, k1: Value) -> list[Vec]:
        """The results of one chunk of the row, one lane wide."""
        v = self.frame.vectors(LANES)
        if self.flat:
            accs = self.visit(stage, row, k0, k1, lambda _: flatten([r.identity(v) for r in stage.reductions]))
        else:
            self.visit(stage, row, k0, k1, lambda _: ())
            accs = self._fold_buffers(stage, k0, k1)
        return self.trees(stage.reductions, accs)

    # ---- one pass over [k0, k1) of the row's logical positions ----

    def visit(self, stage: Stage, row: Scope, k0: Value, k1: Value, initial: Callable[[Value], Carried]) -> list[Vec]:
        if self.flat:
            self._prepare(stage, row)
            return self._run(stage, row, k0, k1, k0, initial(k0))
        self._segments(stage, row, k0, k1)
        return []

    def _prepare(self, stage: Stage, row: Scope) -> None:
        for number in stage.varying:
            address = address_of(self.facts.body[number])
            if address is not None:
                self.body.prepare(address, row, self.dim)

    def _segments(self, stage: Stage, row: Scope, k0: Value, k1: Value) -> None:
        """[k0, k1) as runs along the innermost reduce dim."""
        f, dims = self.frame.function, self.facts.reduce_dims
        slots = indices_at(self.body, dims, k0)
        with f.pieces(k0, k1) as (at, position):
            indices = [f.load("i64", slot) for slot in slots]
            place = Scope(self.frame.vectors(1), {**row.index, **dict(zip(dims, indices))}, outer=row)
            low = indices[-1]
            high = f.umin(f.add(low, f.sub(k1, at)), self.body.extent(self.dim))
            self._prepare(stage, place)
            self._run(stage, place, low, high, at, ())
            f.store("i64", f.add(at, f.sub(high, low)), position)
            f.store("i64", 0, slots[-1])
            step_indices(self.body, dims[:-1], slots[:-1])

    def _run(self, stage: Stage, row: Scope, low: Value, high: Value, at: Value, carried: Carried) -> list[Vec]:
        """The pass along the innermost dim over [low, high); ``at`` is the logical position of ``low``."""
        f = self.frame.function
        tails: list[tuple[Reduction, str]] = []

        def position(scope: Scope) -> Value:
            assert scope.vector_dim is not None
            here = f.add(at, f.sub(scope.index[scope.vector_dim], low)) if not self.flat else scope.index[self.dim]
            return f.add(here, scope.shift)

        def compute(scopes: Sequence[Scope]) -> None:
            for scope in scopes:
                self._restore(stage, scope, position(scope))
            self.body.emit(stage.varying, scopes)
            for scope in scopes:
                self._save(stage, scope, position(scope))

        def step(scopes: Sequence[Scope], accs: Carried) -> Carried:
            compute(scopes)
            for scope in scopes:
                accs = self._fold(stage, scope, accs) if self.flat else self._keep(stage, scope, f.sub(position(scope), at), at)
            return accs

        def scalar_tail(scope: Scope, lane: Value) -> None:
            compute([scope])
            if not self.flat:
                self._keep(stage, scope, f.sub(position(scope), at), at)
            for reduction, buffer in tails:
                item = reduction.item(scope.v, scope.value(reduction.source))
                f.store(item.type, item.ref, f.gep(buffer, lane, ELEMENT_BYTES[item.element]))

        v = self.frame.vectors(LANES)
        if self.flat and not self.masked:
            for reduction in stage.reductions:
                first = reduction.identity(v)[0]
                tails.append((reduction, f.alloca(f"[{LANES} x {first.element}]", 64)))
                f.store(first.type, first.ref, tails[-1][1], 64)
        weight = sum(cost(self.facts, i, self.dim) for i in stage.varying)
        unroll = 1 if not self.masked or weight > 24 else 4 if weight <= 8 else 2
        accs = vector_loop(
            self.body, row, self.dim, low, high,
            unroll=unroll, masked=self.masked, step=step, carried=carried, scalar_tail=scalar_tail,
        )  # fmt: skip
        return self._fold_tails(tails, accs, low, high) if tails else accs

    def _fold_tails(self, tails: Sequence[tuple[Reduction, str]], accs: Carried, low: Value, high: Value) -> list[Vec]:
        f, v = self.frame.function, self.frame.vectors(LANES)
        folded = []
        full = f.add(low, f.and_(f.sub(high, low), -LANES))
        for (reduction, buffer), acc in zip(tails, regroup([r for r, _ in tails], accs)):
            element = reduction.elements[0]
            items = Vec(f.load(f"<{LANES} x {element}>", buffer, 64), element, LANES)
            other = reduction.of_items(v, items, lambda: v.add(v.splat("i64", full), v.iota("i64")))
            folded.append(reduction.combine(v, acc, other))
        return flatten(folded)

    def _fold(self, stage: Stage, scope: Scope, accs: Carried) -> list[Vec]:
        folded = []
        for reduction, acc in zip(stage.reductions, regroup(stage.reductions, accs)):
            value = scope.value(reduction.source)
            folded.append(reduction.step(scope.v, acc, value, lambda: self.body._index(scope, self.dim), scope.mask))
        return flatten(folded)

    def _keep(self, stage: Stage, scope: Scope, offset: Value, at: Value) -> list[Vec]:
        """Store the reductions' inputs in their chunk buffers; a vector may overrun into the padding."""
        f = self.frame.function
        for reduction in stage.reductions:
            item = reduction.item(scope.v, scope.value(reduction.source))
            where = f.and_(f.add(at, offset), SUM_CHUNK - 1)
            size = ELEMENT_BYTES[item.element]
            f.store(item.type, item.ref, f.gep(self.buffers[reduction.number], where, size), size)
        return []

    def _fold_buffers(self, stage: Stage, k0: Value, k1: Value) -> list[Vec]:
        f, v = self.frame.function, self.frame.vectors(LANES)
        count = f.sub(k1, k0)
        first = flatten([r.identity(v) for r in stage.reductions])

        def step(i: str, names: list[str]) -> list[Value]:
            accs = regroup(stage.reductions, [Vec(n, p.element, LANES) for n, p in zip(names, first)])
            mask = v.icmp("slt", v.add(v.splat("i64", i), v.iota("i64")), v.splat("i64", count))
            following: list[Accumulator] = []
            for reduction, acc in zip(stage.reductions, accs):
                element = reduction.elements[0]
                pointer = f.gep(self.buffers[reduction.number], i, ELEMENT_BYTES[element])
                raw = Vec(f.load(f"<{LANES} x {element}>", pointer, ELEMENT_BYTES[element]), element, LANES)
                value = v.icmp("ne", raw, v.like(raw, 0)) if reduction.info.kind == "b" else raw
                index = f.add(k0, i)
                following.append(
                    reduction.step(v, acc, value, lambda at=index: v.add(v.splat("i64", at), v.iota("i64")), mask)  # type: ignore[misc]
                )
            return [part.ref for part in flatten(following)]

        names = f.carried_loop(0, count, LANES, [(p.type, p.ref) for p in first], step)
        return [Vec(name, p.element, LANES) for name, p in zip(names, first)]

    # ---- values kept between passes ----

    def _kept_pointer(self, number: int, position: Value) -> tuple[str, int]:
        size = ELEMENT_BYTES[self._element(number)]
        return self.frame.function.gep(self.kept[number], position, size), size

    def _save(self, stage: Stage, scope: Scope, position: Value) -> None:
        for number in stage.saved:
            value = scope.value(number)
            if value.element == "i1":
                value = scope.v.convert("zext", value, "i8")
            pointer, size = self._kept_pointer(number, position)
            self.frame.function.store(value.type, value.ref, pointer, size)

    def _restore(self, stage: Stage, scope: Scope, position: Value) -> None:
        for number in stage.restored:
            element, v = self._element(number), scope.v
            stored = "i8" if element == "i1" else element
            pointer, size = self._kept_pointer(number, position)
            raw = Vec(self.frame.function.load(f"<{v.lanes} x {stored}>", pointer, size), stored, v.lanes)
            scope.values[number] = v.icmp("ne", raw, v.like(raw, 0)) if element == "i1" else raw
