"""Shapes, sizes and movement of graph tensors, under TensorFlow's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, CaptureError, DimensionError, DTypeError, ShapeError

from .constants import convert_to_tensor
from .definition import Numbers, Operand, Operands, operation
from .dtypes import as_dtype
from .elements import Slot, Tensor
from .inference import RunSizes, kept_types
from .resolving import as_tensor
from .shapes import PartialType, TensorShape, sizes_of
from .slicing import as_number, as_numbers, plain_numbers

__all__ = [
    "bitcast", "boolean_mask", "broadcast_dynamic_shape", "broadcast_static_shape", "broadcast_to", "cast", "concat",
    "expand_dims", "newaxis", "pad", "rank", "repeat", "reshape", "reverse", "reverse_sequence", "reverse_v2", "roll",
    "saturate_cast", "shape", "shape_n", "size", "split", "squeeze", "stack", "tile", "to_bfloat16", "to_double", "to_float",
    "to_int32", "to_int64", "transpose", "unstack",
]  # fmt: skip

newaxis = None


def _axis(function: str, x: Any, axis: Any) -> int:
    """A dimension counted from the first. DimensionError for one that is not there."""
    found = as_number(axis)
    if not -x.ndim <= found < x.ndim:
        raise DimensionError(f"{function}: there is no dimension {found} in the shape {tuple(x.shape)}")
    first: int = found % x.ndim
    return first


# ---- dtypes


@operation("Cast", sizes=True)
def cast(x: Operand, dtype: Any, name: str | None = None) -> Any:
    """x converted to a dtype; floats lose what is behind the point on the way to integers."""
    wanted = as_dtype(dtype)
    if isinstance(x, (int, RunSizes)) and wanted.kind in "iu":
        return x
    return as_tensor(x).to(wanted)


@operation("SaturateCast")
def saturate_cast(value: Operand, dtype: Any, name: str | None = None) -> Any:
    """value converted to a dtype; what lies outside of its range becomes its least or greatest number."""
    wanted = as_dtype(dtype)
    return dg.clamp(value, wanted.min, wanted.max).to(wanted)


def _type_of_bits(input: PartialType, type: Any, **_: Any) -> PartialType:
    wanted = as_dtype(type)
    if wanted.itemsize != input.dtype.itemsize:
        raise DTypeError(f"bitcast: {input.dtype.name} and {wanted.name} differ in size")
    return PartialType(wanted, input.sizes)


@operation("Bitcast", differentiable=False, infer=lambda x, input, **attrs: _type_of_bits(x, **attrs))
def bitcast(input: Operand, type: Any, name: str | None = None) -> Any:
    """The same bits as numbers of another dtype of the same size."""
    return input.view(as_dtype(type))


def to_float(x: Any, name: str = "ToFloat") -> Any:
    """x as float32."""
    return cast(x, core.float32, name=name)


def to_double(x: Any, name: str = "ToDouble") -> Any:
    """x as float64."""
    return cast(x, core.float64, name=name)


def to_int32(x: Any, name: str = "ToInt32") -> Any:
    """x as int32."""
    return cast(x, core.int32, name=name)


def to_int64(x: Any, name: str = "ToInt64") -> Any:
    """x as int64."""
    return cast(x, core.int64, name=name)


def to_bfloat16(x: Any, name: str = "ToBFloat16") -> Any:
    """x as bfloat16."""
    return cast(x, core.bfloat16, name=name)


# ---- sizes


def shape(input: Any, name: str | None = None, out_type: Any = core.int32) -> Any:
    """The sizes of a tensor at the run, as a vector of int32, or of `out_type`.

    It can be cut, computed with, and put together to other shapes: programs stay good for all sizes.
    """
    made = _shape(input, name=name)
    return made if as_dtype(out_type) is core.int32 else cast(made, out_type)


@operation("Shape", sizes=True, differentiable=False)
def _shape(input: Operand, name: str | None = None) -> Any:
    if isinstance(input, core.Tensor):
        return RunSizes(input.shape)
    return RunSizes((len(input),)) if isinstance(input, RunSizes) else RunSizes()


def shape_n(input: Sequence[Any], out_type: Any = core.int32, name: str | None = None) -> list[Tensor]:
    """The shapes of several tensors."""
    return [shape(x, name, out_type) for x in input]


def size(input: Any, name: str | None = None, out_type: Any = core.int32) -> Any:
    """The number of elements, as int32 or `out_type`."""
    made = _size(input, name=name)
    return made if as_dtype(out_type) is core.int32 else cast(made, out_type)


@operation("Size", sizes=True, differentiable=False)
def _size(input: Operand, name: str | None = None) -> Any:
    count = 1
    for length in input.shape if isinstance(input, core.Tensor) else (len(input),) if isinstance(input, RunSizes) else ():
        count = count * length
    return count


@operation("Rank", sizes=True, differentiable=False)
def rank(input: Operand, name: str | None = None) -> Any:
    """The number of dimensions."""
    return input.ndim if isinstance(input, core.Tensor) else int(isinstance(input, RunSizes))


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The shape that tensors of two known shapes have together. ShapeError if they do not fit."""
    x, y = sizes_of(shape_x), sizes_of(shape_y)
    if x is None or y is None:
        return TensorShape(None)
    count = max(len(x), len(y))
    found: list[int | None] = []
    for a, b in zip((1,) * (count - len(x)) + x, (1,) * (count - len(y)) + y):
        if a is not None and b is not None and a != b and 1 not in (a, b):
            raise ShapeError(f"broadcast_static_shape: shapes {TensorShape(x)} and {TensorShape(y)} do not fit together")
        found.append(b if a == 1 else a if b in (1, a) else max(a or 0, b or 0))
    return TensorShape(found)


