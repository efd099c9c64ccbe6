"""The matrix exponential."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..autograd import Function
from ..ops.arguments import under_autocast
from ..ops.shapes.joining import cat
from .host import check, lapack, transposed

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
        upper = cat([across, g], -1)
        lower = cat([across * 0.0, across], -1)
        return _MatrixExponential.apply(cat([upper, lower], -2))[..., :n, n:]


@under_autocast("float32")
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
