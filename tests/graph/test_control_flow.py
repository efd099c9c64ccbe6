"""Branches, loops, TensorArrays, functions over rows, and calls into Python."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, CaptureWarning, DomainError, DTypeError, GraphError, ShapeError

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


def test_cond_runs_one_side():
    x = tf.placeholder(tf.float32, [])
    y = tf.cond(x > 0.0, lambda: x * 2.0, lambda: -x)
    both = tf.cond(x > 0.0, lambda: {"a": x, "b": (tf.constant(1), x)}, lambda: {"a": -x, "b": (tf.constant(2), x)})
    (slope,) = tf.gradients(y, x)
    with tf.Session() as session:
        assert session.run([y, slope, both], {x: 3.0}) == [6.0, 2.0, {"a": 3.0, "b": (1, 3.0)}]
        assert session.run([y, slope, both], {x: -3.0}) == [3.0, -1.0, {"a": 3.0, "b": (2, -3.0)}]


def test_cond_with_effects():
    v = tf.Variable(0)
    flag = tf.placeholder(tf.bool, [])
    step = tf.cond(flag, lambda: v.assign_add(1), lambda: v.assign_sub(10))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert [session.run(step, {flag: f}) for f in (True, True, False)] == [1, 2, -8]


def test_case():
    x = tf.placeholder(tf.float32, [])
    y = tf.case([(x < 1.0, lambda: tf.constant(1)), (x < 10.0, lambda: tf.constant(2))], default=lambda: tf.constant(3))
    with tf.Session() as session:
        assert [session.run(y, {x: v}) for v in (0, 5, 50)] == [1, 2, 3]


def test_loops_nest_and_differentiate():
    x = tf.placeholder(tf.float32, [])

    def outer(i, total):
        _, inner = tf.while_loop(lambda j, t: j < i, lambda j, t: (j + 1, t * x), [0, tf.constant(1.0)])
        return i + 1, total + inner

    _, y = tf.while_loop(lambda i, t: i < 4, outer, [0, tf.constant(0.0)])  # 1 + x + x² + x³
    (first,) = tf.gradients(y, x)
    (second,) = tf.gradients(first, x)
    with tf.Session() as session:
        assert session.run([y, first, second], {x: 2.0}) == [15.0, 17.0, 14.0]


def test_maximum_iterations_and_structures():
    with tf.Session() as session:
        assert session.run(tf.while_loop(lambda i: i < 100, lambda i: i + 1, [0], maximum_iterations=7)) == 7
        found = tf.while_loop(
            lambda v: v["n"] < 3, lambda v: {"n": v["n"] + 1, "s": v["s"] * 2.0}, [{"n": tf.constant(0), "s": 1.0}]
        )
        assert session.run(found) == {"n": 3, "s": 8.0}
        assert session.run(tf.while_loop(lambda i: i < 3, lambda i: [i + 1], [0], return_same_structure=True)) == [3]


@pytest.mark.parametrize("rows", [True, False])
def test_recurrence_with_tensor_arrays(rows):
    """The gradient of a recurrence, where turns give rows, and where the array is handed on from turn to turn."""
    x = tf.placeholder(tf.float32, [5, 2, 3])
    w = tf.placeholder(tf.float32, [3, 3])
    given = tf.TensorArray(tf.float32, size=5).unstack(x)

    def turn(i, h, array):
        h = tf.matmul(given.read(i) + h, w)
        return (i + 1 if rows else 1 * i + 1), h, array.write(i, h)

    start = tf.constant(np.zeros((2, 3), np.float32))
    _, last, array = tf.while_loop(lambda i, h, a: i < 5, turn, [0, start, tf.TensorArray(tf.float32, size=5)])
    out = array.stack()
    assert out.shape.as_list() == [None, 2, 3]
    loop = next(n for n in tf.get_default_graph().get_operations() if n.op == "While")
    assert bool(loop.attrs["rows"]) == rows
    (grad,) = tf.gradients(out, w)
    xs, ws = RANDOM.random((5, 2, 3), np.float32), RANDOM.random((3, 3), np.float32)

    def total(w):
        h, s = np.zeros((2, 3)), 0.0
        for t in range(5):
            h = (xs[t] + h) @ w
            s += h.sum()
        return s

    with tf.Session() as session:
        got, end, slope = session.run([out, last, grad], {x: xs, w: ws})
    assert np.allclose(got[-1], end) and np.isclose(got.sum(), total(ws), rtol=1e-4)
    numeric = np.array(
        [
            [(total(ws + d) - total(ws - d)) / 2e-3 for d in (1e-3 * np.eye(9)[3 * i + j].reshape(3, 3) for j in range(3))]
            for i in range(3)
        ]
    )
    assert np.allclose(slope, numeric, rtol=1e-2)


def test_tensor_array_outside_of_loops():
    array = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
    for i in range(3):
        array = array.write(i, tf.constant([float(i), 1.0]))
    rows = tf.TensorArray(tf.int32, size=3).unstack([[1, 2], [3, 4], [5, 6]])
    with tf.Session() as session:
        assert session.run([array.stack(), array.read(1), array.size()])[0].tolist() == [[0, 1], [1, 1], [2, 1]]
        assert session.run(array.size()) == 3
        assert session.run(rows.concat()).tolist() == [1, 2, 3, 4, 5, 6]
        assert session.run(rows.gather([2, 0])).tolist() == [[5, 6], [1, 2]]
    with pytest.raises(DTypeError, match="float32, the element int32"):
        array.write(0, tf.constant([1, 2]))


def test_functions_over_rows_at_any_size():
    x = tf.placeholder(tf.float32, [None])
    square = tf.map_fn(lambda r: r * r, x)
    sums = tf.scan(lambda a, b: a + b, x)
    back = tf.scan(lambda a, b: a + b, x, initializer=0.0, reverse=True)
    product, last = tf.foldl(lambda a, b: a * b, x), tf.foldr(lambda a, b: a - b, x)
    slope = tf.gradients(product, x)[0]
    two = tf.map_fn(lambda pair: (pair[0] + pair[1], pair[1]), (x, x), dtype=(tf.float32, tf.float32))
    with tf.Session() as session:
        for n in (2, 3, 5):
            v = np.arange(1, n + 1, dtype=np.float32)
            got = session.run([square, sums, back, product, last, slope, two], {x: v})
            assert got[0].tolist() == (v * v).tolist() and got[1].tolist() == v.cumsum().tolist()
            assert got[2].tolist() == v[::-1].cumsum().tolist()[::-1]
            assert got[3] == v.prod() and got[4] == v[-1] - v[:-1].sum()
            assert np.allclose(got[5], v.prod() / v) and got[6][0].tolist() == (2 * v).tolist()


def test_mistakes_with_loops():
    with pytest.raises(ShapeError, match="shape of loop variable 0 changes"):
        tf.while_loop(lambda i: i < 10, lambda i: tf.stack([i, i]), [0])
    with pytest.raises(DTypeError, match="int32 and float32 after a turn"):
        tf.while_loop(lambda i: i < 10, lambda i: tf.cast(i, tf.float32), [0])
    with pytest.raises(ArgumentError, match="2 values for 1"):
        tf.while_loop(lambda i: i < 10, lambda i: (i, i), [0])
    with pytest.raises(DTypeError, match="scalar bool"):
        tf.while_loop(lambda i: i + 1, lambda i: i, [0])
    with pytest.raises(ArgumentError, match="1 results and false_fn 2"):
        tf.cond(tf.constant(True), lambda: tf.constant(1), lambda: (tf.constant(1), tf.constant(2)))
    kept = []

    def body(i):
        kept.append(i + 1)
        return kept[0]

    tf.while_loop(lambda i: i < 10, body, [0])
    with pytest.raises(GraphError, match="inside of a tf"):
        _ = kept[0] + 1
    with tf.Session() as session, pytest.raises(GraphError, match="inside of a tf"):
        session.run(kept[0])


def test_a_rank_that_changes_runs_without_a_program():
    x = tf.constant([1.0, 2.0])
    shapes = [tf.TensorShape([]), tf.TensorShape(None)]
    _, y = tf.while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, tf.stack([x, x])), [0, x], shape_invariants=shapes)
    with tf.Session() as session:
        with pytest.warns(CaptureWarning, match="operation by operation"):
            assert session.run(y).shape == (2, 2, 2)
        assert session.run(y).shape == (2, 2, 2)


def test_print_assert_and_check_numerics(capfd, graph):
    x = tf.placeholder(tf.float32, [None])
    shown = tf.Print(x, [x, tf.shape(x)], "x is ")
    with graph.control_dependencies([tf.Assert(x[0] > 0.0, ["first of", x])]):
        safe = tf.identity(x)
    with tf.Session() as session:
        for _ in range(2):
            session.run(shown, {x: [1.0, 2.0]})
        assert capfd.readouterr().err == "x is [1.0 2.0][2]\n" * 2
        assert session.run(safe, {x: [1.0]}).tolist() == [1.0]
        with pytest.raises(GraphError, match=r"assertion failed: first of \[-1.0\]") as caught:
            session.run(safe, {x: [-1.0]})
        assert "tf.Assert(x[0] > 0.0" in str(caught.value)
        with pytest.raises(DomainError, match="quotient: the tensor has Inf"):
            session.run(tf.check_numerics(x / 0.0, "quotient"), {x: [1.0]})


def test_py_func_gives_any_shape_and_acts_once():
    calls = []

    def doubled(a):
        calls.append(a.shape)
        return np.concatenate([a, a])

    x = tf.placeholder(tf.float32, [None])
    v = tf.Variable(0)
    with tf.get_default_graph().control_dependencies([v.assign_add(1)]):
        given = x * 1.0
    y = tf.py_func(doubled, [given], tf.float32) * 2.0
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for n in (1, 2, 3):
            assert session.run([y, given], {x: np.ones(n)})[0].tolist() == [2.0] * 2 * n
        assert session.run(v) == 3 and calls == [(1,), (2,), (3,)]
        bad = tf.py_func(lambda: np.float64(1.0), [], tf.float32)
        with pytest.raises(GraphError, match="gave float64, float32 was promised"):
            session.run(bad)


def test_py_func_in_a_loop_needs_its_shape():
    def body(i, x):
        y = tf.py_func(lambda a: a + 1.0, [x], tf.float32)
        y.set_shape([2])
        return i + 1, y

    found = tf.while_loop(lambda i, x: i < 3, body, [0, tf.constant([0.0, 1.0])])[1]
    with tf.Session() as session:
        assert session.run(found).tolist() == [3.0, 4.0]
