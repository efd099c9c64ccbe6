"""Images of another size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError

from ..arrays import squeeze
from ..constants import convert_to_tensor
from ..definition import Numbers, Operand, operation
from ..elements import Tensor
from ..scopes import name_scope
from ..slicing import as_numbers, counted

__all__ = [
    "ResizeMethod", "resize", "resize_area", "resize_bicubic", "resize_bilinear", "resize_images", "resize_nearest_neighbor",
]  # fmt: skip


class ResizeMethod:
    """How `resize_images` finds a new element."""

    BILINEAR = 0
    NEAREST_NEIGHBOR = 1
    BICUBIC = 2
    AREA = 3


def _number(size: Any) -> Any:
    """A size as a float, or as a tensor where the run says it."""
    if isinstance(size, int):
        return float(size)
    return size.to(core.float32) if isinstance(size, core.Tensor) else dg.ones([size]).sum()


def _places(have: Any, want: Any, align_corners: bool, half_pixel_centers: bool) -> Any:
    """Where the new elements lie among the old ones."""
    steps = counted(want, core.float32)
    if align_corners and (not isinstance(want, int) or want > 1):
        return steps * ((_number(have) - 1.0) / (_number(want) - 1.0))
    scale = _number(have) / _number(want)
    return (steps + 0.5) * scale - 0.5 if half_pixel_centers else steps * scale


def _taken(x: Any, dim: int, places: Any, last: Any) -> Any:
    """The rows at places, of which those outside stand for the nearest inside."""
    inside = dg.clamp(places.to(core.int64), min=0)
    return dg.index_select(x, dim, dg.minimum(inside, dg.full_like(inside, 1) * last))


def _column(weights: Any, dim: int, rank: int) -> Any:
    return weights.reshape([-1 if i == dim else 1 for i in range(rank)])


def _nearest(x: Any, dim: int, want: Any, align: bool, half: bool) -> Any:
    at = _places(x.shape[dim], want, align, half)
    at = dg.floor(at + 0.5) if align or half else dg.floor(at)
    return _taken(x, dim, at, x.shape[dim] - 1)


def _linear(x: Any, dim: int, want: Any, align: bool, half: bool) -> Any:
    at = dg.clamp(_places(x.shape[dim], want, align, half), min=0.0)
    low = dg.floor(at)
    part = _column(at - low, dim, x.ndim)
    last = x.shape[dim] - 1
    before, behind = _taken(x, dim, low, last), _taken(x, dim, low + 1.0, last)
    return before + (behind - before) * part


def _cubic(x: Any, dim: int, want: Any, align: bool, half: bool) -> Any:
    """Keys' curve through four elements, with the slope -0.75."""
    at = _places(x.shape[dim], want, align, half)
    low = dg.floor(at)
    t, a = at - low, -0.75
    total = None
    for tap in (-1, 0, 1, 2):
        d = (t - tap).abs()
        near = ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
        far = ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
        weight = near if tap in (0, 1) else far
        term = _taken(x, dim, low + float(tap), x.shape[dim] - 1) * _column(weight, dim, x.ndim)
        total = term if total is None else total + term
    return total


def _mean(x: Any, dim: int, want: Any, align: bool, half: bool) -> Any:
    """The mean of the old elements that a new one covers, each as far as it is covered."""
    if align:
        raise ArgumentError("resize_area: align_corners is not there for means", hint="leave it out, or use another method")
    start = _places(x.shape[dim], want, False, False)
    end = start + _number(x.shape[dim]) / _number(want)
    old = counted(x.shape[dim], core.float32)
    covered = dg.minimum(end.unsqueeze(1), (old + 1.0).unsqueeze(0)) - dg.maximum(start.unsqueeze(1), old.unsqueeze(0))
    weights = dg.clamp(covered, min=0.0)
    weights = weights / weights.sum(1, True)
    return (weights.to(x.dtype) @ x.transpose(dim, -2)).transpose(dim, -2)


_WAYS: dict[str, Callable[..., Any]] = {
    "ResizeNearestNeighbor": _nearest,
    "ResizeBilinear": _linear,
    "ResizeBicubic": _cubic,
    "ResizeArea": _mean,
}


def _resizing(type: str) -> Callable[..., Any]:
    """The operation of a way to resize."""

    def resized(images: Operand, size: Numbers, align_corners: bool, half_pixel_centers: bool, name: str | None = None) -> Any:
        if images.ndim != 4:
            raise ShapeError(f"{type}: the images have {images.ndim} dimensions: expected 4, [batch, height, width, channels]")
        sizes = list(as_numbers(size))
        if len(sizes) != 2 or any(isinstance(n, int) and n < 1 for n in sizes):
            raise ArgumentError(f"{type}: size is {size}: expected the new height and width")
        x = images if type == "ResizeNearestNeighbor" or images.dtype is core.float64 else images.to(core.float32)
        for dim, want in zip((1, 2), sizes):
            x = _WAYS[type](x, dim, want, align_corners, half_pixel_centers)
        return x

    return operation(type)(resized)


