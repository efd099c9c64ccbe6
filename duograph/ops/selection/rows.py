"""Rows of a tensor at a position that only the run knows: what loops read and write turn by turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..definition import INDEXING, op
from ..elementwise.choice import where
from ..shapes.creation import zeros_like
from ..tracing import cast_value, emit, require_equal, value_of, wrap

if TYPE_CHECKING:
    from duograph._core import Tensor


def _position(index: Any, size: Any) -> Any:
    """The index as int64, negative ones counted from the end."""
    found = wrap(cast_value(value_of(index), core.int64))
    return where(found < 0, found + size, found)


def _np_row_put(np: Any, x: Any, index: Any, value: Any) -> Any:
    x = x.copy()
    x[int(index)] = value
    return x


@op(
    kind=INDEXING,
    lowers=True,
    method=False,
    public=False,
    reference=lambda np, x, index: x[int(index)],
    samples=lambda m: [(m(5, 4), m.ints(high=5)), (m(5), m.ints(high=5)), (m(3, 2, 4), m.ints(high=3))],
)
def row(x: Tensor, index: Tensor) -> Tensor:
    """x[index] for an index that is a tensor without dimensions.

    Shapes:   x [n, *S], index [] → [*S]
    Dtypes:   x's; index integers
    Gradient: put among zeros
    Errors:   BoundsError for an index out of range
    Source:   numpy indexing

    >>> dg.ops.row(tensor([[1, 2], [3, 4]]), tensor(1))
    tensor([3, 4])
    """
    return emit("row", [x, _position(index, x.shape[0])], x.dtype, tuple(x.shape[1:]))


@row.vjp
def _(g: Any, out: Any, x: Any, index: Any) -> Any:
    return row_put(zeros_like(x), index, g), None


@op(
    kind=INDEXING,
    lowers=True,
    method=False,
    public=False,
    reference=_np_row_put,
    samples=lambda m: [(m(5, 4), m.ints(high=5), m(4)), (m(5), m.ints(high=5), m())],
)
def row_put(x: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """x with x[index] replaced.

    Shapes:   x [n, *S], index [], value [*S] → [n, *S]
    Dtypes:   x's; index integers
    Gradient: to x elsewhere, to value there
    Errors:   BoundsError for an index out of range; ShapeError
    Source:   numpy indexing

    >>> dg.ops.row_put(tensor([1, 2, 3]), tensor(-1), tensor(7))
    tensor([1, 2, 7])
    """
    for d, (have, want) in enumerate(zip(value.shape, x.shape[1:], strict=True)):
        require_equal("row_put", want, have, f"size {d} of the row is {have}, it should be {want}")
    given = wrap(cast_value(value_of(value), x.dtype))
    return emit("row_update", [x, _position(index, x.shape[0]), given], x.dtype, tuple(x.shape))


@row_put.vjp
def _(g: Any, out: Any, x: Any, index: Any, value: Any) -> Any:
    return row_put(g, index, zeros_like(value)), None, row(g, index)
