"""Skip-gram word vectors by sampled softmax, on the words of Python's own reference."""

import argparse
import collections
import math
import re
import sys
from pydoc_data.topics import topics

import numpy as np

import duograph.graph as tf

VOCABULARY, SIZE, SAMPLED, WINDOW, BATCH = 800, 48, 64, 3, 256
WANTED = 0.1


def read_words():
    """The most common words, and the text as positions among them; rarer words are left out."""
    text = " ".join(topics[name] for name in sorted(topics)).lower()
    words = re.findall("[a-z]{3,}", text)
    common = [word for word, _ in collections.Counter(words).most_common(VOCABULARY)]
    positions = {word: i for i, word in enumerate(common)}
    return common, np.array([positions[word] for word in words if word in positions])


def pairs(text):
    """(word, neighbour) for all neighbours at most WINDOW words away."""
    distances = [d for d in range(-WINDOW, WINDOW + 1) if d != 0]
    centre = text[WINDOW:-WINDOW]
    around = [text[WINDOW + d : len(text) - WINDOW + d] for d in distances]
    return np.tile(centre, len(distances)), np.concatenate(around)


def build():
    """Placeholders and operations of the program, by name."""
    inputs = tf.placeholder(tf.int32, [None], name="inputs")
    labels = tf.placeholder(tf.int64, [None, 1], name="labels")
    embeddings = tf.Variable(tf.random_uniform([VOCABULARY, SIZE], -0.1, 0.1), name="embeddings")
    weights = tf.Variable(tf.truncated_normal([VOCABULARY, SIZE], stddev=1.0 / math.sqrt(SIZE)), name="weights")
    biases = tf.Variable(tf.zeros([VOCABULARY]), name="biases")
    embed = tf.nn.embedding_lookup(embeddings, inputs)
    losses = tf.nn.sampled_softmax_loss(weights, biases, labels, embed, num_sampled=SAMPLED, num_classes=VOCABULARY)
    loss = tf.reduce_mean(losses)
    train_step = tf.train.AdamOptimizer(3e-3).minimize(loss)

    logits = tf.matmul(embed, weights, transpose_b=True) + biases
    full_loss = tf.losses.sparse_softmax_cross_entropy(labels[:, 0], logits)
    normalized = tf.nn.l2_normalize(embeddings, 1)
    likeness = tf.matmul(tf.nn.embedding_lookup(normalized, inputs), normalized, transpose_b=True)
    nearest = tf.nn.top_k(likeness, 5).indices
    return inputs, labels, loss, train_step, full_loss, nearest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000, help="steps of training (default 3000)")
    parser.add_argument("--seed", type=int, default=0, help="of vectors, samples and the order of the pairs (default 0)")
    options = parser.parse_args()
    tf.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    common, text = read_words()
    held_out = np.arange(len(text)) // 100 % 20 == 0
    words, neighbours = pairs(text[~held_out])
    inputs, labels, loss, train_step, full_loss, nearest = build()

    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        total = 0.0
        for step in range(1, options.steps + 1):
            chosen = rng.integers(len(words), size=BATCH)
            feed = {inputs: words[chosen], labels: neighbours[chosen, None]}
            _, found = sess.run([train_step, loss], feed_dict=feed)
            total += found
            if step % 1000 == 0:
                print(f"step {step:4d}: mean loss {total / 1000:.3f}")
                total = 0.0

        for word in ("two", "string", "raised", "class"):
            if word in common:
                (rows,) = sess.run(nearest, {inputs: [common.index(word)]})
                print(f"nearest to {word!r}: " + ", ".join(common[row] for row in rows[1:]))
        asked, true = pairs(text[held_out])
        learned = sess.run(full_loss, {inputs: asked, labels: true[:, None]})

    frequencies = np.bincount(neighbours, minlength=VOCABULARY) / len(neighbours)
    by_frequency = -np.log(frequencies[true]).mean()
    print(f"word2vec: unseen neighbours of a word cost {learned:.3f} nats each; by their frequency alone {by_frequency:.3f}")
    return 0 if learned < by_frequency - WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
