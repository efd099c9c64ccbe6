"""Files that duograph saves, in C++ and JavaScript, where these are installed: see `examples/other_languages`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "other_languages"


@pytest.fixture(scope="module")
def compare() -> Any:
    spec = importlib.util.spec_from_file_location("compare_languages", FOLDER / "compare.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("number", [0, 1], ids=["C++", "JavaScript"])
def test_the_same_numbers(compare: Any, number: int, tmp_path: Path) -> None:
    language, run = list(compare.runtimes(tmp_path))[number]
    if isinstance(run, str):
        pytest.skip(f"{language}: {run}")
    for network in compare.saved(tmp_path):
        assert compare.difference(run, network, tmp_path) < compare.LIMIT, network.name


def test_files_say_what_other_readers_look_for(compare: Any, tmp_path: Path) -> None:
    """OpenCV takes the taps of a convolution from its attribute, and knows no ReduceMean whose axes are an input."""
    onnx = pytest.importorskip("onnx")
    *_, network = compare.saved(tmp_path)
    nodes = onnx.load(network.path).graph.node
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert len(convolutions) == 20
    assert all(any(attribute.name == "kernel_shape" for attribute in node.attribute) for node in convolutions)
    assert [node.op_type for node in nodes if "Pool" in node.op_type or "Reduce" in node.op_type] == [
        "MaxPool",
        "GlobalAveragePool",
    ]
    found = np.abs(network.expected)
    assert found.max() > 0.1
