"""`duograph info`: what is in a file."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from .models import load, proto, tensors
from .output import human, show_json, show_pairs, show_table
from .values import inputs_for


def about(path: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What `info` says of a file, as plain values."""
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
        "operators": dict(Counter(node.op_type for node in source.graph.node).most_common()),
        "metadata": {key: value for key, value in model.metadata.items() if not key.startswith("duograph.example.")},
    }
    open_sizes = sorted({size for x in model.input_types for size in x.shape or () if isinstance(size, str)})
    found["open_sizes"] = {name: sizes.get(name, 1) for name in open_sizes}
    found["program"] = _program(model, sizes)
    return found


def _described(value: Any) -> dict[str, Any]:
    from duograph.onnx.model import Input

    about = Input(value)
    return {"name": about.name, "dtype": about.dtype.name if about.dtype else None, "shape": about.shape}


def _program(model: Any, sizes: Mapping[str, int]) -> dict[str, Any]:
    whole = model.explain(**tensors(inputs_for(model, (), sizes, 0)))
    return {
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
        "parameters": human(found["parameters"]),
        **{f"metadata {key}": value if len(value) < 100 else f"{value[:99]}…" for key, value in found["metadata"].items()},
    }
    show_pairs(found["file"], pairs)
    for kind in ("inputs", "outputs"):
        described = [(x["name"], x["dtype"], _shape(x["shape"])) for x in found[kind]]
        show_table(kind, ("name", "dtype", "shape"), described)
    show_table("operators", ("operator", "nodes"), found["operators"].items())
    program = found["program"]
    sizes = ", ".join(f"{name} = {size}" for name, size in found["open_sizes"].items())
    rows = {
        "kernels": program["kernels"],
        "floating-point operations": _count(program["floating_point_operations"]),
        "bytes moved": _count(program["bytes_moved"]),
        "planned temporary memory, bytes": _count(program["arena_bytes"]),
        "allocated at most, bytes": _count(program["peak_bytes"]),
    }
    show_pairs(f"the program{f' for {sizes}' if sizes else ''}", rows)


def _shape(shape: list[Any] | None) -> str:
    return "?" if shape is None else f"({', '.join('?' if size is None else str(size) for size in shape)})"


def _count(value: Any) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else "depends on values"
