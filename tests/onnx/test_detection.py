"""Boxes that are picked: those that onnxruntime picks."""

import numpy as np
import onnx
import onnxruntime
import pytest

import duograph as dg

TEXT = """<ir_version: 9, opset_import: ["" : 18]>
pick (float[E, N, 4] boxes, float[E, C, N] scores, int64[1] most) => (int64[M, 3] picked)
<float[1] overlap = {0.4}, float[1] least = {%s}>
{ picked = NonMaxSuppression<center_point_box = %d>(boxes, scores, most, overlap, least) }"""


@pytest.mark.parametrize("most", [0, 3, 100])
@pytest.mark.parametrize(("least", "by_centre"), [(0.3, 0), (0.3, 1), (2.0, 0)])
def test_picks_those_that_onnxruntime_picks(most, least, by_centre):
    random = np.random.default_rng(most)
    boxes = random.random((2, 40, 4), np.float32)
    scores = np.round(random.random((2, 3, 40), np.float32), 1)  # some are equal
    data = onnx.parser.parse_model(TEXT % (least, by_centre)).SerializeToString()
    given = {"boxes": boxes, "scores": scores, "most": np.array([most])}
    (expected,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, given)
    model = dg.onnx.load(data)
    np.testing.assert_array_equal(model(**given).numpy(), expected)
    np.testing.assert_array_equal(model(**given).numpy(), expected)
