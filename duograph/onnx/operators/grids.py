"""Images from places that tensors say, and from their windows."""

from __future__ import annotations

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
    pads = pads or [0, 0, 0, 0]
    if len(image_shape) != 2 or pads[:2] != pads[2:]:
        raise NotImplementedError("images of other than two dimensions, and unlike pads, are not known")
    sizes, block = [settled(n) for n in image_shape], [settled(n) for n in block_shape]
    return functional.fold(x, tuple(sizes), tuple(block), tuple(dilations or (1, 1)), tuple(pads[:2]), tuple(strides or (1, 1)))


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
    import duograph as dg

    places, made = indices.reshape(-1), 0
    factor = 1
    for size, new in zip(reversed(pooled), reversed(shape)):
        made = made + (places % size) * factor
        places = dg.div(places, size, rounding_mode="floor")
        factor = factor * new
    return dg.scatter(dg.zeros(factor, dtype=x.dtype), 0, made, x.reshape(-1)).reshape(shape)
