"""Loop orders and vectors that only sizes beyond a vector or a block show."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph.codegen.emit import compile_kernels
from duograph.codegen.kernel import Address, Instr, LoopKernel, Operand
from duograph.codegen.target import get_target

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


LENGTHS = [1, 15, 16, 17, 33, 70, 300]


@pytest.mark.parametrize("length", LENGTHS)
def test_comparisons_of_positions_flip_anywhere(length: int) -> None:
    """Runs are cut where the comparisons flip: at every place of a run, at its ends, and beyond them."""
    x = np.arange(3 * length, dtype="float32").reshape(3, length) + 1
    place, given = np.arange(length), dg.tensor(x)
    here = dg.arange(length)
    for at in {-3, 0, 1, 2, 15, 16, 17, length // 2, length - 1, length, length + 20}:
        bound = dg.tensor(at)
        for compare in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
            keep = dg.static(lambda x, i, at, compare=compare: dg.where(getattr(dg.arange(x.shape[1]), compare)(at), x, -x))
            expected = np.where(getattr(place, compare)(at), x, -x)
            np.testing.assert_array_equal(keep(given, here, bound).numpy(), expected)
            turned = dg.static(lambda x, at, compare=compare: dg.where(getattr(at - dg.arange(x.shape[1]), compare)(2), x, -x))
            expected = np.where(getattr(at - place, compare)(2), x, -x)
            np.testing.assert_array_equal(turned(given, bound).numpy(), expected)


@pytest.mark.parametrize("bound", [2**63 - 1, -(2**63), 2**63 - 5])
def test_comparisons_of_positions_with_the_greatest_integers(bound: int) -> None:
    x = dg.ones(40)
    below = dg.static(lambda x, at: dg.where(dg.arange(x.shape[0]) < at, x, 0.0))
    assert below(x, dg.tensor(bound)).sum().item() == (40 if bound > 0 else 0)
    # sums that wrap around do so in every lane
    wrapped = dg.static(lambda x, at: dg.where(dg.arange(x.shape[0]) + at < 0, x, 0.0))
    with np.errstate(over="ignore"):
        expected = int((np.arange(40) + np.int64(bound) < 0).sum())
    assert wrapped(x, dg.tensor(bound)).sum().item() == expected


@pytest.mark.parametrize("length", LENGTHS)
def test_padding_and_diagonals_of_any_length(length: int) -> None:
    x = np.arange(5 * length, dtype="float32").reshape(5, length) + 1
    for left, right in ((0, 0), (1, 2), (16, 0), (0, 17), (3, 40)):
        expected = np.pad(x, ((1, 2), (left, right)), constant_values=7)
        for given in (dg.tensor(x), dg.tensor(x.repeat(3, 1))[:, ::3]):
            np.testing.assert_array_equal(dg.constant_pad_nd(given, (left, right, 1, 2), 7.0).numpy(), expected)
    square = np.ones((length, length), "float32")
    for k in (-17, -1, 0, 1, 16):
        np.testing.assert_array_equal(dg.tril(dg.tensor(square), k).numpy(), np.tril(square, k))
        np.testing.assert_array_equal(dg.triu(dg.tensor(square), k).numpy(), np.triu(square, k))
        if length > abs(k):
            values = np.arange(length - abs(k), dtype="float32") + 1
            np.testing.assert_array_equal(dg.diag(dg.tensor(values), k).numpy(), np.diag(values, k))


@pytest.mark.parametrize("inner", [1, 2, 4, 17, 9000])
def test_short_and_long_rows_in_blocks(inner: int) -> None:
    """Short rows make up a chunk together."""
    x = np.arange(3 * 50 * inner, dtype="float32").reshape(3, 50, inner)
    np.testing.assert_array_equal(dg.tensor(x).repeat_interleave(2, 1).numpy(), x.repeat(2, 1))
    np.testing.assert_array_equal(dg.static(lambda x: x.permute(1, 0, 2) + 1)(dg.tensor(x)).numpy(), x.transpose(1, 0, 2) + 1)
    np.testing.assert_array_equal(dg.roll(dg.tensor(x), 3, 1).numpy(), np.roll(x, 3, 1))


@pytest.mark.parametrize(("times", "chunks"), [(1, 1), (2, 1), (6, 4)])
@pytest.mark.parametrize("gap", [0, 8])
def test_costly_elements_make_smaller_chunks(times: int, chunks: int, gap: int) -> None:
    shape, place = ((16, 256), (256, 1)) if gap else ((4096,), (1,))
    target = Address(1, (place[0] + gap, 1) if gap else place)
    functions = [Instr("tanh", (i,), "float32") for i in range(times)]
    body = (Instr("load", (), "float32", Address(0, place)), *functions, Instr("store", (times,), "float32", target))
    operands = (Operand("float32"), Operand("float32", "out"))
    (compiled,) = compile_kernels([LoopKernel("k", shape, frozenset(), operands, body)], get_target()).kernels
    assert compiled.launches[0].chunks == chunks


@pytest.mark.parametrize("name", ["amax", "amin"])
def test_nan_along_any_dim(name: str) -> None:
    """One NaN makes the result NaN wherever it lies, the same one in every layout."""
    numpy = getattr(np, name)
    for row in (0, 5, 16, 40):
        x = np.random.default_rng(0).standard_normal((41, 70)).astype("float32")
        x[row, ::3] = -np.nan
        x[min(row + 1, 40), 3] = np.nan
        found = getattr(dg, name)(dg.tensor(x), 0).numpy()
        np.testing.assert_array_equal(found, numpy(x, 0))
        assert found.tobytes() == getattr(dg, name)(dg.tensor(x.T.copy()), 1).numpy().tobytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 16, 23, 1000])
def test_positions_of_true_ones(share: float, length: int) -> None:
    mask = np.random.default_rng(length).random(length) < share
    np.testing.assert_array_equal(dg.nonzero(dg.tensor(mask)).numpy()[:, 0], np.flatnonzero(mask))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 100, 1000])
def test_running_extrema_of_any_length(dtype: str, length: int) -> None:
    """Sixteen are compared at once where rows are contiguous, one by one where they are not."""
    rng = np.random.default_rng(length)
    x = rng.integers(-20, 20, (3, length)).astype(dtype)
    if dtype != "int64" and length > 15:
        x[1, length // 2], x[2, 0] = np.nan, np.nan
    for name, numpy in (("cummax", np.maximum), ("cummin", np.minimum)):
        values, where = getattr(dg, name)(dg.tensor(x), 1)
        other, there = getattr(dg, name)(dg.tensor(x.T.copy()), 0)
        np.testing.assert_array_equal(values.numpy(), numpy.accumulate(x, 1))
        np.testing.assert_array_equal(values.numpy(), other.numpy().T)
        np.testing.assert_array_equal(where.numpy(), there.numpy().T)
        np.testing.assert_array_equal(np.take_along_axis(x, where.numpy(), 1), values.numpy())


@pytest.mark.parametrize("name", ["lgamma", "digamma", "erfinv"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ranges_of_neighbours_do_not_matter(name: str, dtype: str) -> None:
    """What only some lanes need is computed where one needs it: the others keep their bits."""
    far = [-7.5, -0.3, -0.0, 1e-20, 0.3, 1.2, 3.0, 8.4, 9.0, 40.0, np.inf, np.nan]
    values = np.array([-1.0, -0.9999, -0.5, 0.1, 0.999, 0.99999] if name == "erfinv" else far, dtype)
    function = getattr(dg, name)
    mixed = function(dg.tensor(np.tile(values, 11))).numpy()
    alone = [function(dg.tensor(np.full(16, value))).numpy()[:1] for value in values]
    assert mixed.tobytes() == np.tile(np.concatenate(alone), 11).tobytes()
