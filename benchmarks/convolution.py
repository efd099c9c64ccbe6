"""Convolutions of well-known networks: forward, and the gradients to the input and to the kernels. Ours are static functions.

The floor is 2 * multiply-adds over the processor's peak, or the bytes of all operands over the bandwidth, whichever is more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from statistics import geometric_mean
from typing import Any, NamedTuple

import numpy as np

from benchmarks.convolution_peers import LAST, TAPS_FIRST, jax_gradient, tensorflow_gradient
from benchmarks.harness import OURS, Case, Result
from benchmarks.peers import load

THREADS = (1, 2)
ROUNDS = 9
BATCHES = (1, 16)


class Shape(NamedTuple):
    """One convolution of square images and kernels."""

    title: str
    channels: int
    size: int
    kernels: int
    taps: int
    stride: int = 1
    groups: int = 1

    @property
    def padding(self) -> int:
        return self.taps // 2


SHAPES = (
    Shape("64x56x56 3x3", 64, 56, 64, 3),
    Shape("128x28x28 3x3", 128, 28, 128, 3),
    Shape("256x14x14 3x3", 256, 14, 256, 3),
    Shape("512x7x7 3x3", 512, 7, 512, 3),
    Shape("stem 3x224x224 7x7/2", 3, 224, 64, 7, 2),
    Shape("256x56x56 1x1", 256, 56, 64, 1),
    Shape("depthwise 144x56x56 3x3", 144, 56, 144, 3, 1, 144),
)


def arrays(shape: Shape, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, the kernels, and a gradient of the result."""
    rng = np.random.default_rng(0)
    made = (shape.size + 2 * shape.padding - shape.taps) // shape.stride + 1
    sizes = (
        (batch, shape.channels, shape.size, shape.size),
        (shape.kernels, shape.channels // shape.groups, shape.taps, shape.taps),
        (batch, shape.kernels, made, made),
    )
    x, w, g = (rng.standard_normal(size, dtype=np.float32) for size in sizes)
    return x, w, g


def _forward(shape: Shape, batch: int) -> Case:
    import duograph as dg

    x, w, _ = arrays(shape, batch)
    form = (None, shape.stride, shape.padding, 1, shape.groups)
    dg.autograd.set_grad_enabled(False)
    static = dg.static(lambda x, w: dg.nn.functional.conv2d(x, w, *form))
    ours = dg.tensor(x), dg.nn.Parameter(dg.tensor(w))
    contestants: dict[str, Callable[[], object]] = {OURS: lambda: static(*ours)}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        theirs = [torch.from_numpy(value) for value in (x, w)]
        last = [value.to(memory_format=torch.channels_last) for value in theirs]
        contestants["torch"] = lambda: torch.nn.functional.conv2d(*theirs, *form)
        contestants["torch, channels last"] = lambda: torch.nn.functional.conv2d(*last, *form)
    if jax := load("jax"):
        contestants["jax.jit"] = _jax(jax, shape, x, w)
    return Case(_title(shape, batch, None), contestants, {"torch": 1.04})


def _jax(jax: Any, shape: Shape, x: np.ndarray, w: np.ndarray) -> Callable[[], object]:
    strides, pads = (shape.stride,) * 2, ((shape.padding,) * 2,) * 2
    convolve = jax.jit(lambda x, w: jax.lax.conv_general_dilated(x, w, strides, pads, feature_group_count=shape.groups))
    given = jax.numpy.asarray(x), jax.numpy.asarray(w)
    return lambda: convolve(*given).block_until_ready()


def _gradient(shape: Shape, batch: int, which: int) -> Case:
    import duograph as dg

    form = (shape.stride,) * 2, (1, 1), shape.groups, shape.padding > 0, shape.groups == shape.channels
    x, w, g = arrays(shape, batch)
    low = (shape.padding,) * 2
    to_images = dg.static(lambda x, w, g: dg.ops.correlate_back(g, w, low, (shape.size,) * 2, *form))
    to_kernels = dg.static(lambda x, w, g: dg.ops.correlate_taps(x, g, low, (shape.taps,) * 2, *form))
    static, ours = (to_images, to_kernels)[which], tuple(map(dg.tensor, (x, w, g)))
    contestants: dict[str, Callable[[], object]] = {OURS: lambda: static(*ours)}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        theirs = [torch.from_numpy(value) for value in (g, x, w)]
        last = [value.to(memory_format=torch.channels_last) for value in theirs]
        mask = [which == 0, which == 1, False]
        form_ = (None, (shape.stride,) * 2, low, (1, 1), False, (0, 0), shape.groups, mask)
        contestants["torch"] = lambda: torch.ops.aten.convolution_backward(*theirs, *form_)[which]
        contestants["torch, channels last"] = lambda: torch.ops.aten.convolution_backward(*last, *form_)[which]
    contestants |= jax_gradient(shape, (x, w, g), which) | tensorflow_gradient(shape, (x, w, g), which)
    _agree(contestants, which)
    names = tuple(name for name in contestants if name != OURS)
    return Case(_title(shape, batch, which), contestants, {"best": 1.1} if names else {}, names)


def _agree(contestants: dict[str, Callable[[], Any]], which: int) -> None:
    """All give what we give, up to how it lies in memory."""
    wanted = np.asarray(contestants[OURS]())
    order = (LAST, TAPS_FIRST)[which]
    for name, call in contestants.items():
        found = np.asarray(call())
        if name in ("jax.jit, channels last", "TF function"):
            found = found.reshape([wanted.shape[axis] for axis in order]).transpose(np.argsort(order))
        np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max(), err_msg=name)


def _title(shape: Shape, batch: int, which: int | None) -> str:
    work = "forward" if which is None else f"gradient to the {('input', 'kernels')[which]}"
    return f"{work}, batch {batch}, {shape.title}"


def cases(wanted: Callable[[str], bool] = lambda title: True) -> Iterator[Case]:
    for batch in BATCHES:
        for shape in SHAPES:
            if wanted(_title(shape, batch, None)):
                yield _forward(shape, batch)
    for which in (0, 1):
        for shape in SHAPES:
            if wanted(_title(shape, BATCHES[-1], which)):
                yield _gradient(shape, BATCHES[-1], which)


def summary(results: Iterable[Result]) -> Iterator[str]:
    """Geometric means over the shapes of the best peer's time over ours."""
    families: dict[str, list[float]] = {}
    for result in results:
        ratios = {peer: ratio for peer, ratio, _ in result.ratios()}
        if ratios:
            families.setdefault(result.title.rpartition(", ")[0], []).append(min(ratios.values()))
    for family, best in families.items():
        yield f"{family}: {len(best)} shapes, geometric mean {geometric_mean(best):.2f} × the best peer of each"
    gradients = [ratio for family, best in families.items() if family.startswith("gradient") for ratio in best]
    if gradients:
        yield f"both gradients: geometric mean {geometric_mean(gradients):.2f} × the best peer of each   asked ≥ 1.1"