@operation("BroadcastArgs", differentiable=False)
def broadcast_dynamic_shape(shape_x: Operand, shape_y: Operand, name: str | None = None) -> Any:
    """The shape that tensors of two shapes have together, as a tensor."""
    count = max(int(shape_x.shape[0]), int(shape_y.shape[0]))
    x, y = (dg.cat([v.new_ones([count - int(v.shape[0])]), v]) for v in (shape_x, shape_y))
    return dg.where(x == 1, y, x)


# ---- shapes


def _reshaped_type(*types: PartialType, tensor: Slot, shape: Any) -> Any:
    """A shape that is given in numbers is known whatever is known of the tensor."""
    type = types[tensor.index]
    given = isinstance(shape, (list, tuple)) and all(x.__class__ is int and x >= 0 for x in shape)
    return PartialType(type.dtype, tuple(shape)) if given and None in (type.sizes or (None,)) else NotImplemented


@operation("Reshape", sizes=True, infer=_reshaped_type)
def reshape(tensor: Operand, shape: Numbers, name: str | None = None) -> Any:
    """The same elements in another shape; one size may be -1."""
    return as_tensor(tensor).reshape(as_numbers(shape))


@operation("Squeeze", sizes=True)
def squeeze(input: Operand, axis: Numbers = None, name: str | None = None, squeeze_dims: Any = None) -> Any:
    """Without dimensions of size 1: all of them, or those of `axis`. ShapeError for one of another size."""
    x, given = as_tensor(input), as_numbers(axis if axis is not None else squeeze_dims)
    if given is None or (isinstance(given, (list, tuple)) and not given):
        return x.squeeze()
    dims = [_axis("squeeze", x, dim) for dim in ([given] if isinstance(given, int) else given)]
    for dim in dims:
        length = x.shape[dim]
        if isinstance(length, int) and length != 1:
            raise ShapeError(f"squeeze: dimension {dim} of the shape {tuple(x.shape)} is {length}, not 1")
    return x.squeeze(dims)


@operation("ExpandDims", sizes=True)
def expand_dims(input: Operand, axis: Numbers = None, name: str | None = None, dim: Any = None) -> Any:
    """With one more dimension, of size 1, before `axis`, or behind the last for -1."""
    where = as_number(axis if axis is not None else dim)
    if where is None:
        raise ArgumentError("expand_dims: axis is missing")
    if isinstance(input, int) and where in (0, -1):
        return RunSizes((input,))
    return as_tensor(input).unsqueeze(where)


def _transposed_type(*types: PartialType, **attrs: Any) -> Any:
    """An order that only the run knows says nothing of the sizes."""
    try:
        return kept_types(transpose.definition, attrs, types)  # type: ignore[attr-defined]
    except CaptureError:
        type = types[attrs["a"].index]
        return PartialType(type.dtype, None if type.sizes is None else (None,) * len(type.sizes))


@operation("Transpose", aliases={"x": "a"}, called="transpose", infer=_transposed_type)
def transpose(a: Operand, perm: Numbers = None, name: str | None = "transpose", conjugate: bool = False) -> Any:
    """With the dimensions in another order: dimension i is dimension perm[i] of `a`. Without `perm`: the other way round."""
    order = as_numbers(perm)
    return a.permute(list(range(a.ndim))[::-1] if order is None else [int(n) for n in order])


@operation("BroadcastTo", aliases={"x": "input"})
def broadcast_to(input: Operand, shape: Numbers, name: str | None = None) -> Any:
    """Stretched to a shape."""
    return dg.broadcast_to(input, tuple(as_numbers(shape)))


