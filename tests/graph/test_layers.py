"""Layers: shapes, names, sharing, values, moving averages, training."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import duograph.graph as tf
from duograph.errors import ArgumentError, GraphError, ShapeError


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def run(fetches, feeds=None):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feeds or {})


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(a, np.asarray(b), rtol=tolerance, atol=tolerance)


def test_dense():
    x = tf.placeholder(tf.float32, [None, 3])
    first = tf.layers.dense(x, 4, tf.nn.relu)
    second = tf.layers.dense(first, 2, use_bias=False, name="out")
    assert [v.name for v in tf.trainable_variables()] == ["dense/kernel:0", "dense/bias:0", "out/kernel:0"]
    assert second.shape.as_list() == [None, 2]
    assert first.op.name == "dense/Relu"
    fed = numbers(5, 3)
    made, kernel, bias, out = run([second, *tf.trainable_variables()], {x: fed})
    assert not bias.any()
    close(made, np.maximum(fed @ kernel, 0) @ out)


def test_layers_share_variables():
    x = tf.constant(numbers(2, 3))
    with tf.variable_scope("net"):
        a = tf.layers.dense(x, 4, name="fc")
        with pytest.raises(GraphError, match="variable net/fc/kernel already exists"):
            tf.layers.dense(x, 4, name="fc")
        b = tf.layers.dense(x, 4, name="fc", reuse=True)
    with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
        c = tf.layers.dense(x, 4, name="fc")
    layer = tf.layers.Dense(4, name="own")
    d, e = layer(x), layer(x * 2.0)
    assert [v.name for v in layer.variables] == ["own/kernel:0", "own/bias:0"] == [layer.kernel.name, layer.bias.name]
    assert len(tf.trainable_variables()) == 4
    found = run([a, b, c, d, e])
    close(found[0], found[1])
    close(found[0], found[2])
    close(found[3] * 2, found[4])
    with pytest.raises(ArgumentError, match="reuse=True without a name"):
        tf.layers.dense(x, 4, reuse=True)


def test_layer_mistakes():
    with pytest.raises(ShapeError, match=r"the inputs have shape \(\?, \?\): size -1 decides the shape"):
        tf.layers.dense(tf.placeholder(tf.float32, [None, None]), 4)
    with pytest.raises(ArgumentError, match="missing a required argument: 'units'"):
        tf.layers.dense(tf.placeholder(tf.float32, [None, 3]))
    with pytest.raises(ArgumentError, match="got an unexpected keyword argument 'unit'"):
        tf.layers.dense(tf.placeholder(tf.float32, [None, 3]), 4, unit=3)
    with pytest.raises(ArgumentError, match="data_format is 'NHWC'"):
        tf.layers.conv2d(tf.constant(numbers(1, 3, 3, 1)), 1, 1, data_format="NHWC")


def test_regularizers():
    x = tf.constant(numbers(2, 3))
    both = tf.layers.l1_l2_regularizer(0.5, 0.25)
    layer = tf.layers.Dense(4, kernel_regularizer=both, bias_regularizer=tf.layers.l2_regularizer(0.0), name="fc")
    layer(x)
    layer(x)
    with tf.variable_scope("all", regularizer=tf.layers.l2_regularizer(2.0)):
        other = tf.layers.Dense(2, use_bias=False)
        other(x)
    (loss,) = layer.losses
    assert tf.losses.get_regularization_losses() == [loss, *other.losses]
    total, kernel, last = run([tf.losses.get_regularization_loss(), layer.kernel, other.kernel])
    close(total, 0.5 * np.abs(kernel).sum() + 0.125 * (kernel**2).sum() + (last**2).sum(), 1e-4)
    with pytest.raises(ArgumentError, match="scale = -1"):
        tf.layers.l2_regularizer(-1)


def test_convolutions():
    x = numbers(2, 7, 7, 3)
    image = tf.placeholder(tf.float32, [None, None, None, 3])
    last = tf.layers.Conv2D(4, 3, 2, "same", kernel_initializer=lambda shape, dtype: numbers(*shape), activation=tf.nn.relu)
    first = tf.layers.Conv2D(4, [3, 3], (2, 2), "same", "channels_first", kernel_initializer=lambda shape, dtype: numbers(*shape))
    separable = tf.layers.separable_conv2d(image, 5, 3, depth_multiplier=2)
    flipped = tf.placeholder(tf.float32, [None, 3, None, None])
    fetches = [last(image), first(flipped), separable, last.kernel]
    assert [v.name for v in tf.trainable_variables()][:5] == [
        "separable_conv2d/depthwise_kernel:0", "separable_conv2d/pointwise_kernel:0", "separable_conv2d/bias:0",
        "conv2d/kernel:0", "conv2d/bias:0",
    ]  # fmt: skip
    found = run(fetches, {image: x, flipped: np.moveaxis(x, -1, 1)})
    wanted = F.conv2d(torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(found[3]).permute(3, 2, 0, 1), stride=2, padding=1)
    close(found[1], wanted)
    close(found[0], F.relu(wanted).permute(0, 2, 3, 1))
    assert found[2].shape == (2, 5, 5, 5)


def test_transposed_convolutions():
    x = tf.placeholder(tf.float32, [None, 4, 5, 3])
    same = tf.layers.conv2d_transpose(x, 2, 3, 2, "same", name="same")
    valid = tf.layers.conv2d_transpose(x, 2, [3, 3], [2, 2], name="valid")
    assert same.shape.as_list() == [None, 8, 10, 2]
    assert valid.shape.as_list() == [None, 9, 11, 2]
    kernel = tf.trainable_variables("valid/kernel")[0]
    assert kernel.shape.as_list() == [3, 3, 2, 3]
    fed = numbers(2, 4, 5, 3)
    made, w = run([valid, kernel], {x: fed})
    wanted = F.conv_transpose2d(torch.tensor(fed).permute(0, 3, 1, 2), torch.tensor(w).permute(3, 2, 0, 1), stride=2)
    close(made, wanted.permute(0, 2, 3, 1))


def test_other_ranks_pools_and_flatten():
    x = numbers(2, 6, 3)
    rows = tf.layers.conv1d(x, 4, 3, padding="same")
    volume = tf.layers.conv3d(tf.constant(numbers(1, 4, 4, 4, 1)), 2, 3)
    assert rows.shape.as_list() == [2, 6, 4]
    assert volume.shape.as_list() == [1, 2, 2, 2, 2]
    pools = [tf.layers.max_pooling1d(x, 2, 2), tf.layers.average_pooling1d(x, 2, 2)]
    image = tf.placeholder(tf.float32, [None, 4, 4, 2])
    flat = tf.layers.flatten(tf.layers.max_pooling2d(image, [2, 2], 2))
    assert flat.shape.as_list() == [None, 8]
    maxima, means = run(pools)
    close(maxima, np.maximum(x[:, ::2], x[:, 1::2]))
    close(means, (x[:, ::2] + x[:, 1::2]) / 2)
    assert tf.layers.flatten(tf.placeholder(tf.float32, [3, None, 2])).shape.as_list() == [3, None]


def test_dropout_by_bool_and_by_tensor():
    training = tf.placeholder(tf.bool, [])
    x = tf.constant(np.ones((50, 50), np.float32))
    made, never = tf.layers.dropout(x, 0.25, training=training), tf.layers.dropout(x, 0.25)
    with tf.Session() as session:
        assert (session.run(never) == 1).all()
        assert (session.run(made, {training: False}) == 1).all()
        found = session.run(made, {training: True})
    assert abs((found == 0).mean() - 0.25) < 0.05


@pytest.mark.parametrize("shape, axis", [((8, 3), -1), ((4, 5, 5, 3), -1), ((4, 3, 5, 5), 1)])
def test_batch_normalization(shape, axis):
    x = numbers(*shape) * 2 + 1
    training = tf.placeholder(tf.bool, [])
    image = tf.placeholder(tf.float32, [None, *shape[1:]])
    layer = tf.layers.BatchNormalization(axis, momentum=0.9)
    made = layer(image, training=training)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert updates == layer.updates
    assert made.shape.as_list() == [None, *shape[1:]]
    assert [v.name.rpartition("/")[2] for v in layer.variables] == ["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"]
    assert len(layer.trainable_variables) == 2
    others = tuple(d for d in range(len(shape)) if d != axis % len(shape))
    count = x.size // 3
    mean, variance = x.mean(others), x.var(others)
    keep = [1] * len(shape)
    keep[axis] = 3
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        trained, _ = session.run([made, updates], {image: x, training: True})
        close(trained, (x - mean.reshape(keep)) / np.sqrt(variance.reshape(keep) + 1e-3), 1e-4)
        average, spread = session.run([layer.moving_mean, layer.moving_variance])
        bessel = count / (count - 1) if len(shape) == 4 else 1.0
        close(average, 0.1 * mean)
        close(spread, 0.9 + 0.1 * variance * bessel, 1e-4)
        found, _ = session.run([made, updates], {image: x, training: False})
        close(found, (x - average.reshape(keep)) / np.sqrt(spread.reshape(keep) + 1e-3), 1e-4)
        close(session.run(layer.moving_mean), average)


def test_training_as_python_bool():
    x = tf.constant(numbers(8, 3))
    tf.layers.batch_normalization(x, name="bn")
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    made = tf.layers.batch_normalization(x, name="bn", reuse=True, training=True, scale=False, center=False)
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2
    found = run(made)
    close(found.mean(0), np.zeros(3))
    with pytest.raises(ArgumentError, match="renorm is not there"):
        tf.layers.batch_normalization(x, renorm=True)


def test_training_a_network():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((32, 8, 8, 1)).astype(np.float32)
    classes = (images[:, :4].mean((1, 2, 3)) > images[:, 4:].mean((1, 2, 3))).astype(np.int32)
    x, y = tf.placeholder(tf.float32, [None, 8, 8, 1]), tf.placeholder(tf.int32, [None])
    net = tf.layers.conv2d(x, 8, 3, padding="same", activation=tf.nn.relu)
    net = tf.layers.max_pooling2d(tf.layers.batch_normalization(net, training=True), 2, 2)
    logits = tf.layers.dense(tf.layers.flatten(net), 2)
    loss = tf.losses.sparse_softmax_cross_entropy(y, logits)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        step = tf.train.AdamOptimizer(0.01).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, step], {x: images, y: classes})[0] for _ in range(30)]
        moved = session.run(tf.global_variables("batch_normalization/moving_mean")[0])
    assert losses[-1] < 0.2 * losses[0]
    assert moved.any()


def test_layer_of_ones_own():
    class Scale(tf.layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight("factor", [input_shape.as_list()[-1]], initializer=lambda shape, dtype: 3.0)

        def call(self, inputs):
            return inputs * self.factor

    x = tf.constant(numbers(2, 3))
    layer = Scale(activity_regularizer=tf.nn.l2_loss)
    made = layer(x)
    assert layer.factor.name == "scale/factor:0"
    found, loss = run([made, layer.losses[0]])
    close(found, 3 * numbers(2, 3))
    close(loss, (found**2).sum() / 2, 1e-4)
