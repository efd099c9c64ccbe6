"""Loaded models as objects: copies, pickles, threads, other processes, wrong calls."""

import concurrent.futures
import copy
import os
import pathlib
import pickle

import numpy as np
import onnx
import pytest

import duograph as dg
from duograph import nn


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def path(tmp_path, net):
    dg.onnx.export(net, dg.ones(2, 4), tmp_path / "a.onnx", input_names=["x"], dynamic_axes={"x": {0: "n"}})
    return tmp_path / "a.onnx"


@pytest.mark.parametrize("trainable", [False, True])
def test_copies_have_tensors_of_their_own(path, net, trainable):
    model, x = dg.onnx.load(path, trainable=trainable), dg.randn(2, 4)
    want = net(x).tolist()
    assert model(x).tolist() == want
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other(x).tolist() == want
        assert len([*other.parameters()]) == (4 if trainable else 0)
        with dg.no_grad():
            for tensor in other.state_dict().values():
                tensor.zero_()
        assert not other(x).any() and model(x).tolist() == want
        assert other(dg.randn(5, 4)).shape == (5, 3) and repr(other) == repr(model)


def test_a_copy_of_a_training_step_trains_on(tmp_path):
    model = nn.Linear(3, 1)
    optimizer = dg.optim.SGD(model.parameters(), lr=0.1)

    @dg.static
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = dg.randn(8, 3), dg.randn(8, 1)
    step.save(tmp_path / "step.onnx", x, y)
    first = dg.onnx.load(tmp_path / "step.onnx")
    first(x, y)
    others = [copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    losses = [first(x, y).item() for _ in range(3)]
    assert losses[0] > losses[-1]
    assert [[other(x, y).item() for _ in range(3)] for other in others] == [losses, losses]


def test_threads_and_processes(path, net):
    model = dg.onnx.load(path)
    given = [dg.randn(2, 4) for _ in range(8)]
    want = [net(x).tolist() for x in given]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda pair: all(model(pair[0]).tolist() == pair[1] for _ in range(50)), zip(given, want)))
    child = os.fork()
    if child == 0:
        fine = model(given[0]).tolist() == want[0] and dg.onnx.load(path)(given[1]).tolist() == want[1]
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("value", "words"), [(None, "'x' is None"), ({"x": 1}, r"model\(\*\*inputs\)"), ("a", "got str")])
def test_what_is_no_tensor(path, value, words):
    with pytest.raises(dg.errors.ArgumentError, match=words):
        dg.onnx.load(path)(value)


def test_one_name_of_a_parameter(path):
    assert [name for name, _ in dg.onnx.load(path, trainable="2.weight").named_parameters()] == ["2.weight"]


def test_files_that_cannot_be_written_are_named(net, tmp_path):
    for target, error in ((tmp_path / "none" / "a.onnx", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error) as found:
            dg.onnx.export(net, dg.ones(2, 4), target)
        assert found.value.filename == str(target)
    name = "n" * 245 + ".onnx"
    dg.onnx.export(net, dg.ones(2, 4), tmp_path / name)
    onnx.checker.check_model(tmp_path / name, full_check=True)
    assert [path.name for path in pathlib.Path(tmp_path).iterdir()] == [name]
    assert repr(dg.onnx.export(net, dg.ones(2, 4))) == "Exported(Sequential: x -> output)"


def test_arrays_of_any_layout(path, net):
    model, x = dg.onnx.load(path), np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    frozen = x[:, :4].copy()
    frozen.flags.writeable = False
    for array in (x[::2, ::2], np.asfortranarray(x[:, :4]), frozen, x[:, :4].tolist()):
        want = net(dg.tensor(np.array(array, np.float32)))
        np.testing.assert_allclose(model(array).numpy(), want.detach().numpy(), rtol=1e-6, atol=1e-6)
