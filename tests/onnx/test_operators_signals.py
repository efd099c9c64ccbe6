"""Spectra, regions of images and counted words: the same numbers as onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest

import duograph as dg

F = np.float32
SIGNAL = np.random.default_rng(0).standard_normal((2, 12, 1)).astype(F)
COMPLEX = np.random.default_rng(1).standard_normal((2, 7, 2)).astype(F)
IMAGES = np.random.default_rng(2).standard_normal((2, 4, 6, 7)).astype(F)
ROIS = np.array([[0, 0, 5, 3], [1, 2, 6.5, 5.5], [2, 1, 2.2, 1.1]], F)
MOVES = (np.random.default_rng(3).standard_normal((2, 36, 6, 7)) * 2).astype(F)
KERNELS = np.random.default_rng(4).standard_normal((6, 2, 3, 3)).astype(F)
WEIGHTS = {"ngram_counts": [0, 3], "ngram_indexes": [0, 1, 2, 5, 6], "pool_int64s": [2, 3, 5, 5, 6, 7, 8]}
CASES = {
    "DFT": ({}, [SIGNAL, np.int64(10), np.int64(1)]),
    "DFT, longer": ({}, [SIGNAL, np.int64(17), np.int64(1)]),
    "DFT, onesided": ({"onesided": 1}, [SIGNAL]),
    "DFT, inverse": ({"inverse": 1}, [COMPLEX]),
    "STFT": ({"onesided": 1}, [SIGNAL, np.int64(3), np.hanning(6).astype(F)]),
    "MelWeightMatrix": ({}, [np.int64(8), np.int64(32), np.int64(8000), F(20), F(3500)]),
    "RoiAlign": ({"output_height": 3, "output_width": 2}, [IMAGES, ROIS, np.array([0, 1, 1])]),
    "RoiAlign, max": ({"output_height": 2, "sampling_ratio": 2, "mode": "max"}, [IMAGES, ROIS, np.array([0, 1, 1])]),
    "DeformConv": ({"pads": [1, 1, 1, 1], "group": 2, "offset_group": 2}, [IMAGES, KERNELS, MOVES, np.arange(6, dtype=F)]),
    "Col2Im": ({"pads": [1, 0, 0, 1]}, [np.ones((1, 18, 16), F), np.array([5, 5]), np.array([3, 3])]),
    "TfIdfVectorizer": (
        {"mode": "TF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 1, **WEIGHTS},
        [np.array([[2, 5, 6, 3], [7, 8, 5, 6]])],
    ),
}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")  # RoiAlign: regions decide how many samples there are
@pytest.mark.parametrize("name", CASES)
def test_onnxruntimes_numbers(name):
    attributes, arrays = CASES[name]
    helper = onnx.helper
    arrays = [np.asarray(array) for array in arrays]
    names = [f"i{i}" for i in range(len(arrays))]
    kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in arrays]
    inputs = [helper.make_tensor_value_info(*about) for about in zip(names, kinds, [array.shape for array in arrays])]
    constants = [onnx.numpy_helper.from_array(array, f"i{i}") for i, array in enumerate(arrays) if array.dtype == np.int64 and i]
    given = {name: array for name, array in zip(names, arrays) if name not in [x.name for x in constants]}
    node = helper.make_node(name.split(",")[0], names, ["y"], **attributes)
    graph = helper.make_graph(
        [node], "g", [x for x in inputs if x.name in given], [helper.make_empty_tensor_value_info("y")], constants
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    (expected,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, given)
    made = dg.onnx.load(data)(**{name: dg.tensor(array) for name, array in given.items()})
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-4, atol=1e-5)
