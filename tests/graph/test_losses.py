"""Losses as one number: values against NumPy and PyTorch, weights, reductions, the collection."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import duograph.graph as tf
from duograph.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def run(fetches, feeds=None):
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        return session.run(fetches, feeds or {})


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(a, np.asarray(b), rtol=tolerance, atol=tolerance)


def test_values():
    labels, logits = (numbers(4, 3) > 0).astype(np.float32), numbers(4, 3, seed=1)
    some = 1 / (1 + np.exp(-logits))
    one_hot = np.eye(3, dtype=np.float32)[[0, 2, 1, 1]]
    t, z = torch.tensor(labels), torch.tensor(logits)
    losses = tf.losses
    fetches = [
        losses.mean_squared_error(labels, logits), losses.absolute_difference(labels, logits), losses.log_loss(labels, some),
        losses.huber_loss(labels, logits, delta=0.5), losses.hinge_loss(labels, logits),
        losses.sigmoid_cross_entropy(labels, logits), losses.softmax_cross_entropy(one_hot, logits, label_smoothing=0.1),
        losses.sparse_softmax_cross_entropy(np.array([[0], [2], [1], [1]]), logits),
        losses.cosine_distance(labels, logits, axis=1), losses.sigmoid_cross_entropy(labels, logits, label_smoothing=0.2),
    ]  # fmt: skip
    classes = torch.tensor([0, 2, 1, 1])
    wanted = [
        F.mse_loss(z, t), F.l1_loss(z, t), F.binary_cross_entropy(torch.tensor(some), t), F.huber_loss(z, t, delta=0.5),
        F.relu(1 - (2 * t - 1) * z).mean(), F.binary_cross_entropy_with_logits(z, t),
        F.cross_entropy(z, classes, label_smoothing=0.1), F.cross_entropy(z, classes), (1 - (t * z).sum(1)).mean(),
        F.binary_cross_entropy_with_logits(z, t * 0.8 + 0.1),
    ]  # fmt: skip
    close(run(fetches), [float(x) for x in wanted])
    assert losses.get_losses() == fetches
    assert fetches[0].name == "mean_squared_error/value:0"


def test_mean_pairwise_squared_error():
    labels, predictions = numbers(3, 4), numbers(3, 4, seed=1)
    made = tf.losses.mean_pairwise_squared_error(labels, predictions, np.array([1.0, 2.0, 0.5], np.float32))
    d = predictions - labels
    pairs = ((d[:, :, None] - d[:, None, :]) ** 2).sum((1, 2)) / (4 * 3)
    close(run(made), (pairs * [1, 2, 0.5]).sum())


def test_weights_and_reductions():
    labels, predictions = np.zeros((2, 3), np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    weights = np.array([[0.0], [2.0]], np.float32)
    squares = predictions**2 * weights
    wanted = {
        "NONE": squares, "SUM": squares.sum(), "SUM_OVER_BATCH_SIZE": squares.sum() / 6, "MEAN": squares.sum() / 6,
        "SUM_BY_NONZERO_WEIGHTS": squares.sum() / 3, "SUM_OVER_NONZERO_WEIGHTS": squares.sum() / 3,
    }  # fmt: skip
    fetches = [
        tf.losses.mean_squared_error(labels, predictions, weights, reduction=getattr(tf.losses.Reduction, name))
        for name in wanted
    ]
    for found, value in zip(run(fetches), wanted.values()):
        close(found, value)
    half = tf.losses.mean_squared_error(labels, predictions, 0.5)
    none = tf.losses.mean_squared_error(labels, predictions, 0.0)
    rows = tf.losses.sparse_softmax_cross_entropy([0, 1], predictions, weights=weights)
    close(run([half, none, rows]), [55 / 12, 0, 2 * np.log(np.exp(-1) + 1 + np.exp(1))])
    with pytest.raises(ShapeError, match=r"weights have shape \(3,\), losses \(2,\)"):
        tf.losses.sparse_softmax_cross_entropy([0, 1], predictions, weights=np.ones(3, np.float32))
    with pytest.raises(ArgumentError, match="'mean' is no reduction"):
        tf.losses.mean_squared_error(labels, predictions, reduction="mean")
    with pytest.raises(ShapeError, match=r"labels have shape \(2, 3\), predictions \(2, 2\)"):
        tf.losses.mean_squared_error(labels, predictions[:, :2])


def test_total_loss():
    with pytest.raises(ArgumentError, match="there are no losses"):
        tf.losses.get_total_loss()
    assert run(tf.losses.get_regularization_loss()) == 0
    x = tf.constant([1.0, 2.0])
    tf.losses.mean_squared_error([0.0, 0.0], x)
    tf.losses.add_loss(tf.constant(3.0))
    tf.losses.mean_squared_error([0.0, 0.0], x, loss_collection=None)
    tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, tf.constant(10.0))
    assert run([tf.losses.get_total_loss(), tf.losses.get_total_loss(False)]) == [15.5, 5.5]
    (slope,) = tf.gradients(tf.losses.get_total_loss(), x)
    assert run(slope).tolist() == [1.0, 2.0]
