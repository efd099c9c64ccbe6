"""Tensors of given shapes and contents, under TensorFlow's names."""

from __future__ import annotations

import builtins
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError

from .arrays import reshape
from .constants import convert_to_tensor
from .definition import Numbers, Operand, Operands, operation
from .dtypes import as_dtype
from .elements import Tensor
from .resolving import as_tensor
from .slicing import as_number, as_numbers, counted

__all__ = [
    "eye", "fill", "lin_space", "linspace", "meshgrid", "one_hot", "ones", "ones_like", "range", "sequence_mask", "zeros",
    "zeros_like",
]  # fmt: skip


def _sizes(shape: Any) -> list[Any]:
    found = as_numbers(shape)
    return list(found) if isinstance(found, (list, tuple)) else [found]


@operation("Zeros", called="zeros")
def zeros(shape: Numbers, dtype: Any = core.float32, name: str | None = None) -> Any:
    """Zeros; sizes may be tensors."""
    return dg.zeros(_sizes(shape), dtype=as_dtype(dtype))


@operation("Ones", called="ones")
def ones(shape: Numbers, dtype: Any = core.float32, name: str | None = None) -> Any:
    """Ones; sizes may be tensors."""
    return dg.ones(_sizes(shape), dtype=as_dtype(dtype))


@operation("Fill")
def fill(dims: Numbers, value: Operand, name: str | None = None, layout: Any = None) -> Any:
    """A tensor of one value; sizes may be tensors."""
    return as_tensor(value).expand(_sizes(dims)).clone()


@operation("ZerosLike", differentiable=False, aliases={"input": "tensor"}, called="zeros_like")
def zeros_like(tensor: Operand, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Any:
    """Zeros of the shape of a tensor."""
    return dg.zeros_like(tensor, dtype=None if dtype is None else as_dtype(dtype))


@operation("OnesLike", differentiable=False, aliases={"input": "tensor"}, called="ones_like")
def ones_like(tensor: Operand, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Any:
    """Ones of the shape of a tensor."""
    return dg.ones_like(tensor, dtype=None if dtype is None else as_dtype(dtype))


@operation("Range", differentiable=False)
def _range(start: Numbers, limit: Numbers, delta: Numbers, dtype: Any, name: str | None = None) -> Any:
    first, end, step = (as_number(v) for v in (start, limit, delta))
    if not any(isinstance(v, core.Tensor) for v in (first, end, step)):
        return dg.arange(first, end, step, dtype=dtype)
    if all(isinstance(v, int) or (isinstance(v, core.Tensor) and not v.dtype.is_floating_point) for v in (first, end, step)):
        count = -dg.floor_divide(as_tensor(first - end), step)
    else:
        count = dg.ceil((as_tensor(end) - first) / step).to(core.int64)
    return (counted(dg.clamp(count, min=0), dtype) * step + first).to(dtype)


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """Numbers from `start` (0 if only one number is given) up to `limit`, which is not among them.

    Args:
        dtype: by default float32 if one of the numbers is a float, else int32.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.range(3, 10, 3)).tolist()
    [3, 6, 9]
    """
    if limit is None:
        start, limit = 0, start
    if dtype is None:
        kinds = [
            v.dtype if hasattr(v, "dtype") else core.float32 if isinstance(v, float) else core.int32
            for v in (start, limit, delta)
        ]
        dtype = max((as_dtype(kind) for kind in kinds), key=lambda kind: (kind.is_floating_point, kind.itemsize))
    made: Tensor = _range(start, limit, delta, as_dtype(dtype), name=name)
    return made


@operation("LinSpace")
def linspace(start: Operand, stop: Operand, num: Numbers, name: str | None = None) -> Any:
    """`num` numbers at equal distances, from `start` to `stop`."""
    first, last, count = as_tensor(start), as_tensor(stop), as_number(num)
    dtype = first.dtype if first.dtype.is_floating_point else core.float32
    steps = counted(count, dtype)
    parts = count - 1 if not isinstance(count, int) else max(count - 1, 1)
    found = first + (last - first) * (steps / parts)
    return found.to(dtype)


lin_space = linspace


@operation("Eye", differentiable=False)
def eye(
    num_rows: Numbers,
    num_columns: Numbers = None,
    batch_shape: Numbers = None,
    dtype: Any = core.float32,
    name: str | None = None,
) -> Any:
    """The identity matrix, or a stack of them of shape `batch_shape`."""
    rows, columns = as_number(num_rows), as_number(num_columns)
    columns = rows if columns is None else columns
    made = (counted(rows, core.int64).unsqueeze(1) == counted(columns, core.int64)).to(as_dtype(dtype))
    return made if batch_shape is None else made.expand([*_sizes(batch_shape), rows, columns]).clone()


@operation("OneHot", differentiable=False, called="one_hot")
def one_hot(
    indices: Operand,
    depth: Numbers,
    on_value: Operand = None,
    off_value: Operand = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Any:
    """For each index a vector that is `on_value` (1) there and `off_value` (0) elsewhere; all off for indices out of range.

    Args:
        axis: where the new dimension goes, by default last.
        dtype: by default that of the values, or float32.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.one_hot([1, 3], 3)).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if indices.dtype.is_floating_point:
        raise DTypeError(f"one_hot: indices are {indices.dtype.name}, they must be integers", hint="tf.cast(indices, tf.int32)")
    place = -1 if axis is None else axis
    given = [v for v in (on_value, off_value) if v is not None]
    kind = as_dtype(dtype) if dtype is not None else as_tensor(given[0]).dtype if given else core.float32
    rank = indices.ndim + 1
    classes = counted(as_number(depth), indices.dtype)
    classes = classes.reshape([-1 if i == place % rank else 1 for i in builtins.range(rank)])
    hit = indices.unsqueeze(place) == classes
    if not given:
        return hit.to(kind)
    on, off = (as_tensor(default if v is None else v).to(kind) for v, default in ((on_value, 1), (off_value, 0)))
    return dg.where(hit, on, off)


@operation("SequenceMask", differentiable=False)
def sequence_mask(lengths: Operand, maxlen: Numbers = None, dtype: Any = core.bool, name: str | None = None) -> Any:
    """For each length n a row of which the first n elements are true.

    Args:
        maxlen: the length of rows, by default the greatest of `lengths`.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.sequence_mask([1, 0, 2], dtype=tf.int32)).tolist()
    [[1, 0], [0, 0], [1, 1]]
    """
    whole = as_tensor(lengths)
    count = as_number(maxlen) if maxlen is not None else as_number(dg.amax(whole))
    return (counted(count, whole.dtype) < whole.unsqueeze(-1)).to(as_dtype(dtype))


def meshgrid(*args: Any, indexing: str = "xy", name: str | None = None) -> list[Tensor]:
    """For vectors, tensors of one dimension for each, in which that dimension goes through the vector.

    Args:
        indexing: "xy": the first two dimensions are the second and the first vector's; "ij": each has its own.

    Errors:   ArgumentError for another indexing
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f'meshgrid: indexing is "xy" or "ij", not {indexing!r}')
    made: list[Tensor] = _meshgrid([reshape(convert_to_tensor(x), [-1]) for x in args], indexing, name=name)
    return list(made)


@operation("Meshgrid")
def _meshgrid(vectors: Operands, indexing: str, name: str | None = None) -> Any:
    return list(dg.meshgrid(*[as_tensor(x) for x in vectors], indexing=indexing))
