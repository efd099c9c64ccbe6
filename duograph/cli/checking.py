"""`duograph check`: is the file in order, and does this machine compute what it should."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from .models import call, load, proto
from .output import show_json, show_table
from .values import inputs_for

TOLERANCE = 1e-4  # of the largest element, or absolute below 1
Arrays = Mapping[str, np.ndarray[Any, Any]]


def check(path: str, sizes: Mapping[str, int], tolerance: float) -> dict[str, Any]:
    """The results of all checks of a file: `passed`, and a row for each."""
    rows = [_well_formed(path)]
    model = load(path)
    rows += _examples(path, model, tolerance) or _other_runtime(path, model, sizes, tolerance)
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

    inputs, outputs = examples(proto(path))
    if not outputs:
        return []
    return _compared("the example in the file", call(model, inputs), outputs, tolerance)


def _other_runtime(path: str, model: Any, sizes: Mapping[str, int], tolerance: float) -> list[dict[str, Any]]:
    """The same random inputs through onnxruntime, if it is installed."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        return [_row("results", None, "the file carries no example, and onnxruntime is not installed")]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        return [_row("results", None, f"onnxruntime cannot load the file: {str(error).splitlines()[0]}")]
    inputs = inputs_for(model, (), sizes, 0)
    expected = dict(zip(model.outputs, session.run(None, inputs)))
    return _compared("random inputs, as onnxruntime", call(model, inputs), expected, tolerance)


def _compared(what: str, made: Arrays, expected: Arrays, tolerance: float) -> list[dict[str, Any]]:
    rows = []
    for name, wanted in expected.items():
        gap = difference(made[name], wanted)
        limit = tolerance * max(1.0, float(np.abs(wanted.astype(np.float64)).max(initial=0.0)))
        rows.append(_row(f"{what}: {name}", bool(gap <= limit), f"largest difference {gap:.3g}, allowed {limit:.3g}"))
    return rows


def difference(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """The largest difference of two arrays; infinite where shapes or places of NaN differ."""
    if a.shape != b.shape:
        return float("inf")
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
