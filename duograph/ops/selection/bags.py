"""Rows of a table, combined by bags."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DimensionError, DomainError, DTypeError, ShapeError

from ..definition import INDEXING, function, op
from ..dtypes import floats
from ..elementwise.choice import maximum, where
from ..reduction.extrema import argmax, peak, positions
from ..reduction.reductions import sum
from ..shapes.copying import cast
from ..shapes.creation import full
from ..shapes.joining import cat
from ..shapes.movement import unsqueeze
from ..shapes.slicing import select, slice
from .indexing import add_along, gather, require_index, take_along
from .scattering import index_reduce
from .searching import search
from .tables import bring_down, embedding

if TYPE_CHECKING:
    from duograph._core import Tensor

_NAME = "embedding_bag"


def _bags(x: Any, offsets: Any, with_end: bool) -> tuple[Any, Any]:
    """For each element the number of its bag, and how many bags there are; elements behind them are in one more."""
    place = positions(x, 0)
    offsets = cast(offsets, core.int64)
    refused = (peak(offsets, 0) > x.shape[0]) | (peak(-offsets, 0) > 0)
    count = offsets.shape[0] - with_end
    found = search(slice(offsets, 0, 0, count), place, True) - 1
    found = where((found < 0) | refused, count + 1, found)  # which is out of range, and refused where it is used
    return (where(place >= select(offsets, 0, -1), count, found) if with_end else found), count


def _added(bags: Any, count: Any, source: Any) -> Any:
    """Sums over the bags."""
    empty = full((count + 1, *source.shape[1:]), 0, source.dtype)
    return slice(add_along(empty, bags, source, 0), 0, 0, count)


def _first_of_greatest(rows: Any, bags: Any, count: Any) -> Any:
    """For each bag and column the number of the first element with the greatest number; as many as there are if none."""
    lowest = full((count + 1, rows.shape[1]), -math.inf, rows.dtype)
    greatest = take_along(index_reduce(lowest, 0, bags, rows, "amax"), bags, 0)
    attains = (rows == greatest) | (rows != rows)
    total = rows.shape[0]
    place = where(attains, positions(rows, 0), total)
    return slice(index_reduce(full((count + 1, rows.shape[1]), total, core.int64), 0, bags, place, "amin"), 0, 0, count)


def _greatest(x: Any, weight: Any, rows: Any, counts: Any, bags: Any, count: Any) -> Any:
    """The greatest number of each column, by a gather that leads the gradient to the first that attains it."""
    if counts is not None:
        rows = where(unsqueeze(counts, -1), rows, -math.inf)
    if bags is None:
        place = argmax(rows, 1)
        found = gather(weight, 0, gather(x, 1, place))
        some = None if counts is None else unsqueeze(sum(cast(counts, core.int64), 1), 1) > 0
    else:
        place = _first_of_greatest(rows, bags, count)
        some = place < x.shape[0]
        if counts is not None:
            some = some & (unsqueeze(_added(bags, count, cast(counts, core.int64)), 1) > 0)
        one_more = cat([x, full((1,), 0, x.dtype)])  # for bags without elements
        found = gather(weight, 0, take_along(one_more, place, 0))
    return found if some is None else where(some, found, 0.0)


@op(kind=INDEXING, dtypes=floats.on("weight", "per_sample_weights"), method=False, public=False)
def bagged(
    x: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    per_sample_weights: Tensor | None = None,
    mode: str = "mean",
    padding_idx: int | None = None,
    include_last_offset: bool = False,
    scale_grad_by_freq: bool = False,
) -> Tensor:
    """`embedding_bag` without `max_norm`.

    Shapes:   as there
    Dtypes:   as there
    Gradient: derived
    Errors:   BoundsError for a row out of range, an offset beyond the elements, elements before the first offset
    Source:   torch.nn.functional.embedding_bag

    >>> dg.ops.bagged(tensor([[0, 1]]), tensor([[1.0], [3.0]]))
    tensor([[2.]])
    """
    rows = embedding(x, weight, padding_idx, scale_grad_by_freq)
    counts = None if padding_idx is None else x != padding_idx
    bags, count = (None, None) if offsets is None else _bags(x, offsets, include_last_offset)
    if mode == "max":
        return _greatest(x, weight, rows, counts, bags, count)  # type: ignore[no-any-return]
    if counts is not None:
        rows = where(unsqueeze(counts, -1), rows, 0.0)
    if per_sample_weights is not None:
        rows = rows * unsqueeze(per_sample_weights, -1)
    made = sum(rows, 1) if bags is None else _added(bags, count, rows)
    if mode == "sum":
        return made
    ones = positions(x, 0) * 0 + 1 if counts is None else cast(counts, core.int64)
    number = sum(ones, 1) if bags is None else _added(bags, count, ones)
    return made / cast(unsqueeze(maximum(number, 1), 1), made.dtype)


def _check(x: Any, weight: Any, offsets: Any, mode: str, psw: Any, freq: bool, sparse: bool) -> None:
    if weight.dim() != 2:
        raise ShapeError(f"{_NAME}: weight must have two dimensions, got shape {tuple(weight.shape)}")
    if x.dim() not in (1, 2):
        raise DimensionError(f"{_NAME}: input must have 1 or 2 dimensions, got {x.dim()}")
    require_index(_NAME, x, "input")
    if x.dim() == 2 and offsets is not None:
        raise ArgumentError(f"{_NAME}: input of two dimensions has a bag in each row, offsets must be None")
    if x.dim() == 1:
        if offsets is None:
            raise ArgumentError(f"{_NAME}: input of one dimension needs offsets")
        require_index(_NAME, offsets, "offsets")
        if offsets.dim() != 1:
            raise DimensionError(f"{_NAME}: offsets must have one dimension, got {offsets.dim()}")
    if mode not in ("sum", "mean", "max"):
        raise DomainError(f"{_NAME}: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if sparse:
        raise DomainError(f"{_NAME}: there are no sparse gradients", hint="leave out sparse=True")
    if mode == "max" and freq:
        raise ArgumentError(f"{_NAME}: scale_grad_by_freq is not for mode='max'")
    if psw is None:
        return
    if mode != "sum":
        raise ArgumentError(f"{_NAME}: per_sample_weights are for mode='sum' only, got mode={mode!r}")
    if psw.shape != x.shape:
        raise ShapeError(f"{_NAME}: per_sample_weights must have input's shape {tuple(x.shape)}, got {tuple(psw.shape)}")
    if psw.dtype is not weight.dtype:
        raise DTypeError(f"{_NAME}: per_sample_weights must be {weight.dtype.name} as weight is, got {psw.dtype.name}")


@function(
    functional=True,
    method=False,
    samples=lambda m: (
        [
            (m.ints(2, 3, high=4), m(4, 3)),
            (m.ints(5, high=4), m(4, 3), m.of([0, 2, 2]).astype("int64"), None, 2.0, False, "sum", False, m(5)),
            (m.ints(5, high=4), m(4, 3), m.of([0, 2, 4]).astype("int64"), None, 2.0, False, "max", False, None, True),
            (m.ints(3, 4, high=4), m(4, 3), None, None, 2.0, False, "max", False, None, False, 1),
            (m.ints(5, high=2), m(4, 3), m.of([0, 4]).astype("int64"), None, 2.0, False, "mean", False, None, False, 1),
        ]
        if m.is_float
        else []
    ),
)
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of rows of a table, over bags of row numbers: rows of `input`, or parts that begin at `offsets`.

    With `include_last_offset` the last offset is the end of the last bag. The row `padding_idx` counts for nothing. Rows that
    are read and whose norm exceeds `max_norm` are first brought down to it, in place; `sparse` must be False.

    Shapes:   input [b, n] or [n] with offsets [b], weight [r, d], per_sample_weights as input → [b, d]
    Dtypes:   input and offsets integers; weight's
    Gradient: to weight, of a maximum to the first row that attains it; to per_sample_weights
    Errors:   BoundsError for a row out of range, offsets beyond input, a first offset that is not 0; ArgumentError; ShapeError
    Source:   torch.nn.functional.embedding_bag

    >>> dg.nn.functional.embedding_bag(tensor([0, 1, 1]), tensor([[1.0], [3.0]]), tensor([0, 2]))
    tensor([[2.],
            [3.]])
    """
    _check(input, weight, offsets, mode, per_sample_weights, scale_grad_by_freq, sparse)
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise DomainError(f"{_NAME}: padding_idx {padding_idx} is outside a table of {weight.shape[0]} rows")
        padding_idx = padding_idx + weight.shape[0] if padding_idx < 0 else padding_idx
    if max_norm is not None:
        bring_down(input, weight.detach(), max_norm, norm_type)
    return bagged(input, weight, offsets, per_sample_weights, mode, padding_idx, include_last_offset, scale_grad_by_freq)