_OPERATIONS = {type: _resizing(type) for type in _WAYS}


def _call(type: str, images: Any, size: Any, align_corners: bool, half_pixel_centers: bool, name: str | None) -> Tensor:
    made: Tensor = _OPERATIONS[type](convert_to_tensor(images), size, align_corners, half_pixel_centers, name=name)
    return made


def resize_bilinear(
    images: Any, size: Any, align_corners: bool = False, name: str | None = None, half_pixel_centers: bool = False
) -> Tensor:
    """Images of another size, whose elements lie on lines between the old ones.

    Args:
        size: the new height and width.
        align_corners: the outermost elements stay where they are; otherwise the first ones do.
        half_pixel_centers: elements are squares, whose outermost edges stay where they are.

    Shapes:   [N, H, W, C] → [N, *size, C]
    Gradient: the weights of the elements

    >>> import duograph.graph as tf
    >>> image = tf.reshape(tf.constant([0.0, 4.0]), [1, 1, 2, 1])
    >>> with tf.Session() as session:
    ...     session.run(tf.image.resize_bilinear(image, [1, 4])).ravel()
    array([0., 2., 4., 4.], dtype=float32)
    """
    return _call("ResizeBilinear", images, size, align_corners, half_pixel_centers, name)


def resize_nearest_neighbor(
    images: Any, size: Any, align_corners: bool = False, name: str | None = None, half_pixel_centers: bool = False
) -> Tensor:
    """Images of another size, whose elements are the nearest old ones; the dtype stays."""
    return _call("ResizeNearestNeighbor", images, size, align_corners, half_pixel_centers, name)


def resize_bicubic(
    images: Any, size: Any, align_corners: bool = False, name: str | None = None, half_pixel_centers: bool = False
) -> Tensor:
    """Images of another size, whose elements lie on curves through four old ones.

    Differs: the curve is computed for each element, where TensorFlow takes it from a table of 1024 places.
    """
    return _call("ResizeBicubic", images, size, align_corners, half_pixel_centers, name)


def resize_area(images: Any, size: Any, align_corners: bool = False, name: str | None = None) -> Tensor:
    """Images of another size, whose elements are the means of those that they cover. ArgumentError for align_corners."""
    return _call("ResizeArea", images, size, align_corners, False, name)


_METHODS: dict[Any, Callable[..., Tensor]] = {
    ResizeMethod.BILINEAR: resize_bilinear,
    ResizeMethod.NEAREST_NEIGHBOR: resize_nearest_neighbor,
    ResizeMethod.BICUBIC: resize_bicubic,
    ResizeMethod.AREA: resize_area,
    "bilinear": resize_bilinear,
    "nearest": resize_nearest_neighbor,
    "bicubic": resize_bicubic,
    "area": resize_area,
}


def resize_images(
    images: Any,
    size: Any,
    method: Any = ResizeMethod.BILINEAR,
    align_corners: bool = False,
    preserve_aspect_ratio: bool = False,
    name: str | None = None,
) -> Tensor:
    """Images of another size, by one of the methods of `ResizeMethod`.

    Args:
        images: [N, H, W, C], or one image [H, W, C].
        size: the new height and width; of numbers.
        preserve_aspect_ratio: the greatest size within `size` that keeps the image's proportions.

    Errors:   ArgumentError for a method that is none; ShapeError for images of another rank
    """
    images = convert_to_tensor(images)
    if method not in _METHODS:
        raise ArgumentError(f"resize_images: there is no method {method!r}", hint="one of tf.image.ResizeMethod")
    rank = images.shape.ndims
    if rank not in (3, 4):
        raise ShapeError(f"resize_images: the images have shape {images.shape}: expected [N, H, W, C] or [H, W, C]")
    with images.graph.as_default(), name_scope(name or "resize"):
        stack = images if rank == 4 else images[None]
        if preserve_aspect_ratio:
            size = _within(stack.shape.as_list()[1:3], size)
        if stack.shape.as_list()[1:3] == list(size if isinstance(size, (list, tuple)) else ()):
            same: Tensor = images
            return same
        made = _METHODS[method](stack, size, align_corners)
        alone: Tensor = made if rank == 4 else squeeze(made, [0])
        return alone


def _within(have: list[Any], size: Any) -> list[int]:
    if None in have:
        raise ShapeError("resize_images: preserve_aspect_ratio needs images of a known height and width")
    factor = min(size[0] / have[0], size[1] / have[1])
    return [round(have[0] * factor), round(have[1] * factor)]


def resize(images: Any, size: Any, method: Any = ResizeMethod.BILINEAR, align_corners: bool = False, **others: Any) -> Tensor:
    """The same as `resize_images`."""
    return resize_images(images, size, method, align_corners, **others)
