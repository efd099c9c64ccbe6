"""How often what occurs: histograms, distinct elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError, DTypeError, ShapeError
from duograph.ir.builder import current
from duograph.ir.dim import minimum as lesser
from duograph.ir.dim import product

from ..definition import INDEXING, REDUCTION, function, op
from ..dtypes import floats
from ..elementwise.choice import clamp, maximum, where
from ..elementwise.demands import demanded
from ..elementwise.rounding import floor
from ..reduction.extrema import peak
from ..reduction.reductions import any, reduced
from ..reduction.scans import cumsum, emit_rows
from ..shapes.copying import cast
from ..shapes.creation import full, iota, zeros_like
from ..shapes.joining import cat
from ..shapes.movement import axis, broadcast_to, reshape
from ..shapes.permuting import movedim
from ..shapes.slicing import slice
from ..tracing import require, require_equal, user_operator, value_of
from .indexing import add_along, put_along, take_along
from .masks import compressed, count_of, spans, true_positions
from .sorting import argsort, sort_along

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Size


@op(
    kind=INDEXING,
    differentiable=False,
    samples=lambda m: [(m.ints(20, high=6),), (m.ints(9, high=3), m(9) if m.is_float else None, 5), (m.ints(0, high=3),)],
    reference=lambda np, x, weights=None, least=0: np.bincount(x, weights, least),
)
def bincount(x: Tensor, weights: Tensor | None = None, minlength: Size = 0) -> Tensor:
    """How often each number from 0 to the greatest occurs, or the sum of the weights where it does.

    How long the result is is known when the values are.

    Shapes:   x [n], weights [n] → [max(greatest + 1, minlength)]
    Dtypes:   x integers that are not negative; int64, or float32 for such weights and float64 for others
    Gradient: none
    Errors:   ShapeError unless x has one dimension; DTypeError; BoundsError for a negative number
    Source:   torch.bincount

    >>> bincount(tensor([1, 1, 3]))
    tensor([0, 2, 0, 1])
    """
    name = user_operator("bincount")
    if len(x.shape) != 1:
        raise ShapeError(f"{name}: takes one dimension, got shape {tuple(x.shape)}")
    if x.dtype.kind not in "ui":
        raise DTypeError(f"{name}: needs integers, got {x.dtype.name}")
    require("le", 0, minlength, DomainError, f"{name}: minlength must not be negative, got {minlength}")
    x = cast(x, core.int64)
    greatest = maximum(reduced("max", value_of(x), (0,), False, core.int64), minlength - 1)
    length = current().size_of(value_of(greatest + 1), "length")
    if weights is None:
        return add_along(full((length,), 0, core.int64), x, broadcast_to(full((1,), 1, core.int64), tuple(x.shape)), 0)
    if len(weights.shape) != 1:
        raise ShapeError(f"{name}: weights must have one dimension, got shape {tuple(weights.shape)}")
    require_equal(name, x.shape[0], weights.shape[0], f"{weights.shape[0]} weights for {x.shape[0]} numbers")
    dtype = core.float32 if weights.dtype is core.float32 else core.float64
    return add_along(full((length,), 0, dtype), x, cast(weights, dtype), 0)


def _np_histc(np: Any, x: Any, bins: int = 100, low: float = 0, high: float = 0) -> Any:
    low, high = (low, high) if low != high else (x.min(), x.max())
    return np.histogram(x[(x >= low) & (x <= high)], bins, (low, high))[0].astype(x.dtype)


@op(
    kind=REDUCTION,
    dtypes=floats.on("x"),
    differentiable=False,
    samples=lambda m: [(m(40), 5), (m(3, 20), 4, -1.0, 1.5), (m(30), 7, 0.0, 1.0)],
    reference=_np_histc,
)
def histc(x: Tensor, bins: Size = 100, min: Number = 0, max: Number = 0) -> Tensor:
    """How many elements lie in each of equal intervals between min and max; between the extrema if these are equal.

    The last interval has its upper end, too. What lies outside, or is NaN, is not counted.

    Shapes:   x [*S] → [bins]
    Dtypes:   floats, others are rejected
    Gradient: none
    Errors:   DomainError for less than one bin and a range that is not finite or ends below its start; DTypeError
    Source:   torch.histc

    >>> histc(tensor([1.0, 2.0, 1.0]), 4, 0, 3)
    tensor([0., 2., 1., 0.])
    """
    name = user_operator("histc")
    require("le", 1, bins, DomainError, f"{name}: bins must be above 0, got {bins}")
    flat = reshape(x, (product(tuple(x.shape)),))
    low, high = full((), min, x.dtype), full((), max, x.dtype)
    same = low == high
    same = same & (cast_size(product(tuple(x.shape)), x) > 0)
    low, high = where(same, -peak(-flat, None), low), where(same, peak(flat, None), high)
    low, high = demanded("finite", low), demanded("finite", high)
    high = where(demanded("span", high - low) >= 0, high, low)
    same = low == high
    low, high = where(same, low - 1.0, low), where(same, high + 1.0, high)
    inside = (flat >= low) & (flat <= high)
    place = clamp(cast(floor((flat - low) / (high - low) * cast_size(bins, x)), core.int64), 0, bins - 1)
    return add_along(full((bins,), 0, x.dtype), where(inside, place, 0), cast(inside, x.dtype), 0)


def cast_size(size: Any, like: Any) -> Any:
    """A size as a number of a tensor's dtype."""
    return cast(full((), size, core.int64), like.dtype)


