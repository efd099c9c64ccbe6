"""Elements written, combined and picked by indices: scatter with any reduction, index_add and its kin, take, put."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, ShapeError
from duograph.ir.dim import product

from ..definition import INDEXING, function, op
from ..elementwise.choice import where
from ..elementwise.divisions import floor_divide
from ..shapes.copying import cast
from ..shapes.creation import full, ones_like, zeros_like
from ..shapes.movement import axis, broadcast_to, reshape
from ..shapes.slicing import select_put, slice_put
from ..tracing import broadcast_shapes, require_equal, user_operator
from .indexing import add_along, as_line, gather, put_along, require_index, scatter, scatter_add, scattered, take_along
from .masks import nonzero_rows

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Operand

_KINDS = {"prod": "mul", "amax": "maximum", "amin": "minimum"}


def _scatter_samples(kind: str) -> Any:
    def samples(m: Any) -> Any:
        return [
            (m(5, 4), 0, m.ints(3, 4, high=5), m(3, 4), kind),
            (m(5, 4), 1, m.ints(5, 7, high=4), m(5, 7), kind),
            (m(6), -1, m.ints(9, high=6), m(9), kind),
        ]

    return samples


@op(
    kind=INDEXING,
    lowers=True,
    method=False,
    public=False,
    torch="torch.scatter_reduce",
    samples=lambda m: [] if m.kind == "b" else [c for kind in _KINDS for c in _scatter_samples(kind)(m)],
)
def scatter_combined(x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str) -> Tensor:
    """x with src's elements combined with what is there, where `gather` with this index would read: prod, amax or amin.

    Shapes:   x [*S], index and src [*I] of the same rank → [*S]
    Dtypes:   x's; index integers
    Gradient: products of the others; shared equally by the elements that are the extremum
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.scatter_reduce

    >>> dg.ops.scatter_combined(tensor([1, 2]), 0, tensor([1, 1]), tensor([2, 3]), "prod")
    tensor([ 1, 12])
    """
    return scattered("scatter_reduce", x, dim, index, src, kind=_KINDS[reduce])


@scatter_combined.vjp
def _(g: Any, out: Any, x: Any, dim: int, index: Any, src: Any, reduce: str) -> Any:
    if reduce != "prod":
        mine, theirs = x == out, src == gather(out, dim, index)
        shares = g / scatter_add(cast(mine, g.dtype), dim, index, cast(theirs, g.dtype))
        return where(mine, shares, 0.0), None, where(theirs, gather(shares, dim, index), 0.0)
    zeros = scatter_add(cast(x == 0, g.dtype), dim, index, cast(src == 0, g.dtype))
    filled_x, filled_src = where(x == 0, 1.0, x), where(src == 0, 1.0, src)
    others = scatter_combined(filled_x, dim, index, filled_src, "prod")

    def part(value: Any, filled: Any, others: Any, zeros: Any, g: Any) -> Any:
        alone = where(zeros == 0, others / filled, where((zeros == 1) & (value == 0), others, 0.0))
        return g * alone

    picked = [gather(each, dim, index) for each in (others, zeros, g)]
    return part(x, filled_x, others, zeros, g), None, part(src, filled_src, *picked)


def _reduce_samples(m: Any) -> Any:
    if m.kind == "b":
        return []
    calls = [c for kind in ("sum", "mean", "amax") for c in _scatter_samples(kind)(m)[:2]]
    calls += [(*c, False) for kind in ("sum", "prod", "mean", "amax", "amin") for c in _scatter_samples(kind)(m)[1:2]]
    return calls


@op(
    kind=INDEXING,
    inplace=True,
    torch=lambda torch, x, dim, index, src, reduce, include_self=True: torch.scatter_reduce(
        x, dim, index, src, reduce, include_self=include_self
    ),
    samples=_reduce_samples,
)
def scatter_reduce(x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool = True) -> Tensor:
    """x with src's elements combined where `gather` with this index would read: sum, prod, mean, amax or amin.

    Without include_self what is there is no part of it where something comes.

    Shapes:   x [*S], index and src [*I] of the same rank → [*S]
    Dtypes:   x's; index integers
    Gradient: derived
    Errors:   ArgumentError for another reduction; BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.scatter_reduce

    >>> scatter_reduce(tensor([1, 2]), 0, tensor([1, 1]), tensor([5, 3]), "amax")
    tensor([1, 5])
    """
    name = user_operator("scatter_reduce")
    if reduce not in ("sum", "mean", *_KINDS):
        raise ArgumentError(f"{name}: reduce must be sum, prod, mean, amax or amin, got {reduce!r}")
    base = x if include_self else _emptied(x, dim, index, reduce)
    if reduce in _KINDS:
        return scatter_combined(base, dim, index, src, reduce)
    total = scatter_add(base, dim, index, src)
    if reduce == "sum":
        return total
    counts = scatter_add(ones_like(x) if include_self else zeros_like(x), dim, index, ones_like(src))
    counts = where(counts < 1, ones_like(x), counts)
    return total / counts if x.dtype.is_floating_point else floor_divide(total, counts)


def _emptied(x: Any, dim: int, index: Any, reduce: str) -> Any:
    """x with what is neutral where the index points to."""
    touched = scatter(full(tuple(x.shape), False), dim, index, True)
    return where(touched, full((), _neutral(reduce, x.dtype), x.dtype), x)


def _neutral(reduce: str, dtype: Any) -> Any:
    if reduce in ("sum", "mean", "prod"):
        return int(reduce == "prod")
    if dtype.is_floating_point:
        return float("-inf" if reduce == "amax" else "inf")
    bits = dtype.itemsize * 8
    if dtype.kind == "u":
        return 0 if reduce == "amax" else 2**bits - 1
    return -(2 ** (bits - 1)) if reduce == "amax" else 2 ** (bits - 1) - 1


@op(
    kind=INDEXING,
    over="scatter",
    inplace=True,
    torch=lambda torch, x, dim, index, src, reduce: torch.scatter(x, dim, index, src, reduce=reduce),
    samples=lambda m: [c for how in ("add", "multiply") for c in _scatter_samples(how)(m)] if m.kind in "if" else [],
)
def scatter_with(x: Tensor, dim: int, index: Tensor, src: Operand, reduce: str) -> Tensor:
    """`scatter` that adds to or multiplies what is there: reduce is "add" or "multiply".

    Shapes:   x [*S], index and src [*I] of the same rank → [*S]
    Dtypes:   x's; index integers
    Gradient: derived
    Errors:   ArgumentError for another reduction; BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.scatter

    >>> dg.scatter(tensor([1, 2]), 0, tensor([1]), tensor([5]), reduce="add")
    tensor([1, 7])
    """
    if reduce not in ("add", "multiply"):
        raise ArgumentError(f"scatter: reduce must be 'add' or 'multiply', got {reduce!r}")
    given = src if hasattr(src, "shape") and len(src.shape) == len(index.shape) else full(tuple(index.shape), src, x.dtype)
    return scatter_add(x, dim, index, given) if reduce == "add" else scatter_combined(x, dim, index, given, "prod")


# Slices along a dimension


def _line(name: str, x: Any, dim: int, index: Any) -> tuple[int, Any]:
    """The dimension, and the index as one with a dimension."""
    name = user_operator(name)
    if len(index.shape) > 1:
        raise ShapeError(f"{name}: index must have one dimension, got shape {tuple(index.shape)}")
    return axis(name, dim, len(x.shape)), index if index.shape else reshape(index, 1)


def _index_samples(m: Any) -> Any:
    return [
        (m(5, 4), 0, m.ints(3, high=5), m(3, 4)),
        (m(5, 4), 1, m.ints(6, high=4), m(5, 6)),
        (m(5), 0, m.ints(2, high=5), m(2)),
    ]


@op(
    kind=INDEXING,
    inplace=True,
    torch=lambda torch, x, dim, index, source, alpha=1: torch.index_add(x, dim, index, source, alpha=alpha),
    samples=lambda m: [*_index_samples(m), *([(*_index_samples(m)[0], 2)] if m.kind != "b" else [])],
)
def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, alpha: Number = 1) -> Tensor:
    """x with alpha times the slices of source added to its slices at the indices, in index order.

    Shapes:   x [*S], index [n], source [*S with S[dim] = n] → [*S]
    Dtypes:   x's; index integers
    Gradient: 1 to x; alpha times what is at the indices to source
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.index_add

    >>> index_add(tensor([0, 0]), 0, tensor([1, 1]), tensor([2, 3]))
    tensor([0, 5])
    """
    if not x.shape:
        return reshape(index_add(as_line(x), dim, index, as_line(source), alpha), ())
    at, index = _line("index_add", x, dim, index)
    scaled = source if source.dtype is core.bool else cast(source * alpha, x.dtype)
    return add_along(x, index, as_line(scaled) if len(x.shape) == 1 else scaled, at)


@op(
    kind=INDEXING,
    inplace=True,
    torch="torch.index_copy",
    samples=lambda m: [(m(5, 4), 0, m.numpy.asarray([3, 1]), m(2, 4)), (m(5, 4), 1, m.numpy.asarray([0, 2, 3]), m(5, 3))],
    autocast="promote",
)
def index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """x with its slices at the indices replaced by those of source; of equal indices the last one stays.

    Shapes:   x [*S], index [n], source [*S with S[dim] = n] → [*S]
    Dtypes:   x's; index integers
    Gradient: to x elsewhere; what is at the indices to source
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.index_copy

    >>> index_copy(tensor([0, 0]), 0, tensor([1]), tensor([2]))
    tensor([0, 2])
    """
    if not x.shape:
        return reshape(index_copy(as_line(x), dim, index, as_line(source)), ())
    at, index = _line("index_copy", x, dim, index)
    return put_along(x, index, as_line(source) if len(x.shape) == 1 else source, at)


@op(
    kind=INDEXING,
    inplace=True,
    samples=lambda m: [
        *[(m(5, 4), 0, m.ints(3, high=5), 2), (m(5, 4), -1, m.ints(2, high=4), 1), (m(5), 0, m.ints(0, high=5), 1)],
        (m(5), 0, m.ints(3, high=5) - 5, 2),
    ],
)
def index_fill(x: Tensor, dim: int, index: Tensor, value: Number) -> Tensor:
    """x with its slices at the indices, which may count from the end, filled with a value.

    Shapes:   x [*S], index [n] → [*S]
    Dtypes:   x's; index integers
    Gradient: to x elsewhere
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.index_fill

    >>> index_fill(tensor([1, 2]), 0, tensor([1]), 7)
    tensor([1, 7])
    """
    if not x.shape:
        return reshape(index_fill(reshape(x, (1,)), dim, index, value), ())
    at, index = _line("index_fill", x, dim, index)
    index = where((index < 0) & (index >= -x.shape[at]), index + x.shape[at], index)
    shape = (*x.shape[:at], index.shape[0], *x.shape[at + 1 :])
    return put_along(x, index, full(shape, value, x.dtype), at)


@op(
    kind=INDEXING,
    inplace=True,
    torch=lambda torch, x, dim, index, source, reduce, include_self=True: torch.index_reduce(
        x, dim, index, source, reduce, include_self=include_self
    ),
    samples=lambda m: (
        []
        if m.kind == "b"
        else [
            (*_index_samples(m)[i % 2], how, *rest)
            for i, how in enumerate(("prod", "mean", "amax", "amin"))
            for rest in ((), (False,))
        ]
    ),
)
def index_reduce(x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, include_self: bool = True) -> Tensor:
    """x with slices of source combined with its slices at the indices: prod, mean, amax or amin.

    Shapes:   x [*S], index [n], source [*S with S[dim] = n] → [*S]
    Dtypes:   x's; index integers
    Gradient: derived
    Errors:   ArgumentError for another reduction; BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.index_reduce

    >>> index_reduce(tensor([1, 2]), 0, tensor([1, 1]), tensor([5, 3]), "amax")
    tensor([1, 5])
    """
    at, index = _line("index_reduce", x, dim, index)
    if reduce == "sum":
        raise ArgumentError(f"{user_operator('index_reduce')}: reduce must be prod, mean, amax or amin", hint="index_add adds")
    if not x.shape:
        return reshape(index_reduce(as_line(x), dim, index, as_line(source), reduce, include_self), ())
    source = as_line(source) if len(x.shape) == 1 else source
    shape = tuple(source.shape)
    if len(shape) != len(x.shape):
        raise ShapeError(f"{user_operator('index_reduce')}: source must have {len(x.shape)} dimensions, got {len(shape)}")
    sizes = f"size {at} of source is {shape[at]}, but there are {index.shape[0]} indices"
    require_equal(user_operator("index_reduce"), index.shape[0], shape[at], sizes)
    wide = broadcast_to(reshape(index, tuple(index.shape[0] if d == at else 1 for d in range(len(shape)))), shape)
    return scatter_reduce(x, at, wide, source, reduce, include_self)


# Row-major positions


def _positions(name: str, index: Any, count: Any) -> Any:
    """The index as one row."""
    require_index(name, index)
    return reshape(index, (product(tuple(index.shape)),))


@op(
    kind=INDEXING,
    samples=lambda m: [(m(3, 4), m.ints(2, 3, high=12)), (m(5), m.ints(4, high=5, low=-5)), (m(3, 2), m.ints(high=6))],
)
def take(x: Tensor, index: Tensor) -> Tensor:
    """The elements at positions of x in row-major order.

    Shapes:   x [*S], index [*I] → [*I]
    Dtypes:   x's; index integers
    Gradient: added up at the positions
    Errors:   BoundsError for a position out of range; DTypeError
    Source:   torch.take

    >>> take(tensor([[1, 2], [3, 4]]), tensor([0, 3]))
    tensor([1, 4])
    """
    count = product(tuple(x.shape))
    at = _positions("take", index, count)
    return reshape(take_along(reshape(x, (count,)), where(at < 0, at + count, at), 0), tuple(index.shape))


@op(
    kind=INDEXING,
    inplace=True,
    torch=lambda torch, x, index, source, accumulate=False: x.put(index, source, accumulate),
    samples=lambda m: [
        (m(3, 4), m.numpy.asarray([[0, 5], [7, 2]]), m(2, 2)),
        (m(5), m.ints(7, high=5), m(7), True),
        (m(5), m.numpy.asarray([-1]), m(1)),
    ],
)
def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """x with source's elements written (or added) at positions in row-major order.

    Shapes:   x [*S], index and source with as many elements → [*S]
    Dtypes:   x's; index integers
    Gradient: to x elsewhere (everywhere, if accumulated); what is at the positions to source
    Errors:   BoundsError for a position out of range; ShapeError unless there are as many elements; DTypeError
    Source:   torch.Tensor.put

    >>> tensor([[1, 2], [3, 4]]).put(tensor([3]), tensor([7]))
    tensor([[1, 2],
            [3, 7]])
    """
    name, count = user_operator("put"), product(tuple(x.shape))
    at = _positions(name, index, count)
    values = reshape(source, (product(tuple(source.shape)),))
    require_equal(name, at.shape[0], values.shape[0], f"{at.shape[0]} positions, but {values.shape[0]} elements of source")
    at = where(at < 0, at + count, at)
    made = (add_along if accumulate else put_along)(reshape(x, (count,)), at, cast(values, x.dtype), 0)
    return reshape(made, tuple(x.shape))


def _along_samples(m: Any) -> Any:
    return [(m(5, 4), m.ints(2, 4, high=5), 0), (m(5, 4), m.ints(1, 3, high=4), 1), (m(3, 4), m.ints(6, high=12))]


@op(kind=INDEXING, samples=_along_samples)
def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather`, with x and indices stretched to each other along the other dimensions; without a dim of x row-major.

    Shapes:   x [*S], indices [*I] of the same rank → [*broadcast, with I[dim] at dim]
    Dtypes:   x's; indices int64
    Gradient: added up at the indices
    Errors:   BoundsError for an index out of range; ShapeError; DTypeError
    Source:   torch.take_along_dim

    >>> take_along_dim(tensor([[3, 1], [2, 4]]), tensor([[1], [0]]), 1)
    tensor([[1],
            [2]])
    """
    name = user_operator("take_along_dim")
    if dim is None:
        x, indices, dim = reshape(x, -1), reshape(indices, -1), 0
    if len(x.shape) != len(indices.shape):
        raise ShapeError(f"{name}: indices must have {len(x.shape)} dimensions as x has, got {len(indices.shape)}")
    at = axis(name, dim, len(x.shape))
    shapes = [tuple(1 if d == at else size for d, size in enumerate(t.shape)) for t in (x, indices)]
    joint = broadcast_shapes(name, [("x", shapes[0]), ("indices", shapes[1])])

    def stretched(t: Any) -> Any:
        shape = tuple(t.shape[d] if d == at else size for d, size in enumerate(joint))
        return broadcast_to(t, shape)

    return gather(stretched(x), at, stretched(indices))


