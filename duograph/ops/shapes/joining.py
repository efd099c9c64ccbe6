"""Tensors joined, and taken apart again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, DimensionError, DomainError, ShapeError

from ..definition import MOVEMENT, VIEW, function, op
from ..dtypes import promote
from ..tracing import cast_value, emit, require, require_equal, user_operator, value_of
from .movement import axis, existing_axis, unsqueeze
from .slicing import select, slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor
    from duograph.ir.dim import Expr

    from ..definition import Sizes


def _pieces(name: str, tensors: Sequence[Any]) -> None:
    if not tensors:
        raise ArgumentError(f"{name}: needs at least one tensor")


@op(
    kind=MOVEMENT,
    dtypes=promote,
    lowers=True,
    method=False,
    aliases=("concat", "concatenate"),
    reference=lambda np, tensors, dim=0: np.concatenate(tensors, dim),
    samples=lambda m: [([m(2, 3), m(4, 3)],), ([m(2, 3), m(2, 1), m(2, 0)], 1), ([m(5)],), ([m(2, 3), m(2, 3)], -1)],
    autocast="promote",
)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after another along a dimension.

    Shapes:   [*S with own S[dim]] … → [*S with the sum]
    Dtypes:   promote
    Gradient: each its slice
    Errors:   ShapeError if other sizes differ; DimensionError; ArgumentError for an empty list
    Source:   torch.cat

    >>> cat([tensor([1]), tensor([2, 3])])
    tensor([1, 2, 3])
    """
    from ..dtypes import result_type
    from ..tracing import operand_type

    name = user_operator("cat")
    _pieces(name, tensors)
    dtype = result_type(name, [operand_type(x) for x in tensors])
    tensors = _without_legacy_empties(name, tensors)
    rank = len(tensors[0].shape)
    if rank == 0:
        raise DimensionError(f"{name}: 0-d tensors cannot be concatenated", hint="use stack")
    dim = axis(name, dim, rank)
    shape: list[Expr] = list(tensors[0].shape)
    for i, x in enumerate(tensors[1:], 1):
        if len(x.shape) != rank:
            raise ShapeError(f"{name}: tensors[0] has {rank} dimensions, tensors[{i}] has {len(x.shape)}")
        for d, size in enumerate(x.shape):
            if d == dim:
                shape[d] = shape[d] + size
            else:
                message = f"size {d} of tensors[0] is {shape[d]}, of tensors[{i}] {size}: they may differ only along dim {dim}"
                shape[d] = require_equal(name, shape[d], size, message)
    return emit("concat", [cast_value(value_of(x), dtype) for x in tensors], dtype, tuple(shape), dim=dim)


def _without_legacy_empties(name: str, tensors: Sequence[Any]) -> Sequence[Any]:
    """PyTorch lets a 1-d tensor of size 0 join tensors of any rank."""
    if all(len(x.shape) == len(tensors[0].shape) for x in tensors):
        return tensors
    kept = [x for x in tensors if len(x.shape) != 1]
    for i, x in enumerate(tensors):
        if len(x.shape) == 1:
            message = f"{name}: tensors[{i}] has one dimension and {x.shape[0]} elements, others have more dimensions"
            require("eq", x.shape[0], 0, ShapeError, message)
    return kept


@cat.vjp
def _(g: Any, out: Any, tensors: Any, dim: int) -> Any:
    dim = axis("cat", dim, len(out.shape))
    offset: Any = 0
    grads: list[Any] = []
    for x in tensors:
        if len(x.shape) != len(out.shape):
            grads.append(None)
            continue
        size = x.shape[dim]
        grads.append(slice(g, dim, offset, offset + size))
        offset = offset + size
    return (grads,)