@operation("Tile", sizes=True)
def tile(input: Operand, multiples: Numbers, name: str | None = None) -> Any:
    """Several copies beside each other, so many along each dimension.

    Errors:   ShapeError unless there is a number for each dimension
    """
    x, counts = as_tensor(input), list(as_numbers(multiples))
    if len(counts) != x.ndim:
        raise ShapeError(f"tile: {len(counts)} multiples for a tensor of shape {tuple(x.shape)}")
    shaped = x.reshape([part for n in x.shape for part in (1, n)])
    stretched = dg.broadcast_to(shaped, tuple(part for n, times in zip(x.shape, counts) for part in (times, n)))
    return stretched.reshape([times * n for n, times in zip(x.shape, counts)])


@operation("Repeat")
def repeat(input: Operand, repeats: Operand, axis: Any = None, name: str | None = None) -> Any:
    """Each element several times in a row along an axis; without one, of the flat tensor."""
    return dg.repeat_interleave(input, repeats if isinstance(repeats, int) else repeats.to(core.int64), axis)


# ---- several tensors


@operation("ConcatV2", sizes=True, called="concat")
def concat(values: Operands, axis: Numbers, name: str | None = "concat") -> Any:
    """Tensors one behind the other along a dimension.

    Errors:   ShapeError where other sizes differ

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.concat([[1, 2], [3]], 0)).tolist()
    [1, 2, 3]
    """
    parts = list(values) if isinstance(values, list) else [values]
    plain = [plain_numbers(x) for x in parts]
    if any(isinstance(x, RunSizes) for x in parts) and all(isinstance(x, tuple) for x in plain):
        return RunSizes(n for x in plain for n in x)
    return dg.cat([as_tensor(x) for x in parts], as_number(axis))


@operation("Pack", sizes=True, called="stack")
def stack(values: Operands, axis: int = 0, name: str | None = "stack") -> Any:
    """Tensors of one shape along a new dimension."""
    parts = list(values) if isinstance(values, list) else list(as_tensor(values))
    plain = [plain_numbers(x) for x in parts]
    numbers = all(x is not None and not isinstance(x, tuple) for x in plain)
    if axis == 0 and numbers and not all(isinstance(x, core.Tensor) for x in parts):
        return RunSizes(plain)
    return dg.stack([as_tensor(x) for x in parts], axis)


