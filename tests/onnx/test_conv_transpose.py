"""ConvTranspose: sizes that the attributes do not say alone."""

import numpy as np
import onnx

import duograph as dg


def test_several_sizes_one_after_another():
    """A call leaves the node's attributes as they are."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[1,1,N,N] x, float[1,1,2,2] w) => (float[1,1,10,10] y) '
        "{ y = ConvTranspose<strides=[3,3], output_padding=[0,0], output_shape=[10,10]>(x, w) }"
    )
    f = dg.onnx.load(model)
    w = np.random.default_rng(0).standard_normal((1, 1, 2, 2)).astype("f")
    for size in (3, 4, 5, 3):
        x = np.random.default_rng(size).standard_normal((1, 1, size, size)).astype("f")
        alone = dg.onnx.load(model)(x, w)
        assert tuple(alone.shape) == (1, 1, 10, 10)
        np.testing.assert_array_equal(f(x, w).numpy(), alone.numpy())
