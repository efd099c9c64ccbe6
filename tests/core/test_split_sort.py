"""Long rows are sorted in pieces by several threads: the same order as on one."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg

LONG = 1 << 16


@pytest.fixture(params=[1, 2, 3, 7, 20])
def threads(request):
    before = dg.get_num_threads()
    dg.set_num_threads(request.param)
    yield request.param
    dg.set_num_threads(before)


def rows(n):
    rng = np.random.default_rng(n)
    numbers = rng.standard_normal(n).astype("float32")
    numbers[rng.integers(0, n, 9)] = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.nan, -np.nan, 1e-42, -1e-42]
    yield numbers
    yield rng.standard_normal(n)
    yield rng.integers(-5, 5, n)
    yield np.zeros(n, "int16")
    yield np.where(rng.random(n) < 0.999, 3, rng.integers(-(2**62), 2**62, n))
    yield np.sort(rng.integers(0, 200, n)).astype("uint8")[::-1].copy()


@pytest.mark.parametrize("n", [LONG - 1, LONG, LONG + 1, 3 * LONG + 17])
def test_order_and_positions(threads, n):
    for x in rows(n):
        values, index = dg.sort(dg.from_numpy(x), stable=True)
        expected = np.argsort(x, kind="stable")
        assert (index.numpy() == expected).all()
        np.testing.assert_array_equal(values.numpy(), x[expected])
        descending = dg.argsort(dg.from_numpy(x), descending=True, stable=True).numpy()
        if x.dtype.kind == "i":
            assert (descending == np.argsort(-x, kind="stable")).all()


def test_elements_apart_and_several_rows(threads):
    x = np.random.default_rng(1).integers(-1000, 1000, (LONG + 3, 3))
    values, index = dg.sort(dg.from_numpy(x), dim=0, stable=True)
    expected = np.argsort(x, axis=0, kind="stable")
    assert (index.numpy() == expected).all()
    assert (values.numpy() == np.take_along_axis(x, expected, 0)).all()
    assert (dg.unique(dg.from_numpy(x)).numpy() == np.unique(x)).all()


def test_searches_of_any_number(threads):
    rng = np.random.default_rng(2)
    for sizes in ((), (0,), (1,), (2047,), (2049,), (3, 5000)):
        table, wanted = np.sort(rng.integers(0, 999, 700)), rng.integers(-5, 1005, sizes)
        found = dg.searchsorted(dg.from_numpy(table), dg.tensor(wanted), right=True)
        assert (found.numpy() == np.searchsorted(table, wanted, "right")).all()
    tables = np.sort(rng.standard_normal((4, 3, 50)), -1)
    wanted = rng.standard_normal((4, 3, 2050))
    found = dg.searchsorted(dg.from_numpy(tables), dg.from_numpy(wanted)).numpy()
    assert all((found[i, j] == np.searchsorted(tables[i, j], wanted[i, j])).all() for i in range(4) for j in range(3))
