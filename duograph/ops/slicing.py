"""Parts of tensors and tensors from parts: slices, selections, concatenation; copies and conversions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, BoundsError, DimensionError, DomainError, ShapeError
from duograph.ir.dim import ceildiv, mod
from duograph.ir.dim import maximum as greater
from duograph.ir.dim import minimum as lesser

from .creation import zeros_like
from .definition import MOVEMENT, VIEW, function, op
from .dtypes import promote
from .movement import axes, axis, unsqueeze
from .tracing import cast_value, emit, require, require_equal, user_operator, value_of, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor
    from duograph.ir.dim import Expr

    from .definition import Axis, Size, Sizes


def _window(x: Any, dim: int, start: Any, stop: Any, step: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """Starts, steps and sizes per dimension of a slice along one, with Python's clamping."""
    shape = tuple(x.shape)
    size, step = shape[dim], 1 if step is None else step
    require("le", 1, step, DomainError, f"{user_operator('slice')}: the step must be positive, got {step}", "use flip to reverse")
    first = 0 if start is None else _clamped(start, size)
    last = size if stop is None else _clamped(stop, size)
    length = greater(ceildiv(last - first, step), 0)
    starts = tuple(first if d == dim else 0 for d in range(len(shape)))
    steps = tuple(step if d == dim else 1 for d in range(len(shape)))
    return starts, steps, tuple(length if d == dim else s for d, s in enumerate(shape))


def _clamped(bound: Any, size: Any) -> Any:
    """A slice's bound within 0 … size; negative ones count from the end."""
    negative = (1 if bound < 0 else 0) if isinstance(bound, int) else lesser(greater(-bound, 0), 1)
    return greater(lesser(bound + size * negative, size), 0)


def _np_slice(np: Any, x: Any, dim: int, start: Any, stop: Any, step: Any = None) -> Any:
    index = [np.s_[:]] * x.ndim
    index[dim] = np.s_[start:stop:step]
    return x[tuple(index)]


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    reference=_np_slice,
    samples=lambda m: [
        (m(5, 4), 0, 1, 3),
        (m(5, 4), 1, None, None, 2),
        (m(7), -1, 2, 1),
        (m(0, 2), 0, 0, 9),
        (m(7), 0, -3, 20),
        (m(7), 0, -30, -2, 3),
    ],
)
def slice(x: Tensor, dim: int, start: Size | None = None, stop: Size | None = None, step: Size | None = None) -> Tensor:
    """`x[start:stop:step]` along a dimension, with Python's rules for bounds beyond the end and counted from it.

    Shapes:   x [*S] → [*S with S[dim] = length of the slice]
    Dtypes:   kept
    Gradient: put back among zeros
    Errors:   DomainError for a step below 1; DimensionError
    Source:   Python slicing

    >>> dg.ops.slice(tensor([1, 2, 3, 4]), 0, 1, -1)
    tensor([2, 3])
    """
    starts, steps, shape = _window(x, axis("slice", dim, len(x.shape)), start, stop, step)
    return emit("slice", [x], x.dtype, shape, starts=starts, steps=steps)


@slice.vjp
def _(g: Any, out: Any, x: Any, dim: Any, start: Any, stop: Any, step: Any) -> Any:
    return slice_put(zeros_like(x), g, dim, start, stop, step)


@slice.writes_through
def _(base: Any, value: Any, dim: Any, start: Any, stop: Any, step: Any) -> Any:
    return slice_put(base, value, dim, start, stop, step)


def _np_slice_put(np: Any, x: Any, value: Any, dim: int, start: Any = None, stop: Any = None, step: Any = None) -> Any:
    x = x.copy()
    _np_slice(np, x, dim, start, stop, step)[...] = value
    return x


