"""Random tensors that are functions of a seed: the same seed gives the same numbers in each run, session and process."""

from __future__ import annotations

import math
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError

from .definition import Numbers, Operand, operation
from .dtypes import as_dtype
from .slicing import as_numbers, counted

__all__ = [
    "stateless_categorical", "stateless_multinomial", "stateless_normal", "stateless_truncated_normal", "stateless_uniform",
]  # fmt: skip

_LOW = 0xFFFFFFFF  # 32 bits of an int64


def _mixed(x: Any) -> Any:
    """32 bits of which each depends on all of x's: O'Neill's permuted congruential step (PCG-RXS-M-XS, 2014)."""
    state = (x * 747796405 + 2891336453) & _LOW
    word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737 & _LOW
    return (word >> 22) ^ word


def _bits(shape: Any, seed: Any, stream: int) -> Any:
    """32 random bits for each element, as int64."""
    if tuple(seed.shape) != (2,):
        raise ShapeError(f"stateless: the seed has shape {tuple(seed.shape)}: expected two integers")
    found = as_numbers(shape)
    sizes = list(found) if isinstance(found, (list, tuple)) else [found]
    count: Any = 1
    for size in sizes:
        count = count * size
    first, second = (_mixed(seed[i].to(core.int64) & _LOW) for i in (0, 1))
    places = counted(count, core.int64)
    return _mixed(_mixed(_mixed(places & _LOW) ^ first) ^ _mixed(second ^ stream)).reshape(sizes)


def _part(shape: Any, seed: Any, stream: int = 0, dtype: Any = core.float32) -> Any:
    """Numbers from [0, 1)."""
    if dtype is core.float64:
        high, low = _bits(shape, seed, stream), _bits(shape, seed, stream + 1)
        return (high.to(dtype) + low.to(dtype) / 2.0**32) / 2.0**32
    return (_bits(shape, seed, stream) >> 8).to(core.float32) / 2.0**24


@operation("StatelessRandomUniform", differentiable=False, called="stateless_random_uniform")
def stateless_uniform(
    shape: Numbers, seed: Operand, minval: Operand = 0, maxval: Operand = None, dtype: Any = core.float32, name: str | None = None
) -> Any:
    """Numbers drawn uniformly from [minval, maxval): floats, or integers, which need maxval.

    Args:
        seed: two integers, or a tensor of them.

    Differs: the numbers are others than TensorFlow's

    >>> import duograph.graph as tf
    >>> draw = tf.random.stateless_uniform([2], seed=[1, 2])
    >>> first, again = [tf.Session().run(draw) for _ in range(2)]
    >>> bool((first == again).all())
    True
    """
    kind = as_dtype(dtype)
    if maxval is None and not kind.is_floating_point:
        raise ArgumentError(f"stateless_uniform: maxval is missing, which {kind.name} needs")
    width = (1 if maxval is None else maxval) - minval
    part = _part(shape, seed, 0, core.float64 if not kind.is_floating_point else kind)
    scaled = part * width
    return (dg.floor(scaled) if not kind.is_floating_point else scaled).to(kind) + minval


@operation("StatelessRandomNormal", differentiable=False, called="stateless_random_normal")
def stateless_normal(
    shape: Numbers, seed: Operand, mean: Operand = 0.0, stddev: Operand = 1.0, dtype: Any = core.float32, name: str | None = None
) -> Any:
    """Numbers from a normal distribution, by Box and Muller's transform."""
    kind = as_dtype(dtype)
    inner = core.float64 if kind is core.float64 else core.float32
    radius = dg.sqrt(-2.0 * dg.log(1.0 - _part(shape, seed, 0, inner)))
    return (radius * dg.cos(2.0 * math.pi * _part(shape, seed, 2, inner)) * stddev + mean).to(kind)


@operation("StatelessTruncatedNormal", differentiable=False, called="stateless_truncated_normal")
def stateless_truncated_normal(
    shape: Numbers, seed: Operand, mean: Operand = 0.0, stddev: Operand = 1.0, dtype: Any = core.float32, name: str | None = None
) -> Any:
    """Numbers from a normal distribution, of which none lies further than two standard deviations from the mean."""
    kind = as_dtype(dtype)
    part = _part(shape, seed, 0, core.float64 if kind is core.float64 else core.float32)
    drawn = dg.erfinv((part * 2.0 - 1.0) * math.erf(math.sqrt(2.0))) * math.sqrt(2.0)
    return (dg.clamp(drawn, -2.0, 2.0) * stddev + mean).to(kind)


@operation("StatelessMultinomial", differentiable=False, called="stateless_multinomial")
def stateless_multinomial(
    logits: Operand, num_samples: int, seed: Operand, output_dtype: Any = core.int64, name: str | None = None
) -> Any:
    """Classes drawn with the probabilities softmax(logits).

    Shapes:   logits [N, C] → [N, num_samples]
    """
    if logits.ndim != 2:
        raise ShapeError(f"stateless_multinomial: logits have {logits.ndim} dimensions: expected [rows, classes]")
    edges = dg.cumsum(dg.softmax(logits, -1), -1)
    drawn = _part([logits.shape[0], num_samples], seed)
    below = (edges.unsqueeze(1) <= drawn.to(edges.dtype).unsqueeze(-1)).to(core.int64).sum(-1)
    return dg.clamp(below, max=logits.shape[1] - 1).to(as_dtype(output_dtype))


stateless_categorical = stateless_multinomial
