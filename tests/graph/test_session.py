"""Sessions: feeding, fetching, variables, gradients, and what goes wrong."""

from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import duograph as dg
import duograph.graph as tf
from duograph.errors import ArgumentError, DeviceError, DTypeError, GradError, GraphError, ShapeError, UninitializedError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


def test_fetches_of_any_structure():
    a, b = tf.constant(2.0, name="a"), tf.constant(3.0, name="b")
    Pair = namedtuple("Pair", "left right")
    with tf.Session() as session:
        assert session.run(a * b) == 6.0
        assert session.run({"sum": a + b, "all": [a, (b, "a:0")]}) == {"sum": 5.0, "all": [2.0, (3.0, 2.0)]}
        assert session.run(Pair(a, b)) == Pair(2.0, 3.0)
        assert session.run([]) == []
        assert session.run((a, tf.no_op())) == (2.0, None)
        assert isinstance(session.run(a), np.float32)


def test_any_tensor_can_be_fed():
    x = tf.placeholder(tf.float32, [None])
    y = x * 2.0
    z = y + 1.0
    with tf.Session() as session:
        assert session.run(z, {x: [1, 2]}).tolist() == [3, 5]
        assert session.run(z, {y: [10.0]}).tolist() == [11]
        assert session.run([y, z], {y: [10.0]})[0].tolist() == [10]


def test_a_fed_array_is_not_shared_with_results():
    x = tf.placeholder(tf.float32, [2])
    same = tf.identity(x)
    array = np.ones(2, np.float32)
    with tf.Session() as session:
        found = session.run([x, same, tf.reshape(x, [1, 2])], {x: array})
        array[:] = 5
    assert [f.ravel().tolist() for f in found] == [[1, 1]] * 3


def test_a_size_that_only_fits_inside_says_nothing_of_the_others():
    x = tf.placeholder(tf.float32, [None, None])
    product = tf.matmul(x, tf.zeros([7, 3]))
    assert product.shape.as_list() == [None, 3]
    with tf.Session() as session:
        assert session.run(product, {x: np.ones((2, 7))}).shape == (2, 3)


def test_a_shape_of_any_length_leaves_the_rank_open():
    sizes = tf.placeholder(tf.int32, [None])
    made = [tf.zeros(sizes), tf.reshape(tf.zeros([6]), sizes)]
    assert [x.shape.ndims for x in made] == [None, None]
    with tf.Session() as session:
        for given in ([6], [2, 3], [3, 1, 2]):
            assert [x.shape for x in session.run(made, {sizes: given})] == [tuple(given)] * 2


def test_one_program_serves_all_sizes():
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.reshape(x, [tf.shape(x)[0] * 3]) * 2.0
    with tf.Session() as session:
        for rows in (1, 2, 3, 5, 8):
            assert session.run(y, {x: np.ones((rows, 3))}).shape == (rows * 3,)
        (plan,) = set(session._plans.values())
        assert plan.static.handler.captures == 1


def test_unknown_ranks_are_resolved_by_what_is_fed():
    a, b = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    grads = tf.gradients(a * b, [a, b])
    random = np.random.default_rng(0)
    with tf.Session() as session:
        for left, right in (((2, 3), (3,)), ((), (4,)), ((2, 1), (2, 5))):
            x, y = random.random(left), random.random(right)
            da, db = session.run(grads, {a: x, b: y})
            ones = np.ones(np.broadcast_shapes(left, right))
            assert da.shape == left and db.shape == right
            assert np.isclose(da.sum(), (ones * y).sum()) and np.isclose(db.sum(), (ones * x).sum())


def test_variables_live_in_sessions():
    count = tf.Variable(1, name="count")
    more = count.assign_add(2)
    init = tf.global_variables_initializer()
    first, second = tf.Session(), tf.Session()
    first.run(init), second.run(init)
    assert [first.run(more) for _ in range(3)] == [3, 5, 7]
    assert second.run(count) == 1
    third = tf.Session()
    with pytest.raises(UninitializedError, match="'count' has no value") as caught:
        third.run(count + 1)
    assert "count = tf.Variable(1" in str(caught.value) and "third.run(count + 1)" in str(caught.value)


def test_assignments_happen_in_the_order_in_which_they_were_built():
    x = tf.Variable(1.0)
    before = x + 1.0
    write = x.assign(5.0)
    after = x + 1.0
    with tf.get_default_graph().control_dependencies([write]):
        read = tf.identity(x)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(after) == 2.0  # the write is not needed
        assert session.run([before, write, after]) == [2.0, 5.0, 6.0]
        session.run(x.initializer)
        assert session.run(read) == 5.0


