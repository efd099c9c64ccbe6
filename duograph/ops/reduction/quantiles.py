"""Quantiles: the values below which a share of the elements lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError

from ..definition import REDUCTION, op
from ..dtypes import floats
from ..elementwise.choice import where
from ..elementwise.rounding import ceil, floor, round
from ..selection.indexing import gather
from ..selection.sorting import sort_along
from ..shapes.copying import cast
from ..shapes.creation import full
from ..shapes.movement import axis, broadcast_to, reshape, unsqueeze
from ..shapes.permuting import movedim
from ..tracing import user_operator
from .reductions import any, sum

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand


def _np_quantile(skip: bool) -> Any:
    def reference(np: Any, x: Any, q: Any, dim: Any = None, keepdim: bool = False, interpolation: str = "linear") -> Any:
        return (np.nanquantile if skip else np.quantile)(x, q, dim, keepdims=keepdim, method=interpolation)

    return reference


def _quantile_samples(m: Any) -> Any:
    if not m.is_float:
        return [(m(4), 0.5)]
    calls = [(m(7), 0.3), (m(3, 5), m.of([0.1, 0.5, 0.95]), 1), (m(5, 4), 0.25, 0, True), (m(3, 4), 0.6)]
    return calls + [(m(6), 0.37, 0, False, how) for how in ("lower", "higher", "midpoint", "nearest")]


def _quantile(name: str, x: Any, q: Any, dim: Any, keepdim: bool, interpolation: str, skip: bool) -> Tensor:
    name = user_operator(name)
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise DomainError(f"{name}: interpolation must be linear, lower, higher, midpoint or nearest, got {interpolation!r}")
    shape = tuple(x.shape)
    if dim is None:
        x, at = reshape(x, -1), 0
    else:
        at = axis(name, dim, len(shape))
        x = movedim(x, at, -1) if shape else reshape(x, 1)
    many = len(getattr(q, "shape", ())) == 1
    ranks = q if hasattr(q, "shape") else full((), q, x.dtype)
    ranks = cast(reshape(ranks, -1), x.dtype)
    ordered = sort_along(x, -1)[0]
    last = ordered.shape[-1] - 1
    rest = tuple(x.shape[:-1])
    if skip:
        last = cast(sum(x == x, -1, True) - 1, x.dtype)
    place = ranks * last
    if not skip:
        place = broadcast_to(place, (*rest, ranks.shape[0]))
        place = where(any(x != x, -1, True), last, place)
    place = where(place < 0, 0.0, place)
    found = _between(ordered, place, interpolation)
    if keepdim:
        found = unsqueeze(found, -1)
        kept = tuple(1 for _ in shape) if dim is None else tuple(1 if d == at else s for d, s in enumerate(shape))
        found = movedim(found, -2, 0)
        inner = found if dim is None else movedim(found, -1, at + 1)
        found = reshape(inner, (ranks.shape[0], *kept))
    else:
        found = movedim(found, -1, 0)
    return found if many else reshape(found, tuple(found.shape[1:]))


def _between(ordered: Any, place: Any, interpolation: str) -> Tensor:
    """What lies at places between the elements of rows in order."""
    if interpolation == "nearest":
        return gather(ordered, -1, cast(round(place), core.int64))
    low, high = floor(place), ceil(place)
    if interpolation == "lower":
        return gather(ordered, -1, cast(low, core.int64))
    above = gather(ordered, -1, cast(high, core.int64))
    if interpolation == "higher":
        return above
    below = gather(ordered, -1, cast(low, core.int64))
    weight = 0.5 * (high - low) if interpolation == "midpoint" else place - low
    return where(low == high, below, below + (above - below) * weight)


@op(
    kind=REDUCTION,
    dtypes=floats.on("x"),
    tolerance=4.0,
    samples=_quantile_samples,
    reference=_np_quantile(False),
    autocast="float32",
)
def quantile(x: Tensor, q: Operand, dim: int | None = None, keepdim: bool = False, interpolation: str = "linear") -> Tensor:
    """The values below which the shares q of the elements lie; NaN if there is one.

    Shapes:   x [*S], q [] or [n] → [*S without dim] or [n, *S without dim]; without a dim of all elements
    Dtypes:   floats, others are rejected
    Gradient: to the elements on both sides
    Errors:   DomainError for another interpolation; DTypeError; DimensionError
    Source:   torch.quantile

    >>> quantile(tensor([1.0, 2.0, 4.0]), 0.5)
    tensor(2.)
    """
    return _quantile("quantile", x, q, dim, keepdim, interpolation, False)


@op(
    kind=REDUCTION,
    dtypes=floats.on("x"),
    tolerance=4.0,
    samples=_quantile_samples,
    reference=_np_quantile(True),
    autocast="float32",
)
def nanquantile(x: Tensor, q: Operand, dim: int | None = None, keepdim: bool = False, interpolation: str = "linear") -> Tensor:
    """The values below which the shares q of what is no NaN lie.

    Shapes:   x [*S], q [] or [n] → [*S without dim] or [n, *S without dim]; without a dim of all elements
    Dtypes:   floats, others are rejected
    Gradient: to the elements on both sides
    Errors:   DomainError for another interpolation; DTypeError; DimensionError
    Source:   torch.nanquantile

    >>> nanquantile(tensor([1.0, float("nan"), 4.0]), 0.5)
    tensor(2.5000)
    """
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation, True)
