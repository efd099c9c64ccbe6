"""Whole training steps in files: read again they keep their state, train on, and are saved again."""

import json
import runpy
import subprocess
import sys

import numpy as np
import onnx
import pytest
from round_trip import outputs_of

import duograph as dg
from duograph import nn

_TRAINING = """
import duograph as dg
from duograph import nn

dg.manual_seed(1)
model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
optimizer = dg.optim.OPTIMIZER


@dg.static
def step(x, y):
    optimizer.zero_grad()
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss
"""
_OPTIMIZERS = {"SGD": "SGD(model.parameters(), lr=0.1, momentum=0.9)", "AdamW": "AdamW(model.parameters(), lr=0.05)"}

_ELSEWHERE = """
import sys
import numpy as np
import duograph as dg

path, data = sys.argv[1:]
given = np.load(data)
x, y = dg.from_numpy(given["x"]), dg.from_numpy(given["y"])
step = dg.load_static(path)
dg.manual_seed(7)
losses = [step(x, y, lr=rate).item() for rate in given["rates"].tolist()[:5]]
state = dg.get_rng_state()
step.save(path)
step = dg.load_static(path)
dg.set_rng_state(state)
losses += [step(x, y, lr=rate).item() for rate in given["rates"].tolist()[5:]]
np.testing.assert_allclose(losses, given["losses"], rtol=1e-5)
np.testing.assert_allclose(step.state_dict()["4.weight"].numpy(), given["weight"], rtol=1e-5, atol=1e-6)
"""


def data(*sizes):
    return [dg.randn(6, size) for size in sizes]


