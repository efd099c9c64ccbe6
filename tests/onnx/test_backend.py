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


@pytest.mark.filterwarnings("ignore")  # the suite's own, while it makes its data
def test_cases_of_shapes_and_arithmetic_pass():
    pattern = (
        r"^test_(add|sub_|div|mod_|clip|slice|reshape|transpose|concat|gather|scatter|pad_|tile|where|loop11|scan9|if_opt|shape)"
    )
    found = list(conformance.run("node", pattern))
    assert len(found) > 100
    assert [x for x in found if x.reason] == []


def test_run_node_and_devices():
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    (made,) = backend.run_node(node, [np.array([1.0], np.float32), np.array([2.0], np.float32)])
    assert made.tolist() == [3.0]
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA")
