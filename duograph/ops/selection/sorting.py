"""Order along a dimension: sorted, the greatest few, the k-th, what occurs most often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import BoundsError

from ..definition import REDUCTION, function, op
from ..elementwise.choice import where
from ..reduction.extrema import Extremum, argmax, positions
from ..reduction.scans import cummax_along, emit_rows
from ..shapes.copying import clone
from ..shapes.creation import full, zeros_like
from ..shapes.joining import cat
from ..shapes.movement import axis, reshape, squeeze, unsqueeze
from ..shapes.slicing import slice
from ..tracing import require, user_operator
from .indexing import gather, scatter_add

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Size


def _to_source(g: Any, out: Any, x: Any, dim: int, *_: Any) -> Any:
    """The gradient goes to the elements that were chosen."""
    if not x.shape:
        return reshape(g[0], ())
    return scatter_add(zeros_like(x), axis("sort", dim, len(x.shape)), out[1], g[0])


def _np_order(np: Any, x: Any, dim: int, descending: bool) -> Any:
    """Stable, NaN as the greatest."""
    if not x.ndim:
        return np.zeros((), "int64")
    if not descending:
        return np.argsort(x, dim, kind="stable")
    last = x.shape[dim] - 1
    return last - np.flip(np.argsort(np.flip(x, dim), dim, kind="stable"), dim)


def np_sort(np: Any, x: Any, dim: int = -1, descending: bool = False, *_: Any) -> Any:
    """Values and indices in order, by NumPy."""
    order = _np_order(np, x, dim, descending)
    return (np.take_along_axis(x, order, dim) if x.ndim else x), order


def _samples(m: Any) -> Any:
    calls = [(m(7),), (m(3, 20), 1, True), (m(5, 4), 0), (m(2, 3, 4), -2, True), (m(400),), (m(),), (m(0, 3), 0), (m(2, 0),)]
    if m.kind == "f":
        inf, nan = float("inf"), float("nan")
        calls.append((m.of([1, nan, -0.0, 0.0, -inf, inf, nan, 0.0, -1]), 0, True))
    return calls


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_samples, reference=np_sort)
def sort_along(x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """The elements in order along a dimension, and where each was. Equal ones keep their order; NaN is the greatest.

    Shapes:   x [*S] → twice [*S]
    Dtypes:   any, kept; int64
    Gradient: to where each was
    Errors:   DimensionError
    Source:   torch.sort

    >>> dg.ops.sort_along(tensor([3, 1, 2]))[1]
    tensor([1, 2, 0])
    """
    dim = axis("sort", dim, len(x.shape))
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    results = [(x.dtype, x.shape), (core.int64, x.shape)]
    values, indices = emit_rows("sort", [x], results, dim=dim, descending=descending)
    return values, indices


sort_along.vjp(_to_source)


@function(
    samples=_samples,
    reference=np_sort,
    torch=lambda torch, x, dim=-1, descending=False: torch.sort(x, dim=dim, descending=descending, stable=True),
)
def sort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Extremum:
    """The elements in order along a dimension, and where each was, as (values, indices).

    Equal elements keep their order, whether `stable` is asked for or not; NaN is the greatest.

    Shapes:   x [*S] → twice [*S]
    Dtypes:   any, kept; indices int64
    Gradient: to where each was
    Errors:   DimensionError
    Source:   torch.sort

    >>> sort(tensor([3, 1, 2])).values
    tensor([1, 2, 3])
    """
    return Extremum(sort_along(x, dim, descending))


@op(
    kind=REDUCTION,
    lowers=True,
    differentiable=False,
    samples=_samples,
    reference=lambda np, x, dim=-1, descending=False: _np_order(np, x, dim, descending),
    torch=lambda torch, x, dim=-1, descending=False: torch.argsort(x, dim=dim, descending=descending, stable=True),
)
def argsort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that put a dimension in order. Equal elements keep their order; NaN is the greatest.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; int64
    Gradient: none
    Errors:   DimensionError
    Source:   torch.argsort

    >>> argsort(tensor([3, 1, 2]))
    tensor([1, 2, 0])
    """
    dim = axis("argsort", dim, len(x.shape))
    if not x.shape:
        return zeros_like(x, core.int64)
    return emit_rows("sort", [x], [(x.dtype, x.shape), (core.int64, x.shape)], dim=dim, descending=descending)[1]


