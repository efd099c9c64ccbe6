"""Means and variances, and what is normalised by them."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError
from duograph.nn import functional as F

from ..definition import Operand, operation
from ..elements import Tensor
from .windows import channels_first, from_first, to_first

__all__ = [
    "batch_norm_with_global_normalization",
    "batch_normalization",
    "fused_batch_norm",
    "l2_normalize",
    "local_response_normalization",
    "lrn",
    "moments",
    "normalize_moments",
    "sufficient_statistics",
    "weighted_moments",
]


@operation("L2Normalize", aliases={"dim": "axis"}, called="l2_normalize")
def l2_normalize(x: Operand, axis: Any = None, epsilon: float = 1e-12, name: str | None = None) -> Any:
    """x / sqrt(max(sum(x²), epsilon)), with the sum along `axis`: a number, several, or None for all."""
    squares = (x * x).sum(axis, keepdim=True) if axis is not None else (x * x).sum()
    return x * dg.rsqrt(dg.clamp_min(squares, epsilon))


@operation("Moments", aliases={"keep_dims": "keepdims"})
def _moments(x: Operand, axes: Any, keepdims: bool, name: str | None = None) -> Any:
    wide = x.to(core.float32) if x.dtype in (core.float16, core.bfloat16) else x
    variance, mean = dg.var_mean(wide, axes, correction=0, keepdim=keepdims)
    return mean.to(x.dtype), variance.to(x.dtype)


def moments(
    x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: bool | None = None, keepdims: bool | None = None
) -> tuple[Tensor, Tensor]:
    """The mean and the variance along `axes`; the variance is divided by the count, not by one less.

    >>> import duograph.graph as tf
    >>> mean, variance = tf.nn.moments(tf.constant([1.0, 3.0]), [0])
    >>> with tf.Session() as session:
    ...     session.run([mean, variance])
    [np.float32(2.0), np.float32(1.0)]
    """
    found: tuple[Tensor, Tensor] = _moments(x, _list(axes), bool(keep_dims or keepdims), name or "moments")
    return found


def _list(axes: Any) -> list[int]:
    return [axes] if isinstance(axes, int) else [int(axis) for axis in axes]


@operation("WeightedMoments")
def _weighted_moments(x: Operand, frequency_weights: Operand, axes: Any, keepdims: bool, name: str | None = None) -> Any:
    weights = dg.broadcast_to(dg.as_tensor(frequency_weights, dtype=x.dtype), x.shape)
    count = weights.sum(axes, keepdim=True)
    mean = (weights * x).sum(axes, keepdim=True) / count
    variance = (weights * (x - mean) ** 2).sum(axes, keepdim=True) / count
    return (mean, variance) if keepdims else (mean.squeeze(tuple(axes)), variance.squeeze(tuple(axes)))


def weighted_moments(
    x: Any,
    axes: Any,
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The mean and the variance along `axes`, where each element counts as often as `frequency_weights` say.

    Shapes:   frequency_weights is stretched to the shape of x
    """
    keep = bool(keep_dims or keepdims)
    found: tuple[Tensor, Tensor] = _weighted_moments(x, frequency_weights, _list(axes), keep, name or "weighted_moments")
    return found


@operation("SufficientStatistics")
def _sums(x: Operand, shift: Operand, axes: Any, keepdims: bool, name: str | None = None) -> Any:
    shifted = x if shift is None else x - shift
    count = 1
    for axis in axes:
        count = count * x.shape[axis]
    counted = dg.as_tensor(count).to(x.dtype)
    return counted, shifted.sum(axes, keepdim=keepdims), (shifted * shifted).sum(axes, keepdim=keepdims)


