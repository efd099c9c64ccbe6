"""Regions of images and windows that tensors move: values between pixels, by weights of the four around them."""

from __future__ import annotations

from typing import Any

import duograph as dg

from .definition import Tensor, operator


def _corners(y: Tensor, x: Tensor, height: Any, width: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Row, column and weight of the four pixels around each place; the weight is 0 outside of the image."""
    found = []
    low, left = dg.floor(y), dg.floor(x)
    for row in (low, low + 1):
        for column in (left, left + 1):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = (1 - dg.abs(y - row)) * (1 - dg.abs(x - column)) * inside
            places = [dg.clamp(n, 0, size - 1).to(dg.int64) for n, size in ((row, height), (column, width))]
            found.append((places[0], places[1], weight))
    return found


@operator("RoiAlign", since=16)
def roi_align(
    x: Tensor, rois: Tensor, batches: Tensor, *, coordinate_transformation_mode: str = "half_pixel", mode: str = "avg",
    output_height: int = 1, output_width: int = 1, sampling_ratio: int = 0, spatial_scale: float = 1.0,
) -> Tensor:  # fmt: skip
    """[regions, channels, output_height, output_width]"""
    half = coordinate_transformation_mode == "half_pixel"
    edges = rois * spatial_scale - (0.5 if half else 0.0)
    height, width = x.shape[2:]
    y, rows, tall = _samples(edges[:, 1], edges[:, 3], output_height, sampling_ratio, half, height)
    z, columns, wide = _samples(edges[:, 0], edges[:, 2], output_width, sampling_ratio, half, width)
    inside = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(-1)
    pixels, example = x.permute(0, 2, 3, 1), batches.to(dg.int64).reshape(-1, 1, 1)
    corners = [
        pixels[example, row, column] * (weight.unsqueeze(-1) * inside)
        for row, column, weight in _corners(y.unsqueeze(2), z.unsqueeze(1), height, width)
    ]
    shape = (rois.shape[0], output_height, y.shape[1] // output_height, output_width, z.shape[1] // output_width, x.shape[1])
    if mode == "max":
        made = dg.maximum(dg.maximum(corners[0], corners[1]), dg.maximum(corners[2], corners[3]))
        lowest = dg.where(inside, made, dg.finfo(x.dtype).min)
        return lowest.reshape(shape).amax((2, 4)).permute(0, 3, 1, 2)
    total = (corners[0] + corners[1] + corners[2] + corners[3]).reshape(shape).sum((2, 4))
    return (total / (tall * wide).reshape(-1, 1, 1, 1)).permute(0, 3, 1, 2)


def _samples(start: Tensor, end: Tensor, bins: int, ratio: int, half: bool, size: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Places of all samples of each region, [regions, bins * samples], which of them count, and how many a bin has."""
    length = end - start
    length = length if half else dg.clamp(length, 1.0)
    step = length / bins
    counts = dg.full_like(step, float(ratio)) if ratio > 0 else dg.ceil(step)
    most = ratio if ratio > 0 else dg.clamp(counts.amax(), 1.0).to(dg.int64).item()
    counts = counts.reshape(-1, 1, 1)
    inner = dg.arange(most).to(start.dtype)
    places = (inner + 0.5) / dg.clamp(counts, 1.0) + dg.arange(bins).to(start.dtype).reshape(-1, 1)
    places = start.reshape(-1, 1, 1) + places * step.reshape(-1, 1, 1)
    kept = (inner < counts) & (places >= -1.0) & (places <= size)
    count = bins * most
    return (
        dg.clamp(places, 0, size - 1).reshape(-1, count), kept.reshape(-1, count), dg.clamp(counts.reshape(-1), 1.0)
    )  # fmt: skip


@operator("DeformConv", since=19)
def deformable_conv(
    x: Tensor, w: Tensor, offset: Tensor, b: Tensor | None = None, mask: Tensor | None = None, *, dilations: Any = None,
    group: int = 1, kernel_shape: Any = None, offset_group: int = 1, pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    """A convolution each of whose taps is moved by an offset of its own at each place."""
    if x.ndim != 4:
        raise NotImplementedError("images of other than two dimensions are not known")
    (batch, channels, height, width), taps = x.shape, w.shape[2] * w.shape[3]
    strides, dilations, pads = strides or [1, 1], dilations or [1, 1], pads or [0] * 4
    rows, columns = offset.shape[2:]
    moves = offset.reshape(batch, offset_group, w.shape[2], w.shape[3], 2, rows, columns)
    grid = []
    for i, (window, count) in enumerate(zip(w.shape[2:], (rows, columns))):
        tap = (dg.arange(window) * dilations[i] - pads[i]).reshape([(-1, 1, 1, 1), (-1, 1, 1)][i])
        grid.append(tap + (dg.arange(count) * strides[i]).reshape([(-1, 1), (-1,)][i]) + moves[:, :, :, :, i])
    planes = x.reshape(batch, offset_group, channels // offset_group, height * width)
    total: Any = 0
    for row, column, weight in _corners(grid[0], grid[1], height, width):
        places = (row * width + column).reshape(batch, offset_group, 1, -1)
        places = places.expand(batch, offset_group, channels // offset_group, places.shape[-1])
        weight = weight if mask is None else weight * mask.reshape(weight.shape)
        total = total + dg.gather(planes, 3, places) * weight.reshape(batch, offset_group, 1, -1)
    windows = total.reshape(batch, group, channels // group * taps, rows * columns)
    made = dg.matmul(w.reshape(group, w.shape[0] // group, -1), windows).reshape(batch, w.shape[0], rows, columns)
    return made if b is None else made + b.reshape(-1, 1, 1)
