"""Running sums, products and extrema along a dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ShapeError
from duograph.ir.builder import current
from duograph.ir.types import TensorType

from ..definition import REDUCTION, function, op
from ..dtypes import accumulate, compute_dtype, float_promote, promote
from ..elementwise.choice import where
from ..elementwise.unary import exp, log
from ..selection.indexing import scatter_add
from ..shapes.arranging import flip
from ..shapes.copying import clone
from ..shapes.creation import zeros_like
from ..shapes.joining import cat
from ..shapes.movement import axis
from ..shapes.slicing import slice
from ..tracing import cast_value, user_operator, value_of, wrap
from .extrema import Extremum
from .reductions import sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import DType, Tensor

    from ..definition import Number


def emit_rows(name: str, inputs: Sequence[Any], results: Sequence[tuple[DType, Any]], **attrs: Any) -> tuple[Tensor, ...]:
    """Append a node that works on rows; `results` are (dtype, shape) pairs."""
    types = [TensorType(dtype, tuple(shape)) for dtype, shape in results]
    return tuple(wrap(value) for value in current().emit(name, [value_of(x) for x in inputs], attrs, types))


def in_rows(dtype: DType) -> DType:
    """The dtype in which scans compute: 16-bit floats in float32, whole numbers in int64."""
    return compute_dtype(dtype) if dtype.is_floating_point else core.int64


def _scan(name: str, kind: str, x: Any, dim: int, dtype: DType | None) -> Tensor:
    dim = axis(name, dim, len(x.shape))
    result = dtype or (x.dtype if x.dtype.is_floating_point else core.int64)
    counts = kind == "sum" and x.dtype is core.bool and result is core.int64 and bool(x.shape)
    value = value_of(x) if counts else cast_value(cast_value(value_of(x), result), in_rows(result))
    if x.shape:
        value = value_of(emit_rows("scan", [value], [(in_rows(result), x.shape)], dim=dim, kind=kind)[0])
    return wrap(cast_value(value, result))


def _samples(m: Any) -> Any:
    return [(m(7), 0), (m(3, 5), 1), (m(3, 5), 0), (m(2, 3, 4), -2), (m(130), 0), (m(), 0), (m(0, 3), 0), (m(2, 0), 1)]


@op(
    kind=REDUCTION,
    dtypes=accumulate,
    lowers=True,
    inplace="cumsum_",
    samples=_samples,
    reference=lambda np, x, dim: np.cumsum(x, dim) if x.ndim else x,
)
def cumsum(x: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """The sums of the elements up to each along a dimension. Floats are added in float64.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept, integers and bool become int64; `dtype` converts before
    Gradient: the sums of the gradients from each on
    Errors:   DimensionError
    Source:   torch.cumsum

    >>> cumsum(tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    return _scan("cumsum", "sum", x, dim, dtype)


def _from_each(g: Any, dim: int) -> Any:
    """Sums from each element on to the end."""
    return flip(cumsum(flip(g, dim), dim), dim) if g.shape else g


@cumsum.vjp
def _(g: Any, out: Any, x: Any, dim: int, dtype: Any) -> Any:
    return _from_each(g, dim)


def _np_linear(np: Any, a: Any, b: Any, dim: int = 0) -> Any:
    out = b.copy()
    a, rows = np.moveaxis(a, dim, 0), np.moveaxis(out, dim, 0)
    for i in range(1, len(rows)):
        rows[i] += a[i] * rows[i - 1]
    return out


@op(
    kind=REDUCTION,
    dtypes=promote,
    lowers=True,
    method=False,
    public=False,
    reference=_np_linear,
    samples=lambda m: [(m(7), m(7), 0), (m(3, 5), m(3, 5), 1), (m(6, 2), m(6, 2), 0), (m(0, 2), m(0, 2), 0)],
)
def linear_recurrence(a: Tensor, b: Tensor, dim: int = 0) -> Tensor:
    """y[i] = a[i] * y[i - 1] + b[i] along a dimension, from y[0] = b[0] on. Floats are computed in float64.

    Shapes:   a [*S], b [*S] → [*S]
    Dtypes:   a's; b has the same
    Gradient: another such recurrence, backwards
    Errors:   DimensionError
    Source:   first-order linear recurrences (Blelloch, Prefix Sums and Their Applications, 1990)

    >>> dg.ops.linear_recurrence(tensor([0, 2, 2]), tensor([1, 1, 1]))
    tensor([1, 3, 7])
    """
    dim = axis("linear_recurrence", dim, len(b.shape))
    result = b.dtype
    inner = in_rows(result)
    values = [cast_value(value_of(x), inner) for x in (a, b)]
    (made,) = emit_rows("scan", values, [(inner, b.shape)], dim=dim, kind="linear")
    return wrap(cast_value(value_of(made), result))


@linear_recurrence.vjp
def _(g: Any, out: Any, a: Any, b: Any, dim: int) -> Any:
    to_b = _backwards(a, g, dim)
    return to_b * _before(out, dim, zeros_like(slice(out, dim, 0, 1))), to_b


def _before(x: Any, dim: int, first: Any) -> Any:
    """x moved one place on along a dimension, with `first` in front."""
    return cat([first, slice(x, dim, 0, -1)], dim)


def _backwards(a: Any, g: Any, dim: int) -> Any:
    """y[i] = a[i + 1] * y[i + 1] + g[i], from the end on."""
    following = cat([slice(a, dim, 1, None), slice(a, dim, 0, 1)], dim)
    return flip(linear_recurrence(flip(following, dim), flip(g, dim), dim), dim)


@op(
    kind=REDUCTION,
    dtypes=accumulate,
    lowers=True,
    inplace="cumprod_",
    tolerance=4.0,
    samples=lambda m: [*_samples(m)[:4], (m(9, low=0.6, high=1.5), 0), (m(), 0), (m(0, 3), 0), (m.of([2, 0, 3, 0, 1]), 0)],
    reference=lambda np, x, dim: np.cumprod(x, dim) if x.ndim else x,
)
def cumprod(x: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """The products of the elements up to each along a dimension. Floats are multiplied in float64.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept, integers and bool become int64; `dtype` converts before
    Gradient: exact where elements are zero, too
    Errors:   DimensionError
    Source:   torch.cumprod

    >>> cumprod(tensor([1, 2, 3]), 0)
    tensor([1, 2, 6])
    """
    return _scan("cumprod", "prod", x, dim, dtype)


@cumprod.vjp
def _(g: Any, out: Any, x: Any, dim: int, dtype: Any) -> Any:
    if not x.shape:
        return g
    from ..shapes.creation import ones_like

    dim = axis("cumprod", dim, len(x.shape))
    return _before(out, dim, ones_like(slice(out, dim, 0, 1))) * _backwards(x, g, dim)


def _np_extremum(which: str) -> Any:
    def reference(np: Any, x: Any, dim: int) -> Any:
        values = getattr(np, which).accumulate(x, dim) if x.ndim else x
        if not x.ndim:
            return values, np.zeros((), "int64")
        rows, found = np.moveaxis(x, dim, 0), np.moveaxis(values, dim, 0)
        indices = np.zeros(rows.shape, "int64")
        for i in range(1, len(rows)):
            indices[i] = np.where((rows[i] == found[i]) | np.isnan(rows[i]), i, indices[i - 1])
        return values, np.moveaxis(indices, 0, dim)

    return reference


def _extremum(name: str, kind: str, x: Any, dim: int) -> tuple[Tensor, Tensor]:
    dim = axis(name, dim, len(x.shape))
    if not x.shape:
        return clone(x), zeros_like(x, core.int64)
    inner = in_rows(x.dtype)
    value = cast_value(value_of(x), inner)
    values, indices = emit_rows("scan", [value], [(inner, x.shape), (core.int64, x.shape)], dim=dim, kind=kind)
    return wrap(cast_value(value_of(values), x.dtype)), indices


def _to_source(g: Any, out: Any, x: Any, dim: int) -> Any:
    """The gradient of a running extremum goes to the elements that it is."""
    return scatter_add(zeros_like(x), dim, out[1], g[0]) if x.shape else g[0]


@op(kind=REDUCTION, dtypes=promote, lowers=True, method=False, public=False, samples=_samples, reference=_np_extremum("maximum"))
def cummax_along(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The greatest element up to each along a dimension, and where it last was.

    Shapes:   x [*S] → twice [*S]
    Dtypes:   kept; int64
    Gradient: to the element at the index
    Errors:   DimensionError
    Source:   torch.cummax

    >>> dg.cummax(tensor([1, 3, 2]), 0).values
    tensor([1, 3, 3])
    """
    return _extremum("cummax", "max", x, dim)


@op(kind=REDUCTION, dtypes=promote, lowers=True, method=False, public=False, samples=_samples, reference=_np_extremum("minimum"))
def cummin_along(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The least element up to each along a dimension, and where it last was.

    Shapes:   x [*S] → twice [*S]
    Dtypes:   kept; int64
    Gradient: to the element at the index
    Errors:   DimensionError
    Source:   torch.cummin

    >>> dg.cummin(tensor([2, 1, 3]), 0).values
    tensor([2, 1, 1])
    """
    return _extremum("cummin", "min", x, dim)


cummax_along.vjp(_to_source)
cummin_along.vjp(_to_source)


@function(samples=_samples, reference=_np_extremum("maximum"))
def cummax(x: Tensor, dim: int) -> Extremum:
    """The greatest element up to each along a dimension, and where it last was, as (values, indices); NaN stays.

    Shapes:   x [*S] → twice [*S]
    Dtypes:   kept; indices int64
    Gradient: to the element at the index
    Errors:   DimensionError
    Source:   torch.cummax

    >>> cummax(tensor([1, 3, 2]), 0).indices
    tensor([0, 1, 1])
    """
    return Extremum(cummax_along(x, dim))


@function(samples=_samples, reference=_np_extremum("minimum"))
def cummin(x: Tensor, dim: int) -> Extremum:
    """The least element up to each along a dimension, and where it last was, as (values, indices); NaN stays.

    Shapes:   x [*S] → twice [*S]
    Dtypes:   kept; indices int64
    Gradient: to the element at the index
    Errors:   DimensionError
    Source:   torch.cummin

    >>> cummin(tensor([2, 1, 3]), 0).indices
    tensor([0, 1, 1])
    """
    return Extremum(cummin_along(x, dim))


@op(
    kind=REDUCTION,
    dtypes=float_promote,
    tolerance=4.0,
    samples=lambda m: [*_samples(m)[:6], (m(0, 3), 0), (m.of([-1e9, 700, 5, 800]) if m.dtype == "float64" else m(4), 0)],
    reference=lambda np, x, dim: np.logaddexp.accumulate(x, dim) if x.ndim else x,
)
def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(x))), without overflow.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers become the default float
    Gradient: exp(x - out), summed from each element on
    Errors:   DimensionError
    Source:   torch.logcumsumexp

    >>> logcumsumexp(tensor([1000.0, 1000.0]), 0)
    tensor([1000.0000, 1000.6932])
    """
    dim = axis("logcumsumexp", dim, len(x.shape))
    if not x.shape:
        return clone(x)
    top = cummax_along(x, dim)[0]
    last = _before(top, dim, slice(top, dim, 0, 1))
    total = linear_recurrence(_ratio(last, top), _ratio(x, top), dim)
    return log(total) + top


def _ratio(a: Any, b: Any) -> Any:
    """exp(a - b), 1 where they are equal, infinities too."""
    return where(a == b, 1.0, exp(a - b))


@logcumsumexp.vjp
def _(g: Any, out: Any, x: Any, dim: int) -> Any:
    if not x.shape:
        return g
    dim = axis("logcumsumexp", dim, len(x.shape))
    last = _before(out, dim, slice(out, dim, 0, 1))
    return _ratio(x, out) * _backwards(_ratio(last, out), g, dim)


# Differences and areas


@op(
    kind=REDUCTION,
    samples=lambda m: (
        [] if m.kind == "b" else [(m(7),), (m(3, 5), 2), (m(3, 5), 1, 0), (m(4), 1, -1, m(1), m(2)), (m(3), 5), (m(3), 0)]
    ),
    reference=lambda np, x, n=1, dim=-1, prepend=None, append=None: (
        np.zeros((0,), x.dtype) if n > x.shape[dim] else np.diff(x, n, dim, *([prepend, append] if prepend is not None else []))
    ),
)
def diff(x: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """The differences of neighbours along a dimension, taken n times; more may be put in front and behind first.

    Shapes:   x [*S] → [*S with S[dim] - n, not below 0]
    Dtypes:   promote; bool differs where neighbours do
    Gradient: minus its differences
    Errors:   DimensionError; ShapeError for a 0-d tensor
    Source:   torch.diff

    >>> diff(tensor([1, 4, 9]))
    tensor([3, 5])
    """
    name = user_operator("diff")
    if not x.shape:
        raise ShapeError(f"{name}: needs at least one dimension")
    dim = axis(name, dim, len(x.shape))
    parts = [part for part in (prepend, x, append) if part is not None]
    made = cat(parts, dim) if len(parts) > 1 else x
    for _ in range(n):
        later, earlier = slice(made, dim, 1, None), slice(made, dim, 0, -1)
        made = later != earlier if made.dtype is core.bool else later - earlier
    return clone(made) if n == 0 else made


def _areas(name: str, y: Any, x: Any, dx: Any, dim: int) -> tuple[Tensor, int]:
    """The areas between neighbours."""
    from ..shapes.movement import reshape

    dim = axis(name, dim, len(y.shape))
    middle = (slice(y, dim, 1, None) + slice(y, dim, 0, -1)) / 2
    if x is None:
        return middle * dx, dim
    if len(x.shape) == 1 and len(y.shape) > 1:
        x = reshape(x, tuple(x.shape[0] if d == dim else 1 for d in range(len(y.shape))))
    return middle * (slice(x, dim, 1, None) - slice(x, dim, 0, -1)), dim


def _only(part: Any, dim: int) -> Tensor:
    """What a slice of at most one element along `dim` holds, 0 for none: a load, where its sum would be a loop."""
    from ..shapes.movement import reshape
    from ..shapes.padding import zero_pad

    shape = tuple(part.shape)
    filled = zero_pad(part, (0,) * len(shape), tuple(1 - size if d == dim else 0 for d, size in enumerate(shape)))
    return reshape(filled, (*shape[:dim], *shape[dim + 1 :]))


def _area_samples(m: Any) -> Any:
    if not m.is_float:
        return []
    return [(m(7),), (m(3, 5), m(5)), (m(3, 5), None, 0.5, 0), (m(3, 5), m(3, 5), 1.0, 1), (m(1),)]


@op(
    kind=REDUCTION,
    dtypes=float_promote,
    samples=_area_samples,
    method=False,
    aliases=("trapz",),
    reference=lambda np, y, x=None, dx=1.0, dim=-1: np.trapezoid(y, x, dx, dim),
)
def trapezoid(y: Tensor, x: Tensor | None = None, dx: Number = 1.0, dim: int = -1) -> Tensor:
    """The area below samples y at places x, or dx apart, by the trapezoidal rule.

    Shapes:   y [*S], x [S[dim]] or [*S] → [*S without dim]
    Dtypes:   promote; integers become the default float
    Gradient: derived
    Errors:   DimensionError; ShapeError
    Source:   torch.trapezoid

    >>> trapezoid(tensor([1.0, 2.0, 4.0]))
    tensor(4.5000)
    """
    if x is None:  # all elements count once, but the first and the last, which count half
        dim = axis(user_operator("trapezoid"), dim, len(y.shape))
        ends = _only(slice(y, dim, 0, 1), dim) + _only(slice(y, dim, -1, None), dim)
        return (sum(y, dim) - ends * 0.5) * dx
    areas, dim = _areas("trapezoid", y, x, dx, dim)
    return sum(areas, dim)


def _np_cumulative(np: Any, y: Any, x: Any = None, dx: float = 1.0, dim: int = -1) -> Any:
    y = np.moveaxis(y, dim, -1)
    steps = dx if x is None else np.diff(x if x.ndim == 1 else np.moveaxis(x, dim, -1))
    return np.moveaxis(np.cumsum((y[..., 1:] + y[..., :-1]) / 2 * steps, -1), -1, dim)


@op(kind=REDUCTION, dtypes=float_promote, samples=_area_samples, method=False, reference=_np_cumulative)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, dx: Number = 1.0, dim: int = -1) -> Tensor:
    """The areas below samples y up to each, by the trapezoidal rule.

    Shapes:   y [*S], x [S[dim]] or [*S] → [*S with S[dim] - 1]
    Dtypes:   promote; integers become the default float
    Gradient: derived
    Errors:   DimensionError; ShapeError
    Source:   torch.cumulative_trapezoid

    >>> cumulative_trapezoid(tensor([1.0, 2.0, 4.0]))
    tensor([1.5000, 4.5000])
    """
    areas, dim = _areas("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(areas, dim)
