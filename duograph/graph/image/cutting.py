"""Images turned, cut and framed."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph.errors import ArgumentError, ShapeError

from ..arrays import shape
from ..constants import convert_to_tensor
from ..definition import Numbers, Operand, operation
from ..elements import Tensor
from ..randoms import random_uniform
from ..slicing import as_number

__all__ = [
    "central_crop", "crop_to_bounding_box", "flip_left_right", "flip_up_down", "pad_to_bounding_box", "random_flip_left_right",
    "random_flip_up_down", "resize_image_with_crop_or_pad", "resize_with_crop_or_pad", "rot90", "transpose", "transpose_image",
]  # fmt: skip


def _check(function: str, image: Any) -> None:
    if image.ndim not in (3, 4):
        raise ShapeError(f"{function}: the image has {image.ndim} dimensions: expected [N, H, W, C] or [H, W, C]")


@operation("FlipLeftRight")
def flip_left_right(image: Operand, name: str | None = None) -> Any:
    """The image as a mirror shows it."""
    _check("flip_left_right", image)
    return image.flip(image.ndim - 2)


@operation("FlipUpDown")
def flip_up_down(image: Operand, name: str | None = None) -> Any:
    """The image upside down."""
    _check("flip_up_down", image)
    return image.flip(image.ndim - 3)


@operation("TransposeImage")
def transpose_image(image: Operand, name: str | None = None) -> Any:
    """The image with rows and columns exchanged."""
    _check("transpose_image", image)
    return image.transpose(image.ndim - 3, image.ndim - 2)


transpose = transpose_image


@operation("Rot90")
def rot90(image: Operand, k: Numbers = 1, name: str | None = None) -> Any:
    """The image turned by k right angles against the clock; k is a number."""
    _check("rot90", image)
    return dg.rot90(image, int(as_number(k)), [image.ndim - 3, image.ndim - 2])


def _random_flip(flip: Any, image: Any, seed: int | None, name: str) -> Tensor:
    image = convert_to_tensor(image)
    if image.shape.ndims not in (3, 4):
        raise ShapeError(f"{name}: the image has shape {image.shape}: expected [N, H, W, C] or [H, W, C]")
    with image.graph.as_default(), image.graph.name_scope(name):
        drawn: Any = random_uniform([shape(image)[0], 1, 1, 1] if image.shape.ndims == 4 else [1, 1, 1], seed=seed)
        found: Tensor = _chosen(drawn < 0.5, flip(image), image)
        return found


@operation("SelectV2")
def _chosen(condition: Operand, x: Operand, y: Operand, name: str | None = None) -> Any:
    return dg.where(condition, x, y)


def random_flip_left_right(image: Any, seed: int | None = None) -> Tensor:
    """The image, or with the same probability its mirror image; each of several by itself."""
    return _random_flip(flip_left_right, image, seed, "random_flip_left_right")


def random_flip_up_down(image: Any, seed: int | None = None) -> Tensor:
    """The image, or with the same probability the image upside down; each of several by itself."""
    return _random_flip(flip_up_down, image, seed, "random_flip_up_down")


@operation("CropToBoundingBox")
def crop_to_bounding_box(
    image: Operand,
    offset_height: Numbers,
    offset_width: Numbers,
    target_height: Numbers,
    target_width: Numbers,
    name: str | None = None,
) -> Any:
    """The part of the image of the target's size that begins at the offsets. ShapeError if it does not lie inside."""
    _check("crop_to_bounding_box", image)
    for dim, start, size in ((-3, offset_height, target_height), (-2, offset_width, target_width)):
        first, count = as_number(start), as_number(size)
        have = image.shape[dim]
        if (
            isinstance(have, int)
            and isinstance(first, int)
            and isinstance(count, int)
            and not 0 <= first <= first + count <= have
        ):
            raise ShapeError(f"crop_to_bounding_box: {count} from {first} on do not lie in an image of {have}")
        image = image.narrow(dim, first, count)
    return image


@operation("PadToBoundingBox")
def pad_to_bounding_box(
    image: Operand,
    offset_height: Numbers,
    offset_width: Numbers,
    target_height: Numbers,
    target_width: Numbers,
    name: str | None = None,
) -> Any:
    """The image in a frame of zeros of the target's size, beginning at the offsets. ShapeError if it does not fit in."""
    _check("pad_to_bounding_box", image)
    pads: list[Any] = [0, 0]
    for dim, start, size in ((-2, offset_width, target_width), (-3, offset_height, target_height)):
        first, behind = as_number(start), as_number(size) - image.shape[dim] - as_number(start)
        if any(isinstance(n, int) and n < 0 for n in (first, behind)):
            raise ShapeError(f"pad_to_bounding_box: an image of {image.shape[dim]} from {first} on does not fit into {size}")
        pads += [first, behind]
    return dg.nn.functional.pad(image, pads)


def _sizes(function: str, image: Any) -> list[int]:
    if image.shape.ndims not in (3, 4) or None in image.shape.as_list()[-3:-1]:
        raise ShapeError(f"{function}: the image has shape {image.shape}: height and width must be known")
    found: list[int] = image.shape.as_list()[-3:-1]
    return found


def resize_image_with_crop_or_pad(image: Any, target_height: int, target_width: int) -> Tensor:
    """The middle of the image, or the image in the middle of zeros, so that it has the target's size."""
    image = convert_to_tensor(image)
    height, width = _sizes("resize_image_with_crop_or_pad", image)
    down, across = max(height - target_height, 0) // 2, max(width - target_width, 0) // 2
    cut = crop_to_bounding_box(image, down, across, min(height, target_height), min(width, target_width))
    above, left = max(target_height - height, 0) // 2, max(target_width - width, 0) // 2
    made: Tensor = pad_to_bounding_box(cut, above, left, target_height, target_width)
    return made


resize_with_crop_or_pad = resize_image_with_crop_or_pad


def central_crop(image: Any, central_fraction: float) -> Tensor:
    """The middle of the image: this part of its height and width. ArgumentError for a fraction outside of (0, 1]."""
    if not 0.0 < central_fraction <= 1.0:
        raise ArgumentError(f"central_crop: central_fraction is {central_fraction}, it must lie in (0, 1]")
    image = convert_to_tensor(image)
    height, width = _sizes("central_crop", image)
    down, across = (int((n - n * central_fraction) / 2) for n in (height, width))
    made: Tensor = crop_to_bounding_box(image, down, across, height - 2 * down, width - 2 * across)
    return made
