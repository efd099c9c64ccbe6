"""Factors of matrices, and systems of equations solved with them."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError

from .definition import Operand, operation

__all__ = [
    "lu", "lu_matrix_inverse", "lu_reconstruct", "lu_solve", "matrix_pinv", "matrix_rank", "matrix_solve_ls", "normalize",
    "tridiagonal_matmul", "tridiagonal_solve",
]  # fmt: skip


@operation("Lu", called="lu")
def lu(input: Operand, output_idx_type: Any = core.int32, name: str | None = None) -> Any:
    """(both triangles in one matrix, order of the rows): input[order] = L @ U, where L has ones on its diagonal.

    Shapes:   [*B, N, N] → [*B, N, N], [*B, N]

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.linalg.lu([[0.0, 1.0], [2.0, 3.0]])[1])
    array([1, 0], dtype=int32)
    """
    if input.shape[-1] != input.shape[-2]:
        raise ShapeError(f"lu: the matrices are {input.shape[-2]} x {input.shape[-1]}: expected as many rows as columns")
    order, low, high = dg.linalg.lu(input)
    return dg.tril(low, -1) + high, dg.argmax(order, -2).to(output_idx_type)


def _triangles(lower_upper: Any) -> tuple[Any, Any]:
    one = dg.eye(int(lower_upper.shape[-1]), dtype=lower_upper.dtype)
    return dg.tril(lower_upper, -1) + one, dg.triu(lower_upper)


def _rows(x: Any, order: Any) -> Any:
    index = order.to(core.int64).unsqueeze(-1)
    lead = list(x.shape[:-2])
    return dg.gather(x, -2, index.expand([*lead, *index.shape[-2:-1], x.shape[-1]]))


def _solved(lower_upper: Any, perm: Any, rhs: Any) -> Any:
    low, high = _triangles(lower_upper)
    inner = dg.linalg.solve_triangular(low, _rows(rhs, perm), upper=False, unitriangular=True)
    return dg.linalg.solve_triangular(high, inner, upper=True)


@operation("LuSolve", called="lu_solve")
def lu_solve(lower_upper: Operand, perm: Operand, rhs: Operand, validate_args: bool = False, name: str | None = None) -> Any:
    """x in A @ x = rhs, where `lu(A)` is (lower_upper, perm).

    Shapes:   rhs [*B, N, K] → [*B, N, K]
    """
    return _solved(lower_upper, perm, rhs)


@operation("LuMatrixInverse", called="lu_matrix_inverse")
def lu_matrix_inverse(lower_upper: Operand, perm: Operand, validate_args: bool = False, name: str | None = None) -> Any:
    """The inverse of A, where `lu(A)` is (lower_upper, perm)."""
    one = dg.eye(int(lower_upper.shape[-1]), dtype=lower_upper.dtype).expand(lower_upper.shape)
    return _solved(lower_upper, perm, one.clone())


@operation("LuReconstruct", called="lu_reconstruct")
def lu_reconstruct(lower_upper: Operand, perm: Operand, validate_args: bool = False, name: str | None = None) -> Any:
    """A, where `lu(A)` is (lower_upper, perm)."""
    low, high = _triangles(lower_upper)
    return _rows(low @ high, dg.argsort(perm.to(core.int64), -1))


@operation("MatrixPinv", called="pinv")
def matrix_pinv(a: Operand, rcond: Operand = None, validate_args: bool = False, name: str | None = None) -> Any:
    """Moore and Penrose's inverse; singular values below `rcond` times the greatest count as 0."""
    return dg.linalg.pinv(a, rtol=rcond)


@operation("MatrixRank", differentiable=False, called="matrix_rank")
def matrix_rank(a: Operand, tol: Operand = None, validate_args: bool = False, name: str | None = None) -> Any:
    """How many singular values are above `tol`: by default the greatest times N times the dtype's precision."""
    return dg.linalg.matrix_rank(a, atol=tol, rtol=0.0 if tol is not None else None).to(core.int32)


