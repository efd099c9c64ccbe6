"""Images from places that tensors say, and from their windows."""

from __future__ import annotations

import math
from typing import Any

import duograph as dg
from duograph.nn import functional

from .definition import Numbers, Tensor, operator
from .known import settled

_MODES = {"linear": "bilinear", "cubic": "bicubic"}


@operator("GridSample", since=16)
def grid_sample(x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros") -> Tensor:
    return functional.grid_sample(x, grid, _MODES.get(mode, mode), padding_mode, bool(align_corners))


@operator("Col2Im", since=18)
def column_to_image(
    x: Tensor, image_shape: Numbers, block_shape: Numbers, *, dilations: list[int] | None = None, pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:  # fmt: skip
    rank = len(image_shape)
    pads = pads or [0] * 2 * rank
    if rank != 2 or pads[:2] != pads[2:]:
        return _folded(x, list(image_shape), list(block_shape), dilations or [1] * rank, pads, strides or [1] * rank)
    sizes, block = [settled(n) for n in image_shape], [settled(n) for n in block_shape]
    return functional.fold(x, tuple(sizes), tuple(block), tuple(dilations or (1, 1)), tuple(pads[:2]), tuple(strides or (1, 1)))


def _folded(x: Tensor, sizes: list[int], block: list[int], dilations: Any, pads: Any, strides: Any) -> Tensor:
    """Blocks added up where they lie in the image with its margins, which is then cut to size."""
    rank = len(sizes)
    wide = [size + pads[i] + pads[i + rank] for i, size in enumerate(sizes)]
    places: Any = 0
    for i, size in enumerate(wide):
        count = (size - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        shape = [1] * 2 * rank
        shape[i], shape[i + rank] = block[i], count
        along = dg.arange(block[i]).reshape(-1, 1) * dilations[i] + dg.arange(count) * strides[i]
        places = places * size + along.reshape(shape)
    places, taps = places.reshape(1, 1, -1), math.prod(block)
    parts = x.reshape(x.shape[0], x.shape[1] // taps, -1)
    image = dg.zeros(*parts.shape[:2], math.prod(wide), dtype=x.dtype)
    made = dg.scatter_add(image, 2, places.expand(*parts.shape), parts).reshape(*parts.shape[:2], *wide)
    return made[(slice(None), slice(None), *[slice(pads[i], pads[i] + size) for i, size in enumerate(sizes)])]


@operator("MaxUnpool", since=9)
def max_unpool(
    x: Tensor, indices: Tensor, output_shape: Numbers | None = None, *, kernel_shape: list[int], pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:  # fmt: skip
    """Each element at the place that it was pooled from; places are counted in the whole result."""
    rank = len(kernel_shape)
    strides, pads = strides or [1] * rank, pads or [0] * 2 * rank
    if output_shape is None:
        sizes = [
            (n - 1) * s + k - pads[i] - pads[i + rank] for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape))
        ]
    else:
        sizes = list(output_shape[2:])
    inner = [(n - 1) * s + k - pads[i] - pads[i + rank] for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape))]
    shape, pooled = [x.shape[0], x.shape[1], *sizes], [x.shape[0], x.shape[1], *inner]
    return _spread(x, indices, pooled, shape)


def _spread(x: Tensor, indices: Tensor, pooled: list[int], shape: list[int]) -> Tensor:
    places, made = indices.reshape(-1), 0
    factor = 1
    for size, new in zip(reversed(pooled), reversed(shape)):
        made = made + (places % size) * factor
        places = dg.div(places, size, rounding_mode="floor")
        factor = factor * new
    return dg.scatter(dg.zeros(factor, dtype=x.dtype), 0, made, x.reshape(-1)).reshape(shape)
