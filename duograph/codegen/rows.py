"""Functions of the core on rows: how they are called. What they do is said in `core/rows.h`."""

from __future__ import annotations

from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import Extent, Launch, RowKernel
from duograph.ir.dim import ceildiv, product

TOGETHER = 64  # rows side by side in memory that a scan takes in one go
SEARCHES = 2048  # in one chunk
COUNTS = 49152  # bytes of scratch that sorting takes beside two records for each element


def launch_rows(kernel: RowKernel) -> Launch:
    """The call of a row kernel: the sizes it reads, what it costs."""
    total: Extent = 0
    for address, size, _ in kernel.rows:
        total = total + size * DTYPES[kernel.operands[address.arg].dtype].size
    total = total * product(list(kernel.outer))
    block = 1
    if kernel.function.startswith("search"):
        kernel, block = _search_by_search(kernel), SEARCHES
    first, length, inner = kernel.rows[0]
    if kernel.function.startswith("scan") and inner != 1 and kernel.outer:
        block = TOGETHER
    sizes: list[Extent] = [len(kernel.outer), *kernel.outer, block]
    for address, size, stride in kernel.rows:
        sizes += [address.offset, size, stride, *address.strides]
    lines = product(list(kernel.outer[:-1]))
    chunks = lines * ceildiv(kernel.outer[-1], block) if kernel.outer else 1
    scratch: Extent = 0
    if kernel.function.startswith(("sort", "select", "order")):
        scratch = COUNTS + length * (16 if DTYPES[kernel.operands[first.arg].dtype].size <= 4 else 32)
    weight = 1 if kernel.function.startswith(("scan", "compress", "spans")) else 16
    args = tuple(address.arg for address, _, _ in kernel.rows)
    symbol = f"core:{kernel.function}"
    return Launch(symbol, args, (*sizes, *kernel.numbers), chunks, scratch, total * weight, whole=True)


def _search_by_search(kernel: RowKernel) -> RowKernel:
    """What is looked up in one sorted row becomes rows of one element, so that several threads share them."""
    (table, entries, step), *others = kernel.rows
    rows = [(table._replace(strides=(*table.strides, 0)), entries, step)]
    rows += [(address._replace(strides=(*address.strides, stride)), 1, 0) for address, _, stride in others]
    return kernel._replace(outer=(*kernel.outer, others[0][1]), rows=tuple(rows))
