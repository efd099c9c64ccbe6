"""`duograph run`: a model once, from files to a file."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from .output import show_json, show_table

Arrays = dict[str, np.ndarray[Any, Any]]


def write(path: str, arrays: Arrays) -> None:
    """Outputs into an .npz file: to a temporary name first, then renamed."""
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".npz")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def show(inputs: Arrays, outputs: Arrays, written: str | None, as_json: bool) -> None:
    """What went in and what came out."""
    if as_json:
        show_json({"inputs": _all(inputs), "outputs": _all(outputs), "written": written})
        return
    rows = [(kind, name, x["dtype"], x["shape"], x["least"], x["mean"], x["greatest"])
            for kind, arrays in (("in", inputs), ("out", outputs)) for name, x in _all(arrays).items()]  # fmt: skip
    show_table("", ("", "name", "dtype", "shape", "least", "mean", "greatest"), rows)
    if written:
        print(f"written to {written}")


def _all(arrays: Arrays) -> dict[str, dict[str, Any]]:
    return {name: _summary(array) for name, array in arrays.items()}


def _summary(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    numbers = array.astype(np.float64) if array.size and array.dtype.kind in "biuf" else np.zeros(0)
    found = (numbers.min(), numbers.mean(), numbers.max()) if numbers.size else (None, None, None)
    least, mean, greatest = (None if x is None else float(f"{x:.6g}") for x in found)
    shape = f"({', '.join(map(str, array.shape))})"
    return {"dtype": str(array.dtype), "shape": shape, "least": least, "mean": mean, "greatest": greatest}
