"""What programs leave behind, in files: training steps with state as pairs, gradients, numbers that stay open."""

import json
import random
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from round_trip import outputs_of, round_trip

import duograph as dg
from duograph import nn


def metadata(model, key):
    return next((json.loads(row.value) for row in model.metadata_props if row.key == f"duograph.{key}"), {})


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("make", [lambda p: dg.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: dg.optim.AdamW(p, lr=0.1)])
def test_a_training_step_goes_on_elsewhere(tmp_path, make):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = make(model.parameters())

    @dg.static
    def step(x, y):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    x, y, path = dg.randn(5, 3), dg.randn(5, 2), tmp_path / "step.onnx"
    step(x, y)
    step.save(path, x, y)
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    pairs = metadata(made, "state")
    assert pairs["0.weight"] == "0.weight.next"
    assert metadata(made, "gradients")["2.bias"] == "2.bias.grad"
    session, state = session_of(path), {}
    names = [output.name for output in session.get_outputs()]
    for _ in range(3):
        found = dict(zip(names, session.run(None, {"x": x.numpy(), "y": y.numpy(), **state})))
        state = {name: found[after] for name, after in pairs.items()}
        np.testing.assert_allclose(found["output"], step(x, y).item(), rtol=1e-5)
    np.testing.assert_allclose(found["2.bias.grad"], model[2].bias.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_numbers_among_the_arguments_may_be_left_out(tmp_path):
    path = tmp_path / "scaled.onnx"
    dg.static(lambda x, scale: x * scale).save(path, dg.ones(2), 3.0)
    np.testing.assert_array_equal(outputs_of(path, dg.ones(2))[0], [3.0, 3.0])
    found = session_of(path).run(None, {"x": np.ones(2, np.float32), "scale": np.asarray(5.0)})
    np.testing.assert_array_equal(found[0], [5.0, 5.0])


def test_buffers_that_are_written():
    model = nn.BatchNorm1d(3)
    made = dg.onnx.export(model, dg.randn(4, 3), training=True).model_proto
    onnx.checker.check_model(made, full_check=True)
    assert metadata(made, "state")["running_mean"] == "running_mean.next"
    assert dg.onnx.export(model, dg.randn(4, 3)).model_proto.graph.node[0].op_type == "BatchNormalization"


class Counted(nn.Module):
    """Python numbers that change from call to call."""

    def __init__(self):
        super().__init__()
        self.count, self.rate, self.name = 1, 2.5, "a"
        self.settings = {"decay": 0.5}

    def forward(self, x):
        self.count += 1
        self.rate = self.rate * self.settings["decay"] + self.count
        return x * self.count + self.rate


def test_a_python_number_that_changes_is_state(tmp_path):
    path, model = tmp_path / "counted.onnx", Counted()
    dg.onnx.export(model, dg.ones(2), path)
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    pairs = metadata(made, "state")
    assert pairs == {"count": "count.next", "rate": "rate.next"}
    session, state = session_of(path), {}
    names = [output.name for output in session.get_outputs()]
    for _ in range(4):
        found = dict(zip(names, session.run(None, {"x": np.ones(2, np.float32), **state})))
        np.testing.assert_allclose(found["output"], model(dg.ones(2)).numpy(), rtol=1e-6)
        state = {before: found[after] for before, after in pairs.items()}


def test_a_python_number_that_changes_as_no_file_can_is_refused():
    class Odd(Counted):
        def forward(self, x):
            self.rate = self.rate % 0.3
            return x * self.rate

    with pytest.raises(dg.errors.GraphError, match="rate is a Python number that the function computes with and changes"):
        dg.onnx.export(Odd(), dg.ones(2))


def test_a_call_of_python_is_refused_with_its_line():
    @dg.host_callback
    def look(x):
        return None

    def program(x):
        look(x)
        return x * 2

    with pytest.raises(dg.errors.GraphError, match="calls Python") as error:
        dg.onnx.export(program, dg.ones(2))
    assert "look(x)" in str(error.value)


def test_a_number_that_python_draws_is_refused_with_its_line():
    def program(x):
        for _ in range(random.randint(1, 3)):
            x = x * 2
        return x

    with pytest.raises(dg.errors.GraphError, match="calls Python \\(randint\\)") as error:
        dg.onnx.export(program, dg.ones(2))
    assert "random.randint(1, 3)" in str(error.value)


def test_sizes_that_follow_from_others_stay_open():
    made = dg.onnx.export(lambda a, b: a + b, (dg.ones(2), dg.ones(2)), dynamic_axes={"a": {0: "n"}, "b": {0: "m"}}).model_proto
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in made.graph.input} == {"n"}
    with pytest.warns(UserWarning, match="for one value of n"):
        dg.onnx.export(lambda x: x * len(range(x.shape[0])), dg.ones(2), dynamic_axes={"x": {0: "n"}})
    with pytest.warns(UserWarning, match=r"holds where m\*n == 4"):
        dg.onnx.export(lambda x: x if x.numel() == 4 else x * 2, dg.ones(2, 2), dynamic_axes={"x": {0: "n", 1: "m"}})


