"""Views in the form that graphs have them: what a capture makes of any view, to take it anew of another tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import BoundsError

from ..definition import MOVEMENT, VIEW, op
from ..tracing import cast_value, emit, require, value_of, wrap
from .affine_views import added_back, put_back
from .creation import zeros_like

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Sizes


def _check_within(name: str, x: Any, starts: Sequence[Any], lasts: Sequence[Any], sizes: Sequence[Any]) -> None:
    """Errors for a view whose first or last element lies outside of x."""
    if any(isinstance(size, int) and size == 0 for size in sizes):
        return
    for dim, (first, last) in enumerate(zip(starts, lasts)):
        message = f"{name}: elements {first} to {last} do not lie within size {x.shape[dim]} of dimension {dim}"
        require("le", 0, first, BoundsError, message)
        require("lt", last, x.shape[dim], BoundsError, message)


def _check_part(name: str, x: Any, starts: Sequence[Any], steps: Sequence[Any], sizes: Sequence[Any]) -> None:
    _check_within(name, x, starts, [start + (n - 1) * by for start, by, n in zip(starts, steps, sizes)], sizes)


def _np_part(np: Any, x: Any, starts: Any, steps: Any, sizes: Any) -> Any:
    return x[tuple(np.s_[a : a + n * by : by] for a, by, n in zip(starts, steps, sizes))]


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    reference=_np_part,
    samples=lambda m: [
        (m(5, 4), (1, 0), (1, 1), (3, 4)),
        (m(5, 4), (1, 1), (2, 3), (2, 1)),
        (m(7), (3,), (1,), (0,)),
        (m(), (), (), ()),
    ],
)
def part(x: Tensor, starts: Sizes, steps: Sizes, sizes: Sizes) -> Tensor:
    """The part of x with these sizes: element i is x's at starts + steps · i, which nothing clamps.

    Shapes:   x [*S] → [*sizes]
    Dtypes:   kept
    Gradient: put back among zeros
    Errors:   BoundsError unless the part lies within x
    Source:   the form that slices have in graphs

    >>> dg.ops.part(tensor([1, 2, 3, 4]), (1,), (2,), (2,))
    tensor([2, 4])
    """
    _check_part("part", x, starts, steps, sizes)
    return emit("slice", [x], x.dtype, tuple(sizes), starts=tuple(starts), steps=tuple(steps))


@part.vjp
def _(g: Any, out: Any, x: Any, starts: Any, steps: Any, sizes: Any) -> Any:
    return part_put(zeros_like(x), g, starts, steps)


@part.writes_through
def _(base: Any, value: Any, starts: Any, steps: Any, sizes: Any) -> Any:
    return part_put(base, value, starts, steps)


def _np_part_put(np: Any, x: Any, value: Any, starts: Any, steps: Any) -> Any:
    x = x.copy()
    _np_part(np, x, starts, steps, value.shape)[...] = value
    return x


@op(
    kind=MOVEMENT,
    lowers=True,
    method=False,
    public=False,
    reference=_np_part_put,
    samples=lambda m: [(m(5, 4), m(3, 4), (1, 0), (1, 1)), (m(5, 4), m(2, 1), (1, 1), (2, 3)), (m(7), m(0), (3,), (1,))],
)
def part_put(x: Tensor, value: Tensor, starts: Sizes, steps: Sizes) -> Tensor:
    """x with the part of value's sizes, at starts + steps · i, replaced.

    Shapes:   x [*S], value [*T] → [*S]
    Dtypes:   x's
    Gradient: to x outside of the part, to value inside
    Errors:   BoundsError unless the part lies within x
    Source:   the form that writes to slices have in graphs

    >>> dg.ops.part_put(tensor([1, 2, 3, 4]), tensor([8, 9]), (1,), (2,))
    tensor([1, 8, 3, 9])
    """
    _check_part("part_put", x, starts, steps, tuple(value.shape))
    source = wrap(cast_value(value_of(value), x.dtype))
    return emit("slice_update", [x, source], x.dtype, tuple(x.shape), starts=tuple(starts), steps=tuple(steps))


@part_put.vjp
def _(g: Any, out: Any, x: Any, value: Any, starts: Any, steps: Any) -> Any:
    return part_put(g, zeros_like(value), starts, steps), part(g, starts, steps, tuple(value.shape))


def _np_affine(np: Any, x: Any, sizes: Any, offsets: Any, coefficients: Any, distinct: bool) -> Any:
    at = np.indices(sizes)
    rows = np.reshape(coefficients, (x.ndim, len(sizes)))
    return x[tuple(start + np.tensordot(row, at, 1).astype(np.int64) for start, row in zip(offsets, rows))]


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    reference=_np_affine,
    samples=lambda m: [
        (m(3, 3), (3,), (0, 0), (1, 1), True),
        (m(5), (3, 2), (1,), (1, 1), False),
        (m(4, 3), (2, 2), (1, 0), (2, 0, 0, 1), True),
    ],
)
def affine(x: Tensor, sizes: Sizes, offsets: Sizes, coefficients: Sizes, distinct: bool) -> Tensor:
    """The view whose element i is x's at offsets + rows · i, where `coefficients` are the rows, one for each dimension of x.

    Shapes:   x [*S] → [*sizes]
    Dtypes:   kept
    Gradient: each element's is added where it was taken from
    Errors:   BoundsError unless the view lies within x; `distinct` must tell whether it shows each element at most once
    Source:   the form that diagonals and windows have in graphs

    >>> dg.ops.affine(tensor([[1, 2], [3, 4]]), (2,), (0, 0), (1, 1), True)
    tensor([1, 4])
    """
    ends = [(n - 1) * c for c, n in zip(coefficients, tuple(sizes) * len(offsets))]
    rows = [ends[d * len(sizes) : (d + 1) * len(sizes)] for d in range(len(offsets))]
    firsts = [start + sum(end for end in row if isinstance(end, int) and end < 0) for start, row in zip(offsets, rows)]
    lasts = [start + sum(end for end in row if not isinstance(end, int) or end > 0) for start, row in zip(offsets, rows)]
    _check_within("affine", x, firsts, lasts, sizes)
    return emit("affine", [x], x.dtype, tuple(sizes), offsets=offsets, coefficients=coefficients, distinct=distinct)


@affine.vjp
def _(g: Any, out: Any, x: Any, *form: Any) -> Any:
    return added_back(g, x, lambda tensor: affine(tensor, *form))


@affine.writes_through
def _(base: Any, value: Any, *form: Any) -> Any:
    return put_back(base, value, lambda tensor: affine(tensor, *form))
