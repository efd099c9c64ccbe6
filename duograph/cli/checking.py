"""`duograph check`: is the file in order, and does this machine compute what it should."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .models import call, load, proto
from .output import UsageError, show_json, show_table
from .values import Choice, inputs_for

TOLERANCE = 1e-4  # of the largest element, or absolute below 1
Arrays = Mapping[str, np.ndarray[Any, Any]]


def check(path: str, files: Sequence[str], choice: Choice, tolerance: float) -> dict[str, Any]:
    """The results of all checks of a file: `passed`, and a row for each. Inputs in files take the place of the examples."""
    model = load(path)
    rows = [_well_formed(path)]
    kept = [] if files else _examples(path, model, tolerance)
    rows += kept or _other_runtime(path, model, files, choice, tolerance)
    return {"file": path, "passed": all(row["passed"] is not False for row in rows), "checks": rows}


def _well_formed(path: str) -> dict[str, Any]:
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:  # the checker's errors have no common class
        return _row("onnx.checker, in full", False, str(error).strip().splitlines()[0])
    return _row("onnx.checker, in full", True, "")


def _examples(path: str, model: Any, tolerance: float) -> list[dict[str, Any]]:
    """The examples that the file carries, repeated."""
    from duograph.onnx.exporting.verifying import examples

    try:
        inputs, outputs = examples(proto(path))
    except Exception as error:  # bytes that are no tensor
        raise UsageError(f"{path}: the example in the file is damaged: {error}") from None
    if not outputs:
        return []
    return _compared("the example in the file", call(model, inputs), outputs, tolerance)


def _other_runtime(path: str, model: Any, files: Sequence[str], choice: Choice, tolerance: float) -> list[dict[str, Any]]:
    """The same inputs through onnxruntime, if it is installed."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        return [_row("results", None, "the file carries no example, and onnxruntime is not installed")]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # some compute in fewer bits
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        return [_row("results", None, f"onnxruntime cannot load the file: {str(error).splitlines()[0]}")]
    inputs = inputs_for(model, files, choice)
    made = call(model, inputs)
    try:
        results = session.run(None, inputs)
    except Exception as error:
        return [_row("results", None, f"onnxruntime cannot run the file: {str(error).splitlines()[0]}")]
    names = [output.name for output in session.get_outputs()]
    expected = {name: x for name, x in zip(names, results) if name in model.outputs and isinstance(x, np.ndarray)}
    return _compared(f"{'' if files else 'random '}inputs, as onnxruntime", made, expected, tolerance)


def _compared(what: str, made: Arrays, expected: Arrays, tolerance: float) -> list[dict[str, Any]]:
    rows = []
    for name, wanted in expected.items():
        if name not in made:
            rows.append(_row(f"{what}: {name}", False, "the model has no such output"))
            continue
        gap = difference(made[name], wanted)
        limit = allowed(wanted, tolerance)
        rows.append(_row(f"{what}: {name}", bool(gap <= limit), f"largest difference {gap:.3g}, allowed {limit:.3g}"))
    return rows


def allowed(wanted: np.ndarray[Any, Any], tolerance: float) -> float:
    """How far off an array may be: the tolerance of its largest finite element, and of 1 where all are smaller."""
    if wanted.dtype.kind in "OSUT":
        return 0.0
    sizes = np.abs(wanted.astype(np.float64))
    return tolerance * max(1.0, float(sizes[np.isfinite(sizes)].max(initial=0.0)))


def difference(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """The largest difference of two arrays; infinite where shapes or places of NaN differ."""
    if a.shape != b.shape:
        return float("inf")
    if a.dtype.kind in "OSUT" or b.dtype.kind in "OSUT":
        return 0.0 if np.array_equal(a, b) else float("inf")
    x, y = a.astype(np.float64), b.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))


def _row(what: str, passed: bool | None, note: str) -> dict[str, Any]:
    return {"check": what, "passed": passed, "note": note}


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    words = {True: "ok", False: "FAILED", None: "left out"}
    show_table(found["file"], ("check", "", ""), [(row["check"], words[row["passed"]], row["note"]) for row in found["checks"]])
