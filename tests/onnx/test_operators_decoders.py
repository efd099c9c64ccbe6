"""What decoders are made of, in onnxruntime's domain: the same numbers as onnxruntime."""

import numpy as np
import onnx
import pytest
from test_microsoft import compare, constant_scales

F = np.float32


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(F)


ANGLES = np.arange(8)[:, None] * np.array([1.0, 0.1])
CACHE = {"cos": np.cos(ANGLES).astype(F), "sin": np.sin(ANGLES).astype(F)}


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("places", [[[0, 1, 2], [4, 5, 6]], [3]])
def test_rotations(places, interleaved):
    values = {"x": normal(2, 3, 8), "places": np.array(places), **CACHE}
    compare(
        onnx.helper.make_node("RotaryEmbedding", list(values), ["y"], domain="com.microsoft", interleaved=interleaved), values
    )


@pytest.mark.parametrize(("past", "length"), [(0, 3), (4, 1)])
@pytest.mark.parametrize("window", [-1, 2])
def test_keys_that_heads_share(past, length, window):
    values = {"q": normal(2, length, 64), "k": normal(2, length, 32), "v": normal(2, length, 32) + 1}
    angles = np.arange(8)[:, None] * 0.5 ** np.arange(8)
    if past:
        values |= {"pk": normal(2, 2, past, 16), "pv": normal(2, 2, past, 16) * 2}
    total = past + length
    values |= {"lasts": np.array([total - 1, total - 1], np.int32), "total": np.array(total, np.int32)}
    values |= {"cos": np.cos(angles).astype(F), "sin": np.sin(angles).astype(F)}
    names = ["q", "k", "v", "pk" if past else "", "pv" if past else "", "lasts", "total", "cos", "sin"]
    about = {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1, "local_window_size": window}
    node = onnx.helper.make_node("GroupQueryAttention", names, ["y", "nk", "nv"], domain="com.microsoft", **about)
    compare(node, values)


@pytest.mark.parametrize("points", [False, True])
def test_packed_weights(points):
    packed = np.random.default_rng(1).integers(0, 256, (5, 3, 8)).astype(np.uint8)
    values = {"x": normal(2, 40), "b": packed, "scales": np.abs(normal(15))}
    if points:
        values["zeros"] = np.random.default_rng(2).integers(0, 256, 10).astype(np.uint8)
    about = {"K": 40, "N": 5, "bits": 4, "block_size": 16}
    node = onnx.helper.make_node("MatMulNBits", list(values), ["y"], domain="com.microsoft", **about)
    (made,), (expected,) = constant_scales(node, values, ["x"])
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-4, atol=1e-4)