def test_a_parameter_is_a_variable():
    layer = dg.nn.Linear(3, 2)
    weight = tf.Variable(layer.weight, name="weight")
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.matmul(x, weight, transpose_b=True)
    step = weight.assign_sub(tf.gradients(y, weight)[0])
    data = np.ones((1, 3), np.float32)
    with tf.Session() as session:
        before = layer.weight.detach().clone()
        session.run(step, {x: data})
        assert dg.allclose(layer.weight, before - 1.0)
        assert weight.parameter() is layer.weight


def test_gradients_of_gradients_and_stops():
    x = tf.constant(2.0)
    y = x * x * x
    (first,) = tf.gradients(y, x)
    (second,) = tf.gradients(first, x)
    (third,) = tf.gradients(second, x)
    z = x * x
    (stopped,) = tf.gradients(z * x, x, stop_gradients=[z])
    (scaled,) = tf.gradients(y, x, grad_ys=tf.constant(10.0))
    assert tf.gradients(y, tf.constant(1.0)) == [None]
    (zero,) = tf.gradients(y, tf.constant(1.0), unconnected_gradients="zero")
    with tf.Session() as session:
        assert session.run([first, second, third, stopped, scaled, zero]) == [12.0, 12.0, 6.0, 4.0, 120.0, 0.0]
    with pytest.raises(GradError, match="int32"):
        tf.gradients(tf.constant(1), x)


def test_runs_from_several_threads():
    x = tf.placeholder(tf.float32, [])
    y = x * x + 1.0
    with tf.Session() as session, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda value: session.run(y, {x: value}), range(200)))
    assert found == [v * v + 1 for v in range(200)]


def test_mistakes_of_runs_name_both_lines(graph):
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    y = x * 2.0
    session = tf.Session()
    with pytest.raises(GraphError) as caught:
        session.run(y)
    text = str(caught.value)
    assert "placeholder 'x'" in text and "x = tf.placeholder(tf.float32, [None, 2]" in text and "session.run(y)" in text
    with pytest.raises(ShapeError, match=r"'x:0' has shape \(3,\)"):
        session.run(y, {x: [1, 2, 3]})
    with pytest.raises(DTypeError, match="float64, its dtype is int32"):
        session.run(tf.placeholder(tf.int32, name="n"), {"n:0": [1.5]})
    with pytest.raises(GraphError, match="no operation 'z'"):
        session.run("z:0")
    with pytest.raises(GraphError, match="None cannot be fetched"):
        session.run([None])
    with tf.Graph().as_default():
        other = tf.constant(1.0)
    with pytest.raises(GraphError, match="another graph"):
        session.run(other)
    with pytest.raises(GraphError, match="another graph"):
        _ = y + other
    session.close()
    with pytest.raises(GraphError, match="closed"):
        session.run(y)


def test_mistakes_of_building(graph):
    x = tf.constant([1.0, 2.0])
    with pytest.raises(ShapeError, match="do not broadcast"):
        _ = x + tf.constant([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="inner sizes"):
        tf.matmul(tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [4, None]))
    with pytest.raises(dg.errors.CaptureError, match="has no value while the graph is built"):
        if x[0] > 0.0:
            pass
    with pytest.raises(DeviceError, match="gpu"), graph.device("/gpu:0"):
        tf.constant(1.0)
    with pytest.raises(ArgumentError, match="missing"):
        tf.matmul(x)
    graph.finalize()
    with pytest.raises(GraphError, match="finalized"):
        tf.constant(1.0)


def test_names_scopes_and_collections(graph):
    with graph.name_scope("layer") as scope:
        a = tf.constant(1.0, name="a")
        b = tf.constant(1.0, name="a")
    assert (scope, a.name, b.name) == ("layer/", "layer/a:0", "layer/a_1:0")
    with graph.name_scope("layer"):
        assert tf.constant(1.0, name="a").op.name == "layer_1/a"
    assert graph.get_tensor_by_name("layer/a:0") is a and graph.get_operation_by_name("layer/a_1") is b.op
    v = tf.Variable(1.0, trainable=False, name="v")
    assert tf.global_variables() == [v] and tf.trainable_variables() == []
    assert "layer/a = Const(value=1.0) : float32[]" in graph.as_text()
    assert "VariableV2" in graph.summary()


