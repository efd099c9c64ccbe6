"""Kernels in a row that run band by band: products over pixels before and behind sums over windows, as in MobileNet.

Each by itself writes all of a tensor before the next one reads it. Where that is more than a cache holds, it is better that
some rows of pixels go through all of them, and then the next ones: the core's runner does so (`core/program_chain.cpp`). What
one writes for the next then has room in a worker's scratch, a few rows of it, and none in the program's memory.
No kernel computes anything else, so no bit is another one: a product's chunks are rows of pixels, whose numbers the runner
knows, the sums are told which rows to make, and what lies in between has other strides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from duograph.codegen.contraction.algorithms import by_rule
from duograph.codegen.contraction.driver import HEADER as PRODUCT
from duograph.codegen.contraction.epilogue import may_run_hot
from duograph.codegen.contraction.library import symbol_of
from duograph.codegen.contraction.parts import TILED, cut_anywhere
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import CompiledKernel, ContractionKernel, Extent, WindowKernel
from duograph.codegen.windows.launch import HEADER as WINDOWS
from duograph.codegen.windows.launch import LANES
from duograph.ir.dim import bounds, ceildiv, floordiv, maximum, minimum, product
from duograph.passes.fusion.groups import Buffer
from duograph.passes.fusion.schedule import KernelStep, Schedule, Step, touched

_LARGE = 1 << 20  # bytes of what the kernels write for each other: less stays in the second cache by itself
_BAND_BYTES = 3 << 18  # of these in a band, if the fewest rows are not more
_LEAST_ROWS = 8  # of a band: sums are made of four rows at once, and some of those before them twice where a share begins
_BANDS = 8  # there should be, to be shared by threads
_FEWEST_PIXELS = 128  # of an image: products of several smaller ones are made together
_A, _B, _C = range(3)  # positions of the operands of a product; of sums: x, kernels, result


class Between(NamedTuple):
    """A few rows of what one kernel writes for the next: how many channels, bytes of each, bytes of a row."""

    channels: Extent
    plane: Extent
    row: Extent


class Chain(NamedTuple):
    """Steps that run together.

    window   which of them makes the sums
    rows     images, rows of their images, rows of sums, those of a band, where sums read from (stride, low, span), groups
    betweens  what is written before the sums, and by them; no channels: nothing
    """

    steps: tuple[KernelStep, ...]
    window: int
    rows: tuple[Extent, ...]
    betweens: tuple[Between, Between]

    def words(self) -> list[Extent]:
        """What `core.Program` is told, all of it sizes."""
        return [*self.rows, *self.betweens[0], *self.betweens[1]]

    def buffers(self) -> list[Buffer]:
        """All memory that the steps use: it is there from the first to the last."""
        return [buffer for step in self.steps for buffer in step.buffers]


PLACES = WINDOWS.index("first1"), WINDOWS.index("end1")


def with_chains(plan: Schedule) -> tuple[Schedule, list[Chain]]:
    """The schedule whose chains have kernels made for that, and the chains."""
    steps = list(plan.steps)
    uses = Counter(touched(steps))
    chains: list[Chain] = []
    taken = -1
    for i, step in enumerate(steps):
        if not isinstance(step, KernelStep) or not isinstance(step.kernel, WindowKernel):
            continue
        before = steps[i - 1] if i - 1 > taken else None
        chain = _Rows(step, uses, 2 * len(chains)).chain(before, steps[i + 1] if i + 1 < len(steps) else None)
        if chain is not None:
            start = i - chain.window
            taken = start + len(chain.steps) - 1
            steps[start : taken + 1] = chain.steps
            chains.append(chain)
    return (replace(plan, steps=tuple(steps)) if chains else plan), chains


def cut_launches(chains: Sequence[Chain], compiled: dict[int, CompiledKernel]) -> bool:
    """Make a row of pixels a chunk of the chains' products. False if one of the kernels is not the one launch it should be."""
    for chain in chains:
        images, rows_in, rows = chain.rows[:3]
        for position, step in enumerate(chain.steps):
            launches = compiled[id(step)].launches
            if len(launches) != 1:
                return False
            if not isinstance(step.kernel, ContractionKernel):
                continue
            words = list(launches[0].size_exprs)
            if launches[0].symbol != symbol_of(step.kernel.dtype) or words[PRODUCT.index("spread")] != 0:
                return False
            count = rows_in if position < chain.window else rows
            m, n = product(list(step.kernel.m)), step.kernel.n[-1]
            for name, value in (("rows_per_chunk", m), ("columns_per_chunk", floordiv(n, count)), ("joined", 0)):
                words[PRODUCT.index(name)] = value
            made = cut_anywhere(launches[0]._replace(size_exprs=tuple(words), chunks=images * count, grain=0))
            compiled[id(step)] = compiled[id(step)]._replace(launches=(made,))
    return True


