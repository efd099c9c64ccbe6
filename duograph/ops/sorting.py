"""Order along a dimension: sorted, the greatest few, the middle one, where a value belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import IndexError_, ShapeError, ValueError_
from duograph.ir.dim import product

from .choice import where
from .copying import cast, clone
from .creation import full, zeros_like
from .definition import REDUCTION, function, op
from .dtypes import floats, promote
from .indexing import gather, scatter_add
from .movement import axis, broadcast_to, movedim, reshape, squeeze, unsqueeze
from .reductions import Extremum, any, argmax, positions
from .scans import cummax_along, emit_rows
from .slicing import cat, slice
from .tracing import require, require_equal, user_operator
from .unary import ceil, floor

if TYPE_CHECKING:
    from duograph._core import Tensor

    from .definition import Operand, Size


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


def _np_sort(np: Any, x: Any, dim: int = -1, descending: bool = False, *_: Any) -> Any:
    order = _np_order(np, x, dim, descending)
    return (np.take_along_axis(x, order, dim) if x.ndim else x), order


def _samples(m: Any) -> Any:
    calls = [(m(7),), (m(3, 20), 1, True), (m(5, 4), 0), (m(2, 3, 4), -2, True), (m(400),), (m(),), (m(0, 3), 0), (m(2, 0),)]
    if m.kind == "f":
        inf, nan = float("inf"), float("nan")
        calls.append((m.of([1, nan, -0.0, 0.0, -inf, inf, nan, 0.0, -1]), 0, True))
    return calls


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_samples, reference=_np_sort)
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
    reference=_np_sort,
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


def _selected(name: str, x: Any, dim: int, count: Any, first: Any, descending: bool) -> tuple[Tensor, Tensor]:
    shape = tuple(count if d == dim else size for d, size in enumerate(x.shape))
    attrs = {"dim": dim, "descending": descending, "first": first}
    values, indices = emit_rows("select", [x], [(x.dtype, shape), (core.int64, shape)], **attrs)
    return values, indices


def _np_topk(np: Any, x: Any, k: int, dim: int = -1, largest: bool = True, *_: Any) -> Any:
    values, order = _np_sort(np, x, dim, largest)
    return (np.take(values, range(k), dim), np.take(order, range(k), dim)) if x.ndim else (values, order)


def _topk_samples(m: Any) -> Any:
    return [(m(7), 3), (m(3, 5), 2, 1, False), (m(5, 4), 5, 0), (m(700), 300), (m(900), 2, 0), (m(), 1), (m(4), 0)]


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_topk_samples, reference=_np_topk)
def topk_along(x: Tensor, k: Size, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k greatest (or least) elements along a dimension in order, and where each was.

    Shapes:   x [*S] → twice [*S with S[dim] = k]
    Dtypes:   any, kept; int64
    Gradient: to where each was
    Errors:   IndexError_ if there are less than k; DimensionError
    Source:   torch.topk

    >>> dg.ops.topk_along(tensor([3, 1, 2]), 2)[0]
    tensor([3, 2])
    """
    dim = axis("topk", dim, len(x.shape))
    size = x.shape[dim] if x.shape else 1
    require("le", k, size, IndexError_, f"{user_operator('topk')}: k is {k}, dimension {dim} has {size} elements")
    require("le", 0, k, IndexError_, f"{user_operator('topk')}: k must not be negative, got {k}")
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    return _selected("topk", x, dim, k, 0, largest)


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
    Errors:   IndexError_ if there are less than k; DimensionError
    Source:   torch.topk

    >>> topk(tensor([3, 1, 2]), 2).values
    tensor([3, 2])
    """
    return Extremum(topk_along(x, k, dim, largest))


def _np_kth(np: Any, x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    values, order = _np_sort(np, x, dim)
    if not x.ndim:
        return values, order
    at = [k - 1] if keepdim else k - 1
    return np.take(values, at, dim), np.take(order, at, dim)


def _kth_samples(m: Any) -> Any:
    return [(m(7), 3), (m(3, 5), 2, 1), (m(5, 4), 5, 0, True), (m(700), 300), (m(), 1)]


def _without(x: Any, dim: int, keepdim: bool) -> Any:
    return x if keepdim else squeeze(x, dim)


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_kth_samples, reference=_np_kth)
def kthvalue_along(x: Tensor, k: Size, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th least element along a dimension, and where it was.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   any, kept; int64
    Gradient: to where it was
    Errors:   IndexError_ unless 1 ≤ k ≤ S[dim]; DimensionError
    Source:   torch.kthvalue

    >>> dg.ops.kthvalue_along(tensor([3, 1, 2]), 2)[0]
    tensor(2)
    """
    dim = axis("kthvalue", dim, len(x.shape))
    size = x.shape[dim] if x.shape else 1
    message = f"{user_operator('kthvalue')}: k is {k}, it must be in 1 … {size}, the size of dimension {dim}"
    require("le", 1, k, IndexError_, message)
    require("le", k, size, IndexError_, message)
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    values, indices = _selected("kthvalue", x, dim, 1, k - 1, False)
    return _without(values, dim, keepdim), _without(indices, dim, keepdim)


