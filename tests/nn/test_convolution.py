"""Convolutions against PyTorch's: layers, odd sizes, gradients of gradients, both modes, what is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg
from duograph import nn

RANDOM = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.uniform(-1, 1, shape)


LAYERS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", {"kernel_size": 3}, (2, 4, 9)),
    ("Conv1d", {"kernel_size": 2, "padding": "same", "dilation": 3, "bias": False}, (4, 9)),
    ("Conv1d", {"kernel_size": 3, "padding": 2, "padding_mode": "circular", "stride": 2}, (2, 4, 9)),
    ("Conv2d", {"kernel_size": (3, 2), "padding": "same"}, (2, 4, 5, 6)),
    ("Conv2d", {"kernel_size": 3, "padding": "same", "padding_mode": "reflect"}, (2, 4, 5, 6)),
    ("Conv2d", {"kernel_size": 2, "padding": (1, 2), "padding_mode": "replicate"}, (2, 4, 5, 6)),
    ("Conv2d", {"kernel_size": 3, "padding": "valid", "padding_mode": "reflect", "groups": 2}, (2, 4, 5, 6)),
    ("Conv2d", {"kernel_size": 1, "stride": 3}, (2, 4, 7, 7)),
    ("Conv3d", {"kernel_size": (1, 2, 3), "stride": (2, 1, 1), "padding": 1, "groups": 4}, (1, 4, 3, 4, 3)),
    ("ConvTranspose1d", {"kernel_size": 3, "stride": 2}, (2, 4, 5)),
    ("ConvTranspose2d", {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}, (2, 4, 3, 2)),
    ("ConvTranspose2d", {"kernel_size": 2, "stride": 2, "groups": 2, "bias": False}, (4, 3, 2)),
    ("ConvTranspose3d", {"kernel_size": 2, "stride": (1, 2, 3), "dilation": 2, "groups": 4}, (1, 4, 2, 3, 2)),
]


@pytest.mark.parametrize("name, settings, shape", LAYERS)
def test_layers(name: str, settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Values, gradients, keys and the text of a layer; the static graph at two sizes."""
    ours = getattr(nn, name)(4, 8, **settings).double()
    theirs = getattr(torch.nn, name)(4, 8, **settings).double()
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({key: dg.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    static = dg.static(ours, strict=True)
    for more in (0, 1):
        data = numbers(*shape[:-1], shape[-1] + more)
        x, y = dg.tensor(data).requires_grad_(), torch.from_numpy(data).requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result, wanted = ours(x), theirs(y)
        np.testing.assert_allclose(result.detach().numpy(), wanted.detach().numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(static(x).detach().numpy(), result.detach().numpy())
    ours.zero_grad()
    (result * result).sum().backward()
    (wanted * wanted).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-9, atol=1e-11)
    for key, parameter in theirs.named_parameters():
        found = dict(ours.named_parameters())[key].grad.numpy()
        np.testing.assert_allclose(found, parameter.grad.numpy(), rtol=1e-9, atol=1e-11, err_msg=key)


def test_first_values() -> None:
    """Uniform within one over the root of a kernel's elements, weight and bias."""
    for name, elements in (("Conv2d", 8 * 9), ("ConvTranspose2d", 32 * 9)):
        layer = getattr(nn, name)(16, 64, 3, groups=2)
        bound = elements**-0.5
        for parameter in layer.parameters():
            values = parameter.detach().numpy()
            assert abs(values).max() <= bound and abs(values).max() > 0.9 * bound
            assert abs(values.mean()) < bound / 4


@pytest.mark.parametrize("name, stride, size", [("ConvTranspose1d", 3, (12,)), ("ConvTranspose2d", 2, (7, 8))])
def test_output_size(name: str, stride: int, size: tuple[int, ...]) -> None:
    """Of the sizes that fit one x, the one that is asked for; others are refused."""
    settings = {"stride": stride, "kernel_size": 3, "padding": 1}
    ours, theirs = getattr(nn, name)(2, 3, **settings), getattr(torch.nn, name)(2, 3, **settings)
    x = numbers(1, 2, *((4,) * len(size))).astype("float32")
    wanted = theirs(torch.from_numpy(x), output_size=size)
    ours.load_state_dict({key: dg.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    for given in (size, (1, 3, *size)):
        np.testing.assert_allclose(ours(dg.tensor(x), given).detach().numpy(), wanted.detach().numpy(), rtol=1e-4, atol=1e-6)
    for wrong in ((4,) * len(size), (40,) * len(size), (1, *size, 1, 1)):
        with pytest.raises(dg.errors.ShapeError, match="output_size"):
            ours(dg.tensor(x), wrong)


# conv2d(x, weight, bias, stride, padding, dilation, groups)
ODD: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[Any, ...]]] = {
    "groups = channels": ((2, 4, 6, 5), (4, 1, 3, 3), (1, 1, 1, 4)),
    "two kernels for each channel": ((2, 3, 6, 5), (6, 1, 2, 3), (2, 1, 1, 3)),
    "dilation beyond the kernel": ((1, 2, 11, 12), (3, 2, 2, 2), (1, 0, (7, 9))),
    "stride beyond the kernel": ((2, 2, 9, 8), (3, 2, 2, 1), ((5, 3),)),
    "stride and dilation share a factor": ((1, 2, 13, 12), (3, 2, 3, 2), ((4, 6), 2, (2, 4))),
    "patches": ((1, 3, 12, 8), (5, 3, 4, 4), (4,)),
    "patches that leave a rest": ((1, 3, 14, 11), (5, 3, 3, 2), ((4, 3), 1)),
    "one pixel": ((3, 2, 1, 1), (4, 2, 1, 1), ()),
    "one padded pixel": ((3, 2, 1, 1), (4, 2, 3, 3), (1, 1)),
    "a kernel of all of x": ((2, 2, 3, 4), (4, 2, 3, 4), ()),
    "padding beyond the kernel": ((1, 2, 2, 3), (2, 2, 2, 2), (1, 4)),
    "an even kernel, same": ((1, 2, 4, 5), (2, 2, 4, 2), (1, "same")),
    "many channels": ((1, 40, 5, 5), (33, 40, 3, 3), (1, 1)),
}


def gradients(library: Any, function: Any, arrays: list[np.ndarray], settings: tuple[Any, ...]) -> list[np.ndarray]:
    """The result, the gradients of the sum of its squares, and the gradients of the sum of theirs."""
    make = dg.tensor if library is dg else torch.from_numpy
    given = [make(a.copy()).requires_grad_() for a in arrays]
    made = function(*given, *settings)
    first = library.autograd.grad((made * made).sum(), given, create_graph=True)
    total = sum((g * g).sum() for g in first)
    second = library.autograd.grad(total, given)
    return [x.detach().numpy() for x in (made, *first, *second)]


@pytest.mark.parametrize("case", ODD)
def test_odd_cases(case: str) -> None:
    """Values, gradients and second gradients; the static graph gives the same bits."""
    x, weight, settings = ODD[case]
    arrays = [numbers(*x), numbers(*weight), numbers(weight[0])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = gradients(torch, torch.nn.functional.conv2d, arrays, settings)
    found = gradients(dg, nn.functional.conv2d, arrays, settings)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8 * abs(b).max())
    static = dg.static(lambda *tensors: nn.functional.conv2d(*tensors, *settings), strict=True)
    np.testing.assert_array_equal(static(*map(dg.tensor, arrays)).numpy(), found[0])


# conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)
ODD_TRANSPOSED: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[Any, ...]]] = {
    "groups = channels": ((2, 4, 3, 2), (4, 1, 3, 3), (2, 1, 1, 4)),
    "stride beyond the kernel": ((2, 2, 3, 4), (2, 3, 2, 1), ((3, 2), 0, (2, 1))),
    "many phases": ((1, 2, 3, 4), (2, 3, 7, 5), ((4, 3), (2, 1), 1)),
    "many phases and dilation": ((1, 2, 2, 3), (2, 3, 2, 3), ((3, 4), 1, 1, 1, (2, 3))),
    "one pixel": ((2, 3, 1, 1), (3, 2, 4, 4), ()),
    "padding of all of the kernel": ((1, 2, 5, 5), (2, 3, 3, 3), (1, 2)),
}


