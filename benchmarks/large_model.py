"""Memory of a loaded ONNX model whose weights are external data: what it takes beside the file, which is mapped.

    python -m benchmarks.large_model [--gib 2] [--kind linear|convolution|attention]

Writes a model of that size into a temporary folder (or `--folder`), loads it in a process of its own and prints the anonymous
memory, as a share of the weights, after the load, the first run and five more. Asked: 0.1 after the load, 1.1 after the runs
(packed weights replace the mapping).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

AFTER_LOAD, AFTER_RUN = 0.1, 1.1
KINDS = ("linear", "convolution", "attention")
_WIDTH = 2048


def write(folder: Path, kind: str, size: int) -> tuple[Path, tuple[int, ...], int]:
    """A model of at least so many bytes of weights: its file, the sizes of its input, the bytes."""
    import onnx
    from onnx import TensorProto, helper

    random = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: list[Any] = []
    written = 0
    shape, layers = _plan(kind)
    with open(folder / "weights.bin", "wb") as file:

        def weight(*sizes: int) -> str:
            nonlocal written
            values = random.standard_normal(sizes, np.float32) / np.float32(
                np.sqrt(sizes[0] if kind != "convolution" else sizes[1] * 9)
            )
            made = TensorProto(name=f"w{len(weights)}", data_type=TensorProto.FLOAT, dims=sizes)
            made.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "weights.bin"), ("offset", written), ("length", values.nbytes)):
                made.external_data.add(key=key, value=str(value))
            values.tofile(file)
            written += values.nbytes
            weights.append(made)
            return str(made.name)

        value = "x"
        while written < size:
            value = layers(helper, nodes, weight, value)
    nodes.append(helper.make_node("Identity", [value], ["y"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, folder / "large.onnx")
    return folder / "large.onnx", shape, written


def _plan(kind: str) -> tuple[tuple[int, ...], Any]:
    """The sizes of an input, and what appends a layer and gives the name of its result."""

    def node(helper: Any, nodes: list[Any], op: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    def linear(helper: Any, nodes: list[Any], weight: Any, value: str) -> str:
        return node(helper, nodes, "Relu", node(helper, nodes, "MatMul", value, weight(2 * _WIDTH, 2 * _WIDTH)))

    def convolution(helper: Any, nodes: list[Any], weight: Any, value: str) -> str:
        made = node(helper, nodes, "Conv", value, weight(512, 512, 3, 3), pads=[1] * 4)
        return node(helper, nodes, "Relu", made)

    def attention(helper: Any, nodes: list[Any], weight: Any, value: str) -> str:
        q, k, v = (node(helper, nodes, "MatMul", value, weight(_WIDTH, _WIDTH)) for _ in range(3))
        scores = node(helper, nodes, "MatMul", q, node(helper, nodes, "Transpose", k, perm=[0, 2, 1]))
        seen = node(helper, nodes, "MatMul", node(helper, nodes, "Softmax", scores), v)
        value = node(helper, nodes, "Add", value, node(helper, nodes, "MatMul", seen, weight(_WIDTH, _WIDTH)))
        wide = node(helper, nodes, "Relu", node(helper, nodes, "MatMul", value, weight(_WIDTH, 4 * _WIDTH)))
        return node(helper, nodes, "Add", value, node(helper, nodes, "MatMul", wide, weight(4 * _WIDTH, _WIDTH)))

    if kind == "convolution":
        return (1, 512, 14, 14), convolution
    return ((64, 2 * _WIDTH), linear) if kind == "linear" else ((1, 64, _WIDTH), attention)


def anonymous() -> int:
    """Bytes of this process that no file backs."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))


def measure(path: str, shape: list[int]) -> Iterator[tuple[str, float, int]]:
    """(what was done, seconds, anonymous bytes above those of an idle process that has imported duograph) in this process."""
    import duograph as dg

    dg.relu(dg.ones(4))
    idle = anonymous()
    start = time.perf_counter()
    model = dg.onnx.load(path)
    yield "load", time.perf_counter() - start, anonymous() - idle
    x = dg.ones(*shape)
    for name, runs in (("first run", 1), ("five more runs", 5)):
        start = time.perf_counter()
        for _ in range(runs):
            model(x)
        yield name, time.perf_counter() - start, anonymous() - idle


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=2.0, help="bytes of weights")
    parser.add_argument("--kind", choices=KINDS, action="append", help="one of these; else all")
    parser.add_argument("--folder", type=Path, help="for the files, which stay there")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(list(measure(given.measure[0], [int(size) for size in given.measure[1:]]))))
        return 0
    good = True
    for kind in given.kind or KINDS:
        with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
            path, shape, size = write(Path(temporary), kind, int(given.gib * 2**30))
            command = [sys.executable, "-m", "benchmarks.large_model", "--measure", str(path), *map(str, shape)]
            rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{kind}, {size / 2**30:.2f} GiB of weights")
        for name, seconds, taken in rows:
            asked = AFTER_LOAD if name == "load" else AFTER_RUN
            good &= taken <= asked * size
            verdict = "ok" if taken <= asked * size else "SHORT"
            share = f"anonymous {taken / 2**20:8.1f} MiB, {taken / size:5.3f} ×"
            print(f"    {name:15} {seconds:6.2f} s   {share}   asked ≤ {asked}: {verdict}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
