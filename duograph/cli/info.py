"""`duograph info`: what is in a file."""

from __future__ import annotations

import math
import os
from collections import Counter
from typing import Any

from duograph.errors import Error
from duograph.onnx.errors import UnsupportedError

from .models import load, nodes_of, proto, tensors
from .output import UsageError, human, show_json, show_pairs, show_table
from .values import Choice, check_sizes, inputs_for


def about(path: str, choice: Choice, kernels: bool) -> dict[str, Any]:
    """What `info` says of a file, as plain values; with `kernels` those of the program too."""
    source = proto(path)
    program, open_sizes = _program(path, choice, kernels)
    initialisers = {tensor.name for tensor in source.graph.initializer}
    found: dict[str, Any] = {
        "file": path,
        "bytes": os.path.getsize(path),
        "producer": f"{source.producer_name} {source.producer_version}".strip(),
        "opset": {entry.domain: entry.version for entry in source.opset_import},
        "inputs": [_described(value) for value in source.graph.input if value.name not in initialisers],
        "outputs": [_described(value) for value in source.graph.output],
        "parameters": sum(math.prod(x.dims) for x in source.graph.initializer),
        "parameter_bytes": sum(_byte_size(x) for x in source.graph.initializer),
        "operators": dict(Counter(node.op_type for node in nodes_of(source.graph)).most_common()),
        "metadata": {row.key: row.value for row in source.metadata_props if not row.key.startswith("duograph.example.")},
        "open_sizes": {name: choice.sizes.get(name, 1) for name in open_sizes},
        "program": program,
    }
    return found


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


def _program(path: str, choice: Choice, kernels: bool) -> tuple[dict[str, Any], list[str]]:
    """What the program takes, and the sizes that the model leaves open; an error where random inputs make no program."""
    try:
        model = load(path)
    except UnsupportedError as error:
        return {"error": error.message}, []
    check_sizes(model, choice)
    open_sizes = sorted({size for x in model.input_types for size in x.shape or () if isinstance(size, str)})
    try:
        whole = model.explain(**tensors(inputs_for(model, (), choice)))
    except Error as error:
        return {"error": error.message}, open_sizes
    except UsageError as error:
        return {"error": str(error)}, open_sizes
    return _planned(whole, kernels), open_sizes


def _planned(whole: Any, kernels: bool) -> dict[str, Any]:
    """The memory and the kernels of a report, as plain values."""
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
