"""Resize: images of another size."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import duograph as dg
from duograph.nn import functional
from duograph.ops.room import require_room

from .definition import Tensor, operator
from .known import settled


class Way(NamedTuple):
    """How Resize finds a value: the attributes that say so."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude: bool
    antialias: bool
    extrapolation: float


class Axis(NamedTuple):
    """One dimension: its size, the new one, their ratio, and the part of the image that is looked at."""

    size: int
    new: int
    scale: float
    part: tuple[float, float]


@operator("Resize", since=11)
def resize(
    x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None, *, antialias: int = 0, axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel", cubic_coeff_a: float = -0.75, exclude_outside: int = 0,
    extrapolation_value: float = 0.0, keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:  # fmt: skip
    chosen = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
    old = [settled(x.shape[axis]) for axis in chosen]
    part = _numbers(roi) or [0.0] * len(chosen) + [1.0] * len(chosen)
    ratios = _numbers(scales)
    if not ratios:
        asked = [settled(size) for size in _numbers(sizes)]
        if keep_aspect_ratio_policy == "stretch":
            new, ratios = asked, [a / b for a, b in zip(asked, old)]
        else:
            ratio = (min if keep_aspect_ratio_policy == "not_larger" else max)(a / b for a, b in zip(asked, old))
            new, ratios = [math.floor(ratio * b + 0.5) for b in old], [ratio] * len(old)
    else:
        new = [math.floor(a * b) for a, b in zip(ratios, old)]
    way = Way(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias),
        extrapolation_value,
    )
    require_room("Resize", [*new, *(size for axis, size in enumerate(x.shape) if axis not in chosen)], x.dtype)
    made = [Axis(*row) for row in zip(old, new, ratios, zip(part[: len(chosen)], part[len(chosen) :]))]
    return _plain(x, chosen, made, way) if _is_plain(x, chosen, made, way) else _by_axes(x, chosen, made, way)


@operator("Resize", since=10, until=10)
def resize_of_old(x: Tensor, scales: Any, *, mode: str = "nearest") -> Tensor:
    return resize(x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


@operator("Upsample", since=9, until=9)
def upsample(x: Tensor, scales: Any, *, mode: str = "nearest") -> Tensor:
    return resize_of_old(x, scales, mode=mode)


@operator("Upsample", since=7, until=8)
def upsample_by_attribute(x: Tensor, *, scales: list[float], mode: str = "nearest") -> Tensor:
    return resize_of_old(x, np.array(scales), mode=mode)


def _numbers(value: Any) -> list[Any]:
    if value is None:
        return []
    found: list[Any] = value.tolist()
    return found


def _is_plain(x: Tensor, chosen: list[int], axes: list[Axis], way: Way) -> bool:
    """Whether it is what `interpolate` does: four dimensions, of which the last two change."""
    changed = [axis for axis, about in zip(chosen, axes) if about.size != about.new]
    exact = all(about.size * about.scale == about.new for about in axes)
    if x.ndim != 4 or not x.dtype.is_floating_point or min(changed, default=2) < 2 or not exact or way.antialias or way.exclude:
        return False
    if way.mode == "nearest":
        return way.coordinates == "asymmetric" and way.nearest == "floor"
    fits = way.coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners") and all(about.new > 1 for about in axes[-2:])
    return fits and (way.mode == "linear" or way.cubic == -0.75)


def _plain(x: Tensor, chosen: list[int], axes: list[Axis], way: Way) -> Tensor:
    sizes = [x.shape[2], x.shape[3]]
    for axis, about in zip(chosen, axes):
        if axis >= 2:
            sizes[axis - 2] = about.new
    if way.mode == "nearest":
        return functional.interpolate(x, sizes, mode="nearest")
    mode = "bilinear" if way.mode == "linear" else "bicubic"
    return functional.interpolate(x, sizes, mode=mode, align_corners=way.coordinates == "align_corners")


def _by_axes(x: Tensor, chosen: list[int], axes: list[Axis], way: Way) -> Tensor:
    """One dimension after the other: a choice of elements, or a product with a matrix of weights."""
    outside = []
    for axis, about in zip(chosen, axes):
        if about.size == about.new and about.scale == 1 and way.coordinates != "tf_crop_and_resize":
            continue
        places = _places(about, way)
        if way.coordinates == "tf_crop_and_resize":
            outside.append((axis, (places < 0) | (places > about.size - 1)))
        if way.mode == "nearest":
            x = dg.index_select(x, axis, dg.from_numpy(_nearest(places, about.size, way.nearest)))
            continue
        weights = dg.from_numpy(_weights(places, about, way).astype(np.float32)).to(x.dtype)
        x = dg.matmul(x.movedim(axis, -1), weights.t()).movedim(-1, axis)
    for axis, mask in outside:
        if mask.any():
            shape = [-1 if i == axis else 1 for i in range(x.ndim)]
            x = dg.where(dg.from_numpy(mask).reshape(shape), dg.full_like(x, way.extrapolation), x)
    return x


def _places(about: Axis, way: Way) -> Any:
    """Where in the image the new elements lie."""
    at = np.arange(about.new, dtype=np.float64)
    size, new, scale, (start, end) = about
    if way.coordinates == "align_corners":
        return at * (size - 1) / (scale * size - 1) if new > 1 else at * 0
    if way.coordinates == "asymmetric":
        return at / scale
    if way.coordinates == "tf_crop_and_resize":
        if new > 1:
            return start * (size - 1) + at * (end - start) * (size - 1) / (new - 1)
        return at * 0 + 0.5 * (start + end) * (size - 1)
    if way.coordinates == "pytorch_half_pixel" and new <= 1:
        return at * 0 - 0.5
    offset = size / 2 * (1 - new / (scale * size)) if way.coordinates == "half_pixel_symmetric" else 0.0
    return offset + (at + 0.5) / scale - 0.5


def _nearest(places: Any, size: int, mode: str) -> Any:
    if mode == "floor":
        found = np.floor(places)
    elif mode == "ceil":
        found = np.ceil(places)
    else:
        found = np.ceil(places - 0.5) if mode == "round_prefer_floor" else np.floor(places + 0.5)
    return np.clip(found, 0, size - 1).astype(np.int64)


def _weights(places: Any, about: Axis, way: Way) -> Any:
    """How much of each element goes into each new one."""
    reach = 1 if way.mode == "linear" else 2
    scale = min(about.scale, 1.0) if way.antialias else 1.0
    start = math.floor(-reach / scale) + 1
    made = np.zeros((about.new, about.size))
    for row, place in enumerate(places):
        taps = np.floor(place) + np.arange(start, 2 - start)
        share = _kernel((taps - place) * scale, way)
        if way.exclude:
            share = np.where((taps < 0) | (taps > about.size - 1), 0.0, share)
        if way.antialias or way.exclude:
            share = share / share.sum()
        np.add.at(made[row], np.clip(taps, 0, about.size - 1).astype(int), share)
    return made


def _kernel(x: Any, way: Way) -> Any:
    x = np.abs(x)
    if way.mode == "linear":
        return np.clip(1 - x, 0, 1)
    a = way.cubic
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
