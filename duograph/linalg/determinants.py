"""Determinants and their logarithms."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..autograd import Function
from ..ops.arguments import under_autocast
from .decompositions import svd
from .host import check, lapack, transposed
from .systems import identity, inv

Tensor = core.Tensor

_det = lapack("det", lambda numpy, x: numpy.linalg.det(x), lambda x: x.sum((-1, -2)))
_slogdet = lapack("slogdet", lambda numpy, x: tuple(numpy.linalg.slogdet(x)), (lambda x: x.sum((-1, -2)),) * 2)


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


@under_autocast("float32")
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


@under_autocast("float32")
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


@under_autocast("float32")
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