# Masks


@op(
    kind=INDEXING,
    inplace=True,
    samples=lambda m: [(m(3, 5), m.bools(3, 5), m(20)), (m(3, 5), m.bools(5), m(4, 4)), (m(6), m.bools(6), m(6))],
)
def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """x with the elements at which the mask is True replaced by those of source, in row-major order.

    Shapes:   x [*S], mask broadcast to [*S], source with at least as many elements as are True → [*S]
    Dtypes:   x's; mask bool
    Gradient: to x where the mask is False, to the elements of source that are used
    Errors:   BoundsError if source has too few elements; DTypeError unless the mask is bool; ShapeError
    Source:   torch.masked_scatter

    >>> masked_scatter(tensor([1, 2, 3]), tensor([True, False, True]), tensor([7, 8]))
    tensor([7, 2, 8])
    """
    from ..reduction.scans import cumsum

    name = user_operator("masked_scatter")
    if mask.dtype is not core.bool:
        raise DTypeError(f"{name}: mask must be bool, got {mask.dtype.name}", hint="compare it with something")
    shape = broadcast_shapes(name, [("x", tuple(x.shape)), ("mask", tuple(mask.shape))])
    wide = reshape(broadcast_to(mask, shape), (product(shape),))
    at = where(wide, cumsum(wide, 0) - 1, 0)
    values = take_along(reshape(cast(source, x.dtype), (product(tuple(source.shape)),)), at, 0)
    return where(broadcast_to(mask, shape), reshape(values, shape), x)