@op(kind=REDUCTION, reference=lambda np, x: np.sort(x, 0), samples=lambda m: [(m(7),), (m(5, 3),), (m(0, 2),)])
def msort(x: Tensor) -> Tensor:
    """The elements in order along the first dimension.

    Shapes:   x [*S] → [*S]
    Dtypes:   any, kept
    Gradient: to where each was
    Errors:   none
    Source:   torch.msort

    >>> msort(tensor([3, 1, 2]))
    tensor([1, 2, 3])
    """
    return sort_along(x, 0)[0]


# Some of the order


def selected(name: str, x: Any, dim: int, count: Any, first: Any, descending: bool) -> tuple[Tensor, Tensor]:
    """So many elements of the order along a dimension, and where each was; first = -1: the lower median of what is no NaN."""
    shape = tuple(count if d == dim else size for d, size in enumerate(x.shape))
    attrs = {"dim": dim, "descending": descending, "first": first}
    values, indices = emit_rows("select", [x], [(x.dtype, shape), (core.int64, shape)], **attrs)
    return values, indices


def _np_topk(np: Any, x: Any, k: int, dim: int = -1, largest: bool = True, *_: Any) -> Any:
    values, order = np_sort(np, x, dim, largest)
    return (np.take(values, range(k), dim), np.take(order, range(k), dim)) if x.ndim else (values, order)


