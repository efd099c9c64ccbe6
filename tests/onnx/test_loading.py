"""Models from text: what a loaded model computes, and how often it is captured."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import duograph as dg

HEADER = '<ir_version: 8, opset_import: ["" : 18]> '


def model(text):
    return onnx.parser.parse_model(HEADER + text)


def loaded(text, **options):
    return dg.onnx.load(model(text), **options)


def test_inputs_come_in_order_or_by_name_also_as_numpy_arrays():
    f = loaded("g (float[2] a, float[2] b) => (float[2] y) { y = Sub(a, b) }")
    a, b = dg.tensor([3.0, 4.0]), dg.tensor([1.0, 1.0])
    assert f(a, b).tolist() == [2.0, 3.0]
    assert f(b=a, a=b).tolist() == [-2.0, -3.0]
    assert f(a.numpy(), b).tolist() == [2.0, 3.0]
    with pytest.raises(dg.errors.ArgumentError, match="input 'b' is missing"):
        f(a)
    with pytest.raises(dg.errors.ArgumentError, match="no input 'c'"):
        f(a, c=b)
    with pytest.raises(dg.errors.ShapeError, match=r"input 'b' has the sizes \[3\], the model takes \[2\]"):
        f(a, dg.ones(3))
    with pytest.raises(dg.errors.DTypeError, match="input 'b' is int64"):
        f(a, dg.tensor([1, 2]))


def test_arithmetic_of_shapes_is_followed_with_sizes():
    f = loaded(
        """g (float[N,4] x) => (float[M,K] y) {
            s = Shape(x)
            zero = Constant<value_int=0>()
            n = Gather(s, zero)
            axes = Constant<value_ints=[0]>()
            u = Unsqueeze(n, axes)
            two = Constant<value_ints=[2]>()
            half = Div(u, two)
            r = Constant<value_ints=[-1]>()
            t = Concat<axis=0>(half, r)
            y = Reshape(x, t)
        }"""
    )
    assert [tuple(f(dg.ones(n, 4)).shape) for n in (6, 10, 14, 18)] == [(3, 8), (5, 8), (7, 8), (9, 8)]
    assert f.program.handler.captures == 1


def test_an_input_that_is_a_shape_decides_it():
    f = loaded("g (float[N,4] x, int64[2] s) => (float[M,K] y) { z = Relu(x) y = Reshape(z, s) }")
    assert tuple(f(dg.ones(4, 4), dg.tensor([8, 2])).shape) == (8, 2)
    assert tuple(f(dg.ones(4, 4), dg.tensor([2, 8])).shape) == (2, 8)


def test_branches_and_loops():
    f = loaded(
        """g (bool c, float[2] x) => (float[2] y) {
            y = If (c) <then_branch = a () => (float[2] p) { p = Add(x, x) }, else_branch = b () => (float[2] q) { q = Neg(x) }>
        }"""
    )
    x = dg.tensor([1.0, 2.0])
    assert (f(dg.tensor(True), x).tolist(), f(dg.tensor(False), x).tolist()) == ([2.0, 4.0], [-1.0, -2.0])
    assert f.program.handler.captures == 1
    g = loaded(
        """g (int64 n, float[2] x) => (float[2] y, float[K,2] rows) {
            y, rows = Loop (n, , x) <body = b (int64 i, bool go, float[2] v) => (bool on, float[2] w, float[2] row) {
                on = Identity(go)
                w = Add(v, x)
                row = Mul(v, v)
            }>
        }"""
    )
    for turns in (3, 5):
        y, rows = g(dg.tensor(turns), x)
        assert y.tolist() == [1.0 + turns, 2.0 + 2 * turns]
        assert rows.tolist() == [[float(i * i), float(4 * i * i)] for i in range(1, turns + 1)]


def test_functions_of_the_model_and_of_onnx():
    f = dg.onnx.load(
        onnx.parser.parse_model(
            """<ir_version: 8, opset_import: ["" : 18, "my" : 1]> g (float[2] x) => (float[2] y) { y = my.scaled<by=3.0>(x) }
            <domain: "my", opset_import: ["" : 18]>
            scaled <by> (v) => (w) { k = Constant<value_float: float=@by>() w = Mul(v, k) }"""
        )
    )
    assert f(dg.tensor([1.0, 2.0])).tolist() == [3.0, 6.0]


def test_initialisers_are_buffers_or_parameters():
    text = "g (float[2] x) => (float[2] y) <float[2] weight = {3.0, 4.0}> { y = Mul(x, weight) }"
    f = loaded(text)
    assert list(f.state_dict()) == ["weight"] and not list(f.parameters())
    g = loaded(text, trainable=True)
    optimizer = dg.optim.SGD(g.parameters(), lr=0.5)
    g(dg.tensor([1.0, 2.0])).sum().backward()
    optimizer.step()
    assert g.state_dict()["weight"].tolist() == [2.5, 3.0]
    assert g(dg.tensor([1.0, 2.0])).tolist() == [2.5, 6.0]


def test_explain_names_nodes_and_gradients_reach_inputs():
    f = loaded("g (float[N,3] x) => (float[N,3] y) { h = Relu(x) y = Exp(h) }")
    x = dg.ones(2, 3, requires_grad=True)
    f(x).sum().backward()
    assert x.grad.tolist() == dg.exp(dg.ones(2, 3)).tolist()
    assert "model:2" in str(f.explain(dg.ones(2, 3)))
    with pytest.raises(dg.errors.Error, match=r"in node of 'y' \(ai.onnx.MatMul, opset 18\)") as caught:
        loaded("g (float[N,3] x) => (float[A,B] y) { y = MatMul(x, x) }")(dg.ones(2, 3))
    assert "model:1 in MatMul" in str(caught.value)


def test_a_network_becomes_the_operators_that_are_written_by_hand():
    text = """g (float[N,4] x) => (float[N,4] y) <float[3,4] w = {1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0},
        float[3] b = {1.0,2.0,3.0}, float[3] s = {1.0,1.0,1.0}> {
            h = Gemm<transB=1>(x, w, b) n = LayerNormalization(h, s) y = Softmax(n)
        }"""
    f, x = loaded(text), dg.ones(2, 4)
    w, b, s = f.w, f.b, f.s

    def by_hand(x):
        h = dg.nn.functional.linear(x, w, b)
        return dg.softmax(dg.nn.functional.layer_norm(h, (3,), s, None, 1e-5), -1)

    g = dg.static(by_hand)
    assert f(x).tolist() == g(x).tolist()
    captured = [entry.description["lines"].graph for entry in (f.program.entries[0], g.entries[0])]
    assert [node.op for node in captured[0].nodes] == [node.op for node in captured[1].nodes]


def test_load_static_is_the_same():
    assert dg.load_static is dg.onnx.load


def test_an_initialiser_behind_an_identity_stays_state():
    f = loaded("g (float[2] x) => (float[2] y) <float[2] w = {3.0, 4.0}> { v = Identity(w) y = Mul(x, v) }")
    assert f(dg.ones(2)).tolist() == [3.0, 4.0]
    f.w.copy_(dg.tensor([5.0, 6.0]))
    assert f(dg.ones(2)).tolist() == [5.0, 6.0]
    assert f.program.handler.captures == 1


def test_numbers_as_arrays_without_dimensions():
    f = loaded("g (float[3] x, float k) => (float[3] y) { y = Mul(x, k) }")
    k = np.array(2.0, np.float32)
    assert f(np.ones(3, np.float32), k).tolist() == [2.0, 2.0, 2.0]
    k.flags.writeable = False
    assert f(np.ones(3, np.float32), k).tolist() == [2.0, 2.0, 2.0]


def test_sizes_that_only_the_run_knows_in_reshape_and_loop():
    f = loaded("""count (float[N] x, bool[N] held) => (float total, float[M] kept)
    <int64[1] flat = {-1}, int64 first = {0}, bool on = {1}, float none = {0}>
    {
      picked = Compress<axis = 0>(x, held)
      kept = Reshape(picked, flat)
      sizes = Shape(kept)
      turns = Gather(sizes, first)
      total = Loop(turns, on, none)
        <body = turn (int64 i, bool c, float t) => (bool d, float u) <float one = {1}> { d = Identity(c) u = Add(t, one) }>
    }""")
    total, kept = f(dg.tensor([1.0, -2.0, 3.0]), dg.tensor([True, False, True]))
    assert (total.item(), kept.tolist()) == (2.0, [1.0, 3.0])
    assert len(f.program.entries) == 1


def test_slices_whose_ends_only_a_run_knows():
    text = (
        HEADER
        + """g (float[N,4] x) => (float[M,4] y) <int64[1] zero = {0}, int64[1] two = {2}, float least = {0.0}>
        { positive = Greater(x, least) ones = Cast<to = 7>(positive) count = ReduceSum<keepdims = 0>(ones)
          end = Unsqueeze(count, zero) start = Sub(end, two) y = Slice(x, start, end) }"""
    )
    proto = onnx.parser.parse_model(text)
    model = dg.onnx.load(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for shift in (1, 3, 9, 16, 19, 30):
        x = np.arange(20, dtype=np.float32).reshape(5, 4) - shift
        np.testing.assert_array_equal(model(x).numpy(), session.run(None, {"x": x})[0])
    assert model.program.captures == 1


def test_reading_a_file_does_without_the_package_onnx(tmp_path):
    """Only its messages are imported, which are the very classes that the package has when it comes later."""
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Add(x, x) }')
    onnx.save(model, tmp_path / "g.onnx")
    code = """
import sys
import duograph as dg
model = dg.onnx.load(sys.argv[1])
assert model(dg.ones(2)).tolist() == [2.0, 2.0]
assert "onnx" not in sys.modules
import onnx
from duograph.onnx.messages import messages
assert messages().ModelProto is onnx.ModelProto
assert dg.onnx.load(onnx.load(sys.argv[1]))(dg.ones(2)).tolist() == [2.0, 2.0]
model.save(sys.argv[1] + "2")
assert [node.op_type for node in onnx.load(sys.argv[1] + "2").graph.node] == ["Add"]
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "g.onnx")], check=True)
