"""A part of ONNX's backend test suite; `make conformance` runs all of it."""

import importlib.util
import pathlib

import numpy as np
import onnx
import pytest

from duograph.onnx import backend

_spec = importlib.util.spec_from_file_location("conformance", pathlib.Path(__file__).parents[2] / "tools" / "conformance.py")
conformance = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(conformance)


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")  # parts whose number a value decides
@pytest.mark.parametrize("group", ["pytorch-operator", "simple"])
def test_cases_that_lie_in_files_pass(group):
    found = [x for x in conformance.run(group) if not x.outside]
    assert len(found) >= 15
    assert [x for x in found if x.reason] == []


def test_run_node_and_devices():
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    (made,) = backend.run_node(node, [np.array([1.0], np.float32), np.array([2.0], np.float32)])
    assert made.tolist() == [3.0]
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA")
