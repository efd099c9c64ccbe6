"""Parts of tensors: slices and selections, and writing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import BoundsError, DimensionError, DomainError, ShapeError
from duograph.ir.builder import current
from duograph.ir.dim import ceildiv, mod
from duograph.ir.dim import maximum as greater
from duograph.ir.dim import minimum as lesser

from ..definition import MOVEMENT, REGISTRY, VIEW, function, op
from ..tracing import cast_value, emit, require, require_equal, user_operator, value_of, wrap
from .copying import cast, clone
from .creation import zeros_like
from .movement import axis, existing_axis

if TYPE_CHECKING:
    from duograph._core import Tensor
    from duograph.ir.dim import Expr

    from ..definition import Size


def _window(x: Any, dim: int, start: Any, stop: Any, step: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """Starts, steps and sizes per dimension of a slice along one, with Python's clamping."""
    shape = tuple(x.shape)
    _needs_dimension("slice", shape)
    size, step = shape[dim], 1 if step is None else step
    require("le", 1, step, DomainError, f"{user_operator('slice')}: the step must be positive, got {step}", "use flip to reverse")
    first = 0 if start is None else _clamped(start, size)
    last = size if stop is None else _clamped(stop, size)
    length = greater(ceildiv(last - first, step), 0)
    starts = tuple(first if d == dim else 0 for d in range(len(shape)))
    steps = tuple(step if d == dim else 1 for d in range(len(shape)))
    return starts, steps, tuple(length if d == dim else s for d, s in enumerate(shape))


def _needs_dimension(name: str, shape: tuple[Any, ...]) -> None:
    if not shape:
        raise DimensionError(f"{user_operator(name)}: a 0-d tensor has no dimension 0")


def _clamped(bound: Any, size: Any) -> Any:
    """A slice's bound within 0 … size; negative ones count from the end."""
    if current().at_most(bound, size):
        return bound
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
    _needs_dimension(name, x.shape)
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
    if len(value.shape) != rank - 1:
        message = f"the value has {len(value.shape)} dimensions, the selection {rank - 1}"
        raise ShapeError(f"{user_operator('select_put')}: {message}")
    for d, (have, want) in enumerate(zip(value.shape, (s for d, s in enumerate(x.shape) if d != dim))):
        require_equal(user_operator("select_put"), have, want, f"size {d} of the value is {have}, of the selection {want}")
    source = emit("reshape", [cast_value(value_of(value), x.dtype)], x.dtype, shape)
    starts = tuple(start if d == dim else 0 for d in range(rank))
    return emit("slice_update", [x, source], x.dtype, tuple(x.shape), starts=starts, steps=(1,) * rank)


@select_put.vjp
def _(g: Any, out: Any, x: Any, value: Any, dim: Any, index: Any) -> Any:
    return select_put(g, zeros_like(value), dim, index), select(g, dim, index)


@op(
    kind=VIEW,
    lowers=True,
    method=False,
    public=False,
    reference=lambda np, x, dim, start, length: np.take(x, range(start, start + length), dim),
    samples=lambda m: [(m(5, 4), 0, 1, 3), (m(5, 4), -1, 0, 2), (m(7), 0, 7, 0)],
)
def part(x: Tensor, dim: int, start: Size, length: Size) -> Tensor:
    """`length` elements along a dimension from `start` on.

    Shapes:   x [*S] → [*S with S[dim] = length]
    Dtypes:   kept
    Gradient: put back among zeros
    Errors:   BoundsError if the part reaches beyond the dimension; DimensionError
    Source:   torch.narrow

    >>> dg.ops.part(tensor([1, 2, 3]), 0, 1, 2)
    tensor([2, 3])
    """
    shape = tuple(x.shape)
    dim, name = axis("part", dim, len(shape)), user_operator("part")
    message = f"{name}: start {start} and length {length} do not lie within size {shape[dim]} of dimension {dim}"
    for low, high in ((0, start), (0, length), (start + length, shape[dim])):
        require("le", low, high, BoundsError, message)
    starts = tuple(start if d == dim else 0 for d in range(len(shape)))
    sizes = tuple(length if d == dim else s for d, s in enumerate(shape))
    return emit("slice", [x], x.dtype, sizes, starts=starts, steps=(1,) * len(shape))