class _Rows:
    """A step that may make sums over rows of images, and the products around it."""

    def __init__(self, step: KernelStep, uses: Counter[Buffer], number: int) -> None:
        """`uses`: of each buffer; `number`: of the next buffer between kernels."""
        assert isinstance(step.kernel, WindowKernel)
        self.step, self.sums, self.uses, self.number = step, step.kernel, uses, number
        self.images, self.groups, self.made, self.read = self.sums.planes
        self.rows_in, self.width_in = self.sums.sizes[1:]
        self.rows, self.width = self.sums.counts[1:]

    def chain(self, before: Step | None, behind: Step | None) -> Chain | None:
        """The chain of this step and those around it, if there is one that pays."""
        sums = self.sums
        flat = all(part[0] == 1 for part in (sums.sizes, sums.counts, sums.taps)) and sums.low[0] == 0
        if sums.op != "sums" or not flat or not may_run_hot(sums.epilogue):
            return None
        first = before if isinstance(before, KernelStep) and self._is_before(before) else None
        last = behind if isinstance(behind, KernelStep) and self._is_behind(behind) else None
        members = [step for step in (first, self.step, last) if step is not None]
        if not _is_ordered(members):
            return None
        size = DTYPES[sums.dtype].size
        lines = [
            self.groups * self.read * self.width_in * sums.stride[1] * size if first is not None else 0,
            self.groups * self.made * self.width * size if last is not None else 0,
        ]
        line = lines[0] + lines[1]
        pixels = minimum(self.rows_in * self.width_in, self.rows * self.width)
        enough = ((self.images * self.rows * line, _LARGE), (pixels, _FEWEST_PIXELS), (self.rows, 2 * _LEAST_ROWS))
        if len(members) == 1 or any(bounds(value)[0] < least for value, least in enough):
            return None
        band = minimum(floordiv(_BAND_BYTES, line), floordiv(self.images * self.rows, _BANDS))
        band = maximum(floordiv(band, _LEAST_ROWS) * _LEAST_ROWS, _LEAST_ROWS)
        span = (sums.taps[1] - 1) * sums.dilation[1] + 1
        most = (band - 1) * sums.stride[1] + span
        betweens = (
            _between(first is not None, self.groups * self.read, most, self.width_in, size),
            _between(last is not None, self.groups * self.made, band, self.width, size),
        )
        where = (sums.stride[1], sums.low[1], span, self.groups)
        rows = (self.images, self.rows_in, self.rows, band, *where)
        steps = self._rewritten(first, last, betweens, size)
        return Chain(steps, int(first is not None), rows, betweens)

    def _is_before(self, step: KernelStep) -> bool:
        """Whether a product makes the image of the sums, all of its channels row by row."""
        kernel = step.kernel
        if not isinstance(kernel, ContractionKernel) or not self._is_product(step) or not self._only_for(step, _C, self.step, 0):
            return False
        image, group, channel, *places = self.sums.x_strides
        inner = group if self.read == 1 else channel
        plain = places[1:] == [self.width_in, 1] and (self.read == 1 or group == self.read * channel)
        outer, (row, column) = _apart(kernel, kernel.c_strides, len(kernel.m))
        same = (self.images == 1 or outer == [image]) and row == inner and column == 1
        return plain and same and kernel.m == (self.groups * self.read,) and self._is_over(kernel, self.rows_in * self.width_in)

    def _is_behind(self, step: KernelStep) -> bool:
        """Whether a product reads the sums, all of their channels row by row."""
        kernel = step.kernel
        if not isinstance(kernel, ContractionKernel) or not self._is_product(step) or not self._only_for(self.step, 2, step, _B):
            return False
        channels, plane = self.groups * self.made, self.rows * self.width
        outer, inner = _apart(kernel, kernel.b_strides, len(kernel.k))
        same = inner == (plane, 1) and outer == ([] if self.images == 1 else [channels * plane])
        return same and kernel.k == (channels,) and self._is_over(kernel, plane)

    def _is_product(self, step: KernelStep) -> bool:
        """Whether a kernel is one launch of the library's product, which reads B as it lies."""
        kernel = step.kernel
        assert isinstance(kernel, ContractionKernel)
        decided = by_rule(kernel)
        named = decided.direct is False and decided.taps is False and not decided.winograd and not decided.pairs
        alike = kernel.dtype in TILED and all(operand.dtype == kernel.dtype for operand in kernel.operands[:3])
        return named and alike and kernel.operands[_C].role == "out" and may_run_hot(kernel.epilogue) and len(kernel.m) == 1

    def _only_for(self, writer: KernelStep, place: int, reader: KernelStep, other: int) -> bool:
        """Whether what one step writes is only there for the other one to read."""
        buffer = writer.buffers[place]
        return buffer is reader.buffers[other] and buffer.kind == "temp" and self.uses[buffer] == 2

    def _is_over(self, kernel: ContractionKernel, pixels: Extent) -> bool:
        """Whether a matrix is an image, and its columns are the pixels."""
        outer = [count for count in (*kernel.batch, *kernel.n[:-1]) if count != 1]
        return kernel.n[-1] == pixels and outer == ([] if self.images == 1 else [self.images])

    def _rewritten(
        self, first: KernelStep | None, last: KernelStep | None, betweens: tuple[Between, Between], size: int
    ) -> tuple[KernelStep, ...]:
        """The steps, between which there are a few rows of one image."""
        steps, sums, buffers = [], self.sums, list(self.step.buffers)
        if first is not None:
            assert isinstance(first.kernel, ContractionKernel)
            plane, own = floordiv(betweens[0].plane, size), list(first.buffers)
            buffers[0] = own[_C] = _rows_of(own[_C], self.number)
            strides = _with(first.kernel, first.kernel.c_strides, plane)
            steps.append(first._replace(kernel=first.kernel._replace(c_strides=strides), buffers=tuple(own)))
            channels = (plane, plane) if self.read == 1 else (self.read * plane, plane)
            sums = sums._replace(x_strides=(0, *channels, *sums.x_strides[3:]))
        if last is not None:
            assert isinstance(last.kernel, ContractionKernel)
            plane, own = floordiv(betweens[1].plane, size), list(last.buffers)
            buffers[2] = own[_B] = _rows_of(own[_B], self.number + 1)
            sums = sums._replace(plane=plane)
            strides, walk = _with(last.kernel, last.kernel.b_strides, plane), ((last.kernel.k[0], plane),)
            kernel = last.kernel._replace(b_strides=strides, b_walk=walk if last.kernel.b_walk else ())
            last = last._replace(kernel=kernel, buffers=tuple(own))
        steps.append(self.step._replace(kernel=sums, buffers=tuple(buffers)))
        return (*steps, last) if last is not None else tuple(steps)