def _topk_samples(m: Any) -> Any:
    return [(m(7), 3), (m(3, 5), 2, 1, False), (m(5, 4), 5, 0), (m(700), 300), (m(900), 2, 0), (m(), 1), (m(4), 0)]


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_topk_samples, reference=_np_topk)
def topk_along(x: Tensor, k: Size, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k greatest (or least) elements along a dimension in order, and where each was.

    Shapes:   x [*S] → twice [*S with S[dim] = k]
    Dtypes:   any, kept; int64
    Gradient: to where each was
    Errors:   BoundsError if there are less than k; DimensionError
    Source:   torch.topk

    >>> dg.ops.topk_along(tensor([3, 1, 2]), 2)[0]
    tensor([3, 2])
    """
    dim = axis("topk", dim, len(x.shape))
    size = x.shape[dim] if x.shape else 1
    require("le", k, size, BoundsError, f"{user_operator('topk')}: k is {k}, dimension {dim} has {size} elements")
    require("le", 0, k, BoundsError, f"{user_operator('topk')}: k must not be negative, got {k}")
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    return selected("topk", x, dim, k, 0, largest)


@topk_along.vjp
def _(g: Any, out: Any, x: Any, k: Any, dim: int, largest: bool) -> Any:
    return _to_source(g, out, x, dim)


def _torch_topk(torch: Any, x: Any, k: int, dim: int = -1, largest: bool = True) -> Any:
    """By a stable sort: which of equal elements PyTorch's own takes is left open."""
    return [part.narrow(dim, 0, k) if x.dim() else part for part in torch.sort(x, dim=dim, descending=largest, stable=True)]


@function(samples=_topk_samples, reference=_np_topk, torch=_torch_topk)
def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Extremum:
    """The k greatest (or least) elements along a dimension and where each was, as (values, indices), always in order.

    Of equal elements those in front are taken first.

    Shapes:   x [*S] → twice [*S with S[dim] = k]
    Dtypes:   any, kept; indices int64
    Gradient: to where each was
    Errors:   BoundsError if there are less than k; DimensionError
    Source:   torch.topk

    >>> topk(tensor([3, 1, 2]), 2).values
    tensor([3, 2])
    """
    return Extremum(topk_along(x, k, dim, largest))


def _np_kth(np: Any, x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    values, order = np_sort(np, x, dim)
    if not x.ndim:
        return values, order
    at = [k - 1] if keepdim else k - 1
    return np.take(values, at, dim), np.take(order, at, dim)


def _kth_samples(m: Any) -> Any:
    return [(m(7), 3), (m(3, 5), 2, 1), (m(5, 4), 5, 0, True), (m(700), 300), (m(), 1)]


def without(x: Any, dim: int, keepdim: bool) -> Any:
    """A dimension of size 1 is dropped unless it is to be kept."""
    return x if keepdim else squeeze(x, dim)


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_kth_samples, reference=_np_kth)
def kthvalue_along(x: Tensor, k: Size, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th least element along a dimension, and where it was.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   any, kept; int64
    Gradient: to where it was
    Errors:   BoundsError unless 1 ≤ k ≤ S[dim]; DimensionError
    Source:   torch.kthvalue

    >>> dg.ops.kthvalue_along(tensor([3, 1, 2]), 2)[0]
    tensor(2)
    """
    dim = axis("kthvalue", dim, len(x.shape))
    size = x.shape[dim] if x.shape else 1
    message = f"{user_operator('kthvalue')}: k is {k}, it must be in 1 … {size}, the size of dimension {dim}"
    require("le", 1, k, BoundsError, message)
    require("le", k, size, BoundsError, message)
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    values, indices = selected("kthvalue", x, dim, 1, k - 1, False)
    return without(values, dim, keepdim), without(indices, dim, keepdim)


def to_kept(g: Any, out: Any, x: Any, dim: int, keepdim: bool) -> Any:
    """The gradient of one element along a dimension goes to where it was."""
    if not x.shape:
        return g[0]
    dim = axis("kthvalue", dim, len(x.shape))
    pair = (g[0], out[1]) if keepdim else (unsqueeze(g[0], dim), unsqueeze(out[1], dim))
    return scatter_add(zeros_like(x), dim, pair[1], pair[0])


@kthvalue_along.vjp
def _(g: Any, out: Any, x: Any, k: Any, dim: int, keepdim: bool) -> Any:
    return to_kept(g, out, x, dim, keepdim)


@function(samples=_kth_samples, reference=_np_kth)
def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Extremum:
    """The k-th least element along a dimension and where it was, as (values, indices).

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   any, kept; indices int64
    Gradient: to where it was
    Errors:   BoundsError unless 1 ≤ k ≤ S[dim]; DimensionError
    Source:   torch.kthvalue

    >>> kthvalue(tensor([3, 1, 2]), 2).values
    tensor(2)
    """
    return Extremum(kthvalue_along(x, k, dim, keepdim))


# What occurs most often


def _np_mode(np: Any, x: Any, dim: int = -1, keepdim: bool = False) -> Any:
    if not x.ndim:
        return x, np.zeros((), "int64")
    rows = np.moveaxis(x, dim, -1)
    values, indices = np.empty(rows.shape[:-1], x.dtype), np.empty(rows.shape[:-1], "int64")
    for at in np.ndindex(rows.shape[:-1]):
        found, counts = np.unique(rows[at], return_counts=True)
        values[at] = found[np.argmax(counts)]
        indices[at] = np.flatnonzero(rows[at] == values[at])[-1]
    if keepdim:
        values, indices = np.expand_dims(values, dim), np.expand_dims(indices, dim)
    return values, indices


def _mode_samples(m: Any) -> Any:
    top = float("inf") if m.is_float else 4  # no finite differences where values are equal
    return [(m.of([1, 3, 1, 2, 3, top]),), (m.of([[1, 2, 2], [3, 3, top]]), 1), (m(4, 3), 0, True), (m(),)]


@op(kind=REDUCTION, method=False, public=False, samples=_mode_samples, reference=_np_mode)
def mode_along(x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The value that occurs most often along a dimension, the least of several, and where it is last.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   any, kept; int64
    Gradient: to where it is
    Errors:   BoundsError over no elements; DimensionError
    Source:   torch.mode

    >>> dg.ops.mode_along(tensor([1, 2, 2]))[0]
    tensor(2)
    """
    dim = axis("mode", dim, len(x.shape))
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    size = x.shape[dim]
    require("lt", 0, size, BoundsError, f"{user_operator('mode')}: the mode of no elements: shape {tuple(x.shape)}, dim {dim}")
    values, order = sort_along(x, dim)
    place = positions(values, dim)
    differ = slice(values, dim, 1, None) != slice(values, dim, 0, -1)
    edge = full(tuple(1 if d == dim else s for d, s in enumerate(x.shape)), True)
    starts = cummax_along(where(cat([edge, differ], dim), place, 0), dim)[0]
    lengths = where(cat([differ, edge], dim), place - starts, -1)
    best = argmax(lengths, dim, True)
    return without(gather(values, dim, best), dim, keepdim), without(gather(order, dim, best), dim, keepdim)


mode_along.vjp(to_kept)


@function(samples=_mode_samples, reference=_np_mode)
def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Extremum:
    """The value that occurs most often along a dimension, the least of several, and where it is last.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim, as (values, indices)
    Dtypes:   any, kept; indices int64
    Gradient: to where it is
    Errors:   BoundsError over no elements; DimensionError
    Source:   torch.mode

    >>> mode(tensor([1, 2, 2])).values
    tensor(2)
    """
    return Extremum(mode_along(x, dim, keepdim))