@op(
    kind=MOVEMENT,
    lowers=True,
    method=False,
    public=False,
    reference=_np_slice_put,
    samples=lambda m: [(m(5, 4), m(3, 4), 0, 1, 4), (m(5, 4), m(5, 2), 1, 0, None, 2), (m(7), m(0), 0, 2, 2)],
)
def slice_put(
    x: Tensor, value: Tensor, dim: int = 0, start: Size | None = None, stop: Size | None = None, step: Size | None = None
) -> Tensor:
    """x with a slice along a dimension replaced.

    Shapes:   x [*S], value [*S with S[dim] = length of the slice] → [*S]
    Dtypes:   x's
    Gradient: to x outside of the slice, to value inside
    Errors:   ShapeError if value does not have the slice's shape
    Source:   torch.slice_scatter

    >>> dg.ops.slice_put(tensor([1, 2, 3]), tensor([9]), 0, 1, 2)
    tensor([1, 9, 3])
    """
    dim, name = axis("slice_put", dim, len(x.shape)), user_operator("slice_put")
    if len(value.shape) != len(x.shape):
        raise ShapeError(f"{name}: value has {len(value.shape)} dimensions, the slice {len(x.shape)}")
    starts, steps, shape = _window(x, dim, start, stop, step)
    for d, (have, want) in enumerate(zip(value.shape, shape)):
        require_equal(name, have, want, f"size {d} of the value is {have}, of the slice {want}")
    source = wrap(cast_value(value_of(value), x.dtype))
    return emit("slice_update", [x, source], x.dtype, tuple(x.shape), starts=starts, steps=steps)


@slice_put.vjp
def _(g: Any, out: Any, x: Any, value: Any, dim: Any, start: Any, stop: Any, step: Any) -> Any:
    return slice_put(g, zeros_like(value), dim, start, stop, step), slice(g, dim, start, stop, step)


def _position(name: str, x: Any, dim: int, index: Any) -> Expr:
    """An index along a dimension, negative ones counted from the end."""
    size = x.shape[dim]
    name = user_operator(name)
    message = f"{name}: index {index} is out of range for size {size} of dimension {dim}"
    require("lt", index, size, BoundsError, message)
    require("le", -size, index, BoundsError, message)
    return mod(index, size)


@op(
    kind=VIEW,
    lowers=True,
    reference=lambda np, x, dim, index: np.take(x, index, dim),
    samples=lambda m: [(m(5, 4), 0, 1), (m(5, 4), 1, -1), (m(7), -1, 2), (m(2, 0), 0, 1)],
)
def select(x: Tensor, dim: int, index: Size) -> Tensor:
    """One position along a dimension, which goes away; negative indices count from the end.

    Shapes:   x [*S] → [*S without S[dim]]
    Dtypes:   kept
    Gradient: put back among zeros
    Errors:   BoundsError for an index out of range; DimensionError
    Source:   torch.select

    >>> select(tensor([[1, 2], [3, 4]]), 0, -1)
    tensor([3, 4])
    """
    if not x.shape:
        raise DimensionError(f"{user_operator('select')}: a 0-d tensor cannot be indexed", hint="use x.item() for its value")
    dim = axis("select", dim, len(x.shape))
    start = _position("select", x, dim, index)
    rank = len(x.shape)
    kept = tuple(s for d, s in enumerate(x.shape) if d != dim)
    part = emit(
        "slice",
        [x],
        x.dtype,
        tuple(1 if d == dim else s for d, s in enumerate(x.shape)),
        starts=tuple(start if d == dim else 0 for d in range(rank)),
        steps=(1,) * rank,
    )
    return emit("reshape", [part], x.dtype, kept)


@select.vjp
def _(g: Any, out: Any, x: Any, dim: Any, index: Any) -> Any:
    return select_put(zeros_like(x), g, dim, index)


@select.writes_through
def _(base: Any, value: Any, dim: Any, index: Any) -> Any:
    return select_put(base, value, dim, index)


def _np_select_put(np: Any, x: Any, value: Any, dim: int, index: int) -> Any:
    x = x.copy()
    np.moveaxis(x, dim, 0)[index] = value
    return x


