"""REINFORCE on a cart that balances a pole: a network decides, NumPy simulates, ten episodes make a step of training."""

import argparse
import math
import sys

import numpy as np

import duograph.graph as tf

LONGEST = 200
EPISODES = 10  # of each step of training
DISCOUNT = 0.98


class CartPole:
    """Barto, Sutton and Anderson's cart (1983): four numbers, pushed left or right every 20 ms until the pole is down."""

    def __init__(self, rng):
        self.rng = rng

    def reset(self):
        self.state, self.age = self.rng.uniform(-0.05, 0.05, 4), 0
        return self.state

    def step(self, action):
        """What is seen next, and whether the episode is over."""
        _, speed, angle, turning = self.state
        sine, cosine = math.sin(angle), math.cos(angle)
        push = ((10.0 if action == 1 else -10.0) + 0.05 * turning**2 * sine) / 1.1
        bend = (9.8 * sine - cosine * push) / (0.5 * (4.0 / 3.0 - 0.1 * cosine**2 / 1.1))
        pull = push - 0.05 * bend * cosine / 1.1
        self.state = self.state + 0.02 * np.array([speed, pull, turning, bend])
        self.age += 1
        fallen = abs(self.state[0]) > 2.4 or abs(self.state[2]) > math.radians(12)
        return self.state, fallen or self.age == LONGEST


def episode(cart, choose, rng):
    """All that was seen and done until the end."""
    seen, done, state, over = [], [], cart.reset(), False
    while not over:
        seen.append(state)
        done.append(int(rng.random() < choose(state)))
        state, over = cart.step(done[-1])
    return np.array(seen, np.float32), np.array(done, np.int32)


def returns(length):
    """Discounted rewards from each step to the end."""
    return (1.0 - DISCOUNT ** np.arange(length, 0, -1)) / (1.0 - DISCOUNT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="steps of training (default 40)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, cart and decisions (default 0)")
    options = parser.parse_args()
    tf.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)

    observations = tf.placeholder(tf.float32, [None, 4], name="observations")
    actions = tf.placeholder(tf.int32, [None], name="actions")
    advantages = tf.placeholder(tf.float32, [None], name="advantages")
    hidden = tf.layers.dense(observations, 32, activation=tf.nn.tanh)
    logits = tf.layers.dense(hidden, 2)
    probabilities = tf.nn.softmax(logits)
    unlikely = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=actions, logits=logits)
    train_step = tf.train.AdamOptimizer(1e-2).minimize(tf.reduce_mean(unlikely * advantages))

    cart, lengths = CartPole(rng), []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())

        def choose(state):
            return sess.run(probabilities, {observations: state[None]})[0, 1]

        for step in range(options.steps):
            episodes = [episode(cart, choose, rng) for _ in range(EPISODES)]
            seen, done = (np.concatenate(part) for part in zip(*episodes))
            lengths += [len(chosen) for _, chosen in episodes]
            gained = np.concatenate([returns(length) for length in lengths[-EPISODES:]])
            gained = (gained - gained.mean()) / (gained.std() + 1e-6)
            sess.run(train_step, {observations: seen, actions: done, advantages: gained})
            if step % 10 == 0:
                print(f"step {step:2d}: {np.mean(lengths[-EPISODES:]):5.1f} steps upright, mean of {EPISODES} episodes")

    first, last = np.mean(lengths[:EPISODES]), np.mean(lengths[-EPISODES:])
    print(f"policy gradient: the pole stays up {last:.0f} steps of {LONGEST} (at first: {first:.0f})")
    return 0 if last > 2 * first else 1


if __name__ == "__main__":
    sys.exit(main())
