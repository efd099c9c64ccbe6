"""Random tensors. They come from duograph's generator, also where a seed is given: other runtimes' numbers are not repeated."""

from __future__ import annotations

from typing import Any

import duograph as dg

from ..reading import dtype_of
from .definition import Tensor, operator


def _uniform(shape: Any, dtype: Any, low: float, high: float) -> Tensor:
    return (dg.rand(*shape) * (high - low) + low).to(dtype)


def _normal(shape: Any, dtype: Any, mean: float, scale: float) -> Tensor:
    return (dg.randn(*shape) * scale + mean).to(dtype)


def _kind(number: int | None, like: Tensor | None = None) -> Any:
    if number is None and like is not None:
        return like.dtype if like.dtype.is_floating_point else dg.float32
    return dtype_of(1 if number is None else number, "the result")


@operator("RandomUniform")
def random_uniform(*, shape: list[int], dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None) -> Tensor:
    return _uniform(shape, _kind(dtype), low, high)


@operator("RandomUniformLike")
def random_uniform_like(
    x: Tensor, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Tensor:
    return _uniform(x.shape, _kind(dtype, x), low, high)


@operator("RandomNormal")
def random_normal(
    *, shape: list[int], dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Tensor:
    return _normal(shape, _kind(dtype), mean, scale)


@operator("RandomNormalLike")
def random_normal_like(
    x: Tensor, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Tensor:
    return _normal(x.shape, _kind(dtype, x), mean, scale)


@operator("Bernoulli", since=15)
def bernoulli(x: Tensor, *, dtype: int | None = None, seed: float | None = None) -> Tensor:
    return (dg.rand_like(x) < x).to(x.dtype if dtype is None else dtype_of(dtype, "Bernoulli: the result"))


@operator("Multinomial", since=7)
def multinomial(x: Tensor, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Tensor:
    drawn = dg.multinomial(dg.softmax(x, -1), sample_size, replacement=True)
    return drawn.to(dtype_of(dtype, "Multinomial: the result"))