# Distinct elements


@op(
    kind=REDUCTION,
    lowers=True,
    differentiable=False,
    method=False,
    public=False,
    samples=lambda m: [(m(7),), (m(400),), (m(0),), (m(60),)],
    reference=lambda np, x: np.sort(x),
)
def ordered_values(x: Tensor) -> Tensor:
    """The elements of a vector in order, NaN last; of -0 and 0 only 0.

    Shapes:   x [n] → [n]
    Dtypes:   any, kept
    Gradient: none
    Errors:   ShapeError unless x has one dimension
    Source:   numpy.sort

    >>> dg.ops.ordered_values(tensor([3, 1, 2]))
    tensor([1, 2, 3])
    """
    if len(x.shape) != 1:
        raise ShapeError(f"{user_operator('unique')}: takes one dimension, got shape {tuple(x.shape)}")
    return emit_rows("sort", [x], [(x.dtype, x.shape)], dim=0, descending=False)[0]


def _edges(rows: Any) -> Any:
    """Whether each element of a row differs from the one in front; the first one does."""
    differs = slice(rows, 0, 1, None) != slice(rows, 0, 0, -1)
    return cat([full((lesser(rows.shape[0], 1),), True), differs], 0)


def _runs(rows: Any, edges: Any, counts: bool) -> list[Any]:
    """What stands where runs start, and how long they are if asked for."""
    found = count_of(edges)
    return [compressed(rows, edges, found), *([spans(edges, found)] if counts else [])]


def _which(edges: Any) -> Any:
    """In which run of equal elements each element of a row is."""
    first = full((lesser(edges.shape[0], 1),), False)
    return cumsum(cat([first, slice(edges, 0, 1, None)], 0), 0)


def _np_distinct(np: Any, x: Any, inverse: bool = False, counts: bool = False) -> Any:
    found = np.unique(x, return_inverse=True, return_counts=True)
    return (found[0], *([found[1].reshape(x.shape)] if inverse else []), *([found[2]] if counts else []))


_flags = lambda m: [(m(9),), (m.of([3, 1, 3, 2, 1]), True), (m(3, 4), True, True), (m(0), False, True), (m(60), True)]  # noqa: E731


@op(kind=REDUCTION, differentiable=False, method=False, public=False, samples=_flags, reference=_np_distinct)
def distinct(x: Tensor, inverse: bool = False, counts: bool = False) -> tuple[Tensor, ...]:
    """The distinct elements in order; for each element of x which of them it is; how often each occurs.

    Shapes:   x [*S] → [n], [*S], [n], the latter two if asked for
    Dtypes:   any, kept; int64
    Gradient: none
    Errors:   none
    Source:   numpy.unique

    >>> dg.ops.distinct(tensor([3, 1, 3]))
    tensor([1, 3])
    """
    count = product(tuple(x.shape))
    flat = reshape(x, (count,))
    order: Any = None
    if inverse:
        ordered, order = sort_along(flat, 0)
    else:
        ordered = ordered_values(flat)
    edges = _edges(ordered)
    values, *lengths = _runs(ordered, edges, counts)
    results = [values]
    if inverse:
        which = _which(edges)
        results.append(reshape(put_along(zeros_like(which), order, which, 0), tuple(x.shape)))
    return (*results, *lengths)


def _np_consecutive(np: Any, x: Any, inverse: bool = False, counts: bool = False) -> Any:
    flat = x.reshape(-1)
    edges = np.concatenate([np.ones(min(1, flat.size), bool), flat[1:] != flat[:-1]])
    starts = np.flatnonzero(edges)
    found = [flat[starts]]
    if inverse:
        found.append((np.cumsum(edges) - 1).reshape(x.shape))
    if counts:
        found.append(np.diff([*starts, flat.size]))
    return tuple(found)


@op(kind=REDUCTION, differentiable=False, method=False, public=False, samples=_flags, reference=_np_consecutive)
def distinct_runs(x: Tensor, inverse: bool = False, counts: bool = False) -> tuple[Tensor, ...]:
    """The first of each run of equal elements; for each element of x in which run it is; how long each is.

    Shapes:   x [*S] → [n], [*S], [n], the latter two if asked for
    Dtypes:   any, kept; int64
    Gradient: none
    Errors:   none
    Source:   torch.unique_consecutive

    >>> dg.ops.distinct_runs(tensor([3, 3, 1]))
    tensor([3, 1])
    """
    flat = reshape(x, (product(tuple(x.shape)),))
    edges = _edges(flat)
    values, *lengths = _runs(flat, edges, counts)
    results = [values]
    if inverse:
        results.append(reshape(_which(edges), tuple(x.shape)))
    return (*results, *lengths)


