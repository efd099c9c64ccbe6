"""What programs take from tf.contrib, and strings and names that come back as they are."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ShapeError


@pytest.fixture(autouse=True)
def session():
    with tf.Graph().as_default(), tf.Session() as made:
        yield made


def test_layers_initialisers_and_regularisers(session):
    x = tf.placeholder(tf.float32, [None, 4, 4, 2])
    init = tf.contrib.layers.xavier_initializer(seed=1)
    h = tf.contrib.layers.conv2d(
        x, 3, [3, 3], weights_initializer=init, weights_regularizer=tf.contrib.layers.l2_regularizer(0.1)
    )
    y = tf.contrib.layers.fully_connected(tf.contrib.layers.flatten(h), 5, activation_fn=None, scope="out")
    again = tf.contrib.layers.fully_connected(tf.contrib.layers.flatten(h), 5, activation_fn=None, scope="out", reuse=True)
    session.run(tf.global_variables_initializer())
    value = np.ones((2, 4, 4, 2), np.float32)
    first, second, hidden = session.run([y, again, h], {x: value})
    assert y.shape.as_list() == [None, 5] and (first == second).all() and (hidden >= 0).all() and hidden.any()
    assert len(tf.trainable_variables()) == 4 and len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == 1
    assert isinstance(tf.contrib.rnn.BasicLSTMCell(2), tf.nn.rnn_cell.RNNCell)
    assert tf.contrib.framework.nest.flatten([1, (2,)]) == [1, 2]


def test_the_loss_of_sequences(session):
    logits = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    targets, weights = np.array([[0, 1, 2], [3, 0, 0]]), np.array([[1, 1, 1], [1, 0, 0]], np.float32)
    exact = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    loss = tf.contrib.seq2seq.sequence_loss(logits, targets, weights)
    each = tf.contrib.seq2seq.sequence_loss(logits, targets, weights, average_across_timesteps=False)
    found, by_step = session.run([loss, each])
    np.testing.assert_allclose(found, (exact * weights).sum() / 4, rtol=1e-5)
    np.testing.assert_allclose(by_step, (exact * weights).sum(0) / weights.sum(0), rtol=1e-5)
    with pytest.raises(ShapeError, match="sequence_loss"):
        tf.contrib.seq2seq.sequence_loss(logits[0], targets, weights)


def test_what_is_not_there_is_refused_by_name():
    with pytest.raises(AttributeError, match=r"tf.contrib.slim: .*\n(.*\n)*.*hint"):
        _ = tf.contrib.slim


def test_texts_come_back_as_they_are(session):
    x = tf.placeholder(tf.string, [None])
    found = session.run([x, tf.constant(["a", "bb"]), tf.constant("t"), tf.constant(1.0) + 1.0], {x: ["q", "r"]})
    assert found[0].tolist() == ["q", "r"] and found[1].tolist() == ["a", "bb"] and found[2:] == ["t", 2.0]
    assert session.run(x, {x: np.array(["u"])}).tolist() == ["u"]


def test_errors_by_the_names_that_programs_expect(session):
    with pytest.raises(KeyError, match="no operation 'nope'"):
        tf.get_default_graph().get_tensor_by_name("nope:0")
    with pytest.raises(tf.errors.InvalidArgumentError):
        session.run(tf.check_numerics(tf.log(-1.0), "bad"))
    with pytest.raises(tf.errors.InvalidArgumentError):
        session.run(tf.gather([1, 2], [5]))
