"""Calls of `onnx.export` and `save` as users of PyTorch write them: arguments, names, open sizes, results, examples."""

import collections
import dataclasses
import typing

import numpy as np
import onnx
import onnxruntime
import pytest

import duograph as dg
from duograph import nn
from duograph.cli.checking import check
from duograph.cli.values import Choice


def ran(model, *arrays):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {x.name: array for x, array in zip(session.get_inputs(), arrays)})


def sizes(model):
    return [[d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] for x in model.graph.input]


def exported(*args, **options):
    return dg.onnx.export(*args, **options).model_proto


# ---- arguments


def test_a_tensor_given_twice_is_two_inputs():
    x, one = dg.randn(3), dg.ones(3)
    model = exported(
        lambda a, b: a * 2 + b, (x, x), input_names=["p", "q"], dynamic_axes={"q": [0], "p": {0: "q_dynamic_axes_1"}}
    )
    assert [each.name for each in model.graph.input] == ["p", "q"]
    np.testing.assert_allclose(ran(model, x.numpy(), one.numpy())[0], x.numpy() * 2 + 1, rtol=1e-6)
    nested = exported(
        lambda d, t: d["a"] + d["b"] * t[0],
        ({"a": x, "b": x}, [x]),
        dynamic_shapes={"d": {"a": {0: "n"}, "b": {0: "n"}}, "t": [{0: "n"}]},
    )
    assert [each.name for each in nested.graph.input] == ["d_a", "d_b", "t_0"] and sizes(nested) == [["n"]] * 3


def test_weights_as_inputs():
    model, x = nn.Linear(4, 3), dg.randn(2, 4)
    kept = exported(model, x, keep_initializers_as_inputs=True)
    assert [each.name for each in kept.graph.input] == ["x", "weight", "bias"]
    np.testing.assert_allclose(ran(kept, x.numpy())[0], model(x).detach().numpy(), rtol=1e-4, atol=1e-6)
    bare = exported(model, x, export_params=False)
    assert not bare.graph.initializer
    found = ran(bare, x.numpy(), np.zeros((3, 4), np.float32), np.ones(3, np.float32))[0]
    np.testing.assert_array_equal(found, np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input_names": "x"}, "list of names"),
        ({"input_names": [""]}, "list of names"),
        ({"output_names": [3]}, "list of names"),
        ({"input_names": ["q"], "output_names": ["q"]}, "'q' is asked for two"),
        ({"dynamic_axes": [0]}, "dict by input name"),
        ({"dynamic_shapes": 3}, "by name or in order"),
        ({"dynamic_shapes": ({0: "b"}, {0: "c"})}, "2 arguments, there are 1"),
        ({"dynamic_shapes": {"x": {7: "b"}}}, "none is 7"),
        ({"dynamic_shapes": {"x": 3}}, "by dimension"),
        ({"opset_version": "17"}, "whole number"),
        ({"kwargs": [1]}, "takes a dict"),
    ],
)
def test_wrong_calls_are_told(options, words):
    with pytest.raises(dg.errors.ArgumentError, match=words):
        dg.onnx.export(nn.Linear(4, 3), dg.ones(2, 4), **options)


def test_a_class_is_no_model_and_nothing_is_nothing_to_write():
    with pytest.raises(dg.errors.ArgumentError, match="give an instance"):
        dg.onnx.export(nn.Linear, dg.ones(2, 4))
    with pytest.raises(dg.errors.GraphError, match="nothing to write"):
        dg.onnx.export(lambda x: None, dg.ones(2))


def test_hints_of_pytorch_about_sizes():
    import torch

    dim = torch.export.Dim
    model = exported(nn.Linear(4, 3), dg.ones(2, 4), dynamic_shapes=({0: dim("batch", max=64), 1: dim.STATIC},))
    assert sizes(model) == [["batch", 4]]
    assert sizes(exported(nn.Linear(4, 3), dg.ones(2, 4), dynamic_shapes=({0: dim.AUTO, 1: None},)))[0][0] == "x_0"


# ---- results


class Moments(typing.NamedTuple):
    mean: object
    std: object


