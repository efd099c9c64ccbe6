"""What singular values close to 0 decide: ranks and pseudo-inverses."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..autograd import Function
from ..ops.arguments import under_autocast
from ..tensors.functions import finfo
from .decompositions import svdvals
from .host import check, lapack, transposed

Tensor = core.Tensor

_pinv = lapack(
    "pinv",
    lambda numpy, x, rtol: numpy.linalg.pinv(x, rtol.reshape(rtol.shape[: x.ndim - 2])),  # mapped, rtol may end in sizes of 1
    lambda x, rtol: transposed(x),
)


@under_autocast("float32")
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
        rtol = 0.0 if atol else max(x.shape[-1], x.shape[-2]) * finfo(x.dtype).eps
    limit = (s[..., :1] * rtol).clamp(min=atol or 0.0)
    return (s > limit).sum(-1)  # type: ignore[no-any-return]


class _PseudoInverse(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, rtol: Any) -> Any:
        out = _pinv(x, rtol)
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, p = ctx.saved_tensors
        across, back = transposed(p), transposed(g)
        first = (back - x @ (p @ back)) @ p @ across
        second = across @ p @ (back - (back @ p) @ x)
        return first + second - across @ g @ across, None


@under_autocast("float32")
def pinv(
    x: Tensor, rcond: float | Tensor | None = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """The pseudo-inverse of Moore and Penrose; singular values up to max(atol, rtol * the greatest) count as zero.

    rtol (rcond is its older name) is max(m, n) times the dtype's precision, or 0 if atol is given. `hermitian` promises a
    symmetric matrix; nothing depends on it.

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
    relative = rcond if rtol is None else rtol
    if relative is None:
        relative = 0.0 if atol is not None else max(x.shape[-1], x.shape[-2]) * finfo(x.dtype).eps
    limit = x.new_zeros(tuple(x.shape[:-2])) + relative
    if atol is not None:
        greatest = svdvals(x.detach())[..., 0]
        limit = limit.maximum(atol / greatest.clamp(min=finfo(x.dtype).tiny))
    return _PseudoInverse.apply(x, limit)  # type: ignore[no-any-return]


pinverse = pinv  # PyTorch's name outside of linalg
