"""Primitives that move elements: shapes, slices, padding, positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from duograph import _core as core
from duograph.ir.dim import Dim, Expr, product
from duograph.ir.graph import Node

from .table import exports
from .writer import Writer

_END = 2**63 - 1
_SMALL = 4096  # positions that are written as constants


@exports("broadcast")
def broadcast(w: Writer, node: Node) -> None:
    known = w.known(node.inputs[0])
    if known is not None and known.size == 1:
        w.constants[node.output] = known
        return
    ref = w.ref(node.inputs[0])
    w.set(node.output, ref.name, ref.shape)


@exports("reshape")
def reshape(w: Writer, node: Node) -> None:
    value, shape = node.inputs[0], node.output.shape
    known = w.known(value)
    is_whole = known is not None and known.shape == tuple(value.shape) and known.size <= _SMALL
    if known is not None and is_whole and all(isinstance(size, int) for size in shape):
        w.constants[node.output] = known.reshape([int(size) for size in shape])
        return
    name = w.use(value)
    w.set(node.output, name if tuple(value.shape) == tuple(shape) else w.emit("Reshape", [name, *_target(w, node)]))


def _target(w: Writer, node: Node) -> list[str]:
    """The shape as an operand, without arithmetic where one size follows from the others."""
    shape = node.output.shape
    unknown = [d for d, size in enumerate(shape) if isinstance(size, Dim)]
    if len(unknown) == 1 and 0 not in shape:
        return [w.numbers([-1 if isinstance(size, Dim) else size for size in shape])]
    source = node.inputs[0].shape
    if 0 not in shape and all(d < len(source) and source[d] == shape[d] for d in unknown):
        return [w.numbers([0 if isinstance(size, Dim) else size for size in shape])]
    return [w.shape(shape)]


@exports("permute")
def permute(w: Writer, node: Node) -> None:
    w.set(node.output, w.emit("Transpose", [w.use(node.inputs[0])], perm=list(node.attrs["dims"])))


@exports("slice")
def slice_(w: Writer, node: Node) -> None:
    sizes, starts, steps = node.output.shape, node.attrs["starts"], node.attrs["steps"]
    w.set(node.output, sliced(w, w.use(node.inputs[0]), node.inputs[0].shape, sizes, starts, steps))


def sliced(
    w: Writer, name: str, shape: Sequence[Expr], sizes: Sequence[Expr], starts: Sequence[Expr], steps: Sequence[Expr]
) -> str:
    """So many elements of each dimension, from a start on."""
    axes = [d for d in range(len(shape)) if (starts[d], sizes[d], steps[d]) != (0, shape[d], 1)]
    if not axes:
        return name
    ends = [_END if steps[d] == 1 and starts[d] + sizes[d] == shape[d] else starts[d] + sizes[d] * steps[d] for d in axes]
    rows = [w.shape([starts[d] for d in axes]), w.shape(ends), w.numbers(axes)]
    if any(steps[d] != 1 for d in axes):
        rows.append(w.shape([steps[d] for d in axes]))
    return w.emit("Slice", [name, *rows])


@exports("flip")
def flip(w: Writer, node: Node) -> None:
    dims = list(node.attrs["dims"])
    rows = [[-1] * len(dims), [-_END] * len(dims), dims, [-1] * len(dims)]
    name = w.use(node.inputs[0])
    w.set(node.output, w.emit("Slice", [name, *map(w.numbers, rows)]) if dims else name)


@exports("pad")
def pad(w: Writer, node: Node) -> None:
    low, high = node.attrs["low"], node.attrs["high"]
    name = w.use(node.inputs[0])
    is_bool = node.output.dtype.kind == "b"
    if is_bool:
        name = w.cast(name, core.int32)
    made = w.emit("Pad", [name, w.shape([*low, *high])])
    w.set(node.output, w.cast(made, core.bool) if is_bool else made)


@exports("concat")
def concat(w: Writer, node: Node) -> None:
    names = [w.use(x) for x in node.inputs]
    w.set(node.output, w.emit("Concat", names, axis=node.attrs["dim"]) if len(names) > 1 else names[0])


@exports("iota")
def iota(w: Writer, node: Node) -> None:
    dim, shape = node.attrs["dim"], node.output.shape
    line = [shape[dim] if d == dim else 1 for d in range(len(shape))]
    if isinstance(shape[dim], int) and shape[dim] <= _SMALL:
        w.constants[node.output] = np.arange(int(shape[dim])).reshape([int(size) for size in line])
        return
    w.set(node.output, positions(w, shape[dim], dim, len(shape)), line)


def positions(w: Writer, size: Expr, dim: int, rank: int) -> str:
    """0, 1, 2, … along a dimension."""
    ends = [w.number(0, core.int64), w.reshape(w.size(size), ()), w.number(1, core.int64)]
    made = w.emit("Range", ends)
    return made if rank == 1 else w.emit("Reshape", [made, w.numbers([-1 if d == dim else 1 for d in range(rank)])])


@exports("affine")
def affine(w: Writer, node: Node) -> None:
    """Elements at offsets + coefficients · index: slices where each dimension has one of its own, else picked by number."""
    value, sizes = node.inputs[0], node.output.shape
    offsets, rank, count = node.attrs["offsets"], len(node.inputs[0].shape), len(sizes)
    flat = node.attrs["coefficients"]
    rows = [list(flat[k * count : (k + 1) * count]) for k in range(rank)]
    steps = [rows[k][k] if k < count else 0 for k in range(rank)]
    is_own = rank == count and all(c == 0 for k, row in enumerate(rows) for j, c in enumerate(row) if j != k)
    if is_own and all(isinstance(s, int) and s > 0 for s in steps):
        w.set(node.output, sliced(w, w.use(value), value.shape, sizes, offsets, steps))
        return
    index = _flat_index(w, value.shape, sizes, offsets, rows)
    w.set(node.output, w.emit("Gather", [w.emit("Reshape", [w.use(value), w.numbers([-1])]), index], axis=0))


def _flat_index(
    w: Writer, shape: Sequence[Expr], sizes: Sequence[Expr], offsets: Sequence[Expr], rows: Sequence[Sequence[Expr]]
) -> str:
    strides = [product(tuple(shape[k + 1 :])) for k in range(len(shape))]
    first: Expr = 0
    for offset, stride in zip(offsets, strides):
        first = first + offset * stride
    steps: list[Expr] = [0] * len(sizes)
    for row, stride in zip(rows, strides):
        steps = [step + c * stride for step, c in zip(steps, row)]
    if all(isinstance(x, int) for x in (first, *steps, *sizes)) and int(product(tuple(sizes))) <= _SMALL:
        index = np.full([int(x) for x in sizes], int(first), np.int64)
        for j, step in enumerate(steps):
            index += np.arange(int(sizes[j])).reshape([-1 if d == j else 1 for d in range(len(sizes))]) * int(step)
        return w.array(index)
    total = w.reshape(w.size(first), [1] * len(sizes)) if sizes else w.reshape(w.size(first), ())
    for j, step in enumerate(steps):
        along = positions(w, sizes[j], j, len(sizes))
        total = w.emit("Add", [total, w.emit("Mul", [along, w.size(step)])])
    return total
