"""Neighbouring dims that every access steps through as if they were one, made one."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.kernel import Address, ContractionKernel, Gather, Instr, LoopKernel, Philox
from duograph.codegen.walks import with_walks
from duograph.ir.dim import Expr


def merge_dims(kernel: LoopKernel) -> LoopKernel:
    """The kernel with parallel dims merged where all strides allow it."""
    uses: list[tuple[Expr, ...]] = []
    pinned: set[int] = set(kernel.reduce_dims)
    for instr in kernel.body:
        attr = instr.attr.address if isinstance(instr.attr, Gather) else instr.attr
        if isinstance(attr, (Address, Philox)):
            uses.append(attr.strides)
        if isinstance(attr, Address):
            pinned.update(entry[0] for entry in attr.mask)
        elif instr.op == "index":
            assert isinstance(attr, int)
            pinned.add(attr)
    keep = list(range(len(kernel.extents)))
    extents = list(kernel.extents)
    for d in range(len(extents) - 2, -1, -1):
        inner = next(i for i in keep if i > d)
        if d in pinned or inner in pinned:
            continue
        if all(strides[d] == strides[inner] * extents[inner] for strides in uses):
            extents[inner] = extents[d] * extents[inner]
            keep.remove(d)
    if len(keep) == len(extents):
        return kernel
    renumbered = {d: i for i, d in enumerate(keep)}
    body = tuple(_renumber(instr, keep, renumbered) for instr in kernel.body)
    reduce_dims = frozenset(renumbered[d] for d in kernel.reduce_dims)
    return LoopKernel(kernel.name, tuple(extents[d] for d in keep), reduce_dims, kernel.operands, body)


def _pick(address: Address, keep: Sequence[int], renumbered: dict[int, int]) -> Address:
    mask = tuple((renumbered[d], low, high) for d, low, high in address.mask)
    return Address(address.arg, tuple(address.strides[d] for d in keep), address.offset, mask)


def _renumber(instr: Instr, keep: Sequence[int], renumbered: dict[int, int]) -> Instr:
    attr = instr.attr
    if isinstance(attr, Address):
        attr = _pick(attr, keep, renumbered)
    elif isinstance(attr, Gather):
        attr = Gather(_pick(attr.address, keep, renumbered), attr.indices)
    elif isinstance(attr, Philox):
        attr = Philox(attr.arg, tuple(attr.strides[d] for d in keep), attr.offset)
    elif instr.op == "index":
        assert isinstance(attr, int)
        attr = renumbered[attr]
    return Instr(instr.op, instr.inputs, instr.dtype, attr)


def merge_contraction(kernel: ContractionKernel) -> ContractionKernel:
    """The kernel with neighbouring dims of a class merged where all strides allow it, and the walks where they do not."""
    extents = {"b": list(kernel.batch), "m": list(kernel.m), "n": list(kernel.n), "k": list(kernel.k)}
    rows = [("bmk", kernel.a_strides), ("bkn", kernel.b_strides), ("bmn", kernel.c_strides)]
    rows += [("bmn", instr.attr.strides) for instr in kernel.epilogue if isinstance(instr.attr, Address)]
    parts = [_cut(strides, classes, extents) for classes, strides in rows]
    for name, sizes in extents.items():
        if kernel.beyond and name in "nk":  # rows are told apart, even where they lie one behind the other
            continue
        for d in range(len(sizes) - 2, 0 if kernel.pairs and name == "k" else -1, -1):
            if all(part[name][d] == part[name][d + 1] * sizes[d + 1] for part in parts if name in part):
                sizes[d : d + 2] = [sizes[d] * sizes[d + 1]]
                for part in parts:
                    if name in part:
                        del part[name][d]
    flat = [tuple(stride for name in classes for stride in part[name]) for (classes, _), part in zip(rows, parts)]
    rest = iter(flat[3:])
    epilogue = []
    for instr in kernel.epilogue:
        if isinstance(instr.attr, Address):
            instr = Instr(instr.op, instr.inputs, instr.dtype, Address(instr.attr.arg, next(rest), instr.attr.offset))
        epilogue.append(instr)
    batch, m, n, k = (tuple(extents[name]) for name in "bmnk")
    merged = ContractionKernel(
        kernel.name, kernel.dtype, batch, m, n, k, flat[0], flat[1], flat[2], kernel.operands, tuple(epilogue)
    )
    merged = merged._replace(borders=kernel.borders, beyond=kernel.beyond, pairs=kernel.pairs, paired=kernel.paired)
    return with_walks(merged)


def _cut(strides: Sequence[Expr], classes: str, extents: dict[str, list[Expr]]) -> dict[str, list[Expr]]:
    """The strides by class."""
    result: dict[str, list[Expr]] = {}
    at = 0
    for name in classes:
        result[name] = list(strides[at : at + len(extents[name])])
        at += len(extents[name])
    return result
