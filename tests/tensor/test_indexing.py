"""Indexing against NumPy: every form, read and written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg

READS: list[Any] = [
    0,
    -1,
    (1, 2),
    (1, -2, 3),
    slice(None),
    slice(1, 3),
    slice(None, None, 2),
    slice(-2, None),
    slice(5, 2),
    slice(0, 100),
    slice(-100, 1),
    (slice(None), 1),
    (slice(1, None), slice(None, 2), slice(0, 4, 3)),
    ...,
    (..., 0),
    (0, ...),
    (0, ..., 1),
    (..., slice(1, 3)),
    None,
    (None, 1),
    (slice(None), None, 2),
    (..., None),
    (1, None, ..., None, 2),
    np.int64(1),
    (np.int32(1), slice(None)),
    True,
    False,
    (True, 1),
    [0, 2],
    [2, 0, 0],
    [-1, 1],
    np.array([[0, 1], [2, 2]]),
    ([0, 1], [2, 3]),
    (slice(None), [0, 2]),
    (slice(None), [0, 2], slice(1, 3)),
    ([0, 2], slice(None), [1, 2]),
    (slice(None), [0, 1], [2, 3]),
    (np.array([[0], [2]]), [1, 3]),
    (1, [0, 2]),
    ([0, 1, 2], ..., [4, 3, 2]),
    (None, [0, 1]),
    [],
    (slice(None), []),
    np.array([True, False, True]),
    (slice(None), np.array([True, False, True, True])),
    (np.array([True, False, True]), 1),
    ([True, False, True], slice(None), [0, 1]),
]


def data() -> np.ndarray[Any, Any]:
    return np.arange(60, dtype=np.float32).reshape(3, 4, 5)


def name(index: Any) -> str:
    return repr(index).replace("slice", "s").replace("Ellipsis", "...")


@pytest.mark.parametrize("index", READS, ids=name)
def test_read_like_numpy(index: Any) -> None:
    expected = data()[index]
    found = dg.from_numpy(data())[index]
    if (
        isinstance(index, tuple)
        and any(isinstance(part, int) for part in index)
        and any(isinstance(part, list) for part in index)
    ):
        expected = expected.reshape(found.shape)  # NumPy counts integers among the gathers: only the place of dimensions differs
    assert tuple(found.shape) == expected.shape
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("index", READS, ids=name)
def test_write_number_like_numpy(index: Any) -> None:
    expected = data()
    expected[index] = -1
    x = dg.from_numpy(data())
    x[index] = -1
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize("index", READS, ids=name)
def test_write_tensor_like_numpy(index: Any) -> None:
    expected = data()
    x = dg.from_numpy(data())
    shape = tuple(x[index].shape)
    values = -1 - np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    x[index] = dg.tensor(values)
    if expected[index].shape == shape:
        expected[index] = values
        np.testing.assert_array_equal(x.numpy(), expected)
    else:
        np.testing.assert_array_equal(x[index].numpy(), values)


@pytest.mark.parametrize("index", [dg.tensor(1), dg.tensor([0, 2]), dg.tensor([[0, 1]]), dg.tensor([True, False, True])], ids=str)
def test_read_by_tensor(index: dg.Tensor) -> None:
    np.testing.assert_array_equal(dg.from_numpy(data())[index].numpy(), data()[index.numpy()])


def test_mask_of_all_dimensions() -> None:
    x = dg.from_numpy(data())
    mask = x % 2 == 0
    np.testing.assert_array_equal(x[mask].numpy(), data()[data() % 2 == 0])
    x[mask] = 0.0
    expected = data()
    expected[expected % 2 == 0] = 0
    np.testing.assert_array_equal(x.numpy(), expected)
    x[x > 50] = dg.arange(5, dtype=dg.float32)
    expected[expected > 50] = np.arange(5)
    np.testing.assert_array_equal(x.numpy(), expected)


def test_basic_indexing_gives_views() -> None:
    x = dg.from_numpy(data())
    for view in (x[1], x[1:], x[..., 0], x[None], x[:, 2]):
        view.fill_(7)
    assert x[1].sum().item() == 7 * 20 and x[0, 2].sum().item() == 35
    assert x[[0]].data_ptr() != x[0].data_ptr()


def test_augmented_assignment() -> None:
    x = dg.zeros(3)
    x[1] += 5
    x[1:] *= 2
    x[[0, 2]] += 1
    assert x.tolist() == [1.0, 10.0, 1.0]


def test_values_broadcast_and_convert() -> None:
    x = dg.zeros(2, 3)
    x[:] = dg.tensor([1, 2, 3])
    assert x.tolist() == [[1, 2, 3], [1, 2, 3]]
    x[0] = dg.ones(1, 1, 3)
    assert x[0].tolist() == [1, 1, 1]
    x[:, 0] = [8, 9]
    x[0, 1:] = np.array([4.0, 5.0])
    assert x.tolist() == [[8, 4, 5], [9, 2, 3]]
    x[...] = True
    assert x.sum().item() == 6


def test_gradients() -> None:
    x = dg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    (x[0, 1:].sum() * 2 + x[[1, 1]].sum() + x[:, 0].prod() + x[x > 5].sum()).backward()
    assert x.grad.tolist() == [[4, 2, 2], [3, 2, 3]]


def test_gradient_of_assignment() -> None:
    x = dg.ones(3, requires_grad=True)
    value = dg.tensor(5.0, requires_grad=True)
    y = x * 2
    y[1] = value
    (y * dg.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [2, 0, 200] and value.grad.item() == 10


@pytest.mark.parametrize(
    ("index", "kind", "message"),
    [
        (3, IndexError, "3"),
        (-4, IndexError, "-4"),
        ((0, 4), IndexError, "4"),
        ((0, 0, 0, 0), IndexError, "4 indices for a tensor of 3 dimensions"),
        ((..., ...), IndexError, "only one ellipsis"),
        (slice(None, None, -1), ValueError, "step of a slice must be above 0, got -1"),
        (1.5, IndexError, "a float (1.5) cannot index a tensor"),
        ("a", IndexError, "a str ('a') cannot index a tensor"),
        ([3], IndexError, "3"),
        ([0.5], IndexError, "must hold integers or bools"),
        (np.array([True, False]), ValueError, "the mask is [2], the dimensions it selects from are [3]"),
        (np.array([0, 1], dtype=np.uint8), TypeError, "uint8 tensor is ambiguous"),
        ([[0], [0, 1]], ValueError, ""),
        (([0, 1], [0, 1, 2]), ValueError, ""),
    ],
    ids=str,
)
def test_mistakes(index: Any, kind: type[Exception], message: str) -> None:
    for attempt in (lambda x: x[index], lambda x: x.__setitem__(index, 0)):
        with pytest.raises(dg.Error) as caught:
            attempt(dg.from_numpy(data()))
        assert isinstance(caught.value, kind) and message in str(caught.value)


def test_scalar_has_no_index() -> None:
    with pytest.raises(IndexError, match=r"x.item\(\) reads a tensor without dimensions"):
        dg.tensor(1.0)[0]


def test_values_that_do_not_fit() -> None:
    with pytest.raises(ValueError):
        dg.zeros(2, 3)[0] = dg.ones(2)


def test_empty_slices_beyond_the_only_element() -> None:
    x = dg.ones(1, 1, requires_grad=True)
    x[1:3].sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0]]
    y = dg.tensor([1.25])
    y[1:] = dg.tensor([])
    assert y.tolist() == [1.25]


def test_one_truth_value_as_a_mask_may_be_overwritten() -> None:
    x = dg.tensor([1.0, 2.0], requires_grad=True)
    for truth in (True, False):
        y, mask = x * 3, dg.tensor(truth)
        y[mask] = 0.5
        mask.logical_not_()
        (gradient,) = dg.autograd.grad(y.sum(), x)
        assert gradient.tolist() == ([0.0, 0.0] if truth else [3.0, 3.0])
