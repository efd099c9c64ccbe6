"""Elements of graph tensors by their places: taken, chosen, found and put."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError

from .constants import convert_to_tensor
from .definition import Numbers, Operand, operation
from .elements import Tensor
from .slicing import as_number, as_numbers

__all__ = [
    "batch_gather",
    "gather",
    "gather_nd",
    "scatter_nd",
    "tensor_scatter_add",
    "tensor_scatter_sub",
    "tensor_scatter_update",
    "where",
    "where_v2",
]


@operation("GatherV2")
def _gather(params: Operand, indices: Operand, axis: Numbers, batch_dims: int, name: str | None = None) -> Any:
    along = as_number(axis)
    along = along + params.ndim if along < 0 else along
    if batch_dims:
        return _gathered_in_batches(params, indices, along, batch_dims)
    if indices.ndim == 1:
        return dg.index_select(params, along, indices)
    flat = dg.index_select(params, along, indices.reshape([-1]))
    return flat.reshape([*params.shape[:along], *indices.shape, *params.shape[along + 1 :]])


def _gathered_in_batches(params: Any, indices: Any, axis: int, batch_dims: int) -> Any:
    front = params.movedim(axis, batch_dims)
    lead = list(params.shape[:batch_dims])
    inner, places = list(indices.shape[batch_dims:]), []
    for i, size in enumerate(lead):
        places.append(dg.arange(size).reshape([-1 if j == i else 1 for j in range(indices.ndim)]))
    found = front[(*places, indices)]
    order = list(range(found.ndim))
    moved = order[batch_dims + len(inner) : len(inner) + axis]
    return found.permute([*order[:batch_dims], *moved, *order[batch_dims : batch_dims + len(inner)], *order[len(inner) + axis :]])


def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Tensor:
    """The parts of a tensor along a dimension that the indices name.

    Shapes:   params [*A, N, *B], indices [*I] → [*A, *I, *B]
    Errors:   BoundsError for an index that is none

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.gather([10, 20, 30], [2, 0]))
    array([30, 10], dtype=int32)
    """
    made: Tensor = _gather(
        convert_to_tensor(params),
        convert_to_tensor(indices),
        batch_dims if axis is None else axis,
        batch_dims,
        name=name or "GatherV2",
    )
    return made


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """`gather` along the last dimension of the indices, with all those before it as batches."""
    indices = convert_to_tensor(indices)
    return gather(params, indices, name=name, batch_dims=len(indices.shape) - 1)


def places_in(indices: Any) -> tuple[Any, ...]:
    """The places that the rows of the last dimension name, as indices for each dimension."""
    return tuple(indices.select(-1, i) for i in range(int(indices.shape[-1])))


@operation("GatherNd")
def _gather_nd(params: Operand, indices: Operand, batch_dims: int, name: str | None = None) -> Any:
    places = places_in(indices)
    if batch_dims:
        rank = indices.ndim - 1
        lead = [dg.arange(params.shape[i]).reshape([-1 if j == i else 1 for j in range(rank)]) for i in range(batch_dims)]
        places = (*lead, *places)
    return params[places] if places else params.expand([*indices.shape[:-1], *params.shape]).clone()


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Tensor:
    """The parts of a tensor at places: each row of `indices` is one, as far as it goes.

    Shapes:   params [*A, *B], indices [*I, rank of A] → [*I, *B]
    """
    made: Tensor = _gather_nd(convert_to_tensor(params), convert_to_tensor(indices), batch_dims, name=name)
    return made


@operation("Where", differentiable=False)
def _places_where(condition: Operand, name: str | None = None) -> Any:
    return dg.nonzero(condition)


@operation("Select")
def _select(condition: Operand, x: Operand, y: Operand, name: str | None = None) -> Any:
    rank = max(x.ndim if isinstance(x, core.Tensor) else 0, y.ndim if isinstance(y, core.Tensor) else 0)
    if condition.ndim == 1 and rank > 1:
        condition = condition.reshape([-1] + [1] * (rank - 1))
    return dg.where(condition, x, y)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """x where the condition is true, y elsewhere; without x and y, the places where it is true.

    Args:
        condition: of the shape of x and y; or a vector, which chooses among their rows.

    Shapes:   without x and y: [count, rank], int64
    Errors:   ArgumentError where only one of x and y is given
    """
    if (x is None) != (y is None):
        raise ArgumentError("where: give x and y, or none of them")
    condition = convert_to_tensor(condition)
    made: Tensor = _places_where(condition, name=name) if x is None else _select(condition, x, y, name=name)
    return made


@operation("SelectV2")
def where_v2(condition: Operand, x: Operand, y: Operand, name: str | None = None) -> Any:
    """x where the condition is true, y elsewhere; shapes are stretched to fit each other."""
    return dg.where(condition, x, y)


@operation("ScatterNd")
def scatter_nd(indices: Operand, updates: Operand, shape: Numbers, name: str | None = None) -> Any:
    """Zeros of a shape, to which the updates are added at the places that the rows of `indices` name."""
    return _put(dg.zeros(list(as_numbers(shape)), dtype=updates.dtype), indices, updates, True)


def _put(x: Any, indices: Any, updates: Any, accumulate: bool) -> Any:
    return dg.index_put(x, places_in(indices), updates, accumulate)


@operation("TensorScatterUpdate")
def tensor_scatter_update(tensor: Operand, indices: Operand, updates: Operand, name: str | None = None) -> Any:
    """The tensor with the updates at the places that the rows of `indices` name."""
    return _put(tensor, indices, updates, False)


@operation("TensorScatterAdd")
def tensor_scatter_add(tensor: Operand, indices: Operand, updates: Operand, name: str | None = None) -> Any:
    """The tensor with the updates added at the places that the rows of `indices` name."""
    return _put(tensor, indices, updates, True)


@operation("TensorScatterSub")
def tensor_scatter_sub(tensor: Operand, indices: Operand, updates: Operand, name: str | None = None) -> Any:
    """The tensor with the updates subtracted at the places that the rows of `indices` name."""
    return _put(tensor, indices, -updates, True)
