"""Sizes that depend on values: where a tensor is nonzero, and what a mask selects.

In dynamic mode the size is known when the operator has run. In a static graph it is a symbol that gets its value while
the program runs; whoever needs it before that gets an error. Such a size is never stretched: where dynamic mode would
repeat a size that happens to be 1, a static graph raises a ShapeError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import BoundsError, DomainError, DTypeError, ShapeError
from duograph.ir.builder import current
from duograph.ir.dim import maximum as greater
from duograph.ir.dim import product
from duograph.ir.types import TensorType

from ..definition import INDEXING, function, op
from ..elementwise.choice import clamp, where
from ..shapes.copying import cast
from ..shapes.movement import broadcast_to, reshape, unsqueeze
from ..tracing import broadcast_shapes, require, user_operator, value_of, wrap
from .advanced_indexing import index as gather

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor
    from duograph.ir.dim import Dim, Expr

    from ..definition import Number, Size


@op(
    kind=INDEXING,
    lowers=True,
    differentiable=False,
    method=False,
    public=False,
    reference=lambda np, mask: np.flatnonzero(mask),
    samples=lambda m: [(m.bools(7),), (m.bools(40),), (m.bools(0),)],
)
def true_positions(mask: Tensor) -> Tensor:
    """The positions at which a mask of one dimension is True, in order.

    Shapes:   mask [n] → [number of True]
    Dtypes:   mask bool; int64
    Gradient: none
    Errors:   ShapeError unless the mask has one dimension; DTypeError unless it is bool
    Source:   numpy.flatnonzero

    >>> dg.ops.true_positions(tensor([False, True, True]))
    tensor([1, 2])
    """
    name = user_operator("true_positions")
    _require_mask(name, mask)
    if len(mask.shape) != 1:
        raise ShapeError(f"{name}: mask must have one dimension, got shape {tuple(mask.shape)}")
    builder = current()
    size = builder.late("found", value_of(mask).type.size)
    return wrap(builder.emit("nonzero", [value_of(mask)], {"size": size}, [TensorType(core.int64, (size,))])[0])


def _require_mask(name: str, mask: Tensor) -> None:
    if mask.dtype.kind != "b":
        raise DTypeError(f"{name}: mask must be bool, got {mask.dtype.name}", hint="compare it with something")


def late_bound(bound: Tensor, size: Expr) -> Dim:
    """A slice's bound, a traced tensor, as a size that the run knows: within 0 … size, negative ones from the end."""
    if bound.dim() or bound.dtype.kind not in "iu":
        raise BoundsError(f"index: the bound of a slice must be an integer, got {bound.dtype.name}{list(bound.shape)}")
    at = cast(bound, core.int64)
    inside = clamp(where(at < 0, at + size, at), 0, size)
    return current().size_of(value_of(inside), "bound", size)


def nonzero_tuple(x: Tensor) -> tuple[Tensor, ...]:
    """The indices of nonzero elements, one tensor per dimension."""
    mask = x.detach()
    if mask.dtype is not core.bool:
        mask = mask != 0
    if not mask.dim():
        return ()
    found = true_positions(reshape(mask, (-1,)))
    indices: list[Tensor] = []
    for size in tuple(mask.shape)[:0:-1]:
        indices.append(found % size)
        found = found // size
    return (found, *reversed(indices))


def with_positions(x: Tensor, indices: Sequence[Tensor]) -> list[Tensor]:
    """Indices of x's first dimensions with each boolean mask replaced by the positions at which it is True."""
    found: list[Tensor] = []
    for index in indices:
        if not isinstance(index, core.Tensor) or index.dtype is not core.bool:
            found.append(index)
            continue
        shape, over = tuple(index.shape), tuple(x.shape[len(found) : len(found) + index.dim()])
        if shape != over:
            raise ShapeError(f"index_put: a mask has shape {shape}, the dimensions that it is for have {over}")
        found += nonzero_tuple(index)
    return found


@op(
    kind=INDEXING,
    differentiable=False,
    method=False,
    public=False,
    reference=lambda np, x: np.argwhere(x),
    samples=lambda m: [(m.bools(3, 4),), (m.of([0, 1, 2]),), (m.bools(0, 3),)],
)
def nonzero_rows(x: Tensor) -> Tensor:
    """The indices of nonzero elements in row-major order.

    Shapes:   x [*S] → [n, rank]
    Dtypes:   int64
    Gradient: none
    Errors:   none
    Source:   torch.nonzero

    >>> dg.ops.nonzero_rows(tensor([0, 5]))
    tensor([[1]])
    """
    from ..shapes.joining import stack

    if not x.shape:
        (found,) = nonzero_tuple(reshape(x, (1,)))
        return broadcast_to(reshape(found, (-1, 1))[:, :0], (found.shape[0], 0))
    return stack(nonzero_tuple(x), 1)


def _argwhere(np: Any, x: Any, as_tuple: bool = False) -> Any:
    return tuple(np.nonzero(x)) if as_tuple else np.argwhere(x)


@function(
    differentiable=False,
    reference=_argwhere,
    samples=lambda m: [(m.bools(3, 4),), (m.of([0, 1, 2]),), (m.bools(2, 3, 2), True), (m.bools(0, 3),), (m(4), True)],
)
def nonzero(x: Tensor, as_tuple: bool = False) -> Any:
    """The indices of nonzero elements in row-major order. How many there are is known when the values are.

    Shapes:   x [*S] → [n, rank], or rank times [n] if as_tuple
    Dtypes:   int64
    Gradient: none
    Errors:   none
    Source:   torch.nonzero

    >>> nonzero(tensor([0, 5, 6]))
    tensor([[1],
            [2]])
    """
    if not as_tuple:
        return nonzero_rows(x)
    return nonzero_tuple(x if x.dim() else reshape(x, (1,)))


