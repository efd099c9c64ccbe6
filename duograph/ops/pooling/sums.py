"""Sums over windows, means of them, and the way back: each element's share in the windows that hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.dim import ceildiv, product
from duograph.ir.dim import maximum as greater

from ..definition import REDUCTION, op
from ..dtypes import numeric
from ..elementwise.choice import maximum, minimum, where
from ..elementwise.divisions import div, trunc_divide
from ..reduction.reductions import sum as sum_
from ..selection.indexing import take_along
from ..shapes.copying import cast
from ..shapes.creation import iota
from ..shapes.movement import broadcast_to, reshape, unsqueeze
from ..shapes.padding import zero_pad
from ..shapes.slicing import slice
from ..tracing import user_operator
from .geometry import UNROLLED, Taps, window_counts, window_view

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Sizes

    Window = tuple[int, ...]


def _summed(x: Any, counts: Any, kernel: Any, stride: Any, padding: Any, longest: int = UNROLLED) -> Tensor:
    """Sums of windows: those up to `longest` in one kernel without a loop, others along one dimension after the other."""
    dims, rank = len(kernel), len(x.shape)
    if longest and product(kernel) <= longest:
        x, dims = _unrolled(x, counts, kernel, stride, padding), 0
    for axis in reversed(range(dims)):
        dim, k, s, p = rank - dims + axis, kernel[axis], stride[axis], padding[axis]
        if longest and k <= longest:
            others = tuple(x.shape[dim + 1 :])
            along = [(n, *(fill for _ in others)) for n, fill in ((k, 1), (s, 1), (p, 0))]
            x = _unrolled(x, (counts[axis], *others), *along)
        else:
            x = sum_(window_view(x, dim, counts[axis], k, s, p, 1, 0), rank, dtype=x.dtype)
    made: Tensor = x
    return made


def _unrolled(x: Any, counts: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    taps = Taps(x, counts, kernel, stride, padding, (1,) * len(kernel), 0)
    found: Any = None
    for place in taps.places():
        found = taps.at(place) if found is None else found + taps.at(place)
    return found


def _spread(g: Any, sizes: Any, kernel: Any, stride: Any, padding: Any, longest: int = UNROLLED) -> Tensor:
    """What the sums of windows give back to elements: `_summed` transposed."""
    dims, rank = len(kernel), len(g.shape)
    sizes = [greater(size, 0) for size in sizes]
    apart = [axis for axis in range(dims) if longest and kernel[axis] == stride[axis]]
    if apart:
        g = _repeated(g, rank - dims, {axis: (sizes[axis], kernel[axis], padding[axis]) for axis in apart})
    for axis in range(dims):
        if axis not in apart:
            g = _covered(g, rank - dims + axis, sizes[axis], kernel[axis], stride[axis], padding[axis], longest)
    made: Tensor = g
    return made


def _repeated(g: Any, lead: int, axes: Any) -> Tensor:
    """Every element as often as its window is long, for windows that lie side by side."""
    shape: list[Any] = []
    wide: list[Any] = []
    for d, size in enumerate(g.shape):
        times = axes[d - lead][1] if d - lead in axes else 1
        shape += [size, 1]
        wide += [size, times]
    flat = [a * b for a, b in zip(wide[::2], wide[1::2])]
    made = reshape(broadcast_to(reshape(g, tuple(shape)), tuple(wide)), tuple(flat))
    for axis, (size, _, p) in axes.items():
        made = _cut(made, lead + axis, p, size)
    return made


def _cut(x: Any, dim: int, start: Any, size: Any) -> Tensor:
    """`size` elements from a start on, zeros where x has no more."""
    missing = greater(start + size - x.shape[dim], 0)
    if not (isinstance(missing, int) and missing == 0):
        x = zero_pad(x, (0,) * len(x.shape), tuple(missing if d == dim else 0 for d in range(len(x.shape))))
    return slice(x, dim, start, start + size)


def _turned(g: Any, size: Any, k: int, p: int) -> Any:
    """What makes sums of windows one apart the same the other way round: kernel, padding and counts, here and elsewhere."""
    rank = len(g.shape)
    return (k, (1,) * rank), (k - 1 - p, (0,) * rank), (size, tuple(g.shape))


def _covered(g: Any, dim: int, size: Any, k: Any, s: Any, p: Any, longest: int) -> Any:
    """The sum, for each of `size` elements along a dimension, over the windows that hold it."""
    rank, count = len(g.shape), g.shape[dim]
    if longest and s == 1 and k <= longest:
        kernel, low, counts = (tuple(own if d == dim else rest[d] for d in range(rank)) for own, rest in _turned(g, size, k, p))
        return _unrolled(g, counts, kernel, (1,) * rank, low)
    at = iota(size) + p
    behind = (-1, *(1,) * (rank - 1 - dim))
    if longest and ceildiv(k, s) <= longest:
        found: Any = None
        for back in range(ceildiv(k, s)):
            window = at // s - back
            inside = (window >= 0) & (window < count) & (at - window * s < k)
            part = take_along(g, maximum(minimum(window, count - 1), 0), dim)
            part = where(reshape(inside, behind), part, 0)
            found = part if found is None else found + part
        return found
    window = unsqueeze(at // s, 1) - iota(ceildiv(k, s))
    inside = (window >= 0) & (window < count) & (unsqueeze(at, 1) - window * s < k)
    parts = take_along(g, maximum(minimum(window, count - 1), 0), dim)
    return sum_(where(reshape(inside, (*inside.shape, *(1,) * (rank - 1 - dim))), parts, 0), dim + 1, dtype=g.dtype)


def _sum_samples(m: Any) -> Any:
    return [
        (m(2, 3, 7, 6), (3, 3), (3, 2), (2, 2), (1, 0)),
        (m(2, 8, 6), (4, 6), (2, 3), (2, 1), (0, 1)),
        (m(2, 50), (18,), (33,), (1,), (0,)),
        (m(2, 70, 9), (17, 3), (40, 5), (2, 2), (2, 0)),
    ]


def _np_sums(np: Any, x: Any, counts: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    dims = len(kernel)
    for axis in range(dims):
        dim, k, s, p, n = x.ndim - dims + axis, kernel[axis], stride[axis], padding[axis], counts[axis]
        room = [(p, k + n * s) if d == dim else (0, 0) for d in range(x.ndim)]
        rows = np.moveaxis(np.pad(x, room), dim, 0)
        x = np.moveaxis(np.stack([rows[i * s : i * s + k].sum(0) for i in range(n)]), 0, dim)
    return x


@op(kind=REDUCTION, dtypes=numeric, method=False, public=False, samples=_sum_samples, reference=_np_sums, tolerance=4)
def window_sums(x: Tensor, counts: Sizes, kernel: Window, stride: Window, padding: Window) -> Tensor:
    """The sum of each window over the last dimensions, so many windows; zeros stand around x.

    Shapes:   x [*S, *L] → [*S, *counts]
    Dtypes:   kept; bool is rejected
    Gradient: `window_shares`
    Errors:   none
    Source:   torch.nn.functional.avg_pool2d

    >>> dg.ops.window_sums(tensor([[1.0, 3.0, 2.0, 0.0]]), (2,), (2,), (2,), (0,))
    tensor([[4., 2.]])
    """
    return _summed(x, counts, kernel, stride, padding)


@window_sums.vjp
def _(g: Any, out: Any, x: Any, counts: Any, *window: Any) -> Any:
    return window_shares(g, tuple(x.shape[len(x.shape) - len(counts) :]), *window)


def _share_samples(m: Any) -> Any:
    return [
        (m(2, 3, 3, 3), (7, 6), (3, 2), (2, 2), (1, 0)),
        (m(2, 4, 6), (8, 6), (2, 3), (2, 1), (0, 1)),
        (m(2, 17), (50,), (34,), (1,), (0,)),
        (m(2, 17, 3), (70, 9), (40, 5), (2, 2), (2, 0)),
        (m(2, 3), (7,), (2,), (2,), (0,)),
    ]


def _np_shares(np: Any, g: Any, sizes: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    dims = len(kernel)
    for axis in range(dims):
        dim, k, s, p, n = g.ndim - dims + axis, kernel[axis], stride[axis], padding[axis], sizes[axis]
        rows = np.moveaxis(g, dim, 0)
        made = np.zeros((n + 2 * p + len(rows) * s + k, *rows.shape[1:]), g.dtype)
        for i, row in enumerate(rows):
            made[i * s : i * s + k] += row
        g = np.moveaxis(made[p : p + n], 0, dim)
    return g


@op(kind=REDUCTION, dtypes=numeric, method=False, public=False, samples=_share_samples, reference=_np_shares, tolerance=4)
def window_shares(x: Tensor, sizes: Sizes, kernel: Window, stride: Window, padding: Window) -> Tensor:
    """For each element of planes of these sizes the sum of what x holds for the windows that it lies in.

    Shapes:   x [*S, *counts] → [*S, *sizes]
    Dtypes:   kept; bool is rejected
    Gradient: `window_sums`
    Errors:   none
    Source:   torch.nn.functional.avg_pool2d

    >>> dg.ops.window_shares(tensor([[1.0, 2.0]]), (4,), (2,), (2,), (0,))
    tensor([[1., 1., 2., 2.]])
    """
    return _spread(x, sizes, kernel, stride, padding)


@window_shares.vjp
def _(g: Any, out: Any, x: Any, sizes: Any, *window: Any) -> Any:
    return window_sums(g, tuple(x.shape[len(x.shape) - len(sizes) :]), *window)


@op(kind=REDUCTION, dtypes=numeric, method=False, public=False, samples=_sum_samples, reference=_np_sums, tolerance=4)
def long_window_sums(x: Tensor, counts: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes) -> Tensor:
    """`window_sums` with windows whose sizes are no part of the program.

    Shapes:   x [*S, *L] → [*S, *counts]
    Dtypes:   kept; bool is rejected
    Gradient: `long_window_shares`
    Errors:   none
    Source:   torch.nn.functional.avg_pool2d

    >>> dg.ops.long_window_sums(tensor([[1.0, 3.0, 2.0, 0.0]]), (2,), (2,), (2,), (0,))
    tensor([[4., 2.]])
    """
    return _summed(x, counts, kernel, stride, padding, 0)


@long_window_sums.vjp
def _(g: Any, out: Any, x: Any, counts: Any, *window: Any) -> Any:
    return long_window_shares(g, tuple(x.shape[len(x.shape) - len(counts) :]), *window)


@op(kind=REDUCTION, dtypes=numeric, method=False, public=False, samples=_share_samples, reference=_np_shares, tolerance=4)
def long_window_shares(x: Tensor, sizes: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes) -> Tensor:
    """`window_shares` with windows whose sizes are no part of the program.

    Shapes:   x [*S, *counts] → [*S, *sizes]
    Dtypes:   kept; bool is rejected
    Gradient: `long_window_sums`
    Errors:   none
    Source:   torch.nn.functional.avg_pool2d

    >>> dg.ops.long_window_shares(tensor([[1.0, 2.0]]), (4,), (2,), (2,), (0,))
    tensor([[1., 1., 2., 2.]])
    """
    return _spread(x, sizes, kernel, stride, padding, 0)


@long_window_shares.vjp
def _(g: Any, out: Any, x: Any, sizes: Any, *window: Any) -> Any:
    return long_window_sums(g, tuple(x.shape[len(x.shape) - len(sizes) :]), *window)


# Means


def _mean(x: Any, sums: Any, kernel: Any, stride: Any, padding: Any, ceil: bool, with_padding: bool, divisor: Any) -> Tensor:
    sizes = tuple(x.shape[len(x.shape) - len(kernel) :])
    name = user_operator("avg_pool")
    counts = window_counts(name, sizes, kernel, stride, padding, (1,) * len(kernel), ceil)
    found = sums(x, counts, kernel, stride, padding)
    if divisor is not None:
        return _over(found, divisor)
    share: Any = 1
    for axis, (n, size, k, s, p) in enumerate(zip(counts, sizes, kernel, stride, padding)):
        if not ceil and (with_padding or (isinstance(p, int) and p == 0)):
            share = share * k
            continue
        start = iota(n) * s - p
        end = minimum(start + k, size + p)
        length = end - start if with_padding else minimum(end, size) - maximum(start, 0)
        share = share * reshape(length, (-1, *(1,) * (len(kernel) - 1 - axis)))
    return _over(found, share)


def _over(sums: Any, divisor: Any) -> Tensor:
    """Means; those of integers are rounded towards zero."""
    if sums.dtype.kind != "f":
        return cast(trunc_divide(sums, divisor), sums.dtype)
    return div(sums, cast(divisor, sums.dtype) if isinstance(divisor, core.Tensor) else divisor)


def _torch_mean(torch: Any, x: Any, kernel: Any, *settings: Any) -> Any:
    pool = getattr(torch.nn.functional, f"avg_pool{len(kernel)}d")
    return pool(x, kernel, *(settings[:-1] if len(kernel) == 1 else settings))


def _mean_samples(m: Any) -> Any:
    return [
        (m(2, 3, 7, 6), (3, 2), (2, 2), (1, 1), False, True, None),
        (m(2, 3, 7, 6), (3, 2), (2, 2), (1, 1), True, False, None),
        (m(2, 7, 6), (2, 3), (1, 3), (0, 1), True, True, None),
        (m(2, 50), (33,), (3,), (4,), False, False, None),
        (m(1, 8, 8), (2, 2), (2, 2), (0, 0), False, True, 3),
    ]


@op(kind=REDUCTION, dtypes=numeric.on("x"), method=False, public=False, samples=_mean_samples, torch=_torch_mean, tolerance=4)
def mean_pool(
    x: Tensor,
    kernel: Window,
    stride: Window,
    padding: Window,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Number | None = None,
) -> Tensor:
    """The mean of each window over the last dimensions: its sum over a divisor, or over how many elements it has.

    Shapes:   x [*S, *L] → [*S, *counts] with as many L as the settings have numbers
    Dtypes:   kept; bool is rejected
    Gradient: an equal share to the elements of each window
    Errors:   ShapeError for windows beyond x and its padding; DTypeError
    Source:   torch.nn.functional.avg_pool2d

    >>> dg.ops.mean_pool(tensor([[1.0, 3.0, 2.0, 0.0]]), (2,), (2,), (0,), False, True)
    tensor([[2., 1.]])
    """
    return _mean(x, window_sums, kernel, stride, padding, ceil_mode, count_include_pad, divisor)


@op(kind=REDUCTION, dtypes=numeric.on("x"), method=False, public=False, samples=_mean_samples, torch=_torch_mean, tolerance=4)
def mean_windows(
    x: Tensor,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Number | None = None,
) -> Tensor:
    """`mean_pool` with windows whose sizes are no part of the program.

    Shapes:   x [*S, *L] → [*S, *counts] with as many L as the settings have numbers
    Dtypes:   kept; bool is rejected
    Gradient: an equal share to the elements of each window
    Errors:   ShapeError for windows beyond x and its padding; DTypeError
    Source:   torch.nn.functional.avg_pool2d

    >>> dg.ops.mean_windows(tensor([[1.0, 3.0, 2.0, 0.0]]), (2,), (2,), (0,), False, True)
    tensor([[2., 1.]])
    """
    return _mean(x, long_window_sums, kernel, stride, padding, ceil_mode, count_include_pad, divisor)
