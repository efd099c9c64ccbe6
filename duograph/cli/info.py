"""`duograph info`: what is in a file."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from duograph.errors import Error

from .models import load, proto, tensors
from .output import human, show_json, show_pairs, show_table
from .values import Choice, inputs_for


def about(path: str, choice: Choice, kernels: bool) -> dict[str, Any]:
    """What `info` says of a file, as plain values; with `kernels` those of the program too."""
    model = load(path)
    source = proto(path)
    found: dict[str, Any] = {
        "file": path,
        "bytes": os.path.getsize(path),
        "producer": f"{source.producer_name} {source.producer_version}".strip(),
        "opset": dict(model.opset),
        "inputs": [_described(value) for value in source.graph.input if value.name in model.inputs],
        "outputs": [_described(value) for value in source.graph.output],
        "parameters": sum(math.prod(x.dims) for x in source.graph.initializer),
        "parameter_bytes": sum(_byte_size(x) for x in source.graph.initializer),
        "operators": dict(Counter(node.op_type for node in _nodes(source.graph)).most_common()),
        "metadata": {key: value for key, value in model.metadata.items() if not key.startswith("duograph.example.")},
    }
    open_sizes = sorted({size for x in model.input_types for size in x.shape or () if isinstance(size, str)})
    found["open_sizes"] = {name: choice.sizes.get(name, 1) for name in open_sizes}
    found["program"] = _program(model, choice, kernels)
    return found


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, also those of the graphs that branches and loops hold."""
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else attribute.graphs


def _byte_size(tensor: Any) -> int:
    from onnx import helper

    try:
        return int(math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError:
        return 0


def _described(value: Any) -> dict[str, Any]:
    from duograph.onnx.model import Input

    about = Input(value)
    return {"name": about.name, "dtype": about.dtype.name if about.dtype else None, "shape": about.shape}


def _program(model: Any, choice: Choice, kernels: bool) -> dict[str, Any]:
    """What the program takes; an error where random inputs make none."""
    inputs = inputs_for(model, (), choice)
    try:
        whole = model.explain(**tensors(inputs))
    except Error as error:
        return {"error": error.message}
    listed = [
        {"expression": each.expression, "nodes": list(each.scopes), "way": each.way, "floating_point_operations": each.flops}
        | {"writes": [str(place) for place in each.writes]}
        for each in whole.static.kernel_list
    ]
    return ({"kernel_list": listed} if kernels else {}) | {
        "kernels": whole.static.kernels,
        "floating_point_operations": whole.static.flops,
        "bytes_moved": whole.static.bytes_moved,
        "arena_bytes": whole.arena_bytes,
        "peak_bytes": whole.peak_bytes,
    }


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in found["opset"].items())
    pairs = {
        "written by": found["producer"],
        "opset": opsets,
        "bytes": human(found["bytes"], "B"),
        "parameters": f"{human(found['parameters'])} ({human(found['parameter_bytes'], 'B')})",
        **{f"metadata {key}": value if len(value) < 100 else f"{value[:99]}…" for key, value in found["metadata"].items()},
    }
    show_pairs(found["file"], pairs)
    for kind in ("inputs", "outputs"):
        described = [(x["name"], x["dtype"], _shape(x["shape"])) for x in found[kind]]
        show_table(kind, ("name", "dtype", "shape"), described)
    show_table("operators", ("operator", "nodes"), found["operators"].items())
    program = found["program"]
    if "error" in program:
        show_pairs("no program", {"": program["error"]})
        return
    sizes = ", ".join(f"{name} = {size}" for name, size in found["open_sizes"].items())
    rows = {
        "kernels": program["kernels"],
        "floating-point operations": _count(program["floating_point_operations"]),
        "bytes moved": _count(program["bytes_moved"]),
        "planned temporary memory, bytes": _count(program["arena_bytes"]),
        "allocated at most, bytes": _count(program["peak_bytes"]),
    }
    show_pairs(f"the program{f' for {sizes}' if sizes else ''}", rows)
    if "kernel_list" in program:
        columns = ("kernel", "nodes", "operations", "writes")
        kernels = [
            (x["expression"], x["nodes"], _count(x["floating_point_operations"]), x["writes"]) for x in program["kernel_list"]
        ]
        show_table("kernels", columns, kernels)


def _shape(shape: list[Any] | None) -> str:
    return "?" if shape is None else f"({', '.join('?' if size is None else str(size) for size in shape)})"


def _count(value: Any) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else "depends on values"