@pytest.mark.parametrize("case", ODD_TRANSPOSED)
def test_odd_transposed_cases(case: str) -> None:
    x, weight, settings = ODD_TRANSPOSED[case]
    groups = settings[3] if len(settings) > 3 else 1
    arrays = [numbers(*x), numbers(*weight), numbers(weight[1] * groups)]
    wanted = gradients(torch, torch.nn.functional.conv_transpose2d, arrays, settings)
    for a, b in zip(gradients(dg, nn.functional.conv_transpose2d, arrays, settings), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8 * abs(b).max())


def test_an_empty_batch() -> None:
    layer = nn.Conv2d(2, 3, 3)
    x = dg.zeros(0, 2, 5, 5).requires_grad_()
    result = layer(x)
    result.sum().backward()
    assert result.shape == (0, 3, 3, 3) and x.grad.shape == x.shape
    assert not layer.weight.grad.numpy().any() and not layer.bias.grad.numpy().any()


def test_training_at_two_sizes() -> None:
    """A static step gives the dynamic step's bits, at sizes that change."""

    def step(layer: Any, x: dg.Tensor) -> dg.Tensor:
        loss = (layer(x) ** 2).mean()
        loss.backward()
        return loss

    dg.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 2, 3, stride=2))
    static = dg.static(step, strict=True)
    for shape in ((2, 2, 7, 6), (3, 2, 9, 5), (1, 2, 8, 8), (2, 2, 10, 7)):
        x = dg.tensor(numbers(*shape).astype("float32"))
        results = []
        for run in (step, static):
            model.zero_grad()
            results.append([run(model, x).item(), *(p.grad.numpy() for p in model.parameters())])
        for a, b in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b)