def _between(wanted: bool, channels: Extent, rows: Extent, width: Extent, size: int) -> Between:
    if not wanted:
        return Between(0, 0, 0)
    return Between(channels, ceildiv(rows * width, LANES) * LANES * size, width * size)


def _rows_of(buffer: Buffer, number: int) -> Buffer:
    """Some rows of a buffer, in a worker's scratch."""
    return Buffer("band", number, buffer.dtype, buffer.shape, buffer.name)


def _apart(kernel: ContractionKernel, strides: tuple[Extent, ...], inner: int) -> tuple[list[Extent], tuple[Extent, ...]]:
    """Strides over matrices of which there are several, and those within one."""
    batch = len(kernel.batch)
    counts = (*kernel.batch, *kernel.n[:-1])
    outer = [s for s, count in zip((*strides[:batch], *strides[batch + inner : -1]), counts) if count != 1]
    return outer, (*strides[batch : batch + inner], strides[-1])


def _with(kernel: ContractionKernel, strides: tuple[Extent, ...], plane: Extent) -> tuple[Extent, ...]:
    """The strides where rows (of C) or k (of B) lie so far apart, and there is one image."""
    batch = len(kernel.batch)
    return (*[0] * batch, plane, *[0] * (len(strides) - batch - 2), strides[-1])


def _is_ordered(members: Sequence[KernelStep]) -> bool:
    """Whether all write memory that is the program's own, and none writes what one before it reads or writes."""
    for i, step in enumerate(members):
        written = {buffer.owner for buffer in step.writes}
        if any(buffer.kind not in ("temp", "output") for buffer in written):
            return False
        if any(buffer.owner in written for earlier in members[:i] for buffer in earlier.buffers):
            return False
    return True
