"""Covariances and correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DimensionError, DTypeError
from duograph.ir.builder import current
from duograph.ir.dim import product

from ..definition import REDUCTION, op
from ..dtypes import float_promote, floats
from ..elementwise.choice import maximum
from ..elementwise.demands import demanded
from ..matrix.contractions import matmul
from ..shapes.copying import cast
from ..shapes.creation import full
from ..shapes.movement import reshape, unsqueeze
from ..shapes.permuting import transpose
from ..tracing import require_equal, user_operator
from .reductions import sum
from .statistics import mean

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number


def _check_weights(name: str, weights: Tensor, observations: Any) -> None:
    operator = user_operator("cov")
    if len(weights.shape) != 1:
        raise DimensionError(f"{operator}: {name} must have one dimension, got {len(weights.shape)}")
    message = f"{name} has {weights.shape[0]} elements for {observations} observations"
    require_equal(operator, weights.shape[0], observations, message)


@op(
    kind=REDUCTION,
    dtypes=float_promote.on("x", "aweights"),
    tolerance=16.0,
    torch=lambda torch, x, correction=1, fweights=None, aweights=None: torch.cov(
        x, correction=correction, fweights=fweights, aweights=aweights
    ),
    samples=lambda m: (
        [
            (m(3, 6),),
            (m(5),),
            (m(2, 4), 0),
            (m(3, 4), 1, m.ints(4, low=1, high=5)),
            (m(3, 4), 1, None, m(4, low=0.2)),
            (m(4), 0, m.ints(4, low=1, high=5), m(4, low=0.2)),
        ]
        if m.is_float
        else []
    ),
    autocast="lower",
)
def cov(x: Tensor, correction: Number = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariances of variables, one in each row, each column an observation.

    `fweights` says how often each observation was made (whole numbers), `aweights` how much each counts.

    Shapes:   x [n, m] → [n, n]; x [m] → []; weights [m]
    Dtypes:   floats; integers become the default float; fweights integers
    Gradient: derived
    Errors:   DimensionError for more than two dimensions; ShapeError for weights of another size; DTypeError;
              DomainError for weights that are negative or not finite
    Source:   torch.cov

    >>> cov(tensor([[1.0, 2.0, 3.0]]))
    tensor(1.)
    """
    if len(x.shape) > 2:
        raise DimensionError(f"{user_operator('cov')}: takes at most two dimensions, got {len(x.shape)}")
    rows = reshape(x, (1, product(tuple(x.shape)))) if len(x.shape) < 2 else x
    if fweights is not None and fweights.dtype.kind not in "iu":
        raise DTypeError(f"{user_operator('cov')}: fweights must be integers, got {fweights.dtype.name}")
    for given, weight in (("fweights", fweights), ("aweights", aweights)):
        if weight is not None:
            _check_weights(given, weight, rows.shape[1])
    if fweights is not None:
        fweights = cast(demanded("weight", cast(fweights, core.float64)), core.int64)
    if aweights is not None:
        aweights = demanded("weight", aweights)
    weights = aweights if fweights is None else fweights if aweights is None else fweights * aweights
    if weights is None:
        centred = rows - mean(rows, 1, True)
        freedom = maximum(full((), rows.shape[1], core.int64) - correction, 0)
        weighted = centred
    else:
        total = sum(weights)
        centred = rows - unsqueeze(sum(rows * weights, 1) / total, 1)
        spent = correction if aweights is None else correction * sum(weights * aweights) / total
        freedom = maximum(total - spent, 0)
        weighted = centred * weights
    made: Any = matmul(weighted, transpose(centred, 0, 1)) / freedom
    one = len(x.shape) < 2 or (x.shape[0] == 1 if isinstance(x.shape[0], int) else current().is_one(x.shape[0]))
    result: Tensor = reshape(made, ()) if one else made
    return result


@op(
    kind=REDUCTION, dtypes=floats, tolerance=16.0, samples=lambda m: [(m(3, 6),), (m(5),)] if m.is_float else [], autocast="lower"
)
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
    from ..elementwise.choice import clamp
    from ..shapes.affine_views import diagonal

    made: Any = cov(x)
    if not made.shape:
        one: Tensor = made / made
        return one
    spread = diagonal(made) ** 0.5
    return clamp(made / unsqueeze(spread, 1) / unsqueeze(spread, 0), -1.0, 1.0)
