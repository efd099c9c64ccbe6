"""Factorisations that say in `info` which matrices they failed for, and what has no real answer."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _core as core
from ..autograd import Function
from ..errors import DTypeError
from ..ops.arguments import under_autocast
from .decompositions import cholesky_gradient
from .host import LinAlgError, check, lapack, transposed
from .lu import eliminated, flattened
from .systems import identity, solve, systems

Tensor = core.Tensor


class Cholesky(NamedTuple):
    """The factor, and 0 or the order of the first leading minor that is not positive definite."""

    L: Any
    info: Any


class Inverse(NamedTuple):
    """The inverse, and 0 or the first position (from 1) at which the diagonal of U in x = P @ L @ U is 0."""

    inverse: Any
    info: Any


class Solution(NamedTuple):
    """The solution, and 0 or the first position (from 1) at which the diagonal of U in a = P @ L @ U is 0."""

    result: Any
    info: Any


def _lower(numpy: Any, x: Any) -> tuple[Any, Any]:
    """Cholesky factors, NaN for matrices that have none, and info."""
    flat = flattened(numpy, x)
    info = numpy.zeros(len(flat), numpy.int32)
    try:
        made = numpy.linalg.cholesky(flat)
    except numpy.linalg.LinAlgError:
        made = numpy.full_like(flat, numpy.nan)
        for i, matrix in enumerate(flat):
            try:
                made[i] = numpy.linalg.cholesky(matrix)
            except numpy.linalg.LinAlgError:
                info[i] = _first_fault(numpy, matrix)
    return made.reshape(x.shape), info.reshape(x.shape[:-2])


def _first_fault(numpy: Any, matrix: Any) -> int:
    """The order of the first leading minor without a factor; 0 if all have one."""
    for order in range(1, matrix.shape[0] + 1):
        try:
            numpy.linalg.cholesky(matrix[:order, :order])
        except numpy.linalg.LinAlgError:
            return order
    return 0


def _solved(numpy: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Solutions, NaN for singular matrices, and info."""
    flat, right = flattened(numpy, a), flattened(numpy, b)
    try:
        return numpy.linalg.solve(a, b), numpy.zeros(a.shape[:-2], numpy.int32)
    except numpy.linalg.LinAlgError:
        info = eliminated(numpy, flat)[2]
    made = numpy.full_like(right, numpy.nan)
    whole = info == 0
    made[whole] = numpy.linalg.solve(flat[whole], right[whole])
    return made.reshape(b.shape), info.reshape(a.shape[:-2])


def _count(x: Any, b: Any = None) -> Any:
    return x.sum((-2, -1)).to(core.int32)


_lower_host = lapack("cholesky", _lower, ("x", _count))
_solve_host = lapack("solve", _solved, (lambda a, b: b, _count))


class _Cholesky(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        out, info = _lower_host(x)
        ctx.save_for_backward(out)
        return out, info

    @staticmethod
    def backward(ctx: Any, g: Any, g_info: Any) -> Any:
        return cholesky_gradient(ctx.saved_tensors[0], g)


class _Solution(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        out, info = _solve_host(a, b)
        ctx.save_for_backward(a, out)
        return out, info

    @staticmethod
    def backward(ctx: Any, g: Any, g_info: Any) -> Any:
        a, out = ctx.saved_tensors
        to_b = solve(transposed(a), g)
        return -(to_b @ transposed(out)), to_b


def _raise(name: str, info: Any, fault: str, check_errors: bool) -> None:
    if check_errors and bool((info != 0).any()):
        raise LinAlgError(f"linalg.{name}: {fault}")


@under_autocast("float32")
def cholesky_ex(x: Tensor, *, upper: bool = False, check_errors: bool = False) -> Cholesky:
    """`cholesky` that says in `info` which matrices have no factor (it is NaN), instead of raising an error.

    Shapes:   x [*S, n, n] → L [*S, n, n], info [*S]
    Dtypes:   float32, float64; info int32
    Source:   torch.linalg.cholesky_ex

    >>> import duograph as dg
    >>> cholesky_ex(dg.tensor([[1.0, 2.0], [2.0, 1.0]])).info
    tensor(2, dtype=duograph.int32)
    """
    check("cholesky_ex", x, True)
    made, info = _Cholesky.apply(x)
    _raise("cholesky_ex", info, "the matrix is not positive definite", check_errors)
    return Cholesky(transposed(made) if upper else made, info)


@under_autocast("float32")
def solve_ex(a: Tensor, b: Tensor, *, left: bool = True, check_errors: bool = False) -> Solution:
    """`solve` that says in `info` which matrices are singular (their solutions are NaN), instead of raising an error.

    Shapes:   a [*S, n, n], b [*S, n, k] or [*S, n] → b's, info [*S]
    Dtypes:   float32, float64; info int32
    Source:   torch.linalg.solve_ex

    >>> import duograph as dg
    >>> solve_ex(dg.tensor([[1.0, 2.0], [2.0, 4.0]]), dg.ones(2)).info
    tensor(2, dtype=duograph.int32)
    """
    if not left:
        found, info = solve_ex(transposed(a), transposed(b))
        made = transposed(found)
    else:
        a, b, vector = systems("solve_ex", a, b)
        made, info = _Solution.apply(a, b)
        made = made.squeeze(-1) if vector else made
    _raise("solve_ex", info, "the matrix is singular", check_errors)
    return Solution(made, info)


@under_autocast("float32")
def inv_ex(x: Tensor, *, check_errors: bool = False) -> Inverse:
    """`inv` that says in `info` which matrices are singular (their inverses are NaN), instead of raising an error.

    Shapes:   x [*S, n, n] → inverse [*S, n, n], info [*S]
    Dtypes:   float32, float64; info int32
    Source:   torch.linalg.inv_ex

    >>> import duograph as dg
    >>> inv_ex(dg.tensor([[2.0, 0.0], [0.0, 4.0]])).inverse
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    check("inv_ex", x, True)
    made, info = solve_ex(x, identity(x.shape[-1], x).expand(x.shape))
    _raise("inv_ex", info, "the matrix is singular", check_errors)
    return Inverse(made, info)


def eig(A: Tensor) -> Any:
    """Refused: eigenvalues of matrices that are not symmetric are complex numbers.

    Errors:   DTypeError
    Source:   torch.linalg.eig
    """
    raise _complex("eig", "eigh")


def eigvals(A: Tensor) -> Any:
    """Refused: eigenvalues of matrices that are not symmetric are complex numbers.

    Errors:   DTypeError
    Source:   torch.linalg.eigvals
    """
    raise _complex("eigvals", "eigvalsh")


def _complex(name: str, symmetric: str) -> DTypeError:
    return DTypeError(
        f"linalg.{name}: eigenvalues are complex numbers unless the matrix is symmetric, and tensors here hold real ones",
        hint=f"linalg.{symmetric}(x) for symmetric matrices; else numpy.linalg.{name}(x.numpy())",
    )