@op(
    kind=INDEXING,
    differentiable=False,
    reference=lambda np, x, size, fill_value=-1: np.concatenate(
        [np.argwhere(x)[:size], np.full((max(size - len(np.argwhere(x)), 0), x.ndim), fill_value)]
    ),
    torch=lambda torch, x, size, fill_value=-1: torch.nonzero_static(x, size=size, fill_value=fill_value),
    samples=lambda m: [
        *[(m.bools(3, 4), 20), (m.of([0, 1, 2]), 1), (m.bools(2, 3, 2), 5, 7), (m.bools(0, 3), 2)],
        *[(m.bools(3, 0, 2), 2), (m.bools(4), 0)],
    ],
)
def nonzero_static(x: Tensor, size: Size, fill_value: Number = -1) -> Tensor:
    """The indices of the first `size` nonzero elements in row-major order; where there are fewer, rows of fill_value.

    Shapes:   x [*S] → [size, rank]
    Dtypes:   int64
    Gradient: none
    Errors:   DomainError for a negative size
    Source:   torch.nonzero_static

    >>> nonzero_static(tensor([0, 5, 6]), 3)
    tensor([[ 1],
            [ 2],
            [-1]])
    """
    from ..reduction.scans import cumsum
    from ..shapes.creation import full, iota
    from ..shapes.joining import stack
    from .searching import search

    require("le", 0, size, DomainError, f"{user_operator('nonzero_static')}: size must not be negative, got {size}")
    shape = tuple(x.shape)
    if not shape:
        return full((size, 0), 0, core.int64)
    mask = x.detach()
    so_far = cumsum(reshape(mask if mask.dtype is core.bool else mask != 0, (product(shape),)), 0)
    found = search(so_far, iota(size) + 1)  # the k-th nonzero element is where their count first reaches k
    missing = found >= product(shape)
    indices: list[Tensor] = []
    for length in (greater(size, 1) for size in shape[:0:-1]):
        indices.append(found % length)
        found = found // length
    return where(unsqueeze(missing, 1), fill_value, stack([found, *reversed(indices)], 1))


@op(
    kind=INDEXING,
    differentiable=False,
    method=False,
    public=False,
    reference=lambda np, x, mask: x[mask],
    samples=lambda m: [(m(3, 5), m.bools(3, 5)), (m(4), m.bools(4))],
)
def selected(x: Tensor, mask: Tensor) -> Tensor:
    """What `masked_select` gives where no gradient is recorded.

    Shapes:   x [*S], mask [*T], which broadcast → [number of True]
    Dtypes:   x's; mask bool
    Gradient: none
    Errors:   DTypeError unless the mask is bool; ShapeError
    Source:   torch.masked_select

    >>> dg.ops.selected(tensor([1, 2]), tensor([True, False]))
    tensor([1])
    """
    shape = broadcast_shapes("masked_select", [("x", tuple(x.shape)), ("mask", tuple(mask.shape))])
    x, mask = (reshape(broadcast_to(t, shape), (product(shape),)) for t in (x, mask))
    return compressed(x, mask, count_of(mask))


def count_of(mask: Tensor) -> Dim:
    """How many of a row of bools are True, as a size."""
    from ..reduction.reductions import reduced

    _require_mask(user_operator("selected"), mask)
    found = reduced("sum", cast(mask, core.int64), (0,), False, core.int64)
    return current().size_of(value_of(found), "found", mask.shape[0])


def compressed(x: Tensor, mask: Tensor, size: Expr) -> Tensor:
    """The elements of a row at which a mask is True, in order; `size` is how many."""
    from ..reduction.scans import emit_rows

    return emit_rows("compress", [x, mask], [(x.dtype, (size,))], dim=0)[0]


def spans(mask: Tensor, size: Expr) -> Tensor:
    """How far it is from each True of a row to the next one, or to the end; `size` is how many there are."""
    from ..reduction.scans import emit_rows

    return emit_rows("spans", [mask], [(core.int64, (size,))], dim=0)[0]


def _selected(x: Tensor, mask: Tensor) -> Tensor:
    shape = broadcast_shapes("masked_select", [("x", tuple(x.shape)), ("mask", tuple(mask.shape))])
    positions = true_positions(reshape(broadcast_to(mask, shape), (-1,)))
    return gather(reshape(broadcast_to(x, shape), (-1,)), [positions], (0,))


@function(
    reference=lambda np, x, mask: np.broadcast_arrays(x, mask)[0][np.broadcast_arrays(x, mask)[1]],
    samples=lambda m: [(m(3, 5), m.bools(3, 5)), (m(3, 5), m.bools(5)), (m(4), m.bools(2, 4)), (m(0, 2), m.bools(2))],
)
def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements of x at which the mask is True, in row-major order.

    Shapes:   x [*S], mask [*T], which broadcast → [number of True]
    Dtypes:   x's; mask bool
    Gradient: to x where the mask is True
    Errors:   DTypeError unless the mask is bool; ShapeError
    Source:   torch.masked_select

    >>> masked_select(tensor([1, 2, 3]), tensor([True, False, True]))
    tensor([1, 3])
    """
    if mask.dtype.kind != "b":
        raise DTypeError(f"masked_select: mask must be bool, got {mask.dtype.name}", hint="compare it with something")
    if core.tracing() or (x.requires_grad and core.is_grad_enabled()):
        return _selected(x, mask)
    return selected(x, mask)
