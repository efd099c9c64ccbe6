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
    """An image in pairs, where an operand begins in it, how far it goes along each loop, and the step that makes it."""

    buffer: Buffer
    offset: Expr
    strides: dict[int, Expr]
    step: KernelStep

    @property
    def start(self) -> Buffer:
        return self.buffer.view(self.offset)

    def along(self, loops: Sequence[int]) -> tuple[Expr, ...]:
        return tuple(self.strides.get(loop, 0) for loop in loops)


def in_pairs(request: Request, group: Group, node: Node, loop: int, dtype: Any) -> Paired | None:
    """The pairs of an operand of `node` along a loop; None if it is not read in windows."""
    placement, access = request.placement, request.access
    assert placement is not None
    if not _is_windowed(access) or not all(map(is_plain, access)):
        return None
    places = [d for d, index in enumerate(access) if any(term[0] == loop for term in index.terms)]
    if len(places) != 1 or placement.number:
        return None
    (place,) = places
    whole = request.value.shape
    channels = access[place]
    others = [(term[0], term[1]) for term in channels.terms if term[0] != loop]
    step = next(term[1] for term in channels.terms if term[0] == loop)
    count = group.extents[loop]
    # The image's dims, with those that its channels are counted by in their place, the pairs last.
    extents: list[Expr] = [*whole[:place], *(group.extents[other] for other, _ in others), ceildiv(count, 2), *whole[place + 1 :]]
    apart = placement.strides[place]
    inner = [coefficient * apart for _, coefficient in others]
    source = (*placement.strides[:place], *inner, 2 * step * apart, *placement.strides[place + 1 :])
    first = placement.offset + channels.offset * apart
    made = contiguous_strides(extents)
    pair = place + len(others)
    buffer = Buffer("temp", -1, dtype, extents, "pairs")
    mask = () if is_even(count) else ((pair, 0, floordiv(count, 2)),)
    body = pair_body(placement.buffer.dtype.name, Address(0, source, first), Address(0, source, first + step * apart, mask))
    body.append(Instr("store", (len(body) - 1,), "float32", Address(1, tuple(made))))
    operands = (Operand(placement.buffer.dtype.name), Operand("float32", "out"))
    kernel = merge_dims(LoopKernel("pairs", tuple(extents), frozenset(), operands, tuple(body)))
    moved = product(extents) * (2 * placement.buffer.dtype.itemsize + dtype.itemsize)
    locations = () if node.location is None else (node.location,)
    work = KernelStep(kernel, (placement.buffer, buffer), (node,), locations, 0, moved)
    strides: dict[int, Expr] = {other: made[place + i] for i, (other, _) in enumerate(others)}
    strides[loop] = made[pair]
    offset: Expr = 0
    for d, index in enumerate(access):
        if d != place:
            own = made[d if d < place else d + len(others)]
            offset = offset + index.offset * own
            for other, coefficient, _, _ in index.terms:
                strides[other] = strides.get(other, 0) + coefficient * own
    return Paired(buffer, offset, strides, work)


def is_even(count: Expr) -> bool:
    """Whether it is known that none is left over."""
    return isinstance(count, int) and count % 2 == 0


def _is_windowed(access: Sequence[Index]) -> bool:
    """Whether elements are read at several indices."""
    loops = [term[0] for index in access for term in index.terms]
    return any(len(index.terms) > 1 for index in access) or len(set(loops)) < len(loops)
