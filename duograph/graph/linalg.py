"""`tf.linalg`: matrices, by the names that they have there."""

from .arithmetic import matmul as matmul
from .clipping import global_norm as global_norm
from .creation import eye as eye
from .factors import *
from .factors import matrix_pinv as pinv
from .factors import matrix_solve_ls as lstsq
from .linear_algebra import *
from .linear_algebra import diag as tensor_diag
from .linear_algebra import diag_part as tensor_diag_part
from .linear_algebra import matrix_band_part as band_part
from .linear_algebra import matrix_determinant as det
from .linear_algebra import matrix_diag as diag
from .linear_algebra import matrix_diag_part as diag_part
from .linear_algebra import matrix_exponential as expm
from .linear_algebra import matrix_inverse as inv
from .linear_algebra import matrix_set_diag as set_diag
from .linear_algebra import matrix_solve as solve
from .linear_algebra import matrix_transpose as adjoint
from .linear_algebra import matrix_transpose as transpose
from .linear_algebra import matrix_triangular_solve as triangular_solve
from .linear_algebra import self_adjoint_eig as eigh
from .linear_algebra import self_adjoint_eigvals as eigvalsh
from .nn import l2_normalize as l2_normalize

__all__ = [
    "adjoint", "band_part", "det", "diag", "diag_part", "eigh", "eigvalsh", "expm", "eye", "inv", "lstsq", "matmul", "pinv",
    "set_diag", "solve",
    "tensor_diag", "tensor_diag_part", "transpose", "triangular_solve",
]  # fmt: skip
