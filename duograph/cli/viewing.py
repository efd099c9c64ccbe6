"""`duograph view`: the graph in Netron, with what the program makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .models import load, proto, tensors
from .output import UsageError
from .values import inputs_for


def annotated(path: str, sizes: Mapping[str, int]) -> Any:
    """The file's model, whose nodes say which kernels compute them and where these write."""
    from onnx import StringStringEntryProto

    model, source = load(path), proto(path)
    report = model.explain(**tensors(inputs_for(model, (), sizes, 0)))
    found: dict[str, list[int]] = {}
    for number, kernel in enumerate(report.static.kernel_list):
        for name in kernel.scopes:
            found.setdefault(name, []).append(number)
    for node in source.graph.node:
        for number in found.get(node.name or node.output[0], ()):
            kernel = report.static.kernel_list[number]
            writes = ", ".join(map(str, kernel.writes))
            text = f"{kernel.expression} → {writes}"
            node.metadata_props.append(StringStringEntryProto(key=f"duograph.kernel.{number}", value=text))
    return source


def view(path: str, sizes: Mapping[str, int], browse: bool, wait: bool) -> str:
    """Serve it and give the address; with `wait`, until the command is interrupted."""
    try:
        import netron  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise UsageError("netron is not installed: pip install netron") from None
    host, port = netron.serve(path, annotated(path, sizes).SerializeToString(), browse=browse)
    address = f"http://{host}:{port}"
    print(address, flush=True)
    if wait:
        netron.wait()
    return address
