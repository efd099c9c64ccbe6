"""Layers of networks: convolutions, pooling, normalisation, dropout."""

from __future__ import annotations

import math
from typing import Any

import duograph as dg
from duograph.nn import functional

from .definition import Tensor, operator

_CONV = (None, dg.conv1d, dg.conv2d, dg.conv3d)
_TRANSPOSED = (None, dg.conv_transpose1d, dg.conv_transpose2d, dg.conv_transpose3d)
_MAX = (None, dg.max_pool1d, dg.max_pool2d, dg.max_pool3d)


def _padding(x: Tensor, kernel: Any, strides: Any, pads: Any, dilations: Any, auto_pad: str) -> tuple[list[Any], list[Any]]:
    """How much is added before and after each dimension of an image."""
    rank = len(kernel)
    if auto_pad in ("NOTSET", ""):
        pads = pads or [0] * 2 * rank
        return list(pads[:rank]), list(pads[rank:])
    if auto_pad == "VALID":
        return [0] * rank, [0] * rank
    before, after = [], []
    for size, window, stride, dilation in zip(x.shape[2:], kernel, strides, dilations):
        count = -(-size // stride)
        total = max((count - 1) * stride + dilation * (window - 1) + 1 - size, 0)
        less = total // 2
        before.append(less if auto_pad == "SAME_UPPER" else total - less)
        after.append(total - less if auto_pad == "SAME_UPPER" else less)
    return before, after


def _padded(x: Tensor, before: Any, after: Any, value: float = 0.0) -> Tensor:
    amounts = [amount for pair in zip(reversed(before), reversed(after)) for amount in pair]
    return functional.pad(x, amounts, value=value) if any(type(a) is not int or a for a in amounts) else x


@operator("Conv", since=1)
def conv(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1,
    kernel_shape: Any = None, pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    rank = w.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    before, after = _padding(x, w.shape[2:], strides, pads, dilations, auto_pad)
    if before != after:
        x, before = _padded(x, before, after), [0] * rank
    function = _CONV[rank]
    assert function is not None
    return function(x, w, b, tuple(strides), tuple(before), tuple(dilations), group)


@operator("ConvTranspose", since=1)
def conv_transpose(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1,
    kernel_shape: Any = None, output_padding: Any = None, output_shape: Any = None, pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    rank = w.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    extra = list(output_padding or [0] * rank)
    full = [s * (n - 1) + d * (k - 1) + 1 for s, n, d, k in zip(strides, x.shape[2:], dilations, w.shape[2:])]
    before, after = list((pads or [0] * 2 * rank)[:rank]), list((pads or [0] * 2 * rank)[rank:])
    if output_shape is not None or auto_pad.startswith("SAME"):
        sizes = output_shape[-rank:] if output_shape is not None else [n * s for n, s in zip(x.shape[2:], strides)]
        for i, size in enumerate(sizes):
            total = max(full[i] + extra[i] - size, 0)
            extra[i] = max(extra[i], size - full[i])
            before[i] = total - total // 2 if auto_pad != "SAME_UPPER" else total // 2
            after[i] = total - before[i]
    function = _TRANSPOSED[rank]
    assert function is not None
    if before == after and all(e < max(s, d) for e, s, d in zip(extra, strides, dilations)):
        return function(x, w, b, tuple(strides), tuple(before), tuple(extra), group, tuple(dilations))
    made = _padded(function(x, w, None, tuple(strides), 0, 0, group, tuple(dilations)), [0] * rank, extra)
    kept = [slice(low, size + e - high) for low, high, size, e in zip(before, after, full, extra)]
    made = made[(slice(None), slice(None), *kept)]
    return made if b is None else made + b.reshape(-1, *[1] * rank)


# ---- pooling


def _ends(x: Tensor, kernel: Any, strides: Any, before: Any, after: Any, dilations: Any) -> list[Any]:
    """What is missing at the end of each dimension for the last window that starts inside, when counts are rounded up."""
    missing = []
    for size, window, stride, low, high, dilation in zip(x.shape[2:], kernel, strides, before, after, dilations):
        reach = dilation * (window - 1) + 1
        count = -(-(size + low + high - reach) // stride) + 1
        if (count - 1) * stride >= size + low:
            count -= 1
        missing.append(max((count - 1) * stride + reach - size - low - high, 0))
    return missing


@operator("MaxPool", since=1)
def max_pool(
    x: Tensor, *, kernel_shape: Any, auto_pad: str = "NOTSET", ceil_mode: int = 0, dilations: Any = None, pads: Any = None,
    storage_order: int = 0, strides: Any = None, outputs: int = 1,
) -> Any:  # fmt: skip
    rank = len(kernel_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    before, after = _padding(x, kernel_shape, strides, pads, dilations, auto_pad)
    function = _MAX[rank]
    assert function is not None
    if before == after and all(2 * p <= k for p, k in zip(before, kernel_shape)) and (outputs == 1 or storage_order == 0):
        made = function(
            x, tuple(kernel_shape), tuple(strides), tuple(before), tuple(dilations), bool(ceil_mode), return_indices=outputs > 1
        )
        return made if outputs == 1 else (made[0], _counted_from_start(made[1], x))
    more = _ends(x, kernel_shape, strides, before, after, dilations) if ceil_mode else [0] * rank
    lowest = -math.inf if x.dtype.is_floating_point else dg.iinfo(x.dtype).min
    wide = _padded(x, before, [a + m for a, m in zip(after, more)], lowest)
    made = function(wide, tuple(kernel_shape), tuple(strides), 0, tuple(dilations), return_indices=outputs > 1)
    if outputs == 1:
        return made
    return made[0], _counted_from_start(_in_original(made[1], wide.shape[2:], x.shape[2:], before, storage_order), x)


def _in_original(places: Tensor, wide: Any, sizes: Any, before: Any, storage_order: int) -> Tensor:
    """Places in padded planes as places in planes without padding."""
    coordinates = []
    for size, low in zip(reversed(wide), reversed(before)):
        coordinates.append(places % size - low)
        places = dg.div(places, size, rounding_mode="floor")
    made: Any = 0
    pairs = list(zip(sizes, reversed(coordinates)))
    for size, coordinate in reversed(pairs) if storage_order else pairs:
        made = made * size + coordinate
    return made


def _counted_from_start(places: Tensor, x: Tensor) -> Tensor:
    """Places in each plane as places in the whole tensor."""
    plane = 1
    for size in x.shape[2:]:
        plane = plane * size
    planes = dg.arange(x.shape[0] * x.shape[1]).reshape(x.shape[0], x.shape[1], *[1] * (x.ndim - 2))
    return places + planes * plane


def _window_sums(x: Tensor, kernel: Any, strides: Any, dilations: Any) -> Tensor:
    channels = x.shape[1]
    function = _CONV[len(kernel)]
    assert function is not None
    ones = dg.ones(channels, 1, *kernel, dtype=x.dtype)
    return function(x, ones, None, tuple(strides), 0, tuple(dilations), channels)


@operator("AveragePool", since=1)
def average_pool(
    x: Tensor, *, kernel_shape: Any, auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0,
    dilations: Any = None, pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    rank = len(kernel_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    before, after = _padding(x, kernel_shape, strides, pads, dilations, auto_pad)
    plain = before == after and all(d == 1 for d in dilations) and all(2 * p <= k for p, k in zip(before, kernel_shape))
    if plain and rank == 2:
        return functional.avg_pool2d(
            x,
            tuple(kernel_shape),
            tuple(strides),
            tuple(before),
            ceil_mode=bool(ceil_mode),
            count_include_pad=bool(count_include_pad),
        )
    more = _ends(x, kernel_shape, strides, before, after, dilations) if ceil_mode else [0] * rank
    none = [0] * rank
    counted = dg.ones(1, 1, *x.shape[2:], dtype=x.dtype)
    counted = _padded(_padded(counted, before, after, float(bool(count_include_pad))), none, more)
    sums = _window_sums(_padded(_padded(x, before, after), none, more), kernel_shape, strides, dilations)
    return sums / _window_sums(counted, kernel_shape, strides, dilations)


@operator("LpPool", since=2)
def lp_pool(
    x: Tensor, *, kernel_shape: Any, auto_pad: str = "NOTSET", ceil_mode: int = 0, dilations: Any = None, p: int = 2,
    pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    rank = len(kernel_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    before, after = _padding(x, kernel_shape, strides, pads, dilations, auto_pad)
    more = _ends(x, kernel_shape, strides, before, after, dilations) if ceil_mode else [0] * rank
    wide = _padded(x.abs() ** p, before, [a + m for a, m in zip(after, more)])
    return _window_sums(wide, kernel_shape, strides, dilations) ** (1.0 / p)


@operator("GlobalAveragePool", since=1)
def global_average_pool(x: Tensor) -> Tensor:
    return dg.mean(x, tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool", since=1)
def global_max_pool(x: Tensor) -> Tensor:
    return dg.amax(x, tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalLpPool", since=2)
def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    return dg.sum(x.abs() ** p, tuple(range(2, x.ndim)), keepdim=True) ** (1.0 / p)


# ---- normalisation


@operator("BatchNormalization", since=7)
def batch_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *, epsilon: float = 1e-5, momentum: float = 0.9,
    spatial: int = 1, training_mode: int = 0, outputs: int = 1,
) -> Any:  # fmt: skip
    if not training_mode:
        made = dg.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)
        return (made, mean, var, mean, var)[:outputs] if outputs > 1 else made
    dims = [0, *range(2, x.ndim)]
    now, spread = dg.mean(x, dims), dg.var(x, dims, correction=0)
    made = dg.batch_norm(x, None, None, scale, bias, True, 0.0, epsilon)
    return made, mean * momentum + now * (1 - momentum), var * momentum + spread * (1 - momentum)


@operator("BatchNormalization", since=1, until=6)
def batch_normalization_of_old(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *, epsilon: float = 1e-5, is_test: int = 0,
    momentum: float = 0.9, spatial: int = 1, outputs: int = 1,
) -> Any:  # fmt: skip
    return batch_normalization(x, scale, bias, mean, var, epsilon=epsilon, outputs=outputs)


@operator("InstanceNormalization", since=1)
def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return dg.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


@operator("GroupNormalization", since=21)
def group_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    return dg.group_norm(x, num_groups, scale, bias, epsilon)


@operator("LayerNormalization", since=17)
def layer_normalization(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1,
    outputs: int = 1,
) -> Any:  # fmt: skip
    axis %= x.ndim
    shape = tuple(x.shape[axis:])
    plain = scale.ndim == len(shape) and (bias is None or bias.ndim == len(shape))
    made = (
        functional.layer_norm(x, shape, scale, bias, epsilon) if plain else functional.layer_norm(x, shape, eps=epsilon) * scale
    )
    made = made if plain or bias is None else made + bias
    if outputs == 1:
        return made
    dims = list(range(axis, x.ndim))
    wide = x.to(dg.float32) if stash_type == 1 else x
    mean, var = dg.mean(wide, dims, keepdim=True), dg.var(wide, dims, correction=0, keepdim=True)
    return made, mean, 1 / dg.sqrt(var + epsilon)


@operator("RMSNormalization", since=23)
def rms_normalization(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    axis %= x.ndim
    if scale.ndim == x.ndim - axis:
        return functional.rms_norm(x, tuple(x.shape[axis:]), scale, epsilon)
    return functional.rms_norm(x, tuple(x.shape[axis:]), None, epsilon) * scale


@operator("LRN", since=1)
def local_response(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    return dg.local_response_norm(x, size, alpha, beta, bias)


@operator("Dropout", since=12)
def dropout(x: Tensor, ratio: Any = None, training: Any = None, *, seed: int = 0, outputs: int = 1) -> Any:
    on = training is not None and bool(training.item() if isinstance(training, dg.Tensor) else training.reshape(-1)[0])
    share = 0.5 if ratio is None else float(ratio.item() if isinstance(ratio, dg.Tensor) else ratio.reshape(-1)[0])
    if not on or share == 0.0:
        return x if outputs == 1 else (x, dg.ones_like(x, dtype=dg.bool))
    kept = dg.rand_like(x) >= share
    made = dg.where(kept, x / (1 - share), dg.zeros_like(x))
    return made if outputs == 1 else (made, kept)


@operator("Dropout", since=1, until=11)
def dropout_of_old(x: Tensor, *, is_test: int = 0, ratio: float = 0.5, outputs: int = 1) -> Any:
    return x if outputs == 1 else (x, dg.ones_like(x, dtype=dg.bool))
