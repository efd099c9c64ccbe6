"""Scopes of names and of variables, collections, control dependencies."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, DTypeError, GraphError, ShapeError


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def test_names_in_scopes():
    with tf.name_scope("a") as outer, tf.name_scope("b") as inner:
        x = tf.constant(1.0, name="x")
    with tf.name_scope("a"):
        y = tf.constant(1.0, name="x")
    with tf.name_scope(outer):
        z = tf.constant(1.0, name="z")
    with tf.name_scope(None, "default", [x]) as named:
        pass
    assert (outer, inner, x.name, y.name, z.name, named) == ("a/", "a/b/", "a/b/x:0", "a_1/x:0", "a/z:0", "default/")
    with pytest.raises(ArgumentError, match="name and default_name are both missing"):
        tf.name_scope(None, None, [x])


def test_graph_of_values():
    other = tf.Graph()
    with other.as_default():
        x = tf.constant(1.0)
    with tf.name_scope("s", values=[[2.0, x]]):
        y = tf.constant(2.0)
    assert y.graph is other
    assert tf.get_default_graph() is not other


def test_variables_are_found_again():
    def layer():
        return tf.get_variable("w", [2, 3])

    with tf.variable_scope("net"):
        first = layer()
        with tf.variable_scope("inner"):
            inner = layer()
    with tf.variable_scope("net", reuse=True):
        again = layer()
        with tf.variable_scope("inner"):
            assert layer() is inner
    with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
        assert layer() is first
        new = tf.get_variable("b", initializer=np.ones(3, np.float32))
    assert again is first
    assert [v.name for v in (first, inner, new)] == ["net/w:0", "net/inner/w:0", "net/b:0"]
    assert tf.trainable_variables("net/inner") == [inner]


def test_mistakes_of_reuse_name_the_line():
    with tf.variable_scope("scope"):
        tf.get_variable("w", [2])
        with pytest.raises(GraphError, match=r"variable scope/w already exists(.|\n)*test_scopes.py:\d+"):
            tf.get_variable("w", [2])
    with tf.variable_scope("scope", reuse=True):
        with pytest.raises(GraphError, match="variable scope/v does not exist"):
            tf.get_variable("v", [2])
        with pytest.raises(ShapeError, match=r"scope/w exists with shape \(2,\), asked is \(3,\)"):
            tf.get_variable("w", [3])
        with pytest.raises(DTypeError, match="scope/w exists as float32, asked is int32"):
            tf.get_variable("w", [2], tf.int32)
    with pytest.raises(ShapeError, match="the new variable v has no shape"):
        tf.get_variable("v")
    with pytest.raises(ArgumentError, match="reuse is True, False"):
        tf.variable_scope("x", reuse=3)
    with pytest.raises(ArgumentError, match="reuse=True with a default name"):
        tf.variable_scope(None, "x", reuse=True)


def test_default_names_are_numbered():
    names = []
    with tf.variable_scope("net"):
        for _ in range(2):
            with tf.variable_scope(None, "layer"):
                names.append(tf.get_variable("w", [1]).name)
    assert names == ["net/layer/w:0", "net/layer_1/w:0"]


def test_scopes_are_entered_again():
    with tf.variable_scope("outer") as scope:
        w = tf.get_variable("w", [1])
        x = tf.constant(1.0, name="x")
    with tf.variable_scope("elsewhere"), tf.variable_scope(scope, reuse=True) as again:
        assert tf.get_variable("w") is w
        assert again.name == "outer"
        y = tf.constant(1.0, name="x")
    with tf.variable_scope(scope, auxiliary_name_scope=False), tf.name_scope(scope.original_name_scope):
        z = tf.constant(1.0, name="x")
    assert (x.name, y.name, z.name) == ("outer/x:0", "elsewhere/outer/x:0", "outer/x_1:0")
    scope.reuse_variables()
    with tf.variable_scope(scope):
        assert tf.get_variable("w") is w


def test_defaults_of_scopes():
    def square(w):
        return w * w

    def threes(shape, dtype):
        return np.full(shape, 3.0)

    outer = tf.variable_scope("a", initializer=threes, regularizer=square, dtype=tf.float64)
    with outer, tf.variable_scope("b", constraint=abs):
        w = tf.get_variable("w", [])
        v = tf.get_variable("v", initializer=tf.constant(2, tf.int32), regularizer=tf.no_regularizer)
    assert (w.dtype, v.dtype, w.constraint) == (tf.float64, tf.int32, abs)
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run([w, v, loss]) == [3.0, 2, 9.0]


def test_custom_getter():
    def negative(getter, name, *args, **kwargs):
        return -getter(name, *args, **kwargs)

    with tf.variable_scope("a", custom_getter=negative):
        w = tf.get_variable("w", initializer=2.0)
    assert w.op.type == "Neg"
    assert w.op.inputs[0].name == "a/w:0"
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(w) == -2.0


def test_default_initializer_is_glorots():
    w = tf.get_variable("w", [3, 3, 20, 30])
    count = tf.get_variable("count", [2], tf.int32)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values, zeros = session.run([w, count])
    limit = np.sqrt(6 / (9 * 50))
    assert 0.98 * limit < np.abs(values).max() <= limit
    assert zeros.tolist() == [0, 0]


def test_local_variables():
    count = tf.get_local_variable("count", [], initializer=0.0)
    assert tf.local_variables() == [count]
    assert not tf.global_variables()
    assert not tf.trainable_variables()


def test_variables_lie_outside_of_loops():
    def body(i, total):
        return i + 1, total + tf.get_variable("w", [], initializer=lambda shape, dtype: tf.constant(2.0))

    _, total = tf.while_loop(lambda i, total: i < 3, body, [0, 0.0])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(total) == 6.0


def test_collections_and_control_dependencies():
    count = tf.Variable(0)
    tf.add_to_collection("mine", count)
    tf.add_to_collections(["mine", "other"], 3)
    assert tf.get_collection("mine") == [count, 3]
    assert tf.get_collection_ref("other") == [3]
    with tf.control_dependencies([count.assign_add(1)]):
        after = tf.identity(count)
        with tf.init_scope():
            free = tf.constant(1.0)
    assert not free.op.control_inputs
    with tf.Session() as session, tf.device("/cpu:0"):
        session.run(count.initializer)
        assert [session.run(after), session.run(after)] == [1, 2]


def test_seeds():
    assert tf.get_seed(None) == (None, None)
    tf.get_default_graph().seed = 7
    tf.constant(1.0)
    assert tf.get_seed(None) == (7, 1)
    assert tf.get_seed(5) == (7, 5)