def test_shapes_are_found_while_building():
    x = tf.placeholder(tf.float32, [None, 4])
    assert (x + tf.constant(1.0)).shape.as_list() == [None, 4]
    assert tf.matmul(x, tf.constant(np.ones((4, 2), np.float32))).shape.as_list() == [None, 2]
    assert x[:100].shape.as_list() == [None, 4] and x[0].shape.as_list() == [4] and x[:, 1:3].shape.as_list() == [None, 2]
    assert (tf.placeholder(tf.float32) * 2.0).shape.ndims is None
    assert x.shape[1].value == 4 and x.shape[0].value is None


def test_what_a_run_does_is_explained():
    x = tf.placeholder(tf.float32, [None])
    v = tf.Variable(1.0)
    step = v.assign_add(tf.gradients(x * v * v, v)[0])
    with tf.Session() as session:
        with pytest.raises(GraphError, match="makes variables"):
            session.explain(tf.global_variables_initializer())
        session.run(tf.global_variables_initializer())
        report = str(session.explain(step, {x: [1.0, 2.0]}))
        assert "static kernels" in report and "step = v.assign_add" in report
        assert session.run(v) == 1.0


def test_interactive_session_and_callables():
    session = tf.InteractiveSession()
    x = tf.placeholder(tf.float32, [])
    assert (tf.constant(2.0) * 3.0).eval() == 6.0
    double = session.make_callable(x * 2.0, [x])
    assert double(4.0) == 8.0
    session.close()
    with pytest.raises(GraphError, match="no session"):
        tf.constant(1.0).eval()


def test_a_variable_is_fetched_beside_gradients_with_respect_to_it():
    w = tf.Variable([1.0, 2.0])
    (slope,) = tf.gradients(w * w, w)
    behind = w.assign_sub(slope)
    with tf.Session() as session:
        session.run(w.initializer)
        for expected in ([1.0, 2.0], [-1.0, -2.0]):
            before, grad, after = session.run([w, slope, behind])
            assert before.tolist() == expected and (grad == 2 * before).all() and (after == -before).all()


def test_sizes_that_are_values_are_unknown_while_the_graph_is_built():
    count = tf.placeholder(tf.int32, [])
    made = tf.reshape(tf.constant([1.0, 2.0, 3.0, 4.0]), [count, 2])
    assert made.shape.as_list() == [None, 2]
    with tf.Session() as session:
        assert session.run(made, {count: 2}).shape == (2, 2)


@pytest.mark.parametrize(
    "key",
    [
        np.s_[:, ::-1],
        np.s_[::-1, 0],
        np.s_[..., ::-2],
        np.s_[:, 3:0:-1],
        np.s_[:, 10::-1],
        np.s_[:, :-6:-1],
        np.s_[None, -1:-4:-2],
    ],
)
def test_slices_backwards(key):
    x = tf.placeholder(tf.float32, [None, 5, 3])
    data = np.arange(60, dtype=np.float32).reshape(4, 5, 3)
    with tf.Session() as session:
        for rows in (4, 2, 3):
            assert session.run(x[key], {x: data[:rows]}).tolist() == data[:rows][key].tolist()


def test_gradients_go_through_what_is_fed():
    a, b = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])
    c = a * b
    d = c * c
    slopes = tf.gradients(d, [a, b, c])
    with tf.Session() as session:
        assert session.run(slopes, {a: 2.0, b: 3.0}) == [36.0, 24.0, 12.0]
        assert session.run([*slopes, d, c], {a: 2.0, b: 3.0, c: 10.0}) == [60.0, 40.0, 20.0, 100.0, 10.0]
        assert session.run(tf.gradients(d, c), {c: 5.0}) == [10.0]
        with pytest.raises(ShapeError, match=r"shape \(2,\)"):
            session.run(tf.gradients(tf.placeholder_with_default([1.0], None) * d, a), {a: 2.0, b: 3.0, c: [1.0, 2.0]})


def test_what_operators_are_called():
    a = tf.constant([[1.0, 2.0]], name="a")
    made = [a + a, 1.0 - a, a * a, a / a, a**2.0, a[0], tf.concat([a, a], 0), tf.stack([a, a]), tf.transpose(a), tf.add(a, a)]
    names = ["add", "sub", "mul", "truediv", "pow", "strided_slice", "concat", "stack", "transpose", "Add_1"]
    assert [x.op.name for x in made] == names


def test_the_value_of_a_variable_and_ordered_dicts():
    v = tf.Variable(3.0)
    with tf.Session() as session:
        session.run(v.initializer)
        assert v.eval(session) == v.eval() == v.eval(session=session) == 3.0
        found = session.run(OrderedDict([("z", v), ("a", v + 1.0)]))
    assert isinstance(found, OrderedDict) and list(found.items()) == [("z", 3.0), ("a", 4.0)]