@dataclasses.dataclass
class Parts:
    low: object
    rest: list


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: Moments(x + 1, x * 2), ["output_mean", "output_std"]),
        (lambda x: Parts(x - 1, [Moments(x, x + 2)]), ["output_low", "output_rest.0.mean", "output_rest.0.std"]),
        (lambda x: collections.OrderedDict(a=x + 1, b=(x,)), ["output_a", "output_b.0"]),
        (lambda x: (x.shape[0] * 2, x + 1, x.max().item()), ["output_1", "output_2"]),
        (lambda x: (x, x.exp(), x, x.exp()[1:]), ["output_0", "output_1", "output_2", "output_3"]),
    ],
)
def test_outputs_have_the_names_of_their_places(tmp_path, function, names):
    x = dg.randn(4)
    dg.static(function).save(tmp_path / "a.onnx", x, verify_with=x)
    model = onnx.load(tmp_path / "a.onnx")
    assert [each.name for each in model.graph.output] == names
    kept = [row.key.removeprefix("duograph.example.output.") for row in model.metadata_props if ".output." in row.key]
    assert kept == names and check(str(tmp_path / "a.onnx"), (), Choice(), 1e-5)["passed"]


# ---- examples


def repeated(path, function, *args, verify_with, **kwargs):
    dg.static(function).save(path, *args, verify_with=verify_with, **kwargs)
    model = onnx.load(path)
    rows = check(str(path), (), Choice(), 1e-5)["checks"]
    assert all(row["passed"] for row in rows) and "the example in the file" in rows[1]["check"], rows
    return sum(row.key.startswith("duograph.example.input.") for row in model.metadata_props)


def test_examples_of_numbers_keywords_and_the_same_tensor_twice(tmp_path):
    x, path = dg.randn(4), tmp_path / "a.onnx"
    assert repeated(path, lambda x, y: x * 2 + y, x, x, verify_with=(x, x)) == 2
    assert repeated(path, lambda x, s: x * s, x, 2.5, verify_with=(x, 4.0)) == 2
    assert repeated(path, lambda x, *, k, j: x + k - j, x, k=x, j=x, verify_with=(x, {"j": x + 1, "k": x})) == 3
    dg.onnx.export(lambda x, y, s: (x * s - y, x.shape[0]), (x, x, 2.0), verify=True)
    with pytest.raises(dg.errors.ArgumentError, match="onnxruntime does not run"):
        dg.onnx.export(lambda x: x.bfloat16(), x, verify=True)


def test_an_example_leaves_arguments_and_state_as_they_are(tmp_path):
    def written(x):
        x.add_(1)
        return x * 2

    x = dg.ones(3)
    assert repeated(tmp_path / "a.onnx", written, x, verify_with=x) == 1 and x.tolist() == [1, 1, 1]
    model = nn.Linear(3, 1)
    optimizer = dg.optim.Adam(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = dg.randn(8, 3), dg.randn(8, 1)
    before = model.weight.tolist()
    repeated(tmp_path / "b.onnx", step, x, y, verify_with=(x, y))
    assert model.weight.tolist() == before and model.weight.grad is None


def test_one_bound_lets_the_infinite_pass():
    x = dg.tensor([1.0, float("nan"), float("inf"), -float("inf")])
    model = exported(lambda x: (x.clamp(min=0), x.clamp(max=0), x.clamp(-1, 1)), x)
    for found, want in zip(ran(model, x.numpy()), (x.clamp(min=0), x.clamp(max=0), x.clamp(-1, 1))):
        np.testing.assert_array_equal(found, want.numpy())


def test_a_result_that_is_state_is_what_it_is_afterwards():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", dg.zeros(2))

        def forward(self, x):
            self.n.add_(1)
            x.mul_(2)
            return x, self.n, self.n[1:]

    found = ran(exported(Counted(), dg.ones(2)), np.ones(2, np.float32))
    assert [each.tolist() for each in found[:3]] == [[2, 2], [1, 1], [1]]


def test_what_calls_lapack_is_refused_by_its_name():
    with pytest.raises(dg.errors.GraphError, match=r"calls Python \((?!_)\w[\w.]*\)"):
        dg.onnx.export(lambda a: dg.linalg.det(a), dg.eye(3))
