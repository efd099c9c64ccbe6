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
    "FusedMatMul, turned": ({"transBatchA": 1, "transA": 1, "transBatchB": 1}, [(5, 3, 4, 2), (5, 3, 4, 6)]),
    "FusedGemm": ({"transB": 1, "activation": "LeakyRelu", "activation_alpha": 0.2}, [(2, 5), (3, 5), (3,)]),
    "FusedConv": ({"activation": "Relu", "pads": [1, 1, 1, 1]}, [(1, 2, 5, 5), (3, 2, 3, 3), (3,)]),
    "FusedConv, HardSigmoid": ({"activation": "HardSigmoid", "activation_params": [0.3, 0.4]}, [(1, 2, 5, 5), (3, 2, 3, 3)]),
    "SkipSimplifiedLayerNormalization": ({"epsilon": 1e-5}, [(2, 3, 8), (2, 3, 8), (8,), (8,)]),
    "SkipLayerNormalization": ({"epsilon": 1e-5}, [(2, 3, 8), (2, 3, 8), (8,), (8,), (8,)]),
    "Attention": ({"num_heads": 2, "unidirectional": 1}, [(2, 3, 8), (8, 24), (24,)]),
    "MultiHeadAttention": ({"num_heads": 2}, [(2, 3, 8), (2, 4, 8), (2, 4, 8), (24,)]),
}


def both(node, values, opset=18):
    """What a node gives, ours and onnxruntime's."""
    helper = onnx.helper
    kinds = {key: helper.np_dtype_to_tensor_dtype(value.dtype) for key, value in values.items()}
    inputs = [helper.make_tensor_value_info(key, kinds[key], value.shape) for key, value in values.items()]
    results = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "g", inputs, results), opset_imports=opsets, ir_version=9)
    data = model.SerializeToString()
    expected = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, values)
    made = dg.onnx.load(data)(**values)
    return made if isinstance(made, tuple) else (made,), expected


