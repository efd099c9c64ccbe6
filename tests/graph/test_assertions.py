"""Operations that end a run unless something holds."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import DTypeError, GraphError, ShapeError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("assert_equal", ([1, 2], [1, 2]), ([1, 2], [1, 3])),
        ("assert_none_equal", ([1, 2], [2, 1]), ([1, 2], [2, 2])),
        ("assert_less", ([1, 2], 3), ([1, 3], 3)),
        ("assert_less_equal", ([1, 3], 3), ([1, 4], 3)),
        ("assert_greater", ([4, 5], 3), ([4, 3], 3)),
        ("assert_greater_equal", ([4, 3], 3), ([4, 2], 3)),
        ("assert_positive", ([1, 2],), ([0, 2],)),
        ("assert_negative", ([-1, -2],), ([0, -2],)),
        ("assert_non_negative", ([0, 2],), ([-1, 2],)),
        ("assert_non_positive", ([0, -2],), ([1, -2],)),
        ("assert_near", ([1.0, 2.0], [1.0, 2.0000002]), ([1.0, 2.0], [1.0, 2.001])),
    ],
)
def test_values(name, good, bad):
    dtype = tf.float32 if name == "assert_near" else tf.int32
    x = tf.placeholder(dtype, [None])
    check = getattr(tf, name)(x, *good[1:])
    refused = getattr(tf.debugging, name)(x, *bad[1:], message="told so")
    with tf.Session() as session:
        assert session.run(check, {x: np.array(good[0])}) is None
        with pytest.raises(GraphError, match="assertion failed: told so") as caught:
            session.run(refused, {x: np.array(bad[0])})
        assert "x =" in str(caught.value) and "getattr(tf.debugging, name)" in str(caught.value)


def test_ranks_and_dtypes():
    known, unknown = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.float32)
    with pytest.raises(ShapeError, match="must be 3, it is 2"):
        tf.assert_rank(known, 3)
    with pytest.raises(DTypeError, match="float32"):
        tf.assert_integer(known)
    with pytest.raises(DTypeError, match="not int32"):
        tf.assert_type(known, tf.int32)
    checks = [tf.assert_rank(unknown, 2), tf.assert_rank_at_least(unknown, 1), tf.assert_rank_in(unknown, [1, 2])]
    with tf.Session() as session:
        session.run([checks, tf.assert_rank(known, 2)], {unknown: np.ones((2, 2))})
        with pytest.raises(GraphError, match="must be 2, it is 1"):
            session.run(checks[0], {unknown: np.ones(2)})


def test_sizes_are_checked_and_compared():
    x = tf.placeholder(tf.float32, [None, 4])
    rows = tf.shape(x)[0]
    with tf.get_default_graph().control_dependencies([tf.assert_equal(rows % 2, 0)]):
        halves = tf.reshape(x, [tf.maximum(rows // 2, 1), -1])
    with tf.Session() as session:
        assert session.run(halves, {x: np.ones((4, 4))}).shape == (2, 8)
        with pytest.raises(GraphError, match="x == y does not hold"):
            session.run(halves, {x: np.ones((3, 4))})
