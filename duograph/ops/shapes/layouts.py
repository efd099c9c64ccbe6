"""Reshaping, tensors with gaps too: a view where one can show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._forks import import_late
from duograph.errors import DTypeError, GradError
from duograph.ir.builder import active, current

from ..definition import function
from .affine_views import divided
from .movement import alias, axis, flatten, merged, reshape, squeeze, unflatten, unsqueeze, view

if TYPE_CHECKING:
    from duograph._core import DType, Tensor


def _filled(shape: tuple[int, ...], count: int) -> tuple[int, ...] | None:
    """A shape with -1 replaced; None if it does not fit (the operator then says why)."""
    if shape.count(-1) == 1:
        rest = 1
        for size in shape:
            rest *= 1 if size == -1 else size
        if rest <= 0 or count % rest:
            return None
        shape = tuple(count // rest if size == -1 else size for size in shape)
    total = 1
    for size in shape:
        total *= size
    return shape if total == count and min(shape, default=0) >= 0 else None


def _as_view(x: Tensor, given: tuple[Any, ...]) -> Tensor | None:
    """A tensor with gaps under another shape by merging and splitting dimensions; None where only a copy would do."""
    shape = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
    wanted = _filled(tuple(shape), x.numel()) if all(isinstance(size, int) for size in shape) else None
    if wanted is None or not x.numel():
        return None
    have, strides = x.shape, x.stride()
    kept = [d for d, size in enumerate(have) if size != 1]
    sizes, steps = [have[d] for d in kept], [strides[d] for d in kept]
    parts: list[tuple[int, list[int]]] = []  # how many dimensions are merged, and what they are split into
    source = 0
    pending: list[int] = []
    joined, split = 0, 1
    size = 1
    for target in (t for t in wanted if t != 1):
        pending.append(target)
        split *= target
        while size < split:
            if joined and steps[source - 1] != steps[source] * sizes[source]:
                return None
            size *= sizes[source]
            source += 1
            joined += 1
        if size == split:
            parts.append((joined, pending))
            pending, joined, size, split = [], 0, 1, 1
    result = squeeze(x) if len(kept) != len(have) else x
    dim = 0
    for joined, pieces in parts:
        if joined > 1:
            result = merged(result, dim, dim + joined - 1)
        if len(pieces) > 1:
            result = divided(result, dim, pieces)
        dim += len(pieces)
    for d, target in enumerate(wanted):
        if target == 1:
            result = unsqueeze(result, d)
    return result if result is not x else alias(x)


def _has_tensors(shape: tuple[Any, ...]) -> bool:
    """Whether sizes are among them that stand for numbers of a captured function."""
    return any(isinstance(size, core.Tensor) and size._traced is not None for size in shape)


def _made(x: Tensor) -> Tensor:
    """What a reshaping operator gave, which a capture may have to take for a copy."""
    return x if x._traced is None or not active() else current().reshaped(x)


@function(over="reshape")
def reshape_any(x: Tensor, *shape: Any) -> Tensor:
    """`reshape`: of a tensor with gaps a view where one can show it."""
    if x._traced is None and not x.is_contiguous():
        found = _as_view(x, shape)
        if found is not None:
            return found
    return _made(reshape(x, tuple(shape)) if _has_tensors(shape) else reshape(x, *shape))


def _reinterpreted(x: Tensor, dtype: DType) -> Tensor:
    """The same memory as elements of another dtype; in a static program a copy that nothing writes."""
    if dtype is x.dtype:
        return alias(x)
    if dtype is core.bool:
        raise DTypeError(f"view: the bytes of {x.dtype.name} elements are not all truth values", hint="write x != 0")
    if x.requires_grad and core.is_grad_enabled() and dtype.is_floating_point:
        raise GradError("view: the bits of a tensor as another dtype have no gradient", hint="use x.detach().view(dtype)")
    if x._traced is None and not active():
        return core.reinterpreted(x, dtype)
    made: Tensor = import_late("duograph.capture.outside.reinterpreting").reinterpreted(x, dtype)
    return made


@function(over="view")
def view_any(x: Tensor, *shape: Any, dtype: DType | None = None) -> Tensor:
    """`view`: of a tensor with gaps by merging and splitting dimensions; as elements of another dtype."""
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], core.DType)):
        return _reinterpreted(x, dtype or shape[0])
    if x._traced is None and not x.is_contiguous():
        found = _as_view(x, shape)
        if found is not None:
            return found
    return _made(view(x, tuple(shape)) if _has_tensors(shape) else view(x, *shape))


@function(over="flatten")
def flatten_any(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """`flatten`: one dimension is the tensor itself; of a tensor with gaps a view where one can show it."""
    shape = x.shape
    start, end = axis("flatten", start_dim, len(shape)), axis("flatten", end_dim, len(shape))
    if start == end and shape:
        return x
    if start < end and x._traced is None and not x.is_contiguous():
        count = 1
        for size in shape[start : end + 1]:
            count *= size
        found = _as_view(x, (*shape[:start], count, *shape[end + 1 :]))
        if found is not None:
            return found
    return _made(flatten(x, start_dim, end_dim))


@function(over="unflatten")
def unflatten_any(x: Tensor, dim: int, sizes: Any) -> Tensor:
    """`unflatten`: a view of tensors with gaps, too."""
    if x._traced is None and x.ndim and not x.is_contiguous():
        at = axis("unflatten", dim, x.ndim)
        inner = _filled(tuple(sizes), x.shape[at]) if all(isinstance(size, int) for size in sizes) else None
        if inner is not None:
            return divided(x, at, inner)
    return unflatten(x, dim, sizes)


@function(public=False, samples=lambda m: [(m(2, 6), m(3, 4))], reference=lambda np, x, y: np.reshape(x, y.shape))
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.view(other.shape)`.

    Shapes:   x [*S], other [*T] → [*T]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   as `view`
    Source:   torch.Tensor.view_as

    >>> tensor([1, 2]).view_as(tensor([[0], [0]]))
    tensor([[1],
            [2]])
    """
    return view(x, other.shape)


@function(public=False, samples=lambda m: [(m(2, 6), m(3, 4))], reference=lambda np, x, y: np.reshape(x, y.shape))
def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.reshape(other.shape)`.

    Shapes:   x [*S], other [*T] → [*T]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   as `reshape`
    Source:   torch.Tensor.reshape_as

    >>> tensor([1, 2]).reshape_as(tensor([[0], [0]]))
    tensor([[1],
            [2]])
    """
    return reshape(x, other.shape)


@function(samples=lambda m: [(m(2, 3),), (m(),), (m(4),)])
def ravel(x: Tensor) -> Tensor:
    """All elements as one row without gaps: a view of a contiguous tensor, else a copy.

    Shapes:   x [*S] → [n]
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   none
    Source:   torch.ravel

    >>> ravel(tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return reshape(x.contiguous(), (-1,))
