"""The launches of products of bfloat16 by pairs (see `pairs`): what is not in pairs yet is made so first."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.analysis import analyse
from duograph.codegen.contraction.direct import NARROW_PART, narrow
from duograph.codegen.contraction.direct_lower import Direct
from duograph.codegen.contraction.keep import Kept
from duograph.codegen.contraction.lower import Lowering, Matrix
from duograph.codegen.contraction.pairs import HEADER, panels_of_pairs
from duograph.codegen.contraction.shape import tile_shape
from duograph.codegen.kernel import (
    KEPT,
    Address,
    CompiledKernel,
    ContractionKernel,
    Extent,
    Instr,
    Launch,
    LoopKernel,
    pair_body,
)
from duograph.codegen.llvm import Module
from duograph.codegen.map_schedule import emit_map
from duograph.codegen.target import Target
from duograph.codegen.walks import counted_in_pairs, walk_of, with_walks
from duograph.ir.dim import ceildiv, floordiv


class PairsLowering(Lowering):
    """A contraction whose k is counted in pairs, and the one that is ``given``, which counts elements."""

    def __init__(self, module: Module, target: Target, symbol: str, kernel: ContractionKernel) -> None:
        kernel = kernel if kernel.a_walk else with_walks(kernel)
        self.given = kernel
        super().__init__(module, target, symbol, counted_in_pairs(kernel))

    def first_factor(self) -> Matrix:
        given = self.given
        if given.paired[0]:
            return super().first_factor()
        return self._pairs(0, given.a_strides, (*given.batch, *given.m, *given.k), last=True)

    def second_factor(self) -> Matrix:
        given = self.given
        if given.paired[1]:
            return super().second_factor()
        if self._is_shared():  # its panels are made, and nothing else is read
            return Matrix(1, (*(0 for _ in given.batch), given.n[0], 1))
        return self._pairs(1, given.b_strides, (*given.batch, *given.k, *given.n), last=False)

    def _is_shared(self) -> bool:
        """Whether all of the product shares B, whose columns are one dim."""
        batch = len(self.given.batch)
        return not self.given.paired[1] and len(self.given.n) == 1 and all(s == 0 for s in self.given.b_strides[:batch])

    def kept(self, b: Matrix) -> Kept:
        given, first = self.given, len(self.given.batch)
        if not self._is_shared():
            return Kept()
        return self._panels(1, (given.n[0], given.b_strides[-1]), given.b_strides[first:-1], "")

    def kernels_kept(self, form: Direct, few: bool) -> Kept:
        return self._panels(0, (form.kernels, form.w_kernel), self.given.a_strides[1:], NARROW_PART if few else "")

    def direct_ways(self, form: Direct, widths: Sequence[bool]) -> list[list[Launch]]:
        return [self.direct(form, [few]) for few in widths]

    def _panels(self, operand: int, columns: tuple[Extent, Extent], k_strides: Sequence[Extent], part: str) -> Kept:
        """Panels of an operand, made by a launch of its own unless they are kept. ``columns``: how many, and how far apart."""
        given = self.given
        rest = walk_of(given.k[1:], k_strides[1:]) if len(given.k) > 1 else ()
        walk = ((given.k[0], k_strides[0]), *rest)
        shape = tile_shape(self.dtype, self.target)
        shape = narrow(shape) if part else shape
        keep = panels_of_pairs(shape, operand, given.operands[operand].dtype, columns, walk, part)
        made = self.temporary((floordiv(keep.bytes, shape.size),), given.dtype).position
        args, cost = (operand, made, KEPT), keep.bytes * 2
        launch = Launch(keep.symbol, args, keep.size_exprs, keep.chunks, 0, cost, keep=keep, unless_kept=True)
        return Kept(keep, (KEPT, made), keep.size_exprs[HEADER.index("panel")], (launch,))

    def _pairs(self, operand: int, strides: Sequence[Extent], extents: Sequence[Extent], *, last: bool) -> Matrix:
        """A copy of an operand in pairs, whose k are one dim."""
        given = self.given
        first = len(extents) - len(given.k) if last else len(given.batch)
        k = range(first, first + len(given.k))
        kept = [d for d in range(len(extents)) if d in k or strides[d] != 0]  # broadcast dims are not copied
        dtype = given.operands[operand].dtype
        beside = len(given.k) == 1 and last and strides[first] == 1
        if beside:
            copy = self._beside(operand, dtype, strides, extents, kept)
        else:
            copy = self._apart(operand, dtype, strides, extents, kept, first)
        found: list[Extent] = [0] * len(extents)
        for d, stride in zip(kept, copy.strides):
            found[d] = stride
        return Matrix(copy.position, (*found[:first], found[k[-1]], *found[k[-1] + 1 :]))

    def _beside(
        self, operand: int, dtype: str, strides: Sequence[Extent], extents: Sequence[Extent], kept: Sequence[int]
    ) -> Matrix:
        """The copy where k is contiguous and last: elements in bfloat16, one behind the other, are pairs."""
        elements = extents[kept[-1]]
        pairs = ceildiv(elements, 2)
        shape = [*(extents[d] for d in kept[:-1]), pairs]
        copy = self.temporary(shape, self.given.dtype)
        own = tuple(strides[d] for d in kept)
        mask = () if self.given.pairs == "even" else ((len(kept) - 1, 0, elements),)
        body = [Instr("load", (), dtype, Address(operand, own, mask=mask))]
        if dtype != "bfloat16":
            body.append(Instr("cast", (0,), "bfloat16"))
        target = Address(copy.position, (*(stride * 2 for stride in copy.strides[:-1]), 1))
        body.append(Instr("store", (len(body) - 1,), "bfloat16", target))
        self._copy(operand, (*shape[:-1], pairs * 2), body, copy.position)
        return copy

    def _apart(
        self, operand: int, dtype: str, strides: Sequence[Extent], extents: Sequence[Extent], kept: Sequence[int], first: int
    ) -> Matrix:
        """The copy for any strides."""
        elements = extents[first]
        pairs = ceildiv(elements, 2)
        shape = [pairs if d == first else extents[d] for d in kept]
        copy = self.temporary(shape, self.given.dtype)
        own = tuple(strides[d] * 2 if d == first else strides[d] for d in kept)
        mask = () if self.given.pairs == "even" else ((kept.index(first), 0, floordiv(elements, 2)),)
        body = pair_body(dtype, Address(operand, own), Address(operand, own, strides[first], mask))
        body.append(Instr("store", (len(body) - 1,), self.given.dtype, Address(copy.position, copy.strides)))
        self._copy(operand, shape, body, copy.position)
        return copy

    def _copy(self, operand: int, extents: Sequence[Extent], body: Sequence[Instr], target: int) -> None:
        operands = list(self.loaded_operands())
        dtype = body[-1].dtype
        operands[target] = operands[target]._replace(dtype=dtype)
        loop = LoopKernel("pairs", tuple(extents), frozenset(), tuple(operands), tuple(body))
        self.launches += emit_map(self.module, self.target, f"{self.symbol}_pairs{operand}", analyse(loop))


def emit_contraction(module: Module, target: Target, symbol: str, kernel: ContractionKernel) -> CompiledKernel:
    """The launches of a contraction; ``module`` gets what is not in the library: epilogues and copies, often nothing."""
    return (PairsLowering if kernel.pairs else Lowering)(module, target, symbol, kernel).run()
