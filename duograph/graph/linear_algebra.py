"""Matrices: products, diagonals, decompositions and systems of equations, under TensorFlow's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duograph as dg
from duograph.errors import ShapeError

from .definition import Numbers, Operand, Operands, operation
from .elements import Tensor
from .slicing import as_numbers

__all__ = [
    "cholesky", "cholesky_solve", "cross", "diag", "diag_part", "einsum", "logdet", "matrix_band_part", "matrix_determinant",
    "matrix_diag", "matrix_diag_part", "matrix_exponential", "matrix_inverse", "matrix_set_diag", "matrix_solve",
    "matrix_transpose", "matrix_triangular_solve", "matvec", "norm", "qr", "self_adjoint_eig", "self_adjoint_eigvals", "slogdet",
    "svd", "tensordot", "trace",
]  # fmt: skip


def _of_matrix(type: str, function: Callable[[Any], Any], text: str) -> Callable[..., Any]:
    """The operation that computes a function of matrices, or of each of a stack of them."""

    def compute(input: Operand, name: str | None = None) -> Any:
        return function(input)

    compute.__name__ = compute.__qualname__ = type.lower()
    compute.__doc__ = text + "\n\n    Errors:   ShapeError for what is no matrix, or not square where it must be"
    return operation(type, aliases={"x": "input", "diagonal": "input", "matrix": "input", "tensor": "input", "a": "input"})(
        compute
    )


def _eig(x: Any) -> Any:
    values, vectors = dg.linalg.eigh(x)
    return values, vectors


def _embedded(x: Any) -> Any:
    sizes = list(x.shape)
    return dg.diag(x.reshape([-1])).reshape(sizes * 2) if sizes else x


def _main_diagonal(x: Any) -> Any:
    half = x.ndim // 2
    if x.ndim % 2 or not x.ndim:
        raise ShapeError(f"diag_part: the shape {tuple(x.shape)} is not made of twice the same sizes")
    count = 1
    for length in x.shape[:half]:
        count = count * length
    return dg.diagonal(x.reshape([count, count])).reshape(list(x.shape[:half]))


cholesky = _of_matrix("Cholesky", dg.linalg.cholesky, "The lower triangular L with L Lᵀ = input, which is positive definite.")
matrix_determinant = _of_matrix("MatrixDeterminant", dg.linalg.det, "The determinant.")
matrix_exponential = _of_matrix("MatrixExponential", dg.linalg.matrix_exp, "The exponential of a matrix.")
logdet = _of_matrix(
    "LogDet",
    lambda x: 2.0 * dg.log(dg.diagonal(dg.linalg.cholesky(x), 0, -2, -1)).sum(-1),
    "The logarithm of the determinant of a positive definite matrix.",
)
slogdet = _of_matrix(
    "LogMatrixDeterminant",
    lambda x: tuple(dg.linalg.slogdet(x)),
    "(the sign, the logarithm of the absolute value) of the determinant.",
)
matrix_diag = _of_matrix("MatrixDiag", dg.diag_embed, "Matrices with the given diagonals, and 0 elsewhere.")
matrix_diag_part = _of_matrix("MatrixDiagPart", lambda x: dg.diagonal(x, 0, -2, -1), "The diagonals of matrices.")
trace = _of_matrix("Trace", lambda x: dg.diagonal(x, 0, -2, -1).sum(-1), "The sums of the diagonals of matrices.")
self_adjoint_eig = _of_matrix("SelfAdjointEig", _eig, "(eigenvalues, eigenvectors in columns) of a symmetric matrix, rising.")
self_adjoint_eigvals = _of_matrix("SelfAdjointEigvals", dg.linalg.eigvalsh, "The eigenvalues of a symmetric matrix, rising.")
diag = _of_matrix("Diag", _embedded, "A tensor of twice the dimensions, with the input on its diagonal.")
diag_part = _of_matrix("DiagPart", _main_diagonal, "The diagonal of a tensor whose sizes are twice the same.")
_transposed = _of_matrix("MatrixTranspose", lambda x: x.mT, "The matrices with rows and columns exchanged.")


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """The matrices with rows and columns exchanged."""
    made: Tensor = _transposed(a, name=name)
    return made


@operation("MatrixInverse")
def matrix_inverse(input: Operand, adjoint: bool = False, name: str | None = None) -> Any:
    """The inverse of a matrix, or of each of a stack."""
    found = dg.linalg.inv(input)
    return found.mT if adjoint else found


@operation("MatrixSolve")
def matrix_solve(matrix: Operand, rhs: Operand, adjoint: bool = False, name: str | None = None) -> Any:
    """The X with matrix X = rhs."""
    return dg.linalg.solve(matrix.mT if adjoint else matrix, rhs)


@operation("MatrixTriangularSolve")
def matrix_triangular_solve(
    matrix: Operand, rhs: Operand, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Any:
    """The X with matrix X = rhs, where only the lower (or upper) triangle of the matrix is looked at."""
    return dg.linalg.solve_triangular(matrix.mT if adjoint else matrix, rhs, upper=lower == adjoint)


@operation("CholeskySolve")
def cholesky_solve(chol: Operand, rhs: Operand, name: str | None = None) -> Any:
    """The X with A X = rhs, where chol is the result of `cholesky(A)`."""
    first = dg.linalg.solve_triangular(chol, rhs, upper=False)
    return dg.linalg.solve_triangular(chol.mT, first, upper=True)


@operation("Qr")
def qr(input: Operand, full_matrices: bool = False, name: str | None = None) -> Any:
    """(Q with orthonormal columns, R upper triangular) with Q R = input."""
    q, r = dg.linalg.qr(input, "complete" if full_matrices else "reduced")
    return q, r


@operation("Svd")
def _svd(tensor: Operand, full_matrices: bool, compute_uv: bool, name: str | None = None) -> Any:
    if not compute_uv:
        return dg.linalg.svdvals(tensor)
    u, s, vh = dg.linalg.svd(tensor, full_matrices)
    return s, u, vh.mT


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """(singular values s, falling; u; v) with u diag(s) vᵀ = tensor; without `compute_uv` only s."""
    return _svd(tensor, full_matrices, compute_uv, name=name)


@operation("MatrixBandPart")
def matrix_band_part(input: Operand, num_lower: int, num_upper: int, name: str | None = None) -> Any:
    """Matrices with 0 outside of a band: so many diagonals below and above the main one stay, all for -1."""
    found = input if num_lower < 0 else dg.triu(input, -num_lower)
    return found if num_upper < 0 else dg.tril(found, num_upper)


@operation("MatrixSetDiag")
def matrix_set_diag(input: Operand, diagonal: Operand, name: str | None = None) -> Any:
    """Matrices with other diagonals."""
    return dg.diagonal_scatter(input, diagonal, 0, -2, -1)


@operation("Cross")
def cross(a: Operand, b: Operand, name: str | None = None) -> Any:
    """The cross product of vectors of 3 along the last dimension."""
    return dg.linalg.cross(a, b, dim=-1)


@operation("MatVec")
def matvec(a: Operand, b: Operand, transpose_a: bool = False, adjoint_a: bool = False, name: str | None = None) -> Any:
    """The products of matrices with vectors."""
    return dg.matmul(a.mT if transpose_a or adjoint_a else a, b.unsqueeze(-1)).squeeze(-1)


@operation("Tensordot")
def tensordot(a: Operand, b: Operand, axes: Numbers, name: str | None = None) -> Any:
    """Sums of products over the last `axes` dimensions of a and the first of b, or over the listed dimensions of each."""
    if isinstance(axes, (list, tuple)):
        left, right = (list(x) if isinstance(x, (list, tuple)) else [x] for x in (as_numbers(part) for part in axes))
        return dg.tensordot(a, b, (left, right))
    return dg.tensordot(a, b, axes)


@operation("Einsum")
def _einsum(equation: str, inputs: Operands, name: str | None = None) -> Any:
    return dg.einsum(equation, *inputs)


def einsum(equation: str, *inputs: Any, name: str | None = None) -> Tensor:
    """Sums of products of elements, as an equation says: dimensions have letters; what the result lacks is summed.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0])).tolist()
    [21.0, 43.0]
    """
    made: Tensor = _einsum(equation, list(inputs), name=name)
    return made


_ORDERS = {"euclidean": 2, "fro": "fro", "inf": float("inf")}


@operation("Norm")
def norm(tensor: Operand, ord: Any = "euclidean", axis: Numbers = None, keepdims: Any = None, name: str | None = None) -> Any:
    """The length of vectors (axis: one dimension, or None for the whole tensor) or of matrices (axis: two dimensions).

    Args:
        ord: "euclidean", "fro" (matrices), 1, 2, inf or, for vectors, any positive number.
    """
    order: Any = _ORDERS.get(ord, ord) if isinstance(ord, str) else ord
    dims = as_numbers(axis)
    if isinstance(dims, (list, tuple)) and len(dims) == 2:
        return dg.linalg.matrix_norm(tensor, "fro" if ord == "euclidean" else order, tuple(dims), bool(keepdims))
    return dg.linalg.vector_norm(tensor, 2 if order == "fro" else order, dims, bool(keepdims))
