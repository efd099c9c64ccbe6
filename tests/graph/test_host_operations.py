"""Operations whose values are made behind the program, of its results."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import CaptureWarning, GraphError
from duograph.graph.definition import Definition
from duograph.graph.shapes import PartialType

PRINTED = Definition(
    "Printed",
    lambda text, values: None,
    infer=lambda *types, **attrs: PartialType(tf.string, ()),
    host=lambda text, values: text % tuple(values) if isinstance(values, list) else text % values,
)
PRINTED.kinds.update(values=1)
JOINED = Definition(
    "Joined",
    lambda parts: None,
    infer=lambda *types, **attrs: PartialType(tf.string, ()),
    host=lambda parts: " and ".join(parts),
)


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def test_value_is_made_of_the_programs_results():
    x = tf.placeholder(tf.float32, [])
    text = PRINTED("%g", x * 2.0)
    with tf.Session() as session:
        assert session.run(text, {x: 1.0}) == "2"
        assert session.run([text, x, x * 3.0], {x: 2.0}) == ["4", 2.0, 6.0]


def test_host_operations_read_each_other_and_may_be_fed():
    first, second = PRINTED("a=%d", tf.constant(1)), PRINTED("b=%d", tf.constant(2))
    both = JOINED([first, second])
    with tf.Session() as session:
        assert session.run(both) == "a=1 and b=2"
        assert session.run({"both": both, "first": first}) == {"both": "a=1 and b=2", "first": "a=1"}


def test_other_operations_cannot_read_them():
    text = PRINTED("%d", tf.constant(1))
    with pytest.raises(GraphError, match="is made when the program is done: no operation can read it"):
        tf.identity(text)


def test_effects_of_the_same_run_happen():
    count = tf.Variable(0)
    with tf.get_default_graph().control_dependencies([count.assign_add(1)]):
        text = PRINTED("%d", count.read_value())
    with tf.Session() as session:
        session.run(count.initializer)
        assert [session.run(text), session.run(text)] == ["1", "2"]
        assert np.asarray(session.run(count)) == 2


def test_texts_that_are_fed_make_no_new_programs():
    text, number = tf.placeholder(tf.string, []), tf.placeholder(tf.float32, [])
    both = JOINED([text, PRINTED("%g", number * 2.0)])
    with tf.Session() as session:
        for word in ("one", "two", "three"):
            assert session.run([both, text], {text: word, number: 1.0}) == [f"{word} and 2", word]
        (plan,) = set(session._plans.values())
        assert plan.static.captures == 1


def test_branches_cannot_hold_them():
    with pytest.raises(GraphError, match=r"Printed: is made when the program is done: it cannot be inside of a tf.cond"):
        tf.cond(tf.constant(True), lambda: PRINTED("%d", tf.constant(1)), lambda: tf.constant("no"))


def test_a_function_of_unknown_shape_in_a_loop_runs_without_a_program():
    x = tf.constant([1.0, 2.0, 3.0])
    doubled = lambda v: (v * 2).astype(np.float32)  # noqa: E731
    _, y = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.reshape(tf.py_func(doubled, [v], tf.float32), [3])), [0, x])
    assert y.shape.as_list() == [3]
    with tf.Session() as session, pytest.warns(CaptureWarning, match="py_func"):
        assert session.run(y).tolist() == [8.0, 16.0, 24.0]