@op(
    kind=MOVEMENT,
    method=False,
    reference=lambda np, tensors, dim=0: np.stack(tensors, dim),
    samples=lambda m: [([m(2, 3), m(2, 3)],), ([m(2, 3), m(2, 3), m(2, 3)], 1), ([m(), m()], -1), ([m(0)], 1)],
    autocast="promote",
)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new dimension.

    Shapes:   n times [*S] → [*S[:dim], n, *S[dim:]]
    Dtypes:   promote
    Gradient: each its part
    Errors:   ShapeError if shapes differ; DimensionError; ArgumentError for an empty list
    Source:   torch.stack

    >>> stack([tensor([1, 2]), tensor([3, 4])], 1)
    tensor([[1, 3],
            [2, 4]])
    """
    _pieces("stack", tensors)
    for i, x in enumerate(tensors):
        if len(x.shape) != len(tensors[0].shape):
            raise ShapeError(f"stack: tensors[0] has shape {tuple(tensors[0].shape)}, tensors[{i}] {tuple(x.shape)}")
    dim = axis("stack", dim, len(tensors[0].shape) + 1)
    return cat([unsqueeze(x, dim) for x in tensors], dim)


@stack.vjp
def _(g: Any, out: Any, tensors: Any, dim: int) -> Any:
    return ([select(g, dim, i) for i in range(len(tensors))],)


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    samples=lambda m: [(m(6, 2), (1, 2, 3), 0), (m(2, 4), (2, 2), -1), (m(0, 3), (0, 0), 0)],
    reference=lambda np, x, lengths, dim: tuple(np.split(x, np.cumsum(lengths)[:-1], dim)),
)
def split_with_sizes(x: Tensor, lengths: Sizes, dim: int = 0) -> tuple[Tensor, ...]:
    """Consecutive parts of given lengths along a dimension.

    Shapes:   x [*S] → [*S with S[dim] = lengths[i]] …
    Dtypes:   kept
    Gradient: concatenated
    Errors:   ShapeError unless the lengths add up to the size
    Source:   torch.split

    >>> dg.ops.split_with_sizes(tensor([1, 2, 3]), (1, 2))[1]
    tensor([2, 3])
    """
    name = user_operator("split")
    dim = axis(name, dim, len(x.shape))
    total: Expr = 0
    parts = []
    for length in lengths:
        require("le", 0, length, ShapeError, f"{name}: a length must not be negative, got {length}")
        starts, steps, shape = tuple(total if d == dim else 0 for d in range(len(x.shape))), (1,) * len(x.shape), list(x.shape)
        shape[dim] = length
        parts.append(emit("slice", [x], x.dtype, tuple(shape), starts=starts, steps=steps))
        total = total + length
    require("eq", total, x.shape[dim], ShapeError, f"{name}: the lengths {tuple(lengths)} do not add up to size {x.shape[dim]}")
    return tuple(parts)


@split_with_sizes.vjp
def _(g: Any, out: Any, x: Any, lengths: Any, dim: Any) -> Any:
    return cat(list(g) if isinstance(g, tuple) else [g], dim)


def _np_split(np: Any, x: Any, size: Any, dim: int = 0) -> Any:
    lengths = size if isinstance(size, (list, tuple)) else [min(size, x.shape[dim] - i) for i in range(0, x.shape[dim], size)]
    return tuple(np.split(x, np.cumsum(lengths)[:-1], dim))


@function(
    reference=_np_split,
    samples=lambda m: [(m(5, 2), 2), (m(2, 6), [1, 2, 3], 1), (m(4), 4)],
    aliases=("unsafe_split",),
    names="tensor=x split_size=split_size_or_sections split_sizes=split_size_or_sections",
)
def split(x: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts along a dimension: of one size (the last may be smaller), or of the given sizes.

    Shapes:   x [*S] → [*S with S[dim] = part] …
    Dtypes:   kept
    Gradient: concatenated
    Errors:   ShapeError if sizes do not add up; DomainError for a size below 1
    Source:   torch.split

    >>> split(tensor([1, 2, 3]), 2)[1]
    tensor([3])
    """
    dim = existing_axis("split", dim, x.ndim)
    if not isinstance(split_size_or_sections, (list, tuple)):
        size: Any = split_size_or_sections
        if isinstance(size, int) and size < 1:
            raise DomainError(f"split: the size of a part must be at least 1, got {size}")
        total = x.shape[dim]
        count = max(1, -(-total // size))
        split_size_or_sections = [size] * (count - 1) + [total - size * (count - 1)]
    parts = split_with_sizes(x, split_size_or_sections, dim)
    return parts if isinstance(parts, tuple) else (parts,)


@function(
    samples=lambda m: [(m(5, 2), 2), (m(2, 6), 4, 1), (m(2), 5)],
    reference=lambda np, x, n, dim=0: _np_split(np, x, -(-x.shape[dim] // n), dim),
    aliases=("unsafe_chunk",),
)
def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most `chunks` consecutive parts of equal size, the last one smaller.

    Shapes:   x [*S] → [*S with S[dim] = ceil(S[dim] / chunks)] …
    Dtypes:   kept
    Gradient: concatenated
    Errors:   DomainError for less than one chunk
    Source:   torch.chunk

    >>> chunk(tensor([1, 2, 3]), 2)[0]
    tensor([1, 2])
    """
    if chunks < 1:
        raise DomainError(f"chunk: at least one chunk is needed, got {chunks}")
    dim = existing_axis("chunk", dim, x.ndim)
    return split(x, max(1, -(-x.shape[dim] // chunks)), dim)


@function(samples=lambda m: [(m(3, 2),), (m(2, 4), 1)], reference=lambda np, x, dim=0: tuple(np.moveaxis(x, dim, 0)))
def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of every position along a dimension.

    Shapes:   x [*S] → S[dim] times [*S without S[dim]]
    Dtypes:   kept
    Gradient: each put back among zeros
    Errors:   DimensionError
    Source:   torch.unbind

    >>> unbind(tensor([1, 2]))
    (tensor(1), tensor(2))
    """
    dim = existing_axis("unbind", dim, x.ndim)
    return tuple(select(x, dim, i) for i in range(x.shape[dim]))
