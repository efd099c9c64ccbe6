"""An autoencoder that keeps eight numbers of each of scikit-learn's digits, measured against the best linear one (PCA)."""

import argparse
import sys

import numpy as np
from sklearn.datasets import load_digits

import duograph.graph as tf

BATCH = 64
CODE = 8
SHADES = " .:-=+*#%@"


def dense(x, size, activation=None):
    """A layer in a variable scope of its own."""
    weights = tf.get_variable("weights", [x.shape[1], size], initializer=tf.glorot_uniform_initializer())
    biases = tf.get_variable("biases", [size], initializer=tf.zeros_initializer())
    y = tf.matmul(x, weights) + biases
    return y if activation is None else activation(y)


def encoder(x):
    with tf.variable_scope("encoder"):
        with tf.variable_scope("layer1"):
            hidden = dense(x, 128, tf.nn.relu)
        with tf.variable_scope("layer2"):
            return dense(hidden, CODE)


def decoder(code):
    with tf.variable_scope("decoder"):
        with tf.variable_scope("layer1"):
            hidden = dense(code, 128, tf.nn.relu)
        with tf.variable_scope("layer2"):
            return dense(hidden, 64, tf.nn.sigmoid)


def linear_error(train_images, test_images):
    """Mean squared error of the first CODE principal components."""
    mean = train_images.mean(axis=0)
    axes = np.linalg.svd(train_images - mean, full_matrices=False)[2][:CODE]
    return float(np.mean(((test_images - mean) @ axes.T @ axes - (test_images - mean)) ** 2))


def draw(image, rebuilt):
    """Both pictures side by side, two letters a pixel."""
    for left, right in zip(image.reshape(8, 8), rebuilt.reshape(8, 8)):
        print("   ".join("".join(2 * SHADES[int(v * 9.99)] for v in row.clip(0, 1)) for row in (left, right)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="steps of training (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order of the digits (default 0)")
    options = parser.parse_args()
    tf.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    images = rng.permutation(load_digits().data / 16.0).astype(np.float32)
    train_images, test_images = images[360:], images[:360]

    x = tf.placeholder(tf.float32, [None, 64], name="x")
    rebuilt = decoder(encoder(x))
    loss = tf.losses.mean_squared_error(x, rebuilt)
    train_step = tf.train.RMSPropOptimizer(1e-3).minimize(loss)

    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for step in range(options.steps):
            batch = train_images[rng.integers(len(train_images), size=BATCH)]
            _, error = sess.run([train_step, loss], feed_dict={x: batch})
            if step % 500 == 0:
                print(f"step {step:4d}: mean squared error {error:.4f}")
        error, pictures = sess.run([loss, rebuilt], feed_dict={x: test_images})

    draw(test_images[0], pictures[0])
    linear = linear_error(train_images, test_images)
    print(f"autoencoder: {CODE} numbers a digit, mean squared error of unseen digits {error:.4f}; PCA: {linear:.4f}")
    return 0 if error < linear else 1


if __name__ == "__main__":
    sys.exit(main())
