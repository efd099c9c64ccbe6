"""What a graph of primitives means, in NumPy, node by node: the reference for passes and fusion."""

from __future__ import annotations

from typing import Any

import numpy as np

from duograph.ir.graph import Graph, Node, Value
from duograph.ir.substitution import evaluate

Array = Any

_UNARY = {
    "neg": np.negative, "abs": np.abs, "exp": np.exp, "sqrt": np.sqrt, "tanh": np.tanh, "sin": np.sin,
    "floor": np.floor, "logical_not": np.logical_not, "copy": np.array,
}  # fmt: skip
_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum, "minimum": np.minimum,
    "mod": np.mod,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip
_REDUCE = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "any": np.any, "all": np.all}


def interpret(graph: Graph, inputs: list[Array], sizes: dict[str, int] | None = None) -> list[Array]:
    """Results of a graph of tensors, then what it writes to inputs; sizes not given are read off the inputs."""
    known = dict(sizes or {})
    for value, array in zip(graph.inputs, inputs):
        for size, actual in zip(value.shape, array.shape):
            if not isinstance(size, int) and size.is_symbol:
                known.setdefault(str(size), actual)
    arrays: dict[Value, Array] = dict(zip(graph.inputs, inputs))
    for node in graph.nodes:
        if node.op == "assign":
            continue
        result = _node(node, [arrays[value] for value in node.inputs], known)
        arrays[node.outputs[0]] = np.asarray(result).astype(node.outputs[0].dtype.name)
    written = [node.inputs[1] for node in graph.nodes if node.op == "assign"]
    return [arrays[value] for value in (*graph.outputs, *written)]


def _node(node: Node, args: list[Array], known: dict[str, int]) -> Array:
    attrs = node.attrs
    shape = tuple(evaluate(size, known) for size in node.outputs[0].shape)

    def values(name: str) -> tuple[int, ...]:
        return tuple(evaluate(size, known) for size in attrs[name])

    if node.op in _UNARY:
        return _UNARY[node.op](*args)
    if node.op in _BINARY:
        return _BINARY[node.op](*args)
    if node.op == "where":
        return np.where(*args)
    if node.op == "fma":
        a, b, c = (x.astype(np.float64) for x in args)
        return a * b + c
    if node.op == "cast":
        return args[0]
    if node.op == "constant":
        return np.array(attrs["value"])
    if node.op == "iota":
        steps = [1] * len(shape)
        steps[attrs["dim"]] = -1
        return np.broadcast_to(np.arange(shape[attrs["dim"]]).reshape(steps), shape)
    if node.op == "broadcast":
        return np.broadcast_to(args[0], shape)
    if node.op == "reshape":
        return args[0].reshape(shape)
    if node.op == "permute":
        return args[0].transpose(attrs["dims"])
    if node.op == "flip":
        return np.flip(args[0], attrs["dims"])
    if node.op == "slice":
        return args[0][_places(values("starts"), values("steps"), shape)]
    if node.op == "slice_update":
        out = args[0].copy()
        out[_places(values("starts"), values("steps"), args[1].shape)] = args[1]
        return out
    if node.op == "concat":
        return np.concatenate(args, attrs["dim"])
    if node.op == "pad":
        return args[0] if not shape else np.pad(args[0], list(zip(values("low"), values("high"))))
    if node.op == "reduce":
        if attrs["kind"].startswith("arg"):
            return _arg(node, args[0])
        return _REDUCE[attrs["kind"]](args[0], axis=attrs["dims"])
    if node.op == "contraction":
        return np.einsum(f"{attrs['a']},{attrs['b']}->{attrs['out']}", *args)
    if node.op == "gather":
        return np.take_along_axis(args[0], args[1], attrs["dim"])
    if node.op == "take":
        return np.take(args[0], args[1], attrs["dim"])
    if node.op == "take_add":
        out = args[0].copy()
        moved = np.moveaxis(out, attrs["dim"], 0)
        source = np.moveaxis(args[2], range(attrs["dim"], attrs["dim"] + args[1].ndim), range(args[1].ndim))
        np.add.at(moved, args[1], source)
        return out
    raise NotImplementedError(node.op)


def _places(starts: tuple[int, ...], steps: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    cut = zip(starts, steps, shape)
    return tuple(slice(start, start + (n - 1) * step + 1, step) if n else slice(0, 0) for start, step, n in cut)


def _arg(node: Node, x: Array) -> Array:
    dims = sorted(node.attrs["dims"])
    kept = [d for d in range(x.ndim) if d not in dims]
    flat = x.transpose([*kept, *dims]).reshape([x.shape[d] for d in kept] + [-1])
    return (np.argmax if node.attrs["kind"] == "argmax" else np.argmin)(flat, -1)
