"""Softmax regression on scikit-learn's handwritten digits: one matrix, one vector, gradient descent."""

import argparse
import sys

import numpy as np
from sklearn.datasets import load_digits

import duograph.graph as tf

BATCH = 100
WANTED = 0.93


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="steps of training (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the digits (default 0)")
    options = parser.parse_args()
    tf.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)

    images, numbers = load_digits(return_X_y=True)
    order = rng.permutation(len(images))
    images = (images[order] / 16.0).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[numbers[order]]
    train_images, train_labels, test_images, test_labels = images[360:], labels[360:], images[:360], labels[:360]

    x = tf.placeholder(tf.float32, [None, 64], name="x")
    y_ = tf.placeholder(tf.float32, [None, 10], name="y_")
    W = tf.Variable(tf.zeros([64, 10]), name="W")
    b = tf.Variable(tf.zeros([10]), name="b")
    y = tf.matmul(x, W) + b

    cross_entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y_, logits=y))
    train_step = tf.train.GradientDescentOptimizer(0.5).minimize(cross_entropy)
    correct_prediction = tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1))
    accuracy = tf.reduce_mean(tf.cast(correct_prediction, tf.float32))

    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for step in range(options.steps):
            chosen = rng.integers(len(train_images), size=BATCH)
            feed = {x: train_images[chosen], y_: train_labels[chosen]}
            _, loss = sess.run([train_step, cross_entropy], feed_dict=feed)
            if step % 250 == 0:
                print(f"step {step:4d}: cross entropy {loss:.3f}")
        reached = sess.run(accuracy, feed_dict={x: test_images, y_: test_labels})

    print(f"softmax regression: {100 * reached:.1f} % of {len(test_images)} unseen digits")
    return 0 if reached >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
