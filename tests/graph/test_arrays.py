"""Shapes, movement and creation of tensors, against NumPy."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


DATA = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

MOVEMENTS = {
    "reshape": (lambda x: tf.reshape(x, [4, -1]), lambda a: a.reshape(4, -1)),
    "squeeze": (lambda x: tf.squeeze(tf.expand_dims(x, 1), [1]), lambda a: a),
    "squeeze all": (lambda x: tf.squeeze(x[:1]), lambda a: a[0]),
    "expand_dims": (lambda x: tf.expand_dims(x, -1), lambda a: a[..., None]),
    "transpose": (tf.transpose, np.transpose),
    "transpose perm": (lambda x: tf.transpose(x, [1, 0, 2]), lambda a: a.transpose(1, 0, 2)),
    "concat": (lambda x: tf.concat([x, x * 2.0], 2), lambda a: np.concatenate([a, a * 2], 2)),
    "concat axis=-2": (lambda x: tf.concat(values=[x, x], axis=-2), lambda a: np.concatenate([a, a], -2)),
    "stack": (lambda x: tf.stack([x, -x], axis=1), lambda a: np.stack([a, -a], 1)),
    "unstack": (lambda x: tf.unstack(x, axis=1)[2], lambda a: a[:, 2]),
    "split": (lambda x: tf.split(x, 2, axis=2)[1], lambda a: np.split(a, 2, 2)[1]),
    "split sizes": (lambda x: tf.split(x, [1, -1, 1], axis=2)[1], lambda a: a[..., 1:3]),
    "tile": (lambda x: tf.tile(x, [2, 1, 3]), lambda a: np.tile(a, [2, 1, 3])),
    "pad": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]]), lambda a: np.pad(a, [[0, 0], [1, 2], [0, 1]])),
    "pad with": (
        lambda x: tf.pad(x, tf.constant([[1, 0], [0, 2], [0, 0]]), constant_values=7.0),
        lambda a: np.pad(a, [[1, 0], [0, 2], [0, 0]], constant_values=7),
    ),
    "pad reflect": (
        lambda x: tf.pad(x, [[0, 0], [2, 1], [0, 3]], "REFLECT"),
        lambda a: np.pad(a, [[0, 0], [2, 1], [0, 3]], "reflect"),
    ),
    "pad symmetric": (
        lambda x: tf.pad(x, [[1, 0], [3, 1], [2, 2]], "SYMMETRIC"),
        lambda a: np.pad(a, [[1, 0], [3, 1], [2, 2]], "symmetric"),
    ),
    "reverse": (lambda x: tf.reverse(x, [0, -1]), lambda a: a[::-1, :, ::-1]),
    "roll": (lambda x: tf.roll(x, [1, 2], [0, 2]), lambda a: np.roll(a, [1, 2], [0, 2])),
    "broadcast_to": (lambda x: tf.broadcast_to(x, [3, 2, 3, 4]), lambda a: np.broadcast_to(a, [3, 2, 3, 4])),
    "repeat": (lambda x: tf.repeat(x, 2, axis=1), lambda a: np.repeat(a, 2, 1)),
    "cast": (lambda x: tf.cast(tf.cast(x / 5.0, tf.int32), tf.float32) + x, lambda a: np.trunc(a / 5) + a),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVEMENTS)
def test_movements(name):
    function, reference = MOVEMENTS[name]
    x = tf.placeholder(tf.float32, [None, 3, 4])
    free = tf.placeholder(tf.float32) if name not in ("unstack", "split sizes") else x
    y, z = function(x), function(free)
    weights = np.cos(np.arange(reference(DATA).size, dtype=np.float32)).reshape(reference(DATA).shape)
    slope = tf.gradients(y * weights, x)[0]
    with tf.Session() as session:
        found, freely, dx = session.run([y, z, slope], {x: DATA, **({free: DATA} if free is not x else {})})
    np.testing.assert_array_equal(found, reference(DATA))
    np.testing.assert_array_equal(freely, reference(DATA))
    assert y.shape.is_compatible_with(found.shape)
    if name != "cast":  # all others are linear
        step = np.zeros_like(DATA)
        step[1, 2, 1] = 1.0
        zero = reference(np.zeros_like(DATA))
        expected = ((reference(step) - zero) * weights).sum()
        np.testing.assert_allclose(dx[1, 2, 1], expected, rtol=1e-4, atol=1e-5)


CREATED = {
    "zeros": (lambda n: tf.zeros([n, 2]), lambda n: np.zeros((n, 2), np.float32)),
    "ones": (lambda n: tf.ones([2, n], tf.int32), lambda n: np.ones((2, n), np.int32)),
    "fill": (lambda n: tf.fill([n], 2.5), lambda n: np.full(n, 2.5, np.float32)),
    "fill of stack": (lambda n: tf.fill(tf.stack([n, 3]), True), lambda n: np.full((n, 3), True)),
    "range": (tf.range, lambda n: np.arange(n, dtype=np.int32)),
    "range of three": (lambda n: tf.range(1, n * 3, 2), lambda n: np.arange(1, n * 3, 2, dtype=np.int32)),
    "range of floats": (lambda n: tf.range(0.0, 1.0, 0.25), lambda n: np.arange(0, 1, 0.25, dtype=np.float32)),
    "linspace": (lambda n: tf.linspace(1.0, 3.0, n), lambda n: np.linspace(1, 3, n, dtype=np.float32)),
    "eye": (tf.eye, lambda n: np.eye(n, dtype=np.float32)),
    "eye of stack": (lambda n: tf.eye(2, 3, [n]), lambda n: np.tile(np.eye(2, 3, dtype=np.float32), [n, 1, 1])),
    "tile": (lambda n: tf.tile([[1, 2]], [n, 1]), lambda n: np.tile(np.array([[1, 2]], np.int32), [n, 1])),
    "one_hot": (lambda n: tf.one_hot([0, 2], n), lambda n: np.eye(n, dtype=np.float32)[[0, 2]]),
    "sequence_mask": (lambda n: tf.sequence_mask([1, 2], n), lambda n: np.arange(n) < np.array([[1], [2]])),
}  # fmt: skip


@pytest.mark.parametrize("name", CREATED)
def test_created_with_sizes_of_the_run_by_one_program(name):
    function, reference = CREATED[name]
    x = tf.placeholder(tf.float32, [None, 5])
    made = function(tf.shape(x)[0])
    with tf.Session() as session:
        for n in (3, 5, 7, 9, 8):
            found = session.run(made, {x: np.ones((n, 5))})
            np.testing.assert_allclose(found, reference(n), rtol=1e-6)
            assert found.dtype == reference(n).dtype
        (plan,) = set(session._plans.values())
        assert plan.static.captures <= 2  # for the first size, and for all
        fixed = function(4)
        found = session.run(fixed)
        np.testing.assert_allclose(found, reference(4), rtol=1e-6)
        assert fixed.shape.as_list() == list(found.shape)


def test_arithmetic_of_shapes():
    x = tf.placeholder(tf.float32, [None, None, None, 3])
    n, h, w, c = tf.unstack(tf.shape(x))
    rows = tf.reshape(x, tf.stack([n * h, w * c]))
    front = tf.reshape(x, tf.concat([tf.shape(x)[:1], [-1]], 0))
    pairs = tf.reshape(x, tf.concat([[n, h], [w * c]], axis=0))
    halves = x[:, : h // 2]
    like = tf.zeros(tf.shape(x)[1:3] * 2)
    with tf.Session() as session:
        for sizes in ((2, 4, 5, 3), (1, 6, 2, 3), (3, 2, 2, 3)):
            data = np.random.default_rng(0).normal(size=sizes).astype(np.float32)
            a, b, p, d, e = session.run([rows, front, pairs, halves, like], {x: data})
            np.testing.assert_array_equal(a, data.reshape(sizes[0] * sizes[1], -1))
            np.testing.assert_array_equal(b, data.reshape(sizes[0], -1))
            np.testing.assert_array_equal(p, data.reshape(sizes[0], sizes[1], -1))
            np.testing.assert_array_equal(d, data[:, : sizes[1] // 2])
            assert e.shape == (sizes[1] * 2, sizes[2] * 2)
            assert session.run([tf.size(x), tf.rank(x)], {x: data}) == [data.size, 4]
            shapes = session.run(tf.shape_n([x, x[0]]), {x: data})
            assert [s.tolist() for s in shapes] == [list(sizes), list(sizes[1:])]


def test_sizes_that_are_put_together_stay_known():
    x = tf.placeholder(tf.float32, [None, 6])
    n = tf.shape(x)[0]
    shapes = [
        tf.stack([n, 2, 3]),
        tf.concat([tf.shape(x)[:1], [2, 3]], 0),
        tf.concat([[n], tf.stack([2]), [3]], axis=0),
        [n, 2, 3],
    ]
    for shape in shapes:
        assert tf.reshape(x, shape).shape.as_list() == [None, 2, 3]
    assert tf.fill(tf.constant([2, 3]), 1.0).shape.as_list() == [2, 3]
    with tf.Session() as session:
        for y in session.run([tf.reshape(x, shape) for shape in shapes], {x: np.ones((4, 6))}):
            assert y.shape == (4, 2, 3)


def test_broadcast_shapes():
    assert tf.broadcast_static_shape([None, 3], [5, 1, 1]).as_list() == [5, None, 3]
    assert tf.broadcast_static_shape([None], [4]).as_list() == [4]
    with pytest.raises(ShapeError, match="do not fit together"):
        tf.broadcast_static_shape([2], [3])
    with tf.Session() as session:
        assert session.run(tf.broadcast_dynamic_shape(tf.constant([3, 1]), tf.constant([2, 1, 4]))).tolist() == [2, 3, 4]


def test_values_of_creations():
    with tf.Session() as session:
        assert session.run(tf.one_hot([[1], [-1]], 2, 5, -5, axis=1)).tolist() == [[[-5], [5]], [[-5], [-5]]]
        assert session.run(tf.one_hot([0], 2, on_value=True, off_value=False, dtype=tf.bool)).tolist() == [[True, False]]
        xs, ys = session.run(tf.meshgrid([1, 2, 3], [4, 5]))
        assert (xs.tolist(), ys.tolist()) == ([[1, 2, 3]] * 2, [[4, 4, 4], [5, 5, 5]])
        assert [v.shape for v in session.run(tf.meshgrid([1, 2, 3], [4, 5], indexing="ij"))] == [(3, 2)] * 2
        assert session.run(tf.ones_like([1, 2], tf.float32)).tolist() == [1.0, 1.0]
        assert session.run(tf.bitcast(tf.constant([1.0]), tf.int32)).tolist() == [1065353216]
        assert session.run(tf.saturate_cast([300.0, -5.0], tf.uint8)).tolist() == [255, 0]
        assert [v.dtype for v in session.run([tf.to_float(1), tf.to_int32(1.5), tf.to_int64(1), tf.to_double(1)])] == [
            np.float32, np.int32, np.int64, np.float64,
        ]  # fmt: skip


def test_mistakes():
    x = tf.zeros([2, 3])
    cases = {
        lambda: tf.tile(x, [2]): (ShapeError, "tile: 1 multiples"),
        lambda: tf.pad(x, [[1, 1]]): (ShapeError, "pad: paddings"),
        lambda: tf.pad(x, [[1, 1], [0, 0]], "EDGE"): (ArgumentError, "mode is 'EDGE'"),
        lambda: tf.split(x, 2, 1): (ShapeError, "no multiple of 2"),
        lambda: tf.split(x, [1, 1], 1): (ShapeError, "do not add up"),
        lambda: tf.squeeze(x, [0]): (ShapeError, "is 2, not 1"),
        lambda: tf.unstack(tf.placeholder(tf.float32)): (ArgumentError, "give num"),
        lambda: tf.meshgrid([1], indexing="yx"): (ArgumentError, "indexing"),
    }
    for call, (kind, text) in cases.items():
        with pytest.raises(kind, match=text):
            call()
