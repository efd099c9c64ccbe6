"""A small convolutional network with dropout on scikit-learn's handwritten digits."""

import argparse
import sys

import numpy as np
from sklearn.datasets import load_digits

import duograph.graph as tf

BATCH = 50
WANTED = 0.95


def weight_variable(shape):
    return tf.Variable(tf.truncated_normal(shape, stddev=0.1))


def bias_variable(shape):
    return tf.Variable(tf.constant(0.1, shape=shape))


def conv2d(x, W):
    return tf.nn.conv2d(x, W, strides=[1, 1, 1, 1], padding="SAME")


def max_pool_2x2(x):
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def network(x, keep_prob):
    """Two convolutions with pooling, a hidden layer, ten logits."""
    images = tf.reshape(x, [-1, 8, 8, 1])
    with tf.name_scope("conv1"):
        first = max_pool_2x2(tf.nn.relu(conv2d(images, weight_variable([3, 3, 1, 16])) + bias_variable([16])))
    with tf.name_scope("conv2"):
        second = max_pool_2x2(tf.nn.relu(conv2d(first, weight_variable([3, 3, 16, 32])) + bias_variable([32])))
    with tf.name_scope("hidden"):
        flat = tf.reshape(second, [-1, 2 * 2 * 32])
        hidden = tf.nn.relu(tf.matmul(flat, weight_variable([2 * 2 * 32, 64])) + bias_variable([64]))
        hidden = tf.nn.dropout(hidden, keep_prob=keep_prob)
    with tf.name_scope("logits"):
        return tf.matmul(hidden, weight_variable([64, 10])) + bias_variable([10])


def load(rng):
    """Images and labels in an order drawn by rng: all but 360 to learn from, 360 to test."""
    images, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(images))
    images, labels = (images[order] / 16.0).astype(np.float32), labels[order].astype(np.int64)
    return images[360:], labels[360:], images[:360], labels[:360]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600, help="steps of training (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and the order of the digits (default 0)")
    options = parser.parse_args()
    tf.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    train_images, train_labels, test_images, test_labels = load(rng)

    x = tf.placeholder(tf.float32, [None, 64], name="x")
    y_ = tf.placeholder(tf.int64, [None], name="y_")
    keep_prob = tf.placeholder(tf.float32, name="keep_prob")
    logits = network(x, keep_prob)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y_, logits=logits))
    train_step = tf.train.AdamOptimizer(3e-3).minimize(loss)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), y_), tf.float32))

    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for step in range(options.steps):
            chosen = rng.integers(len(train_images), size=BATCH)
            batch = {x: train_images[chosen], y_: train_labels[chosen]}
            if step % 150 == 0:
                print(f"step {step:3d}: accuracy of the batch {sess.run(accuracy, {**batch, keep_prob: 1.0}):.2f}")
            sess.run(train_step, feed_dict={**batch, keep_prob: 0.7})
        reached = accuracy.eval(feed_dict={x: test_images, y_: test_labels, keep_prob: 1.0})

    print(f"convolutional network: {100 * reached:.1f} % of {len(test_images)} unseen digits")
    return 0 if reached >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
