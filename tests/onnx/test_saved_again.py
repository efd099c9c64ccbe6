"""Loaded models as programs like any other: in captures, exported, trained and saved again."""

import numpy as np
import onnx
import onnxruntime
import pytest

import duograph as dg
from duograph import nn


@pytest.fixture
def path(tmp_path):
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
    dg.static(model).save(tmp_path / "a.onnx", dg.randn(2, 4), sizes={"x": (dg.Dim("batch"), 4)})
    return tmp_path / "a.onnx"


def described(model):
    inputs = [(x.name, [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim]) for x in model.graph.input]
    return inputs, [x.name for x in model.graph.output], sorted(x.name for x in model.graph.initializer)


def test_exported_again_it_has_the_same_names_and_open_sizes(path):
    model, found = dg.onnx.load(path), described(onnx.load(path))
    for size in (1, 3):
        assert described(dg.onnx.export(model, dg.randn(size, 4), opset_version=17).model_proto) == found
    fixed = dg.onnx.export(model, dg.randn(3, 4), dynamic_axes={}, input_names=["z"]).model_proto
    assert described(fixed)[0] == [("z", [3, 4])]


def test_a_loaded_model_inside_of_another(path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = dg.onnx.load(path)

        def forward(self, x):
            return self.inner(x) * 2

    model = Twice()
    exported = dg.onnx.export(model, dg.randn(2, 4), input_names=["x"], dynamic_axes={"x": {0: "n"}}).model_proto
    inputs, _, weights = described(exported)
    assert inputs == [("x", ["n", 4])] and weights == [f"inner.{i}.{name}" for i in (0, 2) for name in ("bias", "weight")]
    static = dg.static(model)
    for size in range(2, 7):
        x = dg.randn(size, 4)
        np.testing.assert_allclose(static(x).numpy(), 2 * model.inner(x).numpy(), rtol=1e-6)
    assert static.captures <= 2


def test_trained_and_saved_again(path, tmp_path):
    model = dg.load_static(path, trainable=True)
    optimizer = dg.optim.SGD(model.parameters(), lr=0.1)
    x, y = dg.randn(8, 4), dg.randn(8, 3)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.save(tmp_path / "b.onnx", x, verify_with=dg.randn(5, 4))
    assert described(onnx.load(tmp_path / "b.onnx")) == described(onnx.load(path))
    session = onnxruntime.InferenceSession(tmp_path / "b.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert dg.onnx.load(tmp_path / "b.onnx")(x).tolist() == model(x).tolist()
