"""Images with their elements in other places; tensors that pass together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph.errors import ArgumentError, ShapeError

from .constants import convert_to_tensor, group, identity
from .definition import Operand, Operands, operation
from .elements import Operation, Tensor
from .scopes import control_dependencies, graph_of, name_scope

__all__ = [
    "depth_to_space",
    "extract_image_patches",
    "guarantee_const",
    "identity_n",
    "parallel_stack",
    "space_to_depth",
    "tuple",
]


def _channels_last(function: str, data_format: str) -> None:
    if data_format != "NHWC":
        raise ArgumentError(f"{function}: data_format {data_format!r} is none", hint="'NHWC'")


@operation("SpaceToDepth")
def _to_depth(input: Operand, block_size: int, name: str | None = None) -> Any:
    n, height, width, channels = input.shape
    if any(size.__class__ is int and size % block_size for size in (height, width)):
        raise ShapeError(f"space_to_depth: an image of {height} x {width} has no whole blocks of {block_size}")
    down, across = height // block_size, width // block_size
    cut = input.reshape([n, down, block_size, across, block_size, channels])
    return cut.permute([0, 1, 3, 2, 4, 5]).reshape([n, down, across, block_size * block_size * channels])


def space_to_depth(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """Each block of an image as the channels of one point.

    Shapes:   [N, H, W, C] → [N, H / block_size, W / block_size, C * block_size²]
    """
    _channels_last("space_to_depth", data_format)
    made: Tensor = _to_depth(convert_to_tensor(input), block_size, name=name)
    return made


@operation("DepthToSpace")
def _to_space(input: Operand, block_size: int, name: str | None = None) -> Any:
    n, height, width, channels = input.shape
    if channels.__class__ is int and channels % block_size**2:
        raise ShapeError(f"depth_to_space: {channels} channels make no blocks of {block_size} x {block_size}")
    cut = input.reshape([n, height, width, block_size, block_size, channels // block_size**2])
    return cut.permute([0, 1, 3, 2, 4, 5]).reshape([n, height * block_size, width * block_size, channels // block_size**2])


def depth_to_space(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """The channels of each point as a block of an image: what `space_to_depth` undoes.

    Shapes:   [N, H, W, C] → [N, H * block_size, W * block_size, C / block_size²]
    """
    _channels_last("depth_to_space", data_format)
    made: Tensor = _to_space(convert_to_tensor(input), block_size, name=name)
    return made


@operation("ExtractImagePatches")
def extract_image_patches(
    images: Operand,
    ksizes: Any = None,
    strides: Any = None,
    rates: Any = None,
    padding: str = "VALID",
    name: str | None = None,
) -> Any:
    """Each window of an image as the channels of one point: row by row, the channels of a point together.

    Args:
        ksizes, strides, rates: [1, rows, columns, 1], of the window, its steps, and the distance of the points in it.
        padding: "VALID", or "SAME", with zeros around the image.

    Shapes:   [N, H, W, C] → [N, H', W', rows * columns * C]
    """
    if ksizes is None or strides is None or padding not in ("VALID", "SAME"):
        raise ArgumentError(f"extract_image_patches: ksizes, strides and a padding, not {padding!r}", hint="'VALID' or 'SAME'")
    places = []
    rates = rates or [1, 1, 1, 1]
    for axis in (1, 2):
        images, found = _windows(images, axis, ksizes[axis], strides[axis], rates[axis], padding == "SAME")
        places.append(found)
    return dg.cat([images[:, rows, columns] for rows in places[0] for columns in places[1]], 3)


def _windows(images: Any, axis: int, size: int, stride: int, rate: int, same: bool) -> Any:
    """The images, padded along an axis, and for each point of the window the places it takes."""
    length, extent = images.shape[axis], (size - 1) * rate + 1
    if same:
        count = (length + stride - 1) // stride
        missing = (count - 1) * stride + extent - length
        missing = max(missing, 0) if missing.__class__ is int else missing
        images = _padded(images, axis, missing // 2, missing - missing // 2)
    else:
        count = (length - extent) // stride + 1
    return images, [slice(i * rate, i * rate + (count - 1) * stride + 1, stride) for i in range(size)]


def _padded(images: Any, axis: int, before: Any, behind: Any) -> Any:
    sizes = list(images.shape)
    parts = [dg.zeros([*sizes[:axis], n, *sizes[axis + 1 :]], dtype=images.dtype) for n in (before, behind)]
    return dg.cat([parts[0], images, parts[1]], axis)


@operation("ParallelConcat")
def parallel_stack(values: Operands, name: str | None = "parallel_stack") -> Any:
    """Tensors of one shape along a new first dimension."""
    return dg.stack(list(values), 0)


@operation("IdentityN")
def _identities(input: Operands, name: str | None = None) -> Any:
    return list(input)


def identity_n(input: Sequence[Any], name: str | None = None) -> list[Tensor]:
    """The tensors themselves, as the outputs of one operation."""
    return list(_identities([convert_to_tensor(x) for x in input], name=name))


def guarantee_const(input: Any, name: str | None = None) -> Tensor:
    """The tensor itself: what is constant is seen without it."""
    made: Tensor = identity(convert_to_tensor(input), name=name)
    return made


def tuple(tensors: Sequence[Any], name: str | None = None, control_inputs: Sequence[Any] | None = None) -> list[Any]:
    """The tensors, each of which comes when all of them, and the control inputs, are done; None stays None."""
    waited = [x for x in (*tensors, *(control_inputs or ())) if x is not None]
    if not any(isinstance(x, (Tensor, Operation)) for x in waited):
        raise ArgumentError("tuple: there is no tensor among the tensors")
    with name_scope(name, "tuple", waited), graph_of(waited).as_default():
        gate = group(*waited)
        with control_dependencies([gate]):
            return [identity(x) if isinstance(x, Tensor) else gate if isinstance(x, Operation) else x for x in tensors]
