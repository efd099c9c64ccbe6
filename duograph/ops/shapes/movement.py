"""Shapes: views that share memory, and copies that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DimensionError, ShapeError
from duograph.ir.builder import current
from duograph.ir.dim import product

from ..definition import VIEW, function, op
from ..gradient import unbroadcast
from ..tracing import broadcast_shapes, emit, require, require_equal, user_operator, value_of, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Sizes


def axis(name: str, dim: int, rank: int) -> int:
    """A dimension number from -rank … rank - 1 as 0 … rank - 1; 0-d tensors accept 0 and -1."""
    limit = rank or 1
    if not -limit <= dim < limit:
        raise DimensionError(
            f"{user_operator(name)}: dim {dim} is out of range for {rank} dimensions", hint=f"use {-limit} … {limit - 1}"
        )
    return dim + limit if dim < 0 else dim


def existing_axis(name: str, dim: int, rank: int) -> int:
    """The same for what needs a dimension: a 0-d tensor has none."""
    found = axis(name, dim, rank)
    if rank == 0:
        raise DimensionError(f"{name}: a 0-d tensor has no dimension {dim}")
    return found


def axes(name: str, dim: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Dimension numbers, each once; None and () are all of them."""
    if dim is None or dim == ():
        return tuple(range(rank))
    given = (dim,) if isinstance(dim, int) else dim
    found = tuple(axis(name, d, rank) for d in given)
    if len(set(found)) != len(found):
        raise DimensionError(f"{user_operator(name)}: a dim appears twice in {tuple(given)}")
    return tuple(d for d in found if d < rank)


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    reference=lambda np, x: x,
    samples=lambda m: [(m(3, 4),), (m(),), (m(0, 2),)],
)
def alias(x: Tensor) -> Tensor:
    """x itself, as a new tensor that shares its memory.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 1
    Errors:   none
    Source:   torch.Tensor.view_as

    >>> dg.ops.alias(tensor([1.0]))
    tensor([1.])
    """
    return wrap(value_of(x))


@alias.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g


@alias.writes_through
def _(base: Any, value: Any) -> Any:
    return value


# Reshaping


def _target_shape(name: str, x: Any, shape: Sequence[Any]) -> tuple[Any, ...]:
    """The wanted shape with -1 filled in; the number of elements must agree."""
    name = user_operator(name)
    have = tuple(x.shape)
    holes = [d for d, size in enumerate(shape) if isinstance(size, int) and size == -1]
    text = f"cannot give shape {tuple(shape)} to {product(have)} elements ({have})"
    if any(isinstance(size, int) and size < -1 for size in shape):
        raise ShapeError(f"{name}: a size must not be negative: {tuple(shape)}")
    if len(holes) > 1:
        raise ShapeError(f"{name}: only one size may be -1: {tuple(shape)}")
    count = product(have)
    if not holes:
        require("eq", product(tuple(shape)), count, ShapeError, f"{name}: {text}")
        return tuple(shape)
    rest = product(tuple(size for d, size in enumerate(shape) if d != holes[0]))
    require("ne", rest, 0, ShapeError, f"{name}: {text}: -1 could be any size")
    filled = count // rest
    require("eq", filled * rest, count, ShapeError, f"{name}: {text}")
    return tuple(filled if d == holes[0] else size for d, size in enumerate(shape))


def _reshape_samples(m: Any) -> Any:
    return [(m(3, 4), 2, 6), (m(3, 4), (12,)), (m(2, 3, 4), 6, -1), (m(1), ()), (m(0, 3), 3, 0), (m(2, 3), -1)]


def _np_reshape(np: Any, x: Any, *shape: Any) -> Any:
    return np.reshape(x, shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)


@op(kind=VIEW, lowers=True, reference=_np_reshape, samples=_reshape_samples)
def reshape(x: Tensor, *shape: int) -> Tensor:
    """The same elements in row-major order under another shape; a view where possible, else a copy. One size may be -1.

    Shapes:   x [*S] → [*shape]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   ShapeError if the number of elements differs
    Source:   torch.reshape

    >>> reshape(tensor([1, 2, 3, 4]), 2, -1)
    tensor([[1, 2],
            [3, 4]])
    """
    return emit("reshape", [x], x.dtype, _target_shape("reshape", x, shape))


