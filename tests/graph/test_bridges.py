"""A part of a graph as a function of dynamic code."""

import numpy as np
import pytest

import duograph as dg
import duograph.graph as tf
from duograph.errors import ArgumentError, GraphError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


def test_a_function_with_gradients_to_arguments_and_variables(graph):
    x = tf.placeholder(tf.float32, [None, 3])
    w = tf.Variable(np.ones((3, 2), np.float32), name="w")
    y = tf.matmul(x, w)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        function = graph.as_function(x, {"y": y, "more": [y * 2.0]})
        value = dg.arange(6, dtype=dg.float32).reshape(2, 3).requires_grad_()
        found = function(value)
        (found["y"].sum() + found["more"][0].sum()).backward()
        assert found["y"].tolist() == [[3.0, 3.0], [12.0, 12.0]]
        assert value.grad.tolist() == [[6.0] * 3] * 2
        assert w.parameter().grad.tolist() == [[9.0, 9.0], [15.0, 15.0], [21.0, 21.0]]
        with dg.no_grad():
            w.parameter().mul_(2.0)
        assert session.run(w).tolist() == [[2.0, 2.0]] * 3
        assert function(dg.ones(5, 3))["y"].shape == (5, 2)


def test_gradients_of_the_graph_and_functions_in_functions(graph):
    x = tf.placeholder(tf.float32, [])
    slope = tf.gradients(x * x * x, x)[0]
    function = graph.as_function([x], slope)
    assert function(dg.tensor(2.0)).item() == 12.0
    outer = dg.static(lambda v: function(v) + 1.0)
    assert outer(dg.tensor(2.0)).item() == 13.0
    value = dg.tensor(2.0, requires_grad=True)
    function(value).backward()
    assert value.grad.item() == 12.0


def test_from_the_middle(graph):
    x = tf.placeholder(tf.float32, [None], name="x")
    y = tf.identity(x * 2.0, name="y")
    z = tf.identity(y + 1.0, name="z")
    assert graph.as_function("y:0", "z:0")(dg.ones(2)).tolist() == [2.0, 2.0]
    assert graph.as_function([x], [y, z])(dg.ones(1))[1].tolist() == [3.0]


def test_mistakes(graph):
    x = tf.placeholder(tf.float32, [])
    v = tf.Variable(1.0, name="v")
    with pytest.raises(GraphError, match="'v' has its value in a session"):
        graph.as_function(x, x * v)
    with pytest.raises(GraphError, match="'loss' is made by Python after a run"):
        graph.as_function(x, [x, tf.summary.scalar("loss", x)])
    with pytest.raises(ArgumentError, match="takes 1 tensors, got 2"):
        graph.as_function(x, x * 2.0)(dg.tensor(1.0), dg.tensor(2.0))
    with pytest.raises(GraphError, match="placeholder"):
        graph.as_function([], x * 2.0)()
