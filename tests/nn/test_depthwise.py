"""Convolutions whose groups read one channel each: against PyTorch's, in both modes, at sizes that change, over examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg

RANDOM = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.uniform(-1, 1, shape)


# channels, kernels for each, size, taps, then stride, padding and dilation
CASES = [
    (5, 1, (9, 11), (3, 3), 1, 1, 1),
    (3, 2, (9, 37), (3, 5), 2, (1, 3), (2, 1)),
    (3, 1, (14, 35), (2, 4), (1, 3), 0, 2),
    (2, 2, (5, 5), (3, 3), 4, 1, 1),
    (2, 1, (33, 40), (11, 9), 1, (0, 4), 1),
    (2, 1, (3, 20), (1, 1), (1, 2), (0, 6), 1),
    (4, 3, (50,), (7,), 2, 3, 1),
    (3, 2, (5, 7, 9), (3, 2, 3), (2, 1, 2), 1, (1, 2, 1)),
]


@pytest.mark.parametrize("channels, many, size, taps, stride, padding, dilation", CASES)
def test_gradients_of_both_orders(
    channels: int, many: int, size: tuple[int, ...], taps: tuple[int, ...], stride: Any, padding: Any, dilation: Any
) -> None:
    name = f"conv{len(size)}d"
    data = numbers(2, channels, *size), numbers(channels * many, 1, *taps), numbers(channels * many)
    found = []
    for library in (dg, torch):
        make = dg.tensor if library is dg else torch.tensor
        x, w, b = (make(each).requires_grad_() for each in data)
        y = getattr(library.nn.functional, name)(x, w, b, stride, padding, dilation, channels)
        first = library.autograd.grad((y * y * y).sum(), [x, w, b], create_graph=True)
        second = library.autograd.grad((first[0] ** 2).sum() + (first[1] ** 2).sum(), [x, w])
        found.append([value.detach().numpy() for value in (y, *first, *second)])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("size", [(3, 1), (1, 3), (4, 2), (5, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_one_place_in_a_row(size: tuple[int, int], stride: int) -> None:
    x, w, b = (dg.tensor(numbers(*shape)) for shape in ((2, 5, *size), (5, 1, 3, 3), (5,)))
    wanted = torch.nn.functional.conv2d(*map(torch.from_numpy, (x.numpy(), w.numpy(), b.numpy())), stride, 1, 1, 5)

    def ended(x: Any) -> Any:
        return dg.nn.functional.conv2d(x, w, b, stride, 1, 1, 5) * 2

    np.testing.assert_allclose(ended(x).numpy(), 2 * wanted.numpy(), atol=1e-12)
    np.testing.assert_allclose(dg.static(ended)(x).numpy(), 2 * wanted.numpy(), atol=1e-12)


def test_transposed() -> None:
    data = numbers(2, 4, 6, 5), numbers(4, 1, 3, 4)
    settings = (None, (2, 1), (1, 2), (1, 0), 4, (1, 2))
    ours, theirs = ([make(each).requires_grad_() for each in data] for make in (dg.tensor, torch.tensor))
    made, wanted = dg.nn.functional.conv_transpose2d(*ours, *settings), torch.nn.functional.conv_transpose2d(*theirs, *settings)
    np.testing.assert_allclose(made.detach().numpy(), wanted.detach().numpy(), atol=1e-12)
    (made * made).sum().backward()
    (wanted * wanted).sum().backward()
    for x, y in zip(ours, theirs):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), atol=1e-11)


def test_a_step_at_several_sizes() -> None:
    """The static step has the dynamic one's very bits, at sizes captured as symbols, too."""

    def step(x: Any, w: Any) -> Any:
        y = dg.nn.functional.conv2d(x, w, None, 2, 1, 1, 6)
        return (y, *dg.autograd.grad((y * y).sum(), [x, w]))

    static = dg.static(step, strict=True)
    w = dg.tensor(numbers(6, 1, 3, 3).astype("float32")).requires_grad_()
    for n, height, width in ((1, 17, 40), (2, 17, 41), (3, 30, 7), (0, 8, 8)):
        x = dg.tensor(numbers(n, 6, height, width).astype("float32")).requires_grad_()
        for ours, theirs in zip(static(x, w), step(x, w)):
            np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())
    assert static.captures <= 3


