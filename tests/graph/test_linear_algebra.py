"""Matrices, against NumPy."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ShapeError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


A = np.random.default_rng(2).normal(size=(2, 3, 3)).astype(np.float32) + 3 * np.eye(3, dtype=np.float32)
S = A @ A.swapaxes(-1, -2)
B = np.random.default_rng(3).normal(size=(2, 3, 2)).astype(np.float32)
L = np.linalg.cholesky(S)

CASES = {
    "matrix_inverse": (lambda: tf.matrix_inverse(A), np.linalg.inv(A)),
    "matrix_determinant": (lambda: tf.matrix_determinant(A), np.linalg.det(A)),
    "cholesky": (lambda: tf.cholesky(S), L),
    "cholesky_solve": (lambda: tf.cholesky_solve(L, B), np.linalg.solve(S, B)),
    "matrix_solve": (lambda: tf.matrix_solve(A, B, adjoint=True), np.linalg.solve(A.swapaxes(-1, -2), B)),
    "matrix_triangular_solve": (lambda: tf.matrix_triangular_solve(A, B), np.linalg.solve(np.tril(A), B)),
    "upper, adjoint": (
        lambda: tf.linalg.triangular_solve(A, B, lower=False, adjoint=True),
        np.linalg.solve(np.triu(A).swapaxes(-1, -2), B),
    ),
    "svd": (lambda: tf.svd(A, compute_uv=False), np.linalg.svd(A, compute_uv=False)),
    "eigvals": (lambda: tf.self_adjoint_eigvals(S), np.linalg.eigvalsh(S)),
    "logdet": (lambda: tf.linalg.logdet(S), np.log(np.linalg.det(S))),
    "band_part": (lambda: tf.matrix_band_part(A, 1, 0), np.tril(A) - np.tril(A, -2)),
    "band_part all": (lambda: tf.matrix_band_part(A, -1, 0), np.tril(A)),
    "matrix_diag": (lambda: tf.matrix_diag(A[0]), np.stack([np.diag(row) for row in A[0]])),
    "matrix_diag_part": (lambda: tf.matrix_diag_part(A), np.diagonal(A, 0, -2, -1)),
    "set_diag": (lambda: tf.matrix_set_diag(A, np.ones((2, 3), np.float32)), A * (1 - np.eye(3)) + np.eye(3)),
    "diag": (lambda: tf.diag_part(tf.diag(A[0])), A[0]),
    "trace": (lambda: tf.trace(A), np.trace(A, axis1=-2, axis2=-1)),
    "transpose": (lambda: tf.matrix_transpose(B), B.swapaxes(-1, -2)),
    "matvec": (lambda: tf.linalg.matvec(A, B[..., 0]), np.einsum("bij,bj->bi", A, B[..., 0])),
    "cross": (lambda: tf.cross(A[0], A[1]), np.cross(A[0], A[1])),
    "tensordot": (lambda: tf.tensordot(A, B, [[0, 2], [0, 1]]), np.tensordot(A, B, [[0, 2], [0, 1]])),
    "tensordot 1": (lambda: tf.tensordot(A, B[0], 1), np.tensordot(A, B[0], 1)),
    "einsum": (lambda: tf.einsum("bij,bjk->bik", A, B), A @ B),
    "norm": (lambda: tf.norm(A), np.sqrt((A * A).sum())),
    "norm of vectors": (lambda: tf.norm(A, 1, axis=-1, keepdims=True), np.abs(A).sum(-1, keepdims=True)),
    "norm of matrices": (lambda: tf.norm(A, axis=[-2, -1]), np.linalg.norm(A, axis=(-2, -1))),
    "norm inf": (lambda: tf.norm(A, np.inf, axis=1), np.abs(A).max(1)),
}


def test_matrices():
    with tf.Session() as session:
        for (name, (_, expected)), found in zip(CASES.items(), session.run([make() for make, _ in CASES.values()])):
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4, err_msg=name)


def test_decompositions():
    q, r = tf.qr(B)
    s, u, v = tf.svd(B)
    values, vectors = tf.self_adjoint_eig(S)
    with tf.Session() as session:
        q, r, s, u, v, values, vectors = session.run([q, r, s, u, v, values, vectors])
    np.testing.assert_allclose(q @ r, B, atol=1e-5)
    np.testing.assert_allclose((u * s[:, None, :]) @ v.swapaxes(-1, -2), B, atol=1e-5)
    np.testing.assert_allclose(vectors * values[:, None, :], S @ vectors, rtol=1e-3, atol=1e-3)


def test_gradients_and_unknown_sizes():
    x = tf.placeholder(tf.float32, [None, None])
    logdet = tf.linalg.logdet(tf.matmul(x, x, transpose_b=True))
    slope = tf.gradients(logdet, x)[0]
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(slope, {x: A[0]}), 2 * np.linalg.inv(A[0]).T, rtol=1e-3, atol=1e-4)
    with pytest.raises(ShapeError):
        tf.matrix_inverse(tf.zeros([2, 3]))
