"""`x[...]` and `x[...] = value`: what may stand between the brackets, turned into view and gather operators.

Integers, slices, None and Ellipsis give views. Integer tensors, arrays and lists gather (a copy), boolean ones select.
An integer tensor without dimensions gathers too, in both modes, so that a static graph may compute it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from .. import _core as core
from ..errors import BoundsError, CaptureError, DomainError, DTypeError, ShapeError
from ..ir.builder import current
from ..ir.dim import Dim
from ..ops.definition import FLAG_VIEW
from ..ops.selection.advanced_indexing import index as gather
from ..ops.selection.advanced_indexing import index_put
from ..ops.selection.masks import late_bound, nonzero_tuple
from ..ops.selection.rows import row, row_put
from ..ops.shapes.copying import cast
from ..ops.shapes.creation import full
from ..ops.shapes.movement import broadcast_to, unsqueeze
from ..ops.shapes.permuting import permute
from ..ops.shapes.slicing import select
from ..ops.shapes.slicing import slice as slice_view
from ..ops.tracing import is_weak, require_equal

Tensor = core.Tensor
Step = tuple[Any, Tensor, tuple[Any, ...]]  # a view operator, what it was applied to, its further arguments


_definition: Any = row.definition
_ROW_VIEW: Any = core.Op("row", _definition.params, _definition.flags | FLAG_VIEW, _definition)


def getitem(x: Tensor, index: Any) -> Tensor:
    """The core's hook for `x[index]`."""
    kind = type(index)
    if kind is int and x.dim():
        return select(x, 0, index)
    if kind is slice and x.dim() and (bounds := _bounds(index, x.shape[0])) is not None:
        return slice_view(x, 0, *bounds)
    view, gathers = _view(x, index, gather_scalars=True)
    if gathers:
        return _gather(view, gathers)
    return view if view is not x else broadcast_to(x, x.shape)


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """The core's hook for `x[index] = value`."""
    if isinstance(index, Tensor) and index.dtype is core.bool and _is_single(value):
        _fill_masked(x, index, value)
        return
    if not isinstance(value, Tensor) and not isinstance(value, (bool, int, float)):
        from .creation import tensor

        value = tensor(value, dtype=x.dtype)
    if core.tracing() and _is_row(x, index):
        if isinstance(value, Tensor) and current().is_row(x, value, index):
            return  # `x[i] += v` assigns what it has just written
        new = cast(value, x.dtype) if isinstance(value, Tensor) else full((), value, x.dtype)
        x.copy_(row_put(x, index, broadcast_to(_drop_ones(new, x.dim() - 1), x.shape[1:])))
        return
    if core.tracing() and core.is_grad_enabled() and (x.requires_grad or (isinstance(value, Tensor) and value.requires_grad)):
        x.copy_(_replaced(x, index, value))
        return
    view, gathers = _view(x, index, gather_scalars=False)
    if gathers:
        if not isinstance(value, Tensor):
            value = full((), value, x.dtype)
        view.index_put_([at for _, at in gathers], value, tuple(dim for dim, _ in gathers))
    elif isinstance(value, Tensor):
        if not _same_memory(view, value):  # `x[i] += v` assigns what it has just written
            view.copy_(_drop_ones(value, view.dim()))
    else:
        view.fill_(value)


def _replaced(x: Tensor, index: Any, value: Any) -> Tensor:
    """`x` after `x[index] = value`, without writing: in a static graph gradients flow through values, not through views."""
    steps: list[Step] = []
    view, gathers = _view(x, index, gather_scalars=False, steps=steps)
    value = cast(value, x.dtype) if isinstance(value, Tensor) else full((), value, x.dtype)
    if gathers:
        new = index_put(view, [at for _, at in gathers], value, tuple(dim for dim, _ in gathers))
    else:
        new = broadcast_to(_drop_ones(value, view.dim()), view.shape)
    for view_op, base, args in reversed(steps):
        new = view_op.definition.write(base, new, *args)
    return new


def _is_row(x: Tensor, index: Any) -> bool:
    """Whether an index is one position along the first dimension that only the run knows."""
    return isinstance(index, Tensor) and index.dim() == 0 and index.dtype.kind in "iu" and x.dim() > 0


