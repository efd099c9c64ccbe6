"""Images whose channels are multiplied in pairs (see `codegen.contraction.pairs`): made once, before windows of them are read.

What a contraction reads once it brings into pairs by itself. An image is read once for each tap, so its pairs are an image, too:
with half as many channels of 32 bits, read by the same windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from duograph.codegen.kernel import Address, Instr, LoopKernel, Operand, pair_body
from duograph.ir.dim import Expr, ceildiv, contiguous_strides, floordiv, product
from duograph.ir.graph import Node

from ..fusion.access import Index, is_plain
from ..fusion.groups import Buffer, Group, Request
from ..fusion.schedule import KernelStep
from .merge import merge_dims


class Paired(NamedTuple):
    """An image in pairs, what tells it from others, where an operand begins in it, how far it goes along each loop, and the step
    that makes it, if there is none yet."""

    buffer: Buffer
    key: tuple[Any, ...]
    offset: Expr
    strides: dict[int, Expr]
    step: KernelStep | None

    @property
    def start(self) -> Buffer:
        return self.buffer.view(self.offset)

    def along(self, loops: Sequence[int]) -> tuple[Expr, ...]:
        return tuple(self.strides.get(loop, 0) for loop in loops)


class Pairs:
    """The images in pairs that steps which follow each other make and share."""

    def __init__(self) -> None:
        self.made: dict[tuple[Any, ...], Buffer] = {}

    def steps(self, wanted: Sequence[Paired | None]) -> list[KernelStep]:
        """The steps that make those which are not there; from now on they are."""
        found = [paired for paired in wanted if paired is not None and paired.step is not None]
        self.made.update((paired.key, paired.buffer) for paired in found)
        return [paired.step for paired in found if paired.step is not None]

    def of(self, request: Request, group: Group, node: Node, loop: int) -> Paired | None:
        """The pairs of an operand of `node` along a loop; None if it is read once only, and not there in pairs."""
        assert request.placement is not None
        access = request.access
        places = [d for d, index in enumerate(access) if any(term[0] == loop for term in index.terms)]
        if len(places) != 1 or request.placement.number or not all(map(is_plain, access)):
            return None
        image = _Image(request, group, loop, places[0])
        buffer = self.made.get(image.key)
        if buffer is not None:
            return image.paired(buffer, None)
        if not _is_windowed(access):
            return None
        buffer = Buffer("temp", -1, node.outputs[0].dtype, image.extents, "pairs")
        return image.paired(buffer, image.step(buffer, node))


class _Image:
    """What an operand is read from, and the same in pairs: its channels' dim becomes those they are counted by, pairs last."""

    def __init__(self, request: Request, group: Group, loop: int, place: int) -> None:
        self.request, self.loop, self.place = request, loop, place
        channels, whole = request.access[place], request.value.shape
        self.others = [(term[0], term[1]) for term in channels.terms if term[0] != loop]
        self.between = next(term[1] for term in channels.terms if term[0] == loop)
        self.count = group.extents[loop]
        counted = [group.extents[other] for other, _ in self.others]
        self.extents: tuple[Expr, ...] = (*whole[:place], *counted, ceildiv(self.count, 2), *whole[place + 1 :])
        steps = tuple(coefficient for _, coefficient in self.others)
        self.key = (request.value, place, channels.offset, self.between, steps, self.count, self.extents)

    def step(self, buffer: Buffer, node: Node) -> KernelStep:
        """What makes the pairs."""
        placement, place = self.request.placement, self.place
        assert placement is not None
        apart, dtype = placement.strides[place], placement.buffer.dtype
        inner = [coefficient * apart for _, coefficient in self.others]
        source = (*placement.strides[:place], *inner, 2 * self.between * apart, *placement.strides[place + 1 :])
        first = placement.offset + self.request.access[place].offset * apart
        mask = () if is_even(self.count) else ((place + len(self.others), 0, floordiv(self.count, 2)),)
        body = pair_body(dtype.name, Address(0, source, first), Address(0, source, first + self.between * apart, mask))
        body.append(Instr("store", (len(body) - 1,), buffer.dtype.name, Address(1, tuple(contiguous_strides(self.extents)))))
        operands = (Operand(dtype.name), Operand(buffer.dtype.name, "out"))
        kernel = merge_dims(LoopKernel("pairs", self.extents, frozenset(), operands, tuple(body)))
        moved = product(self.extents) * (2 * dtype.itemsize + buffer.dtype.itemsize)
        locations = () if node.location is None else (node.location,)
        return KernelStep(kernel, (placement.buffer, buffer), (node,), locations, 0, moved)

    def paired(self, buffer: Buffer, step: KernelStep | None) -> Paired:
        """How the operand reads the pairs."""
        made = contiguous_strides(self.extents)
        more = len(self.others)
        strides: dict[int, Expr] = {other: made[self.place + i] for i, (other, _) in enumerate(self.others)}
        strides[self.loop] = made[self.place + more]
        offset: Expr = 0
        for d, index in enumerate(self.request.access):
            if d != self.place:
                own = made[d if d < self.place else d + more]
                offset = offset + index.offset * own
                for other, coefficient, _, _ in index.terms:
                    strides[other] = strides.get(other, 0) + coefficient * own
        return Paired(buffer, self.key, offset, strides, step)


def is_even(count: Expr) -> bool:
    """Whether it is known that none is left over."""
    return isinstance(count, int) and count % 2 == 0


def _is_windowed(access: Sequence[Index]) -> bool:
    """Whether elements are read at several indices."""
    loops = [term[0] for index in access for term in index.terms]
    return any(len(index.terms) > 1 for index in access) or len(set(loops)) < len(loops)
