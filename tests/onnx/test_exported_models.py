"""Networks that PyTorch's exporters wrote: what they give is what onnxruntime gives."""

import numpy as np
import onnxruntime
import pytest
import torch

import duograph as dg
from benchmarks.exported_models import NAMES, exported


@pytest.mark.filterwarnings("ignore", "error::duograph.errors.CaptureWarning")  # each is one program
@pytest.mark.parametrize("name", NAMES)
def test_as_onnxruntime(name, tmp_path, monkeypatch):
    (network,) = exported(torch, small=True, wanted=lambda other: other == name)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network.file, options, providers=["CPUExecutionProvider"])
    arrays = [arg.numpy() for arg in network.args]
    expected = session.run(None, {given.name: array for given, array in zip(session.get_inputs(), arrays)})
    assert all(array.size for array in expected)

    (tmp_path / "model.onnx").write_bytes(network.file)
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    results = []
    for _ in range(2):  # what is captured first is recalled then
        model = dg.onnx.load(tmp_path / "model.onnx")
        for _ in range(2):  # and replayed
            made = model(*map(dg.from_numpy, arrays))
            results.append(made if isinstance(made, tuple) else (made,))
    for made in results:
        for ours, theirs, first in zip(made, expected, results[0], strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(theirs).max())))
            assert ours.equal(first)
    assert "recalled" in str(model.program.signatures())