@pytest.mark.parametrize("name", _OPTIMIZERS)
def test_trains_on_without_its_source(tmp_path, name):
    source, path = tmp_path / "training.py", tmp_path / "step.onnx"
    source.write_text(_TRAINING.replace("OPTIMIZER", _OPTIMIZERS[name]))
    made = runpy.run_path(str(source))
    step, optimizer = made["step"], made["optimizer"]
    x, y = data(3, 2)
    step(x, y)
    step.save(path, x, y)
    source.unlink()
    onnx.checker.check_model(str(path), full_check=True)
    schedule = dg.optim.lr_scheduler.StepLR(optimizer, 3)
    dg.manual_seed(7)
    losses, rates = [], []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(step(x, y).item())
        schedule.step()
    weight = made["model"][4].weight.detach().numpy()
    np.savez(tmp_path / "data.npz", x=x.numpy(), y=y.numpy(), losses=losses, rates=rates, weight=weight)
    command = [sys.executable, "-W", "error", "-c", _ELSEWHERE, str(path), str(tmp_path / "data.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    onnx.checker.check_model(str(path), full_check=True)


def test_is_as_fast_as_what_was_saved(tmp_path):
    x, y = data(3, 2)
    source = tmp_path / "training.py"
    source.write_text(_TRAINING.replace("OPTIMIZER", _OPTIMIZERS["AdamW"]))
    step = runpy.run_path(str(source))["step"]
    step.save(tmp_path / "step.onnx", x, y)
    again = dg.load_static(tmp_path / "step.onnx")
    ours, theirs = (each.explain(x, y).static for each in (again, step))
    assert (ours.kernels, ours.bytes) == (theirs.kernels, theirs.bytes)
    for _ in range(3):
        again(x, y)
    assert again.program.captures == 1


def test_gradients_alone_are_left_for_an_optimizer(tmp_path):
    model, path = nn.Linear(3, 2), tmp_path / "slopes.onnx"

    @dg.static
    def slopes(x, y):
        model.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    x, y = data(3, 2)
    slopes.save(path, x, y)
    again = dg.load_static(path)
    assert again.outputs == ("output",)
    assert [name for name, _ in again.named_parameters()] == ["weight", "bias"]
    optimizers = [dg.optim.SGD(each.parameters(), lr=0.1) for each in (model, again)]
    for _ in range(4):
        losses = [each(x, y).item() for each in (slopes, again)]
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_allclose(*losses, rtol=1e-6)
    np.testing.assert_allclose(again.weight.detach().numpy(), model.weight.detach().numpy(), rtol=1e-6)


def test_values_are_there_before_any_is_written(tmp_path):
    class Exchange(nn.Module):
        def __init__(self):
            super().__init__()
            for name in "abc":
                self.register_buffer(name, dg.randn(300))
            self.turns = 0

        def forward(self, x):
            self.turns += 1
            a = self.a.clone()
            self.a.copy_(self.b)
            self.b.copy_(a.flip(0))
            self.c.copy_(self.b[:1].expand(300))
            return x + a * self.turns, a

    model, path = Exchange(), tmp_path / "exchange.onnx"
    dg.onnx.export(model, dg.ones(300), path)
    again = dg.load_static(path)
    for _ in range(3):
        wanted, found = model(dg.ones(300)), again(dg.ones(300))
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
        for name in "abc":
            np.testing.assert_array_equal(getattr(again, name).numpy(), getattr(model, name).numpy())
    assert again.turns.item() == 3


def test_an_example_in_the_file_is_of_its_first_step(tmp_path):
    source, path = tmp_path / "training.py", tmp_path / "step.onnx"
    source.write_text(_TRAINING.replace("OPTIMIZER", _OPTIMIZERS["SGD"]).replace("nn.Dropout(0.3), ", ""))
    made = runpy.run_path(str(source))
    x, y = data(3, 2)
    made["step"](x, y)
    made["step"].save(path, x, y, verify_with=(x, y))
    from duograph.onnx.exporting.verifying import examples

    (loss,) = examples(onnx.load(path))[1].values()
    assert abs(outputs_of(path, x, y)[0] - loss) < 1e-6
    assert abs(dg.load_static(path)(x, y).item() - loss) < 1e-6
    assert abs(made["step"](x, y).item() - loss) < 1e-6


def test_a_loaded_model_is_saved_with_what_it_learned(tmp_path):
    model, x = nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Linear(40, 2)), dg.randn(4, 3)
    dg.onnx.export(model, x, tmp_path / "net.onnx", dynamic_axes={"x": {0: "n"}})
    file = onnx.load(tmp_path / "net.onnx")
    for given in (tmp_path / "net.onnx", file):
        again = dg.onnx.load(given, trainable=True)
        with dg.no_grad():
            for parameter in again.parameters():
                parameter.mul_(2.0)
        again.save(tmp_path / "more.onnx", external_data=True)
        onnx.checker.check_model(str(tmp_path / "more.onnx"), full_check=True)
        wanted = again(x).detach().numpy()
        np.testing.assert_array_equal(dg.onnx.load(tmp_path / "more.onnx")(x).numpy(), wanted)
        np.testing.assert_allclose(outputs_of(tmp_path / "more.onnx", x)[0], wanted, rtol=1e-4, atol=1e-6)
    assert file.graph.initializer[0].raw_data  # what was given stays as it is


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100000, "cannot be read"),
        ("[1]", "no table of names"),
        ('{"weight": 3}', "no table of names"),
        ('{"weight": "other"}', "the output 'other' for 'weight', which the model lacks"),
    ],
)
def test_tables_of_state_that_are_wrong(text, message):
    model = dg.onnx.export(nn.Linear(3, 2), dg.ones(1, 3)).model_proto
    row = model.metadata_props.add()
    row.key, row.value = "duograph.state", text
    with pytest.raises(dg.onnx.ModelError, match=message):
        dg.onnx.load(model)


def test_state_of_other_sizes():
    model = dg.onnx.export(nn.Linear(3, 2), dg.ones(1, 3)).model_proto
    row = model.metadata_props.add()
    row.key, row.value = "duograph.state", json.dumps({"weight": model.graph.output[0].name})
    with pytest.raises(dg.Error, match="copy_"):
        dg.onnx.load(model)(dg.ones(1, 3))


@pytest.mark.parametrize("name", _OPTIMIZERS)
def test_is_python_again(tmp_path, name):
    source, path = tmp_path / "training.py", tmp_path / "again.py"
    source.write_text(_TRAINING.replace("OPTIMIZER", _OPTIMIZERS[name]).replace("nn.Dropout(0.3), ", ""))
    x, y = data(3, 2)
    step = runpy.run_path(str(source))["step"]
    step(x, y)
    step.save(tmp_path / "step.onnx", x, y)
    dg.load_static(tmp_path / "step.onnx").to_python(path)
    made = runpy.run_path(str(path))
    (kind,) = [value for value in made.values() if isinstance(value, type) and value.__module__ == "<run_path>"]
    dynamic, static = kind(), dg.static(kind())
    for _ in range(4):
        wanted = step(x, y).item()
        np.testing.assert_allclose([dynamic(x, y).item(), static(x, y).item()], wanted, rtol=1e-4)
