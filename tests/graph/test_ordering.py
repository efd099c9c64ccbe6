"""Sorting, searching, sets of numbers, blocks of images: values against NumPy and PyTorch, unknown sizes, gradients."""

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
        return session.run(fetches, feeds or {})


X = np.float32([[3, 1, 2, 1], [0, 5, -1, 4]])
IMAGE = np.random.default_rng(0).standard_normal((2, 4, 6, 8)).astype(np.float32)


def patches(x, window, stride, padding=(0, 0, 0, 0), rate=1):
    image = F.pad(torch.tensor(x).permute(0, 3, 1, 2), padding)
    columns = F.unfold(image, window, dilation=rate, stride=stride)
    count = [(n - (k - 1) * rate - 1) // s + 1 for n, k, s in zip(image.shape[2:], window, stride)]
    found = columns.reshape(x.shape[0], x.shape[3], window[0] * window[1], *count).permute(0, 3, 4, 2, 1)
    return found.reshape(x.shape[0], *count, -1).numpy()


def shuffled(x, down):
    moved = torch.tensor(x).permute(0, 3, 1, 2)
    if down:  # PyTorch has the channels of a block behind those of the image
        found = F.pixel_unshuffle(moved, 2).reshape(2, 8, 4, 2, 3).transpose(1, 2).reshape(2, 32, 2, 3)
    else:
        found = F.pixel_shuffle(moved.reshape(2, 4, 2, 4, 6).transpose(1, 2).reshape(2, 8, 4, 6), 2)
    return found.permute(0, 2, 3, 1).numpy()


# name: (of a graph tensor, the result), of X or of IMAGE
CASES = {
    "sort": (X, tf.sort, np.sort(X)),
    "sort down": (X, lambda x: tf.sort(x, 0, "DESCENDING"), -np.sort(-X, 0)),
    "argsort": (X, tf.argsort, np.argsort(X, kind="stable").astype(np.int32)),
    "argsort down": (X, lambda x: tf.argsort(x, direction="DESCENDING"), np.argsort(-X, kind="stable").astype(np.int32)),
    "searchsorted": (X, lambda x: tf.searchsorted([1.0, 2.0, 3.0], x[0]), np.int32([2, 0, 1, 0])),
    "searchsorted right": (
        X, lambda x: tf.searchsorted([[1.0, 2.0], [0.0, 4.0]], x, "right"), np.int32([[2, 1, 2, 1], [1, 2, 0, 2]]),
    ),
    "unique": (X, lambda x: tf.unique(tf.reshape(x, [-1])).y, np.float32([3, 1, 2, 0, 5, -1, 4])),
    "unique places": (X, lambda x: tf.unique(x[0], tf.int64)[1], np.int64([0, 1, 2, 1])),
    "unique counts": (X, lambda x: tf.unique_with_counts(x[0]).count, np.int32([1, 2, 1])),
    "setdiff1d": (X, lambda x: tf.setdiff1d(x[0], [1.0, 7.0]).out, np.float32([3, 2])),
    "setdiff1d places": (X, lambda x: tf.setdiff1d(x[0], [1.0, 7.0]).idx, np.int32([0, 2])),
    "reverse_sequence": (X, lambda x: tf.reverse_sequence(x, [2, 4], 1), np.float32([[1, 3, 2, 1], [4, -1, 5, 0]])),
    "reverse_sequence 0": (X, lambda x: tf.reverse_sequence(x, [2, 1, 2, 2], 0, 1), np.where([1, 0, 1, 1], X[::-1], X)),
    "space_to_depth": (IMAGE, lambda x: tf.space_to_depth(x, 2), shuffled(IMAGE, True)),
    "depth_to_space": (IMAGE, lambda x: tf.depth_to_space(x, 2), shuffled(IMAGE, False)),
    "patches": (IMAGE, lambda x: tf.extract_image_patches(x, [1, 2, 3, 1], [1, 1, 2, 1]), patches(IMAGE, (2, 3), (1, 2))),
    "patches same": (
        IMAGE, lambda x: tf.extract_image_patches(x, [1, 3, 3, 1], [1, 2, 1, 1], padding="SAME"),
        patches(IMAGE, (3, 3), (2, 1), (1, 1, 0, 1)),
    ),
    "patches with rates": (
        IMAGE, lambda x: tf.extract_image_patches(x, [1, 2, 2, 1], [1, 1, 1, 1], [1, 2, 2, 1]),
        patches(IMAGE, (2, 2), (1, 1), rate=2),
    ),
    "parallel_stack": (X, lambda x: tf.parallel_stack([x, -x]), np.stack([X, -X])),
    "identity_n": (X, lambda x: tf.identity_n([x, x * 2.0])[1], X * 2),
    "guarantee_const": (X, tf.guarantee_const, X),
    "tuple": (X, lambda x: tf.tuple([x, None, x + 1.0])[2], X + 1),
    "invert_permutation": (X, lambda x: tf.invert_permutation(tf.argsort(x[0])), np.int32([3, 0, 2, 1])),
}  # fmt: skip
BY_VALUES = ("unique", "setdiff1d")  # have sizes that the values decide


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("known", [True, False])
def test_values(name, known):
    value, function, wanted = CASES[name]
    x = tf.placeholder(tf.float32, value.shape if known else [None] * value.ndim)
    made = function(x)
    assert made.shape.is_compatible_with(wanted.shape)
    if known and not name.startswith(BY_VALUES):
        assert made.shape.as_list() == list(wanted.shape)
    with tf.Session() as session:
        for _ in range(2):
            found = session.run(made, {x: value})
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_sizes_of_each_run():
    x = tf.placeholder(tf.float32, [None])
    both = [*tf.unique(x), tf.setdiff1d(x, [1.0]).out]
    with tf.Session() as session:
        for fed in ([3, 1, 3], [2, 2, 2, 2, 1], [5], [1, 4, 4, 5, 5, 5]):
            y, places, others = session.run(both, {x: fed})
            assert y.tolist() == list(dict.fromkeys(map(float, fed)))
            assert y[places].tolist() == fed
            assert others.tolist() == [v for v in fed if v != 1]


def test_gradients_follow_the_elements():
    x = tf.placeholder(tf.float32, [2, None])
    turned = tf.reverse_sequence(x, [2, 4], 1) * np.arange(8.0, dtype=np.float32).reshape(2, 4)
    smallest = tf.sort(x)[:, 0]
    found = run([tf.gradients(turned, x)[0], tf.gradients(smallest, x)[0]], {x: X})
    assert found[0].tolist() == [[1, 0, 2, 3], [7, 6, 5, 4]]
    assert found[1].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]


def test_a_tuple_comes_when_all_is_done():
    count = tf.Variable(0, name="count")
    first, _ = tf.tuple([tf.constant(1.0), tf.constant(2.0)], control_inputs=[count.assign_add(1)])
    with tf.Session() as session:
        session.run(count.initializer)
        assert session.run(first) == 1.0
        assert session.run(count) == 1


def test_mistakes_are_named():
    with pytest.raises(ArgumentError, match="DESCENDING"):
        tf.sort([1, 2], direction="down")
    with pytest.raises(ShapeError, match="no whole blocks of 2"):
        tf.space_to_depth(tf.zeros([1, 3, 4, 1]), 2)
    with pytest.raises(ArgumentError, match="seq_axis"):
        tf.reverse_sequence([[1, 2]], [1])
    with pytest.raises(ArgumentError, match="no tensor"):
        tf.tuple([None])
