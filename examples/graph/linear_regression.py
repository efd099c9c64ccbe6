"""A line through noisy points, with summaries that TensorBoard shows: `tensorboard --logdir DIRECTORY`."""

import argparse
import glob
import os
import sys
import tempfile

import numpy as np

import duograph.graph as tf

SLOPE, INTERCEPT, NOISE = 3.0, 2.0, 0.1


def train(logdir, steps, seed):
    """Slope and intercept after so many steps; the way there is written to logdir."""
    tf.set_random_seed(seed)
    rng = np.random.default_rng(seed)

    X = tf.placeholder(tf.float32, [None], name="X")
    Y = tf.placeholder(tf.float32, [None], name="Y")
    W = tf.Variable(tf.random_normal([]), name="W")
    b = tf.Variable(tf.zeros([]), name="b")
    residuals = Y - (W * X + b)
    cost = tf.reduce_mean(tf.square(residuals))
    global_step = tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(0.3, global_step, steps, 0.1)
    optimizer = tf.train.GradientDescentOptimizer(rate).minimize(cost, global_step=global_step)

    tf.summary.scalar("cost", cost)
    tf.summary.scalar("slope", W)
    tf.summary.scalar("intercept", b)
    tf.summary.histogram("residuals", residuals)
    merged = tf.summary.merge_all()

    with tf.Session() as sess, tf.summary.FileWriter(logdir, sess.graph) as writer:
        sess.run(tf.global_variables_initializer())
        for step in range(steps):
            points = rng.uniform(-1.0, 1.0, 100).astype(np.float32)
            values = SLOPE * points + INTERCEPT + NOISE * rng.standard_normal(100).astype(np.float32)
            feed = {X: points, Y: values}
            if step % 10 == 0:
                summary, found = sess.run([merged, cost], feed_dict=feed)
                writer.add_summary(summary, global_step=step)
                if step % 100 == 0:
                    print(f"step {step:3d}: cost {found:.4f}")
            sess.run(optimizer, feed_dict=feed)
        return sess.run([W, b])


def costs_written(logdir):
    """The cost at each step that was written, read back from the newest event file."""
    newest = max(glob.glob(os.path.join(logdir, "events.out.tfevents.*")), key=os.path.getmtime)
    events = tf.train.summary_iterator(newest)
    return [(event.step, value.simple_value) for event in events for value in event.summary.value if value.tag == "cost"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="steps of training (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of points, noise and the first slope (default 0)")
    parser.add_argument("--logdir", help="where the summaries go (default: a temporary directory, removed at the end)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        logdir = options.logdir or temporary
        slope, intercept = train(logdir, options.steps, options.seed)
        written = costs_written(logdir)

    print(
        f"linear regression: y = {slope:.2f} x + {intercept:.2f} (drawn from {SLOPE:g} x + {INTERCEPT:g}); "
        f"{len(written)} summaries, cost {written[0][1]:.3f} to {written[-1][1]:.3f}"
    )
    near = abs(slope - SLOPE) < 0.05 and abs(intercept - INTERCEPT) < 0.05
    return 0 if near and written[-1][1] < written[0][1] else 1


if __name__ == "__main__":
    sys.exit(main())
