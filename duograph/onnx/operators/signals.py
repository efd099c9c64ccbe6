"""Spectra of signals, and weights for them. A transform is a product with the matrix of its waves."""

from __future__ import annotations

import math
from typing import Any

import duograph as dg
from duograph.nn import functional

from ..reading import dtype_of
from .definition import Number, Tensor, operator
from .known import settled


@operator("DFT", since=20)
def fourier(
    x: Tensor, length: Number | None = None, axis: Number | None = None, *, inverse: int = 0, onesided: int = 0
) -> Tensor:
    return _transformed(x, length, settled(axis) if axis is not None else -2, inverse, onesided)


@operator("DFT", since=17, until=19)
def fourier_by_attribute(
    x: Tensor, length: Number | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Tensor:
    return _transformed(x, length, axis, inverse, onesided)


def _transformed(x: Tensor, length: Any, axis: int, inverse: int, onesided: int) -> Tensor:
    """The spectrum along an axis; the last one has real parts, and imaginary ones if there are any."""
    axis %= x.ndim
    real, imaginary = x[..., 0].movedim(axis, -1), x[..., 1].movedim(axis, -1) if x.shape[-1] == 2 else None
    half = onesided and inverse
    count = length if length is not None else 2 * (x.shape[axis] - 1) if half else x.shape[axis]
    parts = [None if part is None else _fitted(part, count // 2 + 1 if half else count) for part in (real, imaginary)]
    made = _from_half(parts[0], parts[1], count) if half else _spectrum(parts[0], parts[1], count, inverse, onesided)
    return dg.stack([part.movedim(-1, axis) for part in made], -1)


def _fitted(x: Tensor, count: Any) -> Tensor:
    """As many values along the last axis: cut off, or zeros added."""
    size = x.shape[-1]
    if size > count:
        return dg.narrow(x, -1, 0, count)
    return x if size == count else functional.pad(x, (0, count - size))


def _waves(rows: Any, columns: Any, count: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [rows, columns], of waves that repeat after `count`."""
    turns = dg.arange(rows).reshape(-1, 1) * dg.arange(columns) % count
    angles = turns.to(dg.float64) * (2 * math.pi / count)
    return dg.cos(angles).to(like.dtype), dg.sin(angles).to(like.dtype)


def _spectrum(real: Any, imaginary: Any, count: Any, inverse: int, onesided: int) -> list[Tensor]:
    cosines, sines = _waves(count, count // 2 + 1 if onesided else count, count, real)
    sines = -sines if inverse else sines
    first, second = dg.matmul(real, cosines), -dg.matmul(real, sines)
    if imaginary is not None:
        first, second = first + dg.matmul(imaginary, sines), second + dg.matmul(imaginary, cosines)
    return [first / count, second / count] if inverse else [first, second]


def _from_half(real: Any, imaginary: Any, count: Any) -> list[Tensor]:
    """The real signal whose spectrum this is the first half of."""
    size = count // 2 + 1
    cosines, sines = _waves(size, count, count, real)
    places = dg.arange(size)
    times = dg.where((places == 0) | (2 * places == count), 1.0, 2.0).to(real.dtype) / count
    made = dg.matmul(real * times, cosines)
    return [made if imaginary is None else made - dg.matmul(imaginary * times, sines)]


@operator("STFT", since=17)
def spectra_of_frames(
    x: Tensor, step: Number, window: Tensor | None = None, length: Number | None = None, *, onesided: int = 1
) -> Tensor:
    """[batch, frames, frequencies, 2] of a signal [batch, length, 1 or 2]."""
    if length is None:
        length = x.shape[1] if window is None else window.shape[0]
    places = dg.arange((x.shape[1] - length) // step + 1).reshape(-1, 1) * step + dg.arange(length)
    frames = dg.index_select(x, 1, places.reshape(-1)).reshape(x.shape[0], -1, length, x.shape[2])
    frames = frames if window is None else frames * window.to(x.dtype).reshape(-1, 1)
    return _transformed(frames, None, 2, 0, onesided)


@operator("MelWeightMatrix", since=17)
def mel_weights(
    bins: Number, length: Number, rate: Tensor, lowest: Tensor, highest: Tensor, *, output_datatype: int = 1
) -> Tensor:
    """[frequencies, bins]: each bin a triangle over the frequencies of a spectrum."""
    low, high = [2595 * dg.log10(1 + edge.reshape(()).to(dg.float64) / 700) for edge in (lowest, highest)]
    mels = dg.arange(bins + 2).to(dg.float64) * ((high - low) / (bins + 2)) + low
    hertz = 700 * (dg.pow(10.0, mels / 2595) - 1)
    edges = dg.floor((length + 1) * hertz / rate.reshape(()).to(dg.float64))
    first, top, last = [dg.narrow(edges, 0, i, bins) for i in range(3)]
    at = dg.arange(length // 2 + 1).to(dg.float64).reshape(-1, 1)
    rising = dg.where(top == first, (at == top).to(dg.float64), (at - first) / dg.clamp(top - first, 1) * (at >= first))
    falling = (last - at) / dg.clamp(last - top, 1) * (at < last)
    return dg.where(at <= top, rising, falling).to(dtype_of(output_datatype, "MelWeightMatrix: the result"))
