"""Factorisations: Cholesky, QR, symmetric eigenvalues, singular values."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _core as core
from ..autograd import Function
from ..errors import ArgumentError, GradError, ShapeError
from ..ops.arguments import under_autocast
from .host import check, lapack, transposed
from .systems import identity, inv, solve

Tensor = core.Tensor


class QR(NamedTuple):
    """Q and R."""

    Q: Any
    R: Any


class Eigh(NamedTuple):
    """Eigenvalues and eigenvectors."""

    eigenvalues: Any
    eigenvectors: Any


class SVD(NamedTuple):
    """Left singular vectors, singular values, right singular vectors."""

    U: Any
    S: Any
    Vh: Any


def _short(x: Any) -> Any:
    """The lesser of the two sizes."""
    m, n = x.shape[-2:]
    return m if m <= n else n


def _short_row(x: Any) -> Any:
    """What the singular values are like."""
    return x.sum(-1 if x.shape[-2] <= x.shape[-1] else -2)


_cholesky = lapack("cholesky", lambda numpy, x: numpy.linalg.cholesky(x), "x", "the matrix is not positive definite")


class _Cholesky(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        out = _cholesky(x)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return cholesky_gradient(ctx.saved_tensors[0], g)


def cholesky_gradient(low: Any, g: Any) -> Any:
    """The gradient of the matrix whose Cholesky factor is `low`."""
    inner = transposed(low) @ g
    inner = (inner.tril() + inner.tril(-1)) * 0.5
    half = solve(transposed(low), transposed(solve(transposed(low), transposed(inner))))
    return (half + transposed(half)) * 0.5


@under_autocast("float32")
def cholesky(x: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular matrix whose product with its transpose is x, or that transpose (upper).

    Shapes:   x [*S, n, n], symmetric → the same
    Dtypes:   float32, float64
    Gradient: that of Murray (2016), symmetric
    Errors:   LinAlgError unless x is positive definite; ShapeError; DTypeError
    Source:   torch.linalg.cholesky

    >>> import duograph as dg
    >>> cholesky(dg.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    check("cholesky", x, True)
    made: Any = _Cholesky.apply(x)
    return transposed(made) if upper else made  # type: ignore[no-any-return]


_qr = lapack(
    "qr",
    lambda numpy, x: tuple(numpy.linalg.qr(x)),
    (lambda x: x[..., :, : _short(x)], lambda x: x[..., : _short(x), :]),
)
_full_qr = lapack("qr", lambda numpy, x: tuple(numpy.linalg.qr(x, "complete")), (lambda x: x @ transposed(x), "x"))


class _QR(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        q, r = _qr(x)
        ctx.save_for_backward(q, r)
        ctx.wide = bool(x.shape[-1] > x.shape[-2])
        return q, r

    @staticmethod
    def backward(ctx: Any, g_q: Any, g_r: Any) -> Any:
        if ctx.wide:
            raise GradError("linalg.qr: the gradient is known only for matrices with at least as many rows as columns")
        q, r = ctx.saved_tensors
        inner = r @ transposed(g_r) - transposed(g_q) @ q
        inner = inner.tril() + transposed(inner.tril(-1))
        return transposed(solve(r, transposed(g_q + q @ inner)))


@under_autocast("float32")
def qr(x: Tensor, mode: str = "reduced") -> QR:
    """An orthogonal Q and an upper triangular R whose product is x: mode "reduced", "complete" or "r" (Q is empty).

    Shapes:   x [*S, m, n] → [*S, m, k], [*S, k, n] with k = min(m, n), or m in "complete" mode
    Dtypes:   float32, float64
    Gradient: in "reduced" mode for m ≥ n
    Errors:   GradError elsewhere; ArgumentError for another mode; ShapeError; DTypeError
    Source:   torch.linalg.qr

    >>> import duograph as dg
    >>> qr(dg.eye(2) * -2).R
    tensor([[-2., -0.],
            [ 0., -2.]])
    """
    check("qr", x)
    if mode not in ("reduced", "complete", "r"):
        raise ArgumentError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    if mode == "reduced" or (mode == "complete" and x.shape[-2] <= x.shape[-1]):
        return QR(*_QR.apply(x))
    if x.requires_grad and core.is_grad_enabled():
        raise GradError(f"linalg.qr: no gradient in mode {mode!r}", hint="use mode='reduced', or x.detach()")
    return QR(*_full_qr(x)) if mode == "complete" else QR(x.new_empty((0,)), _qr(x)[1])


_eigh = lapack("eigh", lambda numpy, x: tuple(numpy.linalg.eigh(x)), (lambda x: x.sum(-1), "x"))


@under_autocast("float32")
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


class _Eigh(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        values, vectors = _eigh(x)
        ctx.save_for_backward(values, vectors)
        ctx.set_materialize_grads(False)
        return values, vectors

    @staticmethod
    def backward(ctx: Any, g_values: Any, g_vectors: Any) -> Any:
        values, v = ctx.saved_tensors
        inner = None
        if g_vectors is not None:
            inner = _over_gaps(transposed(v) @ g_vectors, values)
        if g_values is not None:
            along = g_values.diag_embed()
            inner = along if inner is None else inner + along
        return None if inner is None else v @ inner @ transposed(v)


def _over_gaps(x: Any, values: Any) -> Any:
    """x[i, j] / (values[j] - values[i]), 0 on the diagonal."""
    one = identity(values.shape[-1], values)
    gaps = values[..., None, :] - values[..., :, None] + one
    return x / gaps * (1 - one)


@under_autocast("float32")
def eigh(x: Tensor, UPLO: str = "L") -> Eigh:
    """The eigenvalues of symmetric matrices in ascending order, and their orthonormal eigenvectors as columns.

    Only one triangle is read: the lower one, or ("U") the upper one.

    Shapes:   x [*S, n, n] → [*S, n], [*S, n, n]
    Dtypes:   float32, float64
    Gradient: to the eigenvectors only where no eigenvalues are equal
    Errors:   ShapeError; DTypeError; ArgumentError for another UPLO
    Source:   torch.linalg.eigh

    >>> import duograph as dg
    >>> eigh(dg.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    check("eigh", x, True)
    if UPLO not in ("L", "U"):
        raise ArgumentError(f"linalg.eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    return Eigh(*_Eigh.apply(x if UPLO == "L" else transposed(x)))


@under_autocast("float32")
def eigvalsh(x: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices in ascending order; see `eigh`.

    >>> import duograph as dg
    >>> eigvalsh(dg.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    return eigh(x, UPLO).eigenvalues  # type: ignore[no-any-return]


_svd = lapack(
    "svd",
    lambda numpy, x: tuple(numpy.linalg.svd(x, full_matrices=False)),
    (
        lambda x: x[..., :, : _short(x)],
        lambda x: _short_row(x),
        lambda x: x[..., : _short(x), :],
    ),
)
_full_svd = lapack(
    "svd",
    lambda numpy, x: tuple(numpy.linalg.svd(x)),
    (lambda x: x @ transposed(x), lambda x: _short_row(x), lambda x: transposed(x) @ x),
)


class _SVD(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        u, s, v = _svd(x)
        ctx.save_for_backward(u, s, v)
        ctx.set_materialize_grads(False)
        return u, s, v

    @staticmethod
    def backward(ctx: Any, g_u: Any, g_s: Any, g_v: Any) -> Any:
        u, s, v = ctx.saved_tensors
        inner = None if g_s is None else g_s.diag_embed()
        rest = None
        if g_u is not None:
            turned = transposed(u) @ g_u
            part = _over_gaps(turned - transposed(turned), s * s) * s[..., None, :]
            inner = part if inner is None else inner + part
            rest = ((g_u - u @ turned) / s[..., None, :]) @ v
        if g_v is not None:
            turned = v @ transposed(g_v)
            part = s[..., :, None] * _over_gaps(turned - transposed(turned), s * s)
            inner = part if inner is None else inner + part
            across = (u / s[..., None, :]) @ (g_v - (g_v @ transposed(v)) @ v)
            rest = across if rest is None else rest + across
        if inner is None:
            return None
        made = u @ inner @ v
        return made if rest is None else made + rest


@under_autocast("float32")
def svd(x: Tensor, full_matrices: bool = True) -> SVD:
    """Singular values in descending order, with their left singular vectors as columns and right ones as rows.

    With full_matrices the vectors are filled up to square matrices; without, there are as many as singular values.

    Shapes:   x [*S, m, n] → [*S, m, m], [*S, k], [*S, n, n] with k = min(m, n); not full: [*S, m, k] and [*S, k, n]
    Dtypes:   float32, float64
    Gradient: to the vectors only where no singular values are equal or 0, and up to the signs that the vectors may have
    Errors:   GradError for gradients of matrices that are not square with full_matrices; ShapeError; DTypeError
    Source:   torch.linalg.svd

    >>> import duograph as dg
    >>> svd(dg.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    check("svd", x)
    if not full_matrices or x.shape[-1] == x.shape[-2]:
        return SVD(*_SVD.apply(x))
    if x.requires_grad and core.is_grad_enabled():
        raise GradError("linalg.svd: no gradient with full_matrices=True unless square", hint="say full_matrices=False")
    return SVD(*_full_svd(x))


@under_autocast("float32")
def svdvals(x: Tensor) -> Tensor:
    """Singular values in descending order; see `svd`. Their gradient is there also where some are equal.

    >>> import duograph as dg
    >>> svdvals(dg.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    check("svdvals", x)
    return svd(x, False).S  # type: ignore[no-any-return]