@function(differentiable=False, samples=lambda m: [(m.bools(3, 4),), (m.of([0, 1, 2]),), (m.bools(0, 3),)])
def argwhere(x: Tensor) -> Tensor:
    """The indices of nonzero elements in row-major order: `nonzero`.

    Shapes:   x [*S] → [n, rank]
    Dtypes:   int64
    Gradient: none
    Errors:   none
    Source:   torch.argwhere

    >>> argwhere(tensor([0, 5, 6]))
    tensor([[1],
            [2]])
    """
    return nonzero_rows(x)


# One part replaced


@function(samples=lambda m: [(m(5, 4), m(4), 0, 1), (m(5, 4), m(5), 1, -1)])
def select_scatter(x: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of x with one position along a dimension replaced.

    Shapes:   x [*S], src [*S without S[dim]] → [*S]
    Dtypes:   x's
    Gradient: to x elsewhere, to src there
    Errors:   BoundsError for an index out of range; ShapeError
    Source:   torch.select_scatter

    >>> select_scatter(tensor([1, 2]), tensor(9), 0, 1)
    tensor([1, 9])
    """
    return select_put(x, src, dim, index)


@function(samples=lambda m: [(m(5, 4), m(3, 4), 0, 1, 4), (m(5, 4), m(5, 2), 1, 0, None, 2), (m(3), m(3))])
def slice_scatter(
    x: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of x with a slice along a dimension replaced.

    Shapes:   x [*S], src [*S with S[dim] = length of the slice] → [*S]
    Dtypes:   x's
    Gradient: to x outside of the slice, to src inside
    Errors:   ShapeError if src does not have the slice's shape
    Source:   torch.slice_scatter

    >>> slice_scatter(tensor([1, 2, 3]), tensor([9]), 0, 1, 2)
    tensor([1, 9, 3])
    """
    return slice_put(x, src, dim, start, end, step)
