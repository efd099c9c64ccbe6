"""Masks, classes, tables of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, BoundsError, DimensionError, DomainError, DTypeError, ShapeError
from duograph.ir.builder import current

from ..definition import ELEMENTWISE, INDEXING, function, op
from ..elementwise.choice import where
from ..shapes.copying import cast
from ..shapes.creation import full, zeros_like
from ..shapes.movement import unsqueeze
from ..tracing import broadcast_shapes, cast_value, constant, emit, require_equal, value_of, wrap
from .indexing import add_along, gather, require_index, scatter, take_along

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Operand, Size


# Masks, classes, tables


@op(
    kind=ELEMENTWISE,
    lowers=True,
    inplace="masked_fill_",
    reference=lambda np, x, mask, value: np.where(mask, np.asarray(value).astype(x.dtype), x),
    samples=lambda m: [(m(3, 5), m.bools(3, 5), 1), (m(3, 5), m.bools(5), 0), (m(), m.bools(), 1), (m(0, 2), m.bools(2), 1)],
)
def masked_fill(x: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """x with the value where the mask is True.

    Shapes:   x [*S], mask [*T] → broadcast(S, T)
    Dtypes:   x's; mask bool
    Gradient: to x where the mask is False, to a 0-d value the sum where it is True
    Errors:   DTypeError unless the mask is bool; ShapeError
    Source:   torch.masked_fill

    >>> masked_fill(tensor([1.0, 2.0]), tensor([True, False]), 0)
    tensor([0., 2.])
    """
    if mask.dtype.kind != "b":
        raise DTypeError(f"masked_fill: mask must be bool, got {mask.dtype.name}", hint="compare it with something")
    given = value_of(value)
    filler = wrap(cast_value(given, x.dtype))
    shape = broadcast_shapes("masked_fill", [("x", tuple(x.shape)), ("mask", tuple(mask.shape)), ("value", tuple(filler.shape))])

    parts = [current().broadcast(value_of(v), shape) for v in (mask, filler, x)]
    return emit("where", [wrap(v) for v in parts], x.dtype, shape)


@masked_fill.vjp
def _(g: Any, out: Any, x: Any, mask: Any, value: Any) -> Any:
    return where(mask, 0.0, g), None, where(mask, g, 0.0)


@op(
    kind=INDEXING,
    differentiable=False,
    method=False,
    public=False,
    reference=lambda np, x, n: np.eye(n, dtype="int64")[x],
    samples=lambda m: [(m.ints(5, high=4), 4), (m.ints(2, 3, high=4), 6), (m.ints(high=4), 4)],
)
def one_hot_of(x: Tensor, num_classes: Size) -> Tensor:
    """`one_hot` with a known number of classes.

    Shapes:   x [*S] → [*S, num_classes]
    Dtypes:   x integers; int64
    Gradient: none
    Errors:   BoundsError for a class out of range; DTypeError
    Source:   torch.nn.functional.one_hot

    >>> dg.ops.one_hot_of(tensor([1]), 2)
    tensor([[0, 1]])
    """
    require_index("one_hot", x, "x")
    empty = constant(0, core.int64, (*x.shape, num_classes))
    return scatter(empty, -1, unsqueeze(x, -1), 1)


@function(
    functional=True,
    method=False,
    differentiable=False,
    reference=lambda np, x, n=-1: np.eye(x.max() + 1 if n == -1 else n, dtype="int64")[x],
    samples=lambda m: [(m.ints(5, high=4), 4), (m.ints(2, 3, high=4), 6), (m.ints(9, high=3),)],
)
def one_hot(x: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the position that x names along a new last dimension, 0 elsewhere.

    With -1 classes their number is the greatest in x plus 1, which reads the values.

    Shapes:   x [*S] → [*S, num_classes]
    Dtypes:   x integers; int64
    Gradient: none
    Errors:   BoundsError for a class out of range; DTypeError
    Source:   torch.nn.functional.one_hot

    >>> dg.nn.functional.one_hot(tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    require_index("one_hot", x, "x")
    if isinstance(num_classes, core.Tensor):  # only a run knows it
        return one_hot_of(x, num_classes)
    if num_classes < -1:
        raise DomainError(f"one_hot: num_classes must not be negative, got {num_classes}", hint="-1: one more than the greatest")
    if num_classes == -1:
        if x.numel() == 0:
            raise ShapeError("one_hot: no elements tell how many classes there are", hint="give num_classes")
        num_classes = int(x.max().item()) + 1
        if num_classes < 1:
            raise BoundsError(f"one_hot: classes must not be negative, got {num_classes - 1}")
    return one_hot_of(x, num_classes)


@op(
    functional=True,
    kind=INDEXING,
    method=False,
    reference=lambda np, x, weight, padding_idx=None: weight[x],
    samples=lambda m: [
        (m.ints(5, high=4), m(4, 3)),
        (m.ints(2, 3, high=4), m(4, 3)),
        (m.ints(high=4), m(4, 3)),
        (m.ints(0, high=4), m(4, 3)),
    ],
)
def embedding(x: Tensor, weight: Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False) -> Tensor:
    """Rows of a table. The row `padding_idx` gets no gradient.

    In `nn.functional` also (x, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse): rows that are
    read and whose norm exceeds `max_norm` are first brought down to it, in place; with `scale_grad_by_freq` gradients
    are divided by how often their row is read; `sparse` must be False.

    Shapes:   x [*S], weight [n, d] → [*S, d]
    Dtypes:   x integers; weight's
    Gradient: added up at the rows
    Errors:   BoundsError for a row out of range; ShapeError; DTypeError
    Source:   torch.nn.functional.embedding

    >>> dg.nn.functional.embedding(tensor([1]), tensor([[1.0], [2.0]]))
    tensor([[2.]])
    """
    if len(weight.shape) != 2:
        raise ShapeError(f"embedding: weight must have two dimensions, got shape {tuple(weight.shape)}")
    require_index("embedding", x, "x")
    return take_along(weight, x, 0)


@embedding.vjp
def _(g: Any, out: Any, x: Any, weight: Any, padding_idx: int | None, scale_grad_by_freq: bool) -> Any:
    if scale_grad_by_freq:
        often = add_along(zeros_like(weight), x, zeros_like(g) + 1, 0)
        g = g / take_along(often, x, 0)
    if padding_idx is not None:
        row = padding_idx if padding_idx >= 0 else padding_idx + weight.shape[0]
        g = where(unsqueeze(x == row, -1), 0.0, g)
    return None, add_along(zeros_like(weight), x, g, 0)


@function(over="embedding", method=False, names="input=x indices=x")
def embedding_any(
    x: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """`embedding`; rows whose norm exceeds `max_norm` are first brought down to it in place."""
    if sparse:
        raise DomainError("embedding: there are no sparse gradients", hint="leave out sparse=True")
    if max_norm is not None:
        bring_down(x, weight.detach(), max_norm, norm_type)
    return embedding(x, weight, padding_idx, scale_grad_by_freq)


def bring_down(x: Any, table: Any, limit: float, order: float) -> None:
    """Rows of the table at x with a greater norm scaled to this one."""
    from ..reduction.norms import vector_norm

    used = full((table.shape[0],), False, core.bool).index_fill(0, x.reshape(-1), True)
    size = vector_norm(table, order, 1)
    factor = where(used & (size > limit), limit / (size + 1e-7), 1.0)
    table.mul_(cast(unsqueeze(factor, 1), table.dtype))


def _value_as(value: Any, dtype: Any) -> Tensor:
    return wrap(cast_value(value_of(value), dtype))


@op(
    kind=INDEXING,
    method=False,
    public=False,
    inplace="fill_diagonal_",
    torch=lambda torch, x, value, wrap=False: x.clone().fill_diagonal_(value, wrap),
    samples=lambda m: [(m(3, 4), 2), (m(7, 3), 1, True), (m(7, 3), 1), (m(2, 2, 2), 0), (m(0, 3), 1)],
)
def diagonal_filled(x: Tensor, fill_value: Number, wrap: bool = False) -> Tensor:
    """x with one value on its diagonal, which in a tall matrix begins again below the bottom row if `wrap`.

    Shapes:   x [m, n], or of more dimensions of one size → the same
    Dtypes:   kept
    Gradient: 1 beside the diagonal, 0 on it
    Errors:   DimensionError for fewer than two dimensions; ShapeError for more than two of different sizes
    Source:   torch.Tensor.fill_diagonal_

    >>> tensor([[1, 2], [3, 4]]).fill_diagonal_(0)
    tensor([[0, 2],
            [3, 0]])
    """
    shape, name = tuple(x.shape), "fill_diagonal_"
    if len(shape) < 2:
        raise DimensionError(f"{name}: needs at least two dimensions, got {len(shape)}")
    for size in shape[1:] if len(shape) > 2 else ():
        require_equal(name, size, shape[0], f"more than two dimensions must have one size, got {shape}")
    place = emit("iota", [], core.int64, shape, dim=0)
    if wrap and len(shape) == 2:
        place = place % (constant(1, core.int64, ()) + emit("size", [], core.int64, (), value=shape[1]))
    wrapped, on = _value_as(fill_value, x.dtype), None
    for d in range(1, len(shape)):
        same = emit("iota", [], core.int64, shape, dim=d) == place
        on = same if on is None else on & same
    return where(on, wrapped, x)


@diagonal_filled.vjp
def _(g: Any, out: Any, x: Any, fill_value: Any, wrap: Any) -> Any:
    return diagonal_filled(g, 0, wrap)


@op(
    kind=INDEXING,
    over="gather",
    samples=lambda m: [(m(5, 4), 0, m.ints(3, 4, high=5), False)],
    torch=lambda torch, x, dim, index, sparse_grad: torch.gather(x, dim, index, sparse_grad=sparse_grad),
)
def gather_of(x: Tensor, dim: int, index: Tensor, sparse_grad: bool = False) -> Tensor:
    """`gather`, by the signature that PyTorch has.

    Shapes:   as `gather`
    Dtypes:   as `gather`
    Gradient: added up at the indices
    Errors:   ArgumentError for sparse_grad=True; as `gather`
    Source:   torch.gather

    >>> gather(tensor([5, 6]), 0, tensor([1]), sparse_grad=False)
    tensor([6])
    """
    if sparse_grad:
        raise ArgumentError("gather: gradients are dense here, sparse_grad must be False")
    return gather(x, dim, index)
