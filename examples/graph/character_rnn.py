"""A recurrent network learns the Zen of Python letter by letter, then goes on from a few words: loops with TensorArrays."""

import argparse
import codecs
import contextlib
import io
import sys

import numpy as np

import duograph.graph as tf

with contextlib.redirect_stdout(io.StringIO()):
    import this

TEXT = codecs.decode(this.s, "rot13").partition("\n\n")[2]
LETTERS = sorted(set(TEXT))
HIDDEN, BATCH, LENGTH = 96, 32, 40


def numbers_of(text):
    return np.array([LETTERS.index(letter) for letter in text], np.int32)


class Network:
    """One step of a gated recurrent unit and the logits of the next letter."""

    def __init__(self):
        inputs = len(LETTERS) + HIDDEN
        self.gates = tf.get_variable("gates", [inputs, 2 * HIDDEN])
        self.gate_biases = tf.get_variable("gate_biases", [2 * HIDDEN], initializer=tf.ones_initializer())
        self.candidate = tf.get_variable("candidate", [inputs, HIDDEN])
        self.output = tf.get_variable("output", [HIDDEN, len(LETTERS)])
        self.output_biases = tf.get_variable("output_biases", [len(LETTERS)], initializer=tf.zeros_initializer())

    def step(self, letters, state):
        x = tf.one_hot(letters, len(LETTERS))
        reset, update = tf.split(tf.sigmoid(tf.matmul(tf.concat([x, state], 1), self.gates) + self.gate_biases), 2, axis=1)
        candidate = tf.tanh(tf.matmul(tf.concat([x, reset * state], 1), self.candidate))
        state = update * state + (1.0 - update) * candidate
        return tf.matmul(state, self.output) + self.output_biases, state


def training_loss(network, given, following):
    """Mean cross entropy of the letters that follow; both are [length, batch]."""
    length, batch = tf.shape(given)[0], tf.shape(given)[1]
    letters = tf.TensorArray(tf.int32, length).unstack(given)
    answers = tf.TensorArray(tf.int32, length).unstack(following)

    def body(t, state, losses):
        logits, state = network.step(letters.read(t), state)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=answers.read(t), logits=logits)
        return t + 1, state, losses.write(t, loss)

    start = [0, tf.zeros([batch, HIDDEN]), tf.TensorArray(tf.float32, length)]
    losses = tf.while_loop(lambda t, *_: t < length, body, start)[2]
    return tf.reduce_mean(losses.stack())


def continuation(network, prompt, length):
    """So many letters, the prompt first: each further one is the likeliest."""
    known = tf.shape(prompt)[0]

    def body(t, guess, state, written):
        letter = tf.cond(t < known, lambda: prompt[t], lambda: guess)
        logits, state = network.step(tf.reshape(letter, [1]), state)
        return t + 1, tf.cast(tf.argmax(logits[0]), tf.int32), state, written.write(t, letter)

    start = [0, tf.constant(0), tf.zeros([1, HIDDEN]), tf.TensorArray(tf.int32, length)]
    return tf.while_loop(lambda t, *_: t < length, body, start)[3].stack()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500, help="steps of training (default 500)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order of the text (default 0)")
    parser.add_argument("--prompt", default="Simple is", help="what the line begins with (default 'Simple is')")
    options = parser.parse_args()
    tf.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    text = numbers_of(TEXT)

    given = tf.placeholder(tf.int32, [None, None], name="given")
    following = tf.placeholder(tf.int32, [None, None], name="following")
    prompt = tf.placeholder(tf.int32, [None], name="prompt")
    network = Network()
    loss = training_loss(network, given, following)
    optimizer = tf.train.AdamOptimizer(5e-3)
    slopes, variables = zip(*optimizer.compute_gradients(loss))
    clipped, _ = tf.clip_by_global_norm(slopes, 1.0)
    train_step = optimizer.apply_gradients(zip(clipped, variables))
    line = continuation(network, prompt, LENGTH)

    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for step in range(options.steps):
            starts = rng.integers(len(text) - LENGTH, size=BATCH)
            window = text[starts + np.arange(LENGTH + 1)[:, None]]
            _, found = sess.run([train_step, loss], {given: window[:-1], following: window[1:]})
            if step % 100 == 0:
                print(f"step {step:3d}: loss {found:.3f}")
        written = sess.run(line, {prompt: numbers_of(options.prompt)})

    words = "".join(LETTERS[number] for number in written).partition("\n")[0]
    print(f"character rnn: {options.prompt!r} goes on to {words!r}")
    return 0 if words in TEXT else 1


if __name__ == "__main__":
    sys.exit(main())
