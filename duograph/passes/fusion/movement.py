"""Following requests through movement nodes: the indices and the mask at the operand."""

from __future__ import annotations

from duograph.ir.dim import ceildiv, contiguous_strides
from duograph.ir.graph import Node, Value
from duograph.ir.primitives import ELEMENTWISE, MOVEMENT, NULLARY, PRIMITIVES, RANDOM

from .access import (
    Access,
    Index,
    Mask,
    Split,
    divided,
    is_plain,
    linear,
    through_affine,
    through_broadcast,
    through_flip,
    through_permute,
    through_reshape,
    through_slice,
)
from .groups import Group, Request


def through(node: Node, group: Group, request: Request) -> tuple[Access, Mask] | Split | None:
    """Indices and mask at the operand of a movement node; None where they cannot be expressed."""
    access, mask = request.access, request.mask
    shape, target = node.inputs[0].shape, node.outputs[0].shape
    if node.op == "reshape":
        found = through_reshape(access, shape, target, group.extents, group.splittable())
        if found is None:
            return None
        if isinstance(found, Split):
            masked = any(entry[0] == found.loop for r in group.all_requests() for entry in r.mask)
            return None if masked else found
        return found, mask
    if node.op == "broadcast":
        found = through_broadcast(access, shape, target)
        return (found, mask) if not divided(access) or is_plain(linear(found, contiguous_strides(shape))) else None
    if divided(access):
        return None
    if node.op == "permute":
        return through_permute(access, node.attrs["dims"]), mask
    if node.op == "slice":
        return through_slice(access, node.attrs["starts"], node.attrs["steps"]), mask
    if node.op == "affine":
        return through_affine(access, node.attrs["offsets"], node.attrs["coefficients"]), mask
    if node.op == "flip":
        return through_flip(access, node.attrs["dims"], shape), mask
    if node.op == "pad":
        return _through_pad(node, group, access, mask)
    return None


def is_read(value: Value, dim: int) -> bool:
    """Whether computing an element loads something at a place that its index along `dim` decides."""
    pending: list[tuple[Value, int | None]] = [(value, dim)]  # None: any index
    seen: set[tuple[Value, int | None]] = set()
    while pending:
        asked = pending.pop()
        if asked in seen:
            continue
        seen.add(asked)
        found = _computed_from(*asked)
        if found is None:
            return True
        pending += found
    return False


def _computed_from(value: Value, dim: int | None) -> list[tuple[Value, int | None]] | None:
    """The operands whose elements along which dimension a kernel needs for one of the value; None if it loads that."""
    node = value.node
    kind = None if node is None else PRIMITIVES[node.op].kind
    if node is None or kind is None:
        return None
    if kind == ELEMENTWISE:
        return [(operand, dim) for operand in node.inputs]
    if node.op == "broadcast":
        (operand,) = node.inputs
        if dim is not None:
            dim -= len(value.shape) - len(operand.shape)
            if dim < 0 or operand.shape[dim] != value.shape[dim]:
                return []
        return [(operand, dim)]
    if node.op == "reduce" or (kind == MOVEMENT and node.op != "concat"):
        return [(node.inputs[0], None)]
    if node.op in ("gather", "take"):
        return [(node.inputs[1], None)]
    is_array = node.op == "constant" and isinstance(node.attrs["value"], bytes)
    return [] if kind in (NULLARY, RANDOM) and not is_array else None


def _through_pad(node: Node, group: Group, access: Access, mask: Mask) -> tuple[Access, Mask] | None:
    if group.kind != "loop":
        return None
    indices: list[Index] = []
    entries = list(mask)
    for d, index in enumerate(access):
        low, size = node.attrs["low"][d], node.inputs[0].shape[d]
        if low == 0 and node.attrs["high"][d] == 0:
            indices.append(index)
            continue
        steps = _steps(index)
        if steps is None or steps[0] < 0 or steps[0] == group.reduce:
            return None
        loop, step = steps
        start = low - index.offset
        entries.append((loop, ceildiv(start, step), ceildiv(start + size, step)))
        indices.append(Index(index.offset - low, index.terms))
    return tuple(indices), tuple(entries)


def _steps(index: Index) -> tuple[int, int] | None:
    """The loop along which an index moves, and by how much: a known number above 0."""
    if len(index.terms) != 1:
        return None
    loop, coefficient, divisor, modulus = index.terms[0]
    plain = divisor == 1 and modulus is None
    return (loop, coefficient) if plain and isinstance(coefficient, int) and coefficient > 0 else None
