"""Bounds of values and lengths; sequences the other way round."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


def test_sequences_and_choices():
    x = np.arange(12).reshape(3, 4)
    with tf.Session() as session:
        found = session.run(tf.reverse_sequence(x, [2, 4, 0], seq_axis=1))
        assert found.tolist() == [[1, 0, 2, 3], [7, 6, 5, 4], [8, 9, 10, 11]]
        down = session.run(tf.reverse_sequence(x, [3, 1, 1, 2], seq_dim=0, batch_dim=1))
        assert down.tolist() == [[8, 1, 2, 7], [4, 5, 6, 3], [0, 9, 10, 11]]
        assert session.run(tf.where_v2([[True], [False]], [1, 2], 0)).tolist() == [[1, 2], [0, 0]]


def test_clipping():
    x = tf.placeholder(tf.float32, [None, 2])
    data = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    made = [
        tf.clip_by_value(x, 1.0, 3.5), tf.clip_by_norm(x, 1.0), tf.clip_by_norm(x, 2.0, axes=[1]), tf.clip_by_norm(x, 9.0),
        tf.clip_by_average_norm(x, 0.125),
    ]  # fmt: skip
    slope = tf.gradients(made[2], x)[0]
    with tf.Session() as session:
        value, whole, rows, long, average = session.run(made, {x: data})
        assert value.tolist() == [[3.0, 3.5], [1.0, 1.0]]
        np.testing.assert_allclose(whole, data / 5, rtol=1e-6)
        np.testing.assert_allclose(rows, data / 2.5, rtol=1e-6)
        np.testing.assert_allclose(long, data, rtol=1e-6)
        np.testing.assert_allclose(average, data / 10, rtol=1e-6)
        assert np.isfinite(session.run(slope, {x: data})).all()


def test_clipping_together():
    parts = [tf.constant([3.0, 0.0]), None, tf.constant([[4.0]])]
    (a, none, b), length = tf.clip_by_global_norm(parts, 1.0)
    kept, _ = tf.clip_by_global_norm(parts, 10.0)
    spoiled, _ = tf.clip_by_global_norm([tf.constant([np.inf]), tf.constant([1.0])], 1.0)
    assert none is None
    with tf.Session() as session:
        a, b, n = session.run([a, b, length])
        np.testing.assert_allclose(a, [0.6, 0.0])
        np.testing.assert_allclose(b, [[0.8]])
        assert n == 5.0 and session.run(kept[0]).tolist() == [3.0, 0.0]
        assert np.isnan(session.run(spoiled[1])).all()
    with pytest.raises(ArgumentError, match="must be a list"):
        tf.clip_by_global_norm(tf.constant([1.0]), 1.0)
