"""`duograph view`: the graph in Netron, with what the program makes of it."""

from __future__ import annotations

from typing import Any

from .models import load, nodes_of, proto, tensors
from .output import UsageError, say, show_json
from .values import Choice, inputs_for
from .writing import replacing, target_of


def annotated(path: str, choice: Choice) -> Any:
    """The file's model, whose nodes say which kernels compute them and where these write."""
    from onnx import StringStringEntryProto

    model, source = load(path), proto(path)
    report = model.explain(**tensors(inputs_for(model, (), choice)))
    found: dict[str, list[int]] = {}
    for number, kernel in enumerate(report.static.kernel_list):
        for name in kernel.scopes:
            found.setdefault(name, []).append(number)
    for node in (node for part in (source.graph, *source.functions) for node in nodes_of(part)):
        for number in found.get(node.name or next(iter(node.output), ""), ()):
            kernel = report.static.kernel_list[number]
            writes = ", ".join(map(str, kernel.writes))
            text = f"{kernel.expression} → {writes}"
            node.metadata_props.append(StringStringEntryProto(key=f"duograph.kernel.{number}", value=text))
    return source


def write(path: str, choice: Choice, target: str) -> None:
    """Keep the model with what is said of its nodes in a file."""
    import onnx

    target_of(target, (".onnx",), (path,))
    model = annotated(path, choice)
    with replacing(target) as temporary:
        onnx.save(model, temporary)


def show(written: str, as_json: bool) -> None:
    """Say what was written."""
    if as_json:
        show_json({"written": written})
    else:
        say(f"written to {written}")


def view(path: str, choice: Choice, port: int, browse: bool, wait: bool, as_json: bool) -> str:
    """Serve it and say the address; with `wait`, until the command is interrupted."""
    try:
        import netron  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise UsageError("netron is not installed: pip install netron") from None
    where = ("localhost", port) if port else None
    host, port = netron.serve(path, annotated(path, choice).SerializeToString(), where, browse)
    address = f"http://{host}:{port}"
    if as_json:
        show_json({"address": address})
    else:
        say(address)
    if wait:
        netron.wait()
    return address
