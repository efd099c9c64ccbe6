"""Kernels on some of the images that they are made for, and how their operands then move from turn to turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from duograph.codegen.kernel import Address, ContractionKernel, Extent, Gather, Instr, Kernel, LoopKernel, Philox, WindowKernel
from duograph.ir.dim import product

_X, _C = 1, 2  # positions among the operands: of a product's images, and of its result, as of that of sums


class Use(NamedTuple):
    """How an operand is used: elements from turn to turn, and the first and the last one of a turn, from its start."""

    step: int
    low: int
    high: int


class Part(NamedTuple):
    """A kernel on the images of one turn, and the uses of its operands."""

    kernel: Kernel
    uses: dict[int, Use]

    def moves(self, operand: int) -> bool:
        """Whether another part of an operand is used in each turn."""
        return operand in self.uses and self.uses[operand].step != 0


def images_of(kernel: Kernel) -> int:
    """The images of a convolution; 1 of anything else."""
    images: object = 1
    if isinstance(kernel, ContractionKernel) and len(kernel.n) > 1:
        images = kernel.n[0]
    elif isinstance(kernel, WindowKernel) and kernel.op == "sums":
        images = kernel.planes[0]
    return images if isinstance(images, int) else 1


def is_around(kernel: Kernel, operand: int) -> bool:
    """Whether an operand is read around each of several images, but for what would lie beside it."""
    if not isinstance(kernel, ContractionKernel) or not kernel.beyond or operand != _X:
        return False
    return len(kernel.n) + max(len(kernel.columns) - 1, 0) > len(kernel.borders)


def part_of(kernel: Kernel, images: int, turns: int) -> Part | None:
    """A kernel on its share of the images in a turn; None if it does not keep them apart, or its sizes are not known."""
    try:
        if isinstance(kernel, LoopKernel):
            return _loops(kernel, turns)
        if images_of(kernel) != images:
            return None
        if isinstance(kernel, ContractionKernel):
            return _product(kernel, images // turns)
        return _sums(kernel, images // turns) if isinstance(kernel, WindowKernel) else None
    except _NotApart:
        return None


class _NotApart(Exception):
    """A kernel does not keep images apart, or its sizes are not known."""


def _number(size: Extent) -> int:
    if not isinstance(size, int):
        raise _NotApart
    return size


class _Uses:
    """The uses of a kernel's operands."""

    def __init__(self) -> None:
        self.found: dict[int, Use] = {}

    def add(self, operand: int, step: Extent, dims: Iterable[tuple[Extent, Extent]], offset: Extent = 0) -> None:
        """Elements from turn to turn, (extent, elements) of each dim within one, the first element."""
        spans = [(_number(extent) - 1) * _number(apart) for extent, apart in dims if extent != 1]
        low, high = (_number(offset) + sum(bound(span, 0) for span in spans) for bound in (min, max))
        before = self.found.setdefault(operand, Use(_number(step), low, high))
        if before.step != step:
            raise _NotApart
        self.found[operand] = Use(before.step, min(before.low, low), max(before.high, high))


def _loops(kernel: LoopKernel, turns: int) -> Part:
    if not kernel.extents or _number(kernel.extents[0]) % turns or 0 in kernel.reduce_dims:
        raise _NotApart
    extents, uses = (_number(kernel.extents[0]) // turns, *kernel.extents[1:]), _Uses()
    for instr in kernel.body:
        attr = instr.attr
        if isinstance(attr, (Gather, Philox)) or (instr.op == "index" and attr == 0):
            raise _NotApart
        if isinstance(attr, Address):
            first, dims = _read(attr, extents)
            uses.add(attr.arg, _number(attr.strides[0]) * extents[0], dims, first)
    return Part(kernel._replace(extents=extents), uses.found)


def _read(address: Address, extents: Sequence[Extent]) -> tuple[int, list[tuple[Extent, Extent]]]:
    """The first element of a turn that a mask does not leave out, and the dims of those it does not."""
    first, sizes = _number(address.offset), list(extents)
    masked = [entry[0] for entry in address.mask]
    if 0 in masked or len(set(masked)) < len(masked):
        raise _NotApart
    for d, low, high in address.mask:
        begin, end = max(_number(low), 0), min(_number(high), _number(extents[d]))
        first += begin * _number(address.strides[d])
        sizes[d] = max(end - begin, 1)
    return first, list(zip(sizes, address.strides))


def _product(kernel: ContractionKernel, share: int) -> Part:
    batch, m, k = (len(part) for part in (kernel.batch, kernel.m, kernel.k))
    if kernel.winograd:
        raise _NotApart
    uses, walked, n = _Uses(), list(kernel.columns), (share, *kernel.n[1:])
    of_k = ((_number(kernel.k[0]) + 1) // 2, *kernel.k[1:]) if kernel.paired[1] else kernel.k
    inner = [*zip((*kernel.batch, *of_k), kernel.b_strides)]
    places = [*zip(n, kernel.b_strides[batch + k :])]
    uses.add(_X, share * _number(kernel.b_strides[batch + k]), [*inner, *(places[:-1] if walked else places), *walked])
    for address in (Address(_C, kernel.c_strides), *_addresses(kernel.epilogue)):
        dims = zip((*kernel.batch, *kernel.m, *n), address.strides)
        uses.add(address.arg, share * _number(address.strides[batch + m]), dims, address.offset)
    made = kernel._replace(n=n) if share > 1 else _on_one(kernel)
    if kernel.beyond:
        from duograph.codegen.contraction.algorithms import reads_around

        if not reads_around(made):  # fewer pixels may be made in another way, which reads what lies beside them
            raise _NotApart
    return Part(made, uses.found)


def _on_one(kernel: ContractionKernel) -> ContractionKernel:
    """The kernel whose first dim of n, of which there is one, is left out."""
    batch, m, k = (len(part) for part in (kernel.batch, kernel.m, kernel.k))
    epilogue = (
        instr._replace(attr=instr.attr._replace(strides=_without(instr.attr.strides, batch + m)))
        if isinstance(instr.attr, Address)
        else instr
        for instr in kernel.epilogue
    )
    b_strides, c_strides = _without(kernel.b_strides, batch + k), _without(kernel.c_strides, batch + m)
    return kernel._replace(n=kernel.n[1:], b_strides=b_strides, c_strides=c_strides, epilogue=tuple(epilogue))


def _addresses(epilogue: Sequence[Instr]) -> list[Address]:
    """What an epilogue loads."""
    addresses = [instr.attr for instr in epilogue if isinstance(instr.attr, Address)]
    if any(instr.op == "index" for instr in epilogue) or any(address.mask for address in addresses):
        raise _NotApart
    return addresses


def _without(strides: tuple[Extent, ...], place: int) -> tuple[Extent, ...]:
    return (*strides[:place], *strides[place + 1 :])


def _sums(kernel: WindowKernel, share: int) -> Part:
    if kernel.plane is not None:
        raise _NotApart
    uses, (_, groups, made, read) = _Uses(), kernel.planes
    uses.add(0, share * _number(kernel.x_strides[0]), zip((share, groups, read, *kernel.sizes), kernel.x_strides))
    counts = (share, groups, made, *kernel.counts)
    size = _number(product(counts))
    uses.add(_C, size, [(size, 1)])
    for address in _addresses(kernel.epilogue):
        uses.add(address.arg, share * _number(address.strides[0]), zip(counts, address.strides), address.offset)
    return Part(kernel._replace(planes=(share, *kernel.planes[1:])), uses.found)
