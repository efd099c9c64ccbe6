"""Creating tensors: sizes, dtypes, defaults, mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, dg.int64),
        (1.0, dg.float32),
        (True, dg.bool),
        ([1, 2], dg.int64),
        ([1, 2.0], dg.float32),
        ([True, False], dg.bool),
        ([True, 2], dg.int64),
        ([], dg.float32),
        ((1, 2), dg.int64),
        (range(3), dg.int64),
        (np.float64(2), dg.float64),
        (np.zeros(2, np.int16), dg.int16),
        (np.zeros((2, 2), np.float16), dg.float16),
        ([dg.tensor(1.0), dg.tensor(2.0)], dg.float32),
    ],
    ids=str,
)
def test_inferred_dtype(data: Any, dtype: Any) -> None:
    assert dg.tensor(data).dtype is dtype


def test_nested_data() -> None:
    x = dg.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    assert x.shape == (2, 2, 2) and x.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert dg.tensor([[], []]).shape == (2, 0)
    assert dg.tensor(2**40).item() == 2**40
    assert dg.tensor([1, 2], dtype=dg.float64).tolist() == [1.0, 2.0]


def test_data_is_copied() -> None:
    array = np.zeros(3, np.float32)
    x = dg.tensor(array)
    y = dg.tensor(x)
    array[0] = 1
    x[1] = 1
    assert x.tolist() == [0, 1, 0] and y.tolist() == [0, 0, 0]


def test_from_numpy_shares() -> None:
    array = np.zeros((2, 3), np.float32)
    x = dg.from_numpy(array)
    array[0, 0] = 5
    x[1, 2] = 7
    assert x[0, 0].item() == 5 and array[1, 2] == 7
    assert dg.as_tensor(array).data_ptr() == x.data_ptr()
    assert dg.as_tensor(array, dtype=dg.float64).dtype is dg.float64


def test_tensor_class_as_constructor() -> None:
    assert dg.Tensor([0]).dtype is dg.float32 and dg.Tensor([0]).tolist() == [0.0]
    assert dg.Tensor(2, 3).shape == (2, 3)
    assert dg.Tensor().shape == (0,)
    assert dg.Tensor(dg.tensor([1, 2])).dtype is dg.float32
    assert isinstance(dg.zeros(1), dg.Tensor)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("text", TypeError),
        ([1, "a"], TypeError),
        ({1: 2}, TypeError),
        (None, TypeError),
        ([[1], [1, 2]], ValueError),
        ([1, [2]], ValueError),
    ],
    ids=str,
)
def test_data_that_is_no_tensor(data: Any, kind: type[Exception]) -> None:
    with pytest.raises(dg.Error) as caught:
        dg.tensor(data)
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "rand", "randn"])
def test_sizes_in_every_form(name: str) -> None:
    make = getattr(dg, name)
    assert make(2, 3).shape == make((2, 3)).shape == make([2, 3]).shape == make(dg.Size([2, 3])).shape == (2, 3)
    assert make(()).shape == () and make(0, 2).shape == (0, 2)
    assert make(2).dtype is dg.float32 and make(2, dtype=dg.float64).dtype is dg.float64
    assert make(2, requires_grad=True).requires_grad
    with pytest.raises(dg.Error, match="-1"):
        make(2, -1)
    with pytest.raises(TypeError, match=r"sizes must be ints, got 2\.5"):
        make(2.5)


def test_filled() -> None:
    assert dg.zeros(2).tolist() == [0, 0] and dg.ones(2, dtype=dg.int32).tolist() == [1, 1]
    assert dg.full((2,), 7).dtype is dg.int64 and dg.full((2,), 7.0).dtype is dg.float32
    assert dg.full((2,), True).dtype is dg.bool and dg.full((2,), 7, dtype=dg.float16).tolist() == [7, 7]
    assert dg.full((1, 10), 50.0).shape == (1, 10) and dg.full(size=(1,), fill_value=2).tolist() == [2]
    x = dg.tensor([[1, 2]])
    assert dg.zeros_like(x).dtype is dg.int64 and dg.ones_like(x, dtype=dg.float32).tolist() == [[1.0, 1.0]]
    assert dg.full_like(x, 9).tolist() == [[9, 9]] and dg.empty_like(x).shape == (1, 2)


@pytest.mark.parametrize("args", [(5,), (1, 7), (1, 10, 3), (5, 1, -2), (0,), (0, 1, 0.25), (1.5,), (0.0, 1.0, 0.1)], ids=str)
def test_arange(args: tuple[float, ...]) -> None:
    found = dg.arange(*args)
    expected = np.arange(*args)
    assert found.dtype is (dg.int64 if expected.dtype == np.int64 else dg.float32)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_sequences() -> None:
    assert dg.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert dg.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]] and dg.eye(2, dtype=dg.int64).dtype is dg.int64
    with pytest.raises(ValueError, match="step must not be 0"):
        dg.arange(0, 1, 0)


def test_random_numbers_repeat_from_a_seed() -> None:
    def draw() -> list[Any]:
        dg.manual_seed(3)
        return [dg.rand(5).tolist(), dg.randn(5).tolist(), dg.randint(0, 10, (5,)).tolist(), dg.randperm(5).tolist()]

    first = draw()
    assert first == draw()
    assert dg.rand(5).tolist() != first[0]


def test_random_distributions() -> None:
    dg.manual_seed(0)
    u, n = dg.rand(20000).numpy(), dg.randn(20000).numpy()
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.005
    assert abs(n.mean()) < 0.03 and abs(n.std() - 1) < 0.02
    i = dg.randint(-2, 3, (5000,))
    assert i.dtype is dg.int64 and set(i.tolist()) == {-2, -1, 0, 1, 2}
    assert dg.randint(4, (3,)).shape == (3,)
    assert sorted(dg.randperm(100).tolist()) == list(range(100))


def test_mistakes() -> None:
    with pytest.raises(TypeError, match="only floating-point tensors can require a gradient, this one is int64"):
        dg.tensor([1], requires_grad=True)
    with pytest.raises(TypeError, match="dtype must be a duograph dtype, got 'float32'"):
        dg.zeros(1, dtype="float32")
    with pytest.raises(RuntimeError, match="there is no device 'cuda:0', only 'cpu'"):
        dg.zeros(1, device="cuda:0")
    with pytest.raises(RuntimeError, match="there is no device type 'gpu'"):
        dg.device("gpu")


def test_device() -> None:
    cpu = dg.device("cpu")
    assert dg.zeros(1).device == cpu and dg.zeros(1, device=cpu).device == "cpu"
    assert repr(dg.device("cuda:1")) == "device(type='cuda', index=1)" and str(dg.device("cuda:1")) == "cuda:1"
    assert dg.zeros(1).to("cpu").to(cpu).device.type == "cpu"
    assert not dg.cuda.is_available() and dg.cuda.device_count() == 0
    with pytest.raises(RuntimeError, match="there is no device 'cuda', only 'cpu'"):
        dg.zeros(1).to("cuda")


def test_random_numbers_in_a_static_graph() -> None:
    draw = dg.static(lambda x: x + dg.rand(3) + dg.randn(3) + dg.randint(0, 9, (3,)))
    x = dg.zeros(3)
    dg.manual_seed(1)
    first = draw(x).tolist()
    assert first != draw(x).tolist()
    dg.manual_seed(1)
    assert draw(x).tolist() == first
    with pytest.raises(dg.Error, match=r"drawn once, at capture(.|\n)*call randperm outside"):
        dg.static(lambda x: x[dg.randperm(3)])(x)
