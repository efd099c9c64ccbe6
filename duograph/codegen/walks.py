"""How the operands of a contraction are walked where their dims do not merge: see `contraction.spread`."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.kernel import Address, ContractionKernel, Extent, Instr, Walk
from duograph.ir.dim import ceildiv


def walk_of(extents: Sequence[Extent], strides: Sequence[Extent]) -> Walk:
    """The dims as few as they can be; at least one."""
    dims: list[tuple[Extent, Extent]] = []
    for extent, stride in zip(extents, strides):
        if dims and (dims[-1][1] == stride * extent or dims[-1][0] == 1):
            dims[-1] = (dims[-1][0] * extent, stride)
        elif extent != 1 or not dims:
            dims.append((extent, stride))
    return tuple(dims) or ((1, 0),)


def _walk(kernel: ContractionKernel, extents: Sequence[Extent], strides: Sequence[Extent]) -> Walk:
    """How B is walked: where zeros around it are left out, rows are told apart."""
    return tuple(zip(extents, strides)) if kernel.beyond else walk_of(extents, strides)


def with_walks(kernel: ContractionKernel) -> ContractionKernel:
    """The kernel with its walks, and the last dims of n as one where C and the epilogue allow it and B may be walked."""
    batch, k = len(kernel.batch), len(kernel.k)
    kernel = kernel._replace(
        a_walk=walk_of(kernel.k, kernel.a_strides[batch + len(kernel.m) :]),
        b_walk=_walk(kernel, kernel.k, kernel.b_strides[batch : batch + k]),
    )
    is_walkable = kernel.dtype in ("float32", "float64") and kernel.operands[1].dtype == kernel.dtype
    is_walkable = is_walkable and (not kernel.pairs or kernel.paired[1])
    return _join_columns(kernel) if is_walkable else kernel


def counted_in_pairs(kernel: ContractionKernel) -> ContractionKernel:
    """The kernel whose first dim of k counts pairs of elements."""
    if kernel.pairs in ("", "made"):
        return kernel
    return with_walks(kernel._replace(k=(ceildiv(kernel.k[0], 2), *kernel.k[1:]), pairs="made"))


def _join_columns(kernel: ContractionKernel) -> ContractionKernel:
    attrs = [instr.attr for instr in kernel.epilogue if instr.attr is not None]
    if any(instr.op == "index" for instr in kernel.epilogue) or not all(_is_plain(attr) for attr in attrs):
        return kernel
    uses = [kernel.c_strides, *(attr.strides for attr in attrs if isinstance(attr, Address))]
    n, last = kernel.n, len(kernel.n)
    first = last - 1
    while first > 0 and all(_tail(s, last)[first - 1] == _tail(s, last)[first] * n[first] for s in uses):
        first -= 1
    if first >= last - 1:
        return kernel
    joined: Extent = 1
    for extent in n[first:]:
        joined = joined * extent
    walk = _walk(kernel, n[first:], _tail(kernel.b_strides, last)[first:])

    def shortened(strides: tuple[Extent, ...]) -> tuple[Extent, ...]:
        return (*strides[: len(strides) - last + first], strides[-1])

    def moved(instr: Instr) -> Instr:
        attr = instr.attr
        return instr._replace(attr=attr._replace(strides=shortened(attr.strides))) if isinstance(attr, Address) else instr

    epilogue = tuple(map(moved, kernel.epilogue))
    b_strides = (*kernel.b_strides[: len(kernel.b_strides) - last + first], 0)
    c_strides = shortened(kernel.c_strides)
    return kernel._replace(n=(*n[:first], joined), b_strides=b_strides, c_strides=c_strides, epilogue=epilogue, columns=walk)


def _tail(strides: Sequence[Extent], count: int) -> Sequence[Extent]:
    return strides[len(strides) - count :]


def _is_plain(attr: object) -> bool:
    return not isinstance(attr, tuple) or (isinstance(attr, Address) and not attr.mask)
