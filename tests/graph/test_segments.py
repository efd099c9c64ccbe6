"""Sums and extrema of rows that belong together, and counts."""

import numpy as np
import pytest

import duograph.graph as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


DATA = np.array([[1.0, 5.0], [2.0, -4.0], [3.0, 6.0], [4.0, 2.0]], np.float32)
FUNCTIONS = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min}
EMPTY = {"sum": 0, "mean": 0, "prod": 1, "max": 0, "min": 0}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_segments(name):
    x, ids = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.int32, [None])
    rising = getattr(tf, f"segment_{name}")(x, ids)
    free = getattr(tf.math, f"unsorted_segment_{name}")(x, ids, 4)
    slope = tf.gradients(free[:3], x)[0]
    with tf.Session() as session:
        for order in ([0, 0, 2, 2], [0, 1, 1, 2]):
            expected = np.stack(
                [
                    FUNCTIONS[name](DATA[np.array(order) == i], 0) if i in order else np.full(2, EMPTY[name], np.float32)
                    for i in range(3)
                ]
            )
            found, loose = session.run([rising, free], {x: DATA, ids: order})
            np.testing.assert_allclose(found, expected)
            np.testing.assert_allclose(loose[[0, 2]], expected[[0, 2]])
            assert loose.shape == (4, 2) and free.shape.as_list() == [4, 2]
        mixed = session.run(free, {x: DATA, ids: [2, -1, 0, 2]})
        np.testing.assert_allclose(mixed[[0, 2]], [DATA[2], FUNCTIONS[name](DATA[[0, 3]], 0)])
        assert session.run(slope, {x: DATA, ids: [2, -1, 0, 2]})[1].tolist() == [0.0, 0.0]


def test_counts():
    with tf.Session() as session:
        assert session.run(tf.bincount([1, 3, 1])).tolist() == [0, 2, 0, 1]
        assert session.run(tf.bincount([1, 3, 1], minlength=6)).tolist() == [0, 2, 0, 1, 0, 0]
        assert session.run(tf.bincount([1, 3, 1], maxlength=2)).tolist() == [0, 2]
        assert session.run(tf.bincount([1, 3, 1], weights=[0.5, 2.0, 1.0])).tolist() == [0.0, 1.5, 0.0, 2.0]
        assert session.run(tf.confusion_matrix([1, 2, 4], [2, 2, 4])).shape == (5, 5)
        weighed = session.run(tf.confusion_matrix([0, 1], [1, 1], weights=[2, 3]))
        assert weighed.tolist() == [[0, 2], [0, 3]]
        sums = session.run(tf.unsorted_segment_sqrt_n([[1.0], [2.0], [3.0], [4.0]], [0, 0, 0, 0], 1))
        assert sums.tolist() == [[5.0]]
