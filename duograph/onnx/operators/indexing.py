"""Operators that take elements from places that tensors say, and put them there."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core

from .definition import Tensor, operator
from .known import Known

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("Gather", since=1)
def gather(data: Tensor, indices: Any, *, axis: int = 0) -> Tensor:
    axis %= data.ndim
    if not isinstance(indices, core.Tensor):
        if indices.ndim == 0 and indices.dtype != object:
            return dg.select(data, axis, int(indices))
        indices = Known(indices).tensor() if indices.dtype != object else dg.tensor(indices.tolist())
    return data[(slice(None),) * axis + (indices,)]


def _wrapped(indices: Tensor, size: Any) -> Tensor:
    """Indices counted from the start; negative ones count from the end."""
    indices = indices.to(dg.int64)
    return dg.where(indices < 0, indices + size, indices)


@operator("GatherElements", since=11)
def gather_elements(data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    return dg.gather(data, axis, _wrapped(indices, data.shape[axis]))


@operator("GatherND", since=11)
def gather_nd(data: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    parts = [indices[..., i] for i in range(indices.shape[-1])]
    rank = indices.ndim - 1
    batch = []
    for axis in range(batch_dims):
        shape = [1] * rank
        shape[axis] = -1
        batch.append(dg.arange(data.shape[axis]).reshape(shape))
    return data[(*batch, *parts)]


@operator("ScatterElements", since=11)
def scatter_elements(data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    places = _wrapped(indices, data.shape[axis])
    if reduction == "none":
        return dg.scatter(data, axis, places, updates)
    if reduction == "add":
        return dg.scatter_add(data, axis, places, updates)
    return dg.scatter_reduce(data, axis, places, updates, _REDUCTIONS[reduction])


@operator("Scatter", since=9, until=10)
def scatter(data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0) -> Tensor:
    return scatter_elements(data, indices, updates, axis=axis)


@operator("ScatterND", since=11)
def scatter_nd(data: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    depth = indices.shape[-1]
    parts = [indices[..., i] for i in range(depth)]
    if reduction in ("none", "add"):
        return dg.index_put(data, tuple(parts), updates, accumulate=reduction == "add")
    place: Any = 0
    for size, part in zip(data.shape, parts):
        place = place * size + _wrapped(part, size)
    rest = data.shape[depth:]
    rows = data.reshape(-1, *rest)
    flat = place.reshape(-1, *[1] * len(rest)).expand(-1, *rest)
    made = dg.scatter_reduce(rows, 0, flat, updates.reshape(-1, *rest), _REDUCTIONS[reduction])
    return made.reshape(data.shape)


@operator("TensorScatter", since=24)
def tensor_scatter(
    cache: Tensor, update: Tensor, starts: Tensor | None = None, *, axis: int = -2, mode: str = "linear"
) -> Tensor:
    axis %= cache.ndim
    size, count = cache.shape[axis], update.shape[axis]
    first = dg.zeros(cache.shape[0], dtype=dg.int64) if starts is None else starts.to(dg.int64)
    places = first.reshape(-1, 1) + dg.arange(count)
    if mode == "circular":
        places = places % size
    shape = [1] * cache.ndim
    shape[0], shape[axis] = -1, count
    return dg.scatter(cache, axis, places.reshape(shape).expand(update.shape), update)