def test_halves_accumulate_in_float32() -> None:
    x, weight = numbers(1, 64, 6, 6).astype("float32"), numbers(8, 64, 3, 3).astype("float32")
    halves = [dg.tensor(a).to(dg.bfloat16) for a in (x, weight)]
    wanted = nn.functional.conv2d(*(h.to(dg.float32) for h in halves)).to(dg.bfloat16)
    np.testing.assert_array_equal(nn.functional.conv2d(*halves).to(dg.float32).numpy(), wanted.to(dg.float32).numpy())


REFUSED: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any], type[Exception], str]] = [
    ("conv2d", (1, 2, 3, 3), (4, 2, 4, 4), {}, dg.errors.ShapeError, r"a kernel that spans 4 is larger than the size 3"),
    ("conv2d", (1, 2, 3, 3), (4, 2, 3, 3), {"dilation": 3, "padding": 1}, dg.errors.ShapeError, r"spans 7 .* \(padded: 5\)"),
    ("conv2d", (1, 3, 5, 5), (4, 2, 3, 3), {}, dg.errors.ShapeError, r"x has 3 channels, weight of shape .* takes 2"),
    ("conv2d", (1, 4, 5, 5), (5, 2, 3, 3), {"groups": 2}, dg.errors.ShapeError, r"weight.shape\[0\] is 5, which groups=2"),
    ("conv2d", (1, 4, 5, 5), (4, 4, 3), {}, dg.errors.DimensionError, "weight must have 4 dimensions"),
    ("conv2d", (4, 5), (4, 4, 3, 3), {}, dg.errors.DimensionError, "x must have 4 dimensions, or 3 without a batch"),
    ("conv2d", (1, 4, 5, 5), (4, 4, 3, 3), {"stride": 0}, dg.errors.DomainError, "stride must be at least 1, got 0"),
    ("conv2d", (1, 4, 5, 5), (4, 4, 3, 3), {"padding": -1}, dg.errors.DomainError, "padding must be at least 0"),
    ("conv2d", (1, 4, 5, 5), (4, 4, 3, 3), {"padding": "both"}, dg.errors.DomainError, "'same', 'valid' or numbers"),
    ("conv2d", (1, 4, 5, 5), (4, 4, 3, 3), {"padding": "same", "stride": 2}, dg.errors.DomainError, "needs a stride of 1"),
    ("conv2d", (1, 4, 5, 5), (4, 4, 3, 3), {"dilation": (1, 1, 1)}, dg.errors.ArgumentError, "one number or 2"),
    ("conv2d", (1, 4, 5, 5), (4, 4, 3, 3), {"groups": 0}, dg.errors.DomainError, "groups must be at least 1"),
    ("conv1d", (1, 4, 5), (4, 4, 0), {}, dg.errors.ShapeError, "must not be empty"),
    ("conv_transpose2d", (1, 3, 5, 5), (4, 2, 3, 3), {}, dg.errors.ShapeError, "x has 3 channels, .* takes 4"),
    ("conv_transpose1d", (1, 4, 5), (4, 2, 3), {"output_padding": 1}, dg.errors.DomainError, "must be smaller than the stride"),
    ("conv_transpose1d", (1, 4, 1), (4, 2, 2), {"padding": 1}, dg.errors.ShapeError, "would be 0"),
]


