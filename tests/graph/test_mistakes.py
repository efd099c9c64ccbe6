"""What is told while the graph is built: shapes and dtypes that no run can mend."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, CaptureWarning, DTypeError, GraphError, ShapeError


@pytest.fixture(autouse=True)
def x():
    with tf.Graph().as_default():
        yield tf.placeholder(tf.float32, [None, 3], name="x")


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda x: tf.add(x, [1.0, 2.0]), ShapeError, r"Add: the shapes \(\?, 3\) and \(2,\) do not fit"),
        (lambda x: x + "a", DTypeError, "takes no strings"),
        (lambda x: x[0, 0, 0, 0], IndexError, "4 indices for a tensor of 2 dimensions"),
        (lambda x: tf.matmul(x, tf.ones([4, 2])), ShapeError, r"a: float32\[\?, 3\]"),
        (lambda x: tf.one_hot(x, 3), DTypeError, "indices are float32"),
        (lambda x: tf.cast("a", tf.float32), DTypeError, "takes no strings"),
        (lambda x: tf.constant("a", tf.float32), DTypeError, "is a string"),
        (lambda x: tf.placeholder(tf.float32, ["a"]), ArgumentError, "not 'a'"),
        (lambda x: tf.nn.conv2d(x, tf.ones([3, 2]), [1, 1, 1, 1], "SAME"), ShapeError, "expected 4 dimensions"),
        (
            lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.ones([2]), logits=x),
            DTypeError,
            "labels are float32",
        ),
        (lambda x: tf.Session().partial_run_setup([x]), GraphError, "partial_run"),
    ],
)
def test_told_while_the_graph_is_built(x, build, error, text):
    with pytest.raises(error, match=text) as caught:
        build(x)
    assert "test_mistakes.py" in str(caught.value)


def test_what_is_known_of_sizes_stays_known(x):
    rows = tf.shape(x)[0]
    made = [
        tf.zeros(tf.shape(x)),
        tf.random_normal(tf.shape(x)),
        tf.reshape(x, (-1, tf.shape(x)[1])),
        tf.ones([rows, tf.shape(x)[1]]),
    ]
    assert [y.shape.as_list() for y in made] == [[None, 3]] * 4
    unknown = tf.placeholder(tf.float32)
    assert tf.reshape(unknown, [2, 3]).shape.as_list() == [2, 3]
    with tf.Session() as session:
        assert session.run(made[0], {x: np.ones((2, 3))}).shape == (2, 3)


def test_an_order_of_dimensions_that_is_fed(x):
    order = tf.placeholder(tf.int32)
    turned = tf.transpose(x, order)
    assert turned.shape.as_list() == [None, None]
    with tf.Session() as session, pytest.warns(CaptureWarning):
        assert session.run(turned, {x: np.ones((2, 3)), order: [1, 0]}).shape == (3, 2)


def test_constraints_hold_behind_each_step():
    w = tf.get_variable("w", initializer=tf.constant([3.0, 4.0]), constraint=lambda v: tf.clip_by_norm(v, 1.0))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(w))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        np.testing.assert_allclose(session.run(w), np.array([2.9, 3.9]) / np.hypot(2.9, 3.9), rtol=1e-6)


def test_dtypes_of_constants_and_sizes_are_kept(x):
    sizes = tf.shape(x, out_type=tf.int64)
    made = [tf.constant([1, 2], tf.int64) + 1, 1 + tf.constant(3, tf.int16), tf.constant([2.0], tf.float64) * 2, sizes]
    made.append(tf.size(x, out_type=tf.int64))
    with tf.Session() as session:
        found = session.run(made, {x: np.ones((2, 3))})
        zeros = tf.zeros(sizes)
        assert tf.ones(tf.stack([sizes[1], sizes[0]])).shape.as_list() == [3, None]
        assert zeros.shape.as_list() == [None, 3] and session.run(zeros, {x: np.ones((2, 3))}).shape == (2, 3)
    assert [y.dtype.name for y in made] == [y.dtype.name for y in found] == ["int64", "int16", "float64", "int64", "int64"]
