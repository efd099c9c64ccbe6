"""`duograph run`: a model once, from files to a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from .output import say, show_json, show_table

Arrays = dict[str, np.ndarray[Any, Any]]


def show(inputs: Arrays, outputs: Arrays, written: str | None, as_json: bool) -> None:
    """What went in and what came out."""
    if as_json:
        show_json({"inputs": _all(inputs), "outputs": _all(outputs), "written": written})
        return
    rows = [
        (kind, name, x["dtype"], f"({', '.join(map(str, x['shape']))})", x["least"], x["mean"], x["greatest"])
        for kind, arrays in (("in", inputs), ("out", outputs))
        for name, x in _all(arrays).items()
    ]
    show_table("", ("", "name", "dtype", "shape", "least", "mean", "greatest"), rows)
    if written:
        say(f"written to {written}")


def _all(arrays: Arrays) -> dict[str, dict[str, Any]]:
    return {name: _summary(array) for name, array in arrays.items()}


def _summary(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    numbers = array.astype(np.float64) if array.size and array.dtype.kind in "biuf" else np.zeros(0)
    found = (numbers.min(), numbers.mean(), numbers.max()) if numbers.size else (None, None, None)
    least, mean, greatest = (None if x is None else float(f"{x:.6g}") for x in found)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "least": least, "mean": mean, "greatest": greatest}
