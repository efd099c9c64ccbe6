"""Weights beside a model are mapped: see `benchmarks.large_model`, which measures models of gigabytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.large_model import AFTER_LOAD, AFTER_RUN, write

_ROOT = Path(__file__).parents[2]
_OWN = 24 << 20  # of code, plans and results, which do not grow with the weights


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_memory(kind: str, tmp_path: Path) -> None:
    path, shape, size = write(tmp_path, kind, 200 << 20)
    command = [sys.executable, "-m", "benchmarks.large_model", "--measure", str(path), *map(str, shape)]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=_ROOT).stdout)
    taken = {name: anonymous for name, _, anonymous in rows}
    assert taken["load"] < AFTER_LOAD * size
    assert taken["first run"] < AFTER_RUN * size
    assert taken["five more runs"] < size + 2 * _OWN
