"""Where values belong among others in order, and whether they are among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError, ShapeError
from duograph.ir.dim import product

from ..definition import REDUCTION, function, op
from ..dtypes import promote
from ..reduction.scans import emit_rows
from ..shapes.copying import cast
from ..shapes.creation import full
from ..shapes.movement import reshape
from ..tracing import require_equal, user_operator
from .indexing import gather

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand


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
    from ..dtypes import result_type
    from ..tracing import cast_value, operand_type, value_of, wrap

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
    names="input=values",
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
    Errors:   DomainError for another side; ShapeError
    Source:   torch.searchsorted

    >>> searchsorted(tensor([1, 3, 5]), tensor([3, 4]))
    tensor([1, 2])
    """
    if side not in (None, "left", "right"):
        raise DomainError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    if side == "left" and right:
        raise DomainError("searchsorted: side is 'left', but right is True")
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


@op(
    kind=REDUCTION,
    differentiable=False,
    method=False,
    public=False,
    torch=lambda torch, x, among, invert=False: torch.isin(x, among, invert=invert),
    samples=lambda m: (
        [] if m.kind == "b" else [(m(3, 4), m(5)), (m.of([1, 2, 3]), m.of([2, 5])), (m(3), m(0)), (m.of([1, 2]), m.of([2]), True)]
    ),
)
def is_among(x: Tensor, among: Tensor, invert: bool = False) -> Tensor:
    """Whether each element of x is among those of another tensor, or (invert) is not.

    Shapes:   x [*S], among [*T] → [*S]
    Dtypes:   promote; bool
    Gradient: none
    Errors:   none
    Source:   numpy.isin

    >>> dg.ops.is_among(tensor([1, 2, 3]), tensor([2]))
    tensor([False,  True, False])
    """
    from .counting import ordered_values

    dtype = core.promote(x.dtype, among.dtype) or x.dtype
    x, row = cast(x, dtype), reshape(cast(among, dtype), (product(tuple(among.shape)),))
    ordered = ordered_values(row)
    found = search(ordered, x, True) != search(ordered, x, False)
    if dtype.is_floating_point:
        found = found & (x == x)
    return ~found if invert else found


@function(
    method=False,
    differentiable=False,
    torch=lambda torch, x, among: torch.isin(x, among),
    samples=lambda m: [] if m.kind == "b" else [(m(3, 4), m(5)), (m.of([1, 2, 3]), 2)],
)
def isin(elements: Operand, test_elements: Operand, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is among the test elements, or (invert) is not; NaN never is.

    Shapes:   elements [*S], test elements [*T] → [*S]
    Dtypes:   promote; bool
    Gradient: none
    Errors:   none
    Source:   torch.isin

    >>> isin(tensor([1, 2, 3]), tensor([2]))
    tensor([False,  True, False])
    """
    pair = [x if isinstance(x, core.Tensor) else full((), x) for x in (elements, test_elements)]
    return is_among(pair[0], pair[1], invert)
