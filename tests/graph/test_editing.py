"""Operations that are changed after they were built: what runs then, and what is refused."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, DTypeError, GraphError, ShapeError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


def test_another_input_from_the_next_run_on():
    x, y = tf.placeholder(tf.float32, [2], name="x"), tf.placeholder(tf.float32, [2], name="y")
    total = tf.add(x, 1.0)
    with tf.Session() as session:
        feeds = {x: [1.0, 2.0], y: [10.0, 20.0]}
        assert session.run(total, feeds).tolist() == [2.0, 3.0]
        total.op._update_input(0, y)
        assert session.run(total, feeds).tolist() == [11.0, 21.0]
        assert session.run(total, {"y:0": np.ones(2)}).tolist() == [2.0, 2.0]


def test_another_operation_to_wait_for():
    count = tf.Variable(0, name="count")
    more = tf.assign_add(count, 1)
    shown = tf.identity(tf.constant(5.0))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(shown)
        assert session.run(count) == 0
        shown.op._add_control_input(more.op)
        session.run([shown])
        assert session.run(count) == 1


def test_no_cycles(graph):
    a = tf.constant(1.0, name="a")
    b = tf.identity(a, name="b")
    c = tf.add(b, 1.0, name="c")
    later = tf.constant(2.0, name="later")
    with pytest.raises(GraphError, match="b cannot read c:0: that is a cycle, b → c → b") as told:
        b.op._update_input(0, c)
    assert str(told.value).count("built at") == 2
    with pytest.raises(GraphError, match="a cannot wait for c: that is a cycle, a → b → c → a"):
        a.op._add_control_inputs([c.op])
    with pytest.raises(GraphError, match="c cannot wait for c: that is a cycle, c → c"):
        c.op._add_control_input(c.op)
    with pytest.raises(GraphError, match="which was built after it"):
        b.op._update_input(0, later)
    with tf.Session() as session:
        assert session.run(c) == 2.0
    graph.finalize()
    with pytest.raises(GraphError, match="finalized"):
        c.op._add_control_input(a.op)


def test_what_does_not_fit():
    x, whole = tf.constant([1.0, 2.0]), tf.constant([1, 2])
    three, total = tf.constant([1.0, 2.0, 3.0]), tf.negative(tf.placeholder(tf.float32, [2]))
    with pytest.raises(DTypeError, match="is float32, Const_1:0 is int32"):
        total.op._update_input(0, whole)
    with pytest.raises(ShapeError, match=r"is \(2,\), Const_2:0 is \(3,\)"):
        total.op._update_input(0, three)
    with pytest.raises(ArgumentError, match="has 1 inputs, there is no number 1"):
        total.op._update_input(1, x)
    branch = tf.cond(tf.placeholder(tf.bool, []), lambda: tf.identity(x, name="inside"), lambda: x)
    inside = branch.graph.get_operation_by_name("cond/inside")
    with pytest.raises(GraphError, match="lies in a branch or loop"):
        branch.op._add_control_input(inside)
