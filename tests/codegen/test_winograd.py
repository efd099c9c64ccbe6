"""Winograd's convolutions: their distance from float64, where they are possible, and that only `dg.tune` makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.codegen.contraction.library import build_library
from duograph.codegen.target import get_target
from duograph.runtime import measure

# images, channels, size of an image, kernels, padding
CASES = (
    (1, 16, (16, 16), 32, 1),
    (2, 5, (9, 7), 37, 1),  # tiles over both edges, kernels that fill no panel
    (3, 33, (12, 21), 64, 0),
    (5, 8, (7, 8), 12, 2),  # blocks of several images
    (2, 40, (40, 30), 70, 1),  # several blocks
    (3, 9, (8, 9), 300, 1),  # several groups of kernels
    (1, 530, (6, 5), 33, 1),  # more channels than a chain has
)
# Of the largest result: see the docstring of `dg.tune`. Here as many as 530 channels are summed.
TOLERANCE = 3e-5


@pytest.fixture(autouse=True)
def fastest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Winograd's way is the fastest, if it is possible."""
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(measure, "race", lambda ways, rule: {name: 1.0 if name == "winograd" else 2.0 for name in ways})


def operands(case: Any) -> tuple[Any, Any, Any]:
    images, channels, size, kernels, _ = case
    rng = np.random.default_rng(0)
    shapes = (images, channels, *size), (kernels, channels, 3, 3), (kernels,)
    x, w, b = (dg.from_numpy(rng.standard_normal(shape).astype("float32")) for shape in shapes)
    return x, w, b


def distance(made: Any, exact: Any) -> float:
    return float(np.abs(made.detach().numpy() - exact.detach().numpy()).max() / np.abs(exact.detach().numpy()).max())


def ways_of(function: Any, *args: Any) -> list[str]:
    return [kernel.way for kernel in function.explain(*args).static.kernel_list if kernel.way]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_are_near_those_of_float64(case: Any) -> None:
    given = operands(case)

    def network(x: Any, w: Any, b: Any) -> Any:
        made = dg.nn.functional.conv2d(x, w, b, padding=case[-1])
        return made, dg.relu(made * b.reshape(-1, 1, 1) + dg.ones_like(made).cumsum(-1))

    function, strict = dg.static(lambda *given: network(*given)[1]), dg.static(lambda *given: network(*given)[1], strict=True)
    plain = dg.static(lambda *given: dg.nn.functional.conv2d(*given[:2], padding=case[-1]))
    exact = [t.double() for t in given]
    with dg.no_grad():
        for each in (function, plain):
            dg.tune(each, *given, winograd=True)
            assert ways_of(each, *given) == ["winograd"]
        made = function(*given)
        assert 0 < distance(made, network(*exact)[1]) < TOLERANCE
        assert distance(plain(*given), dg.nn.functional.conv2d(*exact[:2], padding=case[-1])) < TOLERANCE
        assert ways_of(strict, *given) != ["winograd"]
        assert np.array_equal(strict(*given).numpy(), network(*given)[1].numpy())


@pytest.mark.parametrize("case", CASES[:4], ids=str)
def test_gradients_to_images(case: Any) -> None:
    x, w, _ = operands(case)
    g = dg.nn.functional.conv2d(x, w, padding=case[-1]).sin()

    def gradient(x: Any, w: Any, g: Any) -> Any:
        return dg.autograd.grad(dg.nn.functional.conv2d(x, w, padding=case[-1]), x, g)[0]

    function = dg.static(gradient)
    x.requires_grad_()
    dg.tune(function, x, w, g, winograd=True)
    assert "winograd" in ways_of(function, x, w, g)
    exact = x.detach().double().requires_grad_()
    assert distance(function(x, w, g), gradient(exact, w.double(), g.double())) < TOLERANCE


def test_bits_on_two_threads() -> None:
    x, w, b = operands(CASES[4])
    threads, made = dg.get_num_threads(), []
    try:
        for count in (1, 2):
            dg.set_num_threads(count)
            function = dg.static(lambda x, w, b: dg.nn.functional.conv2d(x, w, b, padding=1))
            dg.tune(function, x, w, b, winograd=True)
            made.append(function(x, w, b).numpy())
    finally:
        dg.set_num_threads(threads)
    assert np.array_equal(*made)


def test_kept_transforms_follow_the_kernels() -> None:
    layer, x = dg.nn.Conv2d(40, 40, 3, padding=1), operands((2, 40, (12, 12), 40, 1))[0]
    function = dg.static(layer)
    with dg.no_grad():
        dg.tune(function, x, winograd=True)
        for _ in range(3):
            results = [function(x).numpy() for _ in range(4)]
            assert all(np.array_equal(each, results[0]) for each in results)
            exact = dg.nn.functional.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
            assert distance(function(x), exact) < TOLERANCE
            layer.weight.mul_(-0.7)


def test_only_where_it_is_asked_for() -> None:
    x, w, b = operands(CASES[0])
    function = dg.static(lambda x, w, b: dg.nn.functional.conv2d(x, w, b, padding=1))
    report = dg.tune(function, x, w, b)
    assert report.unmeasured == 1 and "winograd=True" in str(report) and ways_of(function, x, w, b) == ["direct"]
    dg.tune(function, x, w, b, winograd=True)
    assert ways_of(function, x, w, b) == ["winograd"]
    (row,) = dg.tune(function, x, w, b).contractions  # and what was asked last holds
    assert not row.is_new and ways_of(function, x, w, b) == ["direct"]


def test_a_memory_budget_does_without() -> None:
    x, w, b = operands(CASES[0])
    run = lambda x, w, b: dg.nn.functional.conv2d(x, w, b, padding=1)  # noqa: E731
    budgeted = dg.static(run, memory_budget="1MB")
    dg.tune(dg.static(run), x, w, b, winograd=True)
    assert ways_of(budgeted, x, w, b) == ["direct"]
    dg.tune(budgeted, x, w, b, winograd=True)
    assert ways_of(budgeted, x, w, b) == ["direct"]


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"dilation": 2},
        {"groups": 2},
        {"taps": (5, 5)},
        {"taps": (1, 3)},
        {"taps": (3, 1)},
        {"taps": (3, 3, 3), "size": (8, 8, 8)},
        {"dtype": "float64"},
        {"size": (3, 16)},
        {"channels": 1},
    ],
    ids=str,
)
def test_others_are_not_made_so(options: dict[str, Any]) -> None:
    taps, size = options.get("taps", (3, 3)), options.get("size", (16, 16))
    channels, groups, dtype = options.get("channels", 8), options.get("groups", 1), options.get("dtype", "float32")
    x = dg.rand(1, channels, *size, dtype=getattr(dg, dtype))
    w = dg.rand(32, channels // groups, *taps, dtype=getattr(dg, dtype))
    convolve = getattr(dg.nn.functional, f"conv{len(size)}d")
    padding = tuple(n // 2 for n in taps)
    form = {name: value for name, value in options.items() if name in ("stride", "dilation", "groups")}
    function = dg.static(lambda x, w: convolve(x, w, padding=padding, **form))
    dg.tune(function, x, w, winograd=True)
    assert "winograd" not in ways_of(function, x, w)


@pytest.mark.parametrize("isa", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_compiles_for_levels(isa: str) -> None:
    assert build_library("contraction-float32-winograd", get_target(isa))
