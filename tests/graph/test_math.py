"""Functions of numbers, reductions and running totals, against NumPy."""

import math

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


X = np.array([[0.3, -0.7, 0.9], [0.1, 0.5, -0.2]], np.float32)
POSITIVE = np.abs(X) + 1.5


def each(function):
    return np.vectorize(function, otypes=[np.float32])


UNARY = {
    "exp": (np.exp, X), "expm1": (np.expm1, X), "log": (np.log, POSITIVE), "log1p": (np.log1p, X), "sqrt": (np.sqrt, POSITIVE),
    "rsqrt": (lambda x: 1 / np.sqrt(x), POSITIVE), "square": (np.square, X), "reciprocal": (np.reciprocal, X), "sin": (np.sin, X),
    "cos": (np.cos, X), "tan": (np.tan, X), "asin": (np.arcsin, X), "acos": (np.arccos, X), "atan": (np.arctan, X),
    "sinh": (np.sinh, X), "cosh": (np.cosh, X), "tanh": (np.tanh, X), "asinh": (np.arcsinh, X), "acosh": (np.arccosh, POSITIVE),
    "atanh": (np.arctanh, X), "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), X), "erf": (each(math.erf), X),
    "erfc": (each(math.erfc), X), "lgamma": (each(math.lgamma), POSITIVE), "abs": (np.abs, X), "negative": (np.negative, X),
    "log_sigmoid": (lambda x: -np.log1p(np.exp(-x)), X),
}  # fmt: skip


def test_functions_of_elements_with_gradients():
    x = tf.placeholder(tf.float32, [None, 3])
    unknown = tf.placeholder(tf.float32)
    values = {name: getattr(tf.math, name)(x) for name in UNARY}
    slopes = {name: tf.gradients(y, x)[0] for name, y in values.items()}
    freely = {name: getattr(tf.math, name)(unknown) for name in UNARY}
    assert all(y.shape.as_list() == [None, 3] and y.dtype is tf.float32 for y in values.values())
    assert all(y.shape.ndims is None for y in freely.values())
    with tf.Session() as session:
        for data in (X, POSITIVE):
            names = [name for name, (_, given) in UNARY.items() if given is data]
            found, slope, free = session.run(
                [[part[name] for name in names] for part in (values, slopes, freely)], {x: data, unknown: data}
            )
            for name, y, dy, z in zip(names, found, slope, free):
                function, step = UNARY[name][0], 1e-3
                np.testing.assert_allclose(y, function(data), rtol=1e-5, atol=1e-6, err_msg=name)
                np.testing.assert_allclose(z, y, rtol=1e-6, err_msg=name)
                wide = data.astype(np.float64)
                expected = (function(wide + step).astype(np.float64) - function(wide - step)) / (2 * step)
                np.testing.assert_allclose(dy, expected, rtol=5e-3, atol=2e-3, err_msg=name)


def test_rounding_and_kinds_of_numbers():
    x = tf.placeholder(tf.float32, [None])
    data = np.array([-2.5, -0.5, 0.5, 1.5, np.inf, np.nan], np.float32)
    names = ["round", "rint", "floor", "ceil", "sign", "is_nan", "is_inf", "is_finite"]
    with tf.Session() as session:
        found = dict(zip(names, session.run([getattr(tf.math, name)(x) for name in names], {x: data})))
    for name, function in {"round": np.round, "rint": np.rint, "floor": np.floor, "ceil": np.ceil}.items():
        np.testing.assert_array_equal(found[name], function(data), err_msg=name)
    np.testing.assert_array_equal(found["sign"][:-1], np.sign(data[:-1]))
    np.testing.assert_array_equal(found["is_nan"], np.isnan(data))
    np.testing.assert_array_equal(found["is_inf"], np.isinf(data))
    np.testing.assert_array_equal(found["is_finite"], np.isfinite(data))


def test_functions_of_pairs():
    a, b = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    table = {
        "maximum": np.maximum, "minimum": np.minimum, "squared_difference": lambda x, y: (x - y) ** 2, "mod": np.mod,
        "floor_div": np.floor_divide, "div": np.floor_divide, "truncatediv": lambda x, y: np.trunc(x / y).astype(np.int32),
        "truncatemod": np.fmod, "truediv": np.true_divide, "equal": np.equal, "not_equal": np.not_equal,
    }  # fmt: skip
    x, y = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.int32, [None])
    made = [getattr(tf, name)(x, y) for name in table]
    with tf.Session() as session:
        for name, found in zip(table, session.run(made, {x: a, y: b})):
            np.testing.assert_allclose(found, table[name](a, b), err_msg=name)
            if name not in ("truediv",):
                assert found.dtype == table[name](a, b).dtype, name
        floats = tf.constant([7.0, -7.0])
        assert session.run([tf.truncatediv(floats, 2.0), tf.div(floats, 2.0), tf.maximum(floats, 0.0)])[0].tolist() == [3.0, -3.0]
        assert session.run(tf.atan2([1.0], [-1.0])) == pytest.approx(3 * math.pi / 4)