def test_where_operands_lie() -> None:
    """Neither strides nor how rows are cut into bands change a bit."""
    x, w, g = (numbers(*shape).astype("float32") for shape in ((2, 150, 120, 3), (3, 1, 5, 3), (2, 150, 120, 3)))
    form = (2, 1), (150, 120), (1, 1), (1, 1), 3, True, True
    results = []
    for turned in (True, False):
        images, slopes = (dg.from_numpy(value).permute(0, 3, 1, 2) for value in (x, g))
        if not turned:
            images, slopes = images.contiguous(), slopes.contiguous()
        made = dg.ops.correlate(images, dg.from_numpy(w), *form)
        taps = dg.ops.correlate_taps(images, slopes, (2, 1), (5, 3), *form[2:])
        results.append([made.numpy(), taps.numpy()])
    for ours, theirs in zip(*results):
        np.testing.assert_array_equal(ours, theirs)
    alone = dg.ops.correlate(dg.from_numpy(x).permute(0, 3, 1, 2)[1:, 2:], dg.from_numpy(w)[2:], *form[:-3], 1, True, False)
    np.testing.assert_array_equal(alone.numpy()[0, 0], results[0][0][1, 2])  # as the contraction sums so few taps


def test_infinities_reach_no_further_than_their_windows() -> None:
    x = numbers(1, 2, 4, 36)
    x[0, 0, 1, 35] = np.inf
    w, g = numbers(2, 1, 2, 2), numbers(1, 2, 3, 34)
    form = (1, 1), (1, 1), 2, False, True
    taps = dg.ops.correlate_taps(dg.tensor(x), dg.tensor(g), (0, 0), (2, 2), *form)
    assert np.isfinite(taps.numpy()).all()  # column 35 is behind the last window's
    made = dg.ops.correlate(dg.tensor(x), dg.tensor(w), (0, 0), (3, 35), *form).numpy()
    assert (~np.isfinite(made)).sum() == 2 and not np.isfinite(made[0, 0, :2, 34]).any()


@pytest.mark.parametrize("both", [False, True])
def test_over_examples(both: bool) -> None:
    x, w = numbers(3, 2, 4, 6, 7), numbers(3, 8, 1, 3, 3)
    kernels = dg.tensor(w if both else w[0])

    def run(x: Any, w: Any) -> Any:
        y = dg.nn.functional.conv2d(x, w, None, 1, 1, 1, 4)
        return dg.autograd.grad((y * y).sum(), [x, w])

    found = dg.func.vmap(run, in_dims=(0, 0 if both else None))(dg.tensor(x).requires_grad_(), kernels.requires_grad_())
    for i in range(3):
        each = run(dg.tensor(x[i]).requires_grad_(), dg.tensor(w[i if both else 0]).requires_grad_())
        for made, wanted in zip(found, each):
            np.testing.assert_allclose(made[i].detach().numpy(), wanted.detach().numpy(), atol=1e-12)


def test_halves() -> None:
    """16-bit floats are summed in float32 and rounded once."""
    x, w = numbers(1, 3, 9, 9).astype("float16"), numbers(3, 1, 3, 3).astype("float16")
    made = dg.nn.functional.conv2d(dg.tensor(x), dg.tensor(w), groups=3)
    exact = dg.nn.functional.conv2d(dg.tensor(x.astype("float32")), dg.tensor(w.astype("float32")), groups=3)
    np.testing.assert_array_equal(made.numpy(), exact.numpy().astype("float16"))


def test_whole_numbers() -> None:
    x, w = RANDOM.integers(-9, 9, (2, 3, 6, 5)), RANDOM.integers(-9, 9, (6, 1, 2, 2))
    made = dg.nn.functional.conv2d(dg.tensor(x), dg.tensor(w), groups=3).numpy()
    wanted = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(w), groups=3).numpy()
    np.testing.assert_array_equal(made, wanted)
