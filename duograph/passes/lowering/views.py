"""Results that are views: chains of movement from an input that strides can say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from duograph.ir.dim import Expr, contiguous_strides
from duograph.ir.graph import Node, Value
from duograph.ir.primitives import MOVEMENT, PRIMITIVES

from ..fusion.access import reshape_blocks
from ..fusion.groups import Placement

Checks = list[tuple[str, Expr, Expr, int]]


def view_of(value: Value, placements: Mapping[Value, Placement]) -> tuple[Placement, Checks] | None:
    """Where a value lies if it is a view of a placed one, and what must hold of strides for that; else None."""
    chain: list[Node] = []
    while value not in placements:
        node = value.node
        if node is None or PRIMITIVES[node.op].kind != MOVEMENT:
            return None
        chain.append(node)
        value = node.inputs[0]
    placement: Placement | None = placements[value]
    assert placement is not None
    if placement.number:
        return None
    checks: Checks = []
    for node in reversed(chain):
        placement = _step(node, placement, checks)
        if placement is None:
            return None
    return placement, checks


def _step(node: Node, place: Placement, checks: Checks) -> Placement | None:
    """The placement of a movement's result."""
    shape, target = node.inputs[0].shape, node.outputs[0].shape
    strides = list(place.strides)
    offset = place.offset
    if node.op == "permute":
        strides = [strides[d] for d in node.attrs["dims"]]
    elif node.op == "broadcast":
        lead = len(target) - len(shape)
        strides = [*([0] * lead), *(0 if size == 1 and target[lead + d] != 1 else strides[d] for d, size in enumerate(shape))]
    elif node.op == "slice":
        for start, stride in zip(node.attrs["starts"], strides):
            offset = offset + start * stride
        strides = [stride * step for stride, step in zip(strides, node.attrs["steps"])]
    elif node.op == "affine":
        strides, start = affine_strides(node.attrs["offsets"], node.attrs["coefficients"], strides)
        offset = offset + start
    elif node.op == "reshape":
        found = _reshape(shape, target, strides, checks if node.attrs.get("alias") else None)
        if found is None:
            return None
        strides = found
    else:
        return None
    return Placement(place.buffer, tuple(strides), offset)


def affine_strides(offsets: Sequence[Expr], coefficients: Sequence[Expr], strides: Sequence[Expr]) -> tuple[list[Expr], Expr]:
    """The strides of an affine map's result, and where it starts."""
    rank = len(coefficients) // len(offsets) if offsets else 0
    found: list[Expr] = [0] * rank
    start: Expr = 0
    for d, (offset, stride) in enumerate(zip(offsets, strides)):
        start = start + offset * stride
        for r in range(rank):
            found[r] = found[r] + coefficients[d * rank + r] * stride
    return found, start


def _reshape(shape: tuple[Expr, ...], target: tuple[Expr, ...], strides: list[Expr], checks: Checks | None) -> list[Expr] | None:
    """Strides of the reshaped tensor; with `checks` given, what cannot be proved is required when the program runs."""
    if tuple(strides) == contiguous_strides(shape):
        return list(contiguous_strides(target))
    blocks = reshape_blocks(shape, target)
    if blocks is None:
        return None
    result: list[Expr] = [0] * len(target)
    for a, b in blocks:
        for outer, inner in pairwise(a):
            expected = strides[inner] * shape[inner]
            if strides[outer] != expected:
                if checks is None:
                    return None
                checks.append(("eq", strides[outer], expected, 0))
        step = strides[a[-1]]
        for d in reversed(b):
            result[d] = step
            step = step * target[d]
    return result
