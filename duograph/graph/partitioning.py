"""Tensors taken apart by numbers of parts and put together by places; images in blocks that are a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, ShapeError

from .arrays import boolean_mask
from .constants import convert_to_tensor
from .definition import Numbers, Operand, Operands, operation
from .elements import Tensor
from .scopes import graph_of, name_scope
from .slicing import as_number, as_numbers

__all__ = [
    "batch_to_space", "batch_to_space_nd", "dynamic_partition", "dynamic_stitch", "required_space_to_batch_paddings",
    "space_to_batch", "space_to_batch_nd", "unravel_index",
]  # fmt: skip


@operation("Equal", differentiable=False)
def _is_number(partitions: Operand, number: int, name: str | None = None) -> Any:
    return partitions == number


def dynamic_partition(data: Any, partitions: Any, num_partitions: int, name: str | None = None) -> list[Tensor]:
    """The rows of `data` that belong to each part: to part i those for which `partitions` is i.

    Shapes:   data [*P, *R], partitions [*P] of integers → num_partitions tensors [count, *R]
    Errors:   ShapeError if the shape of `partitions` does not begin that of `data`; DTypeError for floats

    >>> import duograph.graph as tf
    >>> parts = tf.dynamic_partition([10, 20, 30], [0, 1, 0], 2)
    >>> with tf.Session() as session:
    ...     [part.tolist() for part in session.run(parts)]
    [[10, 30], [20]]
    """
    data, partitions = convert_to_tensor(data), convert_to_tensor(partitions)
    if partitions.dtype.kind not in "iu":
        raise DTypeError(f"dynamic_partition: partitions are {partitions.dtype.name}, they must be numbers of parts")
    if num_partitions < 1:
        raise ArgumentError(f"dynamic_partition: num_partitions is {num_partitions}, there must be a part")
    front, whole = partitions.shape.ndims, data.shape.ndims
    if front is not None and whole is not None and not partitions.shape.is_compatible_with(data.shape[:front]):
        raise ShapeError(
            f"dynamic_partition: data has shape {data.shape}, partitions {partitions.shape}, which does not begin it",
            [data.node.built_at, partitions.node.built_at],
        )
    with graph_of([data, partitions]).as_default(), name_scope(name or "DynamicPartition"):
        return [boolean_mask(data, _is_number(partitions, i)) for i in range(num_partitions)]


@operation("DynamicStitch")
def _stitched(indices: Operands, data: Operands, name: str | None = None) -> Any:
    places = dg.cat([i.reshape([-1]).to(core.int64) for i in indices])
    tails = [list(x.shape[i.ndim :]) for i, x in zip(indices, data)]
    rows = dg.cat([x.reshape([i.numel() if i.ndim != 1 else x.shape[0], *t]) for i, x, t in zip(indices, data, tails)])
    count = as_number((dg.amax(places) + 1).reshape(()))
    return dg.index_put(dg.zeros([count, *tails[0]], dtype=rows.dtype), (places,), rows, False)


def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], name: str | None = None) -> Tensor:
    """Rows put at their places: row i of `data[k]` goes where `indices[k][i]` says. Of several for one place the last stays.

    Shapes:   indices[k] [*I], data[k] [*I, *R] → [1 + the greatest index, *R]
    Errors:   ArgumentError for another number of indices than of data

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.dynamic_stitch([[0, 2], [1]], [[10, 30], [20]])).tolist()
    [10, 20, 30]
    """
    if len(indices) != len(data) or not data:
        raise ArgumentError(f"dynamic_stitch: {len(indices)} indices for {len(data)} tensors of data")
    made: Tensor = _stitched([convert_to_tensor(i) for i in indices], [convert_to_tensor(x) for x in data], name=name)
    return made


@operation("UnravelIndex", differentiable=False)
def unravel_index(indices: Operand, dims: Numbers, name: str | None = None) -> Any:
    """The places in a tensor of the shape `dims` of elements that are counted one behind the other.

    Shapes:   indices [N] → [rank, N]; of one index [rank]

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.unravel_index([2, 5], [2, 3])).tolist()
    [[0, 1], [2, 2]]
    """
    found = []
    for size in reversed(as_numbers(dims)):
        found.append(indices % size)
        indices = dg.floor_divide(indices, size)
    return dg.stack(found[::-1])


# ---- blocks of images as a batch


def _pairs(values: Any) -> list[list[Any]]:
    return [list(as_numbers(pair)) for pair in (values.tolist() if isinstance(values, core.Tensor) else values)]


@operation("SpaceToBatchND")
def space_to_batch_nd(input: Operand, block_shape: Numbers, paddings: Numbers, name: str | None = None) -> Any:
    """Blocks of the dimensions behind the first, after zeros are put around them, as further batches.

    Shapes:   input [N, *S, *R], block_shape [M], paddings [M, 2] → [N * product(block), *padded S / block, *R]
    """
    blocks, pads = list(as_numbers(block_shape)), _pairs(paddings)
    tail = input.ndim - 1 - len(blocks)
    around = [0, 0] * tail + [n for pair in reversed(pads) for n in pair]
    x = dg.nn.functional.pad(input, around)
    sizes = x.shape[1 : len(blocks) + 1]
    if any(size.__class__ is int and size % block for size, block in zip(sizes, blocks)):
        raise ShapeError(f"space_to_batch: padded sizes {tuple(sizes)} have no whole blocks of {tuple(blocks)}")
    rest = list(x.shape[len(blocks) + 1 :])
    counts = [size // block for size, block in zip(sizes, blocks)]
    cut = x.reshape([x.shape[0], *(n for pair in zip(counts, blocks) for n in pair), *rest])
    m = len(blocks)
    order = [*range(2, 2 * m + 1, 2), 0, *range(1, 2 * m, 2), *range(2 * m + 1, cut.ndim)]
    count = x.shape[0]
    for block in blocks:
        count = count * block
    return cut.permute(order).reshape([count, *counts, *rest])


@operation("BatchToSpaceND")
def batch_to_space_nd(input: Operand, block_shape: Numbers, crops: Numbers, name: str | None = None) -> Any:
    """The inverse of `space_to_batch_nd`: `crops` are taken away at the end.

    Shapes:   input [N, *S, *R], block_shape [M], crops [M, 2] → [N / product(block), *(S * block - crops), *R]
    """
    blocks, cuts = list(as_numbers(block_shape)), _pairs(crops)
    m, count = len(blocks), input.shape[0]
    for block in blocks:
        count = count // block
    sizes, rest = list(input.shape[1 : m + 1]), list(input.shape[m + 1 :])
    cut = input.reshape([*blocks, count, *sizes, *rest])
    order = [m, *(d for i in range(m) for d in (m + 1 + i, i)), *range(2 * m + 1, cut.ndim)]
    x = cut.permute(order).reshape([count, *(size * block for size, block in zip(sizes, blocks)), *rest])
    for i, (before, after) in enumerate(cuts):
        x = x.narrow(i + 1, before, x.shape[i + 1] - before - after)
    return x


def space_to_batch(input: Any, paddings: Any, block_size: int | None = None, name: str | None = None, **other: Any) -> Tensor:
    """`space_to_batch_nd` of images [N, H, W, C], with blocks of `block_size` x `block_size`."""
    made: Tensor = space_to_batch_nd(input, _blocks(block_size, other), paddings, name=name)
    return made


def batch_to_space(input: Any, crops: Any, block_size: int | None = None, name: str | None = None, **other: Any) -> Tensor:
    """The inverse of `space_to_batch`."""
    made: Tensor = batch_to_space_nd(input, _blocks(block_size, other), crops, name=name)
    return made


def _blocks(size: int | None, other: dict[str, Any]) -> Any:
    return other["block_shape"] if size is None else [size, size]


def required_space_to_batch_paddings(
    input_shape: Sequence[int], block_shape: Sequence[int], base_paddings: Any = None, name: str | None = None
) -> tuple[list[list[int]], list[list[int]]]:
    """(paddings that make whole blocks, crops that take these away), for sizes that are numbers."""
    base = [[0, 0]] * len(block_shape) if base_paddings is None else base_paddings
    paddings, crops = [], []
    for size, block, (before, after) in zip(input_shape, block_shape, base):
        more = -(size + before + after) % block
        paddings.append([before, after + more])
        crops.append([0, more])
    return paddings, crops
