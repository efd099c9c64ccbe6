"""`duograph bench`: how long a call takes, beside other runtimes, each in turn so that the machine's moods hit all alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .models import load, proto, tensors
from .output import UsageError, duration, show_json, show_table
from .values import Choice, inputs_for

Arrays = Mapping[str, np.ndarray[Any, Any]]
OURS = "duograph"
_WARM_UP = 3
_TURN = 4  # timed calls of a runtime before it is another's turn


def bench(
    path: str,
    files: Sequence[str],
    choice: Choice,
    threads: Sequence[int],
    rounds: int,
    against: Sequence[str],
    tick: Callable[[], None],
) -> dict[str, Any]:
    """Median and 90th percentile of each runtime's seconds, and its median over ours. `tick` is called after each round.

    Each number of threads is a run of its own, in which the runtimes take turns.
    """
    from duograph import _core as core

    unknown = next((name for name in against if name not in _OTHERS), None)
    if unknown is not None:
        raise UsageError(f"--against knows {' and '.join(_OTHERS)}, not {unknown!r}")
    model = load(path)
    inputs = inputs_for(model, files, choice)
    before = core.get_num_threads()
    try:
        rows = [row for count in threads for row in _rows(path, model, inputs, count, rounds, against, tick)]
    finally:
        core.set_num_threads(before)
    return {"file": path, "threads": list(threads), "rounds": rounds, "results": rows}


def _rows(
    path: str, model: Any, inputs: Arrays, threads: int, rounds: int, against: Sequence[str], tick: Callable[[], None]
) -> list[dict[str, Any]]:
    """A row for each runtime on so many threads."""
    import duograph as dg
    from duograph import _core as core

    core.set_num_threads(threads)
    values = tensors(inputs)
    given, named = [values.pop(name) for name in model.inputs], values
    calls: dict[str, Callable[[], Any]] = {OURS: lambda: model(*given, **named)}
    for name in against:
        try:
            calls[name] = _OTHERS[name](path, inputs, threads)
        except UsageError:
            raise
        except Exception as error:  # its errors have no common class
            raise UsageError(f"{name} cannot load {path}: {str(error).strip()}") from None
    with dg.no_grad():
        taken = _interleaved(calls, rounds, tick)
    ours = float(np.median(taken[OURS]))
    return [
        {
            "runtime": name,
            "threads": threads,
            "p50": float(np.median(times)),
            "p90": float(np.quantile(times, 0.9)),
            "over_ours": float(np.median(times)) / ours,
        }
        for name, times in taken.items()
    ]


def _interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int, tick: Callable[[], None]) -> dict[str, list[float]]:
    for name, call in calls.items():
        for _ in range(_WARM_UP):
            try:
                call()
            except Exception as error:
                if name == OURS:
                    raise
                raise UsageError(f"{name} cannot run the model: {str(error).strip()}") from None
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for first in range(0, rounds, _TURN):
        count = min(_TURN, rounds - first)
        for name, call in calls.items():
            call()  # brings back into the caches what the others drove out
            for _ in range(count):
                start = time.perf_counter()
                call()
                taken[name].append(time.perf_counter() - start)
        for _ in range(count):
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
    request = core.compile_model(core.read_model(_without_functions(path)), "CPU", config).create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return lambda: request.infer()


def _without_functions(path: str) -> Any:
    """The file's path, or the model with the bodies of its functions in the place of their calls: OpenVINO takes no functions."""
    from onnx import inliner

    model = proto(path)
    if not model.functions or any(tensor.data_location == 1 for tensor in model.graph.initializer):
        return os.path.abspath(path)
    return inliner.inline_local_functions(model).SerializeToString()


_OTHERS = {"onnxruntime": _onnxruntime, "openvino": _openvino}


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    rows = [
        (x["runtime"], x["threads"], duration(x["p50"]), duration(x["p90"]), f"{x['over_ours']:.2f} ×") for x in found["results"]
    ]
    title = f"{found['file']}, {found['rounds']} rounds"
    show_table(title, ("runtime", "threads", "median", "90 %", "of ours"), rows)