def test_division_without_nan_has_gradients_without_nan():
    x, y = tf.constant([1.0, 2.0]), tf.constant([0.0, 4.0])
    for function, expected in ((tf.div_no_nan, [0.0, 0.5]), (tf.math.multiply_no_nan, [0.0, 8.0])):
        z = function(x, y)
        with tf.Session() as session:
            assert session.run(z).tolist() == expected
            assert all(np.isfinite(g).all() for g in session.run(tf.gradients(z, [x, y])))
    zero = tf.constant(0.0)
    with tf.Session() as session:
        assert session.run([tf.math.xlogy(zero, 0.0), tf.math.xdivy(zero, zero)]) == [0.0, 0.0]


def test_sums_of_many():
    with tf.Session() as session:
        assert session.run(tf.add_n([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).tolist() == [9.0, 12.0]
        assert session.run(tf.accumulate_n([1, 2])) == 3
        assert session.run(tf.polyval([1.0, -2.0, 3.0], 2.0)) == 3.0
        assert session.run(tf.scalar_mul(2.0, [1.0, 2.0])).tolist() == [2.0, 4.0]
    with pytest.raises(ShapeError, match="has shape"):
        tf.add_n([tf.zeros_like(tf.constant([1.0])), tf.constant([1.0, 2.0])])
    with pytest.raises(ArgumentError, match="nothing to add"):
        tf.add_n([])


REDUCTIONS = {
    "reduce_sum": np.sum, "reduce_mean": np.mean, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min,
    "reduce_variance": np.var, "reduce_std": np.std,
    "reduce_logsumexp": lambda x, **o: np.log(np.sum(np.exp(x), **o)),
    "reduce_euclidean_norm": lambda x, **o: np.sqrt(np.sum(x * x, **o)),
}  # fmt: skip


@pytest.mark.parametrize("axis", [None, 0, -1, [0, 2], []])
def test_reductions(axis):
    data = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    x, free = tf.placeholder(tf.float32, [None, 3, 4]), tf.placeholder(tf.float32)
    over = tuple(axis) if isinstance(axis, list) else axis
    made = {name: [getattr(tf.math, name)(x, axis), getattr(tf.math, name)(free, axis, keepdims=True)] for name in REDUCTIONS}
    with tf.Session() as session:
        for name, (y, kept) in session.run(made, {x: data, free: data}).items():
            expected = REDUCTIONS[name](data, axis=over)
            np.testing.assert_allclose(y, expected, rtol=2e-5, atol=1e-5, err_msg=name)
            if axis != []:
                np.testing.assert_allclose(kept, REDUCTIONS[name](data, axis=over, keepdims=True), rtol=2e-5, atol=1e-5)
            assert made[name][0].shape.is_compatible_with(expected.shape)


def test_reductions_of_integers_and_booleans():
    x = tf.constant([[1, 2], [3, 5]])
    with tf.Session() as session:
        total, mean, product = session.run([tf.reduce_sum(x, 0), tf.reduce_mean(x), tf.reduce_prod(x, reduction_indices=[1])])
        assert (total.tolist(), total.dtype, mean, mean.dtype) == ([4, 7], np.int32, 2, np.int32)
        assert product.tolist() == [2, 15]
        assert session.run([tf.reduce_all(x > 1), tf.reduce_any(x > 4, axis=1, keep_dims=True)])[1].tolist() == [[False], [True]]
        assert session.run(tf.count_nonzero([[1, 0], [0, 2]], axis=0)).tolist() == [1, 1]
        found = session.run([tf.argmax(x), tf.argmin(x, 1, output_type=tf.int32), tf.argmax(x, dimension=1)])
        assert [v.tolist() for v in found] == [[1, 1], [0, 0], [1, 1]]
        assert [v.dtype for v in found] == [np.int64, np.int32, np.int64]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_totals(exclusive, reverse):
    data = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)
    x = tf.placeholder(tf.float32, [None, 3])
    options = {"exclusive": exclusive, "reverse": reverse}
    made = [tf.cumsum(x, 1, **options), tf.cumprod(x, 1, **options), tf.cumsum(x, **options)]
    slope = tf.gradients(made[1][:, 0], x)[0]

    def expected(function, first, axis):
        a = np.flip(data, axis) if reverse else data
        if exclusive:
            front = np.full_like(np.take(a, [0], axis), first)
            a = np.concatenate([front, np.take(a, range(a.shape[axis] - 1), axis)], axis)
        a = function(a, axis)
        return np.flip(a, axis) if reverse else a

    with tf.Session() as session:
        sums, products, down = session.run(made, {x: data})
        np.testing.assert_allclose(sums, expected(np.cumsum, 0, 1))
        np.testing.assert_allclose(products, expected(np.cumprod, 1, 1))
        np.testing.assert_allclose(down, expected(np.cumsum, 0, 0))
        assert np.isfinite(session.run(slope, {x: data})).all()
        assert session.run(made[0], {x: data[:0]}).shape == (0, 3)


def test_sizes_of_the_run_keep_being_numbers():
    x = tf.placeholder(tf.float32, [None, None, 2])
    sizes = tf.shape(x)
    flat = tf.reshape(x, [sizes[0], tf.reduce_prod(sizes[1:])])
    halves = tf.reshape(x, tf.shape(x)[:2] * [2, 1])
    with tf.Session() as session:
        for n, m in ((2, 3), (4, 1), (5, 7)):
            data = np.ones((n, m, 2), np.float32)
            assert session.run(flat, {x: data}).shape == (n, m * 2)
            assert session.run(halves, {x: data}).shape == (n * 2, m)
            assert session.run(tf.reduce_sum(sizes), {x: data}) == n + m + 2