@pytest.mark.parametrize("name, x, weight, settings, error, text", REFUSED)
def test_what_is_refused(name: str, x: Any, weight: Any, settings: Any, error: type[Exception], text: str) -> None:
    """In dynamic mode and while a static function is captured, with the operator's name in front."""
    function = getattr(nn.functional, name)
    for call in (function, dg.static(lambda *args, **kwargs: function(*args, **kwargs))):
        with pytest.raises(error, match=f"{name}: .*{text}"):
            call(dg.zeros(*x), dg.zeros(*weight), **settings)
    with pytest.raises(Exception):  # noqa: B017
        getattr(torch.nn.functional, name)(torch.zeros(*x), torch.zeros(*weight), **settings)


def test_a_bias_of_another_size_and_dtypes() -> None:
    x, weight = dg.zeros(1, 2, 4, 4), dg.zeros(3, 2, 2, 2)
    with pytest.raises(dg.errors.ShapeError, match=r"conv2d: bias must have shape \(3,\), got \(2,\)"):
        nn.functional.conv2d(x, weight, dg.zeros(2))
    with pytest.raises(dg.errors.DTypeError, match="one dtype"):
        nn.functional.conv2d(x, weight.double())
    with pytest.raises(dg.errors.ShapeError, match=r"conv_transpose2d: a size of the result would be -1"):
        nn.ConvTranspose2d(2, 3, 3, padding=2)(dg.zeros(1, 2, 1, 1))
    for settings in ({"groups": 3}, {"padding_mode": "mirror"}, {"padding": "both"}, {"kernel_size": 0}):
        with pytest.raises(dg.Error, match="Conv2d: "):
            nn.Conv2d(4, 6, **{"kernel_size": 3, **settings})


def test_folding() -> None:
    """Columns there and back count how often windows see each element; layers take what the functions take."""
    x = numbers(2, 3, 6, 5)
    for settings in ({"kernel_size": 2}, {"kernel_size": (3, 2), "dilation": (1, 2), "padding": 1, "stride": (2, 1)}):
        columns = nn.Unfold(**settings)(dg.tensor(x))
        wanted = torch.nn.Unfold(**settings)(torch.from_numpy(x))
        np.testing.assert_array_equal(columns.numpy(), wanted.numpy())
        back = nn.Fold((6, 5), **settings)(columns)
        np.testing.assert_allclose(back.numpy(), torch.nn.Fold((6, 5), **settings)(wanted).numpy(), rtol=1e-12)
    assert nn.Fold(3, 2)(dg.zeros(1, 8, 4)).shape == (1, 2, 3, 3)
    with pytest.raises(dg.errors.ShapeError, match=r"fold: x has 5 windows, images of size .* have 2 x 2"):
        nn.functional.fold(dg.zeros(1, 8, 5), 3, 2)
    with pytest.raises(dg.errors.ShapeError, match="fold: 9 rows are no multiple of the 4 elements"):
        nn.functional.fold(dg.zeros(1, 9, 4), 3, 2)
    with pytest.raises(dg.errors.DimensionError, match="unfold: x must be"):
        nn.functional.unfold(dg.zeros(3, 3), 2)


@pytest.mark.parametrize(("low", "size"), [(0, 20), (1, 18), (2, 16), (3, 14)])
def test_nothing_is_computed_that_padding_cuts_off(low: int, size: int) -> None:
    x, w = dg.rand(1, 8, 10, 10), dg.rand(8, 8, 2, 2)
    run = dg.static(lambda x, w: nn.functional.conv_transpose2d(x, w, stride=2, padding=low))
    with dg.no_grad():
        assert run.explain(x, w).static.flops == 2 * 8 * 8 * size**2
        np.testing.assert_array_equal(run(x, w).numpy(), nn.functional.conv_transpose2d(x, w, stride=2, padding=low).numpy())
