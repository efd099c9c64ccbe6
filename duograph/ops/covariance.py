"""Covariances and correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DimensionError
from duograph.ir.builder import current
from duograph.ir.dim import product

from .choice import maximum
from .contractions import matmul
from .creation import full
from .definition import REDUCTION, op
from .dtypes import floats
from .movement import reshape, unsqueeze
from .permuting import transpose
from .statistics import mean
from .tracing import user_operator

if TYPE_CHECKING:
    from duograph._core import Tensor

    from .definition import Number


@op(
    kind=REDUCTION,
    dtypes=floats,
    tolerance=16.0,
    torch=lambda torch, x, correction=1: torch.cov(x, correction=correction),
    samples=lambda m: [(m(3, 6),), (m(5),), (m(2, 4), 0)] if m.is_float else [],
)
def cov(x: Tensor, correction: Number = 1) -> Tensor:
    """The covariances of variables, one in each row, each column an observation.

    Shapes:   x [n, m] → [n, n]; x [m] → []
    Dtypes:   floats
    Gradient: derived
    Errors:   DimensionError for more than two dimensions; DTypeError
    Source:   torch.cov

    >>> cov(tensor([[1.0, 2.0, 3.0]]))
    tensor(1.)
    """
    if len(x.shape) > 2:
        raise DimensionError(f"{user_operator('cov')}: takes at most two dimensions, got {len(x.shape)}")
    rows = reshape(x, (1, product(tuple(x.shape)))) if len(x.shape) < 2 else x
    centred = rows - mean(rows, 1, True)
    freedom = maximum(full((), rows.shape[1], core.int64) - correction, 0)
    made: Any = matmul(centred, transpose(centred, 0, 1)) / freedom
    one = len(x.shape) < 2 or (x.shape[0] == 1 if isinstance(x.shape[0], int) else current().is_one(x.shape[0]))
    result: Tensor = reshape(made, ()) if one else made
    return result


@op(kind=REDUCTION, dtypes=floats, tolerance=16.0, samples=lambda m: [(m(3, 6),), (m(5),)] if m.is_float else [])
def corrcoef(x: Tensor) -> Tensor:
    """The correlation coefficients of variables, one in each row, each column an observation.

    Shapes:   x [n, m] → [n, n]; x [m] → []
    Dtypes:   floats
    Gradient: derived
    Errors:   DimensionError for more than two dimensions; DTypeError
    Source:   torch.corrcoef

    >>> corrcoef(tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    from .affine_views import diagonal
    from .choice import clamp

    made: Any = cov(x)
    if not made.shape:
        one: Tensor = made / made
        return one
    spread = diagonal(made) ** 0.5
    return clamp(made / unsqueeze(spread, 1) / unsqueeze(spread, 0), -1.0, 1.0)