@reshape.vjp
def _(g: Any, out: Any, x: Any, *shape: Any) -> Any:
    return reshape(g, x.shape)


@reshape.writes_through
def _(base: Any, value: Any, *shape: Any) -> Any:
    return reshape(value, base.shape)


@op(kind=VIEW, lowers=True, method="view", public=False, reference=_np_reshape, samples=_reshape_samples)
def view(x: Tensor, *shape: int) -> Tensor:
    """The same memory under another shape. As a method it also takes a dtype: the same bytes as its elements.

    Shapes:   x [*S] → [*shape]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   ShapeError if the number of elements differs, or if x is laid out so that no view can show it
    Source:   torch.Tensor.view

    >>> tensor([1, 2, 3, 4]).view(2, 2)
    tensor([[1, 2],
            [3, 4]])
    """
    return emit("reshape", [x], x.dtype, _target_shape("view", x, shape), alias=True)


@view.vjp
def _(g: Any, out: Any, x: Any, *shape: Any) -> Any:
    return reshape(g, x.shape)


@view.writes_through
def _(base: Any, value: Any, *shape: Any) -> Any:
    return reshape(value, base.shape)


@op(
    kind=VIEW,
    lowers=True,
    samples=lambda m: [(m(2, 3, 4),), (m(2, 3, 4), 1), (m(2, 3, 4), 0, 1), (m(),), (m(0, 3),), (m(5), -1, -1)],
    reference=lambda np, x, s=0, e=-1: np.reshape(
        x, x.shape[: s % (x.ndim or 1)] + (-1 if x.size else 0,) + x.shape[e % (x.ndim or 1) + 1 :]
    ),
)
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from start_dim to end_dim, both included, as one.

    Shapes:   x [*S] → [*S[:start], product, *S[end + 1:]]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   DimensionError for a dim out of range or a start after the end
    Source:   torch.flatten

    >>> flatten(tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    shape = tuple(x.shape)
    start, end = axis("flatten", start_dim, len(shape)), axis("flatten", end_dim, len(shape))
    if start > end:
        raise DimensionError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    if not shape:
        return emit("reshape", [x], x.dtype, (1,))
    return emit("reshape", [x], x.dtype, (*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :]))


@flatten.vjp
def _(g: Any, out: Any, x: Any, start_dim: int, end_dim: int) -> Any:
    return reshape(g, x.shape)


@flatten.writes_through
def _(base: Any, value: Any, start_dim: int, end_dim: int) -> Any:
    return reshape(value, base.shape)


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    samples=lambda m: [(m(2, 3, 4), 0, 1), (m(2, 3, 4), 0, 2), (m(5), 0, 0)],
    reference=lambda np, x, s, e: np.reshape(x, x.shape[:s] + (-1,) + x.shape[e + 1 :]),
)
def merged(x: Tensor, start_dim: int, end_dim: int) -> Tensor:
    """The same memory with the dimensions from start_dim to end_dim, both included, as one.

    Shapes:   x [*S] → [*S[:start], product, *S[end + 1:]]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   ShapeError if strides cannot say it
    Source:   torch.Tensor.view

    >>> dg.ops.merged(tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([1, 2, 3, 4])
    """
    shape = tuple(x.shape)
    wanted = (*shape[:start_dim], product(shape[start_dim : end_dim + 1]), *shape[end_dim + 1 :])
    return emit("reshape", [x], x.dtype, wanted, alias=True)


@merged.vjp
def _(g: Any, out: Any, x: Any, start_dim: int, end_dim: int) -> Any:
    return reshape(g, x.shape)


@merged.writes_through
def _(base: Any, value: Any, start_dim: int, end_dim: int) -> Any:
    return reshape(value, base.shape)


def _np_squeeze(np: Any, x: Any, dim: Any = None) -> Any:
    dims = range(x.ndim) if dim is None else [dim % (x.ndim or 1)] if isinstance(dim, int) else [d % x.ndim for d in dim]
    return np.reshape(x, [s for d, s in enumerate(x.shape) if d not in dims or s != 1])


