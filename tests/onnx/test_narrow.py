"""Types of eight bits and fewer: their values are NumPy's (of the package ml_dtypes), bit for bit."""

import ml_dtypes
import numpy as np
import onnx
import pytest

import duograph as dg
from duograph.onnx.operators.narrow import rounded

TYPES = onnx.TensorProto
FLOATS = [TYPES.FLOAT8E4M3FN, TYPES.FLOAT8E4M3FNUZ, TYPES.FLOAT8E5M2, TYPES.FLOAT8E5M2FNUZ]


@pytest.mark.parametrize("number", FLOATS)
def test_floats_are_rounded_to_the_nearest(number):
    random = np.random.default_rng(0)
    x = (random.standard_normal(4096) * 2.0 ** random.integers(-24, 18, 4096)).astype(np.float32)
    x[:6] = [0.0, -0.0, np.inf, -np.inf, np.nan, 464.0]
    kind = onnx.helper.tensor_dtype_to_np_dtype(number)
    for saturate in (0, 1):
        expected = onnx.numpy_helper.saturate_cast(x, kind) if saturate else x.astype(kind)
        made = rounded(dg.from_numpy(x), number, saturate).numpy()
        np.testing.assert_array_equal(made, expected.astype(np.float32))


@pytest.mark.parametrize(("number", "kind"), [(TYPES.INT4, ml_dtypes.int4), (TYPES.UINT4, ml_dtypes.uint4)])
def test_whole_numbers_keep_their_low_bits(number, kind):
    x = np.linspace(-20, 20, 81).astype(np.float32)
    expected = x.astype(kind).astype(np.int32)
    assert rounded(dg.from_numpy(x), number).numpy().astype(np.int32).tolist() == expected.tolist()