def test_prints_and_assertions_are_nodes_that_any_runtime_runs(tmp_path):
    @dg.static
    def program(x):
        print("total", x.sum())
        assert x.sum() > 0, "positive"
        return x * 2

    path = tmp_path / "program.onnx"
    program.save(path, dg.ones(2))
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    assert {f.name for f in made.functions} == {"Print1", "Raise0"}
    (say,) = (node for node in made.graph.node if node.op_type == "Print1")
    assert {x.name: x.s for x in say.attribute} == {"text": b"total {0!s}", "end": b"\n"}
    np.testing.assert_array_equal(outputs_of(path, dg.ones(2))[0], [2.0, 2.0])
    program.save(path, dg.ones(2), prints=False)
    assert not onnx.load(path).functions


def test_examples_travel_with_the_file(tmp_path):
    from duograph.onnx.exporting.verifying import examples

    path = tmp_path / "net.onnx"
    x = dg.randn(2, 3)
    dg.static(lambda x: x.exp()).save(path, x, verify_with=x)
    given, wanted = examples(onnx.load(path))
    np.testing.assert_array_equal(given["x"], x.numpy())
    np.testing.assert_array_equal(wanted["output"], x.exp().numpy())


def test_a_session_graph_is_written_with_its_names():
    import duograph.graph as tf

    with tf.Graph().as_default() as graph, tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        y = tf.nn.relu(tf.matmul(x, tf.get_variable("w", [3, 2]))) + 1.0
        doubled = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 2.0), [tf.constant(0), y])[1]
        session.run(tf.global_variables_initializer())
        function = graph.as_function(x, {"y": y, "doubled": doubled}, session)
        made = round_trip(function, dg.randn(4, 3), dynamic_axes={"x": [0]}, others=[(dg.randn(6, 3),)])
    assert made.graph.initializer[0].name == "w"
    assert [t.name for t in made.graph.output] == ["output_y", "output_doubled"]


_ELSEWHERE = """
import sys
import duograph as dg
import numpy as np
model = dg.onnx.load(sys.argv[1], trainable=True)
given = np.load(sys.argv[2])
x, y = dg.from_numpy(given["x"]), dg.from_numpy(given["y"])
np.testing.assert_allclose(model(x).detach().numpy(), given["found"], atol=1e-5)
optimizer = dg.optim.SGD(model.parameters(), lr=0.1)
losses = []
for _ in range(5):
    optimizer.zero_grad()
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
np.testing.assert_allclose(losses, given["losses"], rtol=1e-4)
"""


def test_a_model_trains_on_in_a_process_without_its_source(tmp_path):
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2))
    x, y, path = dg.randn(16, 4), dg.randn(16, 2), tmp_path / "net.onnx"
    dg.onnx.export(model, x, path)
    found, losses = model(x).detach().numpy(), []
    optimizer = dg.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.savez(tmp_path / "data.npz", x=x.numpy(), y=y.numpy(), found=found, losses=losses)
    given = [sys.executable, "-c", _ELSEWHERE, str(path), str(tmp_path / "data.npz")]
    done = subprocess.run(given, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
