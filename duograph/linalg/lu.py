"""The factorisation into triangles with row exchanges, and what is solved with it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import _core as core
from ..autograd import Function
from ..errors import ArgumentError, GradError, ShapeError
from ..ops.arguments import under_autocast
from ..tensors.creation import arange, eye, zeros
from .host import LinAlgError, check, lapack, transposed
from .systems import solve

Tensor = core.Tensor

_PANEL = 64  # columns that are eliminated before the rest of the matrix is


class LU(NamedTuple):
    """The permutation and both triangles: x = P @ L @ U."""

    P: Any
    L: Any
    U: Any


class Factors(NamedTuple):
    """Both triangles in one matrix, the ones of L's diagonal left out, and with which row each row was exchanged (from 1)."""

    LU: Any
    pivots: Any


class CheckedFactors(NamedTuple):
    """The same, and 0 or the first position (from 1) at which U's diagonal is 0."""

    LU: Any
    pivots: Any
    info: Any


def flattened(numpy: Any, x: Any) -> Any:
    """Matrices with one dimension for all that count them."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def eliminated(numpy: Any, x: Any) -> tuple[Any, Any, Any]:
    """LU, pivots and info of matrices [*S, m, n], a panel of columns at a time."""
    lu = flattened(numpy, x).copy()
    count, m, n = lu.shape
    short = min(m, n)
    pivots = numpy.zeros((count, short), numpy.int32)
    info = numpy.zeros(count, numpy.int32)
    each = numpy.arange(count)
    for start in range(0, short, _PANEL):
        end = min(start + _PANEL, short)
        for j in range(start, end):
            _eliminate(numpy, lu, pivots, info, each, j, end)
        if end < n:
            low = numpy.tril(lu[:, start:end, start:end], -1) + numpy.eye(end - start, dtype=lu.dtype)
            lu[:, start:end, end:] = numpy.linalg.solve(low, lu[:, start:end, end:])
            lu[:, end:, end:] -= lu[:, end:, start:end] @ lu[:, start:end, end:]
    return lu.reshape(x.shape), pivots.reshape(*x.shape[:-2], short), info.reshape(x.shape[:-2])


def _eliminate(numpy: Any, lu: Any, pivots: Any, info: Any, each: Any, j: int, end: int) -> None:
    """Column j below the diagonal, and with it the panel's columns up to `end`."""
    row = j + numpy.argmax(numpy.abs(lu[:, j:, j]), axis=1)
    pivots[:, j] = row + 1
    lu[each, j], lu[each, row] = lu[each, row], lu[each, j].copy()
    pivot = lu[:, j, j]
    info[(pivot == 0) & (info == 0)] = j + 1
    lu[:, j + 1 :, j] /= numpy.where(pivot == 0, 1, pivot)[:, None]
    lu[:, j + 1 :, j + 1 : end] -= lu[:, j + 1 :, j, None] * lu[:, j, None, j + 1 : end]


def _permuted(numpy: Any, lu: Any, pivots: Any) -> Any:
    """Which row of the matrix each row of L is of."""
    m = lu.shape[-2]
    flat = pivots.reshape(math.prod(pivots.shape[:-1]), pivots.shape[-1])
    rows = numpy.tile(numpy.arange(m, dtype=numpy.int32), (len(flat), 1))
    each = numpy.arange(len(flat))
    for j in range(flat.shape[1]):
        other = flat[:, j] - 1
        rows[each, j], rows[each, other] = rows[each, other], rows[each, j].copy()
    return rows.reshape(*pivots.shape[:-1], m)


def _row_of(x: Any) -> Any:
    return x.sum(-1 if x.shape[-2] <= x.shape[-1] else -2).to(core.int32)


_factors = lapack("lu_factor", eliminated, ("x", _row_of, lambda x: x.sum((-2, -1)).to(core.int32)))
_rows = lapack("lu", _permuted, lambda lu, pivots: lu.sum(-1).to(core.int32))


def _permutation(lu: Any, pivots: Any) -> Any:
    """P, as a matrix of floats."""
    rows = _rows(lu.detach(), pivots).to(core.int64)
    return (rows.unsqueeze(-2) == arange(lu.shape[-2]).unsqueeze(-1)).to(lu.dtype)


def _triangles(lu: Any) -> tuple[Any, Any]:
    m, n = lu.shape[-2:]
    short = m if m <= n else n
    return lu[..., :, :short].tril(-1) + eye(m, short, dtype=lu.dtype), lu[..., :short, :].triu()


