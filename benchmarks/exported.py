"""Inference of ONNX models that PyTorch exported, against the runtimes made for such files: see `exported_models`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from statistics import geometric_mean
from typing import Any

import numpy as np

from benchmarks.exported_models import exported
from benchmarks.harness import OURS, Case, Result
from benchmarks.peers import load

THREADS = (1, 2)
ROUNDS = 15

Call = Callable[[], Any]


def _ours(file: bytes, arrays: list[np.ndarray]) -> Call:
    import duograph as dg

    model = dg.onnx.load(file)
    tensors = [dg.from_numpy(array) for array in arrays]
    return lambda: model(*tensors)


def _onnxruntime(file: bytes, arrays: list[np.ndarray]) -> Call | None:
    onnxruntime = load("onnxruntime")
    if onnxruntime is None:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feeds = {given.name: array for given, array in zip(session.get_inputs(), arrays)}
    return lambda: session.run(None, feeds)


def _openvino(file: bytes, arrays: list[np.ndarray]) -> Call | None:
    openvino = load("openvino")
    if openvino is None:
        return None
    core = openvino.Core()
    config = {"INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"]), "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(file), "CPU", config).create_infer_request()
    for number, array in enumerate(arrays):
        request.set_input_tensor(number, openvino.Tensor(array, shared_memory=True))
    outputs = range(len(request.model_outputs))
    return lambda: (request.infer(), [request.get_output_tensor(i).data for i in outputs])[1]


def _agreeing(calls: dict[str, Call]) -> dict[str, Call]:
    """The calls, all of which give what the first one gives."""
    results = {name: _arrays(call()) for name, call in calls.items()}
    first = next(iter(results.values()))
    for name, found in results.items():
        for a, b in zip(found, first, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(b).max(initial=0))), err_msg=name)
    return calls


def _arrays(made: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in (made if isinstance(made, (list, tuple)) else [made])]


def cases(wanted: Callable[[str], bool] = lambda title: True) -> Iterator[Case]:
    torch = load("torch")
    if torch is None:
        return
    for each in exported(torch, wanted=lambda name: wanted(_title(name))):
        arrays = [arg.numpy() for arg in each.args]
        calls: dict[str, Call] = {OURS: _ours(each.file, arrays)}
        for name, make in (("onnxruntime", _onnxruntime), ("openvino", _openvino)):
            if call := make(each.file, arrays):
                calls[name] = call
        yield Case(_title(each.name), _agreeing(calls), {"best": 0.9})


def _title(name: str) -> str:
    return f"exported {name}"


def summary(results: Iterable[Result]) -> Iterator[str]:
    """The geometric mean over the models of the better runtime's time over ours."""
    best = [min(ratio for _, ratio, _ in result.ratios()) for result in results]
    if best:
        yield f"{len(best)} models: geometric mean {geometric_mean(best):.2f} × the better runtime   asked ≥ 1.1"
