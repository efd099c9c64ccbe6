"""Elements by their places: values against NumPy, shapes that are partly known, sizes that each run gives, gradients."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, GraphError, ShapeError


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def run(fetches, feeds=None):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feeds or {})


# name: (of a graph tensor, of an array), for X
OF_A_TENSOR = {
    "slice": (lambda x: tf.slice(x, [0, 1, 1], [-1, 2, 1]), lambda x: x[:, 1:3, 1:2]),
    "strided_slice": (lambda x: tf.strided_slice(x, [0, 0, 1], [1, 3, 4], [1, 2, 2]), lambda x: x[0:1, ::2, 1::2]),
    "strided_slice masks": (
        lambda x: tf.strided_slice(x, [1, 0, 0], [2, 9, 2], begin_mask=2, end_mask=2, shrink_axis_mask=1),
        lambda x: x[1, :, :2],
    ),
    "gather": (lambda x: tf.gather(x, [1, 0, 1]), lambda x: x[[1, 0, 1]]),
    "gather axis": (lambda x: tf.gather(x, [[2, 0], [1, 1]], axis=1), lambda x: np.take(x, [[2, 0], [1, 1]], 1)),
    "gather one": (lambda x: tf.gather(x, 2, axis=-1), lambda x: x[..., 2]),
    "gather batch_dims": (
        lambda x: tf.gather(x, [[2, 0], [1, 1]], batch_dims=1),
        lambda x: np.stack([x[0][[2, 0]], x[1][[1, 1]]]),
    ),
    "gather batch_dims and axis": (
        lambda x: tf.gather(x, [[2, 0], [1, 1]], axis=2, batch_dims=1),
        lambda x: np.stack([x[0][:, [2, 0]], x[1][:, [1, 1]]]),
    ),
    "batch_gather": (lambda x: tf.batch_gather(x, [[2, 0], [1, 1]]), lambda x: np.stack([x[0][[2, 0]], x[1][[1, 1]]])),
    "gather_nd": (lambda x: tf.gather_nd(x, [[0, 1], [1, 2]]), lambda x: x[[0, 1], [1, 2]]),
    "gather_nd whole": (lambda x: tf.gather_nd(x, [[[0, 1, 3]], [[1, 2, 0]]]), lambda x: np.array([[x[0, 1, 3]], [x[1, 2, 0]]])),
    "gather_nd batch_dims": (lambda x: tf.gather_nd(x, [[2], [0]], batch_dims=1), lambda x: np.stack([x[0, 2], x[1, 0]])),
    "where": (lambda x: tf.where(x > 5.0, x, -x), lambda x: np.where(x > 5, x, -x)),
    "where rows": (lambda x: tf.where([True, False], x, -x), lambda x: np.stack([x[0], -x[1]])),
    "where number": (lambda x: tf.where(x > 5.0, x, tf.zeros_like(x)), lambda x: np.where(x > 5, x, 0)),
    "where places": (lambda x: tf.where(x > 20.0), lambda x: np.argwhere(x > 20)),
}


@pytest.mark.parametrize("name", OF_A_TENSOR)
@pytest.mark.parametrize("shape", [(2, 3, 4), (None, 3, None), None])
def test_of_a_tensor(name, shape):
    ours, numpys = OF_A_TENSOR[name]
    x = tf.placeholder(tf.float32, shape)
    made, wanted = ours(x), numpys(X)
    assert made.shape.is_compatible_with(wanted.shape)
    if shape is not None and None not in shape and name != "where places":
        assert made.shape.as_list() == list(wanted.shape)
    found = run(made, {x: X})
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


MADE = {
    "scatter_nd": (lambda: tf.scatter_nd([[1], [1], [3]], [1.0, 2.0, 5.0], [5]), np.float32([0, 3, 0, 5, 0])),
    "scatter_nd rows": (
        lambda: tf.scatter_nd(tf.constant([[2], [0]]), tf.ones([2, 2], tf.int32), tf.constant([3, 2])),
        np.int32([[1, 1], [0, 0], [1, 1]]),
    ),
    "tensor_scatter_update": (
        lambda: tf.tensor_scatter_update(tf.ones([3, 2]), [[1]], [[4.0, 5.0]]),
        np.float32([[1, 1], [4, 5], [1, 1]]),
    ),
    "tensor_scatter_add": (lambda: tf.tensor_scatter_add(tf.ones([3]), [[1], [1]], [4.0, 5.0]), np.float32([1, 10, 1])),
    "tensor_scatter_sub": (lambda: tf.tensor_scatter_sub(tf.ones([3]), [[1], [1]], [4.0, 5.0]), np.float32([1, -8, 1])),
}


@pytest.mark.parametrize("name", MADE)
def test_made(name):
    make, wanted = MADE[name]
    made = make()
    found = run(made)
    assert found.dtype == wanted.dtype and made.shape.is_compatible_with(found.shape)
    np.testing.assert_array_equal(found, wanted)


OF_SIZES = {
    "slice": (lambda x, n: tf.slice(x, [n - 1, 0], [1, 2]), lambda x: x[-1:, :2]),
    "slice of sizes": (lambda x, n: tf.ones(tf.slice(tf.shape(x), [0], [1])), lambda x: np.ones(len(x))),
    "gather": (lambda x, n: tf.gather(x, tf.range(n) // 2), lambda x: x[np.arange(len(x)) // 2]),
    "gather_nd": (
        lambda x, n: tf.gather_nd(x, tf.stack([tf.range(n), tf.zeros([n], tf.int32)], 1)),
        lambda x: x[:, 0],
    ),
    "scatter_nd": (lambda x, n: tf.scatter_nd([[1]], [3.0], [n]), lambda x: np.eye(len(x))[1] * 3),
}


@pytest.mark.parametrize("name", OF_SIZES)
def test_one_program_serves_all_sizes(name):
    make, wanted = OF_SIZES[name]
    x = tf.placeholder(tf.float32, [None, 3])
    made = make(x, tf.shape(x)[0])
    with tf.Session() as session:
        for n in (4, 2, 5, 7, 3):
            value = np.arange(3.0 * n, dtype=np.float32).reshape(n, 3)
            np.testing.assert_array_equal(session.run(made, {x: value}), wanted(value))
        (plan,) = set(session._plans.values())
        assert plan.static.handler.captures <= 3


@pytest.mark.parametrize("shape", [[None, 3], None])
def test_gradients_come_through(shape):
    x = tf.placeholder(tf.float32, shape)
    parts = [
        tf.gather(x, [1, 1]), tf.where(x > 2.0, x, x * 2.0), tf.gather_nd(x, [[0, 1]]), tf.slice(x, [0, 0], [1, 1]),
        tf.tensor_scatter_update(x, [[0]], [[1.0, 1.0, 1.0]]),
    ]  # fmt: skip
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = run([tf.gradients(part, x)[0] for part in parts], {x: value})
    wanted = [
        [[0, 0, 0], [2, 2, 2]], np.where(value > 2, 1, 2), [[0, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [1, 1, 1]],
    ]  # fmt: skip
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(a, b)


def test_mistakes_are_named():
    x = tf.zeros([2, 4])
    with pytest.raises(ShapeError, match="outside of dimension 1"):
        tf.slice(x, [0, 2], [1, 3])
    with pytest.raises(ArgumentError, match="x and y"):
        tf.where(x > 0.0, x)


ROWS = np.arange(1.0, 9.0, dtype=np.float32).reshape(4, 2)
EDGES = [[3.5, 3.5], [9.0, 0.0]]


def put(places, values):
    return lambda x: x.__setitem__(places, values)


def changed(change):
    value = ROWS.copy()
    change(value)
    return value


SCATTERED = {
    "update": (lambda v: tf.scatter_update(v, [0, 2], [[9.0, 9.0], [7.0, 7.0]]), put([0, 2], [[9, 9], [7, 7]])),
    "add": (lambda v: tf.scatter_add(v, [1, 1], tf.ones([2, 2])), lambda x: np.add.at(x, [1, 1], 1)),
    "add one row": (lambda v: tf.scatter_add(v, 1, [1.0, 2.0]), lambda x: np.add.at(x, 1, [1, 2])),
    "sub": (lambda v: tf.scatter_sub(v, [[3], [0]], 2.0), lambda x: np.subtract.at(x, [3, 0], 2)),
    "mul": (lambda v: tf.scatter_mul(v, [1, 1], [[2.0, 2.0], [3.0, 3.0]]), lambda x: np.multiply.at(x, 1, 6)),
    "div": (lambda v: tf.scatter_div(v, [1], [[2.0, 4.0]]), lambda x: np.divide.at(x, 1, [2, 4])),
    "max": (lambda v: tf.scatter_max(v, [1, 2], EDGES), lambda x: np.maximum.at(x, [1, 2], EDGES)),
    "min": (lambda v: tf.scatter_min(v, [1, 2], EDGES), lambda x: np.minimum.at(x, [1, 2], EDGES)),
    "nd update": (lambda v: tf.scatter_nd_update(v, [[1, 0], [3, 1]], [5.0, 6.0]), put(([1, 3], [0, 1]), [5, 6])),
    "nd add": (lambda v: tf.scatter_nd_add(v, [[1], [1]], tf.ones([2, 2])), lambda x: np.add.at(x, [1, 1], 1)),
    "nd sub": (lambda v: tf.scatter_nd_sub(v, [[1, 1]], [3.0]), lambda x: np.subtract.at(x, ([1], [1]), 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", SCATTERED)
def test_variables_are_changed_in_places(name):
    make, change = SCATTERED[name]
    variable = tf.Variable(ROWS, name="rows")
    made = make(variable)
    wanted = changed(change)
    assert made.shape.as_list() == [4, 2]
    with tf.Session() as session:
        session.run(variable.initializer)
        np.testing.assert_allclose(session.run(made), wanted, rtol=1e-6)
        np.testing.assert_allclose(session.run(variable), wanted, rtol=1e-6)
        session.run(made)
        change(wanted)
        np.testing.assert_allclose(session.run(variable), wanted, rtol=1e-6)


def test_rows_of_whole_numbers_are_counted():
    count = tf.Variable([0, 0, 0], name="count")
    which = tf.placeholder(tf.int32, [None])
    step = tf.scatter_add(count, which, tf.ones_like(which))
    with tf.Session() as session:
        session.run(count.initializer)
        for fed in ([0, 0], [1], [2, 1, 0, 0]):
            session.run(step.op, {which: fed})
        assert session.run(count).tolist() == [4, 2, 1]


def test_only_variables_are_changed_in_places():
    with pytest.raises(GraphError, match="is no variable"):
        tf.scatter_add(tf.zeros([3]), [0], [1.0])