@op(
    kind=REDUCTION,
    differentiable=False,
    method=False,
    public=False,
    samples=lambda m: [(m.of([[1, 0], [0, 1], [1, 0]]), m.numpy.asarray([1, 0, 2]), True, True), (m.of([[1, 2], [1, 2]]), None)],
    reference=lambda np, x, order=None, *flags: _np_rows(np, x, *flags),
)
def distinct_rows(x: Tensor, order: Tensor | None = None, inverse: bool = False, counts: bool = False) -> tuple[Tensor, ...]:
    """The first of each run of equal rows, after they are put in an order; in which run each row is; how long each run is.

    Shapes:   x [n, m], order [n] → [k, m], [n], [k], the latter two if asked for
    Dtypes:   any, kept; int64
    Gradient: none
    Errors:   ShapeError unless x has two dimensions
    Source:   torch.unique

    >>> dg.ops.distinct_rows(tensor([[3, 1], [3, 1], [1, 2]]))
    tensor([[3, 1],
            [1, 2]])
    """
    if len(x.shape) != 2:
        raise ShapeError(f"{user_operator('unique')}: rows of a matrix are compared, got shape {tuple(x.shape)}")
    rows = x if order is None else take_along(x, order, 0)
    shifted = cat([slice(rows, 0, 0, 1), slice(rows, 0, 0, -1)], 0)
    edges = any(rows != shifted, 1) | (iota(rows.shape[0]) == 0)
    starts = true_positions(edges)
    results = [take_along(rows, starts, 0)]
    lengths = [spans(edges, starts.shape[0])] if counts else []
    if inverse:
        which = _which(edges)
        results.append(which if order is None else put_along(zeros_like(which), order, which, 0))
    return (*results, *lengths)


def lexicographic(rows: Tensor) -> Tensor:
    """The order of the rows of a matrix."""
    order = iota(rows.shape[0])
    for column in range(int(rows.shape[1]) - 1, -1, -1):
        keys = take_along(rows[:, column], order, 0)
        order = take_along(order, argsort(keys, 0), 0)
    return order


def _np_rows(np: Any, x: Any, inverse: bool = False, counts: bool = False) -> Any:
    found = np.unique(x, return_inverse=True, return_counts=True, axis=0)
    return (found[0], *([found[1].reshape(-1)] if inverse else []), *([found[2]] if counts else []))


def _chosen(name: str, x: Any, along: Any, dim: int | None, inverse: bool, counts: bool, ordered: bool) -> Any:
    if dim is None:
        made = along(x, inverse, counts)
        return made if isinstance(made, core.Tensor) or len(made) > 1 else made[0]
    at = axis(name, dim, x.dim())
    front = movedim(x, at, 0)
    rows = reshape(front, (front.shape[0], -1))
    made = distinct_rows(rows, lexicographic(rows) if ordered else None, inverse, counts)
    values, *others = made if isinstance(made, tuple) else (made,)
    values = movedim(reshape(values, (values.shape[0], *front.shape[1:])), 0, at)
    return (values, *others) if others else values


def _np_unique(np: Any, x: Any, ordered: bool = True, inverse: bool = False, counts: bool = False, dim: Any = None) -> Any:
    if dim is None:
        return _np_distinct(np, x, inverse, counts)
    found = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    return (found[0], *([found[1].reshape(-1)] if inverse else []), *([found[2]] if counts else []))


@function(
    differentiable=False,
    reference=_np_unique,
    samples=lambda m: [(m(9),), (m.of([3, 1, 3]), True, True, True), (m.of([[1, 0, 1], [0, 1, 0]]), True, True, False, 1)],
)
def unique(
    x: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The distinct elements (with a dim the distinct slices along it) in order; which each is and how often, if asked for.

    How many there are is known when the values are. The result is in order whether `sorted` or not.

    Shapes:   x [*S] → [n], inverse [*S], counts [n]; with a dim [*S with S[dim] = n], inverse [S[dim]], counts [n]
    Dtypes:   any, kept; inverse and counts int64
    Gradient: none
    Errors:   DimensionError
    Source:   torch.unique

    >>> unique(tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    return _chosen("unique", x, distinct, dim, return_inverse, return_counts, True)


@function(
    differentiable=False,
    reference=lambda np, x, *flags: _np_consecutive(np, x, *flags),
    torch=lambda torch, x, inverse=False, counts=False: torch.unique_consecutive(x, return_inverse=inverse, return_counts=counts),
    samples=lambda m: [(m.of([1, 1, 2, 2, 1]), True, True), (m.of([[1, 1], [2, 3]]), True)],
)
def unique_consecutive(x: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The first of each run of equal elements (with a dim of equal slices); in which run each is and how long, if asked for.

    Shapes:   x [*S] → [n], inverse [*S], counts [n]; with a dim [*S with S[dim] = n], inverse [S[dim]], counts [n]
    Dtypes:   any, kept; inverse and counts int64
    Gradient: none
    Errors:   DimensionError
    Source:   torch.unique_consecutive

    >>> unique_consecutive(tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    return _chosen("unique_consecutive", x, distinct_runs, dim, return_inverse, return_counts, False)
