"""Reductions of everything to one element: chunk results in parallel, then one launch that combines them."""

from __future__ import annotations

from duograph.codegen.analysis import Facts, item_bytes, total_cost
from duograph.codegen.body import Scope
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import SUM_CHUNK, CompiledKernel, Extent
from duograph.codegen.llvm import Module
from duograph.codegen.nest import LANES
from duograph.codegen.reduction import Reduction, flatten, regroup
from duograph.codegen.row_schedule import ELEMENT_BYTES, Rows
from duograph.codegen.target import Target
from duograph.codegen.vector import Vec
from duograph.ir.dim import ceildiv, maximum, minimum, product


def emit_full(module: Module, target: Target, symbol: str, facts: Facts) -> CompiledKernel:
    """For kernels with one level of reductions and no parallel dims."""
    length = product([facts.extents[d] for d in facts.reduce_dims])
    chunks = maximum(ceildiv(length, SUM_CHUNK), 1)
    operands = tuple(range(len(facts.operands)))
    full = Full(facts, chunks)
    weight = max(item_bytes(facts), total_cost(facts, facts.reduce_dims[-1]) // 4)
    args = operands + tuple(len(operands) + i for i in range(len(full.elements)))
    partials = full.emit_partials(Frame(module, target, symbol, args))
    first = partials.finish(chunks, length * weight)
    combine = full.emit_combine(Frame(module, target, symbol + "_combine", args))
    second = combine.finish(minimum(chunks - 1, 1), chunks * 4)
    temporaries = tuple(chunks * ELEMENT_BYTES[element] for element in full.elements)
    return CompiledKernel((first, second), temporaries)


class Full:
    """The two functions: partial results per chunk, and their combination. One chunk alone finishes at once."""

    def __init__(self, facts: Facts, chunks: Extent) -> None:
        self.facts = facts
        self.chunks = chunks
        self.elements = [element for r in _reductions(facts) for element in _elements(facts, r)]

    def emit_partials(self, frame: Frame) -> Frame:
        f = frame.function
        rows = Rows(frame, self.facts)
        before = rows.stages[0]
        total = frame.fixed("chunks", self.chunks)
        with f.loop("%begin", "%end") as chunk:
            k0 = f.shl(chunk, SUM_CHUNK.bit_length() - 1)
            k1 = f.umin(f.add(k0, SUM_CHUNK), rows.length)
            row = Scope(frame.vectors(1), {})
            rows.body.emit(self._values(rows), [row])
            parts = rows.fold_chunk(before, row, k0, k1)
            alone, many, done = f.label("alone"), f.label("many"), f.label("done")
            f.cond_br(f.icmp("ule", total, 1), alone, many)
            f.place(many)
            for i, part in enumerate(parts):
                pointer = f.gep(frame.pointer(len(self.facts.operands) + i), chunk, ELEMENT_BYTES[part.element])
                f.store(part.type, part.ref, pointer, ELEMENT_BYTES[part.element])
            f.br(done)
            f.place(alone)
            self._finish(rows, row, parts)
            f.br(done)
            f.place(done)
        return frame

    def _finish(self, rows: Rows, row: Scope, parts: list[Vec]) -> None:
        """Everything after the reductions, from their accumulators, and what waited for them: runs exactly once."""
        reductions = rows.stages[0].reductions
        for reduction, acc in zip(reductions, regroup(reductions, parts)):
            row.values[reduction.number] = reduction.result(rows.frame.vectors(1), acc)
        rows.body.emit([i for i in rows.stages[0].uniform if self.facts.body[i].op == "store"], [row])
        for stage in rows.stages[1:]:
            rows.body.emit(stage.uniform, [row])

    def _values(self, rows: Rows) -> list[int]:
        """What every chunk needs before it reduces. Stores are not among it: they may update what is read here."""
        return [i for i in rows.stages[0].uniform if self.facts.body[i].op != "store"]

    def emit_combine(self, frame: Frame) -> Frame:
        f, v = frame.function, frame.vectors(LANES)
        rows = Rows(frame, self.facts)
        reductions = rows.stages[0].reductions
        total = frame.fixed("chunks", self.chunks)
        first = flatten([r.identity(v) for r in reductions])
        pointers = [frame.pointer(len(self.facts.operands) + i) for i in range(len(first))]
        slots = [f.alloca(f"[{LANES} x {p.element}]", 64) for p in first]
        for part, slot in zip(first, slots):
            f.store(part.type, part.ref, slot, 64)
        # chunk c belongs to partial c mod 16
        with f.loop(0, total) as chunk:
            lane = f.and_(chunk, LANES - 1)
            sizes = [ELEMENT_BYTES[p.element] for p in first]
            at = [f.gep(slot, lane, size) for slot, size in zip(slots, sizes)]
            before = [Vec(f.load(f"<1 x {p.element}>", x), p.element, 1) for p, x in zip(first, at)]
            items = [
                Vec(f.load(f"<1 x {p.element}>", f.gep(x, chunk, size), size), p.element, 1)
                for p, x, size in zip(first, pointers, sizes)
            ]
            combined = [
                r.combine(frame.vectors(1), a, b)
                for r, a, b in zip(reductions, regroup(reductions, before), regroup(reductions, items))
            ]
            for value, x in zip(flatten(combined), at):
                f.store(value.type, value.ref, x)
        whole = [Vec(f.load(p.type, slot, 64), p.element, LANES) for p, slot in zip(first, slots)]
        row = Scope(frame.vectors(1), {})
        rows.body.emit(self._values(rows), [row])
        self._finish(rows, row, rows.trees(reductions, whole))
        return frame


def _reductions(facts: Facts) -> list[int]:
    return [i for i, instr in enumerate(facts.body) if instr.op == "reduce"]


def _elements(facts: Facts, number: int) -> list[str]:
    instr = facts.body[number]
    return Reduction(number, instr.inputs[0], str(instr.attr), facts.operand_dtype(number), instr.dtype).elements
