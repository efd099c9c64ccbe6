"""Every operator with samples, written as ONNX and run by onnxruntime; those that cannot be written are refused by name."""

import numpy as np
import onnx
import operator_harness as harness
import pytest
from round_trip import flat, outputs_of, round_trip

import duograph as dg

REFUSED = {"nextafter", "poisson", "binomial"}
SAMPLED = [d for d in harness.sampled() if d.kind not in harness.SPECIAL_KINDS]


def marked(value, tensors):
    """The argument with each tensor as its place among them."""
    if isinstance(value, dg.Tensor):
        tensors.append(value)
        return len(tensors) - 1, marked
    return type(value)(marked(x, tensors) for x in value) if isinstance(value, (list, tuple)) else value


def filled(value, tensors):
    if isinstance(value, tuple) and value[1:] == (marked,):
        return tensors[value[0]]
    return type(value)(filled(x, tensors) for x in value) if isinstance(value, (list, tuple)) else value


def written(definition, dtype):
    """Write the first sample, compare; "refused", "done", or None where there is nothing to do."""
    try:
        call = harness.tensors(harness.calls(definition, dtype)[0], dtype)
    except (IndexError, NotImplementedError):
        return None
    tensors = []
    args = [marked(x, tensors) for x in call.args]
    kwargs = {key: marked(x, tensors) for key, x in call.kwargs.items()}

    def program(*given):
        keywords = {key: filled(x, given) for key, x in kwargs.items()}
        return definition.exported(*[filled(x, given) for x in args], **keywords)

    with dg.no_grad():
        try:
            wanted = flat(program(*tensors))
        except dg.errors.DTypeError:
            return None
    if not wanted:
        return None
    try:
        model = dg.onnx.export(program, tuple(tensors)).model_proto
    except dg.errors.GraphError:
        return "refused"
    onnx.checker.check_model(model, full_check=True)
    found = outputs_of(model, *tensors)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        assert a.shape == tuple(b.shape), definition.name
        a, b = a.astype(np.float64), b.detach().numpy().astype(np.float64)
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5, err_msg=definition.name)
    return "done"


@pytest.mark.parametrize("part", range(6))
def test_operators_of_float32(part):
    refused = {d.name for d in SAMPLED[part::6] if written(d, "float32") == "refused"}
    assert refused <= REFUSED


def test_operators_of_whole_numbers():
    refused = {d.name for d in SAMPLED[::3] if written(d, "int64") == "refused"}
    assert refused <= REFUSED


def test_what_is_refused_names_operator_and_line():
    with pytest.raises(
        dg.errors.GraphError, match=r"onnx: nextafter: has no form in ONNX[\s\S]*test_export_operators.py"
    ) as error:
        dg.onnx.export(lambda x: dg.nextafter(x, x), dg.ones(2))
    assert "test_export_operators.py" in str(error.value) and "dg.nextafter(x, x)" in str(error.value)


def test_an_opset_that_lacks_an_operator_is_named():
    with pytest.raises(dg.errors.GraphError, match="needs BitwiseAnd, which is there from opset 18 on, and opset 17"):
        dg.onnx.export(lambda x: x & 3, dg.tensor([5]), opset_version=17)
    with pytest.warns(UserWarning, match="opset 11 is too old"):
        assert dg.onnx.export(lambda x: x + 3, dg.tensor([5]), opset_version=11).model_proto.opset_import[0].version == 16


@pytest.mark.parametrize("opset", [16, 18, 23])
def test_other_opsets(opset):
    def program(x):
        h = dg.nn.functional.gelu(dg.nn.functional.layer_norm(x, (4,), dg.ones(4)))
        return h.amax(-1), h.sum(0), dg.cumsum(h, 0), h.softmax(-1), h[:, 1:].clone().index_add(0, dg.tensor([0, 0]), h[:2, 1:])

    round_trip(program, dg.randn(3, 4), opset_version=opset)
