"""Further ways to drop elements at random: whole channels, and to the value that keeps mean and variance of SELU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DimensionError, DomainError

from ..definition import RANDOM, function, op
from ..dtypes import floats
from ..elementwise.choice import where
from ..elementwise.unary import rsqrt
from .random import _as, _uniform

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number

_SATURATED = -1.7580993408473766  # what SELU tends to for negative numbers


@op(kind=RANDOM, dtypes=floats, method=False, public=False)
def dropped(x: Tensor, p: Number, shared: int | None = None, alpha: bool = False) -> tuple[Tensor, Tensor]:
    """x with elements dropped with probability p, one decision for all that share their first `shared` indices; the mask.

    Shapes:   x [*S] → [*S], [*S[:shared], 1, …]
    Dtypes:   floats; bool
    Gradient: as x was treated
    Errors:   DTypeError unless floating point
    Source:   Tompson et al. 2015; Klambauer et al. 2017

    >>> dg.ops.dropped(tensor([1.0, 2.0]), 0.0)[0]
    tensor([1., 2.])
    """
    shape = tuple(x.shape)
    decisions = shape if shared is None else (*shape[:shared], *(1,) * (len(shape) - shared))
    kept = _uniform(decisions, core.float32) >= _as(p, core.float32)
    if not alpha:
        return where(kept, x * _scale(p, False), 0.0), kept
    scale = _scale(p, True)
    return where(kept, x, _SATURATED) * scale - p * scale * _SATURATED, kept


def _scale(p: Any, alpha: bool) -> Any:
    return rsqrt((1.0 - p) * (1.0 + p * _SATURATED**2)) if alpha else 1.0 / (1.0 - p)


@dropped.vjp
def _(g: Any, out: Any, x: Any, p: Any, shared: Any, alpha: Any) -> Any:
    return where(out[1], g[0] * _scale(p, alpha), 0.0)


def _drop(name: str, x: Any, p: float, training: bool, inplace: bool, shared: int | None = None, alpha: bool = False) -> Any:
    if not 0 <= p <= 1:
        raise DomainError(f"{name}: p must be between 0 and 1, got {p}")
    if not training or p == 0:
        return x
    made = x * 0.0 if p == 1 else dropped(x, p, shared, alpha)[0]
    return x.copy_(made) if inplace else made


def _shared(name: str, x: Any, dims: int) -> int:
    """How many leading indices say which channel it is: of a batch, or of one example."""
    if x.dim() not in (dims + 1, dims + 2):
        raise DimensionError(f"{name}: x must have {dims + 1} or {dims + 2} dimensions, got {x.dim()}")
    return int(x.dim()) - dims


@function(functional=True, method=False, samples=lambda m: [(m(2, 3, 2), 0.5, False)] if m.is_float else [])
def dropout1d(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, sets whole channels of 1 dimension to zero with probability p and divides the rest by 1 - p.

    Shapes:   x [n, c, *S] or [c, *S] with 1 in S → the same
    Dtypes:   floats
    Gradient: as x was treated
    Errors:   DomainError unless 0 ≤ p ≤ 1; DimensionError; DTypeError
    Source:   Tompson et al. 2015; torch.nn.functional.dropout1d

    >>> dg.nn.functional.dropout1d(dg.ones(1, 2, 1), 0.5, training=False).shape
    duograph.Size([1, 2, 1])
    """
    shared = _shared("dropout1d", x, 1)
    return _drop("dropout1d", x, p, training, inplace, shared)  # type: ignore[no-any-return]


@function(functional=True, method=False, samples=lambda m: [(m(2, 3, 2, 2), 0.5, False)] if m.is_float else [])
def dropout2d(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, sets whole channels of 2 dimensions to zero with probability p and divides the rest by 1 - p.

    Three dimensions are a batch of channels of one dimension, as in PyTorch.

    Shapes:   x [n, c, *S] or [c, *S] with 2 in S → the same
    Dtypes:   floats
    Gradient: as x was treated
    Errors:   DomainError unless 0 ≤ p ≤ 1; DimensionError; DTypeError
    Source:   Tompson et al. 2015; torch.nn.functional.dropout2d

    >>> dg.nn.functional.dropout2d(dg.ones(1, 2, 1, 1), 0.5, training=False).shape
    duograph.Size([1, 2, 1, 1])
    """
    shared = 2 if x.dim() == 3 else _shared("dropout2d", x, 2)
    return _drop("dropout2d", x, p, training, inplace, shared)  # type: ignore[no-any-return]


@function(functional=True, method=False, samples=lambda m: [(m(2, 3, 2, 2, 2), 0.5, False)] if m.is_float else [])
def dropout3d(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, sets whole channels of 3 dimensions to zero with probability p and divides the rest by 1 - p.

    Shapes:   x [n, c, *S] or [c, *S] with 3 in S → the same
    Dtypes:   floats
    Gradient: as x was treated
    Errors:   DomainError unless 0 ≤ p ≤ 1; DimensionError; DTypeError
    Source:   Tompson et al. 2015; torch.nn.functional.dropout3d

    >>> dg.nn.functional.dropout3d(dg.ones(1, 2, 1, 1, 1), 0.5, training=False).shape
    duograph.Size([1, 2, 1, 1, 1])
    """
    shared = _shared("dropout3d", x, 3)
    return _drop("dropout3d", x, p, training, inplace, shared)  # type: ignore[no-any-return]


@function(functional=True, method=False, samples=lambda m: [(m(3, 4), 0.5, False)] if m.is_float else [])
def alpha_dropout(x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """In training, sets elements to SELU's lower limit with probability p, then keeps mean 0 and variance 1 by scaling.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats
    Gradient: as x was treated
    Errors:   DomainError unless 0 ≤ p ≤ 1; DTypeError
    Source:   Klambauer et al. 2017; torch.nn.functional.alpha_dropout

    >>> dg.nn.functional.alpha_dropout(tensor([1.0, 2.0]), 0.5, training=False)
    tensor([1., 2.])
    """
    return _drop("alpha_dropout", x, p, training, inplace, None, True)  # type: ignore[no-any-return]


@function(functional=True, method=False, samples=lambda m: [(m(3, 4, 2), 0.5, False)] if m.is_float else [])
def feature_alpha_dropout(x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels: one decision for each of the first two indices.

    Shapes:   x [n, c, *S] → the same
    Dtypes:   floats
    Gradient: as x was treated
    Errors:   DomainError unless 0 ≤ p ≤ 1; DimensionError for fewer than two dimensions; DTypeError
    Source:   torch.nn.functional.feature_alpha_dropout

    >>> dg.nn.functional.feature_alpha_dropout(dg.ones(1, 2), 0.5, training=False)
    tensor([[1., 1.]])
    """
    if x.dim() < 2:
        raise DimensionError(f"feature_alpha_dropout: x must have at least two dimensions, got {x.dim()}")
    return _drop("feature_alpha_dropout", x, p, training, inplace, 2, True)  # type: ignore[no-any-return]
