"""Primitives that read and write by index."""

from __future__ import annotations

from collections.abc import Sequence

from duograph import _core as core
from duograph.ir.dim import Expr, product
from duograph.ir.graph import Node

from .table import exports
from .writer import Writer, refused


@exports("gather")
def gather(w: Writer, node: Node) -> None:
    names = [w.use(x) for x in node.inputs]
    w.set(node.output, w.emit("GatherElements", names, axis=node.attrs["dim"]))


@exports("take")
def take(w: Writer, node: Node) -> None:
    w.set(node.output, w.emit("Gather", [w.use(x) for x in node.inputs], axis=node.attrs["dim"]))


@exports("row")
def row(w: Writer, node: Node) -> None:
    w.set(node.output, w.emit("Gather", [w.use(x) for x in node.inputs], axis=0))


@exports("scatter", "scatter_add", "scatter_reduce")
def scatter(w: Writer, node: Node) -> None:
    kinds = {"mul": "mul", "prod": "mul", "maximum": "max", "amax": "max", "minimum": "min", "amin": "min", "add": "add"}
    reduction = "add" if node.op == "scatter_add" else kinds[node.attrs["kind"]] if node.op == "scatter_reduce" else None
    if reduction in ("max", "min") and w.model.opset < 18:
        raise refused(node, f"{reduction} is there from opset 18 on, and opset {w.model.opset} was asked for")
    _, index, source = node.inputs
    names = [w.use(v) for v in node.inputs]
    if tuple(source.shape) != tuple(index.shape):
        names[1] = _part(w, names[1], source.shape)
    w.set(node.output, w.emit("ScatterElements", names, axis=node.attrs["dim"], reduction=reduction))


def _part(w: Writer, name: str, shape: Sequence[Expr]) -> str:
    zeros = w.numbers([0] * len(shape))
    return w.emit("Slice", [name, zeros, w.shape(shape)])


@exports("take_add", "take_put")
def take_put(w: Writer, node: Node) -> None:
    """Slices along a dimension, added or written by their numbers: by element, with the number stretched over the slice."""
    x, index, source = node.inputs
    dim, rank = node.attrs["dim"], len(x.shape)
    count = product(tuple(index.shape))
    shape = (*x.shape[:dim], count, *x.shape[dim + 1 :])
    places = w.reshape(w.use(index), [count if d == dim else 1 for d in range(rank)])
    places = w.emit("Expand", [places, w.shape(shape)])
    given = w.reshape(w.use(source), shape)
    reduction = "add" if node.op == "take_add" else None
    w.set(node.output, w.emit("ScatterElements", [w.use(x), places, given], axis=dim, reduction=reduction))


@exports("row_update")
def row_update(w: Writer, node: Node) -> None:
    x, at, given = (w.use(v) for v in node.inputs)
    place = w.emit("Reshape", [at, w.numbers([1, 1])])
    w.set(node.output, w.emit("ScatterND", [x, place, w.emit("Unsqueeze", [given, w.numbers([0])])]))


@exports("slice_update")
def slice_update(w: Writer, node: Node) -> None:
    """Put what is given where a grid of numbers of elements, sliced alike, says."""
    from .movement import sliced

    x, source = node.inputs
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    axes = [d for d in range(len(x.shape)) if (starts[d], steps[d], source.shape[d]) != (0, 1, x.shape[d])]
    if not axes:
        w.set(node.output, w.use(source))
        return
    if len(axes) == 1 and steps[axes[0]] == 1:
        (d,) = axes
        w.set(node.output, _spliced(w, node, d))
        return
    count = product(tuple(x.shape))
    ends = [w.number(0, core.int64), w.reshape(w.size(count), ()), w.number(1, core.int64)]
    grid = w.reshape(w.emit("Range", ends), x.shape)
    part = sliced(w, grid, x.shape, source.shape, starts, steps)
    flat = [w.emit("Reshape", [name, w.numbers([-1])]) for name in (w.use(x), part, w.use(source))]
    w.set(node.output, w.reshape(w.emit("ScatterElements", flat, axis=0), x.shape))


def _spliced(w: Writer, node: Node, d: int) -> str:
    """What lies before, what is given, what lies behind."""
    x, source = node.inputs
    name, axis, start = w.use(x), w.numbers([d]), node.attrs["starts"][d]
    end = start + source.shape[d]
    parts = [] if start == 0 else [w.emit("Slice", [name, w.numbers([0]), w.size(start), axis])]
    parts.append(w.use(source))
    if end != x.shape[d]:
        parts.append(w.emit("Slice", [name, w.size(end), w.size(x.shape[d]), axis]))
    return w.emit("Concat", parts, axis=d)


@exports("size_of")
def size_of(w: Writer, node: Node) -> None:
    name = w.emit("Reshape", [w.use(node.inputs[0]), w.numbers([1])])
    w.symbols[node.attrs["size"]] = (name, -1)
    w.set(node.output, w.use(node.inputs[0]))


@exports("nonzero")
def nonzero(w: Writer, node: Node) -> None:
    name = w.emit("Squeeze", [w.emit("NonZero", [w.use(node.inputs[0])]), w.numbers([0])])
    w.symbols[node.attrs["size"]] = (name, 0)
    w.set(node.output, name)


@exports("require")
def require(w: Writer, node: Node) -> None:
    """What holds of sizes is no operation."""
