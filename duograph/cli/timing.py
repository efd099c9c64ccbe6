"""`duograph bench`: how long a call takes, beside other runtimes, each in turn so that the machine's moods hit all alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .models import load, tensors
from .output import UsageError, duration, show_json, show_table
from .values import inputs_for

Arrays = Mapping[str, np.ndarray[Any, Any]]
OURS = "duograph"
_WARM_UP = 3


def bench(
    path: str,
    files: Sequence[str],
    sizes: Mapping[str, int],
    threads: int,
    rounds: int,
    against: Sequence[str],
    tick: Callable[[], None],
) -> dict[str, Any]:
    """Median and 90th percentile of each runtime's seconds, and its median over ours. `tick` is called after each round."""
    import duograph as dg
    from duograph import _core as core

    core.set_num_threads(threads)
    model = load(path)
    inputs = inputs_for(model, files, sizes, 0)
    given = list(tensors(inputs).values())
    calls: dict[str, Callable[[], Any]] = {OURS: lambda: model(*given)}
    for name in against:
        if name not in _OTHERS:
            raise UsageError(f"--against knows {' and '.join(_OTHERS)}, not {name!r}")
        calls[name] = _OTHERS[name](path, inputs, threads)
    with dg.no_grad():
        taken = _interleaved(calls, rounds, tick)
    ours = float(np.median(taken[OURS]))
    rows = [
        {
            "runtime": name,
            "p50": float(np.median(times)),
            "p90": float(np.quantile(times, 0.9)),
            "over_ours": float(np.median(times)) / ours,
        }
        for name, times in taken.items()
    ]
    return {"file": path, "threads": threads, "rounds": rounds, "results": rows}


def _interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int, tick: Callable[[], None]) -> dict[str, list[float]]:
    for call in calls.values():
        for _ in range(_WARM_UP):
            call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
        tick()
    return taken


def _onnxruntime(path: str, inputs: Arrays, threads: int) -> Callable[[], Any]:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        raise UsageError("onnxruntime is not installed: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def _openvino(path: str, inputs: Arrays, threads: int) -> Callable[[], Any]:
    try:
        import openvino  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise UsageError("openvino is not installed: pip install openvino") from None
    core = openvino.Core()
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(os.path.abspath(path)), "CPU", config).create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return lambda: request.infer()


_OTHERS = {"onnxruntime": _onnxruntime, "openvino": _openvino}


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    rows = [(x["runtime"], duration(x["p50"]), duration(x["p90"]), f"{x['over_ours']:.2f} ×") for x in found["results"]]
    title = f"{found['file']}, {found['threads']} thread{'s' * (found['threads'] != 1)}, {found['rounds']} rounds"
    show_table(title, ("runtime", "median", "90 %", "of ours"), rows)
