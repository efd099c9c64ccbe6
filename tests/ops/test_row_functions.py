"""Sorts, selections, searches, scans and choices by a mask: long rows, odd values, the same bits for every layout, both modes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import duograph as dg

SIGNED = ("int8", "int16", "int32", "int64", "float32", "float64")
LENGTHS = (1, 47, 49, 513, 20000)  # by insertion, with narrow and with wide digits


def row(dtype: str, n: int) -> np.ndarray:
    """Values with many equal ones; among floats both zeros, infinities and NaN."""
    random = np.random.default_rng(n)
    made = (random.standard_normal(n) * (1e4 if dtype in ("int32", "int64") else 20)).astype(dtype)
    if dtype.startswith("float"):
        odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
        at = random.integers(0, n, n // 8)
        made[at] = odd[random.integers(0, 5, len(at))]
    return made


@pytest.mark.parametrize("dtype", (*SIGNED, "uint8"))
@pytest.mark.parametrize("descending", [False, True])
def test_sort(dtype: str, descending: bool) -> None:
    for n in LENGTHS:
        x = row(dtype, n)
        values, indices = dg.sort(dg.tensor(x), descending=descending)
        expected = torch.sort(torch.from_numpy(x), descending=descending, stable=True)
        np.testing.assert_array_equal(indices.numpy(), expected.indices.numpy())
        np.testing.assert_array_equal(values.numpy(), expected.values.numpy())


@pytest.mark.parametrize("dtype", SIGNED)
@pytest.mark.parametrize("largest", [False, True])
def test_selections_are_parts_of_the_order(dtype: str, largest: bool) -> None:
    for n in LENGTHS:
        x = dg.tensor(row(dtype, n))
        values, indices = dg.sort(x, descending=largest)
        for k in sorted({0, 1, min(n, 7), n // 2, n}):
            found = dg.topk(x, k, largest=largest)
            assert found.indices.tolist() == indices[:k].tolist()
            np.testing.assert_array_equal(found.values.numpy(), values[:k].numpy())
        if not largest:
            for k in sorted({1, n // 3 + 1, n}):
                assert dg.kthvalue(x, k).indices.item() == indices[k - 1].item()


def test_median_of_rows_with_nan() -> None:
    x = np.stack([row("float32", 1000), np.full(1000, np.nan, "float32"), np.arange(1000, dtype="float32")])
    for name in ("median", "nanmedian"):
        found, expected = getattr(dg, name)(dg.tensor(x), 1), getattr(torch, name)(torch.from_numpy(x), 1)
        np.testing.assert_array_equal(found.values.numpy(), expected.values.numpy())


@pytest.mark.parametrize("right", [False, True])
def test_searches(right: bool) -> None:
    for n in (0, 1, 2, 3, 100, 1023):
        bounds = np.sort(np.random.default_rng(n).integers(0, 50, n))
        x = np.arange(-1, 52)
        expected = torch.searchsorted(torch.from_numpy(bounds), torch.from_numpy(x), right=right)
        assert dg.searchsorted(dg.tensor(bounds), dg.tensor(x), right=right).tolist() == expected.tolist()


@pytest.mark.parametrize("scan", ["cumsum", "cumprod", "cummax", "cummin"])
def test_scans_have_the_same_bits_in_every_layout(scan: str) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1.5, (130, 77)).astype("float32")

    def run(given: dg.Tensor, dim: int) -> list[np.ndarray]:
        made = getattr(dg, scan)(given, dim)
        return [part.numpy() for part in (made if isinstance(made, tuple) else (made,))]

    rows = run(dg.tensor(x), 1)
    columns = run(dg.tensor(np.ascontiguousarray(x.T)), 0)
    for a, b, c in zip(rows, columns, run(dg.tensor(x.T.copy()).t(), 1)):
        np.testing.assert_array_equal(a, b.T)
        np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("dtype", SIGNED)
@pytest.mark.parametrize("scan", ["cummax", "cummin"])
def test_running_extrema_with_ties_and_extremes(scan: str, dtype: str) -> None:
    """Rows shorter and longer than what is looked at in one go, contiguous and spread, of few distinct values."""
    limits = (-np.inf, np.inf) if dtype.startswith("float") else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for n in (0, 1, 16, 47, 70001):
        few = np.random.default_rng(n).integers(-4, 5, (2, n)).astype(dtype)
        few[:, n // 2 : n // 2 + 2] = limits[scan == "cummin"]
        for x in (few, few[:, ::3], row(dtype, n).reshape(1, n) if n else few, np.sort(few, 1)):
            got = getattr(dg, scan)(dg.tensor(x), 1)
            expected = getattr(torch, scan)(torch.from_numpy(x), 1)
            np.testing.assert_array_equal(got.values.numpy(), expected.values.numpy())
            np.testing.assert_array_equal(got.indices.numpy(), expected.indices.numpy())


def test_threads_do_not_change_results() -> None:
    x = dg.tensor(np.random.default_rng(1).standard_normal((64, 3000)).astype("float32"))
    before = dg.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            dg.set_num_threads(threads)
            results.append([dg.sort(x).indices, dg.cumsum(x, 0), dg.cumsum(x, 1), dg.topk(x, 9).values])
    finally:
        dg.set_num_threads(before)
    for a, b in zip(*results):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def ranked(x: dg.Tensor) -> dg.Tensor:
    values, indices = dg.sort(x * 2, 1, descending=True)
    best = dg.topk(x, 2, 1)
    return (values.cumsum(1) * (1 + indices % 3)).sum() + (best.values * x.median(1).values.unsqueeze(1)).cumprod(0).sum()


def test_static_functions_give_the_same_bits() -> None:
    """With gradients, for sizes that change."""
    static = dg.static(ranked, strict=True)
    for n in (5, 6, 9):
        x = np.random.default_rng(n).standard_normal((4, n)).astype("float32")
        a, b = dg.tensor(x).requires_grad_(), dg.tensor(x).requires_grad_()
        first, second = ranked(a), static(b)
        assert first.item() == second.item()
        first.backward()
        second.backward()
        np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())


# Views whose indices are sums


def written(x: dg.Tensor) -> dg.Tensor:
    x = x * 1
    x.diagonal(1).mul_(10)
    x.unfold(1, 2, 2).add_(1)
    x.as_strided((2, 2), (5, 1)).zero_()
    return x


def test_writes_into_views() -> None:
    data = np.arange(20, dtype="float32").reshape(4, 5)
    theirs = torch.from_numpy(data.copy())
    theirs.diagonal(1).mul_(10)
    theirs.unfold(1, 2, 2).add_(1)
    theirs.as_strided((2, 2), (5, 1)).zero_()
    np.testing.assert_array_equal(written(dg.tensor(data)).numpy(), theirs.numpy())
    np.testing.assert_array_equal(dg.static(written)(dg.tensor(data)).numpy(), theirs.numpy())


def test_views_share_memory() -> None:
    x = dg.zeros(3, 4)
    for view in (x.diagonal(), x.unfold(1, 2, 1), x.as_strided((2,), (3,)), x.movedim(0, 1)):
        assert view.data_ptr() == x.data_ptr()
    assert x.unfold(1, 2, 1).stride() == (4, 1, 1) and x.diagonal().stride() == (5,)


def test_overlapping_windows_are_not_written() -> None:
    with pytest.raises(dg.Error, match="shows one element at several places"):
        dg.zeros(4).unfold(0, 2, 1).add_(1)

    def write(x: dg.Tensor) -> dg.Tensor:
        x = x * 1
        x.unfold(0, 2, 1).add_(1)
        return x

    with pytest.raises(dg.Error, match="overlapping windows"):
        dg.static(write)(dg.zeros(4))


def test_a_view_beyond_its_tensor_is_refused() -> None:
    with pytest.raises(dg.errors.ShapeError, match=r"as_strided|strided: sizes \(3, 3\) and strides \(2, 1\) reach beyond 6"):
        dg.zeros(6).as_strided((3, 3), (2, 1))
    with pytest.raises(dg.errors.ShapeError, match="windows of 5 in a dimension of size 4"):
        dg.zeros(4).unfold(0, 5, 1)
    with pytest.raises(dg.errors.BoundsError, match="k is 5, dimension 0 has 4 elements"):
        dg.topk(dg.zeros(4), 5)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 63, 64, 65, 1000, 70001])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.97, 1.0])
def test_bools_are_counted_and_found(n: int, share: float) -> None:
    mask = np.random.default_rng(n).random((n, 3)) < share
    for made in (mask[:, 0].copy(), mask[:, 0], mask[::-1, 1], mask.reshape(-1)):
        np.testing.assert_array_equal(dg.cumsum(dg.from_numpy(made.copy()), 0).numpy(), np.cumsum(made))
        np.testing.assert_array_equal(dg.nonzero(dg.from_numpy(made.copy())).numpy(), np.argwhere(made))
    x = dg.from_numpy(mask)
    for found, dim in ((x, 0), (x, 1), (x.t(), 1), (x[::2], 0), (x[:, ::2], 1), (x[:, 1:2].expand(n, 4), 0)):
        made = dg.cumsum(found, dim)
        assert made.dtype is dg.int64
        np.testing.assert_array_equal(made.numpy(), np.cumsum(found.numpy(), dim))
    np.testing.assert_array_equal(dg.nonzero(x.t()).numpy(), np.argwhere(mask.T))


def test_counted_bools_may_be_any_byte() -> None:
    raw = np.random.default_rng(0).integers(0, 256, 300, np.uint8)
    assert dg.cumsum(dg.from_dlpack(raw.view(np.bool_)), 0).tolist() == np.cumsum(raw != 0).tolist()
    assert dg.cumsum(dg.tensor(True), 0).tolist() == 1
    assert dg.cumsum(dg.tensor([True, True]), 0, dtype=dg.float32).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 129, 5000])
def test_runs_of_equal_elements(n: int) -> None:
    x = np.repeat(row("float32", n), np.random.default_rng(n).integers(1, 4, n))[:n] if n else row("float32", n)
    many = np.repeat(x, 2)
    for given in (dg.tensor(x), dg.tensor(many)[::2], dg.tensor(x) * 0, dg.tensor(x).reshape(-1, 1)):
        expected = torch.unique_consecutive(torch.from_numpy(given.numpy()), return_inverse=True, return_counts=True)
        for counts in (False, True):
            for call in (dg.unique_consecutive, dg.static(dg.unique_consecutive)):
                found = call(given, True, counts)
                assert len(found) == 2 + counts
                for ours, theirs in zip(found, expected):
                    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        ours = dg.unique(given, return_inverse=True, return_counts=True)
        theirs = torch.unique(torch.from_numpy(given.numpy()), return_inverse=True, return_counts=True)
        if not np.isnan(given.numpy()).any():
            for found, wanted in zip(ours, theirs):
                np.testing.assert_array_equal(found.numpy(), wanted.numpy())


@pytest.mark.parametrize("dtype", (*SIGNED, "uint8", "bool"))
@pytest.mark.parametrize("share", [0.0, 0.0003, 0.03, 0.5, 1.0])
def test_what_a_mask_chooses(dtype: str, share: float) -> None:
    random = np.random.default_rng(5)
    for n in (1, 15, 16, 17, 40, 1025, 70001):
        x, mask = random.integers(0, 100, 2 * n).astype(dtype), random.random(2 * n) < share
        for step in (1, 2):
            chosen = dg.masked_select(dg.tensor(x)[::step], dg.tensor(mask)[::step])
            np.testing.assert_array_equal(chosen.numpy(), x[::step][mask[::step]])


def test_a_mask_of_foreign_bytes_chooses_each_element_once() -> None:
    bytes_ = np.tile(np.array([0, 255, 0, 2, 1], np.uint8), 300)
    chosen = dg.masked_select(dg.arange(1500), dg.from_numpy(bytes_.view(bool)))
    np.testing.assert_array_equal(chosen.numpy(), np.flatnonzero(bytes_))


@pytest.mark.parametrize("dtype", ("int8", "int64", "float32", "float64"))
@pytest.mark.parametrize("length", [1, 3, 2000])
def test_runs_and_their_lengths(dtype: str, length: int) -> None:
    """Runs about so long, over the borders of what is looked at together."""
    random = np.random.default_rng(length)
    for n in (1, 17, 1023, 1024, 1025, 70001):
        x = np.repeat(random.integers(-100, 100, n), random.integers(1, 2 * length, n))[: 2 * n].astype(dtype)
        for step in (1, 2):
            expected = torch.unique_consecutive(torch.from_numpy(x)[::step], return_inverse=True, return_counts=True)
            found = dg.unique_consecutive(dg.tensor(x)[::step], True, True)
            for ours, theirs in zip(found, expected):
                np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