def _row(x: Tensor, index: Tensor, dim: int) -> Tensor:
    """One position along a dimension, which goes away."""
    if index.dtype.kind not in "iu":
        return gather(x, [index], (dim,))
    if dim:
        x = permute(x, (dim, *(d for d in range(x.dim()) if d != dim)))
    return row_view(x, index) if is_weak(index) else row(x, index)


def row_view(x: Tensor, index: Tensor) -> Tensor:
    """One position along the first dimension, for a Python number that only the run knows: in dynamic mode this is a view."""
    made: Tensor = _ROW_VIEW(x, index)
    current().note_row(x, made, index)
    return made


def _is_single(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() == 0
    return isinstance(value, (bool, int, float))


def _fill_masked(x: Tensor, mask: Tensor, value: Any) -> None:
    """`x[mask] = one value`: the same size whatever the mask holds, so that a static graph may do it."""
    _check_mask(x, mask, 0)
    if mask.dim() == 0:
        mask = mask.clone()  # as one truth value: it may be overwritten before the gradient is asked for
    mask = mask.reshape(tuple(mask.shape) + (1,) * (x.dim() - mask.dim()))
    x.masked_fill_(mask, value)


def _drop_ones(value: Tensor, dims: int) -> Tensor:
    shape = tuple(value.shape)
    while len(shape) > dims and shape[0] == 1:
        shape = shape[1:]
    return value if len(shape) == value.dim() else value.reshape(shape)


def _same_memory(a: Tensor, b: Tensor) -> bool:
    if a._traced is not None or b._traced is not None:
        return False
    return (
        a.data_ptr() == b.data_ptr()
        and a.dtype is b.dtype
        and tuple(a.shape) == tuple(b.shape)
        and tuple(a.stride()) == tuple(b.stride())
    )


def _view(
    x: Tensor, index: Any, gather_scalars: bool, steps: list[Step] | None = None
) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """Applies the views in an index. Returns the view and the (dimension, integer tensor) pairs still to gather."""

    def apply(view_op: Any, *args: Any) -> Tensor:
        if steps is not None:
            steps.append((view_op, x, args))
        found: Tensor = view_op(x, *args)
        return found

    items, used = _items(index)
    rank = x.dim()
    if used > rank:
        raise BoundsError(
            f"index: {used} indices for a tensor of {rank} dimensions, {_describe(x)}",
            hint="x.item() reads a tensor without dimensions" if rank == 0 else None,
        )
    gathers: list[tuple[int, Tensor]] = []
    dim = 0
    for item in items:
        if type(item) is int:
            x = apply(select, dim, item)
        elif item is None:
            x = apply(unsqueeze, dim)
            dim += 1
        elif item is Ellipsis:
            dim += rank - used
        elif isinstance(item, bool):
            x = apply(unsqueeze, dim)
            gathers.append((dim, _integers([0] if item else [])))
            dim += 1
        elif isinstance(item, slice):
            bounds = _bounds(item, x.shape[dim] if dim < x.dim() else 0)
            if bounds is not None:
                x = apply(slice_view, dim, *bounds)
            dim += 1
        elif isinstance(item, Tensor):
            if item.dtype is core.bool:
                if item.dim() == 0:
                    x = apply(unsqueeze, dim)
                dim = _add_mask(x, item, dim, gathers)
            elif item.dim() == 0 and gather_scalars:
                x = _row(x, item, dim) if core.tracing() else gather(x, [item], (dim,))
            elif item.dim() == 0 and not core.tracing():
                x = apply(select, dim, item.item())
            else:
                gathers.append((dim, item))
                dim += 1
        else:
            x = apply(select, dim, item)
    if not gather_scalars and len(gathers) > 1 and any(at.dim() == 0 for _, at in gathers):
        raise CaptureError(
            "index: writing by an integer tensor without dimensions beside other indices is not defined in a static graph",
            hint="give it a dimension: at.reshape(1)",
        )
    return x, gathers


def _items(index: Any) -> tuple[list[Any], int]:
    """The items of an index, each an int, bool, slice, None, Ellipsis or integer or boolean Tensor; dimensions they take."""
    items, used, ellipses = [], 0, 0
    for item in index if isinstance(index, tuple) else (index,):
        kind = type(item)
        if kind is int or kind is slice:
            used += 1
        elif item is Ellipsis:
            ellipses += 1
        elif item is not None and kind is not bool:
            item = _normal(item)
            if not isinstance(item, bool):
                used += item.dim() if isinstance(item, Tensor) and item.dtype is core.bool else 1
        items.append(item)
    if ellipses > 1:
        raise BoundsError("index: an index may hold only one ellipsis (...)")
    return items, used


def _normal(item: Any) -> Any:
    """One item of an index as an int, bool, slice, None, Ellipsis or integer or boolean Tensor."""
    if item is None or item is Ellipsis or isinstance(item, (int, slice)):
        return item
    if not isinstance(item, Tensor):
        if hasattr(item, "__array__") or (isinstance(item, (Sequence, range)) and not isinstance(item, str)):
            from .creation import tensor

            if hasattr(item, "ndim") and item.ndim == 0 and hasattr(item, "item"):
                return _normal(item.item())
            item = tensor(item)
            if item.numel() == 0:
                item = cast(item, core.int64)
        elif hasattr(item, "__index__"):
            return operator.index(item)
        else:
            raise BoundsError(
                f"index: a {type(item).__name__} ({item!r}) cannot index a tensor",
                hint="use ints, slices, ..., None, or integer or boolean tensors, arrays and lists",
            )
    if item.dtype is core.bool:
        return item
    if item.dtype is core.uint8:
        raise DTypeError("index: a uint8 tensor is ambiguous", hint="use .bool() for a mask, .long() for positions")
    if item.dtype.is_floating_point:
        raise BoundsError(f"index: tensors used as indices must hold integers or bools, got {_describe(item)}")
    return item if item.dtype is core.int64 else cast(item, core.int64)


def _bounds(item: slice, size: Any) -> tuple[Any, Any, Any] | None:
    """(start, stop, step) of a slice along a dimension; None if it takes everything."""
    start, stop, step = _bound(item.start, size), _bound(item.stop, size), _bound(item.step)
    if start is None and stop is None and step is None:
        return None
    if step is not None and step <= 0:
        raise DomainError(f"index: the step of a slice must be above 0, got {step}", hint="x.flip(dim) reverses a dimension")
    return start, stop, step


def _bound(value: Any, size: Any = None) -> Any:
    if size is not None and isinstance(value, Tensor) and core.tracing():
        return late_bound(value, size)
    if value is None or type(value) is int or isinstance(value, Dim):
        return value
    symbolic = getattr(value, "expr", None)  # of a number that a capture makes of sizes
    return operator.index(value) if symbolic is None else symbolic


def _add_mask(x: Tensor, mask: Tensor, dim: int, gathers: list[tuple[int, Tensor]]) -> int:
    """Turns a boolean tensor over the dimensions from `dim` into positions; returns the dimension behind them."""
    if mask.dim() == 0:
        (position,) = nonzero_tuple(mask.reshape(1))
        gathers.append((dim, position))
        return dim + 1
    _check_mask(x, mask, dim)
    gathers += [(dim + offset, positions) for offset, positions in enumerate(nonzero_tuple(mask))]
    return dim + mask.dim()


def _check_mask(x: Tensor, mask: Tensor, dim: int) -> None:
    expected, found = tuple(x.shape)[dim : dim + mask.dim()], tuple(mask.shape)
    late = [isinstance(a, Dim) or isinstance(b, Dim) for a, b in zip(found, expected)]
    if len(found) != len(expected) or any(a != b and not both for a, b, both in zip(found, expected, late)):
        raise ShapeError(
            f"index: the mask is {list(mask.shape)}, the dimensions it selects from are {list(expected)}",
            operands=[f"x: {_describe(x)}", f"mask: {_describe(mask)}"],
        )
    for a, b, both in zip(found, expected, late):
        if both:
            require_equal("index", a, b, f"the size of the mask is {a}, of the dimension it selects from {b}")


def _gather(x: Tensor, gathers: list[tuple[int, Tensor]]) -> Tensor:
    return gather(x, [at for _, at in gathers], tuple(dim for dim, _ in gathers))


def _integers(values: list[int]) -> Tensor:
    return core.from_flat(values, core.int64, (len(values),))


def _describe(x: Tensor) -> str:
    return f"{x.dtype.name}{list(x.shape)}"