@part.vjp
def _(g: Any, out: Any, x: Any, dim: Any, start: Any, length: Any) -> Any:
    return slice_put(zeros_like(x), g, dim, start, start + length)


@part.writes_through
def _(base: Any, value: Any, dim: Any, start: Any, length: Any) -> Any:
    return slice_put(base, value, dim, start, start + length)


def _size_of_the_run(number: Any, size: Any = None) -> Any:
    """A traced tensor as a size; with `size`, a negative one counts from there."""
    if number.dim() or number.dtype.kind not in "iu":
        raise BoundsError(f"narrow: start and length must be integers, got {number.dtype.name}{list(number.shape)}")
    at = cast(number, core.int64)
    if size is not None:
        at = REGISTRY["where"].op(at < 0, at + size, at)
    return current().size_of(value_of(at), "part")


def _of_the_run(x: Any, dim: int, start: Any, length: Any) -> Tensor | None:
    """`narrow` where only the run knows the start, the length or the size; None elsewhere."""
    builder = current()
    if any(isinstance(n, core.Tensor) for n in (start, length)):
        start = _size_of_the_run(start, x.shape[dim]) if isinstance(start, core.Tensor) else start
        length = _size_of_the_run(length) if isinstance(length, core.Tensor) else length
    elif not builder.is_late(getattr(n, "expr", n) for n in (start, length, x.shape[dim])):
        return None
    if type(start) is int and start < 0:
        start = start + x.shape[dim]
    return part(x, dim, start, length)


@function(
    samples=lambda m: [(m(5, 4), 0, 1, 3), (m(5, 4), 1, -2, 2)],
    reference=lambda np, x, dim, start, length: np.take(x, range(start % x.shape[dim], start % x.shape[dim] + length), dim),
)
def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` elements along a dimension from `start` on, which may count from the end; both may be 0-d integer tensors.

    Shapes:   x [*S] → [*S with S[dim] = length]
    Dtypes:   kept
    Gradient: put back among zeros
    Errors:   BoundsError if the part reaches beyond the dimension (in a static function where only the run knows: ShapeError)
    Source:   torch.narrow

    >>> narrow(tensor([1, 2, 3]), 0, 1, 2)
    tensor([2, 3])
    """
    dim = existing_axis("narrow", dim, x.ndim)
    size = x.shape[dim]
    if core.tracing() and x.ndim:
        late = _of_the_run(x, dim, start, length)
        if late is not None:
            return late
    start, length = (n.item() if isinstance(n, core.Tensor) else n for n in (start, length))
    if isinstance(start, int) and start < 0:
        start = start + size
    if isinstance(start, int) and isinstance(length, int) and isinstance(size, int) and not 0 <= start <= start + length <= size:
        raise BoundsError(f"narrow: start {start} and length {length} do not lie within size {size} of dimension {dim}")
    return slice(x, dim, start, start + length)


@function(
    samples=lambda m: [(m(5, 4), 0, 1, 3), (m(5, 4), 1, -2, 2)],
    reference=lambda np, x, dim, start, length: np.take(x, range(start % x.shape[dim], start % x.shape[dim] + length), dim),
)
def narrow_copy(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`narrow` with memory of its own.

    Shapes:   x [*S] → [*S with S[dim] = length]
    Dtypes:   kept
    Gradient: put back among zeros
    Errors:   BoundsError if the part reaches beyond the dimension
    Source:   torch.narrow_copy

    >>> narrow_copy(tensor([1, 2, 3]), 0, 1, 2)
    tensor([2, 3])
    """
    return clone(narrow(x, dim, start, length))
