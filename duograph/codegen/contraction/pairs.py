"""Products of bfloat16 by pairs: two elements side by side along k are one of 32 bits, and both products are added at once.

What `tile` and `direct` read is then an array of such elements, half as long along k; they need not know. B, or the kernels of
a convolution, come in panels made here, of numbers that are rounded on the way: float32 or bfloat16. A last element without a
partner gets a zero. Numbers below the normal ones of bfloat16 count as zeros, as the instruction has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from duograph.codegen.contraction.driver import ABI
from duograph.codegen.contraction.pack import transpose
from duograph.codegen.contraction.parts import library_name
from duograph.codegen.contraction.shape import PAIRS, TileFunction, TileShape, panel_bytes
from duograph.codegen.contraction.spread import WalkedDims
from duograph.codegen.convert import pair_at_once, round_at_once
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import Extent, Keep, Walk
from duograph.codegen.llvm import Module, Value
from duograph.ir.dim import ceildiv, floordiv, product

SOURCES = {"float32": "pair_panels", "bfloat16": "pair_panels_of_16_bits"}
# The words of a launch; then (extent, stride in elements) of each dim of the pairs of k, outer to inner. "whole": so many pairs
# have two elements, "partner": the distance between these.
HEADER = ("columns", "k", "whole", "n_step", "partner", "panel", "k_dims")


def pair_walk(walk: Walk) -> Walk:
    """A walk along k whose first dim is that of the pairs, pair by pair."""
    (extent, stride), *rest = walk
    return ((ceildiv(extent, 2), stride * 2), *rest)


def panels_of_pairs(
    shape: TileShape, operand: int, dtype: str, columns: tuple[Extent, Extent], walk: Walk, part: str = ""
) -> Keep:
    """All panels of an operand, walked along k as ``walk`` says, whose first dim is that of the pairs.

    ``columns``: how many there are, and how far apart; ``part``: of the library, for panels as it has them.
    """
    (n, n_step), ((extent, partner), *rest) = columns, walk
    pairs = pair_walk(walk)
    k = product([size for size, _ in pairs])
    whole = floordiv(extent, 2) * product([size for size, _ in rest])
    panel, panels = panel_bytes(shape, k), ceildiv(n, shape.width)
    words: dict[str, Extent] = {
        "columns": n,
        "k": k,
        "whole": whole,
        "n_step": n_step,
        "partner": partner,
        "panel": panel,
        "k_dims": len(pairs),
    }
    sizes = (*(words[name] for name in HEADER), *(word for dim in pairs for word in dim))
    return Keep(operand, f"{library_name(PAIRS, part)}:{SOURCES[dtype]}", sizes, panels, panels * panel)


def add_pair_panels(module: Module, shape: TileShape) -> None:
    """The functions that make panels, one for each dtype; their chunks are panels."""
    for dtype, name in SOURCES.items():
        _Maker(module, shape, name, DTYPES[dtype].size).emit()


class _Maker:
    def __init__(self, module: Module, shape: TileShape, name: str, size: int) -> None:
        self.module, self.shape, self.size = module, shape, size
        f = self.f = TileFunction(module, name, ABI)
        f.shape = replace(shape, size=size)
        w = self.w = {word: f.load("i64", f.gep("%sizes", 8 * i)) for i, word in enumerate(HEADER)}
        self.walk = WalkedDims(f, f.gep("%sizes", 8 * len(HEADER)), w["k_dims"])
        self.source, self.target = (f.load("ptr", f.gep("%args", 8 * i)) for i in range(2))
        self.n_step, self.partner = f.mul(w["n_step"], size), f.mul(w["partner"], size)
        self.row_bytes = shape.vectors * shape.lanes * shape.size

    def emit(self) -> None:
        f, w = self.f, self.w
        one = f.icmp("eq", w["k_dims"], 1)
        beside = f.op(f"and i1 {one}, {f.icmp('eq', w['partner'], 1)}")
        runs = f.icmp("eq", self.walk.step, self.size)
        by_columns = f.icmp("eq", w["n_step"], 1)
        with f.loop("%begin", "%end") as panel:
            first = f.mul(panel, self.shape.width)
            count = f.umin(f.sub(w["columns"], first), self.shape.width)
            source, target = f.gep(self.source, f.mul(first, self.n_step)), f.gep(self.target, f.mul(panel, w["panel"]))
            done = f.label("made")
            for wanted, make in ((beside, self._turned), (by_columns, self._rows), (runs, self._runs)):
                here, other = f.label("here"), f.label("other")
                f.cond_br(wanted, here, other)
                f.place(here)
                make(source, target, count)
                f.br(done)
                f.place(other)
            self._single(source, target, count)
            f.br(done)
            f.place(done)
        self.module.add(f)

    def _turned(self, source: str, target: str, columns: Value) -> None:
        """k is contiguous: squares of pairs are transposed in registers."""
        f, lanes, elements = self.f, self.shape.lanes, self.f.add(self.w["whole"], self.w["k"])
        with f.loop(0, columns, lanes) as column, f.loop(0, self.w["k"], lanes) as k:
            at = f.mul(k, 2 * self.size)
            left = f.sub(elements, f.mul(k, 2))
            rest = f.sub(f.umax(left, lanes), lanes)
            halves = [f.low_mask(lanes, f.umin(many, lanes)) for many in (left, rest)]
            square = [self._pairs_beside(f.gep(place, at), halves) for place in self._places(source, column, columns)]
            out = f.gep(f.gep(target, f.mul(column, self.shape.size)), f.mul(k, self.row_bytes))
            self._store_turned(square, out, f.sub(self.w["k"], k))

    def _runs(self, source: str, target: str, columns: Value) -> None:
        """Elements lie side by side along k, and their partners: squares of pairs, of one run after the other."""
        f, lanes = self.f, self.shape.lanes

        def piece(offset: str, at: Value, count: Value) -> None:
            with f.loop(0, count, lanes) as i, f.loop(0, columns, lanes) as column:
                number, left = f.add(at, i), f.sub(count, i)
                there = f.umin(f.sub(f.umax(self.w["whole"], number), number), left)
                masks = [f.low_mask(lanes, f.umin(many, lanes)) for many in (left, there)]
                square = []
                for place in self._places(source, column, columns):
                    here = f.gep(f.gep(place, offset), f.mul(i, self.size))
                    square.append(self._pairs_apart(here, f.gep(here, self.partner), masks[0], masks[1]))
                out = f.gep(f.gep(target, f.mul(column, self.shape.size)), f.mul(number, self.row_bytes))
                self._store_turned(square, out, left)

        self.walk.runs(0, self.w["k"], piece)

    def _places(self, source: str, column: Value, columns: Value) -> list[str]:
        """Where a square's columns begin; the last one again for those that are not there."""
        f, last = self.f, self.f.sub(columns, 1)
        return [f.gep(source, f.mul(f.umin(f.add(column, i), last), self.n_step)) for i in range(self.shape.lanes)]

    def _store_turned(self, square: Sequence[str], out: str, rows: Value) -> None:
        """The first rows of a square's transpose."""
        f = self.f
        f.shape, kept = self.shape, f.shape
        turned = transpose(f, square, f.icmp("eq", rows, 0))
        f.shape = kept
        for i, value in enumerate(turned):
            whole = f.label("row"), f.label("beyond")
            f.cond_br(f.icmp("ugt", rows, i), *whole)
            f.place(whole[0])
            f.store(self.shape.vector, value, f.gep(out, i * self.row_bytes), self.shape.size)
            f.br(whole[1])
            f.place(whole[1])

    def _pairs_beside(self, place: str, masks: Sequence[str]) -> str:
        """A vector of pairs whose elements lie one behind the other."""
        f, lanes = self.f, self.shape.lanes
        if self.size == 2:
            halves = [f.masked_load(f"<{lanes} x i16>", f.gep(place, i * lanes * 2), mask, 2) for i, mask in enumerate(masks)]
            order = ", ".join(f"i32 {i}" for i in range(2 * lanes))
            whole = f.op(f"shufflevector <{lanes} x i16> {halves[0]}, <{lanes} x i16> {halves[1]}, <{2 * lanes} x i32> <{order}>")
            return f.op(f"bitcast <{2 * lanes} x i16> {whole} to {self.shape.vector}")
        low, high = (f.masked_load(self.shape.vector, f.gep(place, i * lanes * 4), mask, 4) for i, mask in enumerate(masks))
        return f.op(f"bitcast <32 x bfloat> {round_at_once(f, low, high)} to {self.shape.vector}")

    def _rows(self, source: str, target: str, columns: Value) -> None:
        """Columns are contiguous: two rows at a time."""
        f, lanes = self.f, self.shape.lanes
        left = [f.sub(f.umax(columns, j * lanes), j * lanes) for j in range(self.shape.vectors)]
        masks = [f.low_mask(lanes, f.umin(count, lanes)) for count in left]

        def piece(offset: str, at: Value, count: Value) -> None:
            with f.loop(0, count) as i:
                number = f.add(at, i)
                second = f.icmp("ult", number, self.w["whole"])
                place = f.gep(f.gep(source, offset), f.mul(i, self.walk.step))
                out = f.gep(target, f.mul(number, self.row_bytes))
                for j, mask in enumerate(masks):
                    there = f.op(f"select i1 {second}, <{lanes} x i1> {mask}, <{lanes} x i1> zeroinitializer")
                    here = f.gep(place, j * lanes * self.size)
                    value = self._pairs_apart(here, f.gep(here, self.partner), mask, there)
                    to = f.gep(out, j * lanes * self.shape.size)
                    f.masked_store(self.shape.vector, value, to, mask, self.shape.size)

        self.walk.runs(0, self.w["k"], piece)

    def _pairs_apart(self, first: str, second: str, mask: str, there: str) -> str:
        """A vector of pairs whose elements lie in two rows."""
        f, lanes = self.f, self.shape.lanes
        if self.size == 2:
            order = ", ".join(f"i32 {i // 2 + (i % 2) * lanes}" for i in range(2 * lanes))
            type = f"<{lanes} x i16>"
            low, high = f.masked_load(type, first, mask, 2), f.masked_load(type, second, there, 2)
            mixed = f.op(f"shufflevector {type} {low}, {type} {high}, <{2 * lanes} x i32> <{order}>")
            return f.op(f"bitcast <{2 * lanes} x i16> {mixed} to {self.shape.vector}")
        low, high = (f.masked_load(self.shape.vector, p, m, 4) for p, m in ((first, mask), (second, there)))
        return pair_at_once(f, low, high)

    def _single(self, source: str, target: str, columns: Value) -> None:
        """Any strides, column by column."""
        f = self.f
        with f.loop(0, columns) as column:
            self._rows(f.gep(source, f.mul(column, self.n_step)), f.gep(target, f.mul(column, self.shape.size)), 1)
