"""Values of images: brightness, contrast, colours, kinds of numbers."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, ShapeError

from ..constants import convert_to_tensor
from ..definition import Operand, operation
from ..dtypes import as_dtype
from ..elements import Tensor
from ..randoms import random_uniform

__all__ = [
    "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation", "convert_image_dtype",
    "grayscale_to_rgb", "hsv_to_rgb", "image_gradients", "per_image_standardization", "psnr", "random_brightness",
    "random_contrast", "random_hue", "random_saturation", "rgb_to_grayscale", "rgb_to_hsv", "total_variation",
]  # fmt: skip


def _converted(image: Any, dtype: Any, saturate: bool = False) -> Any:
    have = image.dtype
    if have is dtype:
        return image
    if have.is_floating_point and dtype.is_floating_point:
        return image.to(dtype)
    if have.is_floating_point:
        scaled = image * (dtype.max + 0.5)
        return (dg.clamp(scaled, dtype.min, dtype.max) if saturate else scaled).to(dtype)
    if dtype.is_floating_point:
        return image.to(dtype) * (1.0 / have.max)
    if have.max > dtype.max:
        return dg.floor_divide(image, (have.max + 1) // (dtype.max + 1)).to(dtype)
    return image.to(dtype) * ((dtype.max + 1) // (have.max + 1))


@operation("ConvertImage")
def convert_image_dtype(image: Operand, dtype: Any, saturate: bool = False, name: str | None = None) -> Any:
    """The image in another dtype: floats lie in [0, 1], integers between 0 and their greatest number.

    >>> import duograph.graph as tf
    >>> import numpy as np
    >>> with tf.Session() as session:
    ...     session.run(tf.image.convert_image_dtype(np.array([0, 255], np.uint8), tf.float32))
    array([0., 1.], dtype=float32)
    """
    return _converted(image, as_dtype(dtype), saturate)


def _as_floats(image: Any, function: Any) -> Any:
    """What a function of an image of floats gives, in the image's own dtype."""
    kind = image.dtype
    return _converted(function(image if kind.is_floating_point else _converted(image, core.float32)), kind, True)


@operation("AdjustBrightness")
def adjust_brightness(image: Operand, delta: Operand, name: str | None = None) -> Any:
    """The image with `delta` added, on the scale of floats in [0, 1]."""
    return _as_floats(image, lambda x: x + delta)


@operation("AdjustContrast")
def adjust_contrast(images: Operand, contrast_factor: Operand, name: str | None = None) -> Any:
    """The image with the distance of each value to the mean of its channel multiplied."""

    def changed(x: Any) -> Any:
        mean = x.mean([-3, -2], True)
        return (x - mean) * contrast_factor + mean

    return _as_floats(images, changed)


@operation("AdjustGamma")
def adjust_gamma(image: Operand, gamma: Operand = 1, gain: Operand = 1, name: str | None = None) -> Any:
    """gain * image ** gamma, on the scale of floats in [0, 1]."""
    return _as_floats(image, lambda x: x**gamma * gain)


@operation("PerImageStandardization")
def per_image_standardization(image: Operand, name: str | None = None) -> Any:
    """Each image with mean 0 and variance 1; the deviation counts as no less than 1 / sqrt(how many elements it has)."""
    x = image.to(core.float32) if not image.dtype.is_floating_point else image
    if x.ndim < 3:
        raise ShapeError(f"per_image_standardization: the image has {x.ndim} dimensions: expected [N, H, W, C] or [H, W, C]")
    dims = [-3, -2, -1]
    centred = x - x.mean(dims, True)
    count = dg.ones_like(x).sum(dims, True)
    return centred / dg.maximum(dg.sqrt((centred * centred).mean(dims, True)), dg.rsqrt(count))


@operation("RGBToGrayscale")
def rgb_to_grayscale(images: Operand, name: str | None = None) -> Any:
    """How bright each point is to the eye: 0.2989 red + 0.587 green + 0.114 blue.

    Shapes:   [*, 3] → [*, 1]
    """
    _check_channels("rgb_to_grayscale", images, 3)
    weights = dg.tensor([0.2989, 0.587, 0.114])
    return _as_floats(images, lambda x: (x * weights.to(x.dtype)).sum(-1, True))


@operation("GrayscaleToRGB")
def grayscale_to_rgb(images: Operand, name: str | None = None) -> Any:
    """The one channel three times.

    Shapes:   [*, 1] → [*, 3]
    """
    _check_channels("grayscale_to_rgb", images, 1)
    return images.expand([*images.shape[:-1], 3]).clone()


def _check_channels(function: str, image: Any, count: int) -> None:
    if isinstance(image.shape[-1], int) and image.shape[-1] != count:
        raise ShapeError(f"{function}: the image has {image.shape[-1]} channels: expected {count}")


def _hsv(x: Any) -> Any:
    red, green, blue = x.unbind(-1)
    value, least = dg.amax(x, -1), dg.amin(x, -1)
    spread = value - least
    safe = dg.where(spread > 0, spread, 1.0)
    hue = dg.where(
        value == red,
        (green - blue) / safe,
        dg.where(value == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0),
    )
    hue = dg.where(spread > 0, hue / 6.0, 0.0)
    saturation = dg.where(value > 0, spread / dg.where(value > 0, value, 1.0), 0.0)
    return dg.stack([dg.where(hue < 0, hue + 1.0, hue), saturation, value], -1)