@op(
    kind=VIEW,
    lowers=True,
    inplace=True,
    reference=_np_squeeze,
    samples=lambda m: [(m(1, 3, 1),), (m(1, 3, 1), 0), (m(1, 3, 1), -2), (m(1, 3, 1), (0, 2)), (m(),), (m(1, 0),)],
)
def squeeze(x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the dimensions of size 1: all, or those of the given ones that have size 1.

    Shapes:   x [*S] → [*S without 1s]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   DimensionError for a dim out of range
    Source:   torch.squeeze

    >>> squeeze(tensor([[1, 2]]))
    tensor([1, 2])
    """
    shape = tuple(x.shape)
    dims = axes("squeeze", dim, len(shape))
    kept = tuple(s for d, s in enumerate(shape) if d not in dims or not current().is_one(s))
    return emit("reshape", [x], x.dtype, kept)


@squeeze.vjp
def _(g: Any, out: Any, x: Any, dim: Any) -> Any:
    return reshape(g, x.shape)


@squeeze.writes_through
def _(base: Any, value: Any, dim: Any) -> Any:
    return reshape(value, base.shape)


@op(
    kind=VIEW,
    lowers=True,
    inplace=True,
    reference="numpy.expand_dims",
    samples=lambda m: [(m(2, 3), 0), (m(2, 3), 2), (m(2, 3), -1), (m(), 0), (m(0), 1)],
)
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With a new dimension of size 1 at `dim` (-rank - 1 … rank).

    Shapes:   x [*S] → [*S[:dim], 1, *S[dim:]]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   DimensionError for a dim out of range
    Source:   torch.unsqueeze

    >>> unsqueeze(tensor([1, 2]), 0)
    tensor([[1, 2]])
    """
    shape = tuple(x.shape)
    position = axis("unsqueeze", dim, len(shape) + 1)
    return emit("reshape", [x], x.dtype, (*shape[:position], 1, *shape[position:]))


@unsqueeze.vjp
def _(g: Any, out: Any, x: Any, dim: int) -> Any:
    return reshape(g, x.shape)


@unsqueeze.writes_through
def _(base: Any, value: Any, dim: int) -> Any:
    return reshape(value, base.shape)


@op(
    kind=VIEW,
    lowers=True,
    reference=lambda np, x, dim, sizes: np.reshape(x, x.shape[: dim % x.ndim] + tuple(sizes) + x.shape[dim % x.ndim + 1 :]),
    samples=lambda m: [(m(2, 6), 1, (2, 3)), (m(12), 0, (3, 4)), (m(2, 6), -1, (6, 1)), (m(0, 4), 1, (2, 2))],
)
def unflatten(x: Tensor, dim: int, sizes: Sizes) -> Tensor:
    """A dimension as several, whose sizes multiply to its size.

    Shapes:   x [*S] → [*S[:dim], *sizes, *S[dim + 1:]]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   ShapeError unless the sizes multiply to the dimension's; DimensionError
    Source:   torch.unflatten

    >>> unflatten(tensor([1, 2, 3, 4]), 0, (2, 2))
    tensor([[1, 2],
            [3, 4]])
    """
    shape = tuple(x.shape)
    name = user_operator("unflatten")
    position = axis(name, dim, len(shape))
    inner = tuple(sizes)
    holes = [d for d, size in enumerate(inner) if isinstance(size, int) and size == -1]
    if len(holes) == 1:
        rest = product(tuple(s for d, s in enumerate(inner) if d != holes[0]))
        inner = tuple(shape[position] // rest if d == holes[0] else s for d, s in enumerate(inner))
    message = f"{name}: sizes {inner} do not multiply to {shape[position]}"
    require("eq", product(inner), shape[position], ShapeError, message)
    return emit("reshape", [x], x.dtype, (*shape[:position], *inner, *shape[position + 1 :]))


@unflatten.vjp
def _(g: Any, out: Any, x: Any, dim: int, sizes: Any) -> Any:
    return reshape(g, x.shape)


@unflatten.writes_through
def _(base: Any, value: Any, dim: int, sizes: Any) -> Any:
    return reshape(value, base.shape)


# Stretching


@op(
    kind=VIEW,
    lowers=True,
    reference=lambda np, x, *size: np.broadcast_to(
        x, [x.shape[d - (len(size) - x.ndim)] if s == -1 else s for d, s in enumerate(size)]
    ),
    samples=lambda m: [(m(3, 1), 3, 4), (m(1, 3), 2, -1), (m(3), 2, 4, 3), (m(), 2, 2), (m(1, 3), 0, 3)],
)
def expand(x: Tensor, *size: int) -> Tensor:
    """A view in which dimensions of size 1 repeat; new ones come in front, -1 keeps a size.

    Shapes:   x [*S] → [*size]
    Dtypes:   kept
    Gradient: summed over what was repeated
    Errors:   ShapeError if a size other than 1 would change
    Source:   torch.Tensor.expand

    >>> expand(tensor([[1], [2]]), -1, 2)
    tensor([[1, 1],
            [2, 2]])
    """
    return _stretched("expand", x, size)


def _stretched(name: str, x: Any, size: Sequence[Any]) -> Tensor:
    name = user_operator(name)
    have, extra = tuple(x.shape), len(size) - len(x.shape)
    if extra < 0:
        raise ShapeError(f"{name}: {len(size)} sizes for a tensor of {len(have)} dimensions")
    shape: list[Any] = []
    for d, wanted in enumerate(size):
        old = have[d - extra] if d >= extra else 1
        if isinstance(wanted, int) and wanted == -1:
            if d < extra:
                raise ShapeError(f"{name}: -1 cannot stand for the size of the new dimension {d}")
            shape.append(old)
        elif isinstance(old, int) and old == 1:
            if isinstance(wanted, int) and wanted < 0:
                raise ShapeError(f"{name}: a size must not be negative, got {tuple(size)}")
            shape.append(wanted)
        else:
            shape.append(
                require_equal(
                    name, old, wanted, f"cannot stretch size {old} of dimension {d - extra} to {wanted}: only size 1 repeats"
                )
            )
    return emit("broadcast", [x], x.dtype, tuple(shape))


@expand.vjp
def _(g: Any, out: Any, x: Any, *size: Any) -> Any:
    return unbroadcast(g, x.shape)


@op(
    kind=VIEW,
    lowers=True,
    reference="numpy.broadcast_to",
    samples=lambda m: [(m(3, 1), (3, 4)), (m(3), (2, 4, 3)), (m(), (2, 2)), (m(1, 3), (0, 3))],
    names="size=shape",
)
def broadcast_to(x: Tensor, shape: Sizes) -> Tensor:
    """A view in which dimensions of size 1 repeat; as `expand`.

    Shapes:   x [*S] → [*shape]
    Dtypes:   kept
    Gradient: summed over what was repeated
    Errors:   ShapeError if a size other than 1 would change
    Source:   torch.broadcast_to

    >>> broadcast_to(tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return _stretched("broadcast_to", x, shape)


@broadcast_to.vjp
def _(g: Any, out: Any, x: Any, shape: Any) -> Any:
    return unbroadcast(g, x.shape)


@function(public=False, samples=lambda m: [(m(3, 1), m(3, 4))], reference=lambda np, x, y: np.broadcast_to(x, y.shape))
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.expand(other.shape)`.

    Shapes:   x [*S], other [*T] → [*T]
    Dtypes:   kept
    Gradient: summed over what was repeated
    Errors:   as `expand`
    Source:   torch.Tensor.expand_as

    >>> tensor([1]).expand_as(tensor([0, 0]))
    tensor([1, 1])
    """
    return expand(x, other.shape)


@function(method=False, samples=lambda m: [(m(3, 1), m(4)), (m(2), m(3, 1), m())], reference="numpy.broadcast_arrays")
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors as views of their common broadcast shape.

    Shapes:   [*S], [*T], … → broadcast(S, T, …) each
    Dtypes:   kept
    Gradient: summed over what was repeated
    Errors:   ShapeError if they do not broadcast
    Source:   torch.broadcast_tensors

    >>> broadcast_tensors(tensor([1, 2]), tensor([[3]]))[1]
    tensor([[3, 3]])
    """
    shape = broadcast_shapes("broadcast_tensors", [(f"tensors[{i}]", tuple(x.shape)) for i, x in enumerate(tensors)])
    return tuple(expand(x, shape) for x in tensors)
