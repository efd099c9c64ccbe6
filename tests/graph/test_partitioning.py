"""Tensors in parts and back, and images in blocks."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, DTypeError, ShapeError


@pytest.fixture(autouse=True)
def session():
    with tf.Graph().as_default(), tf.Session() as made:
        yield made


def test_parts_are_put_together_again(session):
    x, parts = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.int32, [None])
    rows = tf.dynamic_partition(x, parts, 3)
    places = tf.dynamic_partition(tf.range(tf.shape(x)[0]), parts, 3)
    back = tf.dynamic_stitch(places, rows)
    value = np.arange(10, dtype=np.float32).reshape(5, 2)
    found, whole, slope = session.run(
        [rows, back, tf.gradients(tf.reduce_sum(rows[0] ** 2.0), x)[0]], {x: value, parts: [0, 2, 0, 1, 2]}
    )
    assert [len(part) for part in found] == [2, 1, 2] and found[2].tolist() == value[[1, 4]].tolist()
    assert whole.tolist() == value.tolist()
    assert slope.tolist() == (2 * value * np.array([[1], [0], [1], [0], [0]])).tolist()


def test_the_last_row_for_a_place_stays_and_places_are_found(session):
    assert session.run(tf.dynamic_stitch([0, [1, 0]], [[1.0], [[2.0], [3.0]]])).tolist() == [[3.0], [2.0]]
    assert session.run(tf.unravel_index([2, 5, 7], [3, 3])).tolist() == [list(x) for x in np.unravel_index([2, 5, 7], (3, 3))]


def test_mistakes():
    with pytest.raises(ShapeError, match="does not begin it"):
        tf.dynamic_partition(tf.ones([3, 2]), [0, 1], 2)
    with pytest.raises(DTypeError, match="partitions are float32"):
        tf.dynamic_partition(tf.ones([2]), [0.0, 1.0], 2)
    with pytest.raises(ArgumentError, match="1 indices for 2"):
        tf.dynamic_stitch([[0]], [[1.0], [2.0]])
    with pytest.raises(ShapeError, match="whole blocks"):
        tf.space_to_batch(tf.ones([1, 3, 4, 1]), [[0, 0], [0, 0]], 2)


def test_blocks_as_batches_and_back(session):
    x = tf.placeholder(tf.float32, [None, 4, 6, 3])
    blocks = tf.space_to_batch(x, [[0, 0], [1, 1]], 2)
    back = tf.batch_to_space(blocks, [[0, 0], [1, 1]], 2)
    assert blocks.shape.as_list() == [None, 2, 4, 3] and back.shape.as_list() == [None, 4, 6, 3]
    value = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)
    cut, whole = session.run([blocks, back], {x: value})
    padded = np.pad(value, ((0, 0), (0, 0), (1, 1), (0, 0)))
    expected = padded.reshape(2, 2, 2, 4, 2, 3).transpose(2, 4, 0, 1, 3, 5).reshape(8, 2, 4, 3)
    assert (cut == expected).all() and (whole == value).all()


def test_a_network_of_which_a_function_decides_each_step(session):
    cell = tf.nn.rnn_cell.BasicRNNCell(3)
    inputs = tf.TensorArray(tf.float32, 4).unstack(tf.placeholder_with_default(np.ones((4, 2, 3), np.float32), [4, 2, 3]))
    lengths = tf.constant([4, 2])

    def step(time, output, state, count):
        state = cell.zero_state(2, tf.float32) if output is None else state
        over = tf.reduce_all(time >= lengths)
        following = tf.cond(over, lambda: tf.zeros([2, 3]), lambda: inputs.read(time))
        following.set_shape([2, 3])
        return time >= lengths, following, state, output, 0 if count is None else count + 1

    outputs, state, count = tf.nn.raw_rnn(cell, step)
    session.run(tf.global_variables_initializer())
    rows, last, turns = session.run([outputs.stack(), state, count])
    assert turns == 4 and rows.shape == (4, 2, 3) and (rows[2:, 1] == 0).all()
    assert (last[0] == rows[3, 0]).all() and (last[1] == rows[1, 1]).all()
