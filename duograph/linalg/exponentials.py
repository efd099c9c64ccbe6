"""The matrix exponential, products of reflections, and solutions that rest on other factorisations."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _core as core
from ..autograd import Function
from ..errors import ShapeError
from ..ops.arguments import checked
from ..tensors.creation import empty
from .host import check, lapack, transposed
from .ranks import matrix_rank, pinv
from .systems import identity, inv, solve

Tensor = core.Tensor

# Padé's approximant of degree 13 of exp (Higham 2005), good to float64's precision up to a norm of 5.37
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
    670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_LARGEST_NORM = 5.37


def _exponential(numpy: Any, x: Any) -> Any:
    """By scaling and squaring, each matrix by itself."""
    made = numpy.empty(x.shape)
    for place in numpy.ndindex(x.shape[:-2]):
        matrix = x[place].astype(numpy.float64)
        size = numpy.abs(matrix).sum(0).max(initial=0.0)
        if not numpy.isfinite(size):
            made[place] = numpy.nan
            continue
        halvings = max(0, int(numpy.ceil(numpy.log2(size / _LARGEST_NORM)))) if size else 0
        matrix = matrix / 2.0**halvings
        powers = [numpy.eye(len(matrix))]
        for _ in _PADE[1:]:
            powers.append(powers[-1] @ matrix)
        even = sum(c * p for c, p in zip(_PADE[::2], powers[::2]))
        odd = sum(c * p for c, p in zip(_PADE[1::2], powers[1::2]))
        found = numpy.linalg.solve(even - odd, even + odd)
        with numpy.errstate(over="ignore", invalid="ignore"):
            for _ in range(halvings):
                found = found @ found
        made[place] = found
    return made


_matrix_exp = lapack("matrix_exp", _exponential, "x")


class _MatrixExponential(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return _matrix_exp(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        n = x.shape[-1]
        across = transposed(x)
        upper = _side_by_side([across, g], -1)
        lower = _side_by_side([across * 0.0, across], -1)
        return _MatrixExponential.apply(_side_by_side([upper, lower], -2))[..., :n, n:]


def _side_by_side(tensors: list[Any], dim: int) -> Any:
    """Matrices side by side, or one above the other."""
    from ..ops.shapes.joining import cat

    return cat(tensors, dim)


@checked
def matrix_exp(x: Tensor) -> Tensor:
    """The exponential of square matrices: the sum of x^k / k!.

    Shapes:   x [*S, n, n] → the same
    Dtypes:   float32, float64
    Gradient: the upper right block of the exponential of [[xᵀ, g], [0, xᵀ]] (Van Loan 1978)
    Errors:   ShapeError; DTypeError
    Source:   torch.linalg.matrix_exp

    >>> import duograph as dg
    >>> matrix_exp(dg.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    check("matrix_exp", x, True)
    return _MatrixExponential.apply(x)  # type: ignore[no-any-return]


@checked
def householder_product(x: Tensor, tau: Tensor) -> Tensor:
    """The first columns of a product of reflections I - tau_i v_i v_iᵀ, v_i being column i below its 1 on the diagonal.

    Shapes:   x [*S, m, n] with m ≥ n, tau [*S, k] with k ≤ n → [*S, m, n]
    Dtypes:   float32, float64
    Gradient: derived
    Errors:   ShapeError; DTypeError
    Source:   torch.linalg.householder_product

    >>> import duograph as dg
    >>> householder_product(dg.tensor([[1.0], [1.0]]), dg.tensor([1.0]))
    tensor([[ 0.],
            [-1.]])
    """
    check("householder_product", x)
    m, n, k = x.shape[-2], x.shape[-1], tau.shape[-1]
    if m < n or k > n or tuple(x.shape[:-2]) != tuple(tau.shape[:-1]):
        raise ShapeError(
            f"linalg.householder_product: takes [*S, m, n] with m ≥ n and [*S, k] with k ≤ n, "
            f"got {tuple(x.shape)} and {tuple(tau.shape)}"
        )
    directions = x[..., :k].tril(-1) + identity(m, x)[:, :k]
    scaled = (transposed(directions) @ directions).triu(1) * tau.unsqueeze(-2)
    inner = inv(scaled + identity(k, x)) * tau.unsqueeze(-1)
    return (identity(m, x) - directions @ inner @ transposed(directions))[..., :n]  # type: ignore[no-any-return]


class LeastSquares(NamedTuple):
    """A solution, the sums of squared residuals, the rank, singular values (none: they are not needed)."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


@checked
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


@checked
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


@checked
def cholesky_inverse(factor: Tensor, upper: bool = False) -> Tensor:
    """The inverse of a, given the factor of `cholesky(a)`.

    >>> import duograph as dg
    >>> cholesky_inverse(dg.tensor([[2.0]]))
    tensor([[0.2500]])
    """
    check("cholesky_inverse", factor, True)
    back = inv(factor.triu() if upper else transposed(factor.tril()))
    return back @ transposed(back)  # type: ignore[no-any-return]


@checked
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


@checked
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