def compare(node, values, tolerance=1e-5, opset=18):
    for made, expected in zip(*both(node, values, opset=opset), strict=True):
        np.testing.assert_allclose(made.numpy(), expected, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("bounds", [[2, 4], [2, 4, 1, 0]])
def test_attention_where_keys_begin_and_end(bounds):
    random = np.random.default_rng(0)
    shapes = {"x": (2, 4, 8), "w": (8, 24), "b": (24,)}
    values = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    values["mask"] = np.array(bounds, np.int32)
    compare(onnx.helper.make_node("Attention", list(values), ["y"], domain="com.microsoft", num_heads=2), values)


@pytest.mark.parametrize("masked", [False, True])
def test_embeddings_that_are_normalised(masked):
    random = np.random.default_rng(0)
    shapes = {"words": (11, 8), "places": (6, 8), "kinds": (2, 8), "gamma": (8,), "beta": (8,)}
    values = {"ids": random.integers(0, 11, (2, 4)).astype(np.int32), "segments": random.integers(0, 2, (2, 4)).astype(np.int32)}
    values |= {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    if masked:
        values["mask"] = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int32)
    node = onnx.helper.make_node("EmbedLayerNormalization", list(values), ["y", "counts"], domain="com.microsoft", epsilon=1e-5)
    compare(node, values)


def test_simplified_layer_normalization_of_the_default_domain():
    x = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
    values = {"x": x, "scale": np.arange(8, dtype=np.float32)}
    compare(onnx.helper.make_node("SimplifiedLayerNormalization", list(values), ["y"], axis=-1, epsilon=1e-5), values)


@pytest.mark.parametrize("name", CASES)
def test_onnxruntimes_numbers(name):
    attributes, shapes = CASES[name]
    random = np.random.default_rng(0)
    values = {f"i{n}": random.standard_normal(shape).astype(np.float32) for n, shape in enumerate(shapes)}
    helper = onnx.helper
    node = helper.make_node(name.split(",")[0], list(values), ["y"], domain="com.microsoft", **attributes)
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


def whole(random, shape, dtype=np.uint8):
    return random.integers(0, 256, shape).astype(dtype)


QUANTISED = {
    "QLinearGlobalAveragePool": ({"channels_last": 0}, [(2, 3, 4, 5)]),
    "QLinearAveragePool": ({"kernel_shape": [2, 2], "strides": [2, 2]}, [(1, 3, 4, 6)]),
    "QLinearSoftmax": ({"axis": -1, "opset": 13}, [(3, 5)]),
    "QGemm": ({"transB": 1, "alpha": 1.0}, [(3, 300), (5, 300)]),
    "QLinearConcat": ({"axis": 0}, [(2, 5), (3, 5)]),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_whole_numbers_with_attributes(name):
    attributes, shapes = QUANTISED[name]
    random, values = np.random.default_rng(0), {}
    for place, shape in enumerate(shapes):
        values |= {f"i{place}": whole(random, shape), f"s{place}": np.float32(0.02), f"z{place}": np.uint8(120)}
    result = {"s": np.float32(0.01 if name == "QLinearSoftmax" else 0.5 if name == "QGemm" else 0.05), "z": np.uint8(100)}
    names = [*values, *(["", "s", "z"] if name == "QGemm" else ["s", "z"])]
    if name == "QLinearConcat":
        names = ["s", "z", *values]
    node = onnx.helper.make_node(name, names, ["y"], domain="com.microsoft", **attributes)
    (made,), (expected,) = constant_scales(node, values | result, [f"i{place}" for place in range(len(shapes))])
    assert np.abs(made.numpy().astype(int) - expected).max() <= 1
    assert (made.numpy() == expected).mean() > 0.9


def constant_scales(node, values, given):
    """What a node gives whose other inputs are constants, as quantising tools write it."""
    helper = onnx.helper
    constants = [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in values.items() if name not in given]
    kinds = {name: helper.np_dtype_to_tensor_dtype(values[name].dtype) for name in given}
    inputs = [helper.make_tensor_value_info(name, kinds[name], values[name].shape) for name in given]
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")], constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    values = {name: values[name] for name in given}
    expected = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, values)
    return (dg.onnx.load(data)(**values),), expected


@pytest.mark.parametrize("count", [100, 2000])  # a float32 holds the sums of some 250 products
def test_sums_of_whole_numbers_are_exact(count):
    random = np.random.default_rng(0)
    values = {"a": np.maximum(whole(random, (4, count)), 200), "b": np.maximum(whole(random, (count, 6)), 200)}
    values |= {"az": np.uint8(3), "bz": np.uint8(5)}
    node = onnx.helper.make_node("MatMulInteger", list(values), ["y"])
    (made,), (expected,) = constant_scales(node, values, ["a", "b"])
    assert (made.numpy() == expected).all()


@pytest.mark.parametrize("name", ["ConvInteger", "QLinearConv"])
def test_convolutions_of_whole_numbers(name):
    random = np.random.default_rng(0)
    values = {"x": whole(random, (1, 64, 5, 5)), "w": whole(random, (8, 64, 3, 3))}
    if name == "ConvInteger":
        values |= {"xz": np.uint8(7), "wz": np.uint8(0)}
    else:
        values["w"] = values["w"].view(np.int8)
        steps = {"ws": np.full(8, 0.01, np.float32), "wz": np.zeros(8, np.int8), "ys": np.float32(0.5), "yz": np.uint8(99)}
        values = {"x": values["x"], "xs": np.float32(0.02), "xz": np.uint8(7), "w": values["w"], **steps}
    node = onnx.helper.make_node(name, list(values), ["y"], pads=[1, 1, 1, 1])
    (made,), (expected,) = constant_scales(node, values, ["x"])
    assert np.abs(made.numpy().astype(int) - expected).max() <= (name == "QLinearConv")
    assert (made.numpy() == expected).mean() > 0.99


def test_rows_that_are_quantised_as_they_come():
    random = np.random.default_rng(0)
    values = {"a": random.standard_normal((3, 40)).astype(np.float32), "b": whole(random, (40, 5)), "bs": np.float32(0.02)}
    values["bz"] = np.uint8(128)
    node = onnx.helper.make_node("DynamicQuantizeMatMul", list(values), ["y"], domain="com.microsoft")
    (made,), (expected,) = constant_scales(node, values, ["a"])
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-4, atol=1e-4)
