"""Sizes that depend on values, in a static graph as in dynamic mode: masks, nonzero, slices bounded by tensors."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg

Function = Callable[..., Any]


def data(*shape: int, seed: int = 0) -> dg.Tensor:
    return dg.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def results(value: Any) -> list[Any]:
    return [item.numpy() for item in (value if isinstance(value, tuple) else (value,))]


FUNCTIONS: dict[str, Function] = {
    "mask": lambda x: x[x > 0],
    "rows": lambda x: x[x[:, 0] > 0] * 2,
    "columns": lambda x: x[:, x[0] > 0],
    "mask_beside_a_slice": lambda x: x[1:, x[0] > 0].sum(0),
    "masked_select": lambda x: dg.masked_select(x, x[0] > 0),
    "nonzero": lambda x: (x > 0).nonzero(),
    "nonzero_as_tuple": lambda x: dg.nonzero(x > 0.5, as_tuple=True),
    "where": lambda x: dg.where(x > 0),
    "mean_of_mask": lambda x: (x[x > 0].mean(), x[x > 0].exp().sum()),
    "statistics": lambda x: (x[x > 0] - x[x > 0].mean()) / (x > 0).sum(),
    "product": lambda x: x[x[:, 1] > 0] @ x[0],
    "softmax": lambda x: x[x[:, 0] > -9].softmax(0),
    "cat": lambda x: dg.cat([x[x > 0], x[x < 0]]),
    "chain": lambda x: x[x > 0][x[x > 0] < 1],
    "scatter_back": lambda x: dg.zeros_like(x).index_put([*dg.where(x > 0)], x[x > 0]),
    "head": lambda x: x[: (x > 0).sum()] * 2,
    "tail": lambda x: x[(x[0] > 0).sum() - 9 :].sum(0),
    "window": lambda x: x[(x[0] > 0).sum() - 3 : (x[1] > 0).sum() + 1],
    "step": lambda x: x[: (x[0] > 0).sum() : 2] + 1,
    "column_slice": lambda x: x[:, : (x[0] > 0).sum()].exp(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_static_is_dynamic(name: str) -> None:
    function = FUNCTIONS[name]
    static = dg.static(function)
    for seed in range(4):
        x = data(7, 5, seed=seed)
        for a, b in zip(results(static(x)), results(function(x)), strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-6)
    assert len(static.signatures()) == 1


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "nonzero" not in name and name != "where"])
def test_gradients(name: str) -> None:
    function = FUNCTIONS[name]

    def step(x: dg.Tensor) -> Any:
        x.grad = None
        value = function(x)
        total = sum((part * part).sum() for part in (value if isinstance(value, tuple) else (value,)))
        total.backward()
        return total

    static = dg.static(step)
    for seed in range(3):
        x = data(7, 5, seed=seed).requires_grad_(True)
        expected = step(x).item()
        grad = x.grad.numpy().copy()
        assert static(x).item() == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(x.grad.numpy(), grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fill", [-1.0, 1.0])
def test_nothing_and_everything_selected(fill: float) -> None:
    x = dg.full((3, 4), fill)
    for function in (lambda x: x[x > 0], lambda x: (x > 0).nonzero(), lambda x: x[x > 0].sum()):
        np.testing.assert_array_equal(dg.static(function)(x).numpy(), function(x).numpy())


def test_a_mask_inside_a_loop() -> None:
    def function(x: dg.Tensor) -> dg.Tensor:
        total = dg.zeros(())
        for row in x:
            total = total + row[row > 0].exp().sum()
        return total

    x = data(20, 6)
    np.testing.assert_allclose(dg.static(function)(x).numpy(), function(x).numpy(), rtol=1e-5)


def test_a_loop_over_what_a_mask_selects() -> None:
    def function(x: dg.Tensor) -> dg.Tensor:
        state = dg.zeros(5)
        for row in x[x[:, 0] > 0]:
            state = (state + row).tanh()
        return state

    static = dg.static(function)
    for seed in range(3):
        x = data(9, 5, seed=seed)
        np.testing.assert_allclose(static(x).numpy(), function(x).numpy(), rtol=1e-5, atol=1e-6)


def test_a_mask_on_one_side_of_a_branch() -> None:
    def function(x: dg.Tensor) -> dg.Tensor:
        if x.sum() > 0:
            found = x[x > 0].exp().sum()
        else:
            found = x.min()
        return found

    static = dg.static(function)
    for x in (data(5), -data(5).abs(), data(5).abs()):
        np.testing.assert_allclose(static(x).numpy(), function(x).numpy(), rtol=1e-5)


def test_slices_that_grow_in_a_loop() -> None:
    def grow(x: dg.Tensor) -> dg.Tensor:
        i, y = dg.tensor(0), dg.zeros(10)
        while i < 5:
            y[: i + 1] = y[: i + 1] + x[: i + 1]
            i = i + 1
        return y

    np.testing.assert_array_equal(dg.static(grow)(data(10)).numpy(), grow(data(10)).numpy())


def test_a_size_for_each_row() -> None:
    def sums(x: dg.Tensor, lengths: dg.Tensor) -> dg.Tensor:
        out = dg.zeros(12)
        for b in range(12):
            out[b] = x[b, : lengths[b]].sum()
        return out

    x, lengths = data(12, 5), dg.tensor([1, 2, 3, 4, 5, 0, -1, 2, 3, 9, 5, 0])
    np.testing.assert_allclose(dg.static(sums)(x, lengths).numpy(), sums(x, lengths).numpy(), rtol=1e-6)


def test_sizes_that_differ_inside_a_loop_are_an_error() -> None:
    @dg.static
    def function(x: dg.Tensor) -> dg.Tensor:
        i, total = dg.tensor(0), dg.zeros(())
        while i < 5:
            total = total + (x[: i + 1] + x[2 : i + 2]).sum()
            i = i + 1
        return total

    with pytest.raises(dg.errors.ShapeError):
        function(data(10))


def test_masked_write_of_values() -> None:
    @dg.static
    def function(x: dg.Tensor, values: dg.Tensor) -> dg.Tensor:
        x = x.clone()
        x[x > 0] = values
        return x

    x = dg.tensor([1.0, -1.0, 2.0])
    np.testing.assert_array_equal(function(x, dg.tensor([5.0, 6.0])).numpy(), [5, -1, 6])
    with pytest.raises(dg.errors.ShapeError):
        function(x, dg.tensor([5.0, 6.0, 7.0]))


def test_such_a_size_steers_a_branch() -> None:
    def function(x: dg.Tensor) -> dg.Tensor:
        found = x[x > 0]
        return found.sum() if found.shape[0] > 3 else found.max()

    static = dg.static(function)
    for seed in range(6):
        x = data(9, seed=seed)
        assert static(x).item() == pytest.approx(function(x).item())
    assert static.captures == 1


def test_such_sizes_can_be_returned() -> None:
    @dg.static
    def function(x: dg.Tensor) -> Any:
        found = x[x > 0]
        return found.shape[0], found.shape, 2 * found.numel() + 1, len(found)

    for seed in range(3):
        x = data(9, seed=seed)
        n = int((x.numpy() > 0).sum())
        assert function(x) == (n, (n,), 2 * n + 1, n)
        assert type(function(x)[0]) is int


def test_a_view_of_such_a_size_shares_memory() -> None:
    part = dg.static(lambda x, n: x[n:, 1:])
    x = data(9, 4)
    for n in (2, 0, 9, -3):
        view = part(x, dg.tensor(n))
        assert view.shape == x[n:, 1:].shape
        if view.numel():
            assert view.data_ptr() == x[n:, 1:].data_ptr()


def test_wrong_use() -> None:
    with pytest.raises(dg.errors.DTypeError, match="masked_select: mask must be bool, got float32"):
        dg.masked_select(data(3), data(3))
    with pytest.raises(dg.errors.ShapeError, match="masked_select"):
        dg.masked_select(data(3), data(4) > 0)
    with pytest.raises(dg.errors.ShapeError, match=r"the mask is \[4\]"):
        dg.static(lambda x, y: x[y > 0])(data(3), data(4))
    with pytest.raises(dg.errors.BoundsError, match="the bound of a slice must be an integer, got float32"):
        dg.static(lambda x, n: x[:n])(data(3), dg.tensor(2.0))


def test_nothing_leaks() -> None:
    static = dg.static(lambda x: x[x > 0].exp())
    x = data(1000)
    static(x)
    from duograph import _core as core

    gc.collect()  # what other tests left in cycles
    before = core.memory_stats()["live_buffers"]
    for _ in range(50):
        static(x)
        x[x > 0]
    assert core.memory_stats()["live_buffers"] == before


def test_rows_written_in_a_loop_are_written_in_place() -> None:
    def function(x: dg.Tensor) -> dg.Tensor:
        out = dg.zeros(200, 8)
        for b in range(200):
            out[b] = x[b].exp()
        return out

    x = data(200, 8)
    static = dg.static(function)
    np.testing.assert_allclose(static(x).numpy(), function(x).numpy(), rtol=1e-6)
    assert static.explain(x).static.bytes < 2.1 * x.numel() * 4  # x and the result, and some numbers


def test_gradients_of_such_sizes_inside_a_loop() -> None:
    def masked(x: dg.Tensor, lengths: dg.Tensor) -> dg.Tensor:
        total = dg.zeros(())
        for row in x:
            total = total + row[row > 0].exp().sum()
        return total

    def cut(x: dg.Tensor, lengths: dg.Tensor) -> dg.Tensor:
        total = dg.zeros(())
        for b in range(12):
            total = total + (x[b, : lengths[b]] ** 2).sum()
        return total

    lengths = dg.tensor([1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0])
    for function in (masked, cut):
        x = data(12, 5).requires_grad_(True)
        function(x, lengths).backward()
        expected, x.grad = x.grad.numpy().copy(), None
        dg.static(function)(x, lengths).backward()
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6)


def test_true_bytes_of_foreign_memory_need_not_be_one() -> None:
    raw = np.resize(np.array([0, 1, 2, 128, 255, 0, 127], np.uint8), 5001)
    assert dg.nonzero(dg.from_numpy(raw.view(bool))).reshape(-1).tolist() == np.flatnonzero(raw).tolist()
