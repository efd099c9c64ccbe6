"""`duograph view`: the graph in Netron, with what the program makes of it."""

from __future__ import annotations

import json
from typing import Any

from .models import load, proto, tensors
from .output import UsageError
from .values import Choice, inputs_for


def annotated(path: str, choice: Choice) -> Any:
    """The file's model, whose nodes say which kernels compute them and where these write."""
    from onnx import StringStringEntryProto

    model, source = load(path), proto(path)
    report = model.explain(**tensors(inputs_for(model, (), choice)))
    found: dict[str, list[int]] = {}
    for number, kernel in enumerate(report.static.kernel_list):
        for name in kernel.scopes:
            found.setdefault(name, []).append(number)
    for node in (node for nodes in (source.graph.node, *(x.node for x in source.functions)) for node in nodes):
        for number in found.get(node.name or next(iter(node.output), ""), ()):
            kernel = report.static.kernel_list[number]
            writes = ", ".join(map(str, kernel.writes))
            text = f"{kernel.expression} → {writes}"
            node.metadata_props.append(StringStringEntryProto(key=f"duograph.kernel.{number}", value=text))
    return source


def write(path: str, choice: Choice, target: str) -> None:
    """Keep the model with what is said of its nodes in a file."""
    import onnx

    onnx.save(annotated(path, choice), target)


def view(path: str, choice: Choice, port: int, browse: bool, wait: bool, as_json: bool) -> str:
    """Serve it and say the address; with `wait`, until the command is interrupted."""
    try:
        import netron  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise UsageError("netron is not installed: pip install netron") from None
    where = ("localhost", port) if port else None
    host, port = netron.serve(path, annotated(path, choice).SerializeToString(), where, browse)
    address = f"http://{host}:{port}"
    print(json.dumps({"address": address}) if as_json else address, flush=True)
    if wait:
        netron.wait()
    return address