class _Factorisation(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        lu, pivots, info = _factors(x)
        ctx.save_for_backward(lu, pivots)
        return lu, pivots, info

    @staticmethod
    def backward(ctx: Any, g: Any, g_pivots: Any, g_info: Any) -> Any:
        lu, pivots = ctx.saved_tensors
        if lu.shape[-1] != lu.shape[-2]:
            raise GradError("linalg.lu: the gradient is known only for square matrices")
        low, up = _triangles(lu)
        inner = (transposed(low) @ g.tril(-1)).tril(-1) + (g.triu() @ transposed(up)).triu()
        inner = solve(transposed(low), inner)
        return _permutation(lu, pivots) @ transposed(solve(up, transposed(inner)))


def _check_pivot(name: str, pivot: bool) -> None:
    if not pivot:
        raise ArgumentError(f"linalg.{name}: rows are always exchanged here", hint="leave pivot out")


@under_autocast("float32")
def lu_factor_ex(x: Tensor, *, pivot: bool = True, check_errors: bool = False) -> CheckedFactors:
    """`lu_factor` that says in `info` where U's diagonal is 0, instead of raising an error (unless check_errors).

    Shapes:   x [*S, m, n] → LU [*S, m, n], pivots [*S, min(m, n)], info [*S]
    Dtypes:   float32, float64; pivots and info int32
    Source:   torch.linalg.lu_factor_ex

    >>> import duograph as dg
    >>> lu_factor_ex(dg.tensor([[1.0, 2.0], [2.0, 4.0]])).info
    tensor(2, dtype=duograph.int32)
    """
    check("lu_factor", x)
    _check_pivot("lu_factor_ex", pivot)
    made = CheckedFactors(*_Factorisation.apply(x))
    if check_errors and bool((made.info != 0).any()):
        raise LinAlgError("linalg.lu_factor: the diagonal of U has a 0, by which lu_solve would divide")
    return made


@under_autocast("float32")
def lu_factor(x: Tensor, *, pivot: bool = True) -> Factors:
    """Both triangles of x = P @ L @ U in one matrix, and the exchanges of rows, as `lu_solve` takes them.

    Shapes:   x [*S, m, n] → LU [*S, m, n], pivots [*S, min(m, n)]
    Dtypes:   float32, float64; pivots int32
    Gradient: of square matrices
    Errors:   ShapeError; DTypeError; GradError
    Source:   torch.linalg.lu_factor

    >>> import duograph as dg
    >>> lu_factor(dg.tensor([[1.0, 2.0], [2.0, 2.0]])).LU
    tensor([[2.0000, 2.0000],
            [0.5000, 1.0000]])
    """
    return Factors(*lu_factor_ex(x, pivot=pivot)[:2])


@under_autocast("float32")
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> LU:
    """P, L and U of what `lu_factor` gave.

    Shapes:   LU_data [*S, m, n], LU_pivots [*S, k] → P [*S, m, m], L [*S, m, k], U [*S, k, n], with k = min(m, n)
    Source:   torch.lu_unpack

    >>> import duograph as dg
    >>> lu_unpack(*lu_factor(dg.tensor([[1.0, 2.0], [2.0, 2.0]]))).U
    tensor([[2., 2.],
            [0., 1.]])
    """
    check("lu_unpack", LU_data)
    empty = zeros(0, dtype=LU_data.dtype)
    low, up = _triangles(LU_data) if unpack_data else (empty, empty)
    return LU(_permutation(LU_data, LU_pivots) if unpack_pivots else empty, low, up)


@under_autocast("float32")
def lu(x: Tensor, *, pivot: bool = True) -> LU:
    """The permutation P and the triangles L and U whose product is x.

    Shapes:   x [*S, m, n] → P [*S, m, m], L [*S, m, k], U [*S, k, n], with k = min(m, n)
    Dtypes:   float32, float64
    Gradient: of square matrices
    Errors:   ShapeError; DTypeError; GradError
    Source:   torch.linalg.lu

    >>> import duograph as dg
    >>> lu(dg.tensor([[1.0, 2.0], [2.0, 2.0]])).L
    tensor([[1.0000, 0.0000],
            [0.5000, 1.0000]])
    """
    _check_pivot("lu", pivot)
    return lu_unpack(*lu_factor_ex(x)[:2])


@under_autocast("float32")
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """The solution X of A @ X = B (not left: of X @ A = B; adjoint: with A transposed) by the factors of A.

    Shapes:   LU [*S, n, n], pivots [*S, n], B [*S, n, k] → [*S, n, k]
    Dtypes:   float32, float64
    Gradient: to LU and B
    Errors:   LinAlgError for a singular matrix; ShapeError; DTypeError
    Source:   torch.linalg.lu_solve

    >>> import duograph as dg
    >>> factors = lu_factor(dg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    >>> lu_solve(*factors, dg.tensor([[1.0], [1.0]]))
    tensor([[0.5000],
            [0.2500]])
    """
    check("lu_solve", LU, True)
    check("lu_solve", B)
    if not left:
        return transposed(lu_solve(LU, pivots, transposed(B), adjoint=not adjoint))  # type: ignore[no-any-return]
    if LU.shape[-1] != B.shape[-2]:
        raise ShapeError(f"linalg.lu_solve: {LU.shape[-1]} unknowns, but right sides of {B.shape[-2]}")
    low, up = _triangles(LU)
    exchange = _permutation(LU, pivots)
    if adjoint:
        return exchange @ solve(transposed(low), solve(transposed(up), B))  # type: ignore[no-any-return]
    return solve(up, solve(low, transposed(exchange) @ B))
