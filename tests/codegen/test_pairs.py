"""Products of bfloat16 by pairs (`codegen.contraction.pairs`): exact where they must be, and the same bits in every mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg
from duograph.codegen.contraction.library import library_text
from duograph.codegen.contraction.pairs import SOURCES
from duograph.codegen.target import get_target
from duograph.passes.rewriting import unrounded

functional = dg.nn.functional
needs_pairs = pytest.mark.skipif(not get_target().dots, reason="this CPU does not multiply pairs of bfloat16 at full speed")
RUNS = 4  # in the third, what is made of a parameter is kept; the fourth finds it

PRODUCTS = [(1, 1, 1), (2, 2, 2), (3, 1, 5), (1, 768, 100), (7, 33, 1), (29, 17, 33), (130, 1500, 70), (40, 2049, 33)]
# images, channels, sizes; kernels, kernel; stride, padding, dilation, groups
CONVOLUTIONS = [
    (1, 3, (37, 41), 16, (7, 7), 2, 3, 1, 1),
    (2, 64, (14, 14), 64, (3, 3), 1, 1, 1, 1),
    (1, 64, (15, 13), 40, (3, 3), 2, 1, 1, 1),
    (3, 5, (9, 9), 33, (3, 3), 1, 2, 2, 1),
    (1, 16, (20, 20), 8, (1, 1), 2, 0, 1, 1),
    (2, 63, (7,), 21, (5,), 3, 0, 1, 3),
    (1, 12, (8, 9), 6, (3, 2), 1, 1, 1, 2),
    (1, 1, (30,), 4, (17,), 1, 8, 1, 1),
    (1, 7, (6, 7, 8), 9, (3, 3, 3), 1, 1, 1, 1),
    (1, 3, (64, 40), 3, (3, 3), 1, 1, 1, 1),
]


def rounded(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).bfloat16().double().numpy()


def all_modes(run: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """What every mode gives, whose bits must be the same."""
    given = dg.from_numpy(x)

    def lowered(x: Any) -> Any:
        with dg.no_grad(), dg.autocast("cpu", dtype=dg.bfloat16):
            return run(x)

    found = [lowered(given)]
    for static in (dg.static(lowered, strict=True), dg.static(lowered)):
        found += [static(given) for _ in range(RUNS)]
    found.append(lowered(given.bfloat16()))
    made = [each.float().numpy() for each in found]
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])
    return np.asarray(made[0])


def parameter(values: np.ndarray) -> Any:
    return dg.nn.Parameter(dg.from_numpy(values.copy()))


@needs_pairs
@pytest.mark.parametrize(("m", "k", "n"), PRODUCTS)
@pytest.mark.parametrize("turned", [False, True])
def test_products_of_whole_numbers_are_exact(m: int, k: int, n: int, turned: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    weight = parameter(np.ascontiguousarray(b.T) if turned else b)
    found = all_modes(lambda x: x @ (weight.T if turned else weight), a)
    np.testing.assert_array_equal(found, rounded((a.astype(np.float64) @ b).astype(np.float32)))


@needs_pairs
@pytest.mark.parametrize(("m", "k", "n"), PRODUCTS)
def test_products_are_rounded_once(m: int, k: int, n: int) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (n, k)))
    weight = parameter(b)
    found = all_modes(lambda x: functional.linear(x, weight), a)
    exact = rounded(a) @ rounded(b).T
    np.testing.assert_allclose(found, exact, rtol=2**-8, atol=2e-5 * np.abs(exact).max())


@needs_pairs
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case: tuple[Any, ...]) -> None:
    images, channels, sizes, kernels, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(2)
    x = rng.standard_normal((images, channels, *sizes)).astype(np.float32)
    w = rng.standard_normal((kernels, channels // groups, *kernel)).astype(np.float32)
    weight = parameter(w)
    ours = getattr(functional, f"conv{len(sizes)}d")
    found = all_modes(lambda x: functional.relu(ours(x, weight, None, stride, padding, dilation, groups)), x)
    theirs = getattr(torch.nn.functional, f"conv{len(sizes)}d")
    given = (torch.from_numpy(rounded(each)) for each in (x, w))
    exact = theirs(*given, None, stride, padding, dilation, groups).relu().numpy()
    np.testing.assert_allclose(found, exact, rtol=2**-8, atol=2e-5 * np.abs(exact).max())


@needs_pairs
def test_bits_do_not_depend_on_rows_nor_threads() -> None:
    rng = np.random.default_rng(3)
    layer = dg.nn.Linear(300, 200)
    x = dg.from_numpy(rng.standard_normal((150, 300)).astype(np.float32))

    @dg.static
    def run(x: Any) -> Any:
        with dg.no_grad(), dg.autocast("cpu", dtype=dg.bfloat16):
            return layer(x)

    before = dg.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            dg.set_num_threads(threads)
            found.append(run(x).float().numpy())
    finally:
        dg.set_num_threads(before)
    np.testing.assert_array_equal(*found)
    for row in (0, 77, 149):
        np.testing.assert_array_equal(run(x[row : row + 1]).float().numpy()[0], found[0][row])


@needs_pairs
def test_nothing_beside_an_odd_k_is_read() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.integers(-3, 4, (20, 40)).astype(np.float32), rng.integers(-3, 4, (35, 40)).astype(np.float32)
    a[:, 33:], b[:, 33:] = np.nan, np.nan
    x, weight = dg.from_numpy(a), parameter(b)
    for given in (x, x.bfloat16()):
        with dg.no_grad(), dg.autocast("cpu", dtype=dg.bfloat16):
            found = given[:, :33] @ weight[:, :33].T
        np.testing.assert_array_equal(found.float().numpy(), rounded(a[:, :33] @ b[:, :33].T))


@needs_pairs
@pytest.mark.parametrize("dtype", [dg.float32, dg.bfloat16])
@pytest.mark.parametrize("k", [34, 33])
def test_weights_of_any_strides(k: int, dtype: Any) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.integers(-3, 4, (20, k)).astype(np.float32), rng.integers(-3, 4, (3 * k, 82)).astype(np.float32)
    weight = dg.nn.Parameter(dg.from_numpy(b).to(dtype))
    found = all_modes(lambda x: x @ weight[::3, ::2], a)
    np.testing.assert_array_equal(found, rounded(a @ b[::3, ::2]))


@needs_pairs
@pytest.mark.parametrize("change", ["add_", "copy_"])
def test_what_was_kept_goes_with_the_weight(change: str) -> None:
    layer, x = dg.nn.Linear(128, 256, bias=False), dg.rand(40, 128)

    @dg.static
    def run(x: Any) -> Any:
        with dg.no_grad(), dg.autocast("cpu", dtype=dg.bfloat16):
            return layer(x)

    for _ in range(RUNS):
        run(x)
    with dg.no_grad():
        getattr(layer.weight, change)(dg.rand(256, 128))
    exact = rounded(x.numpy()) @ rounded(layer.weight.detach().numpy()).T
    for _ in range(RUNS):
        np.testing.assert_allclose(run(x).float().numpy(), exact, rtol=2**-7)


@needs_pairs
def test_a_model_in_bfloat16() -> None:
    layer, x = dg.nn.Linear(65, 70).bfloat16(), dg.randn(50, 65).bfloat16()
    run = dg.static(layer)
    with dg.no_grad():
        found = [layer(x), *(run(x) for _ in range(RUNS))]
    weight, bias = (p.detach().float().numpy().astype(np.float64) for p in (layer.weight, layer.bias))
    for each in found:
        np.testing.assert_allclose(each.float().numpy(), x.float().numpy() @ weight.T + bias, rtol=2**-7, atol=1e-4)


@needs_pairs
def test_gradients_are_those_of_rounded_operands() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((30, 20)).astype(np.float32), rng.standard_normal((40, 20)).astype(np.float32)
    x, weight = dg.from_numpy(a).requires_grad_(), parameter(b)
    with dg.autocast("cpu", dtype=dg.bfloat16):
        made = functional.linear(x, weight)
    made.float().sum().backward()
    tx, tw = torch.from_numpy(a).requires_grad_(), torch.from_numpy(b).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        torch.nn.functional.linear(tx, tw).float().sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), tx.grad.numpy(), rtol=2**-7, atol=1e-2)
    np.testing.assert_allclose(weight.grad.numpy(), tw.grad.numpy(), rtol=2**-7, atol=1e-2)


@needs_pairs
def test_parameters_are_not_converted_in_each_run() -> None:
    layer, x = dg.nn.Linear(64, 64), dg.rand(40, 64)

    @dg.static
    def run(x: Any) -> Any:
        with dg.no_grad(), dg.autocast("cpu", dtype=dg.bfloat16):
            return layer(x)

    assert "bfloat16(weight)" not in str(run.explain(x))


def test_other_processors_keep_the_conversions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unrounded, "multiplies_pairs", lambda: False)
    layer, x = dg.nn.Linear(63, 61, bias=False), dg.rand(39, 63)

    @dg.static
    def run(x: Any) -> Any:
        with dg.no_grad(), dg.autocast("cpu", dtype=dg.bfloat16):
            return layer(x)

    assert "bfloat16(weight)" in str(run.explain(x))


@pytest.mark.parametrize("part", ["", "-direct", "-direct_narrow"])
def test_libraries_compile_anywhere(part: str) -> None:
    level = get_target("x86-64-v4").with_dots
    assembly = level.emit_assembly(library_text(f"contraction-bfloat16{part}", level))
    assert "vdpbf16ps" in assembly and "vfmadd" not in assembly
    assert all(f"\n{name}:" in assembly for name in SOURCES.values()) == (part != "-direct")