@op(
    kind=MOVEMENT,
    lowers=True,
    method=False,
    public=False,
    reference=_np_select_put,
    samples=lambda m: [(m(5, 4), m(4), 0, 1), (m(5, 4), m(5), 1, -1), (m(7), m(), 0, 2)],
)
def select_put(x: Tensor, value: Tensor, dim: int, index: Size) -> Tensor:
    """x with one position along a dimension replaced.

    Shapes:   x [*S], value [*S without S[dim]] → [*S]
    Dtypes:   x's
    Gradient: to x elsewhere, to value there
    Errors:   BoundsError for an index out of range; ShapeError
    Source:   torch.select_scatter

    >>> dg.ops.select_put(tensor([1, 2]), tensor(9), 0, 1)
    tensor([1, 9])
    """
    rank = len(x.shape)
    dim = axis("select_put", dim, rank)
    start = _position("select_put", x, dim, index)
    shape = tuple(1 if d == dim else s for d, s in enumerate(x.shape))
    for d, (have, want) in enumerate(zip(value.shape, (s for d, s in enumerate(x.shape) if d != dim), strict=True)):
        require_equal(user_operator("select_put"), have, want, f"size {d} of the value is {have}, of the selection {want}")
    source = emit("reshape", [cast_value(value_of(value), x.dtype)], x.dtype, shape)
    starts = tuple(start if d == dim else 0 for d in range(rank))
    return emit("slice_update", [x, source], x.dtype, tuple(x.shape), starts=starts, steps=(1,) * rank)


@select_put.vjp
def _(g: Any, out: Any, x: Any, value: Any, dim: Any, index: Any) -> Any:
    return select_put(g, zeros_like(value), dim, index), select(g, dim, index)


def _dim(name: str, x: Tensor, dim: int) -> int:
    """A dimension that is there: of a 0-d tensor there is none."""
    found = axis(name, dim, x.ndim)
    if x.ndim == 0:
        raise DimensionError(f"{name}: a 0-d tensor has no dimension {dim}")
    return found


@function(
    samples=lambda m: [(m(5, 4), 0, 1, 3), (m(5, 4), 1, -2, 2)],
    reference=lambda np, x, dim, start, length: np.take(x, range(start % x.shape[dim], start % x.shape[dim] + length), dim),
)
def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` elements along a dimension from `start` on, which may count from the end.

    Shapes:   x [*S] → [*S with S[dim] = length]
    Dtypes:   kept
    Gradient: put back among zeros
    Errors:   BoundsError if the part reaches beyond the dimension
    Source:   torch.narrow

    >>> narrow(tensor([1, 2, 3]), 0, 1, 2)
    tensor([2, 3])
    """
    size = x.shape[_dim("narrow", x, dim)]
    if isinstance(start, int) and start < 0:
        start = start + size
    if isinstance(start, int) and isinstance(length, int) and isinstance(size, int) and not 0 <= start <= start + length <= size:
        raise BoundsError(f"narrow: start {start} and length {length} do not lie within size {size} of dimension {dim}")
    return slice(x, dim, start, start + length)


# Concatenation


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
    from .dtypes import result_type
    from .tracing import operand_type

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
    lengths = (
        size if isinstance(size, (list, tuple)) else [builtin_min(size, x.shape[dim] - i) for i in range(0, x.shape[dim], size)]
    )
    return tuple(np.split(x, np.cumsum(lengths)[:-1], dim))


builtin_min = min


@function(reference=_np_split, samples=lambda m: [(m(5, 2), 2), (m(2, 6), [1, 2, 3], 1), (m(4), 4)])
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
    dim = _dim("split", x, dim)
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
    dim = _dim("chunk", x, dim)
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
    dim = _dim("unbind", x, dim)
    return tuple(select(x, dim, i) for i in range(x.shape[dim]))


@op(
    kind=MOVEMENT,
    lowers=True,
    reference=lambda np, x, *dims: np.flip(x, dims[0] if len(dims) == 1 else dims),
    samples=lambda m: [(m(3, 4), 0), (m(3, 4), (0, -1)), (m(5), 0), (m(0, 2), 1)],
)
def flip(x: Tensor, *dims: Axis) -> Tensor:
    """A copy with the order along dimensions reversed.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: flipped back
    Errors:   DimensionError
    Source:   torch.flip

    >>> flip(tensor([1, 2, 3]), 0)
    tensor([3, 2, 1])
    """
    given: Any = dims[0] if len(dims) == 1 else dims
    found = axes("flip", given, len(x.shape)) if given != () else ()
    return emit("flip", [x], x.dtype, tuple(x.shape), dims=found)


@flip.vjp
def _(g: Any, out: Any, x: Any, *dims: Any) -> Any:
    return flip(g, dims)
