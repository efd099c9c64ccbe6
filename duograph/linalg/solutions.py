"""Solutions that rest on factorisations: least squares, systems whose factor is known, systems of tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _core as core
from ..errors import ShapeError
from ..ops.arguments import under_autocast
from ..tensors.creation import empty
from .host import check, transposed
from .ranks import matrix_rank, pinv
from .systems import inv, solve

Tensor = core.Tensor


class LeastSquares(NamedTuple):
    """A solution, the sums of squared residuals, the rank, singular values (none: they are not needed)."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


@under_autocast("float32")
def lstsq(a: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None) -> LeastSquares:
    """The x of least norm among those for which |a @ x - b| is least.

    Args:
        rcond: singular values of a up to rcond times the greatest count as zero.
        driver: PyTorch's choice of algorithm: without effect.

    Shapes:   a [*S, m, n], b [*S, m, k] → solution [*S, n, k], residuals [*S, k] if m > n (else empty), rank [*S]
    Dtypes:   float32, float64
    Gradient: by that of the pseudo-inverse
    Errors:   ShapeError; DTypeError
    Source:   torch.linalg.lstsq

    >>> import duograph as dg
    >>> lstsq(dg.tensor([[1.0], [1.0]]), dg.tensor([[1.0], [3.0]])).solution.round(decimals=4)
    tensor([[2.]])
    """
    check("lstsq", a)
    vector = b.dim() == a.dim() - 1
    right = b.unsqueeze(-1) if vector else b
    check("lstsq", right)
    if a.shape[-2] != right.shape[-2]:
        raise ShapeError(f"linalg.lstsq: a has {a.shape[-2]} rows, b {right.shape[-2]}")
    found: Any = pinv(a, rtol=rcond) @ right
    gap = a @ found - right
    residuals = (gap * gap).sum(-2) if a.shape[-2] > a.shape[-1] else empty(0, dtype=a.dtype)
    rank = matrix_rank(a, rtol=rcond)
    return LeastSquares(found.squeeze(-1) if vector else found, residuals, rank, empty(0, dtype=a.dtype))


@under_autocast("float32")
def cholesky_solve(b: Tensor, factor: Tensor, upper: bool = False) -> Tensor:
    """The solution of a @ x = b, given the factor of `cholesky(a)`.

    Shapes:   b [*S, n, k], factor [*S, n, n] → [*S, n, k]
    Dtypes:   float32, float64
    Gradient: by `solve`'s
    Errors:   ShapeError; DTypeError
    Source:   torch.cholesky_solve

    >>> import duograph as dg
    >>> cholesky_solve(dg.tensor([[8.0]]), dg.tensor([[2.0]]))
    tensor([[2.]])
    """
    check("cholesky_solve", factor, True)
    low = transposed(factor).tril() if upper else factor.tril()
    return solve(transposed(low), solve(low, b))


@under_autocast("float32")
def cholesky_inverse(factor: Tensor, upper: bool = False) -> Tensor:
    """The inverse of a, given the factor of `cholesky(a)`.

    >>> import duograph as dg
    >>> cholesky_inverse(dg.tensor([[2.0]]))
    tensor([[0.2500]])
    """
    check("cholesky_inverse", factor, True)
    back = inv(factor.triu() if upper else transposed(factor.tril()))
    return back @ transposed(back)  # type: ignore[no-any-return]


@under_autocast("float32")
def tensorinv(x: Tensor, ind: int = 2) -> Tensor:
    """The inverse of what `tensordot` with x does: the first `ind` dimensions of x are those of the results.

    >>> import duograph as dg
    >>> tensorinv(dg.ones(1, 1, 1) * 4, ind=1).shape
    duograph.Size([1, 1, 1])
    """
    if not 0 < ind < x.dim():
        raise ShapeError(f"linalg.tensorinv: ind must be between 1 and {x.dim() - 1}, got {ind}")
    rows, columns = tuple(x.shape[:ind]), tuple(x.shape[ind:])
    return inv(x.flatten(0, ind - 1).flatten(1)).reshape(columns + rows)  # type: ignore[no-any-return]


@under_autocast("float32")
def tensorsolve(a: Tensor, b: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
    """The x for which tensordot(a, x, x.dim()) is b; `dims` of a are moved to its end first.

    >>> import duograph as dg
    >>> tensorsolve(dg.eye(4).reshape(2, 2, 4), dg.ones(2, 2))
    tensor([1., 1., 1., 1.])
    """
    if dims is not None:
        a = a.movedim(tuple(dims), tuple(range(a.dim() - len(dims), a.dim())))
    shape = tuple(a.shape[b.dim() :])
    return solve(a.reshape(b.numel(), -1), b.flatten()).reshape(shape)  # type: ignore[no-any-return]
