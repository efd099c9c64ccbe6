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
