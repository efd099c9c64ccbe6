"""The middle one of elements in order: along a dimension, or of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import BoundsError
from duograph.ir.dim import maximum

from ..definition import REDUCTION, function, op
from ..elementwise.choice import where
from ..reduction.extrema import Extremum, argmax
from ..reduction.reductions import any, sum
from ..shapes.copying import clone
from ..shapes.creation import zeros_like
from ..shapes.joining import cat
from ..shapes.movement import axis, reshape
from ..tracing import constant, require, user_operator
from .sorting import np_sort, selected, to_kept, without

if TYPE_CHECKING:
    from duograph._core import Tensor


def _np_median(skip: bool) -> Any:
    def reference(np: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        rows = x.reshape(-1) if dim is None else x
        at = -1 if dim is None else dim
        if not rows.ndim:
            return (rows, np.zeros((), "int64")) if dim is not None else rows
        values, order = np_sort(np, rows, at)
        bad = np.isnan(values).sum(at, keepdims=True)
        count = rows.shape[at] - bad if skip else np.full_like(bad, rows.shape[at])
        place = np.maximum(count - 1, 0) // 2
        if not skip:
            place = np.where(bad > 0, rows.shape[at] - bad, place)
        found = [np.take_along_axis(part, place, at) for part in (values, order)]
        if dim is None:
            return found[0].reshape(())
        return tuple(part if keepdim else part.squeeze(dim) for part in found)

    return reference


def _median_samples(m: Any) -> Any:
    calls = [(m(7), 0), (m(3, 6), 1), (m(5, 4), 0, True), (m(700), 0), (m(), 0)]
    if m.kind == "f":
        nan = float("nan")
        calls.append((m.of([[1, 3, 2, 0], [nan, 1, 5, 4], [nan, nan, 2, 7]]), 1))
    return calls


def _middle(name: str, x: Any, dim: int, keepdim: bool, skip: bool) -> tuple[Tensor, Tensor]:
    dim = axis(name, dim, len(x.shape))
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    size = x.shape[dim]
    require("lt", 0, size, BoundsError, f"{user_operator(name)}: the median of no elements: shape {tuple(x.shape)}, dim {dim}")
    values, indices = selected(name, x, dim, 1, -1 if skip else (size - 1) // 2, False)
    if not skip and x.dtype.is_floating_point:
        bad = x != x
        spoilt = any(bad, dim, True)
        indices = where(spoilt, argmax(bad, dim, True), indices)
        values = where(spoilt, float("nan"), values)
    return without(values, dim, keepdim), without(indices, dim, keepdim)


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_median_samples, reference=_np_median(False))
def median_along(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower median along a dimension and where it was; NaN if there is one.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   any, kept; int64
    Gradient: to where it was
    Errors:   BoundsError over no elements; DimensionError
    Source:   torch.median

    >>> dg.ops.median_along(tensor([3, 1, 2, 4]), 0)[0]
    tensor(2)
    """
    return _middle("median", x, dim, keepdim, False)


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_median_samples, reference=_np_median(True))
def nanmedian_along(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower median along a dimension of what is no NaN, and where it was.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   any, kept; int64
    Gradient: to where it was
    Errors:   BoundsError over no elements; DimensionError
    Source:   torch.nanmedian

    >>> dg.ops.nanmedian_along(tensor([3.0, float("nan"), 1.0]), 0)[0]
    tensor(1.)
    """
    return _middle("nanmedian", x, dim, keepdim, True)


median_along.vjp(to_kept)
nanmedian_along.vjp(to_kept)


@op(
    kind=REDUCTION,
    method=False,
    public=False,
    samples=lambda m: [(m(3, 4), False), (m(9), True), (m(2, 1, 5), True)],
    reference=lambda np, x, skip: np.sort(x[x == x].ravel() if skip else x.ravel())[((x == x).sum() - 1) // 2],
)
def middle_of_all(x: Tensor, skip: bool) -> Tensor:
    """The lower median of all elements; NaN if one is, or (skip) that of those that are none.

    Shapes:   x [*S] → []
    Dtypes:   any, kept
    Gradient: equal parts to all elements that are it
    Errors:   BoundsError over no elements
    Source:   torch.median

    >>> dg.ops.middle_of_all(tensor([[3, 1], [2, 4]]), False)
    tensor(2)
    """
    return (nanmedian_along if skip else median_along)(reshape(x, -1), 0)[0]


@middle_of_all.vjp
def _(g: Any, out: Any, x: Any, skip: bool) -> Any:
    chosen = (x == out) | ((x != x) & (out != out))
    return where(chosen, g / sum(chosen), 0.0)


def _one_at_least(x: Any) -> Any:
    """All elements in a row, or NaN where a run finds none."""
    row = reshape(x, -1)
    size = row._traced.shape[0]
    return cat([row, constant(float("nan"), x.dtype, (maximum(size, 1) - size,))], 0)


def _median(x: Any, dim: Any, keepdim: bool, along: Any) -> Any:
    if dim is not None:
        return Extremum(along(x, dim, keepdim))
    if x.dtype.is_floating_point:
        empty = x.numel() == 0
        if isinstance(empty, core.Tensor):  # only the run knows
            x = _one_at_least(x)
        elif empty:
            return sum(x) * float("nan")
    return middle_of_all(x, along is nanmedian_along)


def _median_calls(m: Any) -> Any:
    return [(m(3, 4),), (m(9),), *_median_samples(m)]


@function(samples=_median_calls, reference=_np_median(False))
def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of all elements, of two the lower one; with a dim the one along it as (values, indices). NaN stays.

    Of no floats at all it is NaN.

    Shapes:   x [*S] → [], or twice [*S without dim]
    Dtypes:   any, kept; indices int64
    Gradient: to where it was; without a dim in equal parts to all that are it
    Errors:   BoundsError over no elements; DimensionError
    Source:   torch.median

    >>> median(tensor([3, 1, 2, 4]))
    tensor(2)
    """
    return _median(x, dim, keepdim, median_along)


@function(samples=_median_calls, reference=_np_median(True))
def nanmedian(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of what is no NaN, of two the lower one; with a dim the one along it as (values, indices).

    Of no floats at all it is NaN.

    Shapes:   x [*S] → [], or twice [*S without dim]
    Dtypes:   any, kept; indices int64
    Gradient: to where it was; without a dim in equal parts to all that are it
    Errors:   BoundsError over no elements; DimensionError
    Source:   torch.nanmedian

    >>> nanmedian(tensor([3.0, float("nan"), 1.0]))
    tensor(1.)
    """
    return _median(x, dim, keepdim, nanmedian_along)
