"""From a group that works on rows to its kernel spec."""

from __future__ import annotations

from duograph.codegen.kernel import Address, RowKernel
from duograph.errors import InternalError
from duograph.ir.dim import Expr, product
from duograph.ir.graph import Node

from ..fusion.groups import Group, Placement, Request
from ..fusion.schedule import KernelStep
from .lower import Lowering


def lower_rows(group: Group) -> KernelStep:
    """A scan, sort, selection, search or choice by a mask as a call of the core's function for its dtype."""
    node = group.node
    assert node is not None
    dim = node.attrs["dim"]
    lowering = Lowering(group, group.order)
    lowering.nodes.setdefault(node)
    rows = [_read(lowering, request, dim) for request in group.operands]
    outer = tuple(group.extents[loop] for loop in group.order)
    for value, target in zip(node.outputs, group.carried):
        position = lowering.operand(target.placement.buffer, writes=True)
        strides = _without_ones(target.placement, value.shape, dim)
        address = Address(position, strides, target.placement.offset)
        rows.append((address, value.shape[dim], target.placement.strides[dim]))
    function, numbers = _function(node)
    kernel = RowKernel("rows", function, outer, lowering.operands(), tuple(rows), numbers)
    traffic: Expr = 0
    for value in (*node.inputs, *node.outputs):
        traffic = traffic + value.type.bytes
    if node.op == "scan":
        lowering.flops = product(node.outputs[0].shape)
    return lowering.step(kernel, traffic)


def _function(node: Node) -> tuple[str, tuple[Expr, ...]]:
    """The name of the core's function and its own numbers."""
    dtype = node.inputs[0].dtype.name
    if node.op == "scan":
        return f"scan_{node.attrs['kind']}_{dtype}", ()
    if node.op == "compress":
        return f"compress_{8 * node.inputs[0].dtype.itemsize}", ()
    if node.op == "spans":
        return "spans", ()
    if node.op == "search":
        return f"search_{dtype}", (int(node.attrs["right"]),)
    numbers: tuple[Expr, ...] = (int(node.attrs["descending"]),)
    if len(node.outputs) == 1:
        return f"order_{dtype}", numbers
    return f"{node.op}_{dtype}", numbers if node.op == "sort" else (*numbers, node.attrs["first"])


def _read(lowering: Lowering, request: Request, dim: int) -> tuple[Address, Expr, Expr]:
    """Where the rows of an operand lie."""
    loaded = request.loaded()
    placement = loaded.placement
    if placement is None or loaded.mask:
        raise InternalError(f"{request.value!r} has no place in memory")
    index = loaded.address()
    position = lowering.operand(placement.buffer, writes=False)
    inner = request.access[dim].loop
    strides: list[Expr] = [0] * len(lowering.order)
    stride: Expr = 0
    for loop, coefficient, _, _ in index.terms:
        if loop == inner:
            stride = stride + coefficient
        else:
            strides[lowering.dims[loop]] = strides[lowering.dims[loop]] + coefficient
    return Address(position, tuple(strides), index.offset), request.value.shape[dim], stride


def _without_ones(placement: Placement, shape: tuple[Expr, ...], dim: int) -> tuple[Expr, ...]:
    """The strides of the dims that are loops."""
    kept = [s for d, s in enumerate(placement.strides) if d != dim and not (shape[d].__class__ is int and shape[d] == 1)]
    return tuple(kept)