def _kept(g: Any, out: Any, x: Any, dim: int, keepdim: bool) -> Any:
    """The gradient of one element along a dimension goes to where it was."""
    if not x.shape:
        return g[0]
    dim = axis("kthvalue", dim, len(x.shape))
    pair = (g[0], out[1]) if keepdim else (unsqueeze(g[0], dim), unsqueeze(out[1], dim))
    return scatter_add(zeros_like(x), dim, pair[1], pair[0])


@kthvalue_along.vjp
def _(g: Any, out: Any, x: Any, k: Any, dim: int, keepdim: bool) -> Any:
    return _kept(g, out, x, dim, keepdim)


@function(samples=_kth_samples, reference=_np_kth)
def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Extremum:
    """The k-th least element along a dimension and where it was, as (values, indices).

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   any, kept; indices int64
    Gradient: to where it was
    Errors:   IndexError_ unless 1 ≤ k ≤ S[dim]; DimensionError
    Source:   torch.kthvalue

    >>> kthvalue(tensor([3, 1, 2]), 2).values
    tensor(2)
    """
    return Extremum(kthvalue_along(x, k, dim, keepdim))


def _np_median(skip: bool) -> Any:
    def reference(np: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        rows = x.reshape(-1) if dim is None else x
        at = -1 if dim is None else dim
        if not rows.ndim:
            return (rows, np.zeros((), "int64")) if dim is not None else rows
        values, order = _np_sort(np, rows, at)
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
    require("lt", 0, size, IndexError_, f"{user_operator(name)}: the median of no elements: shape {tuple(x.shape)}, dim {dim}")
    values, indices = _selected(name, x, dim, 1, -1 if skip else (size - 1) // 2, False)
    if not skip and x.dtype.is_floating_point:
        bad = x != x
        spoilt = any(bad, dim, True)
        indices = where(spoilt, argmax(bad, dim, True), indices)
        values = where(spoilt, float("nan"), values)
    return _without(values, dim, keepdim), _without(indices, dim, keepdim)


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=_median_samples, reference=_np_median(False))
def median_along(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower median along a dimension and where it was; NaN if there is one.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   any, kept; int64
    Gradient: to where it was
    Errors:   IndexError_ over no elements; DimensionError
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
    Errors:   IndexError_ over no elements; DimensionError
    Source:   torch.nanmedian

    >>> dg.ops.nanmedian_along(tensor([3.0, float("nan"), 1.0]), 0)[0]
    tensor(1.)
    """
    return _middle("nanmedian", x, dim, keepdim, True)


median_along.vjp(_kept)
nanmedian_along.vjp(_kept)


def _median(x: Any, dim: Any, keepdim: bool, along: Any) -> Any:
    return along(reshape(x, -1), 0)[0] if dim is None else Extremum(along(x, dim, keepdim))


def _median_calls(m: Any) -> Any:
    return [(m(3, 4),), (m(9),), *_median_samples(m)]


@function(samples=_median_calls, reference=_np_median(False))
def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of all elements, of two the lower one; with a dim the one along it as (values, indices). NaN stays.

    Shapes:   x [*S] → [], or twice [*S without dim]
    Dtypes:   any, kept; indices int64
    Gradient: to where it was
    Errors:   IndexError_ over no elements; DimensionError
    Source:   torch.median

    >>> median(tensor([3, 1, 2, 4]))
    tensor(2)
    """
    return _median(x, dim, keepdim, median_along)


@function(samples=_median_calls, reference=_np_median(True))
def nanmedian(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of what is no NaN, of two the lower one; with a dim the one along it as (values, indices).

    Shapes:   x [*S] → [], or twice [*S without dim]
    Dtypes:   any, kept; indices int64
    Gradient: to where it was
    Errors:   IndexError_ over no elements; DimensionError
    Source:   torch.nanmedian

    >>> nanmedian(tensor([3.0, float("nan"), 1.0]))
    tensor(1.)
    """
    return _median(x, dim, keepdim, nanmedian_along)


# Quantiles


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
        raise ValueError_(f"{name}: interpolation must be linear, lower, higher, midpoint or nearest, got {interpolation!r}")
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
        from .reductions import sum

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
    from .unary import round

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


@op(kind=REDUCTION, dtypes=floats.on("x"), tolerance=4.0, samples=_quantile_samples, reference=_np_quantile(False))
def quantile(x: Tensor, q: Operand, dim: int | None = None, keepdim: bool = False, interpolation: str = "linear") -> Tensor:
    """The values below which the shares q of the elements lie; NaN if there is one.

    Shapes:   x [*S], q [] or [n] → [*S without dim] or [n, *S without dim]; without a dim of all elements
    Dtypes:   floats, others are rejected
    Gradient: to the elements on both sides
    Errors:   ValueError_ for another interpolation; DTypeError; DimensionError
    Source:   torch.quantile

    >>> quantile(tensor([1.0, 2.0, 4.0]), 0.5)
    tensor(2.)
    """
    return _quantile("quantile", x, q, dim, keepdim, interpolation, False)


@op(kind=REDUCTION, dtypes=floats.on("x"), tolerance=4.0, samples=_quantile_samples, reference=_np_quantile(True))
def nanquantile(x: Tensor, q: Operand, dim: int | None = None, keepdim: bool = False, interpolation: str = "linear") -> Tensor:
    """The values below which the shares q of what is no NaN lie.

    Shapes:   x [*S], q [] or [n] → [*S without dim] or [n, *S without dim]; without a dim of all elements
    Dtypes:   floats, others are rejected
    Gradient: to the elements on both sides
    Errors:   ValueError_ for another interpolation; DTypeError; DimensionError
    Source:   torch.nanquantile

    >>> nanquantile(tensor([1.0, float("nan"), 4.0]), 0.5)
    tensor(2.5000)
    """
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation, True)


# Where values belong


def _np_search(np: Any, bounds: Any, x: Any, *rest: Any) -> Any:
    right = bool(rest and (rest[-1] is True or rest[-1] == "right"))
    side = "right" if right else "left"
    if bounds.ndim == 1:
        return np.searchsorted(bounds, x, side)
    rows = [np.searchsorted(b, v, side) for b, v in zip(bounds.reshape(-1, bounds.shape[-1]), x.reshape(-1, x.shape[-1]))]
    return np.reshape(rows, x.shape)


def _search_samples(m: Any) -> Any:
    np = m.numpy
    rows = np.sort(m(3, 9), -1)
    return [
        (np.sort(m(11)), m(4, 3)),
        (np.sort(m(11)), m(40), True),
        (rows, m(3, 4)),
        (np.sort(m(5)), m()),
        (m(0), m(3)),
        (m.of([0, 1, 1, 1, 1]), m.of([1, 0, 1]), True),
    ]


@op(
    kind=REDUCTION,
    lowers=True,
    dtypes=promote,
    differentiable=False,
    method=False,
    public=False,
    samples=_search_samples,
    reference=_np_search,
)
def search(bounds: Tensor, values: Tensor, right: bool = False) -> Tensor:
    """For each value how many bounds, in order along the last dimension, are below it, or (right) not above it.

    Shapes:   bounds [n], values [*S] → [*S]; bounds [*R, n], values [*R, k] → [*R, k]
    Dtypes:   promote; int64
    Gradient: none
    Errors:   ShapeError
    Source:   numpy.searchsorted

    >>> dg.ops.search(tensor([1, 3, 5]), tensor([3, 4]))
    tensor([1, 2])
    """
    from .dtypes import result_type
    from .tracing import cast_value, operand_type, value_of, wrap

    name = user_operator("searchsorted")
    dtype = result_type(name, [operand_type(bounds), operand_type(values)])
    bounds, values = (wrap(cast_value(value_of(x), dtype)) for x in (bounds, values))
    shape = tuple(values.shape)
    if len(bounds.shape) == 1:
        values = reshape(values, (product(shape),))
    elif len(bounds.shape) != len(shape):
        raise ShapeError(f"{name}: the bounds have {len(bounds.shape)} dimensions, the values {len(shape)}: one, or as many")
    for d, (have, want) in enumerate(zip(values.shape[:-1], bounds.shape[:-1])):
        require_equal(name, have, want, f"size {d} of the values is {have}, of the bounds {want}")
    dim = len(bounds.shape) - 1
    (found,) = emit_rows("search", [bounds, values], [(core.int64, values.shape)], dim=dim, right=right)
    return reshape(found, shape)


def _as_indices(found: Any, out_int32: bool) -> Tensor:
    return cast(found, core.int32) if out_int32 else found


@function(
    differentiable=False,
    method=False,
    reference=lambda np, bounds, x, *rest: _np_search(np, bounds, x, *rest[1:]),
    torch=lambda torch, bounds, x, out_int32=False, right=False: torch.searchsorted(bounds, x, out_int32=out_int32, right=right),
    samples=lambda m: [(np_bounds, x, False, *rest) for np_bounds, x, *rest in _search_samples(m)],
)
def searchsorted(
    sorted_sequence: Tensor,
    values: Operand,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where values would be put into a sequence in order so that it stays in order: before equals, or behind (right).

    Shapes:   sequence [n], values [*S] → [*S]; sequence [*R, n], values [*R, k] → [*R, k]
    Dtypes:   promote; int64, or int32 if `out_int32`
    Gradient: none
    Errors:   ValueError_ for another side; ShapeError
    Source:   torch.searchsorted

    >>> searchsorted(tensor([1, 3, 5]), tensor([3, 4]))
    tensor([1, 2])
    """
    if side not in (None, "left", "right"):
        raise ValueError_(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    if side == "left" and right:
        raise ValueError_("searchsorted: side is 'left', but right is True")
    if sorter is not None:
        sorted_sequence = gather(sorted_sequence, -1, sorter)
    if not isinstance(values, core.Tensor):
        values = core.tensor_from_data(values)
    return _as_indices(search(sorted_sequence, values, right or side == "right"), out_int32)


@function(
    differentiable=False,
    method="bucketize",
    reference=lambda np, x, bounds, *rest: _np_search(np, bounds, x, *rest[1:]),
    samples=lambda m: [(m(4, 3), m.numpy.sort(m(5))), (m(7), m.numpy.sort(m(3)), False, True), (m(), m.numpy.sort(m(3)))],
)
def bucketize(x: Operand, boundaries: Tensor, out_int32: bool = False, right: bool = False) -> Tensor:
    """In which interval between boundaries each element lies: how many are below it, or (right) not above it.

    Shapes:   x [*S], boundaries [n] → [*S]
    Dtypes:   promote; int64, or int32 if `out_int32`
    Gradient: none
    Errors:   ShapeError unless boundaries has one dimension
    Source:   torch.bucketize

    >>> bucketize(tensor([3, 6, 9]), tensor([1, 3, 5, 7]))
    tensor([1, 3, 4])
    """
    if boundaries.dim() != 1:
        raise ShapeError(f"bucketize: boundaries must have one dimension, got shape {tuple(boundaries.shape)}")
    return searchsorted(boundaries, x, out_int32, right)


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
    Errors:   IndexError_ over no elements; DimensionError
    Source:   torch.mode

    >>> dg.ops.mode_along(tensor([1, 2, 2]))[0]
    tensor(2)
    """
    dim = axis("mode", dim, len(x.shape))
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    size = x.shape[dim]
    require("lt", 0, size, IndexError_, f"{user_operator('mode')}: the mode of no elements: shape {tuple(x.shape)}, dim {dim}")
    values, order = sort_along(x, dim)
    place = positions(values, dim)
    differ = slice(values, dim, 1, None) != slice(values, dim, 0, -1)
    edge = full(tuple(1 if d == dim else s for d, s in enumerate(x.shape)), True)
    starts = cummax_along(where(cat([edge, differ], dim), place, 0), dim)[0]
    lengths = where(cat([differ, edge], dim), place - starts, -1)
    best = argmax(lengths, dim, True)
    return _without(gather(values, dim, best), dim, keepdim), _without(gather(order, dim, best), dim, keepdim)


mode_along.vjp(_kept)


@function(samples=_mode_samples, reference=_np_mode)
def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Extremum:
    """The value that occurs most often along a dimension, the least of several, and where it is last.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim, as (values, indices)
    Dtypes:   any, kept; indices int64
    Gradient: to where it is
    Errors:   IndexError_ over no elements; DimensionError
    Source:   torch.mode

    >>> mode(tensor([1, 2, 2])).values
    tensor(2)
    """
    return Extremum(mode_along(x, dim, keepdim))
