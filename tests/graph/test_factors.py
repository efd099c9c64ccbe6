"""Factors of matrices in graphs, against NumPy; functions of few elements; random tensors that are functions of a seed."""

import math

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, ShapeError

DRAWN = np.random.default_rng(0)
SQUARE, TALL, RIGHT = (DRAWN.standard_normal(s).astype(np.float32) for s in ((4, 4), (6, 3), (6, 2)))


@pytest.fixture(autouse=True)
def session():
    with tf.Graph().as_default(), tf.Session() as made:
        yield made


def test_triangles_and_what_is_solved_with_them(session):
    factors, order = tf.linalg.lu(SQUARE)
    rhs = np.ones((4, 2), np.float32)
    again, solved, inverse = session.run(
        [
            tf.linalg.lu_reconstruct(factors, order),
            tf.linalg.lu_solve(factors, order, rhs),
            tf.linalg.lu_matrix_inverse(factors, order),
        ]
    )
    np.testing.assert_allclose(again, SQUARE, atol=1e-5)
    np.testing.assert_allclose(solved, np.linalg.solve(SQUARE, rhs), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(inverse, np.linalg.inv(SQUARE), rtol=1e-3, atol=1e-4)


def test_least_squares_ranks_and_norms(session):
    nearest = np.linalg.lstsq(TALL, RIGHT, rcond=None)[0]
    held = np.linalg.solve(TALL.T @ TALL + 0.5 * np.eye(3), TALL.T @ RIGHT)
    np.testing.assert_allclose(session.run(tf.linalg.lstsq(TALL, RIGHT)), nearest, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(session.run(tf.matrix_solve_ls(TALL, RIGHT, 0.5)), held, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(session.run(tf.linalg.pinv(TALL)), np.linalg.pinv(TALL), rtol=1e-3, atol=1e-5)
    assert session.run(tf.linalg.matrix_rank(np.outer(TALL[0], TALL[1]).astype(np.float32))) == 1
    parts, norm = session.run(tf.linalg.normalize(TALL, axis=1))
    np.testing.assert_allclose(parts * norm, TALL, rtol=1e-6)


def test_matrices_of_three_diagonals(session):
    diagonals = DRAWN.standard_normal((3, 5)).astype(np.float32) + np.array([[0], [5], [0]], np.float32)
    whole = np.diag(diagonals[1]) + np.diag(diagonals[0, :-1], 1) + np.diag(diagonals[2, 1:], -1)
    rhs = DRAWN.standard_normal((5, 2)).astype(np.float32)
    product, found = session.run([tf.linalg.tridiagonal_matmul(diagonals, rhs), tf.linalg.tridiagonal_solve(diagonals, rhs)])
    np.testing.assert_allclose(product, whole @ rhs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole @ found, rhs, rtol=1e-4, atol=1e-5)


def test_functions_of_elements(session):
    x = np.array([-2.0, 0.0, 0.5], np.float32)
    math_ = tf.math
    assert session.run(math_.reciprocal_no_nan(x)).tolist() == [-0.5, 0.0, 2.0]
    assert session.run(math_.divide_no_nan(1.0, x)).tolist() == [-0.5, 0.0, 2.0]
    assert session.run([math_.real(x), math_.conj(x)])[1].tolist() == x.tolist() and not session.run(math_.imag(x)).any()
    np.testing.assert_allclose(session.run(math_.angle(x)), [math.pi, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(session.run(math_.erfcinv(1.5)), -0.476936, rtol=1e-5)
    np.testing.assert_allclose(session.run(math_.xlog1py(x, 1.0)), x * math.log(2), rtol=1e-6)


def test_numbers_that_are_functions_of_a_seed(session):
    random = tf.random
    seed = tf.placeholder(tf.int32, [2])
    uniform = random.stateless_uniform([20000], seed)
    first, again, other = (session.run(uniform, {seed: s}) for s in ([1, 2], [1, 2], [1, 3]))
    assert (first == again).all() and abs(np.corrcoef(first, other)[0, 1]) < 0.03
    assert 0 <= first.min() < 0.001 and 0.999 < first.max() < 1 and abs(first.mean() - 0.5) < 0.01
    normal, cut, whole, classes = session.run(
        [
            random.stateless_normal([20000], [3, 4]),
            random.stateless_truncated_normal([20000], [3, 4]),
            random.stateless_uniform([20000], [5, 6], 0, 10, tf.int32),
            random.stateless_categorical([[0.0, 1.0]], 20000, [7, 8]),
        ]
    )
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03 and np.abs(cut).max() <= 2
    assert np.bincount(whole).min() > 1800 and len(np.bincount(whole)) == 10
    assert abs(classes.mean() - 1 / (1 + math.exp(-1))) < 0.02
    with pytest.raises(ShapeError, match="two integers"):
        random.stateless_uniform([2], 3)
    with pytest.raises(ArgumentError, match="maxval is missing"):
        random.stateless_uniform([2], [1, 2], dtype=tf.int32)