def sufficient_statistics(
    x: Any, axes: Any, shift: Any = None, keep_dims: bool | None = None, name: str | None = None, keepdims: bool | None = None
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """(count, sum of x - shift, sum of its squares, shift): from which `normalize_moments` makes mean and variance."""
    count, total, squares = _sums(x, shift, _list(axes), bool(keep_dims or keepdims), name or "sufficient_statistics")
    return count, total, squares, shift


@operation("NormalizeMoments")
def normalize_moments(counts: Operand, mean_ss: Operand, variance_ss: Operand, shift: Operand, name: str | None = None) -> Any:
    """(mean, variance) of what `sufficient_statistics` gives."""
    shifted = mean_ss / counts
    variance = variance_ss / counts - shifted * shifted
    return (shifted if shift is None else shifted + shift), variance


@operation("BatchNormalization")
def batch_normalization(
    x: Operand,
    mean: Operand,
    variance: Operand,
    offset: Operand,
    scale: Operand,
    variance_epsilon: Operand = 0.001,
    name: str | None = None,
) -> Any:
    """(x - mean) / sqrt(variance + variance_epsilon) * scale + offset; offset and scale may be None.

    Shapes:   mean, variance, offset and scale are stretched to the shape of x
    """
    factor = dg.rsqrt(variance + variance_epsilon)
    factor = factor if scale is None else factor * scale
    return x * factor + (-mean * factor if offset is None else offset - mean * factor)


def batch_norm_with_global_normalization(
    t: Any = None,
    m: Any = None,
    v: Any = None,
    beta: Any = None,
    gamma: Any = None,
    variance_epsilon: Any = None,
    scale_after_normalization: bool | None = None,
    name: str | None = None,
    input: Any = None,
    mean: Any = None,
    variance: Any = None,
) -> Tensor:
    """`batch_normalization` under its older name."""
    x, centre, spread = (old if new is None else new for old, new in ((t, input), (m, mean), (v, variance)))
    made: Tensor = batch_normalization(
        x, centre, spread, beta, gamma if scale_after_normalization else None, variance_epsilon, name or "batchnorm"
    )
    return made


@operation("FusedBatchNorm")
def _by_batch(x: Operand, scale: Operand, offset: Operand, epsilon: float, data_format: str, name: str | None = None) -> Any:
    images = to_first(x, data_format)
    mean, variance = (dg.zeros([int(images.shape[1])], dtype=scale.dtype) for _ in range(2))
    made = F.batch_norm(images, mean, variance, scale, offset, True, 1.0, epsilon)  # a momentum of 1 keeps the batch's alone
    return from_first(made, data_format), mean, variance


@operation("FusedBatchNormInference")
def _by_given(
    x: Operand,
    scale: Operand,
    offset: Operand,
    mean: Operand,
    variance: Operand,
    epsilon: float,
    data_format: str,
    name: str | None = None,
) -> Any:
    return from_first(F.batch_norm(to_first(x, data_format), mean, variance, scale, offset, False, 0.0, epsilon), data_format)


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 0.001,
    data_format: str = "NHWC",
    is_training: bool = True,
    name: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation of images: (normalised images, mean, variance).

    Args:
        mean, variance: what is normalised by where `is_training` is False; where it is True, they are the batch's, and left out.

    Shapes:   x [N, H, W, C], the others [C]
    Gradient: of the first result

    The variance that is given back has been divided by one less than the count, the one that normalises by the count.

    Differs:  in training, channels of a single element are a ShapeError
    """
    channels_first(data_format)
    if is_training:
        if mean is not None or variance is not None:
            raise ArgumentError("fused_batch_norm: mean and variance are the batch's when is_training=True: leave them out")
        found: tuple[Tensor, Tensor, Tensor] = _by_batch(x, scale, offset, epsilon, data_format, name or "FusedBatchNorm")
        return found
    if mean is None or variance is None:
        raise ArgumentError("fused_batch_norm: mean or variance is missing", hint="with is_training=False both are given")
    return _by_given(x, scale, offset, mean, variance, epsilon, data_format, name or "FusedBatchNorm"), mean, variance


@operation("LRN")
def local_response_normalization(
    input: Operand,
    depth_radius: int = 5,
    bias: Operand = 1.0,
    alpha: Operand = 1.0,
    beta: Operand = 0.5,
    name: str | None = None,
) -> Any:
    """input / (bias + alpha * sum of the squares of 2 * depth_radius + 1 channels)^beta, with channels last.

    Source:   Krizhevsky et al., 2012
    """
    size = 2 * depth_radius + 1
    return from_first(F.local_response_norm(to_first(input, None), size, alpha * size, beta, bias), None)


lrn = local_response_normalization
