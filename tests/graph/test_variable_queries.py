"""Whether variables have values; counting; what cannot be done to them."""

import pytest

import duograph.graph as tf
from duograph.errors import BoundsError, DTypeError, GraphError, UninitializedError


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def test_which_variables_have_values():
    a, b = tf.Variable(1.0, name="a"), tf.Variable(2, name="b")
    report, has, check = tf.report_uninitialized_variables(), tf.is_variable_initialized(a), tf.assert_variables_initialized()
    with tf.Session() as session:
        assert session.run(report).tolist() == [b"a", b"b"] and not session.run(has)
        with pytest.raises(UninitializedError, match=r"have no value yet: 'a', 'b'\n  a (.|\n)*test_variable_queries.py"):
            session.run(check)
        session.run(a.initializer)
        assert session.run([report, has])[0].tolist() == [b"b"] and session.run(has)
        session.run(b.initializer)
        assert session.run(report).tolist() == [] and session.run(check) is None
    with tf.Session() as session:
        assert len(session.run(report)) == 2


def test_nothing_to_ask():
    assert tf.assert_variables_initialized() is None
    with tf.Session() as session:
        assert session.run(tf.report_uninitialized_variables()).tolist() == []
    with pytest.raises(GraphError, match=r"is_variable_initialized: .* is no variable"):
        tf.is_variable_initialized(tf.constant(1.0))


def test_counting_ends_at_the_limit():
    turn = tf.Variable(0, name="turn")
    count = turn.count_up_to(3)
    with tf.Session() as session:
        session.run(turn.initializer)
        assert [session.run(count) for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(BoundsError, match="count_up_to: 'turn' has reached 3"):
                session.run(count)
        assert session.run(turn) == 3
    with pytest.raises(DTypeError, match="variable 'w' is float32, not an integer"):
        tf.count_up_to(tf.Variable(0.0, name="w"), 3)


def test_statements_that_would_not_change_the_variable():
    w = tf.Variable([1.0, 2.0], name="w")
    with pytest.raises(GraphError, match=r"variable 'w': \+= would make a tensor(.|\n)*hint: use variable.assign_add\(x\)"):
        w += 1.0
    with pytest.raises(GraphError, match=r"variable.assign\(variable \* x\)"):
        w *= 2.0
    with pytest.raises(GraphError, match=r"w:0: elements of a tensor of a graph cannot be assigned"):
        w[0] = 1.0
    y = tf.identity(w)
    y += 1.0
    assert y.op.type == "Add"
