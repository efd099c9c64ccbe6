"""Linear algebra under `torch.linalg`'s names, of matrices and of batches of them (all dimensions but the last two).

Norms and products are operators. What factorises a matrix is computed by NumPy's LAPACK: a static program calls Python for
it, and its gradient is made of operators. There are no complex numbers, and so `eig` is refused.
"""

from .decompositions import cholesky, eigh, eigvalsh, householder_product, qr, svd, svdvals
from .determinants import det, logdet, slogdet
from .exponentials import matrix_exp
from .host import LinAlgError
from .lu import lu, lu_factor, lu_factor_ex, lu_solve
from .norms import cond, cross, diagonal, matmul, matrix_norm, matrix_power, multi_dot, norm, vander, vecdot, vector_norm
from .ranks import matrix_rank, pinv
from .solutions import lstsq, tensorinv, tensorsolve
from .systems import inv, solve, solve_triangular
from .with_info import cholesky_ex, eig, eigvals, inv_ex, solve_ex

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "logdet",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]
