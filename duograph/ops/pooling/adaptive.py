"""Pooling to a given size: window i of n over L elements goes from i·L/n, rounded down, to (i + 1)·L/n, rounded up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError, ShapeError
from duograph.ir.dim import ceildiv

from ..definition import REDUCTION, op
from ..dtypes import floats, promote
from ..elementwise.choice import maximum, minimum, where
from ..elementwise.divisions import div
from ..reduction.extrema import max_along
from ..reduction.reductions import sum as sum_
from ..selection.indexing import gather, take_along
from ..shapes.copying import cast
from ..shapes.creation import full, iota
from ..shapes.movement import broadcast_to, reshape, unsqueeze
from ..tracing import require, user_operator
from .greatest import flat_place, least, put_back

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Sizes


def _check(x: Any, size: Any) -> None:
    name = user_operator("adaptive_pool")
    for length, n in zip(x.shape[len(x.shape) - len(size) :], size):
        require("le", 0, n, DomainError, f"{name}: a size must not be negative, got {tuple(size)}")
        require("le", 1, length, ShapeError, f"{name}: pools a dimension of size 0: shape {tuple(x.shape)}")


def _starts(length: Any, n: Any) -> Any:
    return iota(n) * length // maximum(n, 1)


def _ends(length: Any, n: Any) -> Any:
    return ((iota(n) + 1) * length + (n - 1)) // maximum(n, 1)


def _ranges(x: Any, dim: int, starts: Any, ends: Any, longest: Any, outside: float) -> Tensor:
    """What lies from starts to ends along a dimension, as one more dimension behind it; `outside` behind the ends."""
    at = unsqueeze(starts, 1) + iota(longest)
    parts = take_along(x, maximum(minimum(at, x.shape[dim] - 1), 0), dim)
    inside = reshape(at < unsqueeze(ends, 1), (*at.shape, *(1,) * (len(x.shape) - 1 - dim)))
    return where(inside, parts, full((), outside, x.dtype))


def _windows(x: Any, dim: int, n: Any, outside: float) -> Tensor:
    length = x.shape[dim]
    longest = ceildiv(length, n) + 1 if not (isinstance(n, int) and n == 0) else 1
    return _ranges(x, dim, _starts(length, n), _ends(length, n), longest, outside)


def _size_samples(m: Any) -> Any:
    return [(m(2, 3, 7, 5), (3, 2)), (m(2, 3, 4), (7,)), (m(2, 5, 6, 4), (5, 1, 2)), (m(2, 6), (3,))]


def _np_windows(np: Any, x: Any, size: Any) -> Any:
    for axis, n in enumerate(size):
        dim = x.ndim - len(size) + axis
        rows, length = np.moveaxis(x, dim, 0), x.shape[dim]
        x = np.moveaxis(np.stack([rows[i * length // n : -(-(i + 1) * length // n)].sum(0) for i in range(n)]), 0, dim)
    return x


@op(kind=REDUCTION, dtypes=floats, method=False, public=False, samples=_size_samples, reference=_np_windows, tolerance=4)
def adaptive_sums(x: Tensor, size: Sizes) -> Tensor:
    """The sums of the windows that divide the last dimensions into `size` parts.

    Shapes:   x [*S, *L] → [*S, *size]
    Dtypes:   floats, kept
    Gradient: `adaptive_shares`
    Errors:   DomainError for a negative size; ShapeError for a dimension of size 0
    Source:   torch.nn.functional.adaptive_avg_pool2d

    >>> dg.ops.adaptive_sums(tensor([[1.0, 2.0, 3.0]]), (2,))
    tensor([[3., 5.]])
    """
    _check(x, size)
    lead = len(x.shape) - len(size)
    for axis, n in enumerate(size):
        x = sum_(_windows(x, lead + axis, n, 0), lead + axis + 1)
    return x


@adaptive_sums.vjp
def _(g: Any, out: Any, x: Any, size: Any) -> Any:
    return adaptive_shares(g, tuple(x.shape[len(x.shape) - len(size) :]))


def _np_shares(np: Any, g: Any, size: Any) -> Any:
    for axis, length in enumerate(size):
        dim = g.ndim - len(size) + axis
        rows, n = np.moveaxis(g, dim, 0), g.shape[dim]
        made = np.zeros((length, *rows.shape[1:]), g.dtype)
        for i, row in enumerate(rows):
            made[i * length // n : -(-(i + 1) * length // n)] += row
        g = np.moveaxis(made, 0, dim)
    return g


@op(kind=REDUCTION, dtypes=floats, method=False, public=False, samples=_size_samples, reference=_np_shares, tolerance=4)
def adaptive_shares(x: Tensor, size: Sizes) -> Tensor:
    """For each element of planes of a size the sum of what x holds for the windows of `adaptive_sums` that it lies in.

    Shapes:   x [*S, *L] → [*S, *size]
    Dtypes:   floats, kept
    Gradient: `adaptive_sums`
    Errors:   none
    Source:   torch.nn.functional.adaptive_avg_pool2d

    >>> dg.ops.adaptive_shares(tensor([[1.0, 2.0]]), (3,))
    tensor([[1., 3., 2.]])
    """
    lead = len(x.shape) - len(size)
    for axis, length in enumerate(size):
        n = x.shape[lead + axis]
        at = iota(length)
        first, end = at * n // length, ((at + 1) * n - 1) // length + 1
        x = sum_(_ranges(x, lead + axis, first, end, ceildiv(n, length) + 1, 0), lead + axis + 1)
    return x


@adaptive_shares.vjp
def _(g: Any, out: Any, x: Any, size: Any) -> Any:
    return adaptive_sums(g, tuple(x.shape[len(x.shape) - len(size) :]))


def _torch(which: str, **settings: Any) -> Any:
    def call(torch: Any, x: Any, size: Any) -> Any:
        pool = getattr(torch.nn.functional, f"adaptive_{which}_pool{len(size)}d")
        return pool(x[None], size, **settings)[0] if x.ndim == len(size) else pool(x, size, **settings)

    return call


@op(kind=REDUCTION, dtypes=floats, method=False, public=False, samples=_size_samples, torch=_torch("avg"), tolerance=4)
def adaptive_mean(x: Tensor, size: Sizes) -> Tensor:
    """The means of the windows that divide the last dimensions into `size` parts.

    Shapes:   x [*S, *L] → [*S, *size]
    Dtypes:   floats, kept
    Gradient: equal shares to the elements of each window
    Errors:   DomainError for a negative size; ShapeError for a dimension of size 0
    Source:   torch.nn.functional.adaptive_avg_pool2d

    >>> dg.ops.adaptive_mean(tensor([[1.0, 2.0, 3.0]]), (2,))
    tensor([[1.5000, 2.5000]])
    """
    found = adaptive_sums(x, size)
    for axis, n in enumerate(size):
        length = x.shape[len(x.shape) - len(size) + axis]
        parts = _ends(length, n) - _starts(length, n)
        found = div(found, cast(reshape(parts, (-1, *(1,) * (len(size) - 1 - axis))), found.dtype))
    return found


@op(
    kind=REDUCTION,
    dtypes=promote,
    method=False,
    public=False,
    samples=_size_samples,
    torch=_torch("max", return_indices=True),
)
def adaptive_max(x: Tensor, size: Sizes) -> tuple[Tensor, Tensor]:
    """The greatest of each window that divide the last dimensions into `size` parts, and where in them flattened it lies.

    Shapes:   x [*S, *L] → twice [*S, *size]
    Dtypes:   kept; int64
    Gradient: to the elements at these places
    Errors:   DomainError for a negative size; ShapeError for a dimension of size 0
    Source:   torch.nn.functional.adaptive_max_pool2d

    >>> dg.ops.adaptive_max(tensor([[1.0, 3.0, 2.0]]), (2,))[1]
    tensor([[1, 1]])
    """
    _check(x, size)
    dims, rank = len(size), len(x.shape)
    sizes = tuple(x.shape[rank - dims :])
    found: list[Any] = []
    for axis in reversed(range(dims)):
        dim, n = rank - dims + axis, size[axis]
        windows = _windows(x, dim, n, least(x.dtype))
        x, tap = max_along(windows, dim + 1)
        start = reshape(_starts(sizes[axis], n), (-1, *(1,) * (dims - 1 - axis)))
        at = start + tap
        found = [at, *(gather(below, dim, broadcast_to(at, tuple(x.shape))) for below in found)]
    return x, broadcast_to(flat_place(sizes, found), tuple(x.shape))


@adaptive_max.vjp
def _(g: Any, out: Any, x: Any, size: Any) -> Any:
    return put_back(g[0], out[1], x, len(size))
