"""Programs written as ONNX: checked in full by `onnx`, run by onnxruntime, compared with dynamic mode."""

import json

import numpy as np
import onnx
import pytest
from round_trip import outputs_of, round_trip

import duograph as dg
from duograph import nn


def test_an_mlp_and_a_traced_one(tmp_path):
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 10))
    x = dg.randn(1, 10)
    for each in (model, dg.jit.trace(model, x)):
        path = tmp_path / "net.onnx"
        dg.onnx.export(each, x, path)
        np.testing.assert_allclose(outputs_of(path, x)[0], model(x).detach().numpy(), atol=1e-6)
    found = onnx.load(path)
    assert [t.name for t in found.graph.initializer] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [node.op_type for node in found.graph.node] == ["Gemm", "Relu", "Gemm"]


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.last, self.scale = nn.Linear(128, 10), nn.LayerNorm(10)

    def forward(self, x):
        h = nn.functional.max_pool2d(self.norm(self.conv(x)).relu(), 2)
        h = self.last(h.flatten(1))
        return dg.softmax(nn.functional.gelu(self.scale(h)), -1) * 2.0, x.permute(0, 2, 3, 1), h.std(-1)


def test_a_network_with_an_open_batch():
    model = Convolutions()
    made = round_trip(model, dg.randn(2, 3, 8, 8), dynamic_axes={"x": {0: "batch"}}, others=[(dg.randn(5, 3, 8, 8),)])
    kinds = [node.op_type for node in made.graph.node]
    assert {"Conv", "BatchNormalization", "MaxPool", "Gemm", "LayerNormalization", "Gelu", "Softmax"} <= set(kinds)
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert model.training  # as it was


def test_static_functions_have_save(tmp_path):
    @dg.static(sizes={"x": (dg.Dim("rows", max=64), 3)})
    def step(x, scale):
        return {"sum": (x * scale).sum(0), "rows": x.reshape(-1)}

    path = tmp_path / "step.onnx"
    x = dg.randn(4, 3)
    step.save(path, x, dg.tensor(2.0))
    found = onnx.load(path)
    assert [output.name for output in found.graph.output] == ["output_sum", "output_rows"]
    y = dg.randn(7, 3)
    total, rows = outputs_of(path, y, dg.tensor(2.0))
    np.testing.assert_allclose(total, (y * 2.0).sum(0).numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(rows, y.reshape(-1).numpy())
    node = found.graph.node[0]
    assert "test_export.py" in next(row.value for row in node.metadata_props if row.key == "duograph.line")


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    made = dg.onnx.export(nn.Linear(2, 2), dg.ones(1, 2))
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        made.save(path)
    assert path.read_bytes() == b"old"


def test_external_data(tmp_path):
    path = tmp_path / "net.onnx"
    model = nn.Linear(64, 64)
    dg.onnx.export(model, dg.ones(1, 64), path, external_data=True)
    assert path.stat().st_size < 2000 < (tmp_path / "net.onnx.data").stat().st_size
    np.testing.assert_allclose(outputs_of(path, dg.ones(1, 64))[0], model(dg.ones(1, 64)).detach().numpy(), atol=1e-5)


def test_names_bounds_and_facts_of_sizes_are_metadata():
    def program(x):
        dg.check_size(x.shape[0] % 4 == 0)
        return x.reshape(4, -1), x, x * 2

    rows = dg.Dim("rows", min=4, max=64)
    made = round_trip(program, dg.ones(8, 3), dynamic_shapes={"x": {0: rows}}, output_names=["mul", "same"])
    found = {row.key: json.loads(row.value) for row in made.metadata_props}
    assert found["duograph.sizes"] == {"rows": [4, 64]}
    assert "(rows%4) == 0" in found["duograph.facts"]
    assert [value.name for value in made.graph.output] == ["mul", "same", "output_2"]


def test_mistakes_in_the_call_are_told():
    model = nn.Linear(3, 2)
    with pytest.raises(dg.errors.ArgumentError, match="dynamic_axes names 'y', which is no input; there is x"):
        dg.onnx.export(model, dg.ones(1, 3), dynamic_axes={"y": [0]})
    with pytest.raises(dg.errors.ArgumentError, match="input_names has 2 names for 1 tensors"):
        dg.onnx.export(model, dg.ones(1, 3), input_names=["a", "b"])
    with pytest.raises(dg.errors.ArgumentError, match="expected a Module or a function"):
        dg.onnx.export(3, dg.ones(1))
    with pytest.warns(UserWarning, match="the program is for one value of n"):
        dg.onnx.export(lambda x: x * int(str(int(x.shape[0]))), dg.ones(3), dynamic_axes={"x": {0: "n"}})


def test_arguments_come_as_pytorch_takes_them():
    def program(x, pair, *, scale):
        return (pair["a"] + pair["b"][0]) * x * scale

    pair = {"a": dg.ones(2), "b": [dg.ones(2)]}
    made = dg.onnx.export(program, (dg.ones(2), pair, {"scale": dg.tensor(2.0)})).model_proto
    assert [value.name for value in made.graph.input] == ["x", "pair_a", "pair_b_0", "scale"]
    made = dg.onnx.export(lambda pair: pair["a"], (pair,)).model_proto
    assert len(made.graph.input) == 2


def test_random_numbers_are_drawn_by_the_runtime():
    def program(x):
        return x + dg.rand(2000), dg.randn(2000), dg.nn.functional.dropout(x, 0.25, True)

    made = dg.onnx.export(program, dg.zeros(2000)).model_proto
    onnx.checker.check_model(made, full_check=True)
    uniform, normal, dropped = outputs_of(made, dg.ones(2000))
    assert abs(uniform.mean() - 1.5) < 0.05 and abs(normal.std() - 1.0) < 0.1 and abs((dropped == 0).mean() - 0.25) < 0.05


def test_nodes_say_which_part_of_the_network_they_are():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
            self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.register_forward_hook(lambda module, args, output: output * 2)

        def forward(self, x):
            x = self.first(x)
            for block in self.blocks:
                x = block(x)
            return x + 1

    net = Net()
    made = dg.onnx.export(net, dg.ones(2, 4)).model_proto
    props = [{row.key: row.value for row in node.metadata_props} for node in made.graph.node if node.op_type != "Constant"]
    assert [row.get("duograph.scope", "") for row in props] == ["first.0", "first.1", "blocks.0", "blocks.1", "", ""]
    assert all("duograph.scope" not in str(node) for node in dg.static(net).graph(dg.ones(2, 4)).get_operations())
