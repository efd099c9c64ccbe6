"""Fused operators of onnxruntime's domain: the same numbers as onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest

import duograph as dg

CASES = {
    "Gelu": ({}, [(2, 5)]),
    "BiasGelu": ({}, [(2, 5), (5,)]),
    "FastGelu": ({}, [(2, 5), (5,)]),
    "QuickGelu": ({"alpha": 1.5}, [(2, 5)]),
    "FusedMatMul": ({"transB": 1, "alpha": 0.5}, [(2, 5), (3, 5)]),
    "FusedGemm": ({"transB": 1, "activation": "LeakyRelu", "activation_alpha": 0.2}, [(2, 5), (3, 5), (3,)]),
    "FusedConv": ({"activation": "Relu", "pads": [1, 1, 1, 1]}, [(1, 2, 5, 5), (3, 2, 3, 3), (3,)]),
    "SkipLayerNormalization": ({"epsilon": 1e-5}, [(2, 3, 8), (2, 3, 8), (8,), (8,), (8,)]),
    "Attention": ({"num_heads": 2, "unidirectional": 1}, [(2, 3, 8), (8, 24), (24,)]),
    "MultiHeadAttention": ({"num_heads": 2}, [(2, 3, 8), (2, 4, 8), (2, 4, 8), (24,)]),
}


@pytest.mark.parametrize("name", CASES)
def test_onnxruntimes_numbers(name):
    attributes, shapes = CASES[name]
    random = np.random.default_rng(0)
    values = {f"i{n}": random.standard_normal(shape).astype(np.float32) for n, shape in enumerate(shapes)}
    helper = onnx.helper
    node = helper.make_node(name, list(values), ["y"], domain="com.microsoft", **attributes)
    inputs = [helper.make_tensor_value_info(key, 1, value.shape) for key, value in values.items()]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", 1, None)])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    (expected,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, values)
    np.testing.assert_allclose(dg.onnx.load(data)(**values).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_keys_and_values_of_multi_head_attention():
    """Those of all heads, for the next call: each an output of its own."""
    random = np.random.default_rng(0)
    values = {name: random.standard_normal((2, 3, 8)).astype(np.float32) for name in "qkv"}
    helper = onnx.helper
    names = ["y", "present_key", "present_value"]
    node = helper.make_node("MultiHeadAttention", list(values), names, domain="com.microsoft", num_heads=2)
    inputs = [helper.make_tensor_value_info(key, 1, value.shape) for key, value in values.items()]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info(name, 1, None) for name in names])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    expected = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, values)
    for ours, theirs in zip(dg.onnx.load(data)(**values), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu"])
def test_onnxruntimes_whole_numbers(name):
    """Those of eight bits; a step apart where what is rounded lies between two."""
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, shape).astype(np.uint8) for shape in [(3, 5), (5,)][: 1 + (name[-3:] in ("Add", "Mul"))]]
    helper, values, scales, names = onnx.helper, {}, [], []
    for place, array in enumerate(arrays):
        values[f"i{place}"] = array
        scales += [helper.make_tensor(f"s{place}", 1, [], [0.03]), helper.make_tensor(f"z{place}", 2, [], [120])]
        names += [f"i{place}", f"s{place}", f"z{place}"]
    scales += [helper.make_tensor("s", 1, [], [0.05]), helper.make_tensor("z", 2, [], [100])]
    node = helper.make_node(name, [*names, "s", "z"], ["y"], domain="com.microsoft")
    inputs = [helper.make_tensor_value_info(key, 2, value.shape) for key, value in values.items()]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", 2, None)], scales)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    (expected,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, values)
    made = dg.onnx.load(data)(**values).numpy()
    assert np.abs(made.astype(int) - expected).max() <= 1
    assert (made == expected).mean() > 0.9


def test_attention_gives_the_keys_and_values_for_the_next_call():
    random = np.random.default_rng(0)
    shapes = {"q": (2, 1, 8), "k": (2, 1, 8), "v": (2, 1, 8), "pk": (2, 2, 3, 4), "pv": (2, 2, 3, 4)}
    values = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    helper, names = onnx.helper, ["y", "nk", "nv"]
    node = helper.make_node(
        "MultiHeadAttention", ["q", "k", "v", "", "", "", "pk", "pv"], names, domain="com.microsoft", num_heads=2
    )
    inputs = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info(name, 1, None) for name in names])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    expected = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, values)
    for made, array in zip(dg.onnx.load(data)(**values), expected, strict=True):
        np.testing.assert_allclose(made.numpy(), array, rtol=1e-4, atol=1e-5)
