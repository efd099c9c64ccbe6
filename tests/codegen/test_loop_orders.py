"""Loop orders and vectors that only sizes beyond a vector or a block show."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg

SIZES = [(1, 1), (3, 70), (17, 16), (40, 257), (130, 33)]


def _array(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "uint8"])
def test_reversed_rows(shape: tuple[int, int], dtype: str) -> None:
    x = _array(shape, dtype)
    for dims in ((0,), (1,), (0, 1)):
        np.testing.assert_array_equal(dg.flip(dg.tensor(x), dims).numpy(), np.flip(x, dims))
    np.testing.assert_array_equal((dg.flip(dg.tensor(x), (1,)) == dg.tensor(x)).numpy(), x[:, ::-1] == x)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reversed_rows_become_columns(shape: tuple[int, int], dtype: str) -> None:
    x = _array(shape, dtype)
    turned = dg.static(lambda x: dg.flip(x, (1,)).t() + 1)
    np.testing.assert_array_equal(turned(dg.tensor(x)).numpy(), x[:, ::-1].T + 1)
    turned = dg.static(lambda x, y: dg.flip(x, (0, 1)).t() * y)
    np.testing.assert_array_equal(turned(dg.tensor(x), dg.tensor(x.T.copy())).numpy(), x[::-1, ::-1].T * x.T)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("k", range(-1, 4))
def test_quarter_turns(shape: tuple[int, int], k: int) -> None:
    x = _array(shape, "float32")
    np.testing.assert_array_equal(dg.rot90(dg.tensor(x), k).numpy(), np.rot90(x, k))


@pytest.mark.parametrize("shape", SIZES)
def test_writes_along_the_first_dim_keep_their_order(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    rows, columns = shape
    index, values = rng.integers(0, rows, (2 * rows, columns)), rng.standard_normal((2 * rows, columns)).astype("float32")
    put, added = np.zeros(shape, "float32"), np.zeros(shape, "float32")
    for i in range(2 * rows):  # one row after the other: the last one stays, sums go in this order
        put[index[i], np.arange(columns)] = values[i]
        added[index[i], np.arange(columns)] += values[i]
    zeros, where, what = dg.zeros(shape), dg.tensor(index), dg.tensor(values)
    np.testing.assert_array_equal(dg.scatter(zeros, 0, where, what).numpy(), put)
    np.testing.assert_array_equal(dg.scatter_add(zeros, 0, where, what).numpy(), added)


@pytest.mark.parametrize("equation", ["i,i->", "ij,ij->i", "ij,ji->j", "ij,ij->ij"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64"])
def test_products_without_an_outer_dim(equation: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    first, second = equation.split("->")[0].split(",")
    a, b = (rng.integers(-3, 4, {"i": 130, "j": 130}[x[0]] if len(x) == 1 else (130, 130)).astype(dtype) for x in (first, second))
    found = dg.einsum(equation, dg.tensor(a), dg.tensor(b))
    assert found.dtype.name == dtype
    np.testing.assert_array_equal(found.numpy(), np.einsum(equation, a.astype("float64"), b.astype("float64")).astype(dtype))


@pytest.mark.parametrize("lengths", [(1, 1), (3, 70), (130, 33)])
def test_stacked_rows_and_columns(lengths: tuple[int, int]) -> None:
    a, b = (np.arange(n, dtype="float32") for n in lengths)
    rows, columns = np.meshgrid(a, b, indexing="ij")
    pairs = np.stack([rows, columns], -1).reshape(-1, 2)
    np.testing.assert_array_equal(dg.cartesian_prod(dg.tensor(a), dg.tensor(b)).numpy(), pairs)
    turned = dg.stack([dg.tensor(rows.copy()).t(), dg.tensor(columns.T.copy())], -1)
    np.testing.assert_array_equal(turned.numpy(), np.stack([rows.T, columns.T], -1))


@pytest.mark.parametrize("size", [0, 1, 2, 33])
def test_repeated_by_numbers(size: int) -> None:
    rng = np.random.default_rng(size)
    x, times = rng.standard_normal(size), rng.integers(0, 5, size)
    repeat = dg.static(lambda x, times: dg.repeat_interleave(x, times) * 2)
    np.testing.assert_array_equal(dg.repeat_interleave(dg.tensor(x), dg.tensor(times)).numpy(), np.repeat(x, times))
    np.testing.assert_array_equal(repeat(dg.tensor(x), dg.tensor(times)).numpy(), np.repeat(x, times) * 2)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 64, 1000])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_positions_of_runs(size: int, share: float) -> None:
    mask = np.random.default_rng(size).random(size) < share
    for each in (mask, np.repeat(mask, 16)):
        np.testing.assert_array_equal(dg.nonzero(dg.tensor(each), as_tuple=True)[0].numpy(), np.flatnonzero(each))