def _rgb(x: Any) -> Any:
    hue, saturation, value = x.unbind(-1)
    sides = [dg.clamp((hue * 6.0 - 3.0).abs() - 1.0, 0.0, 1.0)]
    sides += [dg.clamp(2.0 - (hue * 6.0 - middle).abs(), 0.0, 1.0) for middle in (2.0, 4.0)]
    return dg.stack([((side - 1.0) * saturation + 1.0) * value for side in sides], -1)


@operation("RGBToHSV")
def rgb_to_hsv(images: Operand, name: str | None = None) -> Any:
    """Hue, saturation and value of colours, all in [0, 1].

    Shapes:   [*, 3] → [*, 3]
    """
    _check_floats("rgb_to_hsv", images)
    return _hsv(images)


@operation("HSVToRGB")
def hsv_to_rgb(images: Operand, name: str | None = None) -> Any:
    """Colours of hue, saturation and value.

    Shapes:   [*, 3] → [*, 3]
    """
    _check_floats("hsv_to_rgb", images)
    return _rgb(images)


def _check_floats(function: str, image: Any) -> None:
    _check_channels(function, image, 3)
    if not image.dtype.is_floating_point:
        raise DTypeError(f"{function}: the image is {image.dtype.name}, it must be floats", hint="tf.image.convert_image_dtype")


@operation("AdjustHue")
def adjust_hue(image: Operand, delta: Operand, name: str | None = None) -> Any:
    """The image with all hues turned by `delta`, in [-1, 1]."""
    _check_channels("adjust_hue", image, 3)

    def turned(x: Any) -> Any:
        parts = _hsv(x)
        hue = dg.remainder(parts.select(-1, 0) + delta, 1.0)
        return _rgb(dg.stack([hue, parts.select(-1, 1), parts.select(-1, 2)], -1))

    return _as_floats(image, turned)


@operation("AdjustSaturation")
def adjust_saturation(image: Operand, saturation_factor: Operand, name: str | None = None) -> Any:
    """The image with all saturations multiplied, and kept in [0, 1]."""
    _check_channels("adjust_saturation", image, 3)

    def changed(x: Any) -> Any:
        parts = _hsv(x)
        saturation = dg.clamp(parts.select(-1, 1) * saturation_factor, 0.0, 1.0)
        return _rgb(dg.stack([parts.select(-1, 0), saturation, parts.select(-1, 2)], -1))

    return _as_floats(image, changed)


def _between(function: str, lower: float, upper: float, seed: int | None) -> Tensor:
    if lower > upper:
        raise ArgumentError(f"{function}: the lower bound {lower} is above the upper one {upper}")
    return random_uniform([], lower, upper, seed=seed)


def random_brightness(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """`adjust_brightness` by a number drawn from [-max_delta, max_delta)."""
    made: Tensor = adjust_brightness(convert_to_tensor(image), _between("random_brightness", -max_delta, max_delta, seed))
    return made


def random_contrast(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """`adjust_contrast` by a number drawn from [lower, upper)."""
    made: Tensor = adjust_contrast(convert_to_tensor(image), _between("random_contrast", lower, upper, seed))
    return made


def random_hue(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """`adjust_hue` by a number drawn from [-max_delta, max_delta)."""
    made: Tensor = adjust_hue(convert_to_tensor(image), _between("random_hue", -max_delta, max_delta, seed))
    return made


def random_saturation(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """`adjust_saturation` by a number drawn from [lower, upper)."""
    made: Tensor = adjust_saturation(convert_to_tensor(image), _between("random_saturation", lower, upper, seed))
    return made


@operation("TotalVariation")
def total_variation(images: Operand, name: str | None = None) -> Any:
    """The sum of how far neighbours differ, for each image.

    Shapes:   [N, H, W, C] → [N]; [H, W, C] → []
    """
    down = images.narrow(-3, 1, images.shape[-3] - 1) - images.narrow(-3, 0, images.shape[-3] - 1)
    across = images.narrow(-2, 1, images.shape[-2] - 1) - images.narrow(-2, 0, images.shape[-2] - 1)
    return down.abs().sum([-3, -2, -1]) + across.abs().sum([-3, -2, -1])


@operation("PSNR")
def psnr(a: Operand, b: Operand, max_val: float, name: str | None = None) -> Any:
    """The peak ratio of signal to noise of b against a, in decibels, for each image."""
    distance = _converted(a, core.float32) - _converted(b, core.float32)
    top = float(max_val) / (1.0 if a.dtype.is_floating_point else a.dtype.max)
    return 10.0 * dg.log10(top * top / (distance * distance).mean([-3, -2, -1]))


@operation("ImageGradients")
def image_gradients(image: Operand, name: str | None = None) -> Any:
    """(how far each point's lower neighbour differs from it, how far its right one does); 0 at the edges.

    Shapes:   [N, H, W, C] → twice [N, H, W, C]
    """
    down = image.narrow(1, 1, image.shape[1] - 1) - image.narrow(1, 0, image.shape[1] - 1)
    across = image.narrow(2, 1, image.shape[2] - 1) - image.narrow(2, 0, image.shape[2] - 1)
    return dg.nn.functional.pad(down, [0, 0, 0, 0, 0, 1]), dg.nn.functional.pad(across, [0, 0, 0, 1])