@operation("Unpack", sizes=True)
def _unstack(value: Operand, num: int, axis: int, name: str | None = None) -> Any:
    if isinstance(value, RunSizes):
        return list(value)
    return [value.select(axis, i) for i in range(num)]


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The parts of a tensor along a dimension, without that dimension.

    Args:
        num: how many there are, where the graph does not know it.

    Errors:   ArgumentError if that is unknown
    """
    value = convert_to_tensor(value)
    sizes = value.type.sizes
    count = num if sizes is None or sizes[axis] is None else sizes[axis]
    if count is None or (num is not None and num != count):
        raise ArgumentError(
            f"unstack: {value.name} has shape {value.shape}, num is {num}",
            [value.node.built_at],
            hint="give num, the number of parts",
        )
    made: list[Tensor] = _unstack(value, count, axis, name=name)
    return made


@operation("Split", sizes=True, called="split")
def split(
    value: Operand, num_or_size_splits: Numbers, axis: Numbers = 0, num: int | None = None, name: str | None = "split"
) -> Any:
    """Parts of a tensor along a dimension, as a list.

    Args:
        num_or_size_splits: a number of parts of one size, or the size of each part, of which one may be -1: the rest.

    Errors:   ShapeError where sizes and parts do not go together

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     [part.tolist() for part in session.run(tf.split([1, 2, 3, 4], [1, -1], 0))]
    [[1], [2, 3, 4]]
    """
    x, asked = as_tensor(value), as_numbers(num_or_size_splits)
    dim = _axis("split", x, axis)
    length = x.shape[dim]
    if isinstance(asked, (list, tuple)):
        sizes = list(asked)
    else:
        if isinstance(length, int) and length % asked:
            raise ShapeError(f"split: size {length} of dimension {dim} is no multiple of {asked}")
        sizes = [length // asked] * asked
    given = [n for n in sizes if not (isinstance(n, int) and n == -1)]
    rest = length - sum(given)
    sizes = [rest if isinstance(n, int) and n == -1 else n for n in sizes]
    if isinstance(rest, int) and (rest < 0 or (rest and len(given) == len(sizes))):
        raise ShapeError(f"split: sizes {sizes} do not add up to size {length} of dimension {dim}")
    parts, start = [], 0
    for n in sizes:
        parts.append(x.narrow(dim, start, n))
        start = start + n
    return parts


# ---- places


@operation("Pad", aliases={"input": "tensor"})
def pad(tensor: Operand, paddings: Numbers, mode: str = "CONSTANT", name: str | None = None, constant_values: Operand = 0) -> Any:
    """With more elements before and behind, so many [before, behind] for each dimension.

    Args:
        mode: "CONSTANT": `constant_values`; "REFLECT": the mirror image without the edge; "SYMMETRIC": with the edge.

    Errors:   ShapeError unless there is a pair for each dimension; ArgumentError for another mode
    """
    known = plain_numbers(paddings) if not isinstance(paddings, (list, tuple)) else paddings
    pairs = [list(as_numbers(pair)) for pair in (paddings if known is None else as_numbers(known))]
    if len(pairs) != tensor.ndim:
        raise ShapeError(f"pad: paddings {pairs} for a tensor of shape {tuple(tensor.shape)}", hint="one pair for each dimension")
    kind = mode.upper()
    if kind not in ("CONSTANT", "REFLECT", "SYMMETRIC"):
        raise ArgumentError(f"pad: mode is {mode!r}", hint='"CONSTANT", "REFLECT" or "SYMMETRIC"')
    for dim, (before, behind) in enumerate(pairs):
        if kind == "CONSTANT":
            tensor = _filled(tensor, dim, before, behind, constant_values)
        else:
            tensor = _mirrored(tensor, dim, before, behind, kind == "REFLECT")
    return tensor


def _is_zero(value: Any) -> bool:
    return isinstance(value, int) and value == 0


def _filled(x: Any, dim: int, before: Any, behind: Any, value: Any) -> Any:
    filler = value.to(x.dtype) if isinstance(value, core.Tensor) else dg.full([], value, dtype=x.dtype)
    parts = [
        x if count is None else filler.expand([*x.shape[:dim], count, *x.shape[dim + 1 :]])
        for count in (before, None, behind)
        if not _is_zero(count)
    ]
    return x if len(parts) == 1 else dg.cat(parts, dim)


def _mirrored(x: Any, dim: int, before: Any, behind: Any, without_edge: bool) -> Any:
    offset, length = int(without_edge), x.shape[dim]
    for count in (before, behind):
        if isinstance(count, int) and isinstance(length, int) and count > length - offset:
            raise ShapeError(f"pad: {count} elements cannot be mirrored at dimension {dim} of the shape {tuple(x.shape)}")
    parts = [x]
    if not _is_zero(before):
        parts.insert(0, dg.flip(x.narrow(dim, offset, before), dim))
    if not _is_zero(behind):
        parts.append(dg.flip(x.narrow(dim, length - offset - behind, behind), dim))
    return x if len(parts) == 1 else dg.cat(parts, dim)


@operation("ReverseV2", sizes=True)
def reverse(tensor: Operand, axis: Numbers, name: str | None = None) -> Any:
    """With the elements along some dimensions the other way round."""
    dims = as_numbers(axis)
    if isinstance(tensor, RunSizes):
        return RunSizes(tuple(tensor)[::-1])
    return dg.flip(tensor, *(dims if isinstance(dims, (list, tuple)) else [dims]))


reverse_v2 = reverse


@operation("ReverseSequence", aliases={"batch_dim": "batch_axis", "seq_dim": "seq_axis"})
def reverse_sequence(
    input: Operand,
    seq_lengths: Operand,
    seq_axis: int | None = None,
    batch_axis: int | None = None,
    name: str | None = None,
) -> Any:
    """For each example with its length n, the first n elements along `seq_axis` the other way round.

    Errors:   ArgumentError without seq_axis
    """
    if seq_axis is None:
        raise ArgumentError("reverse_sequence: seq_axis is missing")
    seq, batch = seq_axis % input.ndim, (batch_axis or 0) % input.ndim
    places = dg.arange(input.shape[seq]).reshape([-1 if i == seq else 1 for i in range(input.ndim)])
    lengths = seq_lengths.to(core.int64).reshape([-1 if i == batch else 1 for i in range(input.ndim)])
    index = dg.where(places < lengths, lengths - 1 - places, places)
    return dg.gather(input, seq, index.expand(input.shape))


@operation("Roll")
def roll(input: Operand, shift: Numbers, axis: Numbers, name: str | None = None) -> Any:
    """Moved along some dimensions: what leaves at one end comes in at the other."""
    shifts, dims = as_numbers(shift), as_numbers(axis)
    for dim in dims if isinstance(dims, (list, tuple)) else [dims]:
        _axis("roll", input, dim)
    return dg.roll(input, shifts, dims)


@operation("BooleanMask")
def boolean_mask(tensor: Operand, mask: Operand, name: str | None = "boolean_mask", axis: int = 0) -> Any:
    """The elements, or rows, of which the mask is true."""
    return tensor[(slice(None),) * axis + (mask,)]
