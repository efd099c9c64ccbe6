"""Operators that move elements: shapes, parts and copies of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

import duograph as dg
from duograph import _core as core
from duograph.nn import functional

from ..reading import Data, dtype_of
from .definition import Bounds, Number, Numbers, Operand, Tensor, operator
from .known import Known, equals, of_array, of_sizes, settled

_LONGEST_STEP = 1 << 48  # of a slice: further than any tensor reaches


def _product(sizes: Any) -> Any:
    made = 1
    for size in sizes:
        made = made * size
    return made


@operator("Identity", since=1)
def identity(x: Any) -> Any:
    return x


@operator("Shape", since=1)
def shape_of(data: Tensor, *, start: int = 0, end: int | None = None) -> Any:
    return of_sizes(tuple(data.shape)[slice(start, end)])


@operator("Size", since=1)
def size_of(data: Tensor) -> Any:
    count = _product(data.shape)
    return Known(np.array(count, np.int64 if type(count) is int else object), core.int64)


@operator("Constant", since=1)
def constant(
    *, value: Any = None, value_int: int | None = None, value_ints: Any = None, value_float: float | None = None,
    value_floats: Any = None, value_string: str | None = None, value_strings: Any = None, sparse_value: Any = None,
) -> Any:  # fmt: skip
    whole = value_int if value_int is not None else value_ints
    real = value_float if value_float is not None else value_floats
    if whole is not None or real is not None:
        value = np.array(real, np.float32) if whole is None else np.array(whole, np.int64)
    if isinstance(value, core.Tensor):
        return value
    if value is None:
        raise NotImplementedError("constants of texts and sparse ones are not known")
    return of_array(value) or Data(value, core.float32).tensor()


@operator("ConstantOfShape", since=9)
def constant_of_shape(shape: Numbers, *, value: Any = None) -> Tensor:
    if isinstance(value, core.Tensor):
        return dg.full(tuple(shape), value.item(), dtype=value.dtype)
    value = np.zeros(1, np.float32) if value is None else value
    known = Known(value.reshape(-1)[:1])
    return dg.full(tuple(shape), known.number(), dtype=known.dtype)


@operator("Reshape", since=5)
def reshape(data: Tensor, shape: Numbers, *, allowzero: int = 0) -> Tensor:
    sizes = [data.shape[i] if not allowzero and equals(size, 0) else size for i, size in enumerate(shape)]
    if any(equals(size, 0) for size in data.shape) and any(equals(size, -1) for size in sizes):
        known = _product(size for size in sizes if not equals(size, -1))
        sizes = [_product(data.shape) // known if known != 0 and equals(size, -1) else size for size in sizes]
    return data.reshape(tuple(sizes))


@operator("Reshape", since=1, until=4)
def reshape_by_attribute(data: Tensor, *, shape: list[int]) -> Tensor:
    return reshape(data, shape)


@operator("Flatten", since=1)
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    axis = axis + x.ndim if axis < 0 else axis
    if axis == 1:
        return dg.flatten(x, 1) if x.ndim > 1 else x.reshape(x.shape[0], 1)
    return x.reshape(_product(x.shape[:axis]), _product(x.shape[axis:]))


@operator("Transpose", since=1)
def transpose(data: Tensor, *, perm: list[int] | None = None) -> Tensor:
    return data.permute(*(range(data.ndim)[::-1] if perm is None else perm))


@operator("Squeeze", since=13)
def squeeze(data: Tensor, axes: Numbers | None = None) -> Tensor:
    if axes is None:
        return data.reshape([size for size in data.shape if size != 1])
    gone = {settled(axis) % data.ndim for axis in axes}
    for axis in gone:
        if data.shape[axis] != 1:
            raise ValueError(f"axis {axis} has size {data.shape[axis]}, not 1")
    return data.reshape([size for i, size in enumerate(data.shape) if i not in gone])


@operator("Squeeze", since=1, until=12)
def squeeze_by_attribute(data: Tensor, *, axes: list[int] | None = None) -> Tensor:
    return squeeze(data, axes)


@operator("Unsqueeze", since=13)
def unsqueeze(data: Tensor, axes: Numbers) -> Tensor:
    axes = [settled(axis) for axis in axes]
    rank = data.ndim + len(axes)
    if any(not -rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) != len(axes):
        raise ValueError(f"axes {axes} of a result with {rank} dimensions")
    for axis in sorted(axis % rank for axis in axes):
        data = data.unsqueeze(axis)
    return data


@operator("Unsqueeze", since=1, until=12)
def unsqueeze_by_attribute(data: Tensor, *, axes: list[int]) -> Tensor:
    return unsqueeze(data, axes)


@operator("Expand", since=8)
def expand(x: Tensor, shape: Numbers) -> Tensor:
    sizes = list(shape)
    own: list[Any] = [1] * (len(sizes) - x.ndim) + list(x.shape)
    sizes = [1] * (len(own) - len(sizes)) + sizes
    return x.expand(*[a if a is b or equals(b, 1) else b if equals(a, 1) else a for a, b in zip(own, sizes)])


@operator("Tile", since=6)
def tile(x: Tensor, repeats: Numbers) -> Tensor:
    return x.repeat(*repeats) if repeats else x


@operator("Concat", since=4)
def concat(*inputs: Tensor, axis: int) -> Tensor:
    return dg.cat(inputs, axis)


@operator("Concat", since=1, until=3)
def concat_of_old(*inputs: Tensor, axis: int = 1) -> Tensor:
    return dg.cat(inputs, axis)


@operator("Split", since=13)
def split(x: Tensor, split: Numbers | None = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int) -> Any:
    if split is None:
        count = num_outputs or outputs
        size = -(-x.shape[axis] // count)
        rest = x.shape[axis] - size * (count - 1)
        split = [size] * (count - 1) + [rest]
    return tuple(dg.split(x, list(split), axis))


@operator("Split", since=1, until=12)
def split_by_attribute(
    x: Tensor, old: Numbers | None = None, *, axis: int = 0, split: list[int] | None = None, outputs: int
) -> Any:
    sizes = split or old
    return tuple(dg.split(x, sizes, axis)) if sizes else tuple(dg.split(x, x.shape[axis] // outputs, axis))


# ---- parts


@operator("Slice", since=10)
def cut(data: Tensor, starts: Bounds, ends: Bounds, axes: Numbers | None = None, steps: Numbers | None = None) -> Tensor:
    index: list[Any] = [slice(None)] * data.ndim
    for i, (start, end) in enumerate(zip(starts, ends)):
        axis = i if axes is None else settled(axes[i]) % data.ndim
        step = 1 if steps is None else settled(steps[i])
        if step < 0:
            data, start, end, step = _from_behind(data, axis, start, end, step)
        step = min(step, _LONGEST_STEP)
        index[axis] = slice(start, end, step)
    return data[tuple(index)]


def _from_behind(data: Tensor, axis: int, start: Any, end: Any, step: int) -> tuple[Tensor, Any, Any, int]:
    """A slice with a negative step as one of the reversed tensor."""
    size = data.shape[axis]
    first = min(start, size - 1) if start >= 0 else max(start + size, -1)
    last = min(end, size - 1) if end >= 0 else max(end + size, -1)
    return dg.flip(data, (axis,)), size - 1 - first, size - 1 - last, -step


@operator("Slice", since=1, until=9)
def cut_by_attributes(data: Tensor, *, starts: list[int], ends: list[int], axes: list[int] | None = None) -> Tensor:
    return cut(data, starts, ends, axes)


@operator("Pad", since=11)
def pad(
    data: Tensor, pads: Numbers, value: Operand | None = None, axes: Numbers | None = None, *, mode: str = "constant"
) -> Tensor:
    chosen = range(data.ndim) if axes is None else [settled(axis) % data.ndim for axis in axes]
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    if mode == "constant":
        amounts: list[Any] = [0] * (2 * data.ndim)
        for axis, low, high in zip(chosen, before, after):
            amounts[2 * (data.ndim - 1 - axis)] = low
            amounts[2 * (data.ndim - 1 - axis) + 1] = high
        if not isinstance(value, core.Tensor):
            return functional.pad(data, amounts, value=value or 0)
        inside = functional.pad(dg.ones_like(data, dtype=dg.bool), amounts, value=False)
        return dg.where(inside, functional.pad(data, amounts), value.reshape(()))
    for axis, low, high in zip(chosen, before, after):
        if low != 0 or high != 0:
            data = _extended(data, axis, low, high, mode)
    return data


def _extended(data: Tensor, axis: int, low: Any, high: Any, mode: str) -> Tensor:
    """One dimension with more elements at both ends, taken from its own."""
    size = data.shape[axis]
    places = dg.arange(-low, size + high)
    if mode == "edge":
        places = places.clamp(0, size - 1)
    elif mode == "wrap":
        places = places % size
    elif mode == "reflect":
        turn = 2 * (size - 1) if size != 1 else 1
        places = places % turn
        places = dg.minimum(places, turn - places) if size != 1 else places
    else:
        raise ValueError(f"the mode {mode!r} is not known")
    return dg.index_select(data, axis, places)


@operator("Pad", since=2, until=10)
def pad_by_attributes(data: Tensor, *, pads: list[int], value: float = 0.0, mode: str = "constant") -> Tensor:
    return pad(data, pads, value, mode=mode)


@operator("Pad", since=1, until=1)
def pad_by_paddings(data: Tensor, *, paddings: list[int], value: float = 0.0, mode: str = "constant") -> Tensor:
    return pad(data, paddings, value, mode=mode)


@operator("Trilu", since=14)
def trilu(x: Tensor, k: Number | None = None, *, upper: int = 1) -> Tensor:
    return (dg.triu if upper else dg.tril)(x, 0 if k is None else k)


@operator("Compress", since=9)
def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    places = condition.nonzero().reshape(-1)
    return dg.index_select(x.reshape(-1), 0, places) if axis is None else dg.index_select(x, axis, places)


@operator("DepthToSpace", since=1)
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    if mode == "CRD":
        return dg.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    made = x.reshape(n, blocksize, blocksize, c // blocksize**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return made.reshape(n, c // blocksize**2, h * blocksize, w * blocksize)


@operator("SpaceToDepth", since=1)
def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    made = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize).permute(*order)
    return made.reshape(n, c * blocksize**2, h // blocksize, w // blocksize)


@operator("ReverseSequence", since=10)
def reverse_sequence(x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    moved = x.movedim((batch_axis, time_axis), (0, 1))
    steps = dg.arange(moved.shape[1]).reshape(1, -1)
    ends = lengths.reshape(-1, 1)
    places = dg.where(steps < ends, ends - 1 - steps, steps)
    rows = dg.arange(moved.shape[0]).reshape(-1, 1)
    return moved[rows, places].movedim((0, 1), (batch_axis, time_axis))


# ---- numbers


@operator("Range", since=11)
def counted(start: Any, limit: Any, delta: Any, *, stash_type: int = 1) -> Tensor:
    tensors = [x for x in (start, limit, delta) if isinstance(x, core.Tensor)]
    numbers = [x.reshape(()).item() if isinstance(x, core.Tensor) else x.reshape(-1).tolist()[0] for x in (start, limit, delta)]
    dtype = tensors[0].dtype if tensors else Known(start).dtype if start.dtype != object else core.int64
    first, end, step = numbers
    return dg.arange(first, end, step, dtype=dtype)


@operator("EyeLike", since=9)
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    kind = x.dtype if dtype is None else dtype_of(dtype, "EyeLike: the result")
    rows, columns = dg.arange(x.shape[0]).reshape(-1, 1), dg.arange(x.shape[1]).reshape(1, -1)
    return (columns - rows == k).to(kind)


@operator("OneHot", since=9)
def one_hot(indices: Tensor, depth: Any, values: Tensor, *, axis: int = -1) -> Tensor:
    count = depth.reshape(()).item() if isinstance(depth, core.Tensor) else depth.reshape(-1).tolist()[0]
    count = count if isinstance(count, core.Tensor) or type(count) is not float else int(count)
    places = indices.to(dg.int64)
    places = dg.where(places < 0, places + count, places)
    rank = indices.ndim + 1
    axis = axis % rank
    shape = [1] * rank
    shape[axis] = -1
    return dg.where(places.unsqueeze(axis) == dg.arange(count).reshape(shape), values[1], values[0])


@operator("NonZero", since=9)
def nonzero(x: Tensor) -> Tensor:
    return x.reshape(-1).nonzero()[:, :0].T if x.ndim == 0 else x.nonzero().T


@operator("CumSum", since=11)
def cumulative_sum(x: Tensor, axis: Number, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    return _cumulative(dg.cumsum, x, axis, exclusive, reverse, 0)


@operator("CumProd", since=26)
def cumulative_product(x: Tensor, axis: Number, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    return _cumulative(dg.cumprod, x, axis, exclusive, reverse, 1)


def _cumulative(function: Any, x: Tensor, axis: int, exclusive: int, reverse: int, first: int) -> Tensor:
    axis = settled(axis) % x.ndim
    x = dg.flip(x, (axis,)) if reverse else x
    made = function(x, axis).to(x.dtype)
    if exclusive:
        size = x.shape[axis]
        start = dg.full_like(dg.narrow(x, axis, 0, 1), first)
        made = dg.narrow(dg.cat((start, made), axis), axis, 0, size)
    return dg.flip(made, (axis,)) if reverse else made


@operator("Unique", since=11)
def unique(x: Tensor, *, axis: int | None = None, sorted: int = 1) -> Any:
    """Values, where each is first, where each element's value is, how often each is there."""
    values, inverse, counts = dg.unique(x, return_inverse=True, return_counts=True, dim=axis)
    inverse = inverse.reshape(-1)
    count = x.shape[axis] if axis is not None else _product(x.shape)
    places = dg.arange(count)
    first = dg.scatter_reduce(dg.full_like(counts, count), 0, inverse, places, "amin")
    if sorted:
        return values, first, inverse, counts
    order = dg.argsort(first)
    new = dg.argsort(order)
    return dg.index_select(values, axis or 0, order), first[order], new[inverse], counts[order]
