"""Inverses, determinants, linear systems."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..autograd import Function
from ..errors import ShapeError
from ..ops.arguments import checked
from .decompositions import svd, svdvals
from .host import check, lapack, transposed

Tensor = core.Tensor

_SINGULAR = "the matrix is singular"
_inv = lapack("inv", lambda numpy, x: numpy.linalg.inv(x), "x", _SINGULAR)
_det = lapack("det", lambda numpy, x: numpy.linalg.det(x), lambda x: x.sum((-1, -2)))
_slogdet = lapack("slogdet", lambda numpy, x: tuple(numpy.linalg.slogdet(x)), (lambda x: x.sum((-1, -2)),) * 2)
_solve = lapack("solve", lambda numpy, a, b: numpy.linalg.solve(a, b), lambda a, b: a @ b, _SINGULAR)
_pinv = lapack("pinv", lambda numpy, x: numpy.linalg.pinv(x, max(x.shape[-2:]) * numpy.finfo(x.dtype).eps), transposed)


class _Inverse(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        out = _inv(x)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (out,) = ctx.saved_tensors
        across = transposed(out)
        return -(across @ g @ across)


@checked
def inv(x: Tensor) -> Tensor:
    """The inverse of square matrices.

    Shapes:   x [*S, n, n] → the same
    Dtypes:   float32, float64
    Gradient: -outᵀ · g · outᵀ
    Errors:   LinAlgError for a singular matrix; ShapeError; DTypeError
    Source:   torch.linalg.inv

    >>> import duograph as dg
    >>> inv(dg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    check("inv", x, True)
    return _Inverse.apply(x)  # type: ignore[no-any-return]


class _Determinant(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        out = _det(x)
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, out = ctx.saved_tensors
        if core.is_grad_enabled():  # to be differentiated again: the cofactors of singular matrices could not be
            return (g * out)[..., None, None] * transposed(inv(x))
        u, s, v = svd(x, False)
        n = s.shape[-1]
        others = (s[..., None, :] + identity(n, s) * (1 - s[..., None, :])).prod(-1)  # of all but one
        signs = (_det(u) * _det(v))[..., None, None]
        return g[..., None, None] * signs * (u * others[..., None, :]) @ v


def identity(n: Any, like: Any) -> Any:
    """The identity in a tensor's dtype."""
    from ..tensors.creation import eye

    return eye(n, dtype=like.dtype)


@checked
def det(x: Tensor) -> Tensor:
    """The determinants of square matrices; 1 for those without rows.

    Shapes:   x [*S, n, n] → [*S]
    Dtypes:   float32, float64
    Gradient: the cofactors, of singular matrices, too (but not of theirs)
    Errors:   ShapeError; DTypeError
    Source:   torch.linalg.det

    >>> import duograph as dg
    >>> det(dg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(-2.)
    """
    check("det", x, True)
    return _Determinant.apply(x)  # type: ignore[no-any-return]


class _LogDeterminant(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        sign, size = _slogdet(x)
        ctx.mark_non_differentiable(sign)
        return sign, size

    @staticmethod
    def backward(ctx: Any, g_sign: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g[..., None, None] * transposed(inv(x))


@checked
def slogdet(x: Tensor) -> tuple[Tensor, Tensor]:
    """The sign of the determinants of square matrices and the logarithm of their size: 0 and -inf for singular ones.

    Shapes:   x [*S, n, n] → [*S], [*S]
    Dtypes:   float32, float64
    Gradient: of the logarithm: the inverse, transposed
    Errors:   ShapeError; DTypeError; in backward LinAlgError for a singular matrix
    Source:   torch.linalg.slogdet

    >>> import duograph as dg
    >>> slogdet(dg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    (tensor(-1.), tensor(0.6931))
    """
    check("slogdet", x, True)
    sign, size = _LogDeterminant.apply(x)
    return sign, size


@checked
def logdet(x: Tensor) -> Tensor:
    """The logarithm of the determinants of square matrices: NaN for negative ones, -inf for 0.

    Shapes:   x [*S, n, n] → [*S]
    Dtypes:   float32, float64
    Gradient: the inverse, transposed
    Errors:   ShapeError; DTypeError
    Source:   torch.logdet

    >>> import duograph as dg
    >>> logdet(dg.eye(2) * 2)
    tensor(1.3863)
    """
    check("logdet", x, True)
    sign, size = _LogDeterminant.apply(x)
    return size.masked_fill(sign < 0, float("nan"))  # type: ignore[no-any-return]


class _Solution(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        out = _solve(a, b)
        ctx.save_for_backward(a, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, out = ctx.saved_tensors
        to_b = _Solution.apply(transposed(a), g)
        return -(to_b @ transposed(out)), to_b


def _systems(name: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    """Both with the same batch dimensions, and whether the right sides were vectors."""
    check(name, a, True)
    vector = b.dim() == 1 or (b.dim() == a.dim() - 1 and tuple(b.shape) == tuple(a.shape[:-1]))
    b = b.unsqueeze(-1) if vector else b
    check(name, b)
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"linalg.{name}: {a.shape[-1]} unknowns, but right sides of {b.shape[-2]}")
    from ..tensors.functions import broadcast_shapes

    batch = tuple(broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2])))
    return a.expand(*batch, *a.shape[-2:]), b.expand(*batch, *b.shape[-2:]), vector


@checked
def solve(a: Tensor, b: Tensor, *, left: bool = True) -> Tensor:
    """The solution x of a @ x = b, or (not left) of x @ a = b.

    Shapes:   a [*S, n, n], b [*S, n, k] or [*S, n] → b's; batches broadcast
    Dtypes:   float32, float64
    Gradient: to b the solution of the transposed system, to a its outer product with the solution
    Errors:   LinAlgError for a singular matrix; ShapeError; DTypeError
    Source:   torch.linalg.solve

    >>> import duograph as dg
    >>> solve(dg.tensor([[2.0, 0.0], [0.0, 4.0]]), dg.tensor([1.0, 1.0]))
    tensor([0.5000, 0.2500])
    """
    if not left:
        return transposed(solve(transposed(a), transposed(b)))  # type: ignore[no-any-return]
    a, b, vector = _systems("solve", a, b)
    made = _Solution.apply(a, b)
    return made.squeeze(-1) if vector else made  # type: ignore[no-any-return]


@checked
def solve_triangular(a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """The solution x of a @ x = b (not left: of x @ a = b), where only one triangle of a counts.

    `unitriangular`: its diagonal counts as ones.

    Shapes:   a [*S, n, n], b [*S, n, k] → [*S, n, k]; batches broadcast
    Dtypes:   float32, float64
    Gradient: as of `solve`, to that triangle
    Errors:   LinAlgError for a singular matrix; ShapeError; DTypeError
    Source:   torch.linalg.solve_triangular

    >>> import duograph as dg
    >>> solve_triangular(dg.tensor([[2.0, 9.0], [1.0, 1.0]]), dg.tensor([[4.0], [3.0]]), upper=False)
    tensor([[2.],
            [1.]])
    """
    check("solve_triangular", a, True)
    skip = 1 if unitriangular else 0
    part = a.triu(skip) if upper else a.tril(-skip)
    if unitriangular:
        part = part + identity(a.shape[-1], a)
    if not left:
        return transposed(solve(transposed(part), transposed(b)))  # type: ignore[no-any-return]
    check("solve_triangular", b)
    return solve(part, b)


class _PseudoInverse(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        out = _pinv(x)
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, p = ctx.saved_tensors
        across, back = transposed(p), transposed(g)
        first = (back - x @ (p @ back)) @ p @ across
        second = across @ p @ (back - (back @ p) @ x)
        return first + second - across @ g @ across


@checked
def pinv(x: Tensor) -> Tensor:
    """The pseudo-inverse of Moore and Penrose; singular values below max(m, n) times the dtype's
    precision of the greatest count as zero.

    Shapes:   x [*S, m, n] → [*S, n, m]
    Dtypes:   float32, float64
    Gradient: that of Golub and Pereyra (1973), where the rank does not change
    Errors:   ShapeError; DTypeError
    Source:   torch.linalg.pinv

    >>> import duograph as dg
    >>> pinv(dg.tensor([[2.0], [0.0]]))
    tensor([[0.5000, 0.0000]])
    """
    check("pinv", x)
    return _PseudoInverse.apply(x)  # type: ignore[no-any-return]


@checked
def matrix_rank(x: Tensor, *, atol: float | None = None, rtol: float | None = None) -> Tensor:
    """How many singular values are above max(atol, rtol * the greatest); rtol is max(m, n) times the dtype's precision.

    Shapes:   x [*S, m, n] → [*S]
    Dtypes:   float32, float64; int64
    Gradient: none
    Errors:   ShapeError; DTypeError
    Source:   torch.linalg.matrix_rank

    >>> import duograph as dg
    >>> matrix_rank(dg.ones(3, 3))
    tensor(1)
    """
    check("matrix_rank", x)
    s = svdvals(x.detach())
    if rtol is None:
        rtol = 0.0 if atol else max(x.shape[-1], x.shape[-2]) * (2.0**-52 if x.dtype is core.float64 else 2.0**-23)
    limit = (s[..., :1] * rtol).clamp(min=atol or 0.0)
    return (s > limit).sum(-1)  # type: ignore[no-any-return]


inverse, pinverse = inv, pinv  # PyTorch's names outside of linalg