@operation("MatrixSolveLs", called="matrix_solve_ls")
def matrix_solve_ls(
    matrix: Operand, rhs: Operand, l2_regularizer: float = 0.0, fast: bool = True, name: str | None = None
) -> Any:
    """The x for which matrix @ x is nearest to rhs; with `l2_regularizer`, that times the squares of x counts, too.

    Shapes:   matrix [*B, M, N], rhs [*B, M, K] → [*B, N, K]
    """
    if rhs.ndim != matrix.ndim or rhs.ndim < 2:
        raise ShapeError(f"matrix_solve_ls: the matrix has {matrix.ndim} dimensions, rhs {rhs.ndim}")
    if not l2_regularizer:
        return dg.linalg.pinv(matrix) @ rhs
    tall = int(matrix.shape[-2]) >= int(matrix.shape[-1])
    side = matrix if tall else matrix.mT
    square = side.mT @ side + l2_regularizer * dg.eye(int(side.shape[-1]), dtype=matrix.dtype)
    return dg.linalg.solve(square, side.mT @ rhs) if tall else side @ dg.linalg.solve(square, rhs)


@operation("Normalize", called="normalize")
def normalize(tensor: Operand, ord: Any = "euclidean", axis: Any = None, name: str | None = None) -> Any:
    """(the tensor divided by its norm, the norm), along `axis`, a number or None for all dimensions."""
    if isinstance(axis, (list, tuple)) and len(axis) != 1:
        raise ArgumentError(f"normalize: axis = {axis}: norms of matrices are not there", hint="one axis, or None")
    dims = list(range(tensor.ndim)) if axis is None else [axis[0] if isinstance(axis, (list, tuple)) else axis]
    norm = dg.linalg.vector_norm(tensor, 2 if ord in ("euclidean", "fro") else ord, dims, True)
    return tensor / norm, norm


def _diagonals(diagonals: Any, format: str) -> Any:
    """The diagonals above, on and below the middle, each of N; or of a whole matrix, those."""
    if format == "compact":
        return diagonals.unbind(-2)
    if format == "sequence":
        return diagonals
    if format == "matrix":
        above, below = diagonals.diagonal(1, -2, -1), diagonals.diagonal(-1, -2, -1)
        pad = dg.nn.functional.pad
        return pad(above, [0, 1]), diagonals.diagonal(0, -2, -1), pad(below, [1, 0])
    raise ArgumentError(f"diagonals_format is {format!r}", hint='"compact" or "matrix"')


@operation("TridiagonalMatMul", called="tridiagonal_matmul")
def tridiagonal_matmul(diagonals: Operand, rhs: Operand, diagonals_format: str = "compact", name: str | None = None) -> Any:
    """The product of a matrix of three diagonals and rhs [*B, N, K]. Compact diagonals are [*B, 3, N]: above, on, below."""
    above, middle, below = (d.unsqueeze(-1) for d in _diagonals(diagonals, diagonals_format))
    pad = dg.nn.functional.pad
    after = pad(rhs.narrow(-2, 1, rhs.shape[-2] - 1), [0, 0, 0, 1])
    before = pad(rhs.narrow(-2, 0, rhs.shape[-2] - 1), [0, 0, 1, 0])
    return middle * rhs + above * after + below * before


@operation("TridiagonalSolve", called="tridiagonal_solve")
def tridiagonal_solve(
    diagonals: Operand,
    rhs: Operand,
    diagonals_format: str = "compact",
    transpose_rhs: bool = False,
    conjugate_rhs: bool = False,
    name: str | None = None,
    partial_pivoting: bool = True,
) -> Any:
    """x in A @ x = rhs, where A has three diagonals. rhs [*B, N] or [*B, N, K]."""
    above, middle, below = _diagonals(diagonals, diagonals_format)
    last = int(middle.shape[-1]) - 1
    matrix = dg.diag_embed(middle)
    if last:
        matrix = matrix + dg.diag_embed(above.narrow(-1, 0, last), 1) + dg.diag_embed(below.narrow(-1, 1, last), -1)
    column = rhs.ndim == middle.ndim
    found = dg.linalg.solve(matrix, rhs.unsqueeze(-1) if column else rhs.mT if transpose_rhs else rhs)
    return found.squeeze(-1) if column else found
